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
    struct metric *malformed;
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
    outcomes->malformed = metrics_counter(options->metrics, "tidings_events_malformed_total", NULL,
                                          "Messages in the event log that are no events");
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

static void record(struct outcomes *outcomes, struct held *held, enum status status,
                   uint32_t attempt, struct view error)
{
    struct status_entry cell;
    if (!status_table_at(outcomes->use.table, held->run.position, &cell, NULL) ||
        !id_equal(&cell.id, &held->id)) {
        settle(outcomes, held, LEFT);
        return;
    }
    held->outcomes = outcomes;
    held->append = (struct status_append){
        .change = {.id = held->id,
                   .event_position = held->run.position,
                   .state = {.status = status,
                             .generation = cell.state.generation,
                             .attempt = attempt},
                   .time_ms = clock_wall_ms(outcomes->use.clock),
                   .previous_position = cell.change_position,
                   .error = error},
        .done = on_done,
    };
    status_log_append(outcomes->use.status_log, &held->append);
}

void outcomes_processed(struct outcomes *outcomes, struct held *held)
{
    record(outcomes, held, STATUS_PROCESSED, held->run.attempt, VIEW(""));
}

/* Its id has been taken care of. The record counts when the first copy leaves the event log: then
 * this one is the event, and nobody will run it. */
static void end_copy(struct outcomes *outcomes, struct held *held)
{
    record(outcomes, held, STATUS_PROCESSED, 0, VIEW(""));
}

/* Its payload stays in the event log, so nothing of it is lost. */
static void bury(struct outcomes *outcomes, struct held *held)
{
    struct err_detail why = {""};
    if (!event_of_record(held->record, outcomes->use.ns, &held->text, &held->run.event, &why))
        err_set(&why, ERR_MALFORMED, "it has no identity");
    err_set(&held->error, ERR_MALFORMED, "malformed: %s", why.text);
    metric_add(outcomes->malformed, 1);
    log_warn("malformed message in the event log", LOG_U64("position", held->run.position),
             LOG_TEXT("reason", why.text));
    record(outcomes, held, STATUS_DEAD, 0, view_of(held->error.text));
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

bool outcomes_decide(struct outcomes *outcomes, struct held *held)
{
    struct status_reflects reflects;
    struct status_entry cell;
    bool found = status_table_at(outcomes->use.table, held->run.position, &cell, &reflects);
    struct decide_delivery delivery = {
        .id = held->id, .position = held->run.position, .malformed = held->malformed};
    if (held->epoch != reflects.epoch) { /* the barrier was passed by another table */
        settle(outcomes, held, LEFT);
        return false;
    }
    switch (decide(found ? &cell : NULL, reflects.first_event_position, &delivery)) {
    case DECIDE_RUN:
        held->run.attempt = cell.state.attempt + 1;
        return true;
    case DECIDE_COPY:
        end_copy(outcomes, held);
        break;
    case DECIDE_GONE:
        log_warn("an event has expired before it was handled",
                 LOG_U64("position", held->run.position));
        settle(outcomes, held, GONE);
        break;
    case DECIDE_ENDED:
        settle(outcomes, held, ENDED);
        break;
    case DECIDE_BURY:
        bury(outcomes, held);
        break;
    case DECIDE_LEAVE:
        log_warn("delivery does not fit the status table; leaving it",
                 LOG_U64("position", held->run.position), LOG_U64("known", found));
        settle(outcomes, held, LEFT);
        break;
    }
    return false;
}
