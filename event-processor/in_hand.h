/* The deliveries in hand: fetched and not settled yet, each position once. Bounded in number and in
 * bytes.
 *
 * Thread-safe.
 */
#ifndef TIDINGS_IN_HAND_H
#define TIDINGS_IN_HAND_H

#include "event-processor/handler.h"
#include "event-processor/status_log.h"

struct in_hand;

/* A delivery in hand, with all that its way through the processor needs, so that nothing is
 * allocated for an event. Whoever it was handed on to owns it; `delivery` and what follows it are
 * in_hand's. */
struct held {
    struct run run;         /* what its handler sees */
    struct event_text text; /* views of run.event point here */
    struct handler *handler;
    struct runner *runner;
    int64_t began_ns; /* its run */
    struct outcomes *outcomes;
    struct status_append append;
    struct err_detail error; /* append.change.error points here */
    struct event_id id;      /* as event_identity says */
    bool malformed;
    uint64_t epoch; /* of the table that was asked what to do with it */
    const struct bus_record *record;
    size_t bytes;      /* of one of its deliveries */
    struct held *next; /* in the list that it is in: free, or waiting for its handler */

    struct bus_delivery *delivery; /* the first: owns the record */
    struct bus_delivery
        *newest;        /* what is settled: another delivery of the same position, or the first */
    int64_t touched_ms; /* fetched, or last reported as in progress */
    struct held *same_bucket;
    struct held *older, *newer; /* all in hand, by age */
};

/* Ages go by the clock. Bytes are bounded as far as the sizes to come can be told from those that
 * came of late; one delivery may be in hand whatever its size. */
must_check enum err in_hand_new(size_t limit, size_t bytes_limit, const struct clock *clock,
                                struct in_hand **ret);
/* Leaves what is still in hand. */
void in_hand_free(struct in_hand *hand);

/* Waits until there is room for `places` more, `most` in all, or for fewer but with half of the
 * bytes free, or until the time is over; for how many there is room now. */
size_t in_hand_wait_room(struct in_hand *hand, size_t most, size_t places, int64_t timeout_ms);
/* Takes a delivery into a free place (the caller has seen to that there is one). NULL: its position
 * is in hand already; the newer delivery is what will be settled. */
struct held *in_hand_take(struct in_hand *hand, struct bus_delivery *delivery);
/* Settles the delivery and frees its place; the delay is that of BUS_RETRY. */
void in_hand_settle(struct in_hand *hand, struct held *held, enum bus_settlement how,
                    int64_t delay_ms);
/* Reports those as in progress that were fetched or reported at least age_ms (> 0) ago. */
void in_hand_report(struct in_hand *hand, int64_t age_ms);
/* False: there still are some when the time is over. */
bool in_hand_wait_empty(struct in_hand *hand, int64_t timeout_ms);
size_t in_hand_count(struct in_hand *hand);
size_t in_hand_bytes(struct in_hand *hand);

#endif
