/* One simulated history: gateways, processors and their clients around one bus, what goes wrong,
 * and what must hold all the same.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "common/bus_mem.h"
#include "event-processor/processor.h"
#include "http-gateway/gateway.h"
#include "tests/sim/plan.h"

#define WORLD_NS "sim"
#define WORLD_GROUP "default"
#define WORLD_SOURCE "/sim"

enum { NODES_MAX = 8 };

/* A gateway or a processor; started again after each end, as another process. */
struct node {
    struct world *world;
    char name[16]; /* begins with its kind and its place in the world: p-3 */
    bool is_gateway;
    int process; /* 0: none at present */
    bool up;     /* it has started */
    bool stopping;
    bool crashing;           /* a handler has crashed it */
    int64_t frozen_until_ms; /* 0: it isn't */
    int64_t start_at_ms;     /* while there is no process */
    uint64_t status_end;     /* where the status log ended when it started */
    struct bus *bus;
    struct metrics *metrics;
    struct gateway *gateway;
    struct processor *processor;
};

/* What makes an event another one, in a text of our own. */
enum { CONTENT_SIZE = 320 };
void content_write(char content[CONTENT_SIZE], struct view name, struct view source,
                   struct view key, struct view content_type, struct view colour,
                   struct view payload);

/* What got a 202. */
struct accepted {
    struct event_id id;
    char content[CONTENT_SIZE];
    char producer_id[40]; /* empty: none */
    char source[16];      /* as it was sent */
};

struct world {
    struct plan plan;
    struct bus *server;
    struct bus_log *events, *statuses, *retries, *letters; /* at the server */
    struct bus_consumer *group;                            /* of the event log */
    struct sim_network network;                            /* as it is now */
    struct processor_settings settings;
    struct log_names event_names;
    struct node nodes[NODES_MAX];
    size_t node_count;
    size_t clients_left;
    struct accepted accepted[EVENTS_MAX];
    size_t accepted_count;
    int64_t refused_until_ms;
    uint32_t losses, items_lost, junk; /* so far */
    int64_t lost_at_ms;                /* the last of them */
    uint64_t hole_first, hole_last;    /* in the status log; 0: there is none */
    bool calm;                         /* no faults any more */
};

/* Runs the history; ends the (real) process if something doesn't hold. */
void world_run(void *plan);

/* ---- checks.c ---- */

/* Something has just been lost: what is known of the logs is void. */
void check_loss(struct world *world);
/* What holds at every moment. */
void check_now(struct world *world);
/* What holds when all is quiet: every event has ended, as both logs say. */
void check_end(struct world *world);
/* When it does not come to rest: says what is missing, or not acknowledged. */
void check_unrest(struct world *world);
/* Whether all processors know all that the logs hold, and nothing is left to do. */
bool check_quiet(struct world *world);
/* Whether all events have left the event log, where they do. */
bool check_age_is_over(const struct world *world);

/* ---- clients.c ---- */

void clients_start(struct world *world);

/* ---- operators.c ---- */

void operators_start(struct world *world);

/* ---- hooks.c ---- */

/* Tells the checks what happens in this world. */
void hooks_set(struct world *world);

#endif
