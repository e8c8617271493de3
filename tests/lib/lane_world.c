#include "tests/lib/lane_world.h"

#include "tests/lib/unit.h"

const struct config_handler lane_world_two[2] = {SIMULATE("a"), SIMULATE(">")};

void lane_world_open(struct lane_world *w, const struct config_handler *list, size_t count,
                     uint32_t concurrency)
{
    struct config_handler copy[8];
    struct config_handlers config = {.list = copy, .count = count};
    struct handler_tools tools = {.concurrency = concurrency};
    memset(w, 0, sizeof *w);
    w->now_ns = 1000 * (int64_t)MS;
    memcpy(copy, list, count * sizeof *list);
    assert_int_equal(handlers_open(&config, &tools, &w->handlers, NULL), ERR_NONE);
    assert_int_equal(lanes_init(&w->lanes, w->handlers, concurrency, 1000), ERR_NONE);
}

void lane_world_close(struct lane_world *w)
{
    lanes_free(&w->lanes);
    handlers_close(w->handlers);
}

struct held *lane_world_make(struct lane_world *w, size_t handler)
{
    struct held *held = &w->held[w->used++];
    held->handler = handlers_at(w->handlers, handler);
    held->record = &w->record;
    return held;
}

size_t lane_world_add(struct lane_world *w, size_t handler, size_t count)
{
    size_t put_off = 0;
    for (size_t i = 0; i < count; i++) {
        struct held *rest;
        lanes_add(&w->lanes, lane_world_make(w, handler), w->now_ns, &rest);
        for (; rest; rest = rest->next)
            put_off++;
    }
    return put_off;
}

size_t lane_world_start_all(struct lane_world *w, size_t handler, struct held **last)
{
    struct held *held;
    size_t count = 0;
    while ((held = lanes_take(&w->lanes)) != NULL) {
        lanes_begin(&w->lanes, held, w->now_ns);
        if (held->handler->index != handler)
            continue;
        count++;
        if (last)
            *last = held;
    }
    return count;
}
