/* Reads one plain JSON event: an object with name and, as one likes, payload, key, time, id and
 * source.
 *
 * A strict scanner (json_scan.h) decides on validity and finds the members; cJSON decodes the
 * texts that hold escapes. cJSON is not asked about the payload: it is lax where RFC 8259 is not,
 * and its tree takes up to forty times the text's size (docs/decisions/json.md). So the payload is
 * kept byte for byte as it came, and an event without escapes outside its payload allocates
 * nothing.
 */
#ifndef TIDINGS_EVENT_JSON_H
#define TIDINGS_EVENT_JSON_H

#include "common/event.h"
#include "common/json_scan.h"

#define EVENT_JSON_DEPTH_MAX JSON_DEPTH_MAX

/* Holds what the event's views point to besides the body: unescaped texts. */
struct event_json {
    struct buf text;
};
void event_json_init(struct event_json *holder);
/* Keeps nothing; a holder may be used for many events in turn. */
void event_json_free(struct event_json *holder);

/* Sets all members of *ret but id and digest; content_type is application/json where there is a
 * payload. The views live as long as body and holder, until the holder's next use. Thread-safe with
 * a holder a thread.
 * ERR_MALFORMED: not JSON (with the byte's offset), not UTF-8, NUL inside, too deep, a member of
 * the event twice, trailing bytes.
 * ERR_INVALID: not an object, an unknown member (the allowed ones are named), a wrong type, a
 * value that breaks its rule (attribute.h); the detail names the member. ERR_MEMORY. */
must_check enum err event_json_read(struct event_json *holder, struct view body, struct event *ret,
                                    struct err_detail *detail);

#endif
