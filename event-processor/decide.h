/* What to do with a delivery: one pure function of what the status table says about its event, and
 * the delivery.
 *
 * It is asked after the barrier (the table knows all that was appended before the batch was
 * fetched), again before the handler starts, and again once a record appended for the delivery has
 * been folded. The first match counts, and nothing else acknowledges a delivery without a stored
 * record of its outcome.
 */
#ifndef TIDINGS_DECIDE_H
#define TIDINGS_DECIDE_H

#include "event-processor/status_table.h"

enum decision {
    DECIDE_GONE,  /* the event log has dropped it since it was delivered: let it be */
    DECIDE_LEAVE, /* the table and the delivery are not of one log, or somebody else has taken it
                   * over: let it come back */
    DECIDE_VOID,  /* an item whose event is not in the event log (any more): acknowledge it */
    DECIDE_COPY,  /* not the first of its id: compare it with that. Append that it needs no run, or
                   * store a dead letter and append `dead`; then acknowledge it */
    DECIDE_ENDED, /* its generation has ended, or is behind: acknowledge it */
    DECIDE_BURY,  /* not an event: store a dead letter, append `dead`, then acknowledge it */
    DECIDE_NEXT, /* its attempt has failed: publish the item of the next one, then acknowledge it */
    DECIDE_LOOK, /* look up which delivery the cell's last record names, and ask again */
    DECIDE_TAKEN,       /* another delivery of the event is being run: acknowledge it */
    DECIDE_CLAIM,       /* append `processing` that names it, wait for its fold, and ask again */
    DECIDE_CLAIM_ALONE, /* the same, `alone`: whoever ran it has vanished */
    DECIDE_FAILED,      /* whoever ran it alone has vanished: the cell's attempt has failed */
    DECIDE_RUN,         /* run its handler */
};

struct decide_delivery {
    struct event_id id; /* as event_identity says, or as the item does */
    uint64_t position;  /* of the event */
    struct view stream; /* the event log's name */
    bool malformed;
    struct status_delivery source;
    bool again;          /* the bus has delivered it before */
    uint32_t generation; /* of an event log's delivery 0 */
    uint32_t attempt;    /* that it is for; of an event log's delivery 1 */
    bool claimed;        /* it was to be run in this process before; */
    bool folded;         /* a record that names it was appended for that, and folded, ... */
    bool is_own;         /* ... and is the cell's last */
    struct status_delivery instead_of; /* the delivery that it has the place of, if any */
    bool looked; /* it is known which delivery the cell's `processing` names: */
    struct status_delivery named;
};

/* `cell` is what the table has at the event's position, NULL: nothing; `first` is the first
 * position that the table knows of. DECIDE_COPY is true only if that is the event log's first
 * position now, or was so after the delivery was stored. */
enum decision decide(const struct status_entry *cell, uint64_t first,
                     const struct decide_delivery *delivery);

#endif
