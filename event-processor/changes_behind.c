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

/* Where a change is kept. */
struct place {
    const struct status_batch *batch;
    uint64_t position;
    size_t number; /* in the batch */
};

/* ---- one change ---- */

/* What the changes before that place have made of the event: by its history, and by the batch. */
static enum err state_before(const struct changes_watch *watch, const struct status_entry *entry,
                             const struct place *place, struct history *history,
                             struct status_state *ret)
{
    struct status_state state = {.status = STATUS_ACCEPTED};
    enum err e = history_read(watch->use.status_log, entry, HISTORY_MS, history);
    if (e)
        return e;
    for (size_t i = 0; i < history->count && history->changes[i].position < place->position; i++)
        state = history->changes[i].state;
    history_free(history);
    for (size_t i = 0; i < place->number; i++) {
        struct status_change change = status_batch_get(place->batch, i);
        if (change.event_position == entry->event_position && id_equal(&change.id, &entry->id))
            (void)status_move(state, change.state, &state);
    }
    *ret = state;
    return ERR_NONE;
}

/* Whether a change that is before the last one of its event has won. Of events that were met before
 * the state is at hand. */
static enum err has_won(const struct changes_stream *stream, const struct status_entry *entry,
                        const struct place *place, struct status_state state, bool wanted,
                        struct history *history, bool *ret)
{
    struct changes_fold *fold = &stream->folds[entry->event_position % CHANGES_FOLDS];
    if (fold->event_position != entry->event_position) {
        struct status_state before;
        *ret = false;
        if (!wanted)
            return ERR_NONE;
        enum err e = state_before(stream->watch, entry, place, history, &before);
        if (e)
            return e;
        *fold = (struct changes_fold){.event_position = entry->event_position, .state = before};
    }
    *ret = status_move(fold->state, state, &fold->state);
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

/* Whether what is at this place came behind the event's last change: so it lost. */
static bool is_late(const struct status_entry *entry, const struct place *place)
{
    return place->position > entry->change_position ||
           (place->position == entry->change_position && place->number > entry->change_place);
}

/* Adds the change at this place of the log if it has won and is to be told. ERR_STALE: the table
 * was rebuilt. */
static enum err add_change(const struct changes_stream *stream, const struct place *place,
                           struct piece *piece)
{
    struct changes_watch *watch = stream->watch;
    struct status_change change = status_batch_get(place->batch, place->number);
    struct status_entry entry;
    struct status_reflects reflects;
    bool found = status_table_at(watch->use.table, change.event_position, &entry, &reflects);
    if (reflects.epoch != stream->epoch)
        return ERR_STALE;
    if (!found || entry.state.status == STATUS_NONE || !id_equal(&entry.id, &change.id) ||
        is_late(&entry, place))
        return ERR_NONE;
    struct status_entry told = entry;
    told.state = change.state;
    told.updated_ms = change.time_ms < 0 ? 0 : change.time_ms / 1000 * 1000;
    bool wanted = changes_stream_wants(stream, &told);
    bool won = entry.change_position == place->position && entry.change_place == place->number;
    enum err e = ERR_NONE;
    if (!won)
        e = has_won(stream, &entry, place, change.state, wanted, &piece->history, &won);
    return e || !won || !wanted ? e : add(piece, &told, place->position);
}

/* ---- one record ---- */

/* ERR_CANCELLED: nobody waits for it any more. */
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
        const struct place place = {.batch = batch, .position = record->position, .number = i};
        e = atomic_load(&stream->gone) ? ERR_CANCELLED : add_change(stream, &place, piece);
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

/* ERR_OUT_OF_RANGE: what follows is no longer kept. A stream that began with what is kept, of which
 * there is nothing, has passed it all: *ret_position. */
static enum err check_kept(const struct changes_stream *stream, uint64_t passed,
                           uint64_t *ret_position)
{
    struct bus_log_end end;
    enum err e = bus_log_end(stream->watch->use.status_log, END_MS, &end);
    if (e || passed + 1 >= end.first)
        return e;
    if (passed > 0)
        return ERR_OUT_OF_RANGE;
    if (end.first > end.last)
        *ret_position = end.last;
    return ERR_NONE;
}

static enum err open_reader(struct changes_stream *stream, uint64_t passed, uint64_t *ret_position)
{
    if (stream->reader)
        return ERR_NONE;
    if (!stream->folds)
        stream->folds = mem_zero(CHANGES_FOLDS, sizeof *stream->folds);
    if (!stream->folds)
        return ERR_MEMORY;
    enum err e = check_kept(stream, passed, ret_position);
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
    enum err e = open_reader(stream, passed, &piece->position);
    if (e || piece->position > 0)
        return e;
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
        if (e && (count > 0 || (e != ERR_DEADLINE && e != ERR_UNAVAILABLE)))
            close_reader(stream); /* what was read and not taken is to be read again */
    }
    if (e == ERR_DEADLINE && stream->reader && piece->position == 0)
        e = check_kept(stream, passed, &piece->position); /* or it would wait for what has left */
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
