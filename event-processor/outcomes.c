#include "common/log.h"
#include "common/mem.h"
#include "event-processor/outcomes_parts.h"

#include <stdio.h>

enum err outcomes_new(const struct outcomes_options *options, struct outcomes **ret)
{
    static const char *const labels[OUTCOMES] = {
#define X(code, label, how) [code] = label,
        OUTCOME_LIST(X)
#undef X
    };
    struct outcomes *outcomes = mem_zero(1, sizeof *outcomes);
    if (!outcomes)
        return ERR_MEMORY;
    if (wait_init(&outcomes->wait)) {
        mem_free(outcomes);
        return ERR_MEMORY;
    }
    outcomes->use = *options;
    for (int i = 0; i < OUTCOMES; i++) {
        char text[48];
        snprintf(text, sizeof text, "outcome=\"%s\"", labels[i]);
        outcomes->counts[i] = metrics_counter(options->metrics, "tidings_deliveries_total", text,
                                              "Deliveries by how they ended");
    }
    outcomes->failures = metrics_counter(options->metrics, "tidings_attempts_failed_total", NULL,
                                         "Attempts that have failed");
    *ret = outcomes;
    return ERR_NONE;
}

void outcomes_free(struct outcomes *outcomes)
{
    if (!outcomes)
        return;
    wait_destroy(&outcomes->wait);
    mem_free(outcomes);
}

struct outcomes_work outcomes_work(const struct outcomes *outcomes)
{
    return (struct outcomes_work){.processed = metric_value(outcomes->counts[PROCESSED]),
                                  .retried = metric_value(outcomes->counts[RETRIED]),
                                  .dead = metric_value(outcomes->counts[DEAD])};
}

void outcomes_end_alone(struct outcomes *outcomes, const struct held *held)
{
    if (held->alone)
        outcomes->use.end_alone(outcomes->use.ctx, held);
}

void outcomes_settle(struct outcomes *outcomes, struct held *held, enum outcome outcome,
                     int64_t delay_ms)
{
    static const enum bus_settlement how[OUTCOMES] = {
#define X(code, label, settlement) [code] = settlement,
        OUTCOME_LIST(X)
#undef X
    };
    if (how[outcome] == BUS_ACK && held->epoch != follower_ready(outcomes->use.follower))
        outcome = LEFT;
    metric_add(outcomes->counts[outcome], 1);
    if (held->place.claiming)
        outcomes->use.let_go(outcomes->use.ctx, held);
    outcomes_end_alone(outcomes, held);
    in_hand_settle(held->hand, held, how[outcome], delay_ms);
}

/* ---- with a record ---- */

bool outcomes_fill(struct outcomes *outcomes, struct held *held, struct status_change *change)
{
    struct status_entry cell;
    if (!status_table_at(outcomes->use.table, held->run.position, &cell, NULL) ||
        !id_equal(&cell.id, &held->id))
        return false;
    change->event_position = held->run.position;
    change->time_ms = clock_wall_ms(outcomes->use.clock);
    change->previous_position = cell.change_position;
    return true;
}

void outcomes_record(struct outcomes *outcomes, struct held *held, struct status_change change,
                     void (*done)(struct status_append *append, bool stored))
{
    if (!outcomes_fill(outcomes, held, &change)) {
        outcomes_settle(outcomes, held, LEFT, 0);
        return;
    }
    held->outcomes = outcomes;
    held->append = (struct status_append){.change = change, .done = done};
    status_log_append(outcomes->use.status_log, &held->append);
}

static void on_ended(struct status_append *append, bool stored)
{
    struct held *held = outcomes_held_of(append);
    enum outcome outcome = append->change.state.status == STATUS_DEAD ? DEAD : PROCESSED;
    outcomes_settle(held->outcomes, held, stored ? outcome : LEFT, 0);
}

static void on_copied(struct status_append *append, bool stored)
{
    struct held *held = outcomes_held_of(append);
    outcomes_settle(held->outcomes, held, stored ? COPY : LEFT, 0);
}

void outcomes_processed(struct outcomes *outcomes, struct held *held)
{
    outcomes_record(outcomes, held,
                    (struct status_change){.id = held->id,
                                           .state = {.status = STATUS_PROCESSED,
                                                     .generation = held->generation,
                                                     .attempt = held->run.attempt}},
                    on_ended);
}

/* The record counts when the first copy leaves the event log: then this one is the event, and
 * nobody will run it. */
void outcomes_copy(struct outcomes *outcomes, struct held *held)
{
    outcomes_record(outcomes, held,
                    (struct status_change){.id = held->id,
                                           .state = {.status = STATUS_PROCESSED,
                                                     .generation = held->cell.state.generation}},
                    on_copied);
}

void outcomes_copy_dead(struct outcomes *outcomes, struct held *held, uint64_t letter_position)
{
    outcomes_record(outcomes, held,
                    (struct status_change){
                        .id = held->id,
                        .state = {.status = STATUS_DEAD, .generation = held->cell.state.generation},
                        .error = view_of(held->error.text),
                        .letter_position = letter_position},
                    on_copied);
}

void outcomes_dead(struct outcomes *outcomes, struct held *held, const struct outcomes_death *death)
{
    bool was_run = held->burial >= 0;
    struct status_state state = {.status = STATUS_DEAD,
                                 .generation =
                                     was_run ? held->generation : held->cell.state.generation,
                                 .attempt = was_run ? held->run.attempt : 0};
    outcomes_record(outcomes, held,
                    (struct status_change){.id = death->id,
                                           .state = state,
                                           .error = view_of(held->error.text),
                                           .letter_position = death->letter_position,
                                           .conflict_id = death->conflict_id,
                                           .conflict_position = death->conflict_position},
                    on_ended);
}

/* ---- without one ---- */

void outcomes_leave(struct outcomes *outcomes, struct held *held)
{
    outcomes_settle(outcomes, held, LEFT, 0);
}

void outcomes_return(struct outcomes *outcomes, struct held *held, int64_t delay_ms)
{
    outcomes_settle(outcomes, held, RETURNED, delay_ms);
}

/* ---- decisions ---- */

static struct decide_delivery describe(const struct outcomes *outcomes, const struct held *held)
{
    const struct status_entry *cell = &held->cell;
    bool looked = held->looked_position != 0 && held->looked_position == cell->change_position &&
                  held->looked_place == cell->change_place;
    bool is_claim = held->claim_position != 0 && held->claim_position == cell->change_position &&
                    held->claim_place == cell->change_place;
    return (struct decide_delivery){.id = held->id,
                                    .position = held->run.position,
                                    .stream = view_of(outcomes->use.event_stream),
                                    .malformed = held->malformed,
                                    .source = held->source,
                                    .instead_of = held->instead_of,
                                    .again = held->delivery->delivered > 1,
                                    .generation = held->generation,
                                    .attempt = held->attempt,
                                    .claimed = held->cleared,
                                    .folded = held->claim_position != 0,
                                    .is_own = is_claim || (looked && held->looked_own),
                                    .looked = looked,
                                    .named = held->named};
}

bool outcomes_decide(struct outcomes *outcomes, struct held *held)
{
    struct status_reflects reflects;
    bool found = status_table_at(outcomes->use.table, held->run.position, &held->cell, &reflects);
    if (!found)
        held->cell = (struct status_entry){.event_position = 0};
    struct decide_delivery delivery = describe(outcomes, held);
    enum decision decision =
        decide(found ? &held->cell : NULL, reflects.first_event_position, &delivery);
    if (held->epoch != reflects.epoch) /* the barrier was passed by another table */
        decision = DECIDE_LEAVE;
    held->decision = (int)decision;
    if (decision != DECIDE_RUN)
        return false;
    held->cleared = true;
    held->run.attempt = delivery.is_own ? held->cell.state.attempt : held->attempt;
    return true;
}

static void warn(const struct held *held, const char *what)
{
    log_warn(what, LOG_U64("position", held->run.position));
}

static void leave(struct outcomes *outcomes, struct held *held)
{
    if (held->epoch == follower_ready(outcomes->use.follower) && !held->cleared)
        warn(held, "a delivery does not fit the status table; leaving it");
    outcomes_settle(outcomes, held, LEFT, 0);
}

void outcomes_go_on(struct outcomes *outcomes, struct held *held)
{
    switch ((enum decision)held->decision) {
    case DECIDE_GONE:
        warn(held, "an event has expired before it was handled");
        outcomes_settle(outcomes, held, GONE, 0);
        break;
    case DECIDE_ENDED:
        outcomes_settle(outcomes, held, ENDED, 0);
        break;
    case DECIDE_TAKEN:
        outcomes_settle(outcomes, held, SUPERSEDED, 0);
        break;
    case DECIDE_VOID:
        warn(held, "an attempt was to come of an event that is not there any more");
        outcomes_settle(outcomes, held, VOID, 0);
        break;
    case DECIDE_LEAVE:
        leave(outcomes, held);
        break;
    case DECIDE_COPY:
    case DECIDE_BURY:
        outcomes->use.to_letters(outcomes->use.ctx, held);
        break;
    case DECIDE_CLAIM:
        outcomes->use.to_runner(outcomes->use.ctx, held);
        break;
    case DECIDE_CLAIM_ALONE:
        if (outcomes_end_claim(outcomes, held))
            break;
        outcomes->use.to_retries(outcomes->use.ctx, held);
        break;
    case DECIDE_LOOK:
    case DECIDE_NEXT:
    case DECIDE_FAILED:
    case DECIDE_RUN:
        outcomes->use.to_retries(outcomes->use.ctx, held);
        break;
    }
}
