/* The status log, by a fold of our own. */
#include "tests/sim/checks.h"

#include "common/log.h"

enum { ATTEMPTS_MAX = 16, SLACK_MS = 5 /* from failure to record */ };

struct folded check_folded[POSITIONS_MAX];
uint64_t check_status_end;
static int64_t due_ms[POSITIONS_MAX][GENERATIONS_MAX][ATTEMPTS_MAX]; /* 0: no record */

static int rank_of(struct status_state state)
{
    switch (state.status) {
    case STATUS_PROCESSING:
        return state.alone ? 2 : 1;
    case STATUS_RETRYING:
        return 3;
    case STATUS_PROCESSED:
    case STATUS_DEAD:
        return 4;
    default:
        return 0;
    }
}

int check_order(struct status_state a, struct status_state b)
{
    if (a.generation != b.generation)
        return a.generation < b.generation ? -1 : 1;
    if (a.attempt != b.attempt)
        return a.attempt < b.attempt ? -1 : 1;
    return rank_of(a) < rank_of(b) ? -1 : rank_of(a) > rank_of(b);
}

static bool wins(struct status_state cell, struct status_state change)
{
    if (change.generation == cell.generation && status_ended(cell.status))
        return false;
    return check_order(cell, change) < 0;
}

/* As long as its handler wants, or its policy says: from 0 to a limit that doubles. */
static void check_delay(const struct world *world, const struct status_change *change)
{
    const struct known *k = &check_log[change->event_position];
    int64_t delay_ms = change->due_ms - change->time_ms, most_ms = k->handler->backoff_ms;
    for (uint32_t i = 1; i < change->state.attempt; i++)
        most_ms *= 2;
    if (most_ms > PLAN_BACKOFFS * k->handler->backoff_ms)
        most_ms = PLAN_BACKOFFS * k->handler->backoff_ms;
    /* A drain without time gives up runs, too. */
    bool lossy =
        plan_loses_runs(&world->plan) || (world->plan.stops && !plan_drains_in_time(&world->plan));
    bool own = k->fate.after_ms >= 0 && !lossy;
    if (k->fate.after_ms > most_ms)
        most_ms = k->fate.after_ms;
    if (delay_ms < -SLACK_MS || delay_ms > most_ms + SLACK_MS ||
        (own && delay_ms > k->fate.after_ms + SLACK_MS) ||
        (own && delay_ms < k->fate.after_ms - SLACK_MS))
        sim_fail("the attempt after attempt %u of position %llu is due in %lld ms",
                 change->state.attempt, (unsigned long long)change->event_position,
                 (long long)delay_ms);
}

/* Only what was in the hands of a processor that has vanished is run alone. */
static void check_alone(const struct world *world, const struct status_change *change)
{
    const struct plan *plan = &world->plan;
    bool drained = plan->stops && plan_drains_in_time(plan) && !plan->crashing;
    bool vanish = plan_loses_runs(plan) || plan->stops || plan->crashing;
    if (change->state.alone && (drained || !vanish))
        sim_fail("position %llu is run alone although nobody has vanished",
                 (unsigned long long)change->event_position);
}

static void note_due(const struct status_change *change)
{
    uint32_t generation = change->state.generation, attempt = change->state.attempt;
    if (generation >= GENERATIONS_MAX || attempt >= ATTEMPTS_MAX)
        sim_fail("generation %u, attempt %u", generation, attempt);
    int64_t *due = &due_ms[change->event_position][generation][attempt];
    if (*due == 0 || change->due_ms < *due)
        *due = change->due_ms;
}

static void check_change(const struct world *world, const struct status_batch *batch,
                         const struct status_change *change)
{
    log_debug("recorded", LOG_U64("at", check_status_end + 1),
              LOG_U64("position", change->event_position),
              LOG_TEXT("status", status_word(change->state.status)),
              LOG_U64("generation", change->state.generation),
              LOG_U64("attempt", change->state.attempt), LOG_U64("alone", change->state.alone),
              LOG_U64("previous", change->previous_position),
              LOG_U64("delivery", change->delivery.position),
              LOG_VIEW("by", status_batch_processor(batch)));
    check_alone(world, change);
    if (change->state.status != STATUS_RETRYING)
        return;
    note_due(change);
    if (change->state.attempt > 0 && world->losses == 0)
        check_delay(world, change);
    if (change->state.attempt == 0 && change->state.generation > 0)
        check_replays_take(batch, change);
}

static size_t node_of(const struct world *world, struct view processor)
{
    size_t place = processor.len > 2 ? (size_t)(processor.data[2] - '0') : NODES_MAX;
    return place < world->node_count ? place : world->node_count;
}

static void fold(const struct world *world, const struct status_change *change,
                 struct view processor)
{
    uint64_t p = change->event_position;
    struct folded *cell = &check_folded[p];
    struct event_id own;
    cell->recorded = true;
    cell->noticed = cell->noticed || change->state.status == STATUS_PROCESSING;
    id_of_position(view_of(world->event_names.stream), p, &own);
    bool conflict = change->conflict_position != 0 && id_equal(&change->id, &own) &&
                    id_equal(&change->conflict_id, &check_log[p].id);
    if ((!conflict && !id_equal(&change->id, &check_log[p].id)) ||
        !wins(cell->state, change->state))
        return;
    bool same_life = cell->state.generation == change->state.generation;
    cell->ran_alone = (same_life && cell->ran_alone) || change->state.alone;
    cell->state = change->state;
    cell->changed_at = check_status_end + 1;
    cell->by = node_of(world, processor);
    cell->known_as = change->id;
    cell->letter = change->letter_position;
    cell->expired = change->error.len > 8 && memcmp(change->error.data, "expired:", 8) == 0;
    check_replays_generation(p, change->state.generation);
}

/* False: it is about events that are not known yet. */
static bool fold_batch(const struct world *world, const struct status_batch *batch)
{
    size_t count = status_batch_count(batch);
    for (size_t i = 0; i < count; i++)
        if (status_batch_get(batch, i).event_position > check_log_end)
            return false;
    for (size_t i = 0; i < count; i++) {
        struct status_change change = status_batch_get(batch, i);
        check_change(world, batch, &change);
        fold(world, &change, status_batch_processor(batch));
    }
    check_replays_fold(batch, check_status_end + 1);
    return true;
}

void check_statuses_read(struct world *world)
{
    struct bus_record *record;
    struct status_batch *batch;
    bool known = true;
    while (known && !bus_log_read(world->statuses, check_status_end + 1, 1000, &record)) {
        if (status_batch_read(record->payload, &batch))
            sim_fail("a broken batch in the status log");
        known = fold_batch(world, batch);
        check_status_end += known;
        status_batch_free(batch);
        bus_record_free(record);
    }
}

int64_t check_due_ms(uint64_t position, uint32_t generation, uint32_t attempt)
{
    if (generation >= GENERATIONS_MAX || attempt >= ATTEMPTS_MAX ||
        due_ms[position][generation][attempt] == 0)
        return INT64_MAX;
    return due_ms[position][generation][attempt];
}
