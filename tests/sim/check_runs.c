/* Who runs what, and when; and what becomes of deliveries. */
#include "tests/sim/checks.h"

#include "common/clock.h"

#include <stdlib.h>

enum {
    BEGUN_MAX = 1024,
    LONG_MS = 1400, /* processing_notice, and until it is looked for and stored */
};

/* ---- runs ---- */

/* Those that have begun since the last look. */
static struct begun {
    uint64_t position;
    uint32_t generation, attempt;
    int64_t at_ms; /* wall clock */
} begun[BEGUN_MAX];
static size_t begun_count;

/* Those that are in progress, or were when their process ended; and long ones that have ended. */
static struct active {
    const struct run *run;
    int process;
    int64_t at_ms;
    uint64_t position;
    uint32_t generation, attempt;
    struct status_delivery source;
} active[BEGUN_MAX];
static size_t active_count;
static uint64_t long_runs[BEGUN_MAX];
static size_t long_run_count;

static struct event_id succeeded[POSITIONS_MAX];
static size_t succeeded_count;
static uint32_t successes[POSITIONS_MAX][GENERATIONS_MAX];
static uint32_t running[PROCESSES_MAX][HANDLERS_MAX];

/* To which process a generation of a position was last delivered after it had ended, ... */
static int ended_at[POSITIONS_MAX][GENERATIONS_MAX];
/* ... and how many deliveries of it each process holds: it may run what came before. */
static uint8_t held_at[PROCESSES_MAX][POSITIONS_MAX][GENERATIONS_MAX];
static bool acked[POSITIONS_MAX];
/* ... of which the event log's own, and first attempts' items. */
static bool acked_event[POSITIONS_MAX], acked_first_item[POSITIONS_MAX];
static bool failed_last[POSITIONS_MAX][GENERATIONS_MAX]; /* no other attempt is to come */

static const struct held *held_of(const struct run *run)
{
    return (const struct held *)((const char *)run - offsetof(struct held, run));
}

static uint32_t generation_of(const struct run *run)
{
    const struct held *held = held_of(run);
    if (held->generation >= GENERATIONS_MAX)
        sim_fail("generation %u of position %llu", held->generation,
                 (unsigned long long)run->position);
    return held->generation;
}

/* Those of killed processes never end. */
static void forget_killed(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < active_count; i++)
        if (!sim_is_killed(active[i].process))
            active[kept++] = active[i];
    active_count = kept;
}

static void check_concurrency(const struct world *world, int process)
{
    uint64_t all = 0;
    for (size_t i = 0; i < world->plan.handler_count; i++) {
        all += running[process][i];
        if (running[process][i] > world->plan.handlers[i].concurrency)
            sim_fail("a handler runs %u times at once", running[process][i]);
    }
    if (all > world->plan.concurrency)
        sim_fail("a processor runs %llu handlers at once", (unsigned long long)all);
}

/* A process that gets a delivery once more has it in hand already. */
static void check_twice(int process, const struct run *run)
{
    struct status_delivery source = held_of(run)->source;
    for (size_t i = 0; i < active_count; i++)
        if (active[i].process == process && active[i].source.log == source.log &&
            active[i].source.position == source.position)
            sim_fail("a delivery of position %llu is run twice at once",
                     (unsigned long long)run->position);
}

/* A copy of a delivery is not run beside the other, nor what has ended or has been taken over as
 * far as the process knows. */
static void check_others(const struct world *world, int process, const struct run *run)
{
    const struct held *held = held_of(run);
    const struct folded *known = check_known(world, process, run->position);
    for (size_t i = 0; i < active_count && !plan_loses_deliveries(&world->plan); i++) {
        const struct active *a = &active[i];
        if (a->position == run->position && a->generation == held->generation &&
            a->attempt == run->attempt && a->source.position != held->source.position &&
            held->instead_of.position == 0 && !sim_is_killed(a->process))
            sim_fail("position %llu is run for two deliveries at once",
                     (unsigned long long)run->position);
    }
    if (!known || world->plan.max_age_ms)
        return;
    struct status_state begins = {.status = STATUS_PROCESSING,
                                  .alone = held->alone,
                                  .generation = held->generation,
                                  .attempt = run->attempt};
    int order = check_order(known->state, begins);
    bool own = world->nodes[known->by].process == process;
    bool ended = known->state.generation == held->generation && status_ended(known->state.status);
    if (ended || order > 0 || (order == 0 && !own))
        sim_fail("position %llu is run although the processor knows that it is %s",
                 (unsigned long long)run->position, status_word(known->state.status));
}

/* What has failed for the last time waits for its letter, however long that takes: only a processor
 * that vanishes, or has no time left for that, makes anybody run it again. */
static void check_has_failed(const struct world *world, const struct run *run)
{
    const struct plan *plan = &world->plan;
    bool lost = plan_loses_runs(plan) || plan->crashing ||
                (plan->stops && !plan_drains_in_time(plan)) || world->losses > 0;
    if (!lost && failed_last[run->position][generation_of(run)])
        sim_fail("position %llu is run although its last attempt has failed",
                 (unsigned long long)run->position);
}

void check_run_begins(struct world *world, int process, const struct run *run)
{
    size_t handler = plan_handler_of(&world->plan, run->event.name);
    uint32_t generation = generation_of(run);
    if (run->position >= POSITIONS_MAX)
        sim_fail("position %llu is run", (unsigned long long)run->position);
    running[process][handler]++;
    if (active_count == BEGUN_MAX)
        forget_killed();
    if (active_count == BEGUN_MAX)
        sim_fail("too many runs");
    check_twice(process, run);
    check_has_failed(world, run);
    if (world->losses == 0)
        check_others(world, process, run);
    active[active_count++] = (struct active){.run = run,
                                             .process = process,
                                             .at_ms = sim_now_ms(),
                                             .position = run->position,
                                             .generation = generation,
                                             .attempt = run->attempt,
                                             .source = held_of(run)->source};
    check_concurrency(world, process);
    /* An id that was lost may be used for an event of another handler, at the same position. */
    bool other = world->losses > 0 && world->plan.conflict > 0;
    if (run->attempt == 0 || (run->attempt > world->plan.handlers[handler].max_attempts && !other))
        sim_fail("position %llu is run in attempt %u", (unsigned long long)run->position,
                 run->attempt);
    if (world->losses > 0)
        return;
    if (ended_at[run->position][generation] == process)
        sim_fail("position %llu is run although it had ended before it was delivered",
                 (unsigned long long)run->position);
    if (begun_count == BEGUN_MAX)
        sim_fail("too many runs at once");
    begun[begun_count++] =
        (struct begun){run->position, generation, run->attempt, clock_wall_ms(&clock_system)};
}

void check_run_ends(const struct world *world, int process, const struct run *run)
{
    const struct handler *handler = run_handler(run);
    running[process][handler->index]--;
    size_t i = 0;
    while (active[i].run != run || active[i].process != process)
        i++;
    bool in_time = !plan_is_network_bad(&world->plan) && !plan_loses_runs(&world->plan);
    if (in_time && sim_now_ms() - active[i].at_ms > LONG_MS && long_run_count < BEGUN_MAX)
        long_runs[long_run_count++] = run->position;
    active[i] = active[--active_count];
}

void check_run_fails(const struct world *world, const struct run *run, bool never_again)
{
    size_t handler = plan_handler_of(&world->plan, run->event.name);
    if (never_again || run->attempt >= world->plan.handlers[handler].max_attempts)
        failed_last[run->position][generation_of(run)] = true;
}

void check_run_succeeds(struct world *world, const struct run *run)
{
    uint32_t *count = &successes[run->position][generation_of(run)];
    ++*count;
    if (world->losses == 0 && *count > 1 && !plan_is_faulty(&world->plan))
        sim_fail("position %llu was run %u times without any reason",
                 (unsigned long long)run->position, *count);
    if (!check_was_run(&run->event.id) && succeeded_count < POSITIONS_MAX)
        succeeded[succeeded_count++] = run->event.id;
}

bool check_was_run(const struct event_id *id)
{
    for (size_t i = 0; i < succeeded_count; i++)
        if (id_equal(&succeeded[i], id))
            return true;
    return false;
}

/* All that the event log and the status log say by now was there when it began, or is later. */
static void check_begun(const struct begun *run)
{
    const struct known *k = &check_log[run->position];
    if (run->position > check_log_end || !k->proper ||
        (k->first != run->position && k->first >= check_first_kept()))
        sim_fail("position %llu is run although it is %s", (unsigned long long)run->position,
                 k->proper ? "a copy" : "no event");
    if (run->attempt > 1 &&
        check_due_ms(run->position, run->generation, run->attempt - 1) > run->at_ms)
        sim_fail("attempt %u of position %llu began before it was due", run->attempt,
                 (unsigned long long)run->position);
}

/* ---- deliveries ---- */

static bool has_ended(uint64_t position, uint32_t generation)
{
    struct status_state state = check_folded[position].state;
    return state.generation > generation ||
           (state.generation == generation && status_ended(state.status));
}

void check_delivery(struct world *world, int process, const struct bus_record *record,
                    const enum bus_settlement *how)
{
    struct retry_item item = {.event_position = record->position};
    bool is_item = strcmp(record->subject, WORLD_NS ".retry." WORLD_GROUP) == 0;
    (void)world;
    if (is_item && retry_item_read(record->payload, &item))
        sim_fail("a broken item in the retry log");
    uint64_t position = item.event_position;
    if (position >= POSITIONS_MAX || process >= PROCESSES_MAX || item.generation >= GENERATIONS_MAX)
        sim_fail("position %llu was delivered", (unsigned long long)position);
    uint8_t *held = &held_at[process][position][item.generation];
    if (!how && *held == 0 && has_ended(position, item.generation))
        ended_at[position][item.generation] = process;
    *held = (uint8_t)(how ? *held - 1 : *held + 1);
    if (!how || *how != BUS_ACK)
        return;
    acked[position] = true;
    if (!is_item)
        acked_event[position] = true;
    else if (item.generation == 0 && item.attempt == 1)
        acked_first_item[position] = true;
}

bool check_was_put_off_and_acked(uint64_t position)
{
    return acked_event[position] && acked_first_item[position];
}

/* Records come before acknowledgements: of those that were acknowledged before the status log was
 * read. */
static void check_acks(const bool *acked_before)
{
    for (uint64_t p = 1; p <= check_log_end; p++)
        if (acked_before[p] && !check_folded[p].recorded)
            sim_fail("position %llu was acknowledged without a record", (unsigned long long)p);
}

void check_runs(struct world *world)
{
    bool acked_before[POSITIONS_MAX], missing[SWEPT_MAX];
    size_t swept = check_swept_begin(world, missing);
    size_t count = begun_count, long_count = long_run_count;
    memcpy(acked_before, acked, sizeof acked);
    check_statuses_read(world);
    check_swept_end(missing, swept);
    check_acks(acked_before);
    for (size_t i = 0; i < count; i++)
        check_begun(&begun[i]);
    for (size_t i = 0; i < long_count; i++)
        if (!check_folded[long_runs[i]].noticed)
            sim_fail("position %llu has run for long, and nobody says so",
                     (unsigned long long)long_runs[i]);
    long_run_count = 0;
    memmove(begun, begun + count, (begun_count - count) * sizeof *begun);
    begun_count -= count;
}
