/* Where the follower starts, if it need not read both logs from their beginning; and the points
 * that it can start from later. */
#include "event-processor/follower_side.h"
#include "event-processor/status_frozen.h"

#include "common/log.h"

enum {
    BEHIND_MS = 2000, /* a new leader may answer before it has applied all it knows */
    ASK_TIMEOUT_MS = 500,
};

/* ---- loading ---- */

static void begin_side(struct side *side, uint64_t epoch, const struct follower_mark *loaded)
{
    side->loaded = *loaded;
    side->loaded_epoch = epoch;
    side->marked = loaded->position;
    side->marked_ms = loaded->time_ms;
    side->marked_epoch = epoch;
}

/* What is loaded belongs to the present epoch. */
static void begin_loaded(struct follower *follower, const struct follower_point *point)
{
    status_table_write_begin(follower->table);
    uint64_t epoch = status_table_epoch(follower->table);
    if (follower->changes)
        changes_begin(follower->changes, point->statuses.position);
    begin_side(&follower->sides[FOLLOWER_EVENTS], epoch, &point->events);
    begin_side(&follower->sides[FOLLOWER_STATUSES], epoch, &point->statuses);
    status_table_write_end(follower->table);
}

void follower_load(struct side *side)
{
    struct follower *follower = side->follower;
    struct follower_point point;
    bool loaded =
        side->is_event_log && follower->load && follower->load(follower->load_ctx, &point);
    wait_lock(&follower->wait);
    if (loaded)
        begin_loaded(follower, &point);
    if (side->is_event_log) {
        follower->load_is_over = true;
        wait_wake_all(&follower->wait);
    }
    while (!follower->load_is_over && !atomic_load(&follower->stopping))
        wait_on(&follower->wait);
    wait_unlock(&follower->wait);
}

/* ---- is it the log that was folded? ---- */

bool side_is_loaded(const struct side *side, uint64_t epoch)
{
    return side->loaded_epoch != 0 && side->loaded_epoch == epoch;
}

/* With a log that lost records the group may have to begin anew (restart.h); else it is only that
 * the snapshot is of no use. */
static enum err refuse(struct side *side, uint64_t epoch, bool lost, const char *why)
{
    if (lost)
        side_note_loss(side);
    follower_rebuild(side->follower, epoch, why);
    return ERR_STALE;
}

enum err side_compare(struct side *side, uint64_t epoch, const struct bus_log_end *end)
{
    const struct follower_mark *loaded = &side->loaded;
    if (!side_is_loaded(side, epoch))
        return ERR_NONE;
    if (end->created_ns != loaded->created_ns)
        return refuse(side, epoch, false, "the snapshot is of another log");
    if (end->last < loaded->position) {
        if (!side->behind)
            side->behind_until = wait_until(BEHIND_MS);
        side->behind = true;
        if (wait_left_ms(side->behind_until) > 0)
            return ERR_UNAVAILABLE;
        return refuse(side, epoch, true, "the log has lost records that are in the snapshot");
    }
    if (loaded->position != 0 && end->first > loaded->position)
        return refuse(side, epoch, false, "the log has dropped all that is in the snapshot");
    return ERR_NONE;
}

bool side_prove(struct side *side, struct bus_record ***records, size_t *count)
{
    if (side->proven)
        return true;
    const struct bus_record *first = (*records)[0];
    if (first->position != side->loaded.position) {
        (void)refuse(side, side->epoch, false, "the log does not have the snapshot's last record");
        return false;
    }
    if (first->time_ms != side->loaded.time_ms) {
        (void)refuse(side, side->epoch, true, "the log has another record than the snapshot");
        return false;
    }
    ++*records;
    --*count;
    wait_lock(&side->follower->wait);
    side->proven = true;
    wait_unlock(&side->follower->wait);
    follower_announce(side->follower);
    return true;
}

void side_prove_without(struct side *side)
{
    struct bus_record *record;
    if (side->proven)
        return;
    enum err e = bus_log_read(side->log, side->loaded.position, ASK_TIMEOUT_MS, &record);
    if (!e)
        bus_record_free(record); /* the reader is slow */
    else if (e == ERR_NOT_FOUND)
        (void)refuse(side, side->epoch, false, "the log does not have the snapshot's last record");
}

/* ---- points to start from ---- */

/* With both locks held: false: not now. */
static bool point_of(const struct side *side, uint64_t position, struct follower_mark *ret)
{
    *ret = (struct follower_mark){.created_ns = side->created_ns, .position = position};
    if (position == 0)
        return true;
    ret->time_ms = side->marked_ms;
    return side->marked == position && side->marked_epoch == side->epoch;
}

enum err follower_freeze(struct follower *follower, struct follower_point *ret_point,
                         struct replays_saved *ret_replays, uint64_t *ret_epoch,
                         uint64_t *ret_first)
{
    struct follower_point point;
    struct status_reflects reflects;
    enum err e = ERR_UNAVAILABLE;
    wait_lock(&follower->wait);
    status_table_write_begin(follower->table);
    status_table_told(follower->table, &reflects);
    if (atomic_load(&follower->ready_epoch) == reflects.epoch &&
        point_of(&follower->sides[FOLLOWER_EVENTS], reflects.event_position, &point.events) &&
        point_of(&follower->sides[FOLLOWER_STATUSES], reflects.status_position, &point.statuses))
        e = status_table_freeze(follower->table);
    bool frozen = !e;
    struct replays_saved saved = {0};
    if (frozen && follower->replays)
        e = replays_save(follower->replays, &saved);
    status_table_write_end(follower->table);
    wait_unlock(&follower->wait);
    if (frozen && e)
        status_table_thaw(follower->table);
    if (e)
        return e;
    *ret_point = point;
    *ret_replays = saved;
    *ret_epoch = reflects.epoch;
    *ret_first = reflects.first_event_position;
    return ERR_NONE;
}
