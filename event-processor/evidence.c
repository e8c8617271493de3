#include "event-processor/evidence.h"

#include "common/log.h"

enum {
    ASK_TIMEOUT_MS = 500,
    UNSURE_MS = 1000,  /* the bus is not asked again so soon */
    PUT_OFF_MS = 1000, /* what cannot be decided comes again so soon */
};

enum verdict {
    KEPT, /* or no record is needed */
    LOST,
    UNSURE,
};

static enum verdict ask(struct evidence *evidence, const struct status_entry *cell)
{
    struct bus_record *record;
    if (wait_left_ms(evidence->unsure_until) > 0)
        return UNSURE;
    enum err e = bus_log_read(evidence->status_log, cell->change_position, ASK_TIMEOUT_MS, &record);
    bool lost = e == ERR_NOT_FOUND;
    if (lost) /* unless the event has expired, and its record with it */
        e = bus_log_read(evidence->event_log, cell->event_position, ASK_TIMEOUT_MS, &record);
    if (!e)
        bus_record_free(record);
    if (e && e != ERR_NOT_FOUND) {
        log_debug("cannot ask for a record", LOG_TEXT("error", err_title(e)));
        evidence->unsure_until = wait_until(UNSURE_MS);
        return UNSURE;
    }
    return lost && !e ? LOST : KEPT;
}

static enum verdict judge(struct evidence *evidence, const struct held *held, uint64_t epoch)
{
    struct status_entry cell;
    struct status_reflects reflects;
    bool ended = status_table_at(evidence->table, held->run.position, &cell, &reflects) &&
                 status_ended(cell.state.status);
    if (!ended || reflects.epoch != epoch || cell.change_position == evidence->kept)
        return KEPT;
    enum verdict verdict = ask(evidence, &cell);
    if (verdict == KEPT)
        evidence->kept = cell.change_position;
    /* Both logs may be dropping them for their age this moment: that is over soon. */
    return verdict == LOST && held->delivery->delivered == 1 ? UNSURE : verdict;
}

void evidence_sift(struct evidence *evidence, struct batch *batch, uint64_t epoch)
{
    size_t count = batch->count;
    evidence->kept = 0;
    batch->count = 0;
    batch->last = 0;
    for (size_t i = 0; i < count; i++) {
        struct held *held = batch->held[i];
        enum verdict verdict = judge(evidence, held, epoch);
        if (verdict == LOST)
            follower_rebuild(evidence->follower, epoch,
                             "the status log has lost a record that was folded");
        if (verdict == UNSURE)
            outcomes_return(evidence->outcomes, held, PUT_OFF_MS);
        else
            batch_add(batch, held);
    }
}
