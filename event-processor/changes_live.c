/* Streams that are told of changes as they come: one thread reads for all of them. */
#include "event-processor/changes_stream.h"

enum { TURN_MS = 1000 };

/* Where its reading has ended. With the lock held. */
static void fail_lost(struct changes_stream *stream, enum changes_end end)
{
    if (end == CHANGES_LOST)
        changes_stream_fail(stream, ERR_BUSY, "the changes are not read fast enough");
    else if (end == CHANGES_RESET)
        changes_stream_fail(stream, ERR_UNAVAILABLE, changes_rebuilding);
}

/* Those that may be sent something, held. One whose client reads too slowly is ended. */
static size_t take_turn(struct changes_watch *watch)
{
    size_t count = 0;
    wait_lock(&watch->wait);
    for (struct changes_stream *s = watch->streams; s; s = s->next) {
        if (s->place != STREAM_LIVE || s->held || s->ended || !s->call)
            continue;
        if (s->sending) {
            fail_lost(s, changes_look(watch->use.changes, &s->cursor));
        } else {
            s->held = true;
            watch->turn[count++] = s;
        }
    }
    wait_unlock(&watch->wait);
    return count;
}

static bool is_alike(const struct changes_stream *stream, const struct changes_made *made)
{
    return made->from.life == stream->cursor.life && made->statuses == stream->statuses &&
           strcmp(made->pattern, stream->pattern) == 0;
}

/* One that another stream was sent, which stood at the same place. */
static struct changes_made *find_made(struct changes_watch *watch,
                                      const struct changes_stream *stream)
{
    for (size_t i = 0; i < CHANGES_MADE; i++) {
        struct changes_made *made = &watch->made[i];
        if (made->from.next == stream->cursor.next && made->to.next != made->from.next &&
            is_alike(stream, made))
            return made;
    }
    return NULL;
}

/* How much to read: up to where another stream's message has ended, so that from there on both can
 * have the same. */
static size_t to_read(const struct changes_watch *watch, const struct changes_stream *stream)
{
    uint64_t next = stream->cursor.next;
    for (size_t i = 0; i < CHANGES_MADE; i++) {
        const struct changes_made *made = &watch->made[i];
        if (made->from.next < next && next < made->to.next && is_alike(stream, made))
            return (size_t)(made->to.next - next);
    }
    return STATUS_BATCH_MAX;
}

/* Makes a message of the changes from there on up to the stream's cursor, and keeps it. */
static void make(struct changes_watch *watch, struct changes_stream *stream,
                 const struct changes_cursor *from, size_t count, uint64_t position)
{
    watch->made_last = (watch->made_last + 1) % CHANGES_MADE;
    struct changes_made *made = &watch->made[watch->made_last];
    made->to = made->from = *from;
    buf_clear(&made->bytes);
    enum err e = event_changes_write(
        &(struct event_changes){.changes = watch->live_out, .count = count, .position = position},
        &made->bytes);
    if (!e) {
        made->to = stream->cursor;
        made->statuses = stream->statuses;
        memcpy(made->pattern, stream->pattern, sizeof made->pattern);
        made->position = position;
    }
    changes_stream_pass(stream, &made->bytes, e, position);
}

/* Whether its place in the ring is still there; else it is ended. */
static bool is_kept(struct changes_watch *watch, struct changes_stream *stream,
                    enum changes_end end)
{
    if (end == CHANGES_READ)
        return true;
    wait_lock(&watch->wait);
    fail_lost(stream, end);
    wait_unlock(&watch->wait);
    return false;
}

/* Reads on until there is a message to send, or nothing more. */
static void read_on(struct changes_watch *watch, struct changes_stream *stream)
{
    size_t read, count = 0;
    uint64_t position = 0;
    bool more = true;
    struct changes_cursor from = stream->cursor;
    while (more && count == 0) {
        from = stream->cursor;
        if (!is_kept(watch, stream,
                     changes_read(watch->use.changes, &stream->cursor, watch->entries,
                                  to_read(watch, stream), &read, &position, &more)))
            return;
        for (size_t i = 0; i < read; i++)
            if (changes_stream_wants(stream, &watch->entries[i]))
                watch->live_out[count++] =
                    query_basic(&watch->entries[i], watch->entries[i].change_position);
    }
    if (count > 0)
        make(watch, stream, &from, count, position);
    else
        changes_stream_send(stream, NULL, 0, position);
}

static void go_on(struct changes_watch *watch, struct changes_stream *stream)
{
    struct changes_made *made = find_made(watch, stream);
    if (!made) {
        read_on(watch, stream);
    } else if (is_kept(watch, stream, changes_look(watch->use.changes, &stream->cursor))) {
        stream->cursor = made->to;
        changes_stream_pass(stream, &made->bytes, ERR_NONE, made->position);
    }
}

void *changes_run_live(void *arg)
{
    struct changes_watch *watch = arg;
    uint64_t turn = 0;
    bool stopping = false;
    while (!stopping) {
        turn = changes_wait(watch->use.changes, turn, wait_until(TURN_MS));
        size_t count = take_turn(watch);
        for (size_t i = 0; i < count; i++) {
            go_on(watch, watch->turn[i]);
            wait_lock(&watch->wait);
            changes_stream_release(watch->turn[i]);
            wait_unlock(&watch->wait);
        }
        wait_lock(&watch->wait);
        stopping = watch->stopping;
        wait_unlock(&watch->wait);
    }
    return NULL;
}
