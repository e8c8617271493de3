/* A fetcher: takes deliveries of one log in hand, and hands on what the barrier has let pass.
 *
 *     bus_fetch -> (an item that isn't due: given back until then) -> in hand -> (an item: its
 *     event's record read) -> barrier -> decide -> runner, letters or retries
 *
 * One thread of its own.
 */
#ifndef TIDINGS_FETCHER_H
#define TIDINGS_FETCHER_H

#include "event-processor/consumer.h"
#include "event-processor/runner.h"
#include "event-processor/wait.h"

struct fetcher;

struct fetcher_options {
    const struct consumer_options *use;
    enum status_delivery_log log; /* of the deliveries */
    size_t limit;                 /* deliveries in hand, at most; */
    size_t bytes_limit;           /* and what they take */
    struct outcomes *outcomes;
    struct runner *runner;
};

/* Opens its consumer and prepares all else. */
must_check enum err fetcher_new(const struct fetcher_options *options, struct fetcher **ret);
/* Starts its thread, which waits for fetcher_go. */
must_check enum err fetcher_start(struct fetcher *fetcher);
/* From now on it fetches. Cannot fail, so that nothing is in hand before all has started. */
void fetcher_go(struct fetcher *fetcher);
/* Tells it to fetch no more. Does not wait. */
void fetcher_stop(struct fetcher *fetcher);
/* Waits for its end after fetcher_stop; false: the time is over, it waits for the bus. */
bool fetcher_wait_end(struct fetcher *fetcher, struct timespec until);
struct in_hand *fetcher_hand(struct fetcher *fetcher);
/* The same however long that takes: some seconds for a request to a frozen bus. Until then it may
 * hand on what it has fetched, so what it hands on to must be there. */
void fetcher_join(struct fetcher *fetcher);
/* After fetcher_stop, when no handler is running any more and the status log has stopped. Leaves
 * what is still in hand. */
void fetcher_free(struct fetcher *fetcher);

#endif
