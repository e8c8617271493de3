/* The barrier: what must be so before anything is decided about a batch of deliveries.
 *
 * The status table has folded all that the status log held after the batch was fetched, and the
 * batch's events; and if some are copies, the event log still keeps the events before them. One
 * question to the status log's leader for each batch. For one thread.
 */
#ifndef TIDINGS_BARRIER_H
#define TIDINGS_BARRIER_H

#include "event-processor/outcomes.h"
#include "event-processor/wait.h"

#define BATCH_MAX 1024

/* What one fetch has brought. */
struct batch {
    struct held *held[BATCH_MAX];
    size_t count;
    uint64_t last; /* the highest position */
    bool copies;   /* the table says that some are copies */
};
void batch_add(struct batch *batch, struct held *held);

struct barrier {
    struct follower *follower;
    struct status_table *table;
    struct outcomes *outcomes;
    int64_t patience_ms; /* the bus's ack_wait */
    struct wait_flag *stop;
    struct metric *passed; /* how long it took */
    /* The barrier's own; zero at first. */
    bool doubtful; /* the last batch did not pass */
    struct timespec silent_until;
};

enum barrier_end {
    BARRIER_PASSED,
    BARRIER_STOPPED,
    BARRIER_TOO_LONG, /* said in the log: the batch should go to other processors */
};
/* Waits for it. Deliveries from beyond the event log's end are left or put off, and taken out of
 * the batch.
 * *ret_epoch: the table's in which it was passed. */
enum barrier_end barrier_pass(struct barrier *barrier, struct batch *batch, uint64_t *ret_epoch);
/* Whether a batch fetched now may be expected to pass; may take some seconds to find out if the
 * last one did not. */
bool barrier_is_open(struct barrier *barrier);

#endif
