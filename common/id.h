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
