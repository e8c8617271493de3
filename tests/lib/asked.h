/* A replica on a bus in memory that is asked what became of events, and its answers.
 */
#ifndef TESTS_ASKED_H
#define TESTS_ASKED_H

#include "event-processor/query.h"
#include "tests/lib/mem_world.h"

#include <stdatomic.h>

enum { PATIENCE_MS = 25000 };

struct asked {
    struct mem_world world;
    struct metrics *metrics;
    struct status_table *table;
    struct changes *changes; /* the latest ones, as many as asked_changes_kept */
    struct follower *follower;
    struct query *query;
};

extern size_t asked_changes_kept; /* CHANGES_KEPT at first */

struct answer {
    atomic_bool come;
    bool synchronous; /* before query_ask returned */
    enum err e;
    char message[300];
    struct status_state state;
    uint64_t event_position, position;
    char name[64], payload[64], error[128], words[256]; /* words: the history's statuses */
    char more[128];                                     /* subject, dataschema, extensions */
    size_t history_count;
    int64_t time_ms;
};

/* For cmocka: a struct asked in *state, and its end. */
int asked_begin(void **state);
int asked_end(void **state);
void asked_stop(struct asked *asked); /* the first half of the end: nobody is answered any more */
/* query_ask's done, for a struct answer. */
void asked_on_answer(void *ctx, enum err e, const char *message, const struct event_status *status);
void until_ready(struct asked *asked);

void ask_for(struct asked *asked, const struct event_status_request *request, int64_t timeout_ms,
             struct answer *answer);
void ask(struct asked *asked, const char *id, bool full, uint64_t min_position, int64_t timeout_ms,
         struct answer *answer);
/* A producer's id, and its source; the texts are gone while the answer is waited for. */
void ask_producer(struct asked *asked, const char *id, const char *source, bool full,
                  struct answer *answer);
void ask_and_wait(struct asked *asked, const struct event_id *id, bool full, uint64_t min_position,
                  struct answer *answer);

#endif
