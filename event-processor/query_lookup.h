/* The inside of queries. Private to query*.c.
 */
#ifndef TIDINGS_QUERY_LOOKUP_H
#define TIDINGS_QUERY_LOOKUP_H

#include "event-processor/query.h"
#include "event-processor/wait.h"

#include <stdatomic.h>

/* A query that could not be answered at once. */
struct lookup {
    struct query_ask ask; /* event_id and source of its request are views of `text` */
    struct event_id id;
    struct timespec until;
    struct status_entry entry; /* FULL: what the table says */
    uint64_t position;         /* ... and the status log's position that this reflects */
    struct lookup *next;
    char text[];
};

struct lookup_list {
    struct lookup *first, *last;
    size_t count;
};

enum { QUERY_READERS = 2 };

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
    struct lookup_list waiting; /* for the next look */
    struct lookup_list to_read; /* for a reader: FULL */
    bool stopping;

    pthread_t looker, readers[QUERY_READERS];
    size_t started; /* threads: the looker, then the readers */
    struct metric *results[QUERY_RESULTS];
    struct metric *misses, *looks;
};

void lookup_push(struct lookup_list *list, struct lookup *lookup);
struct lookup *lookup_pop(struct lookup_list *list); /* NULL: empty */

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
/* Answers a lookup whose entry is set: at once, or by a reader. */
void query_found(struct query *query, struct lookup *lookup);
struct event_status query_basic(const struct status_entry *entry, uint64_t position);

/* Thread functions; they end when stopping and nothing is left. */
void *query_run_looker(void *query);
void *query_run_reader(void *query);

#endif
