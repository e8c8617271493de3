#include "event-processor/event_watch.h"

#include "common/mem.h"
#include "event-processor/wait.h"

#include <stdatomic.h>
#include <stdio.h>

enum {
    BUCKETS = 16384,
    READ_MAX = STATUS_BATCH_MAX,
    PENDING_MAX = 64,    /* changes of one event that its client has not read */
    LOOK_AGAIN_MS = 500, /* for events that have left the event log */
};

struct stream {
    struct event_watch *watch;
    struct rpc_call *call; /* NULL: it is over */
    bool asking;           /* the query has it */
    bool sending;          /* a message has not left yet */
    bool ended;            /* the call was answered */
    bool listed;
    struct event_id id;
    uint64_t event_position;
    uint64_t told_position;       /* the change that was told last, or is pending, */
    uint32_t told_place;          /* and its place in the batch */
    struct status_entry *pending; /* told once what was sent has left */
    size_t pending_count;
    atomic_bool gone;
    struct stream *next, **at; /* in its bucket */
};

struct event_watch {
    struct event_watch_options use;
    pthread_mutex_t lock;            /* guards the following, and the streams */
    struct stream *buckets[BUCKETS]; /* listed streams, by event_position */
    size_t open;                     /* streams, listed or not */
    bool ending;

    atomic_bool stopping;
    pthread_t thread;
    /* The thread's own: */
    struct timespec look_at; /* when it looks for forgotten events next */
    uint64_t first;          /* what is before this position of the event log is forgotten */
    struct changes_cursor cursor;
    struct status_entry entries[READ_MAX];
};

static const char shutting_down[] = "this processor is shutting down; ask another one";
static const char rebuilding[] = "this processor reads its logs anew; ask again";
static const char not_kept[] = "the event is no longer kept";

/* ---- with the lock held ---- */

static struct stream **bucket_of(struct event_watch *watch, uint64_t event_position)
{
    return &watch->buckets[event_position % BUCKETS];
}

static void list(struct stream *stream)
{
    struct stream **bucket = bucket_of(stream->watch, stream->event_position);
    stream->next = *bucket;
    stream->at = bucket;
    if (stream->next)
        stream->next->at = &stream->next;
    *bucket = stream;
    stream->listed = true;
}

static void unlist(struct stream *stream)
{
    if (!stream->listed)
        return;
    *stream->at = stream->next;
    if (stream->next)
        stream->next->at = stream->at;
    stream->listed = false;
}

static void fail(struct stream *stream, enum err e, const char *message)
{
    stream->ended = true;
    unlist(stream);
    rpc_fail(stream->call, e, message);
}

/* Sends what the event is, as the last message if it has ended. */
static void send(struct stream *stream, const struct status_entry *entry, uint64_t position)
{
    struct event_status status = query_basic(entry, position);
    struct buf out;
    buf_init(&out, RPC_ANSWER_MAX);
    enum err e = event_status_write(&status, &out);
    if (e) {
        fail(stream, e, err_title(e));
    } else if (status_ended(entry->state.status)) {
        stream->ended = true;
        unlist(stream);
        rpc_reply(stream->call, buf_view(&out));
    } else {
        stream->sending = true;
        rpc_send(stream->call, buf_view(&out));
    }
    buf_free(&out);
}

static void keep(struct stream *stream, const struct status_entry *entry)
{
    if (stream->pending_count == PENDING_MAX) {
        fail(stream, ERR_BUSY, "the event's changes are not read fast enough; ask again");
        return;
    }
    if (!stream->pending)
        stream->pending = mem_zero(PENDING_MAX, sizeof *stream->pending);
    if (stream->pending)
        stream->pending[stream->pending_count++] = *entry;
    else
        fail(stream, ERR_MEMORY, NULL);
}

/* What the event has become, unless that was told. */
static void tell(struct stream *stream, const struct status_entry *entry)
{
    if (entry->change_position < stream->told_position ||
        (entry->change_position == stream->told_position &&
         entry->change_place <= stream->told_place))
        return;
    stream->told_position = entry->change_position;
    stream->told_place = entry->change_place;
    if (stream->sending)
        keep(stream, entry);
    else
        send(stream, entry, entry->change_position);
}

static void tell_all(struct event_watch *watch, const struct status_entry *entry)
{
    struct stream *next;
    for (struct stream *s = *bucket_of(watch, entry->event_position); s; s = next) {
        next = s->next;
        if (s->event_position == entry->event_position && id_equal(&s->id, &entry->id))
            tell(s, entry);
    }
}

/* ---- the thread ---- */

static void for_each(struct event_watch *watch, void (*act)(struct stream *stream))
{
    pthread_mutex_lock(&watch->lock);
    for (size_t i = 0; i < BUCKETS; i++) {
        struct stream *next;
        for (struct stream *s = watch->buckets[i]; s; s = next) {
            next = s->next;
            act(s);
        }
    }
    pthread_mutex_unlock(&watch->lock);
}

static void fail_rebuilt(struct stream *stream)
{
    fail(stream, ERR_UNAVAILABLE, rebuilding);
}

/* What the table has of its event. False: nothing any more, and the stream is ended. */
static bool look_up(struct stream *stream, struct status_entry *ret)
{
    bool found = status_table_at(stream->watch->use.table, stream->event_position, ret, NULL) &&
                 id_equal(&ret->id, &stream->id);
    if (!found)
        fail(stream, ERR_NOT_FOUND, not_kept);
    return found;
}

/* Looks into the table instead of reading each change. */
static void look(struct stream *stream)
{
    struct status_entry entry;
    if (look_up(stream, &entry))
        tell(stream, &entry);
}

/* What its event has become is still to be read, change by change. */
static void fail_forgotten(struct stream *stream)
{
    struct status_entry entry;
    (void)look_up(stream, &entry);
}

static void read_changes(struct event_watch *watch)
{
    size_t count;
    uint64_t position;
    bool more = true;
    while (more) {
        enum changes_end end = changes_read(watch->use.changes, &watch->cursor, watch->entries,
                                            READ_MAX, &count, &position, &more);
        if (end != CHANGES_READ) {
            changes_now(watch->use.changes, &watch->cursor);
            for_each(watch, end == CHANGES_RESET ? fail_rebuilt : look);
            return;
        }
        pthread_mutex_lock(&watch->lock);
        for (size_t i = 0; i < count; i++)
            tell_all(watch, &watch->entries[i]);
        pthread_mutex_unlock(&watch->lock);
    }
}

/* Those whose event has left the event log before it ended would wait for ever. */
static void look_for_forgotten(struct event_watch *watch)
{
    struct status_reflects reflects;
    if (wait_left_ms(watch->look_at) > 0)
        return;
    watch->look_at = wait_until(LOOK_AGAIN_MS);
    status_table_reflects(watch->use.table, &reflects);
    if (reflects.first_event_position > watch->first)
        for_each(watch, fail_forgotten);
    watch->first = reflects.first_event_position;
}

static void *run(void *arg)
{
    struct event_watch *watch = arg;
    uint64_t turn = 0;
    while (!atomic_load(&watch->stopping)) {
        turn = changes_wait(watch->use.changes, turn, wait_until(LOOK_AGAIN_MS));
        read_changes(watch);
        look_for_forgotten(watch);
    }
    return NULL;
}

/* ---- a stream's life ---- */

/* The first answer has come. With the lock held. */
static void begin(struct stream *stream, const struct event_status *status)
{
    struct event_watch *watch = stream->watch;
    struct status_entry entry;
    struct status_reflects reflects;
    uint64_t ready = follower_ready(watch->use.follower);
    bool found = status_table_at(watch->use.table, status->event_position, &entry, &reflects);
    if (reflects.epoch != ready) {
        fail(stream, ERR_UNAVAILABLE, rebuilding);
    } else if (!found || !id_equal(&entry.id, &status->id)) {
        fail(stream, ERR_NOT_FOUND, not_kept);
    } else if (watch->ending && !status_ended(entry.state.status)) {
        fail(stream, ERR_UNAVAILABLE, shutting_down);
    } else {
        stream->id = entry.id;
        stream->event_position = entry.event_position;
        stream->told_position = entry.change_position;
        stream->told_place = entry.change_place;
        send(stream, &entry, reflects.status_position);
        if (!stream->ended)
            list(stream);
    }
}

static void stream_free(struct stream *stream)
{
    mem_free(stream->pending);
    mem_free(stream);
}

static void on_first(void *ctx, enum err e, const char *message, const struct event_status *status)
{
    struct stream *stream = ctx;
    struct event_watch *watch = stream->watch;
    pthread_mutex_lock(&watch->lock);
    stream->asking = false;
    bool over = !stream->call;
    if (!over && e)
        fail(stream, e, message);
    else if (!over)
        begin(stream, status);
    pthread_mutex_unlock(&watch->lock);
    if (over)
        stream_free(stream);
}

static bool is_gone(void *ctx)
{
    struct stream *stream = ctx;
    return atomic_load(&stream->gone);
}

/* NULL: the call has been failed. */
static struct stream *new_stream(struct event_watch *watch, struct rpc_call *call)
{
    struct stream *stream = mem_zero(1, sizeof *stream);
    if (!stream) {
        rpc_fail(call, ERR_MEMORY, NULL);
        return NULL;
    }
    *stream = (struct stream){.watch = watch, .call = call, .asking = true};
    pthread_mutex_lock(&watch->lock);
    bool taken = watch->open < EVENT_WATCHERS_MAX;
    watch->open += taken;
    pthread_mutex_unlock(&watch->lock);
    if (!taken) {
        mem_free(stream);
        rpc_fail(call, ERR_BUSY, "too many clients wait for an event; ask another processor");
        return NULL;
    }
    rpc_set_user(call, stream);
    return stream;
}

void event_watch_open(struct event_watch *watch, struct rpc_call *call, struct view request)
{
    struct event_status_holder *holder;
    struct query_ask ask = {
        .timeout_ms = rpc_time_left_ms(call), .done = on_first, .gone = is_gone};
    enum err e = event_watch_request_read(request, &holder, &ask.request);
    if (e) {
        rpc_fail(call, e,
                 e == ERR_MEMORY ? "out of memory" : "the request is not a WatchEventRequest");
        return;
    }
    ask.ctx = new_stream(watch, call);
    if (ask.ctx)
        query_ask(watch->use.query, &ask);
    event_status_holder_free(holder);
}

void event_watch_writable(struct event_watch *watch, struct rpc_call *call)
{
    struct stream *stream = rpc_user(call);
    pthread_mutex_lock(&watch->lock);
    if (stream)
        stream->sending = false;
    if (stream && stream->pending_count > 0 && !stream->ended) {
        struct status_entry entry = stream->pending[0];
        stream->pending_count--;
        memmove(stream->pending, stream->pending + 1,
                stream->pending_count * sizeof *stream->pending);
        send(stream, &entry, entry.change_position);
    }
    pthread_mutex_unlock(&watch->lock);
}

void event_watch_closed(struct event_watch *watch, struct rpc_call *call)
{
    struct stream *stream = rpc_user(call);
    if (!stream)
        return; /* it was refused */
    pthread_mutex_lock(&watch->lock);
    unlist(stream);
    watch->open--;
    stream->call = NULL;
    atomic_store(&stream->gone, true);
    bool asking = stream->asking;
    pthread_mutex_unlock(&watch->lock);
    if (!asking)
        stream_free(stream);
}

/* ---- life ---- */

static double read_count(void *watch)
{
    return (double)event_watch_count(watch);
}

enum err event_watch_start(const struct event_watch_options *options, struct event_watch **ret)
{
    struct event_watch *watch = mem_zero(1, sizeof *watch);
    if (!watch)
        return ERR_MEMORY;
    if (pthread_mutex_init(&watch->lock, NULL) != 0) {
        mem_free(watch);
        return ERR_MEMORY;
    }
    watch->use = *options;
    changes_now(options->changes, &watch->cursor);
    if (pthread_create(&watch->thread, NULL, run, watch) != 0) {
        pthread_mutex_destroy(&watch->lock);
        mem_free(watch);
        return ERR_MEMORY;
    }
    metrics_gauge_read(options->metrics, "tidings_watchers", "kind=\"event\"",
                       "Open streams of WatchEvent (event) and WatchEvents (changes)", read_count,
                       watch);
    *ret = watch;
    return ERR_NONE;
}

size_t event_watch_count(struct event_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    size_t open = watch->open;
    pthread_mutex_unlock(&watch->lock);
    return open;
}

static void fail_ending(struct stream *stream)
{
    fail(stream, ERR_UNAVAILABLE, shutting_down);
}

void event_watch_end(struct event_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->ending = true;
    pthread_mutex_unlock(&watch->lock);
    for_each(watch, fail_ending);
}

void event_watch_free(struct event_watch *watch)
{
    if (!watch)
        return;
    atomic_store(&watch->stopping, true);
    changes_wake(watch->use.changes);
    pthread_join(watch->thread, NULL);
    pthread_mutex_destroy(&watch->lock);
    mem_free(watch);
}
