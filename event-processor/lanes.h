/* The lanes of the runner: for each handler what waits for it and what it runs, and which may
 * start next.
 *
 * Runs are bounded for each handler and for all of them together. Of the latter half is kept in
 * equal shares, one at least if there are enough, for handlers that don't use theirs: whoever has
 * much slow work leaves the others a way. A handler without `cancel` needs none of these, since its
 * runs end at once. What a lane holds is bounded too, if there is more than one: the rest is put
 * off, so that what others are waiting for can be fetched. An event that is put off for long, or
 * while many are, must not wait in the event log, where the group's deliveries are bounded.
 *
 * Bookkeeping only; not thread-safe. Moments are in nanoseconds on the monotonic clock, above 0.
 */
#ifndef TIDINGS_LANES_H
#define TIDINGS_LANES_H

#include "event-processor/handlers.h"
#include "event-processor/held_queue.h"

struct lane {
    const struct handler *handler;
    struct held_queue waiting;
    size_t held;  /* deliveries, those that run or are being claimed included */
    size_t bytes; /* of their payloads */
    uint32_t running;
    uint32_t most;                /* runs at one time */
    uint32_t kept;                /* runs that nobody else gets */
    struct held *oldest, *newest; /* whose time limits are to come, by when they began */
    int64_t mean_ns;              /* that runs of late have taken; 0: none has ended */
    int64_t ended_ns;             /* when the last one ended; before: when the first began */
    int64_t back_ns;              /* when the last of those that were put off comes back */
    size_t back;                  /* so many do, to the event log */
};

/* Invariant: running + owed <= concurrency. */
struct lanes {
    struct lane *list;
    size_t count;
    uint32_t concurrency;
    uint32_t running;          /* that count towards it */
    uint32_t owed;             /* of those that are kept: unused */
    size_t all_running;        /* those that don't count, too */
    size_t claiming;           /* of all_running: have not begun */
    struct held_queue claimed; /* of these: begin next */
    struct held_queue alone;   /* waiting to be run with no other handler */
    const struct held *running_alone;
    size_t turn;          /* the lane that is asked first */
    size_t places, bytes; /* in hand, for all */
    bool mixed;           /* those that came last were worth their fetch, but did not all fit */
};

must_check enum err lanes_init(struct lanes *lanes, const struct handlers *handlers,
                               uint32_t concurrency, size_t bytes); /* ERR_MEMORY */
void lanes_free(struct lanes *lanes);

/* How many deliveries may have to be in hand, so that no lane can take all. */
size_t lanes_places(size_t handlers, uint32_t concurrency);
/* Adds a list; what doesn't fit is moved to *ret_put_off, see lanes_put_off. */
void lanes_add(struct lanes *lanes, struct held *list, int64_t now_ns, struct held **ret_put_off);
/* Whether a delivery doesn't fit. Then held->place says after what delay it should come back, and
 * whether from the retry log. */
bool lanes_put_off(struct lanes *lanes, struct held *held, int64_t now_ns);
/* The same of an item that is not in hand yet: whether it doesn't fit, and its delay. */
bool lanes_put_off_item(struct lanes *lanes, const struct handler *handler, int64_t now_ns,
                        int64_t *ret_delay_ms);
/* The next that may start, from now on running; NULL: none may. */
struct held *lanes_take(struct lanes *lanes);
bool lanes_may_take(const struct lanes *lanes);
/* What was taken must be claimed before it is run: it keeps its place among those that run, and is
 * the next that may start once it is added. So no more are claimed than can be run at once. */
void lanes_claim(struct lanes *lanes, struct held *held);
/* It won't be added: if it has such a place that is free again. */
void lanes_give_up(struct lanes *lanes, struct held *held);
/* Its time limit begins. */
void lanes_begin(struct lanes *lanes, struct held *held, int64_t now_ns);
/* Its time limit no longer counts. */
void lanes_forget_limit(struct lanes *lanes, struct held *held);
/* It runs no more. What has begun alone is alone on, until: */
void lanes_end(struct lanes *lanes, struct held *held, int64_t now_ns);
/* Its outcome is recorded, or it is left. Nothing happens to others. */
void lanes_end_alone(struct lanes *lanes, const struct held *held);
/* The moment of the next time limit, and whose it is; INT64_MAX: there is none. */
int64_t lanes_next_limit(const struct lanes *lanes, struct held **ret_held);
/* Takes all that waits, and on demand what has been claimed and added. */
struct held *lanes_clear(struct lanes *lanes, bool claimed);

struct lanes_want {
    size_t most;     /* deliveries in hand that there is use for: one for each run, and as many more
                    * as end within 200 ms if they take as long as those of late */
    size_t places;   /* room for so many makes a fetch worth its while, ... */
    int64_t wait_ms; /* ... or what room there is after that time */
    size_t fit;      /* so many should be fetched at most */
};
struct lanes_want lanes_want(const struct lanes *lanes, int64_t now_ns);

#endif
