/* The handler `simulate`: takes a time, then succeeds or fails, by chance or as the payload says
 * (simulate_script.h). For demonstrations and tests. */
#include "event-processor/handler.h"

#include "common/log.h"
#include "common/mem.h"
#include "event-processor/simulate_script.h"
#include "event-processor/timer.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static const int64_t HANG_MS = 365LL * 24 * 3600 * 1000;

struct simulate {
    struct handler base;
    struct timer *timer;
    int64_t delay_ms;
    double failure_rate;
    bool allow_crash;
    uint64_t seed;
    _Atomic uint64_t drawn; /* numbers, so far */
};

/* ---- chance ---- */

static uint64_t make_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed)
        return seed;
    /* None at all, or not yet: chance is no secret, but processors should differ in theirs. */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return ((uint64_t)now.tv_sec << 30 | (uint64_t)now.tv_nsec) ^ (uint64_t)getpid() << 44;
}

/* splitmix64 (https://prng.di.unimi.it/splitmix64.c): a state that any thread may draw from. */
static uint64_t draw(struct simulate *simulate)
{
    uint64_t z = simulate->seed + (atomic_fetch_add(&simulate->drawn, 1) + 1) * 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static bool fails_by_chance(struct simulate *simulate)
{
    double share = (double)(draw(simulate) >> 11) / (double)(1ULL << 53); /* from 0, below 1 */
    return share < simulate->failure_rate;
}

/* ---- runs ---- */

static struct simulate *simulate_of(struct run *run)
{
    return (struct simulate *)run_handler(run);
}

static void crash(const struct run *run)
{
    log_error("crashing, as the event's payload asks for", LOG_U64("position", run->position),
              LOG_U64("attempt", run->attempt));
    abort();
}

static void end_attempt(struct run *run)
{
    struct simulate *simulate = simulate_of(run);
    struct simulate_step step;
    simulate_script_step(run->event.payload, run->attempt, &step);
    struct run_failure failure = {.error = view_of(step.error),
                                  .delay_ms = step.after_ms,
                                  .never_again = step.kind == SIMULATE_NEVER};
    if (step.kind == SIMULATE_CRASH && simulate->allow_crash)
        crash(run);
    if (step.kind == SIMULATE_CRASH)
        failure.error = VIEW("the configuration has no allow_crash: true");
    if (step.kind == SIMULATE_CHANCE)
        failure.error = VIEW("it failed by chance (failure_rate)");
    bool succeeds =
        step.kind == SIMULATE_OK || (step.kind == SIMULATE_CHANCE && !fails_by_chance(simulate));
    if (succeeds)
        run_done(run, RUN_PROCESSED);
    else
        run_failed(run, &failure);
}

static void end_wait(void *ctx, bool due)
{
    if (due)
        end_attempt(ctx);
    else
        run_done(ctx, RUN_LEFT);
}

static void start_simulate(struct handler *handler, struct run *run)
{
    struct simulate *simulate = (struct simulate *)handler;
    struct simulate_step step;
    simulate_script_step(run->event.payload, run->attempt, &step);
    int64_t delay_ms = step.delay_ms >= 0 ? step.delay_ms : simulate->delay_ms;
    if (step.kind == SIMULATE_HANG)
        delay_ms = HANG_MS;
    if (timer_add(simulate->timer, delay_ms, end_wait, run))
        run_done(run, RUN_LEFT);
}

static bool cancel_simulate(struct handler *handler, struct run *run)
{
    return timer_cancel(((struct simulate *)handler)->timer, run);
}

/* ---- life ---- */

static enum err open_simulate(const struct config_handler *config,
                              const struct handler_tools *tools, struct handler **ret)
{
    struct simulate *simulate = mem_zero(1, sizeof *simulate);
    if (!simulate)
        return ERR_MEMORY;
    simulate->base.kind = &handler_simulate;
    simulate->timer = tools->timer;
    simulate->delay_ms = config->delay_ms;
    simulate->failure_rate = config->failure_rate;
    simulate->allow_crash = config->allow_crash != 0;
    simulate->seed = make_seed();
    *ret = &simulate->base;
    return ERR_NONE;
}

static void close_simulate(struct handler *handler)
{
    mem_free(handler);
}

const struct handler_kind handler_simulate = {
    .name = "simulate",
    .open = open_simulate,
    .start = start_simulate,
    .cancel = cancel_simulate,
    .close = close_simulate,
};
