/* What to do with a delivery: one pure function of what the status table says about its position,
 * and the delivery.
 *
 * It is asked after the barrier (the table knows all that was appended before the batch was
 * fetched), and again before the handler starts. The first match counts, and nothing else
 * acknowledges a delivery without a stored record of its outcome.
 */
#ifndef TIDINGS_DECIDE_H
#define TIDINGS_DECIDE_H

#include "event-processor/status_table.h"

enum decision {
    DECIDE_GONE,  /* the event log has dropped it since it was delivered: let it be */
    DECIDE_LEAVE, /* the table and the delivery are not of one log: let it come back */
    DECIDE_COPY,  /* not the first of its id: compare it with that. Append that it needs no run, or
                   * store a dead letter and append `dead`; then acknowledge it */
    DECIDE_ENDED, /* its generation has ended: acknowledge it */
    DECIDE_BURY,  /* not an event: store a dead letter, append `dead`, then acknowledge it */
    DECIDE_RUN,   /* run its handler */
};

struct decide_delivery {
    struct event_id id; /* as event_identity says */
    uint64_t position;
    struct view stream; /* the event log's name */
    bool malformed;
};

/* `cell` is what the table has at the delivery's position, NULL: nothing; `first` is the first
 * position that the table knows of. DECIDE_COPY is true only if that is the event log's first
 * position now, or was so after the delivery was stored. */
enum decision decide(const struct status_entry *cell, uint64_t first,
                     const struct decide_delivery *delivery);

#endif
