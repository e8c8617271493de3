/* The ends of the logs: what the table must pass, and what they say of the logs themselves. */
#include "event-processor/follower_side.h"

#include "common/log.h"

#include <math.h>

enum {
    BEHIND_MS = 2000, /* a new leader may answer before it has applied all it knows */
    CHECK_MS = 1000,
    CHECK_TIMEOUT_MS = 500, /* also how long a stop may take to be noticed */
    FRESH_MS = 5000,        /* so long is an end good enough for a metric */
};

enum verdict {
    UNSURE,  /* it isn't followed yet in this epoch */
    OURS,    /* the log that is followed */
    SHORTER, /* so is this, but its tail was lost before it was read */
    EARLY,   /* it ends before what is known of it: perhaps its leader is new */
    STALE,   /* another one */
};

/* With the lock held, in the side's epoch: the log ends before the position folded, or before where
 * it has caught up. */
static enum verdict judge_early(struct side *side, uint64_t position, const struct bus_log_end *end)
{
    if (!side->behind)
        side->behind_until = wait_until(BEHIND_MS);
    side->behind = true;
    if (wait_left_ms(side->behind_until) > 0)
        return EARLY;
    if (end->last < position)
        return STALE;
    side->catch_up = end->last;
    side->behind = false;
    return SHORTER;
}

/* With the lock held. The log lost its tail and has grown to the same position again: nothing more
 * would have to be read, and nobody would notice. Where that position was not folded, the log had
 * dropped all up to there. */
static bool has_regrown(const struct side *side, uint64_t position, const struct bus_log_end *end)
{
    if (end->last != position)
        return false;
    if (side->folded == position)
        return end->last_time_ms != 0 && end->last_time_ms != side->folded_ms;
    return side->folded < position && end->first <= position;
}

/* What an end says of the log that was followed when `before` was true. */
static enum verdict judge(struct side *side, const struct status_reflects *before,
                          const struct bus_log_end *end)
{
    enum verdict verdict = UNSURE;
    uint64_t position = side_position(side, before);
    wait_lock(&side->follower->wait);
    if (side->epoch == before->epoch) {
        follower_note_progress(side, before); /* by the end known so far */
        bool early = end->last < position || end->last < side->catch_up;
        verdict = early ? judge_early(side, position, end) : OURS;
        if (end->created_ns != side->created_ns || has_regrown(side, position, end))
            verdict = STALE;
        side->behind = side->behind && early;
        side->end = *end;
        side->end_at = wait_until(0);
    }
    wait_unlock(&side->follower->wait);
    return verdict;
}

/* Replays that began before the status log's first position. */
static void forget_replays(struct side *side, uint64_t epoch, uint64_t first)
{
    struct replays *replays = side->follower->replays;
    if (side->is_event_log || !replays || first <= replays_first(replays))
        return;
    status_table_write_begin(side->follower->table);
    if (status_table_epoch(side->follower->table) == epoch)
        replays_forget(replays, first);
    status_table_write_end(side->follower->table);
    replays_announce(replays);
}

enum err follower_drop_head(struct side *side, uint64_t epoch, const struct bus_log_end *end)
{
    struct status_table *table = side->follower->table;
    struct status_reflects reflects;
    enum err e = ERR_NONE;
    forget_replays(side, epoch, end->first);
    status_table_reflects(table, &reflects);
    uint64_t known =
        side->is_event_log ? reflects.first_event_position : reflects.status_position + 1;
    if (end->first <= known)
        return ERR_NONE;
    status_table_write_begin(table);
    if (status_table_epoch(table) == epoch)
        e = side->drop_head(side->follower, end->first);
    status_table_write_end(table);
    if (e)
        log_error("cannot forget what the log has dropped", LOG_TEXT("log", side->what),
                  LOG_TEXT("error", err_title(e)));
    follower_announce(side->follower);
    return e;
}

static enum err ask_end(struct side *side, int64_t timeout_ms, uint64_t *ret_position,
                        uint64_t *ret_last)
{
    struct status_reflects before;
    struct bus_log_end end;
    status_table_reflects(side->follower->table, &before);
    enum err e = bus_log_end(side->log, timeout_ms, &end);
    if (e)
        return e;
    enum verdict verdict = judge(side, &before, &end);
    if (verdict == EARLY)
        return ERR_UNAVAILABLE;
    if (verdict == STALE)
        side_lost(side, before.epoch);
    if (verdict == SHORTER) {
        side_note_loss(side);
        follower_announce(side->follower);
    }
    if (verdict == OURS || verdict == SHORTER)
        e = follower_drop_head(side, before.epoch, &end);
    if (e)
        return e;
    *ret_position = end.first > end.last ? 0 : end.last;
    *ret_last = end.last;
    return ERR_NONE;
}

enum err follower_status_end(struct follower *follower, int64_t timeout_ms,
                             struct follower_target *ret)
{
    struct follower_target target = {0};
    enum err e = ask_end(&follower->sides[FOLLOWER_STATUSES], timeout_ms, &target.status_position,
                         &target.status_last);
    if (!e)
        *ret = target;
    return e;
}

enum err follower_ends(struct follower *follower, int64_t timeout_ms, struct follower_target *ret)
{
    struct follower_target target = {0};
    enum err e = ask_end(&follower->sides[FOLLOWER_EVENTS], timeout_ms, &target.event_position,
                         &target.event_last);
    if (!e)
        e = ask_end(&follower->sides[FOLLOWER_STATUSES], timeout_ms, &target.status_position,
                    &target.status_last);
    if (!e)
        *ret = target;
    return e;
}

/* ---- without being asked ---- */

void follower_check_end(struct side *side)
{
    uint64_t position, last;
    if (wait_left_ms(side->check_at) > 0)
        return;
    enum err e = ask_end(side, CHECK_TIMEOUT_MS, &position, &last);
    if (e)
        log_debug("cannot ask for the end", LOG_TEXT("log", side->what),
                  LOG_TEXT("error", err_title(e)));
    side->check_at = wait_until(CHECK_MS);
}

static int64_t ms_since(struct timespec then)
{
    struct timespec now = wait_until(0);
    return (now.tv_sec - then.tv_sec) * 1000 + (now.tv_nsec - then.tv_nsec) / 1000000;
}

void follower_note_progress(struct side *side, const struct status_reflects *reflects)
{
    uint64_t position = side_position(side, reflects);
    if (position != side->seen || position >= side->end.last)
        side->moved_at = wait_until(0);
    side->seen = position;
}

bool follower_stands(struct follower *follower, struct err_detail *detail)
{
    struct status_reflects reflects;
    bool stands = false;
    wait_lock(&follower->wait);
    status_table_reflects(follower->table, &reflects);
    for (size_t i = 0; i < FOLLOWER_SIDES && !stands; i++) {
        const struct side *side = &follower->sides[i];
        uint64_t position = side_position(side, &reflects);
        int64_t for_ms = ms_since(side->moved_at);
        stands = side->epoch == reflects.epoch && position < side->end.last &&
                 for_ms > follower->still_ms;
        if (stands)
            err_set(detail, ERR_UNAVAILABLE,
                    "the %s has not been read for %lld s: it ends at %llu, the status table has "
                    "come to %llu",
                    side->what, (long long)for_ms / 1000, (unsigned long long)side->end.last,
                    (unsigned long long)position);
    }
    wait_unlock(&follower->wait);
    return stands;
}

/* With the lock held. */
static bool is_fresh(const struct side *side)
{
    return side->end_at.tv_sec != 0 && ms_since(side->end_at) < FRESH_MS;
}

void follower_known_ends(struct follower *follower, uint64_t *ret_event_last,
                         uint64_t *ret_status_last)
{
    const struct side *events = &follower->sides[FOLLOWER_EVENTS];
    const struct side *statuses = &follower->sides[FOLLOWER_STATUSES];
    wait_lock(&follower->wait);
    *ret_event_last = is_fresh(events) ? events->end.last : 0;
    *ret_status_last = is_fresh(statuses) ? statuses->end.last : 0;
    wait_unlock(&follower->wait);
}

double follower_lag(struct side *side)
{
    struct status_reflects reflects;
    wait_lock(&side->follower->wait);
    status_table_reflects(side->follower->table, &reflects);
    uint64_t last = side->end.last;
    bool fresh = is_fresh(side);
    wait_unlock(&side->follower->wait);
    uint64_t position = side_position(side, &reflects);
    if (!fresh)
        return NAN;
    return last > position ? (double)(last - position) : 0;
}
