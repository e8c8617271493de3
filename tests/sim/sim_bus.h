/* A client's connection to the simulated bus: the bus in memory, behind a network that delays,
 * loses and breaks.
 *
 * One server (a bus in memory) is shared by all; each (simulated) process has a connection of its
 * own, which speaks the contract of common/bus.h. What it publishes and settles travels in order
 * and takes its time; so do receipts. When the connection breaks, what travels is lost in both
 * directions, and publishes in flight are BUS_UNKNOWN: some of them stored, some not. When the
 * process is killed, a part of what it had sent still arrives.
 */
#ifndef TESTS_SIM_BUS_H
#define TESTS_SIM_BUS_H

#include "common/bus.h"

/* How bad things are, each in percent of its occasions. */
struct sim_network {
    unsigned slow; /* takes up to slow_ms instead of up to 1 ms */
    int64_t slow_ms;
    int64_t store_ms;        /* what is published takes up to so long to be stored */
    unsigned receipt_lost;   /* stored, but the receipt never comes: BUS_UNKNOWN at the time-out */
    unsigned publish_lost;   /* never stored: BUS_UNKNOWN at the time-out */
    unsigned settle_lost;    /* an acknowledgement that does not arrive */
    unsigned fetch_lost;     /* deliveries that do not arrive */
    unsigned ask_fails;      /* a question that is not answered in time */
    struct bus_log *refused; /* at the server: it has no leader now; NULL: none */
};

/* Called for each delivery that arrives at a process (how is NULL), and when it settles it. */
typedef void (*sim_delivery_fn)(int process, const struct bus_record *record,
                                const enum bus_settlement *how);
extern sim_delivery_fn sim_on_delivery;
/* Called when the server has completed a publish. */
typedef void (*sim_stored_fn)(const struct bus_log *log, const struct bus_message *message,
                              const struct bus_receipt *receipt);
extern sim_stored_fn sim_on_stored;

struct bus *sim_bus_open(struct bus *server, const struct sim_network *network, int process);
/* Breaks the connection, and lets it come back after that time. */
void sim_bus_cut(struct bus *bus, int64_t ms);
/* The process has been killed. */
void sim_bus_killed(struct bus *bus);

#endif
