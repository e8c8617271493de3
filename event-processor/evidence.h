/* Evidence: what an event that has ended is acknowledged on, the record of its end, must still be
 * kept.
 *
 * A table that has folded a record knows it for ever, also when the status log has lost it: by a
 * damaged block, or by somebody's hand. Nothing else shows that. Replicas that start later see the
 * event open and have the group begin anew (restart.h), and if this one only acknowledged it again
 * they would wait for ever. So the record is looked for, and if it is gone the table is rebuilt.
 *
 * Usually nothing is delivered that has ended. For the consumer's thread.
 */
#ifndef TIDINGS_EVIDENCE_H
#define TIDINGS_EVIDENCE_H

#include "event-processor/barrier.h"

struct evidence {
    struct bus_log *event_log, *status_log;
    struct follower *follower;
    struct status_table *table;
    struct outcomes *outcomes;
    /* Its own; zero at first. */
    uint64_t kept; /* the record last found, in this batch */
    struct timespec unsure_until;
};

/* Asks for the records of those in the batch that have ended, each record once. What cannot be
 * decided now is given back and taken out of the batch. Where a record is gone a rebuild begins,
 * and the epoch in which the barrier was passed is over. */
void evidence_sift(struct evidence *evidence, struct batch *batch, uint64_t epoch);

#endif
