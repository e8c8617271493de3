#include "common/log.h"
#include "common/mem.h"
#include "event-processor/replayer_parts.h"

enum {
    SILENT_MS = 15000,
    SIGNS = 5, /* of life in that time */
    LOOK_MS = 500,
    AGAIN_MS = 100,
    RECORD_MS = 30000, /* then it is looked at anew what is to be recorded */
};

/* ---- steps ---- */

bool replayer_catch_up(struct replayer *replayer, uint64_t *ret_epoch)
{
    struct follower_target target;
    if (follower_status_end(replayer->use.follower, REPLAYER_BUS_MS, &target))
        return false;
    return follower_wait(replayer->use.follower, &target, REPLAYER_FOLD_MS, ret_epoch) == ERR_NONE;
}

static bool is_mine(const struct replayer *replayer, const struct replay *replay)
{
    return strcmp(replay->runner, replayer->use.processor) == 0;
}

bool replayer_owns(struct replayer *replayer, const struct event_id *id, struct replay *ret)
{
    if (!replays_find(replayer->use.replays, id, ret))
        return false;
    bool owns = ret->state == REPLAY_RUNNING && is_mine(replayer, ret);
    if (!owns)
        replay_release(ret);
    return owns;
}

enum err replayer_record(struct replayer *replayer, size_t count,
                         const struct replay_change *change)
{
    struct follower_target target = {0};
    enum err e = replay_record(&replayer->recorder, replayer->changes, count, change, RECORD_MS,
                               &target.status_position);
    if (e)
        return e;
    while ((e = follower_wait(replayer->use.follower, &target, LOOK_MS, NULL)) == ERR_DEADLINE)
        if (wait_flag_is_set(&replayer->stop))
            break;
    return e;
}

/* Says where it stands, and who runs it. */
static enum err say(struct replayer *replayer, const struct replay *replay, const char *runner)
{
    struct replay_change change = {.id = replay->id,
                                   .state = REPLAY_RUNNING,
                                   .time_ms = clock_wall_ms(replayer->use.clock),
                                   .cursor = replay->cursor,
                                   .letter_cursor = replay->letter_cursor,
                                   .replayed = replay->replayed,
                                   .skipped = replay->skipped,
                                   .runner = view_of(runner)};
    return replayer_record(replayer, 0, &change);
}

static int64_t silent_for_ms(const struct replay *replay)
{
    struct timespec now = wait_until(0);
    return (now.tv_sec - replay->heard_at.tv_sec) * 1000 +
           (now.tv_nsec - replay->heard_at.tv_nsec) / 1000000;
}

/* ---- taking over ---- */

static bool is_abandoned(const struct replayer *replayer, const struct replay *replay)
{
    return replay->state == REPLAY_RUNNING && !is_mine(replayer, replay) &&
           silent_for_ms(replay) >= replayer->use.silent_ms + replayer->jitter_ms;
}

/* It may only look silent because this processor was frozen: asks the log first. */
static void take_over(struct replayer *replayer, const struct event_id *id)
{
    struct replay replay;
    uint64_t epoch;
    if (!replayer_catch_up(replayer, &epoch) || !replays_find(replayer->use.replays, id, &replay))
        return;
    if (is_abandoned(replayer, &replay) && !say(replayer, &replay, replayer->use.processor)) {
        char text[ID_TEXT_SIZE];
        id_format(id, text);
        log_info("took over a replay whose runner has been silent", LOG_TEXT("replay", text),
                 LOG_TEXT("runner", replay.runner), LOG_U64("cursor", replay.cursor));
        metric_add(replayer->takeovers, 1);
    }
    replay_release(&replay);
}

/* ---- which are run here ---- */

static struct run *find_run(struct replayer *replayer, const struct event_id *id)
{
    struct run *run = replayer->runs;
    while (run && !id_equal(&run->id, id))
        run = run->next;
    return run;
}

static void note_mine(struct replayer *replayer, const struct replay *replay)
{
    struct run *run = find_run(replayer, &replay->id);
    if (!run) {
        run = mem_zero(1, sizeof *run);
        if (!run)
            return; /* at the next look */
        run->id = replay->id;
        run->next = replayer->runs;
        replayer->runs = run;
        atomic_fetch_add(&replayer->running, 1);
    }
    run->seen = true;
    if (silent_for_ms(replay) >= replayer->use.silent_ms / SIGNS)
        (void)!say(replayer, replay, "");
}

static void drop_unseen(struct replayer *replayer)
{
    struct run **at = &replayer->runs;
    while (*at) {
        struct run *run = *at;
        if (run->seen) {
            run->seen = false;
            at = &run->next;
            continue;
        }
        *at = run->next;
        replayer_close_walk(run);
        mem_free(run);
        atomic_fetch_sub(&replayer->running, 1);
    }
}

static void look_at_all(struct replayer *replayer)
{
    size_t max = replays_running(replayer->use.replays);
    struct replay *list = mem_zero(max, sizeof *list);
    size_t count = list ? replays_list(replayer->use.replays, true, list, max) : 0;
    for (size_t i = 0; i < count && !wait_flag_is_set(&replayer->stop); i++) {
        if (is_mine(replayer, &list[i]))
            note_mine(replayer, &list[i]);
        else if (is_abandoned(replayer, &list[i]))
            take_over(replayer, &list[i].id);
    }
    for (size_t i = 0; i < count; i++)
        replay_release(&list[i]);
    mem_free(list);
    drop_unseen(replayer);
}

/* ---- the thread ---- */

static bool is_before(struct timespec a, struct timespec b)
{
    return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

/* Runs those whose time has come. When to look again. */
static struct timespec run_all(struct replayer *replayer)
{
    struct timespec next = wait_until(LOOK_MS);
    for (struct run *run = replayer->runs; run; run = run->next) {
        if (wait_flag_is_set(&replayer->stop))
            break;
        if (wait_left_ms(run->next_at) == 0) {
            bool done = replayer_run(replayer, run);
            if (!done) /* the bus is away, say; or it has another runner */
                run->next_at = wait_until(AGAIN_MS);
        }
        if (is_before(run->next_at, next))
            next = run->next_at;
    }
    return next;
}

static void *run_replayer(void *arg)
{
    struct replayer *replayer = arg;
    uint64_t turn = 0;
    while (!wait_flag_is_set(&replayer->stop)) {
        struct timespec next = wait_until(LOOK_MS);
        if (follower_ready(replayer->use.follower) != 0) {
            look_at_all(replayer);
            next = run_all(replayer);
        }
        if (!wait_flag_is_set(&replayer->stop))
            turn = replays_wait(replayer->use.replays, turn, next);
    }
    return NULL;
}

/* ---- life ---- */

static double read_running(void *ctx)
{
    struct replayer *replayer = ctx;
    return (double)atomic_load(&replayer->running);
}

static void register_metrics(struct replayer *replayer)
{
    struct metrics *m = replayer->use.metrics;
    metrics_gauge_read(m, "tidings_replays_running", NULL, "Replays that this processor runs",
                       read_running, replayer);
    replayer->replayed = metrics_counter(m, "tidings_events_replayed_total", NULL,
                                         "Events whose next generation this processor has begun");
    replayer->takeovers =
        metrics_counter(m, "tidings_replays_taken_over_total", NULL,
                        "Replays that this processor went on with after another's silence");
}

static enum err init(struct replayer *replayer, const struct replayer_options *options)
{
    if (wait_init(&replayer->wait))
        return ERR_MEMORY;
    if (wait_flag_init(&replayer->stop)) {
        wait_destroy(&replayer->wait);
        return ERR_MEMORY;
    }
    replayer->use = *options;
    if (replayer->use.silent_ms == 0)
        replayer->use.silent_ms = SILENT_MS;
    replayer->limit = REPLAYER_CHUNK_MAX;
    replay_recorder_init(&replayer->recorder,
                         &(struct replay_recorder_options){.log = options->status_records,
                                                           .subject = options->status_subject,
                                                           .processor = options->processor,
                                                           .stop = &replayer->stop});
    struct event_id id;
    id_make(&clock_system, &id);
    replayer->jitter_ms = (int64_t)(id_hash(&id) % (uint64_t)(replayer->use.silent_ms / SIGNS + 1));
    register_metrics(replayer);
    return ERR_NONE;
}

enum err replayer_start(const struct replayer_options *options, struct replayer **ret)
{
    struct replayer *replayer = mem_zero(1, sizeof *replayer);
    if (!replayer || init(replayer, options)) {
        mem_free(replayer);
        return ERR_MEMORY;
    }
    replayer->started = pthread_create(&replayer->thread, NULL, run_replayer, replayer) == 0;
    if (!replayer->started) {
        replayer_free(replayer);
        return ERR_MEMORY;
    }
    *ret = replayer;
    return ERR_NONE;
}

void replayer_stop(struct replayer *replayer)
{
    wait_flag_set(&replayer->stop);
    replays_wake(replayer->use.replays);
}

void replayer_free(struct replayer *replayer)
{
    if (!replayer)
        return;
    if (replayer->started)
        pthread_join(replayer->thread, NULL);
    drop_unseen(replayer);
    replay_recorder_free(&replayer->recorder);
    wait_flag_destroy(&replayer->stop);
    wait_destroy(&replayer->wait);
    mem_free(replayer);
}
