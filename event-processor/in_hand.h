/* The deliveries in hand: fetched and not settled yet, each position of a log once (so
 * one for each log). Bounded in number and in bytes.
 *
 * Thread-safe.
 */
#ifndef TIDINGS_IN_HAND_H
#define TIDINGS_IN_HAND_H

#include "event-processor/handler.h"
#include "event-processor/status_log.h"
#include "event-processor/status_table.h"

#include <time.h>

struct in_hand;
struct held;

/* A delivery's place in the runner's lanes (lanes.h). */
struct run_place {
    struct held *earlier, *later; /* of the same handler's runs that have a time limit to come */
    size_t bytes;
    int64_t delay_ms; /* it comes back after: if it was put off; */
    bool for_long;    /* so it shall wait in the retry log */
    bool claiming;    /* it has the place of a run, and is being claimed for that */
    bool limited;     /* its time limit is to come */
    bool cancelling;  /* its time limit is over, and its handler is being told */
};

/* A delivery in hand, with all that its way through the processor needs, so that nothing is
 * allocated for an event. Whoever it was handed on to owns it; `delivery` and what follows it are
 * in_hand's. */
struct held {
    struct run run;         /* what its handler sees */
    struct event_text text; /* views of run.event point here */
    struct handler *handler;
    struct in_hand *hand;
    struct runner *runner;
    struct run_place place;
    _Atomic int64_t began_ns; /* its run; 0: not yet, or it has ended */
    struct outcomes *outcomes;
    struct status_append append;
    struct status_append notice; /* that it is being run, see in_hand_long_run */
    struct err_detail error;     /* append.change.error points here */
    struct event_id id;          /* as event_identity says, or as the item does */
    bool malformed;
    uint64_t epoch;                  /* of the table that was asked what to do with it */
    const struct bus_record *record; /* the event's; NULL: it is not kept */
    struct bus_record *read;         /* the same where it was not delivered; owned */

    struct status_delivery source;     /* what was delivered, */
    struct status_delivery instead_of; /* and what it has the place of, if anything */
    uint32_t generation;               /* of the event; of an event log's delivery 0 */
    uint32_t attempt;                  /* that it is for; of an event log's delivery 1 */
    struct status_entry cell;          /* its event's, when last asked what to do with it, */
    int decision;                      /* enum decision: and what that was */
    bool cleared;                      /* it was to be run here before */
    uint64_t claim_position;           /* of the `processing` appended for it here; 0: none */
    uint32_t claim_place;              /* in that batch */
    uint64_t looked_position;          /* the record that was looked up; 0: none */
    uint32_t looked_place;
    struct status_delivery named; /* by that record, */
    bool looked_own;              /* which is the claim: sent again, it was stored a second time */
    int64_t due_ms;               /* and when it says that the next attempt is due */
    int claim;                    /* outcomes' */
    bool alone;                   /* it may be run with no other handler only */
    int burial;                   /* enum letter_reason, once its attempts are over; -1 */
    struct timespec again_at;   /* letters': the letter is tried again; zero: for the first time */
    struct timespec hold_until; /* and no more after that */

    size_t bytes;      /* of one of its deliveries */
    struct held *next; /* in the list that it is in: free, or waiting for its handler */

    struct bus_delivery *delivery; /* the first: owns the record */
    struct bus_delivery
        *newest;        /* what is settled: another delivery of the same position, or the first */
    int64_t touched_ms; /* fetched, or last reported as in progress */
    bool aside;
    bool noticed, noticing; /* the notice was appended; its end is awaited */
    bool settled;           /* meanwhile: */
    enum bus_settlement how;
    int64_t delay_ms;
    struct held *same_bucket;
    struct held *older, *newer; /* all in hand, by age */
};

/* Ages go by the clock. Bytes are bounded as far as the sizes to come can be told from those that
 * came of late; one delivery may be in hand whatever its size. */
must_check enum err in_hand_new(size_t limit, size_t bytes_limit, const struct clock *clock,
                                struct in_hand **ret);
/* Leaves what is still in hand. */
void in_hand_free(struct in_hand *hand);

/* Waits until there is room for `places` more, `most` in all but for those set aside, or for fewer
 * but with half of the bytes free, or until the time is over; for how many there is room now. */
size_t in_hand_wait_room(struct in_hand *hand, size_t most, size_t places, int64_t timeout_ms);
/* Takes a delivery into a free place (the caller has seen to that there is one). Its source's
 * position is set, and `record` is the delivery's. NULL: its position is in hand already; the newer
 * delivery is what will be settled. */
struct held *in_hand_take(struct in_hand *hand, struct bus_delivery *delivery);
/* The record (may be NULL) of its event, which was not delivered; in_hand's from now on. */
void in_hand_set_record(struct in_hand *hand, struct held *held, struct bus_record *record);
/* From now on it takes no place of those that are asked for (in_hand_wait_room's `most`), only of
 * the limits. False: it doesn't, or half of these would be taken that way. */
must_check bool in_hand_set_aside(struct in_hand *hand, struct held *held);
/* Settles the delivery and frees its place; the delay is that of BUS_RETRY. */
void in_hand_settle(struct in_hand *hand, struct held *held, enum bus_settlement how,
                    int64_t delay_ms);
/* Reports those as in progress that were fetched or reported at least age_ms (> 0) ago. */
void in_hand_report(struct in_hand *hand, int64_t age_ms);
/* The next whose run is in progress and began (held->began_ns) at least age_ns ago, each once;
 * NULL: none. It is not let go before in_hand_noted: its `notice` can be appended. */
struct held *in_hand_long_run(struct in_hand *hand, int64_t now_ns, int64_t age_ns);
void in_hand_noted(struct in_hand *hand, struct held *held);
/* False: there still are some when the time is over. */
bool in_hand_wait_empty(struct in_hand *hand, int64_t timeout_ms);
size_t in_hand_count(struct in_hand *hand);
size_t in_hand_bytes(struct in_hand *hand);

#endif
