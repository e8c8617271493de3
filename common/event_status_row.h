/* What the codecs of events.EventService's messages share. Private to event_status.c and
 * event_query*.c.
 */
#ifndef TIDINGS_EVENT_STATUS_ROW_H
#define TIDINGS_EVENT_STATUS_ROW_H

#include "common/event_status.h"
#include "common/proto_arena.h"

#include "events.pb-c.h"

#define EVENT_TEXT_MAX (64u * 1024) /* bytes of one string; longer ones are cut */

struct event_status_holder {
    struct proto_arena arena;
};

/* NULL: no memory. */
struct event_status_holder *event_status_holder_new(size_t block_size);
/* What a failed decoding was: the message's fault or ours. Frees the holder. */
must_check enum err event_status_refuse(struct event_status_holder *holder);

/* An EventStatus and what it points to, side by side: many take one allocation. */
struct event_status_row {
    Events__EventStatus message;
    Google__Protobuf__Timestamp updated_at;
    char id[ID_TEXT_SIZE];
};

/* What a BASIC view has; the arena's `failed` says if it worked. The row must not be moved. */
void event_status_to_row(const struct event_status *status, struct proto_arena *arena,
                         struct event_status_row *row);
/* All of it, with views of the message. False: a member that does not exist, or no memory. */
must_check bool event_status_from_message(const Events__EventStatus *m, struct proto_arena *arena,
                                          struct event_status *ret);

#endif
