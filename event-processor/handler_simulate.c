/* The handler `simulate`: takes a time, then succeeds. For demonstrations and tests. */
#include "event-processor/handler.h"

#include "common/mem.h"
#include "event-processor/timer.h"

struct simulate {
    struct handler base;
    struct timer *timer;
    int64_t delay_ms;
};

static enum err open_simulate(const struct config_handler *config,
                              const struct handler_tools *tools, struct handler **ret)
{
    struct simulate *simulate = mem_zero(1, sizeof *simulate);
    if (!simulate)
        return ERR_MEMORY;
    simulate->base.kind = &handler_simulate;
    simulate->timer = tools->timer;
    simulate->delay_ms = config->delay_ms;
    *ret = &simulate->base;
    return ERR_NONE;
}

static void end_wait(void *ctx, bool due)
{
    run_done(ctx, due ? RUN_PROCESSED : RUN_LEFT);
}

static void start_simulate(struct handler *handler, struct run *run)
{
    struct simulate *simulate = (struct simulate *)handler;
    if (timer_add(simulate->timer, simulate->delay_ms, end_wait, run))
        run_done(run, RUN_LEFT);
}

static void close_simulate(struct handler *handler)
{
    mem_free(handler);
}

const struct handler_kind handler_simulate = {
    .name = "simulate",
    .open = open_simulate,
    .start = start_simulate,
    .close = close_simulate,
};
