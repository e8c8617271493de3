/* Where the product tells the checks what it does: the calls between it and the handler `simulate`
 * are bound to this file when the simulation is linked (`--wrap`). */
#include "tests/sim/checks.h"

#include <stdlib.h>

static struct world *hooked;

/* ---- the bus ---- */

static void on_delivery(int process, const struct bus_record *record,
                        const enum bus_settlement *how)
{
    check_delivery(hooked, process, record, how);
}

static void on_stored(const struct bus_log *log, const struct bus_message *message,
                      const struct bus_receipt *receipt)
{
    check_stored(hooked, log, message, receipt);
}

void hooks_set(struct world *world)
{
    hooked = world;
    sim_on_delivery = on_delivery;
    sim_on_stored = on_stored;
}

/* ---- runs ---- */

enum err __real_timer_add(struct timer *timer, int64_t delay_ms, timer_fn fn, void *ctx);
enum err __wrap_timer_add(struct timer *timer, int64_t delay_ms, timer_fn fn, void *ctx);
bool __real_timer_cancel(struct timer *timer, const void *ctx);
bool __wrap_timer_cancel(struct timer *timer, const void *ctx);
void __real_run_done(struct run *run, enum run_outcome outcome);
void __wrap_run_done(struct run *run, enum run_outcome outcome);
void __real_run_failed(struct run *run, const struct run_failure *failure);
void __wrap_run_failed(struct run *run, const struct run_failure *failure);
void __wrap_abort(void);

enum err __wrap_timer_add(struct timer *timer, int64_t delay_ms, timer_fn fn, void *ctx)
{
    check_run_begins(hooked, sim_process(), ctx);
    return __real_timer_add(timer, delay_ms, fn, ctx);
}

bool __wrap_timer_cancel(struct timer *timer, const void *ctx)
{
    bool cancelled = __real_timer_cancel(timer, ctx);
    if (cancelled) {
        check_run_ends(hooked, sim_process(), ctx);
        check_run_fails(hooked, ctx, false);
    }
    return cancelled;
}

void __wrap_run_done(struct run *run, enum run_outcome outcome)
{
    check_run_ends(hooked, sim_process(), run);
    if (outcome == RUN_PROCESSED)
        check_run_succeeds(hooked, run);
    else if (plan_drains_in_time(&hooked->plan))
        sim_fail("a run was given up although there was time");
    __real_run_done(run, outcome);
}

void __wrap_run_failed(struct run *run, const struct run_failure *failure)
{
    check_run_ends(hooked, sim_process(), run);
    check_run_fails(hooked, run, failure->never_again);
    __real_run_failed(run, failure);
}

/* A handler that crashes takes its process with it, and nothing else. */
void __wrap_abort(void)
{
    int process = sim_process();
    if (process == SIM_PROCESS_CLIENT)
        sim_fail("aborted");
    for (size_t i = 0; i < hooked->node_count; i++)
        if (hooked->nodes[i].process == process)
            hooked->nodes[i].crashing = true;
    for (;;) /* until it is killed */
        sim_sleep_us(1000000);
}
