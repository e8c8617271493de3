#include "event-processor/outcomes.h"

#include "common/log.h"
#include "common/mem.h"
#include "event-processor/decide.h"

enum outcome { PROCESSED, DEAD, COPY, ENDED, GONE, LEFT, RETURNED, OUTCOMES };
static const char *const labels[OUTCOMES] = {
    [PROCESSED] = "outcome=\"processed\"", [DEAD] = "outcome=\"dead\"", [COPY] = "outcome=\"copy\"",
    [ENDED] = "outcome=\"ended\"",         [GONE] = "outcome=\"gone\"", [LEFT] = "outcome=\"left\"",
    [RETURNED] = "outcome=\"returned\"",
};

struct outcomes {
    struct outcomes_options use;
    struct metric *counts[OUTCOMES];
};

enum err outcomes_new(const struct outcomes_options *options, struct outcomes **ret)
{
    struct outcomes *outcomes = mem_zero(1, sizeof *outcomes);
    if (!outcomes)
        return ERR_MEMORY;
    outcomes->use = *options;
    for (int i = 0; i < OUTCOMES; i++)
        outcomes->counts[i] = metrics_counter(options->metrics, "tidings_deliveries_total",
                                              labels[i], "Deliveries by how they ended");
    *ret = outcomes;
    return ERR_NONE;
}

void outcomes_free(struct outcomes *outcomes)
{
    mem_free(outcomes);
}

static void settle_later(struct outcomes *outcomes, struct held *held, enum outcome outcome,
                         int64_t delay_ms)
{
    static const enum bus_settlement how[OUTCOMES] = {
        [PROCESSED] = BUS_ACK, [DEAD] = BUS_ACK,   [COPY] = BUS_ACK,       [ENDED] = BUS_ACK,
        [GONE] = BUS_LEAVE,    [LEFT] = BUS_LEAVE, [RETURNED] = BUS_RETRY,
    };
    if (how[outcome] == BUS_ACK && held->epoch != follower_ready(outcomes->use.follower))
        outcome = LEFT;
    metric_add(outcomes->counts[outcome], 1);
    in_hand_settle(outcomes->use.hand, held, how[outcome], delay_ms);
}

static void settle(struct outcomes *outcomes, struct held *held, enum outcome outcome)
{
    settle_later(outcomes, held, outcome, 0);
}

/* ---- with a record ---- */

static struct held *held_of(struct status_append *append)
{
    return (struct held *)((char *)append - offsetof(struct held, append));
}

/* The record says what became of it; a copy's is the only `processed` without an attempt. */
static enum outcome outcome_of(const struct status_change *change)
{
    if (change->state.status == STATUS_DEAD)
        return DEAD;
    return change->state.attempt == 0 ? COPY : PROCESSED;
}

static void on_done(struct status_append *append, bool stored)
{
    struct held *held = held_of(append);
    settle(held->outcomes, held, stored ? outcome_of(&append->change) : LEFT);
}

/* Appends a change; what isn't the same for all changes of a delivery is set by the caller. */
static void record(struct outcomes *outcomes, struct held *held, struct status_change change)
{
    struct status_entry cell;
    if (!status_table_at(outcomes->use.table, held->run.position, &cell, NULL) ||
        !id_equal(&cell.id, &held->id)) {
        settle(outcomes, held, LEFT);
        return;
    }
    change.event_position = held->run.position;
    change.state.generation = cell.state.generation;
    change.time_ms = clock_wall_ms(outcomes->use.clock);
    change.previous_position = cell.change_position;
    held->outcomes = outcomes;
    held->append = (struct status_append){.change = change, .done = on_done};
    status_log_append(outcomes->use.status_log, &held->append);
}

void outcomes_processed(struct outcomes *outcomes, struct held *held)
{
    record(
        outcomes, held,
        (struct status_change){
            .id = held->id, .state = {.status = STATUS_PROCESSED, .attempt = held->run.attempt}});
}

/* The record counts when the first copy leaves the event log: then this one is the event, and
 * nobody will run it. */
void outcomes_copy(struct outcomes *outcomes, struct held *held)
{
    record(outcomes, held,
           (struct status_change){.id = held->id, .state = {.status = STATUS_PROCESSED}});
}

void outcomes_dead(struct outcomes *outcomes, struct held *held, const struct outcomes_death *death)
{
    record(outcomes, held,
           (struct status_change){.id = death->id,
                                  .state = {.status = STATUS_DEAD},
                                  .error = view_of(held->error.text),
                                  .letter_position = death->letter_position,
                                  .conflict_id = death->conflict_id,
                                  .conflict_position = death->conflict_position});
}

/* ---- without one ---- */

void outcomes_leave(struct outcomes *outcomes, struct held *held)
{
    settle(outcomes, held, LEFT);
}

void outcomes_return(struct outcomes *outcomes, struct held *held, int64_t delay_ms)
{
    settle_later(outcomes, held, RETURNED, delay_ms);
}

/* Failures have no record yet: the event comes back, to any processor. */
void outcomes_failed(struct outcomes *outcomes, struct held *held,
                     const struct run_failure *failure)
{
    log_warn("an attempt has failed", LOG_U64("position", held->run.position),
             LOG_U64("attempt", held->run.attempt), LOG_VIEW("error", failure->error));
    outcomes_leave(outcomes, held);
}

enum outcomes_next outcomes_decide(struct outcomes *outcomes, struct held *held)
{
    struct status_reflects reflects;
    struct status_entry cell;
    bool found = status_table_at(outcomes->use.table, held->run.position, &cell, &reflects);
    struct decide_delivery delivery = {.id = held->id,
                                       .position = held->run.position,
                                       .stream = view_of(outcomes->use.event_stream),
                                       .malformed = held->malformed};
    if (held->epoch != reflects.epoch) { /* the barrier was passed by another table */
        settle(outcomes, held, LEFT);
        return OUTCOMES_DONE;
    }
    switch (decide(found ? &cell : NULL, reflects.first_event_position, &delivery)) {
    case DECIDE_RUN:
        held->run.attempt = cell.state.attempt + 1;
        return OUTCOMES_RUN;
    case DECIDE_COPY:
    case DECIDE_BURY:
        return OUTCOMES_EXAMINE;
    case DECIDE_GONE:
        log_warn("an event has expired before it was handled",
                 LOG_U64("position", held->run.position));
        settle(outcomes, held, GONE);
        break;
    case DECIDE_ENDED:
        settle(outcomes, held, ENDED);
        break;
    case DECIDE_LEAVE:
        log_warn("delivery does not fit the status table; leaving it",
                 LOG_U64("position", held->run.position), LOG_U64("known", found));
        settle(outcomes, held, LEFT);
        break;
    }
    return OUTCOMES_DONE;
}
