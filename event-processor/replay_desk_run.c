/* The desk's threads: what waits for the bus. */
#include "common/mem.h"
#include "event-processor/replay_desk_parts.h"

enum {
    END_MS = 2000,
    SLICE_MS = 100,
    LOOK_AFTER = 1024, /* events counted, then it is seen whether somebody still waits */
};

const char desk_away[] = "it cannot be known now: the bus does not answer; try again";
static const char behind[] =
    "it cannot be known now: this processor has not caught up with the bus in time; try again";
const char desk_stopping[] = "this processor is shutting down; ask another one";
static const char gone[] = "the caller has gone away";

/* ---- patience ---- */

const char *desk_over(struct replay_desk *desk, const struct task *task, enum err *ret)
{
    *ret = ERR_UNAVAILABLE;
    if (wait_flag_is_set(&desk->stop) || (task->starts && atomic_load(&desk->draining)))
        return desk_stopping;
    if (wait_left_ms(task->until) == 0)
        return behind;
    if (!task->ask.gone || !task->ask.gone(task->ask.ctx))
        return NULL;
    *ret = ERR_CANCELLED;
    return gone;
}

/* Waits until the table has passed the target; else says why not. */
static enum err wait_fold(struct replay_desk *desk, const struct task *task,
                          const struct follower_target *target, struct err_detail *detail)
{
    enum err e, why = ERR_UNAVAILABLE;
    while ((e = follower_wait(desk->use.follower, target, SLICE_MS, NULL)) != ERR_NONE) {
        const char *message = e == ERR_DEADLINE ? desk_over(desk, task, &why) : desk_stopping;
        if (message)
            return err_set(detail, why, "%s", message);
    }
    return ERR_NONE;
}

/* Waits until the table knows all that both logs held; else says why not. */
static enum err catch_up(struct replay_desk *desk, const struct task *task,
                         struct follower_target *ret, struct err_detail *detail)
{
    enum err e;
    const char *message = desk_over(desk, task, &e);
    if (!message && follower_ends(desk->use.follower, END_MS, ret))
        message = desk_away;
    return message ? err_set(detail, e, "%s", message) : wait_fold(desk, task, ret, detail);
}

/* What has been recorded lives, although it cannot be told: whoever does not learn its id would
 * start another one. */
static void say_recorded(struct task *task, const struct event_id *id, enum err e,
                         const struct err_detail *why)
{
    char text[ID_TEXT_SIZE];
    struct err_detail detail;
    id_format(id, text);
    err_set(&detail, e, "%s is stored, but how far it is cannot be told (%s); ask for replay_id %s",
            task->ask.wish == REPLAY_START ? "the replay" : "the replay's end", why->text, text);
    desk_fail(task, e, detail.text);
}

/* Waits until what was recorded there has been folded, and answers with what it has made. */
static void answer_recorded(struct replay_desk *desk, struct task *task, const struct event_id *id,
                            uint64_t position)
{
    const struct follower_target target = {.status_position = position};
    struct err_detail why;
    task->starts = false;
    enum err e = wait_fold(desk, task, &target, &why);
    if (!e)
        e = desk_answer(desk, task, id, &why);
    if (e == ERR_INVALID) /* somebody else's with the same id came first */
        desk_fail(task, e, why.text);
    else if (e)
        say_recorded(task, id, e, &why);
}

/* Records the change and answers with what it has made. */
static void record(struct desk_line *line, struct task *task, const struct replay_change *change)
{
    struct err_detail detail;
    uint64_t position;
    enum err e =
        replay_record(&line->recorder, NULL, 0, change, wait_left_ms(task->until), &position);
    if (e == ERR_TOO_LARGE) {
        desk_fail(task, e, "the request has more event_ids than one message of the bus takes");
    } else if (e == ERR_MEMORY) {
        desk_fail(task, e, "out of memory");
    } else if (e) {
        char id[ID_TEXT_SIZE];
        id_format(&change->id, id);
        err_set(&detail, e,
                "it is unknown whether this was recorded; ask for the replay, or send the request "
                "again, with replay_id %s",
                id);
        desk_fail(task, ERR_UNAVAILABLE, detail.text);
    } else {
        answer_recorded(line->desk, task, &change->id, position);
    }
}

static void answer(struct replay_desk *desk, struct task *task, const struct event_id *id)
{
    struct err_detail detail;
    enum err e = desk_answer(desk, task, id, &detail);
    if (e)
        desk_fail(task, e, detail.text);
}

/* ---- cancelling ---- */

static void cancel(struct desk_line *line, struct task *task)
{
    struct replay_desk *desk = line->desk;
    struct replay replay;
    bool found = replays_find(desk->use.replays, &task->id, &replay);
    if (found && replay.state == REPLAY_RUNNING) {
        struct replay_change change = {.id = task->id,
                                       .state = REPLAY_CANCELLED,
                                       .time_ms = clock_wall_ms(desk->use.clock),
                                       .cursor = replay.cursor,
                                       .letter_cursor = replay.letter_cursor,
                                       .replayed = replay.replayed,
                                       .skipped = replay.skipped};
        record(line, task, &change);
    } else {
        answer(desk, task, &task->id);
    }
    if (found)
        replay_release(&replay);
}

/* ---- starting ---- */

/* Counts what would be replayed. ERR_CANCELLED: the task has been failed. */
static enum err count(struct replay_desk *desk, struct task *task, struct replay_walk *walk,
                      struct replay_progress *progress)
{
    enum replay_step step = REPLAY_PASS;
    for (uint64_t i = 1; step != REPLAY_END; i++) {
        struct status_entry entry;
        enum err why, e = replay_walk_next(walk, &step, &entry);
        if (e)
            return e;
        progress->replayed += step == REPLAY_TAKE;
        progress->skipped += step == REPLAY_SKIP;
        const char *message =
            step == REPLAY_PASS || i % LOOK_AFTER == 0 ? desk_over(desk, task, &why) : NULL;
        if (message) {
            desk_fail(task, why, message);
            return ERR_CANCELLED;
        }
    }
    return ERR_NONE;
}

static void dry_run(struct replay_desk *desk, struct task *task)
{
    struct status_reflects reflects;
    struct replay_shown shown;
    struct replay_walk walk;
    status_table_reflects(desk->use.walk.table, &reflects);
    if (replay_show_filter(&task->wanted->filter, &shown)) {
        desk_fail(task, ERR_MEMORY, "out of memory");
        return;
    }
    enum err e = replay_walk_open(&walk, &desk->use.walk, &task->wanted->filter, UINT64_MAX, 0);
    if (!e) {
        e = count(desk, task, &walk, &shown.progress);
        shown.progress.replayed += task->wanted->filter.letter_count;
        shown.progress.event_position = replay_walk_cursor(&walk);
        replay_walk_close(&walk);
    }
    if (!e) {
        shown.progress.started_ms = clock_wall_ms(desk->use.clock);
        shown.progress.updated_ms = shown.progress.started_ms;
        shown.progress.processor = view_of(desk->use.processor);
        shown.progress.position = reflects.status_position;
        task->ask.done(task->ask.ctx, ERR_NONE, "", &shown.progress);
        desk_done(task);
    } else if (e != ERR_CANCELLED) {
        desk_fail(task, e == ERR_MEMORY ? e : ERR_UNAVAILABLE,
                  e == ERR_MEMORY ? "out of memory" : desk_away);
    }
    replay_shown_free(&shown);
}

/* Whether there is a replay with the id that the caller has made. */
static bool is_known(struct replay_desk *desk, const struct replay_wanted *wanted)
{
    struct replay known;
    bool found = !id_is_zero(&wanted->id) && !wanted->dry_run &&
                 replays_find(desk->use.replays, &wanted->id, &known);
    if (found)
        replay_release(&known);
    return found;
}

/* Looks for what is wanted. False: the task has been failed. */
static bool find_wanted(struct replay_desk *desk, struct task *task)
{
    struct replay_wanted *wanted = task->wanted;
    struct err_detail detail;
    struct replay_search search;
    if (!desk_find_letters(desk, task, &search))
        return false;
    enum err e = desk_check_ids(desk, wanted, &search, &detail);
    wanted->filter.letters = wanted->letters;
    wanted->filter.letter_count = replay_search_positions(&search, wanted->letters);
    replay_search_close(&search);
    if (!e && !wanted->dry_run && replays_running(desk->use.replays) >= REPLAYS_RUNNING_MAX)
        e = err_set(&detail, ERR_BUSY, "%d replays are running; cancel one or wait for its end",
                    REPLAYS_RUNNING_MAX);
    if (e)
        desk_fail(task, e, detail.text);
    return e == ERR_NONE;
}

static void start(struct desk_line *line, struct task *task, uint64_t last_position)
{
    struct replay_desk *desk = line->desk;
    struct replay_wanted *wanted = task->wanted;
    enum err why;
    wanted->filter.last_position = last_position;
    if (is_known(desk, wanted)) {
        answer(desk, task, &wanted->id);
        return;
    }
    if (!find_wanted(desk, task))
        return;
    if (wanted->dry_run) {
        dry_run(desk, task);
        return;
    }
    const char *message = desk_over(desk, task, &why); /* the look may have taken long */
    if (message) {
        desk_fail(task, why, message);
        return;
    }
    if (id_is_zero(&wanted->id))
        id_make(desk->use.clock, &wanted->id);
    struct replay_change change = {.id = wanted->id,
                                   .state = REPLAY_RUNNING,
                                   .time_ms = clock_wall_ms(desk->use.clock),
                                   .has_filter = true,
                                   .filter = wanted->filter,
                                   .runner = view_of(desk->use.processor)};
    record(line, task, &change);
}

/* ---- the threads ---- */

static void serve(struct desk_line *line, struct task *task)
{
    struct follower_target target = {0};
    struct err_detail detail;
    enum err e = catch_up(line->desk, task, &target, &detail);
    if (e)
        desk_fail(task, e, detail.text);
    else if (task->ask.wish == REPLAY_START)
        start(line, task, target.event_last);
    else if (task->ask.wish == REPLAY_CANCEL)
        cancel(line, task);
    else
        answer(line->desk, task, &task->id);
}

/* NULL: stopping, and nothing is left. */
static struct task *take_next(struct desk_line *line)
{
    struct replay_desk *desk = line->desk;
    wait_lock(&desk->wait);
    while (!line->first && !wait_flag_is_set(&desk->stop))
        wait_on(&desk->wait);
    struct task *task = line->first;
    if (task) {
        line->first = task->next;
        line->count--;
    }
    wait_unlock(&desk->wait);
    return task;
}

void *desk_run(void *arg)
{
    struct desk_line *line = arg;
    struct task *task;
    while ((task = take_next(line)) != NULL)
        serve(line, task);
    return NULL;
}
