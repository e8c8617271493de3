#include "event-processor/replay_watch.h"

#include "common/mem.h"
#include "event-processor/replay_request.h"
#include "event-processor/wait.h"

#include <stdatomic.h>

enum { APART_MS = 100 }; /* two messages of a stream, but for the last one */

struct replay_stream {
    struct replay_watch *watch;
    struct rpc_call *call; /* NULL: it is over */
    bool once;
    bool asking;  /* the desk has it */
    bool sending; /* a message has not left yet */
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
    struct replay_desk *desk;
    pthread_mutex_t lock; /* guards the streams */
    struct replay_stream *streams;
    bool ending;
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

static bool is_news(const struct replay_stream *stream, const struct replay_progress *progress)
{
    return progress->event_position != stream->told_cursor ||
           progress->updated_ms != stream->told_ms;
}

/* Tells what has changed. */
static void tell(struct replay_stream *stream)
{
    struct replay replay;
    struct replay_shown shown;
    if (stream->sending)
        return;
    enum err e = replay_desk_look(stream->watch->desk, &stream->id, &replay, &shown);
    if (e == ERR_NOT_FOUND)
        fail(stream, e, "the replay is not known any more: the status log no longer has it");
    if (e)
        return;
    bool last = replay.state != REPLAY_RUNNING;
    if (last || (wait_left_ms(stream->next_at) == 0 && is_news(stream, &shown.progress)))
        send(stream, &shown.progress, last);
    replay_shown_free(&shown);
    replay_release(&replay);
}

/* ---- changes ---- */

static void on_change(void *ctx)
{
    struct replay_watch *watch = ctx;
    pthread_mutex_lock(&watch->lock);
    for (struct replay_stream *stream = watch->streams, *next; stream; stream = next) {
        next = stream->next;
        tell(stream);
    }
    pthread_mutex_unlock(&watch->lock);
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
        if (!stream->ended)
            list(stream);
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
    if (stream && stream->listed)
        tell(stream);
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
    replays_listen(replay_desk_replays(desk), on_change, watch);
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
}

void replay_watch_free(struct replay_watch *watch)
{
    if (!watch)
        return;
    replays_listen(replay_desk_replays(watch->desk), NULL, NULL);
    pthread_mutex_destroy(&watch->lock);
    mem_free(watch);
}
