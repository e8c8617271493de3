/* Reads a CloudEvent in its JSON format (CloudEvents JSON event format 1.0.2).
 *
 * A strict scanner (json_scan.h) decides on validity; the payload is what `data` or `data_base64`
 * stands for, as it travels in binary mode: JSON byte for byte as it came; where datacontenttype is
 * not JSON, the text of a string or the bytes of the Base64.
 */
#ifndef TIDINGS_CLOUD_EVENT_JSON_H
#define TIDINGS_CLOUD_EVENT_JSON_H

#include "common/cloud_event.h"

#define CLOUD_EVENT_MEMBERS_MAX 64 /* of the JSON object */

/* Holds what the event's views point to besides the body. Some KiB: stays where it is. */
struct cloud_event_json {
    struct cloud_event attributes;
    struct buf text; /* decoded names, values and data */
};
void cloud_event_json_init(struct cloud_event_json *holder);
/* Keeps nothing; a holder may be used for many events in turn. */
void cloud_event_json_free(struct cloud_event_json *holder);

/* Sets all members of *ret but id and digest. The views live as long as body and holder, until the
 * holder's next use. Thread-safe with a holder a thread.
 * ERR_MALFORMED: not JSON (json_scan.h), a member twice, invalid Base64. ERR_INVALID: not an
 * object, a required attribute missing (specversion 1.0, id, source, type), a wrong type, a value
 * that breaks its rule; the detail names the attribute. ERR_MEMORY. */
must_check enum err cloud_event_json_read(struct cloud_event_json *holder, struct view body,
                                          struct event *ret, struct err_detail *detail);

#endif
