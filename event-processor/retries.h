/* The retries: what a delivery waits for before its handler can run again, or need not.
 *
 *     `processing` appended -> wait for its fold -> ask again -> runner
 *     look up which delivery the cell's record names -> ask again
 *     look up when the cell's next attempt is due -> its item published -> acknowledged
 *
 * Thread-safe. One thread of its own, which waits for the follower and the bus; deliveries wait
 * for it, no more than are in hand.
 */
#ifndef TIDINGS_RETRIES_H
#define TIDINGS_RETRIES_H

#include "event-processor/outcomes.h"

struct retries;

struct retries_options {
    struct bus_log *status_log;
    struct outcomes *outcomes;
    struct view processor;                           /* who appends claims; must live on */
    void (*to_runner)(void *ctx, struct held *held); /* runner_add */
    void *ctx;
};

must_check enum err retries_start(const struct retries_options *options, struct retries **ret);
/* Takes a delivery (outcomes_go_on). Does not wait. After retries_stop it is returned, unless it
 * was claimed: it may still be run here, and the next one to get it would think that its runner
 * has vanished. */
void retries_add(struct retries *retries, struct held *held);
/* Returns what waits and was not claimed. What is being done goes on. Does not wait. */
void retries_stop(struct retries *retries);
/* After retries_stop. Waits for what is being done, some seconds if the bus has frozen. */
void retries_free(struct retries *retries);

#endif
