#include "common/mem.h"
#include "event-processor/replay_desk_parts.h"

enum {
    PATIENCE_MS = 10000,
    WAITING_MAX = 1000, /* tasks */
};

/* ---- answers ---- */

void desk_done(struct task *task)
{
    replay_wanted_free(task->wanted);
    mem_free(task);
}

void desk_fail(struct task *task, enum err e, const char *message)
{
    task->ask.done(task->ask.ctx, e, message, NULL);
    desk_done(task);
}

/* The epoch in which the table, and the replays with it, can be believed, and how far it has come;
 * 0: they cannot be now. What was not there between two calls with the same answer is nowhere: a
 * rebuild gives the table its next epoch before it takes the replays away. */
static uint64_t believed_epoch(struct replay_desk *desk, uint64_t *ret_position)
{
    struct status_reflects reflects;
    status_table_reflects(desk->use.walk.table, &reflects);
    *ret_position = reflects.status_position;
    return reflects.epoch == follower_ready(desk->use.follower) ? reflects.epoch : 0;
}

enum err replay_desk_look(struct replay_desk *desk, const struct event_id *id,
                          struct replay *ret_replay, struct replay_shown *ret)
{
    struct replay replay;
    uint64_t position, later;
    uint64_t epoch = believed_epoch(desk, &position);
    if (epoch == 0)
        return ERR_UNAVAILABLE;
    if (!replays_find(desk->use.replays, id, &replay))
        return believed_epoch(desk, &later) == epoch ? ERR_NOT_FOUND : ERR_UNAVAILABLE;
    *ret_replay = replay;
    enum err e = replay_show(ret_replay, position, true, ret);
    if (e)
        replay_release(ret_replay);
    return e;
}

enum err desk_answer(struct replay_desk *desk, struct task *task, const struct event_id *id,
                     struct err_detail *detail)
{
    char text[ID_TEXT_SIZE];
    struct replay replay;
    struct replay_shown shown;
    enum err e = replay_desk_look(desk, id, &replay, &shown);
    id_format(id, text);
    if (e == ERR_NOT_FOUND)
        return err_set(detail, e,
                       "no replay %s; those that run are known, and the last %d that have ended",
                       text, REPLAYS_KEPT);
    if (e)
        return err_set(detail, e, "%s",
                       e == ERR_MEMORY
                           ? "out of memory"
                           : "this processor has not caught up with the bus; try again");
    if (task->wanted &&
        !replay_filter_equal(&task->wanted->filter, replay_plan_filter(replay.plan)))
        e = err_set(detail, ERR_INVALID,
                    "replay_id %s belongs to another request, which asked for other events or "
                    "another rate; give one of your own to this one, or none",
                    text);
    else
        task->ask.done(task->ask.ctx, ERR_NONE, "", &shown.progress);
    replay_shown_free(&shown);
    replay_release(&replay);
    if (!e)
        desk_done(task);
    return e;
}

/* ---- asking ---- */

static void enqueue(struct replay_desk *desk, struct task *task)
{
    struct desk_line *line =
        &desk->lines[task->ask.wish == REPLAY_START ? DESK_STARTS : DESK_SHORT];
    task->next = NULL;
    wait_lock(&desk->wait);
    bool stopping = wait_flag_is_set(&desk->stop);
    bool taken = !stopping && line->count < WAITING_MAX;
    if (taken) {
        if (line->first)
            line->last->next = task;
        else
            line->first = task;
        line->last = task;
        line->count++;
        wait_wake_all(&desk->wait);
    }
    wait_unlock(&desk->wait);
    if (stopping)
        desk_fail(task, ERR_UNAVAILABLE, desk_stopping);
    else if (!taken)
        desk_fail(task, ERR_BUSY, "too many requests about replays are waiting; try again");
}

/* Fills what the task needs of the request. */
static enum err take_request(struct replay_desk *desk, const struct replay_ask *ask,
                             struct task *task, struct err_detail *detail)
{
    struct event_id id;
    if (ask->wish != REPLAY_START)
        return replay_id_check(ask->replay_id, &task->id, detail);
    enum err e = replay_request_check(&ask->request, &id, detail);
    if (e)
        return e;
    task->starts = !ask->request.dry_run;
    e = replay_wanted_new(&ask->request, &id, view_of(desk->use.source), &task->wanted);
    return e ? err_set(detail, e, "out of memory") : ERR_NONE;
}

void replay_desk_ask(struct replay_desk *desk, const struct replay_ask *ask)
{
    struct err_detail detail;
    struct task *task = mem_zero(1, sizeof *task);
    if (!task) {
        ask->done(ask->ctx, ERR_MEMORY, "out of memory", NULL);
        return;
    }
    task->ask = *ask;
    task->until = wait_until(ask->timeout_ms < PATIENCE_MS ? ask->timeout_ms : PATIENCE_MS);
    enum err e = take_request(desk, ask, task, &detail);
    if (e)
        desk_fail(task, e, detail.text);
    else if (ask->wish != REPLAY_GET || desk_answer(desk, task, &task->id, &detail))
        enqueue(desk, task);
}

/* ---- lists ---- */

enum err replay_desk_list(struct replay_desk *desk, size_t max,
                          void (*use)(void *ctx, const struct replay_progress *list, size_t count),
                          void *ctx)
{
    uint64_t position, later;
    uint64_t epoch = believed_epoch(desk, &position);
    if (epoch == 0)
        return ERR_UNAVAILABLE;
    struct replay *list = mem_zero(max, sizeof *list);
    struct replay_shown *shown = mem_zero(max, sizeof *shown);
    struct replay_progress *progress = mem_zero(max, sizeof *progress);
    size_t count = 0;
    enum err e = list && shown && progress ? ERR_NONE : ERR_MEMORY;
    if (!e)
        count = replays_list(desk->use.replays, false, list, max);
    if (!e && believed_epoch(desk, &later) != epoch)
        e = ERR_UNAVAILABLE;
    for (size_t i = 0; i < count && !e; i++) {
        e = replay_show(&list[i], position, false, &shown[i]);
        progress[i] = shown[i].progress;
    }
    if (!e)
        use(ctx, progress, count);
    for (size_t i = 0; i < count; i++) {
        replay_shown_free(&shown[i]);
        replay_release(&list[i]);
    }
    mem_free(progress);
    mem_free(shown);
    mem_free(list);
    return e;
}

struct replays *replay_desk_replays(struct replay_desk *desk)
{
    return desk->use.replays;
}

/* ---- life ---- */

static enum err init(struct replay_desk *desk, const struct replay_desk_options *options)
{
    if (wait_init(&desk->wait))
        return ERR_MEMORY;
    if (wait_flag_init(&desk->stop)) {
        wait_destroy(&desk->wait);
        return ERR_MEMORY;
    }
    desk->use = *options;
    return ERR_NONE;
}

static enum err start_line(struct replay_desk *desk, struct desk_line *line)
{
    line->desk = desk;
    replay_recorder_init(&line->recorder,
                         &(struct replay_recorder_options){.log = desk->use.status_records,
                                                           .subject = desk->use.status_subject,
                                                           .processor = desk->use.processor,
                                                           .stop = &desk->stop});
    line->started = pthread_create(&line->thread, NULL, desk_run, line) == 0;
    return line->started ? ERR_NONE : ERR_MEMORY;
}

enum err replay_desk_start(const struct replay_desk_options *options, struct replay_desk **ret)
{
    struct replay_desk *desk = mem_zero(1, sizeof *desk);
    if (!desk || init(desk, options)) {
        mem_free(desk);
        return ERR_MEMORY;
    }
    enum err e = ERR_NONE;
    for (int i = 0; i < DESK_LINES && !e; i++)
        e = start_line(desk, &desk->lines[i]);
    if (e)
        replay_desk_stop(desk);
    else
        *ret = desk;
    return e;
}

void replay_desk_drain(struct replay_desk *desk)
{
    atomic_store(&desk->draining, true);
}

void replay_desk_end(struct replay_desk *desk)
{
    wait_flag_set(&desk->stop);
    wait_lock(&desk->wait);
    wait_wake_all(&desk->wait);
    wait_unlock(&desk->wait);
}

void replay_desk_stop(struct replay_desk *desk)
{
    if (!desk)
        return;
    replay_desk_end(desk);
    for (int i = 0; i < DESK_LINES; i++) {
        struct desk_line *line = &desk->lines[i];
        if (line->started)
            pthread_join(line->thread, NULL);
        replay_recorder_free(&line->recorder);
    }
    wait_flag_destroy(&desk->stop);
    wait_destroy(&desk->wait);
    mem_free(desk);
}
