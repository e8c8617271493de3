/* Queries: what became of an event. The answers of GetEventStatus, BatchGetEventStatus and
 * ListEvents, without gRPC.
 *
 * What the table knows is answered at once. A miss, or a min_position that is ahead, is first
 * looked into: the look thread takes all that wait, reads both logs' ends once, and waits until the
 * table has passed them; only what is unknown then is NOT_FOUND. Queries that come meanwhile wait
 * for the next look, so unknown ids are no way to load the bus. A FULL view is read from the logs
 * by a few reader threads; lists are made by a thread of their own, a bounded piece of the table at
 * a time.
 *
 * Thread-safe.
 */
#ifndef TIDINGS_QUERY_H
#define TIDINGS_QUERY_H

#include "common/event_query.h"
#include "event-processor/follower.h"

struct query;

struct query_options {
    struct bus_log *event_log;
    const char *event_stream;
    const char *ns;
    const char *source; /* of producers' ids that come without one */
    struct bus_log *status_log;
    struct follower *follower;
    struct status_table *table;
    struct metrics *metrics;
};

struct query_ask {
    struct event_status_request request; /* its views need to live only until query_ask returns */
    /* The caller's patience. At most 10 s are spent; 1 s while the table is being read anew. */
    int64_t timeout_ms;
    /* Called exactly once, perhaps before query_ask returns, on any thread. status is set if e is
     * ERR_NONE and lives until it returns; else message says why. ERR_INVALID: an event_id or a
     * source that nothing can have.
     * ERR_NOT_FOUND: surely not retained. ERR_OUT_OF_RANGE: min_position. ERR_UNAVAILABLE: it
     * cannot be known now. ERR_BUSY, ERR_MEMORY, ERR_CANCELLED. */
    void (*done)(void *ctx, enum err e, const char *message, const struct event_status *status);
    bool (*gone)(void *ctx); /* a hint that the caller has gone away; NULL: never */
    void *ctx;
};

struct query_batch_ask {
    struct event_batch_request request; /* its views need to live only until query_batch returns */
    int64_t timeout_ms;                 /* as above */
    /* As above; results, in the order of the ids, are there if e is ERR_NONE. Each has its own
     * error: ERR_INVALID, ERR_NOT_FOUND, or ERR_UNAVAILABLE. ERR_INVALID for all: no ids or too
     * many. */
    void (*done)(void *ctx, enum err e, const char *message,
                 const struct event_batch_result *results, size_t count);
    bool (*gone)(void *ctx);
    void *ctx;
};

struct query_list_ask {
    struct event_list_request request; /* its views need to live only until query_list returns */
    int64_t timeout_ms;                /* as above */
    /* As above; page is set if e is ERR_NONE. ERR_INVALID: a status, name, page_size or page_token
     * that cannot be. */
    void (*done)(void *ctx, enum err e, const char *message, const struct event_page *page);
    bool (*gone)(void *ctx);
    void *ctx;
};

struct query_position_ask {
    uint64_t min_position; /* 0: any; the table must have caught up all the same */
    int64_t timeout_ms;    /* as above */
    /* As above; epoch: the table's in which it is true. */
    void (*done)(void *ctx, enum err e, const char *message, uint64_t epoch);
    bool (*gone)(void *ctx);
    void *ctx;
};

must_check enum err query_start(const struct query_options *options, struct query **ret);
void query_ask(struct query *query, const struct query_ask *ask);
/* All ids are looked up at one moment; those that are unknown share one look. */
void query_batch(struct query *query, const struct query_batch_ask *ask);
void query_list(struct query *query, const struct query_list_ask *ask);
/* Waits until the table reflects the status log up to a position. */
void query_position(struct query *query, const struct query_position_ask *ask);
/* A BASIC view, which reflects the status log up to this position. */
struct event_status query_basic(const struct status_entry *entry, uint64_t position);
/* Answers what waits with ERR_UNAVAILABLE, waits for what is being looked into, ends the threads
 * and frees. */
void query_stop(struct query *query);

#endif
