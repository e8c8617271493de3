#include "event-processor/follower_side.h"

#include "common/event.h"
#include "common/log.h"

enum { END_TIMEOUT_MS = 2000, RETRY_MS = 200, SHORTAGE_MS = 1000, EVENT_WAIT_MS = 2000 };

void side_mark(struct side *side, const struct bus_record *record)
{
    side->marked_epoch = side->epoch;
    side->marked = record->position;
    side->marked_ms = record->time_ms;
}

/* ---- the event log: cells ---- */

struct identity {
    struct event_id id;
    struct view name;
};

/* Adds from records[*done] on as many as memory allows. */
static enum err add_events(struct side *side, struct bus_record **records,
                           const struct identity *identities, size_t count, size_t *done)
{
    struct status_table *table = side->follower->table;
    enum err e = ERR_NONE;
    status_table_write_begin(table);
    if (status_table_epoch(table) != side->epoch) {
        *done = count; /* void */
    } else {
        while (*done < count) {
            const struct bus_record *record = records[*done];
            e = status_table_add(table, record->position, &identities[*done].id,
                                 identities[*done].name, record->time_ms);
            if (e)
                break;
            status_table_passed_event(table, record->position);
            side_mark(side, record);
            ++*done;
        }
    }
    status_table_write_end(table);
    follower_announce(side->follower);
    return e;
}

void follower_fold_events(struct side *side, struct bus_record **records, size_t count)
{
    struct identity identities[FOLLOWER_READ_MAX];
    for (size_t i = 0; i < count; i++)
        if (!event_identity(records[i], side->follower->ns, side->follower->event_stream,
                            &identities[i].id, &identities[i].name))
            identities[i].name = VIEW(FOLLOWER_MALFORMED_NAME);
    size_t done = 0;
    while (done < count) {
        enum err e = add_events(side, records, identities, count, &done);
        if (!e)
            continue;
        log_error("cannot add to the status table", LOG_TEXT("error", err_title(e)),
                  LOG_U64("position", records[done]->position));
        if (!follower_pause(side->follower, SHORTAGE_MS))
            return;
    }
}

/* ---- the status log: changes ---- */

static uint64_t last_event_of(const struct status_batch *batch)
{
    uint64_t last = 0;
    for (size_t i = 0; i < status_batch_count(batch); i++) {
        uint64_t position = status_batch_get(batch, i).event_position;
        if (position > last)
            last = position;
    }
    return last;
}

/* The event log need not reach as far as a change says: it may have lost its tail. *ret_target: how
 * far the table must have come. False: the side is no longer current. */
static bool within_event_log(struct side *side, uint64_t position, uint64_t *ret_target)
{
    struct follower *follower = side->follower;
    struct bus_log_end end;
    if (position > side->event_last) {
        while (bus_log_end(follower->sides[FOLLOWER_EVENTS].log, END_TIMEOUT_MS, &end))
            if (!follower_pause(follower, RETRY_MS) || !side_current(side))
                return false;
        side->event_last = end.last;
    }
    *ret_target = position < side->event_last ? position : side->event_last;
    return true;
}

/* Waits until the table has passed the target, or that long. */
static bool wait_for_target(struct side *side, uint64_t target, int64_t timeout_ms)
{
    struct follower *follower = side->follower;
    struct timespec until = wait_until(timeout_ms);
    struct status_reflects reflects;
    wait_lock(&follower->wait);
    do {
        status_table_reflects(follower->table, &reflects);
        if (reflects.epoch != side->epoch || reflects.event_position >= target ||
            atomic_load(&follower->stopping))
            break;
    } while (wait_on_until(&follower->wait, until));
    wait_unlock(&follower->wait);
    return reflects.event_position >= target;
}

/* Waits until the table has passed that event or its log's end. False: the side is no longer
 * current. */
static bool wait_for_event(struct side *side, uint64_t position)
{
    struct status_reflects reflects;
    uint64_t target;
    status_table_reflects(side->follower->table, &reflects);
    if (reflects.epoch == side->epoch && reflects.event_position >= position)
        return true;
    do {
        if (!within_event_log(side, position, &target))
            return false;
        if (wait_for_target(side, target, EVENT_WAIT_MS))
            break;
        side->event_last = 0; /* it may have lost its tail meanwhile: ask again */
    } while (side_current(side));
    return side_current(side);
}

/* With the table's lock held. ERR_MEMORY: nothing was applied. */
static enum err apply_to_table(struct side *side, const struct status_change *change,
                               uint64_t position, uint32_t place)
{
    struct status_table *table = side->follower->table;
    struct event_id own;
    if (change->conflict_position == 0) {
        (void)status_table_apply(table, change, position, place);
        return ERR_NONE;
    }
    id_of_position(view_of(side->follower->event_stream), change->event_position, &own);
    if (!id_equal(&change->id, &own)) /* of another stream: the operator has renamed something */
        return ERR_NONE;
    return status_table_apply_conflict(table, change, position, place);
}

/* The same, and tells those who watch. */
static enum err apply(struct side *side, const struct status_change *change, uint64_t position,
                      uint32_t place)
{
    struct follower *follower = side->follower;
    struct status_entry entry;
    enum err e = apply_to_table(side, change, position, place);
    if (!e && follower->changes &&
        status_table_changed(follower->table, change->event_position, position, place, &entry))
        changes_add(follower->changes, &entry);
    return e;
}

/* Applies what is at this place of the batch: its changes, then those of replays. */
static enum err apply_place(struct side *side, uint64_t position, const struct status_batch *batch,
                            size_t place)
{
    size_t count = status_batch_count(batch);
    if (place < count) {
        struct status_change change = status_batch_get(batch, place);
        return apply(side, &change, position, (uint32_t)place);
    }
    struct replay_change replay = status_batch_replay(batch, place - count);
    return side->follower->replays ? replays_apply(side->follower->replays, &replay, position)
                                   : ERR_NONE;
}

/* Applies the batch from *done on, as much as memory allows, and passes it with the last. */
static enum err apply_changes(struct side *side, const struct bus_record *record,
                              const struct status_batch *batch, size_t *done)
{
    uint64_t position = record->position;
    struct status_table *table = side->follower->table;
    size_t count = batch ? status_batch_count(batch) + status_batch_replay_count(batch) : 0;
    enum err e = ERR_NONE;
    status_table_write_begin(table);
    if (status_table_epoch(table) == side->epoch) {
        if (side->follower->changes) /* what is missing may have left the log unread */
            changes_begin(side->follower->changes, position - 1);
        while (*done < count && (e = apply_place(side, position, batch, *done)) == ERR_NONE)
            ++*done;
        if (!e) {
            status_table_passed_status(table, position);
            side_mark(side, record);
        }
        if (!e && side->follower->changes)
            changes_pass(side->follower->changes, position);
    }
    status_table_write_end(table);
    follower_announce(side->follower);
    return e;
}

/* False: stopped. */
static bool apply_batch(struct side *side, const struct bus_record *record,
                        const struct status_batch *batch)
{
    size_t done = 0;
    enum err e;
    while ((e = apply_changes(side, record, batch, &done)) != ERR_NONE) {
        log_error("cannot apply a change to the status table", LOG_TEXT("error", err_title(e)),
                  LOG_U64("position", record->position));
        if (!follower_pause(side->follower, SHORTAGE_MS))
            return false;
    }
    return true;
}

/* False: the side is no longer current. */
static bool fold_record(struct side *side, const struct bus_record *record)
{
    struct status_batch *batch = NULL;
    enum err e;
    while ((e = status_batch_read(record->payload, &batch)) == ERR_MEMORY) {
        log_error("cannot read a batch of the status log", LOG_TEXT("error", err_title(e)),
                  LOG_U64("position", record->position));
        if (!follower_pause(side->follower, SHORTAGE_MS))
            return false;
    }
    if (e) {
        metric_add(side->follower->broken, 1);
        log_error("skipping a malformed batch of the status log",
                  LOG_U64("position", record->position));
    }
    bool current = !batch || wait_for_event(side, last_event_of(batch));
    current = current && apply_batch(side, record, batch);
    status_batch_free(batch);
    return current;
}

void follower_fold_statuses(struct side *side, struct bus_record **records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!fold_record(side, records[i]))
            return;
}
