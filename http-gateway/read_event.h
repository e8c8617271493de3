/* Reads the event of a POST in any of its forms: plain JSON (event_json.h), a CloudEvent in
 * structured mode (cloud_event_json.h), a CloudEvent in binary mode (ce- headers and any body).
 * The Content-Type says which; binary mode is told by its ce- headers (CloudEvents HTTP binding
 * 1.0.2, section 3.1).
 */
#ifndef TIDINGS_READ_EVENT_H
#define TIDINGS_READ_EVENT_H

#include "common/event.h"
#include "common/http.h"

/* Holds what an event's views point to besides the request. */
struct read_event;

must_check enum err read_event_new(struct read_event **ret);
void read_event_free(struct read_event *holder);

/* Sets all members of *ret but id and digest. producer_id, source and time stay empty where the
 * producer gave none: only plain JSON may leave id and source out. traceparent and tracestate are
 * those of the event itself, not of the request. The views live as long as request and holder.
 * ERR_MALFORMED, ERR_INVALID (the detail names the member, attribute or header and the rule),
 * ERR_MEDIA_TYPE, ERR_MEMORY, and what http_body returns. */
must_check enum err read_event(struct read_event *holder, struct http_request *request,
                               struct event *ret, struct err_detail *detail);

#endif
