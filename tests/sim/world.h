/* One simulated history: gateways, processors and their clients around one bus, what goes wrong,
 * and what must hold all the same.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "common/bus_mem.h"
#include "common/event_digest.h"
#include "event-processor/processor.h"
#include "http-gateway/gateway.h"
#include "tests/sim/sim_bus.h"

#define WORLD_NS "sim"
#define WORLD_GROUP "default"

enum { NODES_MAX = 8, EVENTS_MAX = 256 };

/* What a history is made of; all of it comes from the seed. */
struct plan {
    size_t gateways, processors, clients, events;
    struct sim_network network;
    int64_t ack_wait_ms, duplicate_window_ms, handler_ms, backoff_ms;
    uint64_t max_ack_pending, concurrency;
    unsigned kills, freezes, cuts, stops, refusals; /* a percentage of the director's moves */
    unsigned reuse;    /* percentage of events that use an id again ... */
    unsigned conflict; /* ... and of these, with other content */
    unsigned own_ids;  /* percentage of events with an id of the producer's */
    unsigned losses;   /* what a server or somebody's hand destroys */
    unsigned junk;     /* messages that are no events */
    unsigned failing;  /* percentage of events whose handler fails, */
    unsigned crashing; /* and of those that crash it */
};

/* A gateway or a processor; started again after each end, as another process. */
struct node {
    struct world *world;
    char name[16];
    bool is_gateway;
    int process; /* 0: none at present */
    bool up;     /* it has started */
    bool stopping;
    bool crashing;           /* a handler has crashed it */
    int64_t frozen_until_ms; /* 0: it isn't */
    int64_t start_at_ms;     /* while there is no process */
    struct bus *bus;
    struct metrics *metrics;
    struct gateway *gateway;
    struct processor *processor;
};

/* How often the event with that payload fails before it succeeds: one of these, or fewer than
 * MAX_ATTEMPTS times. */
enum {
    MAX_ATTEMPTS = 4,
    FAILS_ALWAYS = 1000,
    NEVER_AGAIN, /* and says so */
    CRASHES,     /* takes its process with it */
};
unsigned world_failures(const struct plan *plan, struct view payload);

/* What got a 202. */
struct accepted {
    struct event_id id;
    char digest[EVENT_DIGEST_TEXT_SIZE];
};

struct world {
    struct plan plan;
    struct bus *server;
    struct bus_log *events, *statuses, *retries, *letters; /* at the server */
    struct sim_network network;                            /* as it is now */
    struct processor_settings settings;
    struct node nodes[NODES_MAX];
    size_t node_count;
    size_t clients_left;
    struct accepted accepted[EVENTS_MAX];
    size_t accepted_count;
    int64_t refused_until_ms;
    uint32_t losses;    /* so far */
    int64_t lost_at_ms; /* the last of them */
    bool calm;          /* no faults any more */
    bool faulty;        /* there were some */
    bool crashes;       /* processors may vanish: killed, frozen, stopped, or without the bus */
    uint32_t runs[4 * EVENTS_MAX]; /* that have succeeded, by the event's position */
};

/* Chooses what the history is made of. */
void plan_make(struct plan *ret);

/* Runs the history; ends the (real) process if something doesn't hold. */
void world_run(void *plan);

/* ---- checks.c ---- */

/* Something has just been lost: what is known of the logs is void. */
void check_loss(struct world *world);
/* What holds at every moment. */
void check_now(struct world *world);
/* A handler has succeeded with the event at that position, in that process. */
void check_run(struct world *world, int process, uint64_t position);
/* A delivery of that record has arrived there (how is NULL), or has been settled. */
void check_delivery(struct world *world, int process, const struct bus_record *record,
                    const enum bus_settlement *how);
/* What holds when all is quiet: every event has ended, as both logs say. */
void check_end(struct world *world);
/* Whether all processors know all that the logs hold, and nothing is left to do. */
bool check_quiet(struct world *world);

/* ---- clients.c ---- */

void clients_start(struct world *world);

#endif
