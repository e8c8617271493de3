/* The network between a client of the simulated bus and its server: what travels, and how.
 */
#ifndef TESTS_SIM_LINK_H
#define TESTS_SIM_LINK_H

#include "common/bus_driver.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_bus.h"

/* What travels. */
enum kind { STORE, RECEIPT, SETTLE, PROGRESS };

struct parcel {
    enum kind kind;
    int64_t due_us;
    uint32_t cut; /* sent in this life of the connection */
    struct parcel *next;
    /* STORE and RECEIPT */
    struct flight *flight;
    /* SETTLE and PROGRESS */
    struct sim_delivery *delivery;
    enum bus_settlement how;
    int64_t delay_ms;
};

/* A publish whose outcome is not known yet. */
struct flight {
    struct sim_log *log;
    struct bus_message message; /* a copy */
    bus_published_fn done;
    void *ctx;
    struct bus_receipt receipt;
    int64_t until_us;
    bool over;
    struct flight *next;
};

struct pipe {
    struct parcel *first, **end;
    int64_t last_due_us;
};

struct sim_bus {
    struct bus base;
    struct bus *server;
    const struct sim_network *network;
    int process;
    bool closed;
    bool ended; /* the carrier has */
    uint32_t cuts;
    int64_t back_us; /* when the connection is there again */
    struct pipe out, in;
    struct flight *flights;
    uint32_t in_flight;
    struct sim_log *logs;
};

struct sim_log {
    struct bus_log base;
    struct bus_log *inner;
    struct sim_log *next;
};

struct sim_reader {
    struct bus_reader base;
    struct bus_reader *inner;
};

struct sim_consumer {
    struct bus_consumer base;
    struct bus_consumer *inner;
};

struct sim_delivery {
    struct bus_delivery base;
    struct bus_delivery *inner;
    struct sim_bus *bus;
    bool settled;
};

extern const struct bus_driver sim_bus_driver;

static inline struct sim_bus *sim_bus_of(struct bus *base)
{
    return (struct sim_bus *)base;
}

static inline int64_t sim_now_us(void)
{
    return sim_now_ns() / 1000;
}

static inline bool sim_link_is_down(const struct sim_bus *bus)
{
    return sim_now_us() < bus->back_us;
}

int64_t sim_link_latency_us(const struct sim_bus *bus);
/* Puts a parcel behind those that travel in the pipe already. */
void sim_link_send(struct sim_bus *bus, struct pipe *pipe, struct parcel parcel);
struct parcel *sim_link_take(struct pipe *pipe);
/* Settles the delivery at the server. */
void sim_delivery_release(struct sim_delivery *d, enum bus_settlement how, int64_t delay_ms);
void sim_link_run(void *bus); /* a fiber: carries, until the bus is closed */
void *sim_must(void *memory); /* memory, or the end of the history */

#endif
