#include "tests/sim/plan.h"

#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

enum { OWN_DELAY_MS = 10, DRAIN_MS = 3000 };

/* ---- the bus, processors and gateways ---- */

static void make_network(struct plan *ret)
{
    ret->network = (struct sim_network){
        .slow = (unsigned)sim_random(20),
        .slow_ms = (int64_t)sim_between(2, 600),
        .receipt_lost = (unsigned)sim_random(8),
        .publish_lost = (unsigned)sim_random(8),
        .settle_lost = (unsigned)sim_random(8),
        .fetch_lost = (unsigned)sim_random(8),
        .ask_fails = (unsigned)sim_random(4),
    };
}

static void make_faults(struct plan *ret)
{
    if (sim_chance(60))
        make_network(ret);
    if (sim_chance(20))
        ret->losses = 1 + (unsigned)sim_random(2);
    if (sim_chance(20))
        ret->lost_items = 1 + (unsigned)sim_random(3);
    if (sim_chance(50))
        ret->kills = (unsigned)sim_random(12);
    if (sim_chance(40))
        ret->freezes = (unsigned)sim_random(12);
    if (sim_chance(40))
        ret->cuts = (unsigned)sim_random(12);
    if (sim_chance(30))
        ret->stops = (unsigned)sim_random(8);
    if (sim_chance(30))
        ret->refusals = (unsigned)sim_random(8);
}

static void make_handlers(struct plan *ret)
{
    ret->handler_count = sim_chance(50) ? 1 : 2 + sim_random(HANDLERS_MAX - 1);
    for (size_t i = 0; i < ret->handler_count; i++)
        ret->handlers[i] = (struct plan_handler){
            .max_attempts = 1 + sim_random(5),
            .concurrency = sim_between(1, 16),
            .takes_ms = sim_chance(50) ? 0 : (int64_t)sim_between(1, 400),
            .backoff_ms = (int64_t)sim_between(1, 1500),
            .timeout_ms = (int64_t)sim_between(700, 2500), /* drains last longer */
        };
}

static void make_events(struct plan *ret)
{
    if (sim_chance(50))
        ret->reuse = (unsigned)sim_between(5, 60);
    if (ret->reuse && sim_chance(60))
        ret->conflict = (unsigned)sim_between(5, 50);
    if (sim_chance(20))
        ret->junk = 1 + (unsigned)sim_random(3);
    if (sim_chance(50))
        ret->failing = (unsigned)sim_between(2, 60);
    if (ret->failing && sim_chance(30))
        ret->hanging = 5 + (unsigned)sim_random(60);
    if (sim_chance(20))
        ret->flaky = (unsigned)sim_between(2, 100);
    if (sim_chance(20))
        ret->crashing = (unsigned)sim_between(1, 12);
}

/* Events leave the event log while their next attempts are still to come. An id is not used for
 * another event then: which one it is would depend on what has left. */
static void make_age(struct plan *ret)
{
    ret->max_age_ms = (int64_t)sim_between(60000, 120000);
    ret->conflict = 0;
    ret->losses = 0;
    ret->replays = 0;
    ret->failing = 20 + (unsigned)sim_random(60);
    for (size_t i = 0; i < ret->handler_count; i++)
        ret->handlers[i].backoff_ms = 1000 + (int64_t)sim_random((uint64_t)ret->max_age_ms);
}

/* Outcomes take long to be stored, and meanwhile others crash. */
static void make_crashes_soon(struct plan *ret)
{
    ret->processors = 1;
    ret->clients = 4;
    ret->events = 60;
    ret->ack_wait_ms = 600;
    ret->concurrency = 16;
    ret->network.store_ms = 500;
    ret->crashing = 12;
    for (size_t i = 0; i < ret->handler_count; i++)
        ret->handlers[i].takes_ms = sim_chance(40) ? 0 : (int64_t)sim_between(1, 60);
}

/* Some run for long, others crash beside them. */
static void make_crashes(struct plan *ret)
{
    ret->crashing = 2 + (unsigned)sim_random(20);
    if (sim_chance(60)) {
        make_crashes_soon(ret);
        return;
    }
    for (size_t i = 0; i < ret->handler_count; i++)
        if (sim_chance(70))
            ret->handlers[i].takes_ms = (int64_t)sim_between(30, 400);
}

/* Outcomes come late, when others have been at it already. */
static void make_slow(struct plan *ret)
{
    ret->processors = 3;
    ret->events = EVENTS_MAX / 4;
    ret->ack_wait_ms = 200;
    ret->network.slow = 20 + (unsigned)sim_random(21);
    ret->network.slow_ms = (int64_t)sim_between(500, 3000);
    ret->failing = ret->crashing = 0;
    ret->flaky = 100;
    ret->network.publish_lost = 40;
    ret->freezes = 8;
    for (size_t i = 0; i < ret->handler_count; i++) {
        ret->handlers[i].backoff_ms = 1 + (int64_t)sim_random(300);
        ret->handlers[i].max_attempts = 5;
    }
}

/* Ids are used again for other events at once, and the first copies can often not be read. */
static void make_unreadable(struct plan *ret)
{
    ret->reuse = ret->conflict = 50;
    ret->duplicate_window_ms = 4000;
    ret->network.ask_fails = 10 + (unsigned)sim_random(20);
}

/* Runs last, and nobody hears in time that they do: deliveries come again to whoever still runs
 * them. */
static void make_long(struct plan *ret)
{
    ret->processors = 1;
    ret->ack_wait_ms = 200;
    ret->network.slow = 30;
    ret->network.slow_ms = 1500;
    ret->crashing = 0;
    ret->failing = 60;
    ret->hanging = 80;
    ret->concurrency = 16;
    for (size_t i = 0; i < ret->handler_count; i++) {
        ret->handlers[i].timeout_ms = 2500;
        ret->handlers[i].concurrency = 16;
    }
}

/* When no event comes any more some are lost, whose attempts to come are not. */
static void make_late_loss(struct plan *ret)
{
    ret->loses_late = sim_chance(50) ? LATE_TAIL : LATE_CONFLICTS;
    ret->failing = ret->loses_late == LATE_TAIL ? 70 : 0;
    ret->crashing = 0;
    for (size_t i = 0; i < ret->handler_count; i++) {
        ret->handlers[i].backoff_ms = (int64_t)sim_between(500, 4000);
        ret->handlers[i].max_attempts = 5;
    }
}

/* Records are lost of what has ended, and most processors have them in their tables. */
static void make_late_hole(struct plan *ret)
{
    ret->loses_late = LATE_HOLE;
    ret->processors = 3;
    ret->losses = 0;
    ret->replays = 0;
}

/* Attempts to come are stored twice, since the bus forgets them soon; and nothing else happens. */
static void make_copies(struct plan *ret)
{
    ret->processors = 2 + sim_random(2);
    ret->duplicate_window_ms = 150;
    ret->ack_wait_ms = 2000;
    ret->network = (struct sim_network){.receipt_lost = 5 + (unsigned)sim_random(40)};
    ret->failing = 60;
    ret->crashing = 0;
    for (size_t i = 0; i < ret->handler_count; i++) {
        ret->handlers[i].takes_ms = 1 + (int64_t)sim_random(400);
        ret->handlers[i].max_attempts = 5;
    }
}

void plan_make(struct plan *ret)
{
    *ret = (struct plan){
        .gateways = 1 + sim_random(2),
        .processors = 1 + sim_random(3),
        .clients = 1 + sim_random(4),
        .events = sim_between(4, 60),
        .ack_wait_ms = (int64_t)sim_between(200, 3000),
        .duplicate_window_ms = (int64_t)sim_between(150, 4000),
        .drain_ms = DRAIN_MS,
        .max_ack_pending = sim_chance(20) ? sim_between(1, 10) : 1000,
        .concurrency = sim_between(1, 16),
        .kind = sim_random(3),
        .own_ids = (unsigned)sim_random(101),
    };
    make_handlers(ret);
    make_events(ret);
    if (sim_chance(30)) {
        ret->replays = 1 + sim_random(4);
        ret->replay_silent_ms = (int64_t)sim_between(500, 4000);
        ret->renames = sim_chance(50);
    }
    /* Some have one kind of trouble only: then it can be told who pays for it. */
    if (ret->crashing && sim_chance(60)) {
        make_crashes(ret);
        return;
    }
    if (sim_chance(5)) {
        make_copies(ret);
        return;
    }
    if (!ret->crashing && sim_chance(15)) {
        ret->stops = 1 + (unsigned)sim_random(20);
        if (sim_chance(40)) /* then runs are given up */
            ret->drain_ms = (int64_t)sim_between(10, DRAIN_MS);
    } else if (ret->crashing || sim_chance(90)) {
        make_faults(ret);
    }
    if (sim_chance(2))
        make_late_loss(ret);
    else if (sim_chance(2))
        make_late_hole(ret);
    else if (sim_chance(5))
        make_age(ret);
    else if (sim_chance(10))
        make_slow(ret);
    else if (ret->conflict && sim_chance(10))
        make_unreadable(ret);
    else if (sim_chance(5))
        make_long(ret);
}

bool plan_is_network_bad(const struct plan *plan)
{
    const struct sim_network *network = &plan->network;
    return network->slow || network->receipt_lost || network->publish_lost ||
           network->settle_lost || network->fetch_lost || network->ask_fails || network->store_ms;
}

/* What a drain waits for, where only that happens, ends in time. */
static bool stops_amid_others(const struct plan *plan)
{
    return plan->stops &&
           (plan->kills || plan->freezes || plan->cuts || plan->refusals || plan->losses ||
            plan->loses_late || plan->crashing || plan_is_network_bad(plan));
}

bool plan_loses_runs(const struct plan *plan)
{
    return plan->kills || plan->freezes || plan->cuts || plan->losses || plan->loses_late ||
           plan->refusals || plan->network.slow || plan->network.fetch_lost ||
           plan->network.ask_fails ||
           plan->lost_items || /* also that of an attempt that is run alone */
           stops_amid_others(plan);
}

bool plan_loses_deliveries(const struct plan *plan)
{
    return plan->freezes || plan->cuts || plan->losses || plan->loses_late || plan->lost_items ||
           plan->refusals || plan->network.slow || plan->network.ask_fails;
}

bool plan_drains_in_time(const struct plan *plan)
{
    return plan->drain_ms >= DRAIN_MS && !plan_loses_runs(plan) && !plan_is_network_bad(plan);
}

bool plan_is_faulty(const struct plan *plan)
{
    return plan_loses_runs(plan) || plan_is_network_bad(plan) || plan->stops || plan->crashing;
}

/* ---- handlers ---- */

size_t plan_handler_of(const struct plan *plan, struct view name)
{
    size_t i = name.len > 0 ? (size_t)(name.data[0] - 'a') : plan->handler_count;
    return i + 1 < plan->handler_count ? i : plan->handler_count - 1;
}

static uint64_t hash_of(struct view payload)
{
    const char *end = memchr(payload.data, ',', payload.len);
    size_t len = end ? (size_t)(end - payload.data) : payload.len;
    uint64_t hash = 14695981039346656037U; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)payload.data[i]) * 1099511628211U;
    return hash ^ hash >> 29;
}

struct fate plan_fate(const struct plan *plan, struct view payload)
{
    struct fate fate = {.after_ms = -1};
    if (payload.len == 0)
        return fate;
    uint64_t hash = hash_of(payload);
    fate.crashes = hash / 10000 % 100 < plan->crashing;
    fate.flaky = !fate.crashes && hash / 100000000 % 100 < plan->flaky;
    if (fate.flaky || (hash % 100 >= plan->failing && !fate.crashes))
        return fate;
    fate.failures = FATE_ALWAYS;
    if (fate.crashes)
        return fate;
    fate.never = hash / 100 % 4 == 0;
    if (hash / 100 % 4 > 1)
        fate.failures = 1 + (unsigned)(hash / 400 % 3);
    fate.hangs = !fate.never && hash / 1000000 % 100 < plan->hanging;
    if (!fate.hangs && hash / 7 % 5 == 0)
        fate.after_ms = OWN_DELAY_MS;
    return fate;
}

void plan_payload(const struct plan *plan, const char *text, char payload[PLAN_PAYLOAD_SIZE])
{
    int len = snprintf(payload, PLAN_PAYLOAD_SIZE, "{\"is\":\"%s\",", text);
    struct fate fate = plan_fate(plan, (struct view){payload, (size_t)len});
    if (fate.flaky) {
        snprintf(payload + len, (size_t)(PLAN_PAYLOAD_SIZE - len), "\"of\":\"chance\"}");
        return;
    }
    len += snprintf(payload + len, (size_t)(PLAN_PAYLOAD_SIZE - len), "\"simulate\":[");
    char fails[48] = "fail";
    if (fate.after_ms >= 0)
        snprintf(fails, sizeof fails, "fail:after=%lldms", (long long)fate.after_ms);
    const char *step = fate.hangs ? "hang" : fate.crashes ? "crash" : fails;
    for (unsigned i = 0; i < fate.failures && fate.failures != FATE_ALWAYS; i++)
        len += snprintf(payload + len, (size_t)(PLAN_PAYLOAD_SIZE - len), "\"%s\",", step);
    if (fate.failures != FATE_ALWAYS)
        step = "ok";
    else if (fate.never)
        step = "never";
    snprintf(payload + len, (size_t)(PLAN_PAYLOAD_SIZE - len), "\"%s\"]}", step);
}
