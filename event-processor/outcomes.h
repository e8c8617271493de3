/* How deliveries end: settled at once, or acknowledged once the record of their outcome is stored.
 *
 * Nothing else settles a delivery that was taken in hand. A table that was rebuilt since it was
 * asked about a delivery has taken its word back: such a delivery is left, and comes back.
 * Thread-safe.
 */
#ifndef TIDINGS_OUTCOMES_H
#define TIDINGS_OUTCOMES_H

#include "common/clock.h"
#include "event-processor/follower.h"
#include "event-processor/in_hand.h"

struct outcomes;

struct outcomes_options {
    struct in_hand *hand;
    struct follower *follower;
    struct status_table *table;
    struct status_log *status_log;
    const char *event_stream; /* the event log's name */
    const struct clock *clock;
    struct metrics *metrics;
};

must_check enum err outcomes_new(const struct outcomes_options *options, struct outcomes **ret);
void outcomes_free(
    struct outcomes *outcomes); /* when nothing is in hand and the status log has stopped */

enum outcomes_next {
    OUTCOMES_DONE,    /* it has been dealt with and is no longer the caller's */
    OUTCOMES_RUN,     /* run its handler */
    OUTCOMES_EXAMINE, /* no handler is for it: see what it is (letters.h) */
};
/* Asks what to do with a delivery (decide.h). */
enum outcomes_next outcomes_decide(struct outcomes *outcomes, struct held *held);
/* Its handler has succeeded. */
void outcomes_processed(struct outcomes *outcomes, struct held *held);
/* Its attempt has failed. `failure` and what it points to need not outlive the call. */
void outcomes_failed(struct outcomes *outcomes, struct held *held,
                     const struct run_failure *failure);
/* It is a copy of an event that has been taken care of: needs no run. */
void outcomes_copy(struct outcomes *outcomes, struct held *held);
/* It has ended without success and has become a dead letter; held->error is the reason. */
struct outcomes_death {
    struct event_id id; /* that it is known by from now on */
    uint64_t letter_position;
    /* 0: none. Else that of the event whose id it came with, and that id. */
    uint64_t conflict_position;
    struct event_id conflict_id;
};
void outcomes_dead(struct outcomes *outcomes, struct held *held,
                   const struct outcomes_death *death);
/* Nothing is sent; it comes back after ack_wait, to any processor. */
void outcomes_leave(struct outcomes *outcomes, struct held *held);
/* Its handler hasn't been started and won't be: it comes back after the delay, to any processor. */
void outcomes_return(struct outcomes *outcomes, struct held *held, int64_t delay_ms);

#endif
