/* Reads events of a POST in any of their forms: plain JSON (event_json.h), a CloudEvent in
 * structured mode (cloud_event_json.h), a CloudEvent in binary mode (ce- headers and any body).
 * The Content-Type says which; binary mode is told by its ce- headers (CloudEvents HTTP binding
 * 1.0.2, section 3.1).
 */
#ifndef TIDINGS_READ_EVENT_H
#define TIDINGS_READ_EVENT_H

#include "common/cloud_event_json.h"
#include "common/event_json.h"
#include "http-gateway/read_binary.h"

enum event_form {
    EVENT_FORM_PLAIN,      /* application/json: one event, or an array of them */
    EVENT_FORM_STRUCTURED, /* application/cloudevents+json */
    EVENT_FORM_BINARY,
    EVENT_FORM_BATCH, /* application/cloudevents-batch+json: an array of structured ones */
    EVENT_FORM_LINES, /* application/x-ndjson: plain or structured ones, one a line */
};

/* The header Accept-Post (https://www.w3.org/TR/ldp/#header-accept-post); events with ce- headers
 * may be of any type. */
#define READ_EVENT_TYPES                                                                   \
    "application/json, application/cloudevents+json, application/cloudevents-batch+json, " \
    "application/x-ndjson, */*"

/* What the request's body is to be. ERR_MEDIA_TYPE: none of them; then the answer gets
 * Accept-Post. */
must_check enum err read_event_form(const struct http_request *request,
                                    struct http_response *response, enum event_form *ret,
                                    struct err_detail *detail);

/* Holds what an event's views point to besides request and body. Keeps nothing; may be used for
 * many events in turn. Some KiB: stays where it is. */
struct read_event {
    struct event_json plain;
    struct cloud_event_json structured;
    struct read_binary binary;
};
void read_event_init(struct read_event *holder);
void read_event_free(struct read_event *holder);

/* The first half of reading: what stands in the request's headers, and the second: what stands in
 * its body, of a plain, structured or binary event, or in a line of one that has lines. For those
 * that are one of many in a body the second is all.
 *
 * Together they set all members of *ret but id and digest. producer_id, source and time stay empty
 * where the producer gave none: only plain JSON may leave id and source out. traceparent and
 * tracestate are those of the event itself, not of the request. The views live as long as request,
 * body and holder, until the holder's next use.
 * ERR_MALFORMED, ERR_INVALID (the detail names the member, attribute or header and the rule),
 * ERR_MEMORY. */
must_check enum err read_event_head(struct read_event *holder, const struct http_request *request,
                                    enum event_form form, struct event *ret,
                                    struct err_detail *detail);
must_check enum err read_event_body(struct read_event *holder, enum event_form form,
                                    struct view body, struct event *ret, struct err_detail *detail);

#endif
