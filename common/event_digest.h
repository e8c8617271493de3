/* The digest of an event's content: what tells an event that is sent again from another one that
 * uses its id.
 *
 * SHA-256 over name, source, key, content type, subject, dataschema, payload and the extensions in
 * the order of their names, each with its length in front, cut to 128 bits. Not over the id (an
 * event sent without one may be sent again with the event_id it was given), the time (left out, it
 * is the gateway's), traceparent and tracestate (they change with each request). docs/bus.md has
 * the exact form. Pure. Thread-safe.
 */
#ifndef TIDINGS_EVENT_DIGEST_H
#define TIDINGS_EVENT_DIGEST_H

#include "common/event.h"

#define EVENT_DIGEST_TEXT_SIZE 33 /* 32 hexadecimal digits in lower case, and a NUL */

/* The source must be the effective one, never empty. ERR_MEMORY. */
must_check enum err event_digest(const struct event *event, char text[EVENT_DIGEST_TEXT_SIZE]);

/* The digest of a record that is an event: its header's, or, where a producer that knows nothing of
 * digests has published it, one made from what it holds. ERR_MALFORMED: not an event. ERR_MEMORY.
 */
must_check enum err event_digest_of_record(const struct bus_record *record, const char *ns,
                                           char text[EVENT_DIGEST_TEXT_SIZE]);

#endif
