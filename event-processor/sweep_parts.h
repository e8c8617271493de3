/* The inside of the sweep. Private to sweep*.c.
 */
#ifndef TIDINGS_SWEEP_PARTS_H
#define TIDINGS_SWEEP_PARTS_H

#include "event-processor/status_log.h"
#include "event-processor/sweep.h"
#include "event-processor/wait.h"

enum {
    SWEEP_POLL_MS = 200, /* also how long a stop, or a rebuild, may take to be noticed */
    SWEEP_ASK_MS = 500,
    SWEEP_RETRY_MS = 1000, /* until the bus is asked again */
    SWEEP_CHUNK = 64,      /* letters for one look */
};

/* sweep_items.c: attempts to come that are lost. */
struct sweep_items {
    enum { SWEEP_ASK, SWEEP_AWAIT, SWEEP_WALK } step;
    struct bus_consumer *consumer; /* the group's, of the event log: for its floor, */
    struct bus_consumer *retries;  /* and of the retry log */
    uint64_t passed_by; /* the first item below that one's floor at the last look; 0: none */
    int64_t look_ms;    /* the next one, on the monotonic clock, */
    int64_t next_ms;    /* and the next walk */
    uint64_t epoch;     /* which the walk is in */
    uint64_t floor;
    uint64_t kept;                 /* items in the retry log */
    struct follower_target target; /* the table has to pass it ... */
    int64_t until_ms;              /* ... by then */
    uint64_t begin; /* where walks begin: the last one may not have come to its end */
    uint64_t from, to;
    bool wrapped;         /* it has come to the floor, and now walks up to `begin` */
    int64_t unchanged_ms; /* an event must not have changed for longer */
    uint64_t left;        /* events that it may look into yet */
    uint64_t published;
    uint64_t batch_position; /* in the status log; 0: none */
    struct status_batch *batch;
    struct metric *walks, *swept, *restarts;
};

struct sweep_letter {
    struct status_append append;
    struct sweep *sweep;
    struct err_detail error; /* append.change.error points here */
    bool stored;
};

/* sweep_expired.c: events that are about to leave the event log. */
struct sweep_expired {
    int64_t next_ms; /* the next look, on the monotonic clock */
    int64_t silent_until_ms;
    struct sweep_letter letters[SWEEP_CHUNK];
    size_t count;
    struct metric *expiring, *expired;
};

struct sweep {
    struct sweep_options use;
    struct sweep_items items;
    struct sweep_expired expired;
    struct wait_flag stop;
    struct wait wait;    /* guards the following; woken when one of them becomes less */
    uint32_t publishing; /* items */
    uint32_t failed;     /* of those of this walk */
    uint32_t appending;  /* records */
    bool started;
    pthread_t thread;
};

must_check enum err sweep_items_open(struct sweep *sweep);
void sweep_items_close(struct sweep *sweep);
/* Do one step; return in how many milliseconds the next one is due. */
int64_t sweep_items_step(struct sweep *sweep);
void sweep_expired_open(struct sweep *sweep);
int64_t sweep_expired_step(struct sweep *sweep);

static inline int64_t sweep_now_ms(const struct sweep *sweep)
{
    return clock_monotonic_ms(sweep->use.clock);
}

#endif
