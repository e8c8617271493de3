/* The inside of queries. Private to query*.c.
 */
#ifndef TIDINGS_QUERY_LOOKUP_H
#define TIDINGS_QUERY_LOOKUP_H

#include "event-processor/query.h"
#include "event-processor/wait.h"

#include <stdatomic.h>

/* What could not be answered at once waits: for a look, or for a reader. The first member of what
 * its kind makes of it. */
struct waiter {
    const struct waiter_kind *kind;
    struct waiter *next;
    struct timespec until;
    size_t weight; /* how many of the list's places it takes; 0 counts as 1 */
};
struct waiter_kind {
    /* The table has passed the logs' ends, the target, in that epoch. False: it was rebuilt
     * meanwhile, and its word counts for nothing: wait for the next look. */
    bool (*passed)(struct query *query, struct waiter *waiter, const struct follower_target *target,
                   uint64_t epoch);
    /* Completes it; it may have an answer all the same. */
    void (*fail)(struct query *query, struct waiter *waiter, enum err e, const char *message);
    bool (*gone)(const struct waiter *waiter); /* a hint: its caller has gone away */
};

struct waiter_list {
    struct waiter *first, *last;
    size_t count; /* of places */
};

/* One event's. */
struct lookup {
    struct waiter waiter;
    struct query_ask ask; /* event_id and source of its request are views of `text` */
    struct event_id id;
    struct status_entry entry; /* FULL: what the table says */
    uint64_t position;         /* ... and the status log's position that this reflects */
    char text[];
};

enum { QUERY_READERS = 2, QUERY_THREADS = QUERY_READERS + 2 };

enum query_result {
    QUERY_ANSWERED,
    QUERY_NOT_FOUND,
    QUERY_OUT_OF_RANGE,
    QUERY_INVALID,
    QUERY_BUSY,
    QUERY_UNAVAILABLE,
    QUERY_RESULTS
};

struct query {
    struct query_options use;
    struct wait wait;           /* guards the following; woken when any of it changes */
    struct waiter_list waiting; /* for the next look */
    struct waiter_list to_read; /* for a reader: lookups, FULL */
    struct waiter_list to_list; /* for the lister: lists */
    bool stopping;

    pthread_t threads[QUERY_THREADS];
    size_t started;
    struct metric *results[QUERY_RESULTS];
    struct metric *misses, *looks;
};

void waiter_push(struct waiter_list *list, struct waiter *waiter);
struct waiter *waiter_pop(struct waiter_list *list); /* NULL: empty */
/* Leaves it to the looker, or fails it. */
void query_wait_for_look(struct query *query, struct waiter *waiter);
/* Leaves it to the lister, or fails it. */
void query_wait_for_lister(struct query *query, struct waiter *waiter);
/* Waits for one of a list; NULL: stopping, and none is left. */
struct waiter *query_take(struct query *query, struct waiter_list *list);
/* When a caller with that much patience is told that it cannot be known. */
struct timespec query_patience(const struct query *query, int64_t timeout_ms);
/* Counts a look-up's end. */
void query_count(struct query *query, enum err e, uint64_t look_ups);
/* Whether a request's min_position is beyond the status log's end; the detail says so. */
bool query_is_beyond(uint64_t min_position, const struct follower_target *target,
                     struct err_detail *detail);

/* The event_id that a request asks for. ERR_INVALID: the detail says which member and why. */
must_check enum err query_id(const struct query_options *options,
                             const struct event_status_request *request, struct event_id *ret,
                             struct err_detail *detail);
/* What to say of an id that the table does not have. */
void query_say_unknown(const struct query_options *options,
                       const struct event_status_request *request, struct err_detail *detail);

/* Completes a lookup and frees it. */
void query_fail(struct query *query, struct lookup *lookup, enum err e, const char *message);
void query_answer(struct query *query, struct lookup *lookup, const struct event_status *status);
extern const struct waiter_kind query_lookup_kind;
/* Answers a lookup whose entry is set: at once, or by a reader. */
void query_found(struct query *query, struct lookup *lookup);

/* Thread functions; they end when stopping and nothing is left. */
void *query_run_looker(void *query);
void *query_run_reader(void *query);
void *query_run_lister(void *query);

#endif
