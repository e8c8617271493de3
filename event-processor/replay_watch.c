#include "event-processor/replay_watch.h"

#include "common/mem.h"
#include "event-processor/replay_request.h"
#include "event-processor/wait.h"

#include <stdatomic.h>

enum {
    APART_MS = 100, /* two messages of a stream, but for the last one */
    IDLE_MS = 60000 /* nothing is to be told then unless something changes */
};

struct replay_stream {
    struct replay_watch *watch;
    struct rpc_call *call; /* NULL: it is over */
    bool once;
    bool asking;  /* the desk has it */
    bool sending; /* a message has not left yet */
    bool late;    /* there is or may be something to tell that could not be told yet */
    bool ended;   /* the call was answered */
    bool listed;
    struct event_id id;
    uint64_t told_cursor; /* what was sent last */
    int64_t told_ms;
    struct timespec next_at;
    atomic_bool gone;
    struct replay_stream *next, **at; /* in the list */
};

struct replay_watch {
    struct replay_desk *desk; /* until replay_watch_end */
    struct replays *replays;
    pthread_mutex_t lock; /* guards the streams, and the following */
    struct replay_stream *streams;
    struct replay_stream *next_up; /* whose turn it is in the thread's round */
    bool ending;
    bool started;
    pthread_t thread;
};

static const char shutting_down[] =
    "this processor is shutting down; the replay goes on, ask another one";

/* ---- with the lock held ---- */

static void unlist(struct replay_stream *stream)
{
    if (!stream->listed)
        return;
    *stream->at = stream->next;
    if (stream->next)
        stream->next->at = stream->at;
    if (stream->watch->next_up == stream)
        stream->watch->next_up = stream->next;
    stream->listed = false;
}

static void list(struct replay_stream *stream)
{
    struct replay_watch *watch = stream->watch;
    stream->next = watch->streams;
    stream->at = &watch->streams;
    if (stream->next)
        stream->next->at = &stream->next;
    watch->streams = stream;
    stream->listed = true;
}

static void fail(struct replay_stream *stream, enum err e, const char *message)
{
    stream->ended = true;
    unlist(stream);
    rpc_fail(stream->call, e, message);
}

/* Sends it, as the last message where nothing will follow. */
static void send(struct replay_stream *stream, const struct replay_progress *progress, bool last)
{
    struct buf out;
    buf_init(&out, RPC_ANSWER_MAX);
    enum err e = replay_progress_write(progress, &out);
    if (e) {
        fail(stream, e, err_title(e));
    } else if (last) {
        stream->ended = true;
        unlist(stream);
        rpc_reply(stream->call, buf_view(&out));
    } else {
        stream->sending = true;
        stream->told_cursor = progress->event_position;
        stream->told_ms = progress->updated_ms;
        stream->next_at = wait_until(APART_MS);
        rpc_send(stream->call, buf_view(&out));
    }
    buf_free(&out);
}

static bool is_news(const struct replay_stream *stream, const struct replay *replay)
{
    return replay->cursor != stream->told_cursor || replay->updated_ms != stream->told_ms;
}

/* Whether there is anything to be told, as far as it costs little to know. */
static bool is_worth_it(struct replay_stream *stream)
{
    struct replay replay;
    if (!replays_find(stream->watch->replays, &stream->id, &replay))
        return true;
    bool last = replay.state != REPLAY_RUNNING;
    bool news = last || is_news(stream, &replay);
    replay_release(&replay);
    stream->late = news && !last && wait_left_ms(stream->next_at) > 0;
    return news && !stream->late;
}

/* Tells what has changed. Where that cannot be known, waiting might be for ever. */
static void tell(struct replay_stream *stream)
{
    struct replay replay;
    struct replay_shown shown;
    stream->late = stream->sending;
    if (stream->sending || !is_worth_it(stream))
        return;
    enum err e = replay_desk_look(stream->watch->desk, &stream->id, &replay, &shown);
    if (e) {
        fail(stream, e,
             e == ERR_NOT_FOUND
                 ? "the replay is not known any more: the status log no longer has it"
             : e == ERR_UNAVAILABLE
                 ? "this processor has not caught up with the bus; ask again, or another one"
                 : err_title(e));
        return;
    }
    send(stream, &shown.progress, replay.state != REPLAY_RUNNING);
    replay_shown_free(&shown);
    replay_release(&replay);
}

/* ---- the thread ---- */

/* Looks at all streams, with the lock for one at a time. In how many milliseconds to do so again,
 * at the latest. */
static int64_t tell_all(struct replay_watch *watch)
{
    int64_t next_ms = IDLE_MS;
    struct replay_stream *stream;
    pthread_mutex_lock(&watch->lock);
    watch->next_up = watch->streams;
    while ((stream = watch->next_up) != NULL) {
        watch->next_up = stream->next;
        tell(stream);
        int64_t left_ms = wait_left_ms(stream->next_at);
        if (stream->late && !stream->sending && left_ms < next_ms)
            next_ms = left_ms;
        pthread_mutex_unlock(&watch->lock);
        pthread_mutex_lock(&watch->lock);
    }
    pthread_mutex_unlock(&watch->lock);
    return next_ms;
}

static bool is_ending(struct replay_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    bool ending = watch->ending;
    pthread_mutex_unlock(&watch->lock);
    return ending;
}

static void *run_watch(void *arg)
{
    struct replay_watch *watch = arg;
    uint64_t turn = 0;
    while (!is_ending(watch)) {
        int64_t next_ms = tell_all(watch);
        turn = replays_wait(watch->replays, turn, wait_until(next_ms));
    }
    return NULL;
}

/* ---- a stream's life ---- */

struct replay_stream *replay_stream_open(struct replay_watch *watch, struct rpc_call *call,
                                         bool once)
{
    struct replay_stream *stream = mem_zero(1, sizeof *stream);
    if (!stream) {
        rpc_fail(call, ERR_MEMORY, NULL);
        return NULL;
    }
    *stream = (struct replay_stream){.watch = watch, .call = call, .once = once, .asking = true};
    rpc_set_user(call, stream);
    return stream;
}

bool replay_stream_gone(void *ctx)
{
    struct replay_stream *stream = ctx;
    return atomic_load(&stream->gone);
}

void replay_stream_first(void *ctx, enum err e, const char *message,
                         const struct replay_progress *progress)
{
    struct replay_stream *stream = ctx;
    struct replay_watch *watch = stream->watch;
    pthread_mutex_lock(&watch->lock);
    stream->asking = false;
    bool over = !stream->call;
    if (!over && e) {
        fail(stream, e, message);
    } else if (!over && !stream->once && progress->state == REPLAY_RUNNING && watch->ending) {
        fail(stream, ERR_UNAVAILABLE, shutting_down);
    } else if (!over) {
        stream->id = progress->id;
        send(stream, progress, stream->once || progress->state != REPLAY_RUNNING);
        if (!stream->ended) {
            list(stream);
            replays_wake(watch->replays); /* it may have changed since it was looked at */
        }
    }
    pthread_mutex_unlock(&watch->lock);
    if (over)
        mem_free(stream);
}

void replay_stream_writable(struct replay_watch *watch, struct rpc_call *call)
{
    struct replay_stream *stream = rpc_user(call);
    pthread_mutex_lock(&watch->lock);
    if (stream)
        stream->sending = false;
    if (stream && stream->listed && stream->late)
        replays_wake(watch->replays);
    pthread_mutex_unlock(&watch->lock);
}

void replay_stream_closed(struct replay_watch *watch, struct rpc_call *call)
{
    struct replay_stream *stream = rpc_user(call);
    if (!stream)
        return; /* it was refused */
    pthread_mutex_lock(&watch->lock);
    unlist(stream);
    stream->call = NULL;
    atomic_store(&stream->gone, true);
    bool asking = stream->asking;
    pthread_mutex_unlock(&watch->lock);
    if (!asking)
        mem_free(stream);
}

/* ---- life ---- */

enum err replay_watch_new(struct replay_desk *desk, struct replay_watch **ret)
{
    struct replay_watch *watch = mem_zero(1, sizeof *watch);
    if (!watch)
        return ERR_MEMORY;
    if (pthread_mutex_init(&watch->lock, NULL) != 0) {
        mem_free(watch);
        return ERR_MEMORY;
    }
    watch->desk = desk;
    watch->replays = replay_desk_replays(desk);
    watch->started = pthread_create(&watch->thread, NULL, run_watch, watch) == 0;
    if (!watch->started) {
        replay_watch_free(watch);
        return ERR_MEMORY;
    }
    *ret = watch;
    return ERR_NONE;
}

void replay_watch_end(struct replay_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->ending = true;
    while (watch->streams)
        fail(watch->streams, ERR_UNAVAILABLE, shutting_down);
    pthread_mutex_unlock(&watch->lock);
    replays_wake(watch->replays);
    if (watch->started)
        pthread_join(watch->thread, NULL);
    watch->started = false;
}

void replay_watch_free(struct replay_watch *watch)
{
    if (!watch)
        return;
    pthread_mutex_destroy(&watch->lock);
    mem_free(watch);
}
