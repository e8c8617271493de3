/* The event: one fact sent by a producer, and its form on the bus.
 *
 * All members are views: an event owns nothing and lives no longer than what it was read from.
 */
#ifndef TIDINGS_EVENT_H
#define TIDINGS_EVENT_H

#include "common/bus.h"
#include "common/id.h"

#define EVENT_NAME_MAX 128
#define EVENT_SOURCE_MAX 512
#define EVENT_KEY_MAX 256

struct event {
    struct event_id id;
    struct view producer_id;  /* CloudEvents `id`: the producer's, or the event_id's text */
    struct view source;       /* CloudEvents `source`, a URI reference */
    struct view name;         /* CloudEvents `type` */
    struct view key;          /* CloudEvents extension `partitionkey`; empty: none */
    struct view time;         /* RFC 3339, as the producer wrote it, or the gateway's own */
    struct view content_type; /* of the payload; empty: there is none */
    struct view traceparent;  /* W3C Trace Context; empty: none */
    struct view tracestate;
    struct view payload;
};

/* 1 to 128 characters of [A-Za-z0-9_-] in non-empty dot-separated tokens. On failure the detail says which rule. */
must_check enum err event_name_check(struct view name, struct err_detail *detail);

#define EVENT_HEADERS_MAX 12
struct event_message {
    struct bus_message message;
    struct bus_header headers[EVENT_HEADERS_MAX];
    char id_text[ID_TEXT_SIZE];
    char subject[64 + 8 + EVENT_NAME_MAX + 2]; /* <namespace>.events.<name> */
};
/* Fills `ret` so that ret->message can be published: a CloudEvent in binary mode (docs/bus.md). The name must have
 * been checked. `ret` holds views of the event and points into itself: do not copy it. */
void event_to_message(const struct event *event, const char *ns, struct event_message *ret);

/* Reads an event back from a record. Views point into the record. ERR_MALFORMED: it isn't one of ours (no usable
 * Tidings-Event-Id, no name), and the detail says why. */
must_check enum err event_of_record(const struct bus_record *record, const char *ns,
                                    struct event *ret, struct err_detail *detail);

/* The id that the status table knows a record by: its event_id, or the UUIDv5 of its position if it is malformed.
 * True if it is a proper event. Cheaper than event_of_record: reads one header and the subject. */
bool event_identity(const struct bus_record *record, const char *ns, const char *stream,
                    struct event_id *ret_id, struct view *ret_name);

#endif
