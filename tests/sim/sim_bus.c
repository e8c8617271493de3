/* The driver: what a service sees of the simulated bus. */
#include "tests/sim/sim_link.h"

#include <stdlib.h>

enum {
    PUBLISH_TIMEOUT_MS = 1000,
    FETCH_MAX = 64,
    STALE_SEEN_PERCENT = 5, /* a real reader learns of a lost tail when it is made anew */
};

static struct bus_log *inner_of(struct bus_log *base)
{
    return ((struct sim_log *)base)->inner;
}

static void sim_close(struct bus *base)
{
    struct sim_bus *bus = sim_bus_of(base);
    sim_bus_cut(base, 0);
    bus->closed = true;
    sim_wake(bus);
    while (!bus->ended)
        sim_sleep_us(1000);
    for (struct pipe *pipe = &bus->out; pipe; pipe = pipe == &bus->out ? &bus->in : NULL)
        while (pipe->first) {
            struct parcel *p = sim_link_take(pipe);
            if (p->kind == SETTLE)
                sim_delivery_release(p->delivery, BUS_LEAVE, 0);
        }
}

static enum bus_state sim_state(struct bus *base, struct err_detail *detail)
{
    if (sim_link_is_down(sim_bus_of(base))) {
        (void)err_set(detail, ERR_UNAVAILABLE, "the simulated connection is down");
        return BUS_AWAY;
    }
    if (detail)
        detail->text[0] = '\0';
    return BUS_READY;
}

static bool sim_is_connected(struct bus *base, struct err_detail *detail)
{
    return sim_state(base, detail) == BUS_READY;
}

static bool wait_for_connection(struct sim_bus *bus, int64_t timeout_ms)
{
    int64_t until = sim_now_us() + timeout_ms * 1000;
    while (sim_link_is_down(bus) && sim_now_us() < until)
        sim_sleep_us(bus->back_us < until ? bus->back_us - sim_now_us() : until - sim_now_us());
    return !sim_link_is_down(bus);
}

static enum err sim_wait_ready(struct bus *base, int64_t timeout_ms, struct err_detail *detail)
{
    (void)wait_for_connection(sim_bus_of(base), timeout_ms);
    return sim_state(base, detail) == BUS_READY ? ERR_NONE : ERR_DEADLINE;
}

static uint32_t sim_in_flight(struct bus *base)
{
    return sim_bus_of(base)->in_flight;
}

static uint64_t sim_max_payload(struct bus *base)
{
    return bus_max_payload(sim_bus_of(base)->server);
}

static enum err sim_log_open(struct bus *base, const struct bus_log_spec *spec,
                             struct bus_log **ret)
{
    struct sim_log *log = sim_must(calloc(1, sizeof *log));
    log->base.bus = base;
    log->next = sim_bus_of(base)->logs;
    sim_bus_of(base)->logs = log;
    *ret = &log->base;
    return bus_log_open(sim_bus_of(base)->server, spec, &log->inner);
}

/* A question to the server, there and back. */
static enum err ask(struct sim_bus *bus, int64_t timeout_ms)
{
    if (sim_link_is_down(bus))
        return ERR_UNAVAILABLE;
    uint32_t cuts = bus->cuts;
    bool fails = sim_chance(bus->network->ask_fails);
    sim_sleep_us(fails ? timeout_ms * 1000 : sim_link_latency_us(bus));
    if (fails)
        return ERR_DEADLINE;
    return cuts == bus->cuts ? ERR_NONE : ERR_UNAVAILABLE;
}

static enum err answer(struct sim_bus *bus)
{
    uint32_t cuts = bus->cuts;
    sim_sleep_us(sim_link_latency_us(bus));
    return cuts == bus->cuts ? ERR_NONE : ERR_UNAVAILABLE;
}

static enum err sim_log_end(struct bus_log *base, int64_t timeout_ms, struct bus_log_end *ret)
{
    struct bus_log_end end;
    enum err e = ask(sim_bus_of(base->bus), timeout_ms);
    if (!e)
        e = bus_log_end(inner_of(base), timeout_ms, &end);
    if (!e)
        e = answer(sim_bus_of(base->bus));
    if (!e)
        *ret = end;
    return e;
}

static enum err sim_log_read(struct bus_log *base, uint64_t position, int64_t timeout_ms,
                             struct bus_record **ret)
{
    struct bus_record *record;
    enum err e = ask(sim_bus_of(base->bus), timeout_ms);
    if (!e)
        e = bus_log_read(inner_of(base), position, timeout_ms, &record);
    if (e)
        return e;
    e = answer(sim_bus_of(base->bus));
    if (e)
        bus_record_free(record);
    else
        *ret = record;
    return e;
}

static struct view sim_record_header(const struct bus_record *record, const char *name)
{
    return bus_mem_driver.record_header(record, name);
}

static size_t sim_record_headers(const struct bus_record *record, struct bus_header_view *ret,
                                 size_t max)
{
    return bus_mem_driver.record_headers(record, ret, max);
}

/* ---- publishing ---- */

static char *copy(struct view text)
{
    char *bytes = sim_must(malloc(text.len + 1));
    if (text.len > 0)
        memcpy(bytes, text.data, text.len);
    bytes[text.len] = '\0';
    return bytes;
}

static void copy_message(const struct bus_message *from, struct bus_message *ret)
{
    struct bus_header *headers = sim_must(calloc(from->header_count + 1, sizeof *headers));
    for (size_t i = 0; i < from->header_count; i++) {
        struct view value = from->headers[i].value;
        headers[i].name = copy(view_of(from->headers[i].name));
        headers[i].value = (struct view){copy(value), value.len};
    }
    *ret = (struct bus_message){
        .subject = copy(view_of(from->subject)),
        .headers = headers,
        .header_count = from->header_count,
        .payload = {copy(from->payload), from->payload.len},
        .message_id = from->message_id ? copy(view_of(from->message_id)) : NULL,
    };
}

static enum err sim_publish(struct bus_log *base, const struct bus_message *message,
                            bus_published_fn done, void *ctx)
{
    struct sim_bus *bus = sim_bus_of(base->bus);
    if (sim_link_is_down(bus))
        return ERR_UNAVAILABLE;
    struct flight *flight = sim_must(calloc(1, sizeof *flight));
    flight->log = (struct sim_log *)base;
    copy_message(message, &flight->message);
    flight->done = done;
    flight->ctx = ctx;
    flight->until_us = sim_now_us() + PUBLISH_TIMEOUT_MS * 1000;
    flight->next = bus->flights;
    bus->flights = flight;
    bus->in_flight++;
    sim_link_send(bus, &bus->out, (struct parcel){.kind = STORE, .flight = flight});
    return ERR_NONE;
}

/* ---- reading ---- */

static enum err sim_reader_open(struct bus_log *base, uint64_t from, bool headers_only,
                                struct bus_reader **ret)
{
    struct sim_reader *reader = sim_must(calloc(1, sizeof *reader));
    reader->base.log = base;
    *ret = &reader->base;
    return bus_reader_open(inner_of(base), from, headers_only, &reader->inner);
}

static void sim_reader_close(struct bus_reader *base)
{
    bus_reader_close(((struct sim_reader *)base)->inner);
    free(base);
}

static enum err sim_reader_next(struct bus_reader *base, int64_t timeout_ms,
                                struct bus_record **ret, size_t max, size_t *ret_count)
{
    struct sim_bus *bus = sim_bus_of(base->log->bus);
    if (!wait_for_connection(bus, timeout_ms))
        return ERR_UNAVAILABLE;
    if (sim_chance(bus->network->ask_fails)) {
        sim_sleep_us(timeout_ms * 1000);
        return ERR_UNAVAILABLE;
    }
    sim_sleep_us(sim_link_latency_us(bus));
    size_t some = 1 + sim_random(max < 4 ? max : 4);
    enum err e = bus_reader_next(((struct sim_reader *)base)->inner, timeout_ms, ret,
                                 some < max ? some : max, ret_count);
    if (e != ERR_STALE || sim_chance(STALE_SEEN_PERCENT))
        return e;
    sim_sleep_us(timeout_ms * 1000);
    return ERR_DEADLINE;
}

/* ---- consuming ---- */

static enum err sim_consumer_open(struct bus_log *base, const struct bus_consumer_spec *spec,
                                  struct bus_consumer **ret)
{
    struct sim_consumer *consumer = sim_must(calloc(1, sizeof *consumer));
    consumer->base.log = base;
    *ret = &consumer->base;
    return bus_consumer_open(inner_of(base), spec, &consumer->inner);
}

static void sim_consumer_close(struct bus_consumer *base)
{
    bus_consumer_close(((struct sim_consumer *)base)->inner);
    free(base);
}

static enum err sim_consumer_restart(struct bus_consumer *base, int64_t timeout_ms)
{
    enum err e = ask(sim_bus_of(base->log->bus), timeout_ms);
    if (!e)
        e = bus_consumer_restart(((struct sim_consumer *)base)->inner, timeout_ms);
    return e ? e : answer(sim_bus_of(base->log->bus));
}

static enum err sim_consumer_floor(struct bus_consumer *base, int64_t timeout_ms,
                                   uint64_t *ret_position)
{
    enum err e = ask(sim_bus_of(base->log->bus), timeout_ms);
    if (!e)
        e = bus_consumer_floor(((struct sim_consumer *)base)->inner, timeout_ms, ret_position);
    return e ? e : answer(sim_bus_of(base->log->bus));
}

sim_delivery_fn sim_on_delivery;
sim_stored_fn sim_on_stored;

/* All at once, so that nothing is forgotten between the server and here. */
static enum err sim_fetch(struct bus_consumer *base, int64_t timeout_ms, struct bus_delivery **ret,
                          size_t max, size_t *ret_count)
{
    struct sim_bus *bus = sim_bus_of(base->log->bus);
    struct bus_delivery *inner[FETCH_MAX];
    size_t count = 0;
    if (!wait_for_connection(bus, timeout_ms))
        return ERR_UNAVAILABLE;
    sim_sleep_us(sim_link_latency_us(bus));
    enum err e = bus_fetch(((struct sim_consumer *)base)->inner, timeout_ms, inner,
                           max < FETCH_MAX ? max : FETCH_MAX, &count);
    if (e)
        return e;
    bool lost = sim_link_is_down(bus) || sim_chance(bus->network->fetch_lost);
    for (size_t i = 0; i < count; i++) {
        struct sim_delivery *d = sim_must(calloc(1, sizeof *d));
        *d = (struct sim_delivery){.base = *inner[i], .inner = inner[i], .bus = bus};
        bus_record_box_of(inner[i]->record)->driver = &sim_bus_driver;
        if (!lost)
            sim_on_delivery(bus->process, inner[i]->record, NULL);
        if (lost)
            sim_delivery_release(d, BUS_LEAVE, 0);
        else
            ret[i] = &d->base;
    }
    *ret_count = lost ? 0 : count;
    return lost ? ERR_DEADLINE : ERR_NONE;
}

static void sim_settle(struct bus_delivery *base, enum bus_settlement how, int64_t delay_ms)
{
    struct sim_delivery *d = (struct sim_delivery *)base;
    if (d->settled)
        sim_fail("a delivery is settled twice");
    d->settled = true;
    sim_on_delivery(d->bus->process, base->record, &how);
    if (sim_link_is_down(d->bus) || d->bus->closed)
        sim_delivery_release(d, BUS_LEAVE, 0);
    else
        sim_link_send(
            d->bus, &d->bus->out,
            (struct parcel){.kind = SETTLE, .delivery = d, .how = how, .delay_ms = delay_ms});
}

static void sim_progress(struct bus_delivery *base)
{
    struct sim_delivery *d = (struct sim_delivery *)base;
    if (!sim_link_is_down(d->bus))
        sim_link_send(d->bus, &d->bus->out, (struct parcel){.kind = PROGRESS, .delivery = d});
}

const struct bus_driver sim_bus_driver = {
    .close = sim_close,
    .state = sim_state,
    .is_connected = sim_is_connected,
    .wait_ready = sim_wait_ready,
    .in_flight = sim_in_flight,
    .max_payload = sim_max_payload,
    .log_open = sim_log_open,
    .log_end = sim_log_end,
    .log_read = sim_log_read,
    .record_header = sim_record_header,
    .record_headers = sim_record_headers,
    .publish = sim_publish,
    .reader_open = sim_reader_open,
    .reader_close = sim_reader_close,
    .reader_next = sim_reader_next,
    .consumer_open = sim_consumer_open,
    .consumer_close = sim_consumer_close,
    .consumer_restart = sim_consumer_restart,
    .consumer_floor = sim_consumer_floor,
    .fetch = sim_fetch,
    .settle = sim_settle,
    .progress = sim_progress,
};

struct bus *sim_bus_open(struct bus *server, const struct sim_network *network, int process)
{
    struct sim_bus *bus = sim_must(calloc(1, sizeof *bus));
    bus->base.driver = &sim_bus_driver;
    bus->server = server;
    bus->network = network;
    bus->process = process;
    bus->out.end = &bus->out.first;
    bus->in.end = &bus->in.first;
    sim_spawn(process, sim_link_run, bus);
    return &bus->base;
}
