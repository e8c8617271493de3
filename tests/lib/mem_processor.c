#include "tests/lib/mem_processor.h"

#include "tests/lib/unit.h"

#include <stdio.h>

void one_start_with(struct mem_world *world, struct one *one, const char *name,
                    const struct config_handler *handlers, size_t count)
{
    *one = (struct one){.world = world};
    snprintf(one->name, sizeof one->name, "%s", name);
    for (size_t i = 0; i < count; i++)
        one->handlers[i] = handlers[i];
    one->config = (struct config_handlers){.list = one->handlers, .count = count};
    assert_int_equal(metrics_new(&one->metrics), ERR_NONE);
    struct processor_options options = {.bus = world->bus,
                                        .settings = &world->settings,
                                        .handlers = &one->config,
                                        .name = one->name,
                                        .metrics = one->metrics,
                                        .clock = world->clock,
                                        .replay_silent_ms = world->replay_silent_ms};
    struct err_detail detail;
    enum err e = processor_start(&options, &one->processor, &detail);
    if (e)
        fail_msg("%s", detail.text);
}

void one_start_simulating(struct mem_world *world, struct one *one, const char *name,
                          int64_t delay_ms)
{
    static char all[] = ">", simulate[] = "simulate";
    struct config_handler handler = {.match = all, .kind = simulate, .delay_ms = delay_ms};
    one_start_with(world, one, name, &handler, 1);
}

bool one_drain(struct one *one, int64_t timeout_ms)
{
    return processor_drain(&one->processor, timeout_ms);
}

void ones_finish(struct one *ones, size_t count)
{
    for (size_t i = 0; i < count; i++)
        processor_stop(&ones[i].processor);
    mem_world_close(ones->world);
    for (size_t i = 0; i < count; i++) {
        processor_free(&ones[i].processor);
        metrics_free(ones[i].metrics);
    }
}

struct status_table_stats one_stats(struct one *one)
{
    struct status_table_stats stats;
    status_table_stats(one->processor.table, 0, &stats);
    return stats;
}

enum status one_status(struct one *one, const struct event_id *id)
{
    struct status_entry entry;
    return status_table_find(one->processor.table, id, &entry, NULL) ? entry.state.status
                                                                     : STATUS_NONE;
}

uint64_t one_deliveries(struct one *one, const char *outcome)
{
    char series[80];
    snprintf(series, sizeof series, "tidings_deliveries_total{outcome=\"%s\"}", outcome);
    return (uint64_t)mem_world_metric(one->metrics, series);
}

/* Of both logs. */
static uint64_t sum(struct one *one, const char *name)
{
    static const char *const logs[] = {"events", "retry"};
    double total = 0;
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        char series[80];
        snprintf(series, sizeof series, "%s{log=\"%s\"}", name, logs[i]);
        total += mem_world_metric(one->metrics, series);
    }
    return (uint64_t)total;
}

uint64_t one_redeliveries(struct one *one)
{
    return sum(one, "tidings_redeliveries_total");
}

uint64_t one_in_hand(struct one *one)
{
    return sum(one, "tidings_deliveries_in_hand");
}

void mem_processor_publish(struct mem_world *world, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct event_id id = {{0}};
        mem_world_event(world, "order.created", "x", &id);
    }
}
