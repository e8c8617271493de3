#include "common/mem.h"
#include "event-processor/replay_desk_parts.h"

enum {
    PATIENCE_MS = 10000,
    WAITING_MAX = 1000, /* tasks */
};

/* ---- answers ---- */

void desk_fail(struct task *task, enum err e, const char *message)
{
    task->ask.done(task->ask.ctx, e, message, NULL);
    replay_wanted_free(task->wanted);
    mem_free(task);
}

enum err replay_desk_look(struct replay_desk *desk, const struct event_id *id,
                          struct replay *ret_replay, struct replay_shown *ret)
{
    struct status_reflects reflects;
    uint64_t ready = follower_ready(desk->use.follower);
    status_table_reflects(desk->use.walk.table, &reflects);
    if (reflects.epoch != ready)
        return ERR_UNAVAILABLE;
    struct replay replay;
    if (!replays_find(desk->use.replays, id, &replay))
        return follower_ready(desk->use.follower) == ready ? ERR_NOT_FOUND : ERR_UNAVAILABLE;
    *ret_replay = replay;
    enum err e = replay_show(ret_replay, reflects.status_position, true, ret);
    if (e)
        replay_release(ret_replay);
    return e;
}

/* Answers with what is known now; else says why not, and does nothing. */
static enum err answer_now(struct replay_desk *desk, const struct replay_ask *ask,
                           const struct event_id *id)
{
    struct replay replay;
    struct replay_shown shown;
    enum err e = replay_desk_look(desk, id, &replay, &shown);
    if (e)
        return e;
    ask->done(ask->ctx, ERR_NONE, "", &shown.progress);
    replay_shown_free(&shown);
    replay_release(&replay);
    return ERR_NONE;
}

void desk_answer(struct replay_desk *desk, struct task *task, const struct event_id *id)
{
    char text[ID_TEXT_SIZE];
    struct err_detail detail;
    enum err e = answer_now(desk, &task->ask, id);
    if (e) {
        id_format(id, text);
        if (e == ERR_NOT_FOUND)
            err_set(&detail, e,
                    "no replay %s; those that run are known, and the last %d that have "
                    "ended",
                    text, REPLAYS_KEPT);
        else
            err_set(&detail, e, "%s",
                    e == ERR_MEMORY ? "out of memory"
                                    : "this processor has not caught up with the bus; try again");
        desk_fail(task, e, detail.text);
        return;
    }
    replay_wanted_free(task->wanted);
    mem_free(task);
}

/* ---- asking ---- */

static void enqueue(struct replay_desk *desk, struct task *task)
{
    task->next = NULL;
    wait_lock(&desk->wait);
    bool stopping = wait_flag_is_set(&desk->stop);
    bool taken = !stopping && desk->count < WAITING_MAX;
    if (taken) {
        if (desk->first)
            desk->last->next = task;
        else
            desk->first = task;
        desk->last = task;
        desk->count++;
        wait_wake_all(&desk->wait);
    }
    wait_unlock(&desk->wait);
    if (stopping)
        desk_fail(task, ERR_UNAVAILABLE, "this processor is shutting down; ask another one");
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
    else if (ask->wish == REPLAY_GET && answer_now(desk, ask, &task->id) == ERR_NONE)
        mem_free(task);
    else
        enqueue(desk, task);
}

/* ---- lists ---- */

enum err replay_desk_list(struct replay_desk *desk, size_t max,
                          void (*use)(void *ctx, const struct replay_progress *list, size_t count),
                          void *ctx)
{
    struct status_reflects reflects;
    status_table_reflects(desk->use.walk.table, &reflects);
    if (reflects.epoch != follower_ready(desk->use.follower))
        return ERR_UNAVAILABLE;
    struct replay *list = mem_zero(max, sizeof *list);
    struct replay_shown *shown = mem_zero(max, sizeof *shown);
    struct replay_progress *progress = mem_zero(max, sizeof *progress);
    size_t count = 0;
    enum err e = list && shown && progress ? ERR_NONE : ERR_MEMORY;
    if (!e)
        count = replays_list(desk->use.replays, false, list, max);
    for (size_t i = 0; i < count && !e; i++) {
        e = replay_show(&list[i], reflects.status_position, false, &shown[i]);
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
    replay_recorder_init(&desk->recorder,
                         &(struct replay_recorder_options){.log = options->status_records,
                                                           .subject = options->status_subject,
                                                           .processor = options->processor,
                                                           .stop = &desk->stop});
    return ERR_NONE;
}

enum err replay_desk_start(const struct replay_desk_options *options, struct replay_desk **ret)
{
    struct replay_desk *desk = mem_zero(1, sizeof *desk);
    if (!desk || init(desk, options)) {
        mem_free(desk);
        return ERR_MEMORY;
    }
    desk->started = pthread_create(&desk->thread, NULL, desk_run, desk) == 0;
    if (!desk->started) {
        replay_desk_stop(desk);
        return ERR_MEMORY;
    }
    *ret = desk;
    return ERR_NONE;
}

void replay_desk_stop(struct replay_desk *desk)
{
    if (!desk)
        return;
    wait_flag_set(&desk->stop);
    wait_lock(&desk->wait);
    wait_wake_all(&desk->wait);
    wait_unlock(&desk->wait);
    if (desk->started)
        pthread_join(desk->thread, NULL);
    replay_recorder_free(&desk->recorder);
    wait_flag_destroy(&desk->stop);
    wait_destroy(&desk->wait);
    mem_free(desk);
}
