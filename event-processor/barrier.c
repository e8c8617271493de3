#include "event-processor/barrier.h"

#include "common/log.h"

enum {
    TRY_MS = 2000,
    RETRY_MS = 100,
    SILENCE_MS = 10000, /* between two warnings */
    STRANGE_MS = 10000, /* at least, until a stranger is looked at again */
};

void batch_add(struct batch *batch, struct held *held)
{
    batch->held[batch->count++] = held;
    if (held->run.position > batch->last)
        batch->last = held->run.position;
}

static bool has_copies(struct barrier *barrier, const struct batch *batch)
{
    struct status_entry cell;
    for (size_t i = 0; i < batch->count; i++)
        if (status_table_at(barrier->table, batch->held[i]->run.position, &cell, NULL) &&
            cell.state.status == STATUS_NONE)
            return true;
    return false;
}

/* One try. ERR_DEADLINE: the table has not come so far. For copies the event log is asked for its
 * first position too: the event before them may have expired, and then they are events. */
static enum err pass_once(struct barrier *barrier, struct batch *batch, int64_t try_ms,
                          uint64_t *ret_epoch)
{
    struct follower_target target;
    enum err e = batch->copies ? follower_ends(barrier->follower, try_ms, &target)
                               : follower_status_end(barrier->follower, try_ms, &target);
    if (e)
        return e;
    target.event_position = batch->last;
    e = follower_wait(barrier->follower, &target, try_ms, ret_epoch);
    if (e || batch->copies || !has_copies(barrier, batch))
        return e;
    batch->copies = true;
    return pass_once(barrier, batch, try_ms, ret_epoch);
}

/* An attempt to come waits until the log has come so far again, if it ever does. There may be many
 * of them, beside others that can be run. */
static void put_away(struct barrier *barrier, struct held *held)
{
    if (held->source.log == STATUS_DELIVERY_RETRY)
        outcomes_return(barrier->outcomes, held,
                        barrier->patience_ms > STRANGE_MS ? barrier->patience_ms : STRANGE_MS);
    else
        outcomes_leave(barrier->outcomes, held);
}

/* The table nearly always knows the events that attempts are to come of: where it doesn't, that is
 * worth a question before the wait. */
static bool may_have_strangers(const struct barrier *barrier, const struct batch *batch)
{
    struct status_reflects reflects;
    status_table_reflects(barrier->table, &reflects);
    return batch->count > 0 && batch->held[0]->source.log == STATUS_DELIVERY_RETRY &&
           reflects.event_position < batch->last;
}

/* Positions beyond the event log's end are not of this log: nothing would ever pass them. Whether
 * there were any. */
static bool leave_strangers(struct barrier *barrier, struct batch *batch)
{
    struct follower_target target;
    if (follower_ends(barrier->follower, TRY_MS, &target))
        return false;
    size_t count = batch->count;
    batch->count = 0;
    batch->last = 0;
    for (size_t i = 0; i < count; i++) {
        if (batch->held[i]->run.position > target.event_last)
            put_away(barrier, batch->held[i]);
        else
            batch_add(batch, batch->held[i]);
    }
    return batch->count < count;
}

static void note_passage(struct barrier *barrier, struct timespec began)
{
    struct timespec now = wait_until(0);
    metric_observe_us(barrier->passed,
                      (now.tv_sec - began.tv_sec) * 1000000 + (now.tv_nsec - began.tv_nsec) / 1000);
}

static void give_up(struct barrier *barrier, const struct batch *batch, enum err e)
{
    barrier->doubtful = true;
    if (wait_left_ms(barrier->silent_until) > 0)
        return;
    barrier->silent_until = wait_until(SILENCE_MS);
    log_warn("the status table does not come as far as the deliveries; giving them back",
             LOG_U64("deliveries", batch->count), LOG_U64("position", batch->last),
             LOG_TEXT("error", err_title(e)));
}

enum barrier_end barrier_pass(struct barrier *barrier, struct batch *batch, uint64_t *ret_epoch)
{
    struct timespec began = wait_until(0);
    struct timespec until = wait_until(barrier->patience_ms);
    while (!wait_flag_is_set(barrier->stop)) {
        if (may_have_strangers(barrier, batch))
            (void)leave_strangers(barrier, batch);
        int64_t left_ms = wait_left_ms(until);
        enum err e = pass_once(barrier, batch, left_ms < TRY_MS ? left_ms : TRY_MS, ret_epoch);
        if (!e) {
            note_passage(barrier, began);
            return BARRIER_PASSED;
        }
        log_debug("waiting for the status table", LOG_TEXT("error", err_title(e)));
        /* However short the patience: they would hold up all that they come with, each time. */
        if (e == ERR_DEADLINE && !wait_flag_is_set(barrier->stop) &&
            leave_strangers(barrier, batch))
            until = wait_until(barrier->patience_ms);
        if (wait_left_ms(until) == 0) {
            give_up(barrier, batch, e);
            return BARRIER_TOO_LONG;
        }
        if (e != ERR_DEADLINE)
            wait_flag_pause(barrier->stop, RETRY_MS);
    }
    return BARRIER_STOPPED;
}

bool barrier_is_open(struct barrier *barrier)
{
    struct follower_target target;
    if (barrier->doubtful)
        barrier->doubtful = follower_ends(barrier->follower, TRY_MS, &target) ||
                            follower_wait(barrier->follower, &target, TRY_MS, NULL);
    return !barrier->doubtful;
}
