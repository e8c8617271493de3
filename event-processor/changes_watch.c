#include "event-processor/changes_stream.h"

#include "common/config.h"
#include "common/mem.h"
#include "event-processor/handlers.h"

#include <stdio.h>

enum {
    PROGRESS = 10000, /* positions: so far nothing matched, so the client is told how far it is */
};
#define CHANGED \
    (1u << STATUS_PROCESSING | 1u << STATUS_RETRYING | 1u << STATUS_PROCESSED | 1u << STATUS_DEAD)

const char changes_rebuilding[] = "this processor reads its logs anew";
static const char shutting_down[] = "this processor is shutting down";

/* ---- with the lock held ---- */

static void list(struct changes_stream *stream)
{
    struct changes_watch *watch = stream->watch;
    stream->next = watch->streams;
    stream->at = &watch->streams;
    if (stream->next)
        stream->next->at = &stream->next;
    watch->streams = stream;
}

static void unlist(struct changes_stream *stream)
{
    *stream->at = stream->next;
    if (stream->next)
        stream->next->at = stream->at;
}

/* It is no longer among those behind. */
static void leave_place(struct changes_stream *stream)
{
    stream->watch->behind -= stream->place == STREAM_BEHIND;
    stream->place = STREAM_ASKED;
}

static void fail(struct changes_stream *stream, enum err e, const char *message)
{
    if (stream->ended || !stream->call)
        return;
    stream->ended = true;
    rpc_fail(stream->call, e, message);
}

void changes_stream_fail(struct changes_stream *stream, enum err e, const char *why)
{
    struct err_detail detail;
    if (stream->place == STREAM_ASKED && !stream->has_after) { /* it has not begun anywhere */
        fail(stream, e, why);
        return;
    }
    err_set(&detail, e, "%s; go on after position %llu", why, (unsigned long long)stream->passed);
    fail(stream, e, detail.text);
}

/* Frees what nobody needs any more. */
static void let_go(struct changes_stream *stream)
{
    if (stream->call || stream->held)
        return;
    leave_place(stream);
    unlist(stream);
    bus_reader_close(stream->reader);
    mem_free(stream->folds);
    mem_free(stream);
}

void changes_stream_release(struct changes_stream *stream)
{
    stream->held = false;
    let_go(stream);
}

/* Sends it unless the call is over. ERR_MEMORY ends it. */
static void send(struct changes_stream *stream, struct buf *out, enum err e, uint64_t position)
{
    if (stream->ended || !stream->call)
        return;
    if (e) {
        changes_stream_fail(stream, e, "out of memory");
        return;
    }
    stream->passed = stream->sent = position;
    stream->sending = true;
    rpc_send(stream->call, buf_view(out));
}

/* ---- the holder's ---- */

bool changes_stream_wants(const struct changes_stream *stream, const struct status_entry *entry)
{
    return (stream->statuses >> entry->state.status & 1) != 0 &&
           (!stream->pattern[0] || handlers_match(stream->pattern, entry->name));
}

static bool is_news(const struct changes_stream *stream, size_t count, uint64_t position)
{
    return count > 0 || position >= stream->sent + PROGRESS; /* `sent` is changed by us only */
}

void changes_stream_pass(struct changes_stream *stream, struct buf *out, enum err e,
                         uint64_t position)
{
    struct changes_watch *watch = stream->watch;
    wait_lock(&watch->wait);
    stream->passed = e ? stream->passed : position;
    if (out)
        send(stream, out, e, position);
    wait_unlock(&watch->wait);
}

void changes_stream_send(struct changes_stream *stream, const struct event_status *changes,
                         size_t count, uint64_t position)
{
    struct buf out;
    if (!is_news(stream, count, position)) {
        changes_stream_pass(stream, NULL, ERR_NONE, position);
        return;
    }
    buf_init(&out, RPC_ANSWER_MAX);
    enum err e = event_changes_write(
        &(struct event_changes){.changes = changes, .count = count, .position = position}, &out);
    changes_stream_pass(stream, &out, e, position);
    buf_free(&out);
}

/* ---- a stream's life ---- */

/* The table is as new as it must be. With the lock held. */
static void begin(struct changes_stream *stream, uint64_t epoch)
{
    struct changes_watch *watch = stream->watch;
    struct changes *changes = watch->use.changes;
    struct status_reflects reflects;
    struct changes_cursor cursor;
    struct buf out;
    uint64_t now = changes_now(changes, &cursor);
    bool there = !stream->has_after || changes_after(changes, stream->passed, &cursor);
    status_table_reflects(watch->use.table, &reflects);
    if (reflects.epoch != epoch) { /* else the ring, too, was of that epoch */
        changes_stream_fail(stream, ERR_UNAVAILABLE, changes_rebuilding);
        return;
    }
    stream->epoch = epoch;
    stream->cursor = cursor;
    stream->passed = stream->has_after ? stream->passed : now;
    if (there) {
        stream->place = STREAM_LIVE;
    } else if (watch->behind < CHANGES_BEHIND_MAX) {
        stream->place = STREAM_BEHIND;
        watch->behind++;
    } else {
        changes_stream_fail(stream, ERR_BUSY, "too many clients read what is behind");
        return;
    }
    buf_init(&out, RPC_ANSWER_MAX);
    enum err e = event_changes_write(&(struct event_changes){.position = stream->passed}, &out);
    send(stream, &out, e, stream->passed);
    buf_free(&out);
}

static void on_position(void *ctx, enum err e, const char *message, uint64_t epoch)
{
    struct changes_stream *stream = ctx;
    struct changes_watch *watch = stream->watch;
    struct err_detail detail;
    wait_lock(&watch->wait);
    if (e == ERR_OUT_OF_RANGE)
        err_set(&detail, e, "after_position %llu is beyond the status log's end",
                (unsigned long long)stream->passed);
    if (e)
        fail(stream, e, e == ERR_OUT_OF_RANGE ? detail.text : message);
    else if (watch->ending)
        changes_stream_fail(stream, ERR_UNAVAILABLE, shutting_down);
    else if (stream->call)
        begin(stream, epoch);
    changes_stream_release(stream);
    wait_unlock(&watch->wait);
}

static bool is_gone(void *ctx)
{
    struct changes_stream *stream = ctx;
    return atomic_load(&stream->gone);
}

static enum err check(const struct event_changes_request *request, struct err_detail *detail)
{
    if ((request->statuses & ~CHANGED) != 0)
        return err_set(detail, ERR_INVALID,
                       "statuses may have PROCESSING, RETRYING, PROCESSED and DEAD only: ACCEPTED "
                       "is in the event log, not among the changes");
    if (request->name.len > 0 && !config_is_pattern(request->name))
        return err_set(detail, ERR_INVALID,
                       "name '%.*s' is no pattern of names; examples are order.created, order.*, "
                       "order.> and >",
                       request->name.len < EVENT_NAME_MAX ? (int)request->name.len : EVENT_NAME_MAX,
                       request->name.data);
    return ERR_NONE;
}

/* NULL: the call has been failed. */
static struct changes_stream *new_stream(struct changes_watch *watch, struct rpc_call *call,
                                         const struct event_changes_request *request)
{
    struct changes_stream *stream = mem_zero(1, sizeof *stream);
    if (!stream) {
        rpc_fail(call, ERR_MEMORY, NULL);
        return NULL;
    }
    *stream = (struct changes_stream){.watch = watch,
                                      .statuses = request->statuses ? request->statuses : CHANGED,
                                      .has_after = request->has_after,
                                      .call = call,
                                      .held = true,
                                      .passed = request->after_position};
    if (request->name.len > 0)
        memcpy(stream->pattern, request->name.data, request->name.len);
    wait_lock(&watch->wait);
    bool taken = watch->open < CHANGES_WATCHERS_MAX;
    watch->open += taken;
    if (taken)
        list(stream);
    wait_unlock(&watch->wait);
    if (taken) {
        rpc_set_user(call, stream);
        return stream;
    }
    mem_free(stream);
    rpc_fail(call, ERR_BUSY, "too many clients watch; ask another processor");
    return NULL;
}

void changes_watch_open(struct changes_watch *watch, struct rpc_call *call, struct view bytes)
{
    struct event_status_holder *holder;
    struct event_changes_request request;
    struct err_detail detail;
    enum err e = event_changes_request_read(bytes, &holder, &request);
    if (e) {
        rpc_fail(call, e,
                 e == ERR_MEMORY ? "out of memory" : "the request is not a WatchEventsRequest");
        return;
    }
    struct changes_stream *stream = NULL;
    e = check(&request, &detail);
    if (e)
        rpc_fail(call, e, detail.text);
    else
        stream = new_stream(watch, call, &request);
    event_status_holder_free(holder);
    if (stream)
        query_position(watch->use.query,
                       &(struct query_position_ask){.min_position = request.after_position,
                                                    .timeout_ms = rpc_time_left_ms(call),
                                                    .done = on_position,
                                                    .gone = is_gone,
                                                    .ctx = stream});
}

void changes_watch_writable(struct changes_watch *watch, struct rpc_call *call)
{
    struct changes_stream *stream = rpc_user(call);
    if (!stream)
        return;
    wait_lock(&watch->wait);
    stream->sending = false;
    bool live = stream->place == STREAM_LIVE;
    if (!live)
        wait_wake_all(&watch->wait);
    wait_unlock(&watch->wait);
    if (live)
        changes_wake(watch->use.changes);
}

void changes_watch_closed(struct changes_watch *watch, struct rpc_call *call)
{
    struct changes_stream *stream = rpc_user(call);
    if (!stream)
        return; /* it was refused */
    wait_lock(&watch->wait);
    watch->open--;
    stream->call = NULL;
    atomic_store(&stream->gone, true);
    let_go(stream);
    wait_unlock(&watch->wait);
}

/* ---- life ---- */

static double read_count(void *watch)
{
    return (double)changes_watch_count(watch);
}

static void stop(struct changes_watch *watch)
{
    wait_lock(&watch->wait);
    watch->stopping = true;
    wait_wake_all(&watch->wait);
    wait_unlock(&watch->wait);
    changes_wake(watch->use.changes);
    if (watch->started > 0)
        pthread_join(watch->live, NULL);
    if (watch->started > 1)
        pthread_join(watch->log, NULL);
    wait_destroy(&watch->wait);
    for (size_t i = 0; i < CHANGES_MADE; i++)
        buf_free(&watch->made[i].bytes);
    mem_free(watch);
}

enum err changes_watch_start(const struct changes_watch_options *options,
                             struct changes_watch **ret)
{
    struct changes_watch *watch = mem_zero(1, sizeof *watch);
    if (!watch)
        return ERR_MEMORY;
    if (wait_init(&watch->wait)) {
        mem_free(watch);
        return ERR_MEMORY;
    }
    watch->use = *options;
    for (size_t i = 0; i < CHANGES_MADE; i++)
        buf_init(&watch->made[i].bytes, RPC_ANSWER_MAX);
    watch->started += pthread_create(&watch->live, NULL, changes_run_live, watch) == 0;
    if (watch->started == 1)
        watch->started += pthread_create(&watch->log, NULL, changes_run_behind, watch) == 0;
    if (watch->started < 2) {
        stop(watch);
        return ERR_MEMORY;
    }
    metrics_gauge_read(options->metrics, "tidings_watchers", "kind=\"changes\"",
                       "Open streams of WatchEvent (event) and WatchEvents (changes)", read_count,
                       watch);
    *ret = watch;
    return ERR_NONE;
}

size_t changes_watch_count(struct changes_watch *watch)
{
    wait_lock(&watch->wait);
    size_t open = watch->open;
    wait_unlock(&watch->wait);
    return open;
}

void changes_watch_end(struct changes_watch *watch)
{
    wait_lock(&watch->wait);
    watch->ending = true;
    for (struct changes_stream *stream = watch->streams; stream; stream = stream->next)
        if (stream->place != STREAM_ASKED) {
            changes_stream_fail(stream, ERR_UNAVAILABLE, shutting_down);
            atomic_store(&stream->gone, true);
        }
    wait_unlock(&watch->wait);
}

void changes_watch_free(struct changes_watch *watch)
{
    if (watch)
        stop(watch);
}
