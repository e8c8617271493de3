/* Those behind: what the ring no longer has is read from the status log.
 *
 * The log has also the changes that lost. Which have won is known of an event's last change, which
 * the table has as such; for most events it is the only one. Of others the changes are folded as
 * the table does, from what the event's history says of it before: some reads for each event.
 */
#include "event-processor/changes_stream.h"

#include "common/mem.h"
#include "event-processor/history.h"

enum {
    READ_MS = 200, /* also how long a stop may take to be noticed */
    END_MS = 2000,
    HISTORY_MS = 2000,
    RECORDS_MAX = 4096, /* read for one message */
    IDLE_MS = 1000,
};

/* The thread's own: what one message is made of. */
struct piece {
    struct event_status *changes;
    size_t count, capacity;
    uint64_t position; /* up to where it has read; 0: nothing */
    struct history history;
};

/* ---- one change ---- */

/* What the changes before that position have made of the event, by its history. */
static enum err state_before(const struct changes_watch *watch, const struct status_entry *entry,
                             uint64_t position, struct history *history, struct status_state *ret)
{
    enum err e = history_read(watch->use.status_log, entry, HISTORY_MS, history);
    if (e)
        return e;
    *ret = (struct status_state){.status = STATUS_ACCEPTED};
    for (size_t i = 0; i < history->count && history->changes[i].position < position; i++)
        *ret = history->changes[i].state;
    history_free(history);
    return ERR_NONE;
}

/* Whether a change that is not the last one of its event has won. Of events that were met before
 * the state is at hand. */
static enum err has_won(const struct changes_stream *stream, const struct status_entry *entry,
                        const struct status_change *change, uint64_t position, bool wanted,
                        struct history *history, bool *ret)
{
    struct changes_fold *fold = &stream->folds[entry->event_position % CHANGES_FOLDS];
    if (fold->event_position != entry->event_position) {
        struct status_state before;
        *ret = false;
        if (!wanted)
            return ERR_NONE;
        enum err e = state_before(stream->watch, entry, position, history, &before);
        if (e)
            return e;
        *fold = (struct changes_fold){.event_position = entry->event_position, .state = before};
    }
    *ret = status_move(fold->state, change->state, &fold->state);
    return ERR_NONE;
}

static enum err add(struct piece *piece, const struct status_entry *entry, uint64_t position)
{
    if (piece->count == piece->capacity) {
        size_t capacity = piece->capacity ? piece->capacity * 2 : 256;
        struct event_status *grown = mem_grow(piece->changes, capacity, sizeof *grown);
        if (!grown)
            return ERR_MEMORY;
        piece->changes = grown;
        piece->capacity = capacity;
    }
    piece->changes[piece->count++] = query_basic(entry, position);
    return ERR_NONE;
}

/* Adds the change at this place of the log if it has won and is to be told. ERR_STALE: the table
 * was rebuilt. */
static enum err add_change(const struct changes_stream *stream, const struct status_change *change,
                           uint64_t position, uint32_t place, struct piece *piece)
{
    struct changes_watch *watch = stream->watch;
    struct status_entry entry;
    struct status_reflects reflects;
    bool found = status_table_at(watch->use.table, change->event_position, &entry, &reflects);
    if (reflects.epoch != stream->epoch)
        return ERR_STALE;
    if (!found || entry.state.status == STATUS_NONE || !id_equal(&entry.id, &change->id) ||
        entry.change_position < position)
        return ERR_NONE;
    struct status_entry told = entry;
    told.state = change->state;
    told.updated_ms = change->time_ms < 0 ? 0 : change->time_ms / 1000 * 1000;
    bool wanted = changes_stream_wants(stream, &told);
    bool won = entry.change_position == position && entry.change_place == place;
    enum err e = ERR_NONE;
    if (!won)
        e = has_won(stream, &entry, change, position, wanted, &piece->history, &won);
    return e || !won || !wanted ? e : add(piece, &told, position);
}

/* ---- one record ---- */

static enum err add_record(const struct changes_stream *stream, const struct bus_record *record,
                           struct piece *piece)
{
    struct status_batch *batch = NULL;
    enum err e = status_batch_read(record->payload, &batch);
    if (e == ERR_MEMORY)
        return e;
    size_t count = batch ? status_batch_count(batch) : 0; /* else it is malformed */
    size_t before = piece->count;
    e = ERR_NONE;
    for (size_t i = 0; i < count && !e; i++) {
        struct status_change change = status_batch_get(batch, i);
        e = add_change(stream, &change, record->position, (uint32_t)i, piece);
    }
    status_batch_free(batch);
    if (e) { /* all of it, or nothing */
        piece->count = before;
        memset(stream->folds, 0, CHANGES_FOLDS * sizeof *stream->folds);
    } else {
        piece->position = record->position;
    }
    return e;
}

/* ---- a piece of the log ---- */

/* ERR_OUT_OF_RANGE: what follows is no longer kept. */
static enum err open_reader(struct changes_stream *stream, uint64_t passed)
{
    struct bus_log_end end;
    if (stream->reader)
        return ERR_NONE;
    if (!stream->folds)
        stream->folds = mem_zero(CHANGES_FOLDS, sizeof *stream->folds);
    if (!stream->folds)
        return ERR_MEMORY;
    enum err e = bus_log_end(stream->watch->use.status_log, END_MS, &end);
    if (!e && passed > 0 && passed + 1 < end.first)
        e = ERR_OUT_OF_RANGE;
    return e ? e
             : bus_reader_open(stream->watch->use.status_log, passed + 1, false, &stream->reader);
}

static void close_reader(struct changes_stream *stream)
{
    bus_reader_close(stream->reader);
    stream->reader = NULL;
}

/* Whether what is between two positions of the log has left its head, and was not read. */
static enum err check_gap(struct changes_stream *stream, uint64_t last, uint64_t position)
{
    struct bus_log_end end;
    if (last == 0 || position == last + 1)
        return ERR_NONE;
    enum err e = bus_log_end(stream->watch->use.status_log, END_MS, &end);
    return !e && end.first > last + 1 ? ERR_OUT_OF_RANGE : e;
}

/* Reads records until there is enough for a message, or no more at once. */
static enum err read_piece(struct changes_stream *stream, uint64_t passed, struct piece *piece)
{
    struct changes_watch *watch = stream->watch;
    struct changes_cursor end;
    uint64_t folded = changes_now(watch->use.changes, &end);
    enum err e = open_reader(stream, passed);
    for (int i = 0; i < RECORDS_MAX && piece->count < CHANGES_MESSAGE_MAX && !e; i++) {
        struct bus_record *record;
        size_t count = 0;
        e = bus_reader_next(stream->reader, i == 0 ? READ_MS : 0, &record, 1, &count);
        if (!e && record->position > folded)
            e = ERR_DEADLINE; /* the table is not so far: the ring will have it */
        else if (!e)
            e = check_gap(stream, piece->position ? piece->position : passed, record->position);
        if (!e)
            e = add_record(stream, record, piece);
        if (e && e != ERR_UNAVAILABLE && (e != ERR_DEADLINE || count > 0))
            close_reader(stream); /* what was read and not taken is to be read again */
    }
    return e;
}

/* ---- streams ---- */

/* The one that has waited longest. With the lock held. */
static struct changes_stream *find_next(struct changes_watch *watch)
{
    struct changes_stream *found = NULL;
    for (struct changes_stream *s = watch->streams; s; s = s->next)
        if (s->place == STREAM_BEHIND && !s->held && !s->sending && !s->ended && s->call &&
            (!found || s->step < found->step))
            found = s;
    return found;
}

/* The ring has taken over. With the lock held. */
static void become_live(struct changes_stream *stream)
{
    stream->place = STREAM_LIVE;
    stream->watch->behind--;
}

static void fail(struct changes_stream *stream, enum err e)
{
    wait_lock(&stream->watch->wait);
    if (e == ERR_OUT_OF_RANGE)
        changes_stream_fail(stream, e,
                            "what follows after_position is no longer kept in the status log; "
                            "begin anew with 0 or without it");
    else if (e == ERR_STALE)
        changes_stream_fail(stream, ERR_UNAVAILABLE, changes_rebuilding);
    else
        changes_stream_fail(stream, e, err_title(e));
    wait_unlock(&stream->watch->wait);
}

/* One step of a held stream. False: nothing could be done. */
static bool go_on(struct changes_stream *stream, struct piece *piece)
{
    struct changes_watch *watch = stream->watch;
    uint64_t passed = stream->passed;
    piece->count = 0;
    piece->position = 0;
    struct status_reflects reflects;
    bool there = changes_after(watch->use.changes, passed, &stream->cursor);
    enum err e = ERR_NONE;
    status_table_reflects(watch->use.table, &reflects);
    if (reflects.epoch != stream->epoch)
        e = ERR_STALE;
    else if (!there)
        e = read_piece(stream, passed, piece);
    if (piece->position > 0)
        changes_stream_send(stream, piece->changes, piece->count, piece->position);
    else if (e && e != ERR_DEADLINE && e != ERR_UNAVAILABLE)
        fail(stream, e);
    if (!there)
        return piece->position > 0;
    close_reader(stream);
    mem_free(stream->folds);
    stream->folds = NULL;
    wait_lock(&watch->wait);
    become_live(stream);
    wait_unlock(&watch->wait);
    return true;
}

void *changes_run_behind(void *arg)
{
    struct changes_watch *watch = arg;
    struct piece *piece = mem_zero(1, sizeof *piece);
    wait_lock(&watch->wait);
    while (!watch->stopping && piece) {
        struct changes_stream *stream = find_next(watch);
        if (!stream) {
            (void)wait_on_until(&watch->wait, wait_until(IDLE_MS));
            continue;
        }
        stream->held = true;
        stream->step = ++watch->step;
        wait_unlock(&watch->wait);
        bool done = go_on(stream, piece);
        wait_lock(&watch->wait);
        bool live = stream->place == STREAM_LIVE;
        changes_stream_release(stream);
        if (live)
            changes_wake(watch->use.changes);
        if (!done)
            (void)wait_on_until(&watch->wait, wait_until(READ_MS));
    }
    wait_unlock(&watch->wait);
    if (piece)
        mem_free(piece->changes);
    mem_free(piece);
    return NULL;
}
