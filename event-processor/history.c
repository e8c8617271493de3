#include "event-processor/history.h"

#include "common/mem.h"

static enum err copy_view(struct view from, struct view *ret)
{
    char *copy = mem_copy_text(from.data ? from.data : "", from.len);
    if (!copy)
        return ERR_MEMORY;
    *ret = (struct view){copy, from.len};
    return ERR_NONE;
}

void history_free(struct history *history)
{
    for (size_t i = 0; i < history->count; i++) {
        mem_free((char *)history->changes[i].processor.data);
        mem_free((char *)history->changes[i].error.data);
    }
    history->count = 0;
}

/* Appends the change at that place of the batch, with texts of its own. */
static enum err add(struct history *history, const struct status_batch *batch,
                    const struct status_change *change, uint64_t position)
{
    struct event_status_change *to = &history->changes[history->count];
    *to = (struct event_status_change){
        .state = change->state, .time_ms = change->time_ms, .position = position};
    enum err e = copy_view(status_batch_processor(batch), &to->processor);
    if (e)
        return e;
    e = copy_view(change->error, &to->error);
    if (e) {
        mem_free((char *)to->processor.data);
        return e;
    }
    history->count++;
    return ERR_NONE;
}

/* Adds the event's changes in this batch up to a place, the latest first. *ret_previous: where the
 * one before them is; those of a batch may be of several attempts, and one that comes late knows of
 * none before. */
static enum err add_batch(struct history *history, const struct status_batch *batch,
                          uint64_t position, size_t last_place, const struct status_entry *entry,
                          uint64_t *ret_previous)
{
    size_t count = status_batch_count(batch);
    size_t places = last_place < count ? last_place + 1 : count;
    for (size_t i = places; i-- > 0 && history->count < HISTORY_MAX;) {
        struct status_change change = status_batch_get(batch, i);
        if (change.event_position != entry->event_position || !id_equal(&change.id, &entry->id))
            continue;
        if (change.previous_position > *ret_previous)
            *ret_previous = change.previous_position;
        enum err e = add(history, batch, &change, position);
        if (e)
            return e;
    }
    return ERR_NONE;
}

static enum err read_batch(struct bus_log *log, uint64_t position, int64_t timeout_ms,
                           struct status_batch **ret)
{
    struct bus_record *record;
    enum err e = bus_log_read(log, position, timeout_ms, &record);
    if (e)
        return e;
    e = status_batch_read(record->payload, ret);
    bus_record_free(record);
    return e;
}

/* Follows the chain; the latest change comes first. */
static enum err collect(struct bus_log *log, const struct status_entry *entry, int64_t timeout_ms,
                        struct history *history)
{
    uint64_t position = entry->change_position;
    size_t place = entry->change_place;
    while (position != 0 && history->count < HISTORY_MAX) {
        struct status_batch *batch;
        enum err e = read_batch(log, position, timeout_ms, &batch);
        if (e == ERR_NOT_FOUND || e == ERR_MALFORMED) /* expired, or not ours: the chain ends */
            return ERR_NONE;
        if (e)
            return e;
        uint64_t previous = 0;
        e = add_batch(history, batch, position, place, entry, &previous);
        status_batch_free(batch);
        if (e)
            return e;
        position = previous < position ? previous : 0;
        place = STATUS_BATCH_MAX;
    }
    return ERR_NONE;
}

static void reverse(struct history *history)
{
    for (size_t i = 0, j = history->count; i + 1 < j; i++) {
        j--;
        struct event_status_change swapped = history->changes[i];
        history->changes[i] = history->changes[j];
        history->changes[j] = swapped;
    }
}

/* Folds the changes as the table does, and keeps those that win. */
static void keep_winners(struct history *history)
{
    struct status_state cell = {.status = STATUS_ACCEPTED};
    size_t kept = 0;
    for (size_t i = 0; i < history->count; i++) {
        struct event_status_change *change = &history->changes[i];
        if (status_move(cell, change->state, &cell)) {
            history->changes[kept++] = *change;
        } else {
            mem_free((char *)change->processor.data);
            mem_free((char *)change->error.data);
        }
    }
    history->count = kept;
}

enum err history_read(struct bus_log *status_log, const struct status_entry *entry,
                      int64_t timeout_ms, struct history *ret)
{
    ret->count = 0;
    enum err e = collect(status_log, entry, timeout_ms, ret);
    if (e) {
        history_free(ret);
        return e;
    }
    reverse(ret);
    keep_winners(ret);
    return ERR_NONE;
}
