#include "tests/sim/sim_link.h"

#include <stdlib.h>

enum { FAST_US = 1000 };

int64_t sim_link_latency_us(const struct sim_bus *bus)
{
    if (sim_chance(bus->network->slow))
        return (int64_t)sim_random((uint64_t)bus->network->slow_ms * 1000 + 1);
    return (int64_t)sim_random(FAST_US);
}

/* ---- the pipes ---- */

void *sim_must(void *memory)
{
    if (!memory)
        sim_fail("out of memory");
    return memory;
}

void sim_link_send(struct sim_bus *bus, struct pipe *pipe, struct parcel parcel)
{
    struct parcel *p = sim_must(malloc(sizeof *p));
    *p = parcel;
    int64_t due = sim_now_us() + sim_link_latency_us(bus);
    if (parcel.kind == STORE)
        due += (int64_t)sim_random((uint64_t)bus->network->store_ms * 1000 + 1);
    p->due_us = due > pipe->last_due_us ? due : pipe->last_due_us;
    p->cut = bus->cuts;
    p->next = NULL;
    pipe->last_due_us = p->due_us;
    *pipe->end = p;
    pipe->end = &p->next;
    sim_wake(bus);
}

struct parcel *sim_link_take(struct pipe *pipe)
{
    struct parcel *p = pipe->first;
    pipe->first = p->next;
    if (!pipe->first)
        pipe->end = &pipe->first;
    return p;
}

/* Removes it from the flights and tells its outcome. */
static void complete(struct sim_bus *bus, struct flight *flight, const struct bus_receipt *receipt)
{
    struct flight **link = &bus->flights;
    while (*link != flight)
        link = &(*link)->next;
    *link = flight->next;
    flight->over = true;
    bus->in_flight--;
    flight->done(flight->ctx, receipt);
}

static void on_stored(void *ctx, const struct bus_receipt *receipt)
{
    *(struct bus_receipt *)ctx = *receipt;
}

/* At the server. */
static void store(const struct sim_bus *bus, struct flight *flight)
{
    enum err e = ERR_UNAVAILABLE;
    if (flight->log->inner != bus->network->refused)
        e = bus_publish(flight->log->inner, &flight->message, on_stored, &flight->receipt);
    if (e)
        flight->receipt = (struct bus_receipt){.outcome = BUS_REFUSED, .why = e};
    sim_on_stored(flight->log->inner, &flight->message, &flight->receipt);
}

void sim_delivery_release(struct sim_delivery *d, enum bus_settlement how, int64_t delay_ms)
{
    bus_mem_driver.settle(d->inner, how, delay_ms);
    free(d);
}

/* At the other end. */
static void arrive(struct sim_bus *bus, const struct parcel *p, bool lost)
{
    const struct sim_network *net = bus->network;
    switch (p->kind) {
    case STORE:
        if (lost || sim_chance(net->publish_lost))
            break;
        store(bus, p->flight);
        if (!sim_chance(net->receipt_lost))
            sim_link_send(bus, &bus->in, (struct parcel){.kind = RECEIPT, .flight = p->flight});
        break;
    case RECEIPT:
        if (!lost && !p->flight->over)
            complete(bus, p->flight, &p->flight->receipt);
        break;
    case SETTLE:
        lost = lost || sim_chance(net->settle_lost);
        sim_delivery_release(p->delivery, lost ? BUS_LEAVE : p->how, p->delay_ms);
        break;
    case PROGRESS: /* its delivery has not been settled before: pipes keep the order */
        if (!lost)
            bus_mem_driver.progress(p->delivery->inner);
        break;
    }
}

static void carry(struct sim_bus *bus, struct pipe *pipe)
{
    while (pipe->first && pipe->first->due_us <= sim_now_us()) {
        struct parcel *p = sim_link_take(pipe);
        arrive(bus, p, p->cut != bus->cuts);
        free(p);
    }
}

static const struct bus_receipt unknown = {.outcome = BUS_UNKNOWN, .why = ERR_UNKNOWN_OUTCOME};

static void time_out(struct sim_bus *bus)
{
    for (struct flight *f = bus->flights, *next; f; f = next) {
        next = f->next;
        if (f->until_us > sim_now_us())
            continue;
        complete(bus, f, &unknown);
        next = bus->flights; /* `done` may have published */
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When there is something to do next. */
static int64_t next_us(const struct sim_bus *bus)
{
    int64_t next = INT64_MAX;
    if (bus->out.first)
        next = earlier(next, bus->out.first->due_us);
    if (bus->in.first)
        next = earlier(next, bus->in.first->due_us);
    for (const struct flight *f = bus->flights; f; f = f->next)
        next = earlier(next, f->until_us);
    return next;
}

/* The client's own network thread. */
void sim_link_run(void *arg)
{
    struct sim_bus *bus = arg;
    while (!bus->closed) {
        carry(bus, &bus->out);
        carry(bus, &bus->in);
        time_out(bus);
        if (!bus->closed) /* others may have had their turns in these */
            sim_wait_for(bus, next_us(bus));
    }
    bus->ended = true;
}

void sim_bus_cut(struct bus *base, int64_t ms)
{
    struct sim_bus *bus = sim_bus_of(base);
    bus->cuts++;
    bus->back_us = sim_now_us() + ms * 1000;
    while (bus->flights)
        complete(bus, bus->flights, &unknown);
}

void sim_bus_killed(struct bus *base)
{
    struct sim_bus *bus = sim_bus_of(base);
    while (bus->out.first) {
        struct parcel *p = sim_link_take(&bus->out);
        if (sim_chance(30)) /* the rest never left */
            bus->cuts++;
        if (p->kind == STORE && p->cut == bus->cuts)
            store(bus, p->flight);
        if (p->kind == SETTLE)
            sim_delivery_release(p->delivery, p->cut == bus->cuts ? p->how : BUS_LEAVE,
                                 p->delay_ms);
    }
}
