/* Values inside of protobuf messages that several codecs have: times, and texts that protobuf-c
 * would cut. Pure; thread-safe. Only encoders and decoders include this.
 */
#ifndef TIDINGS_PROTO_VALUE_H
#define TIDINGS_PROTO_VALUE_H

#include "common/buf.h"

#include "google/protobuf/timestamp.pb-c.h"

/* Milliseconds since 1970, also before it. */
void proto_time_write(int64_t ms, Google__Protobuf__Timestamp *ret);
/* NULL is 0; what is below a millisecond is cut. False: not in the years 0001 to 9999, which
 * google/protobuf/timestamp.proto allows, or not so many nanoseconds. */
must_check bool proto_time_read(const Google__Protobuf__Timestamp *time, int64_t *ret_ms);

/* Whether a string (any of a repeated one's) of the message, which must have been unpacked well,
 * holds a NUL: what stands behind it is not in protobuf-c's string. */
bool proto_text_has_nul(struct view message, uint32_t field);
/* How often the field comes in the message, which need not be one: as many as unpacking would find
 * before it refuses. */
size_t proto_count(struct view message, uint32_t field);

#endif
