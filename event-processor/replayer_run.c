/* A replay's next events: found, published, recorded. */
#include "common/log.h"
#include "event-processor/replayer_parts.h"
#include "event-processor/retry_message_id.h"

enum {
    WALK_MS = 1000, /* then it is time for a sign of life */
    PUBLISH_MS = 3000,
    PUBLISH_AGAIN_MS = 100,
    ITEM_BYTES = 128,
    STEPS_A_SECOND = 10, /* of a replay with a rate */
};

/* ---- finding ---- */

static size_t chunk_size(const struct replayer *replayer, uint32_t rate)
{
    size_t size = rate > 0 ? rate / STEPS_A_SECOND : replayer->limit;
    size = size > 0 ? size : 1;
    return size < replayer->limit ? size : replayer->limit;
}

void replayer_close_walk(struct run *run)
{
    if (!run->open)
        return;
    replay_walk_close(&run->walk);
    replay_release(&run->of);
    run->open = false;
}

/* The walk must stand where the replay does: another processor may have gone on. */
static enum err open_walk(struct replayer *replayer, struct run *run, const struct replay *replay,
                          uint64_t epoch)
{
    if (run->open && run->epoch == epoch && run->of.plan == replay->plan &&
        replay_walk_cursor(&run->walk) == replay->cursor)
        return ERR_NONE;
    replayer_close_walk(run);
    enum err e = replay_walk_open(&run->walk, &replayer->use.walk, replay_plan_filter(replay->plan),
                                  replay->begin_position, replay->cursor);
    if (e)
        return e;
    replay_copy(replay, &run->of);
    run->epoch = epoch;
    run->open = true;
    return ERR_NONE;
}

/* Takes the next events that match into `entries`. *ret_end: there are no more. */
static enum err find_events(struct replayer *replayer, struct run *run, size_t max, bool *ret_end)
{
    struct timespec until = wait_until(WALK_MS);
    enum replay_step step = REPLAY_PASS;
    replayer->count = replayer->skipped = 0;
    while (step != REPLAY_END && replayer->count < max && wait_left_ms(until) > 0 &&
           !wait_flag_is_set(&replayer->stop)) {
        enum err e = replay_walk_next(&run->walk, &step, &replayer->entries[replayer->count]);
        if (e)
            return e;
        replayer->count += step == REPLAY_TAKE;
        replayer->skipped += step == REPLAY_SKIP;
    }
    *ret_end = step == REPLAY_END;
    return ERR_NONE;
}

/* ---- publishing ---- */

static void on_published(void *ctx, const struct bus_receipt *receipt)
{
    struct next_item *item = ctx;
    struct replayer *replayer = item->replayer;
    bool stored = receipt->outcome == BUS_STORED || receipt->outcome == BUS_DUPLICATE;
    wait_lock(&replayer->wait);
    item->stored = stored;
    if (--replayer->publishing == 0)
        wait_wake_all(&replayer->wait);
    wait_unlock(&replayer->wait);
}

static enum err publish_one(struct replayer *replayer, size_t index, int64_t due_ms)
{
    const struct status_entry *entry = &replayer->entries[index];
    struct retry_item item = {.id = entry->id,
                              .event_position = entry->event_position,
                              .generation = entry->state.generation + 1,
                              .attempt = 1,
                              .due_ms = due_ms};
    char message_id[RETRY_MESSAGE_ID_SIZE];
    struct buf bytes;
    buf_init(&bytes, ITEM_BYTES);
    retry_message_id(replayer->use.group, &item, message_id);
    enum err e = retry_item_write(&item, &bytes);
    wait_lock(&replayer->wait);
    replayer->publishing++;
    wait_unlock(&replayer->wait);
    if (!e)
        e = bus_publish(replayer->use.retry_log,
                        &(struct bus_message){.subject = replayer->use.retry_subject,
                                              .payload = buf_view(&bytes),
                                              .message_id = message_id},
                        on_published, &replayer->items[index]);
    buf_free(&bytes);
    if (e) {
        wait_lock(&replayer->wait);
        replayer->publishing--;
        wait_unlock(&replayer->wait);
    }
    return e;
}

/* Publishes those that are not stored yet, and waits for what becomes of them: each publish has an
 * outcome within seconds. True: all are stored. */
static bool publish_round(struct replayer *replayer, int64_t due_ms)
{
    enum err e = ERR_NONE;
    for (size_t i = 0; i < replayer->count && !e; i++)
        if (!replayer->items[i].stored)
            e = publish_one(replayer, i, due_ms);
    bool all = !e;
    wait_lock(&replayer->wait);
    while (replayer->publishing > 0)
        wait_on(&replayer->wait);
    for (size_t i = 0; i < replayer->count; i++)
        all = all && replayer->items[i].stored;
    wait_unlock(&replayer->wait);
    return all;
}

/* False: not now. */
static bool publish_items(struct replayer *replayer, int64_t due_ms)
{
    struct timespec until = wait_until(PUBLISH_MS);
    for (size_t i = 0; i < replayer->count; i++)
        replayer->items[i] = (struct next_item){.replayer = replayer};
    while (!publish_round(replayer, due_ms)) {
        if (wait_left_ms(until) == 0 || wait_flag_is_set(&replayer->stop))
            return false;
        wait_flag_pause(&replayer->stop, PUBLISH_AGAIN_MS);
    }
    return true;
}

/* ---- recording ---- */

static void fill_changes(struct replayer *replayer, int64_t now_ms)
{
    for (size_t i = 0; i < replayer->count; i++) {
        const struct status_entry *entry = &replayer->entries[i];
        replayer->changes[i] = (struct status_change){
            .id = entry->id,
            .event_position = entry->event_position,
            .state = {.status = STATUS_RETRYING, .generation = entry->state.generation + 1},
            .time_ms = now_ms,
            .previous_position = entry->change_position,
            .due_ms = now_ms};
    }
}

/* Events take their share of a second each, after those before them. */
static void pace(struct run *run, size_t events, uint32_t rate)
{
    struct timespec now = wait_until(0);
    if (wait_left_ms(run->next_at) == 0)
        run->next_at = now;
    if (rate == 0)
        return;
    int64_t ns = run->next_at.tv_nsec + (int64_t)events * 1000000000 / rate;
    run->next_at.tv_sec += ns / 1000000000;
    run->next_at.tv_nsec = ns % 1000000000;
}

static void end_chunk(struct replayer *replayer, struct run *run, const struct replay *replay,
                      const struct replay_change *change)
{
    uint64_t replayed = change->replayed - replay->replayed;
    metric_add(replayer->replayed, replayed);
    pace(run, (size_t)replayed, replay_plan_filter(replay->plan)->rate);
    replayer->limit =
        replayer->limit * 2 < REPLAYER_CHUNK_MAX ? replayer->limit * 2 : REPLAYER_CHUNK_MAX;
    if (change->state != REPLAY_DONE)
        return;
    char id[ID_TEXT_SIZE];
    id_format(&change->id, id);
    log_info("a replay is done", LOG_TEXT("replay", id), LOG_U64("replayed", change->replayed),
             LOG_U64("skipped", change->skipped));
}

/* False: it must be done again, from the replay's cursor. */
static bool replay_chunk(struct replayer *replayer, struct run *run, const struct replay *replay)
{
    bool end;
    const struct replay_filter *filter = replay_plan_filter(replay->plan);
    size_t max = chunk_size(replayer, filter->rate);
    if (find_events(replayer, run, max, &end) ||
        follower_ready(replayer->use.follower) != run->epoch)
        return false;
    int64_t now_ms = clock_wall_ms(replayer->use.clock);
    now_ms = now_ms > 0 ? now_ms : 1;
    if (wait_flag_is_set(&replayer->stop) || !publish_items(replayer, now_ms))
        return false;
    fill_changes(replayer, now_ms);
    bool letters = end && replayer_has_letters(filter, replay->letter_cursor);
    struct replay_change change = {.id = replay->id,
                                   .state = end && !letters ? REPLAY_DONE : REPLAY_RUNNING,
                                   .time_ms = now_ms,
                                   .cursor = replay_walk_cursor(&run->walk),
                                   .letter_cursor = replay->letter_cursor,
                                   .replayed = replay->replayed + replayer->count,
                                   .skipped = replay->skipped + replayer->skipped};
    if (letters && replayer->count == 0 && !replayer_run_letters(replayer, filter, max, &change))
        return false;
    enum err e = replayer_record(replayer, replayer->count, &change);
    if (e == ERR_TOO_LARGE && replayer->limit > 1)
        replayer->limit /= 2;
    if (!e)
        end_chunk(replayer, run, replay, &change);
    return !e;
}

bool replayer_run(struct replayer *replayer, struct run *run)
{
    struct replay replay;
    uint64_t epoch;
    if (!replayer_catch_up(replayer, &epoch) || !replayer_owns(replayer, &run->id, &replay))
        return false;
    bool done = !open_walk(replayer, run, &replay, epoch) && replay_chunk(replayer, run, &replay);
    if (!done)
        replayer_close_walk(run);
    replay_release(&replay);
    return done;
}
