/* One id, one event: what an event is known by, and how it is stored so that sending it again does
 * no harm (docs/http-api.md, "Identity").
 */
#ifndef TIDINGS_GATEWAY_STORE_EVENT_H
#define TIDINGS_GATEWAY_STORE_EVENT_H

#include "common/event_digest.h"
#include "common/wait_group.h"
#include "http-gateway/gateway.h"

/* Bytes below the bus's largest message that an event leaves free: as a dead letter it travels
 * with its reason. */
#define STORE_EVENT_LETTER_ROOM 2048

/* What the gateway adds to what the producer sent. The event's views point into it: it must live
 * as long, and stay where it is. */
struct store_identity {
    enum { STORE_ID_MADE, STORE_ID_OF_EVENT, STORE_ID_OF_KEY } origin;
    char id[ID_TEXT_SIZE]; /* the event_id's text */
    char time[CLOCK_TEXT_SIZE];
    char digest[EVENT_DIGEST_TEXT_SIZE];
};

/* Sets the event's id and digest, and where they are missing its producer_id, source and time.
 * `key` is the Idempotency-Key's value, empty if there is none.
 * ERR_INVALID: the key and the event's own id differ. ERR_MEMORY. */
must_check enum err store_event_identify(const struct gateway *g, struct view key,
                                         struct event *event, struct store_identity *ret,
                                         struct err_detail *detail);

/* Stores an event that has been identified. Blocks, for at most about three times the bus's
 * publish timeout.
 * ERR_NONE: it is stored, by this call or (*ret_duplicate) an earlier one.
 * ERR_ID_REUSED, ERR_KEY_REUSED: another event is stored with this event_id.
 * ERR_UNKNOWN_OUTCOME: it may be stored; the same id is safe to send again.
 * Any other error: this call has stored nothing. ERR_UNAVAILABLE, ERR_BUSY, ERR_MEMORY, ERR_FULL,
 * ERR_TOO_LARGE, ERR_INTERNAL. */
must_check enum err store_event(struct gateway *g, const struct event *event,
                                const struct store_identity *identity, bool *ret_duplicate,
                                struct err_detail *detail);

/* ---- many side by side ---- */

/* An event on its way to the bus. The caller's; it must stay where it is until its group has been
 * waited for. The members are store_event.c's. */
struct store_sent {
    struct gateway *gateway;
    struct wait_group *group;
    int64_t start_us;
    enum bus_outcome outcome;
    uint64_t position;
    enum err why;
    char words[128]; /* the bus's, cut if need be */
};

/* Sends an event that has been identified, and does not wait: the group is waited for, and then
 * store_event_end says what became of it. Nothing of the event or its identity is kept. Two events
 * of one id must not be on their way at once. On an error nothing was sent, as with store_event. */
must_check enum err store_event_begin(struct gateway *g, const struct event *event,
                                      const struct store_identity *identity,
                                      struct wait_group *group, struct store_sent *sent,
                                      struct err_detail *detail);
/* Whether store_event_end must have the event: to compare it with its first copy. */
bool store_event_needs_event(const struct store_sent *sent);
/* Behind the wait: as store_event. `event` may be NULL unless it is needed; of `identity` only id
 * and origin are looked at. Blocks only where the event is needed, for at most about twice the
 * bus's publish timeout. */
must_check enum err store_event_end(const struct store_sent *sent, const struct event *event,
                                    const struct store_identity *identity, bool *ret_duplicate,
                                    struct err_detail *detail);

#endif
