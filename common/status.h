/* Statuses and their moves.
 *
 *     accepted ----> processing ----> processed        every arrow into processing may be left out:
 *        |  |           |   ^             |            short work goes straight to its outcome
 *        |  |           v   |             | replay
 *        |  '-------> retrying <----------'
 *        |              |   ^
 *        |              v   | replay
 *        '------------> dead
 *
 * processed and dead end a generation; only a replay leaves them, into a later generation (usually
 * by its `retrying`; a runner that takes the replay's item before that is recorded may be first). A
 * change wins only if (generation, attempt, rank) is greater than the cell's and its generation has
 * not ended (a later generation may always begin); rank: processing < processing alone < retrying <
 * processed = dead. Changes that lose stay in the status log and are no part of the event's
 * history. So every replica that folds the same log holds the same table.
 */
#ifndef TIDINGS_STATUS_H
#define TIDINGS_STATUS_H

#include <stdbool.h>
#include <stdint.h>

/* X(code, word) */
#define STATUS_LIST(X)                                     \
    X(STATUS_NONE, "none") /* no event at this position */ \
    X(STATUS_ACCEPTED, "accepted")                         \
    X(STATUS_PROCESSING, "processing")                     \
    X(STATUS_RETRYING, "retrying")                         \
    X(STATUS_PROCESSED, "processed")                       \
    X(STATUS_DEAD, "dead")

enum status {
#define X(code, word) code,
    STATUS_LIST(X)
#undef X
        STATUS_COUNT
};

/* Where an event stands. A fresh event is {STATUS_ACCEPTED, 0, 0}. */
struct status_state {
    enum status status;
    bool alone;          /* with STATUS_PROCESSING: no other handler ran beside it */
    uint32_t generation; /* 0 to STATUS_GENERATION_MAX */
    uint32_t attempt;    /* 0 to STATUS_ATTEMPT_MAX; the first is 1 */
};
#define STATUS_GENERATION_MAX 1023
#define STATUS_ATTEMPT_MAX 1023

const char *status_word(enum status s); /* "unknown" for what is none of them */
bool status_ended(enum status s);       /* processed or dead */
/* The one table of allowed moves, pure: true if `change` wins over `cell`; *ret is then what the
 * cell becomes. A cell without an event (STATUS_NONE) takes no change; `none`, `accepted` and
 * numbers out of bounds change nothing. */
bool status_move(struct status_state cell, struct status_state change, struct status_state *ret);

#endif
