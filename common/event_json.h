/* Reads one plain JSON event: {"name":"order.created","payload":…,"key":…,"time":…}.
 *
 * cJSON has the verdict on validity; the payload is kept byte for byte as it came (numbers keep all their digits).
 */
#ifndef TIDINGS_EVENT_JSON_H
#define TIDINGS_EVENT_JSON_H

#include "common/event.h"

#define EVENT_JSON_DEPTH_MAX 64

/* Holds what the event's views point to besides the body: unescaped texts. */
struct event_json {
    struct buf text;
};
void event_json_init(struct event_json *holder);
void event_json_free(
    struct event_json *holder); /* keeps nothing; a holder may be used for many events in turn */

/* Sets name, key, time, payload and content_type (application/json where there is a payload) of *ret; the rest of it is
 * untouched. The views live as long as body and holder, until the holder's next use.
 * ERR_MALFORMED: not JSON (with the byte's offset), not UTF-8, NUL inside, too deep, a member twice, trailing bytes.
 * ERR_INVALID: not an object, an unknown member (the allowed ones are named), a wrong type, a name, key or time that
 * breaks its rule; the detail names the member. ERR_MEMORY. */
must_check enum err event_json_read(struct event_json *holder, struct view body, struct event *ret,
                                    struct err_detail *detail);

#endif
