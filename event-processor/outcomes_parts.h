/* The inside of outcomes. Private to outcomes*.c.
 */
#ifndef TIDINGS_OUTCOMES_PARTS_H
#define TIDINGS_OUTCOMES_PARTS_H

#include "event-processor/outcomes.h"

/* X(code, label, how it is settled) */
#define OUTCOME_LIST(X)                                                                    \
    X(PROCESSED, "processed", BUS_ACK)                                                     \
    X(DEAD, "dead", BUS_ACK)                                                               \
    X(COPY, "copy", BUS_ACK)                                                               \
    X(ENDED, "ended", BUS_ACK)                                                             \
    X(RETRIED, "retried", BUS_ACK)       /* the next attempt is in the retry log */        \
    X(PUT_OFF, "put_off", BUS_ACK)       /* the first one is */                            \
    X(SUPERSEDED, "superseded", BUS_ACK) /* another delivery of the event is or will be */ \
    X(VOID, "void", BUS_ACK)             /* an item without an event */                    \
    X(GONE, "gone", BUS_LEAVE)                                                             \
    X(LEFT, "left", BUS_LEAVE)                                                             \
    X(RETURNED, "returned", BUS_RETRY)

enum outcome {
#define X(code, label, how) code,
    OUTCOME_LIST(X)
#undef X
        OUTCOMES
};

struct outcomes {
    struct outcomes_options use;
    struct metric *counts[OUTCOMES];
    struct metric *failures;
    struct wait wait;    /* guards the following, and held->claim; woken when one changes */
    uint32_t publishing; /* items */
    bool stopping;
    struct timespec stop_at;
};

void outcomes_settle(struct outcomes *outcomes, struct held *held, enum outcome outcome,
                     int64_t delay_ms);
/* Completes a change of the delivery's event with what is the same for all of them. False: the
 * table has another event there. */
bool outcomes_fill(struct outcomes *outcomes, struct held *held, struct status_change *change);
/* Appends a change whose `done` is called; the delivery is left if that is of no use. */
void outcomes_record(struct outcomes *outcomes, struct held *held, struct status_change change,
                     void (*done)(struct status_append *append, bool stored));

/* Ends a delivery whose claim `alone` has come to nothing, or will. False: none was begun. */
bool outcomes_end_claim(struct outcomes *outcomes, struct held *held);
/* The time of outcomes_stop has come. */
bool outcomes_is_over(struct outcomes *outcomes);

static inline struct held *outcomes_held_of(struct status_append *append)
{
    return (struct held *)((char *)append - offsetof(struct held, append));
}

#endif
