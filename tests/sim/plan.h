/* What a history is made of; all of it comes from the seed.
 */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include "common/buf.h"
#include "tests/sim/sim_bus.h"

enum { EVENTS_MAX = 256, HANDLERS_MAX = 3 };

/* A handler, chosen by the events' names: `a.>`, `b.>`, and one for all others. */
struct plan_handler {
    uint64_t max_attempts, concurrency;
    int64_t takes_ms, backoff_ms, timeout_ms;
};
enum { PLAN_BACKOFFS = 4 }; /* times backoff_ms is backoff_max_ms */

enum late_loss {
    LATE_NOTHING,
    LATE_TAIL,      /* the event log's */
    LATE_CONFLICTS, /* the same, and copies with other content are all that comes after it */
    LATE_HOLE,      /* in the status log */
};

struct plan {
    size_t gateways, processors, clients, events;
    struct sim_network network;
    int64_t ack_wait_ms, duplicate_window_ms, drain_ms;
    uint64_t max_ack_pending, concurrency;
    size_t handler_count;
    struct plan_handler handlers[HANDLERS_MAX];
    unsigned kills, freezes, cuts, stops, refusals; /* a percentage of the director's moves */
    size_t kind;                                    /* of shared ids: where they begin */
    unsigned reuse;            /* percentage of events that use an id again ... */
    unsigned conflict;         /* ... and of these, with other content */
    unsigned own_ids;          /* percentage of events with an id of the producer's */
    unsigned losses;           /* what a server or somebody's hand destroys */
    enum late_loss loses_late; /* when no event comes any more */
    unsigned lost_items;       /* attempts to come that are lost: how often */
    int64_t max_age_ms;        /* of the event log; 0: for ever */
    unsigned junk;             /* messages that are no events */
    unsigned failing;          /* percentage of events whose handler fails, ... */
    unsigned hanging;          /* ... of these, of those that hang until their time limit; */
    unsigned flaky;            /* of those whose handler fails by chance, in every second run; */
    unsigned crashing;         /* and of events that crash their processor */
    size_t replays;
    int64_t replay_silent_ms;
    bool renames; /* a process that begins again has another name, as pods do */
};

void plan_make(struct plan *ret);
/* Whether what runs when a processor is stopped comes to its end. */
bool plan_drains_in_time(const struct plan *plan);
/* Whether processors may vanish in the midst of a run: then attempts are charged that no handler
 * has failed in. */
bool plan_loses_runs(const struct plan *plan);
/* Whether deliveries may come again although whoever holds them is well. */
bool plan_loses_deliveries(const struct plan *plan);
/* Whether anything gets lost or late on the way to the bus and back, unless a process ends. */
bool plan_is_network_bad(const struct plan *plan);
/* Whether anything may go wrong beside handlers. */
bool plan_is_faulty(const struct plan *plan);

/* The handler's index that an event of that name gets. */
size_t plan_handler_of(const struct plan *plan, struct view name);

/* What becomes of an event at its handler: it fails in its first so many attempts; ... */
enum { FATE_ALWAYS = 1000 };
struct fate {
    unsigned failures; /* FATE_ALWAYS: in all of them */
    bool flaky;        /* ... or by chance; it ... */
    bool never;        /* ... says that no other could succeed; ... */
    bool crashes;      /* ... takes its processor with it, in all of them; ... */
    bool hangs;        /* ... or hangs until its time limit */
    int64_t after_ms;  /* that it wants until its next attempt; -1: it says nothing of that */
};
/* By the payload's beginning, up to the script. */
struct fate plan_fate(const struct plan *plan, struct view payload);
/* A payload that begins with that text and tells the handler `simulate` its fate. */
enum { PLAN_PAYLOAD_SIZE = 160 };
void plan_payload(const struct plan *plan, const char *text, char payload[PLAN_PAYLOAD_SIZE]);

#endif
