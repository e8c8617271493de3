/* Event ids: UUIDs (RFC 9562). Thread-safe.
 */
#ifndef TIDINGS_ID_H
#define TIDINGS_ID_H

#include "common/buf.h"
#include "common/clock.h"

struct event_id {
    uint8_t bytes[16]; /* big-endian, as in RFC 9562 section 4; all zero is no id */
};
#define ID_TEXT_SIZE 37 /* 8-4-4-4-12 in lower case, and a NUL */

/* A UUIDv7 (RFC 9562 section 5.7): 48 bits of wall time in ms, the rest random (getrandom,
 * buffered per thread). Ids of one millisecond are in no order. */
void id_make(const struct clock *clock, struct event_id *ret);
/* The UUIDv5 (RFC 9562 section 5.5) of a stream's name (at most 255 bytes) and a position, for a
 * message that carries no event id of its own. */
void id_of_position(struct view stream, uint64_t position, struct event_id *ret);
/* The event_id of an event whose producer gave it an id (not empty): that id itself if it is a
 * UUID (id_parse), whatever the source; else the UUIDv5 of source, a line feed and id in the
 * namespace ID_PRODUCER_NAMESPACE. Neither may hold control characters, so no two pairs look alike.
 * Source and id have at most 512 and 256 bytes; the caller has checked that, what is beyond doesn't
 * count. */
#define ID_PRODUCER_NAMESPACE "8c3d57a5-fe0b-4f44-b934-24bc65a6c989"
void id_of_producer(struct view source, struct view producer_id, struct event_id *ret);
/* Any UUID in its 36-character form, upper or lower case. False: not one (also for the all-zero
 * UUID). */
must_check bool id_parse(struct view text, struct event_id *ret);
void id_format(const struct event_id *id, char text[ID_TEXT_SIZE]); /* canonical: lower case */
static inline bool id_equal(const struct event_id *a, const struct event_id *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}
bool id_is_zero(const struct event_id *id);
/* Well mixed in all 64 bits, the same on every machine. Not keyed: whoever chooses ids can make
 * them collide. */
uint64_t id_hash(const struct event_id *id);

#endif
