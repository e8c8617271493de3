/* The event: one fact sent by a producer, and its form on the bus.
 *
 * All members are views: an event owns nothing and lives no longer than what it was read from.
 * Everything here is pure and allocates nothing. Thread-safe.
 */
#ifndef TIDINGS_EVENT_H
#define TIDINGS_EVENT_H

#include "common/bus.h"
#include "common/id.h"

#define EVENT_NAME_MAX 128
#define EVENT_PRODUCER_ID_MAX 256
#define EVENT_SOURCE_MAX 512
#define EVENT_KEY_MAX 256
#define EVENT_TIME_MAX 64
#define EVENT_CONTENT_TYPE_MAX 256
#define EVENT_TRACESTATE_MAX 512
#define EVENT_SUBJECT_MAX 512
#define EVENT_DATASCHEMA_MAX 512
#define EVENT_EXTENSIONS_MAX 24     /* besides key, traceparent and tracestate */
#define EVENT_EXTENSION_NAME_MAX 40 /* the specification recommends 20 at most */
#define EVENT_EXTENSIONS_BYTES 4096 /* names and values of all of them together */

/* A CloudEvents extension: a name of [a-z0-9], and its value in the string form that the
 * specification's type system gives it (section 2.4). */
struct event_extension {
    struct view name, value;
};

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
    struct view subject;                      /* CloudEvents `subject`; empty: none */
    struct view dataschema;                   /* CloudEvents `dataschema`, a URI; empty: none */
    const struct event_extension *extensions; /* the others, in ascending order of their names */
    size_t extension_count;
    struct view digest; /* event_digest.h; empty: none */
    struct view payload;
};

/* 1 to 128 characters of [A-Za-z0-9_-] in non-empty dot-separated tokens. On failure the detail
 * says which rule. */
must_check enum err event_name_check(struct view name, struct err_detail *detail);

#define EVENT_HEADERS_MAX (14 + EVENT_EXTENSIONS_MAX)
/* The longest values, each byte percent-encoded. */
#define EVENT_ENCODED_MAX                                                             \
    (3 * (EVENT_PRODUCER_ID_MAX + EVENT_SOURCE_MAX + EVENT_KEY_MAX + EVENT_TIME_MAX + \
          EVENT_CONTENT_TYPE_MAX + EVENT_TRACESTATE_MAX + EVENT_SUBJECT_MAX +         \
          EVENT_DATASCHEMA_MAX + EVENT_EXTENSIONS_BYTES))
struct event_message {
    struct bus_message message;
    struct bus_header headers[EVENT_HEADERS_MAX];
    char id_text[ID_TEXT_SIZE];
    char subject[64 + 8 + EVENT_NAME_MAX + 2]; /* <namespace>.events.<name> */
    char names[EVENT_EXTENSIONS_MAX][sizeof "ce-" + EVENT_EXTENSION_NAME_MAX];
    size_t encoded;               /* bytes in use of: */
    char text[EVENT_ENCODED_MAX]; /* values that had to be percent-encoded */
};
/* Fills `ret` so that ret->message can be published: a CloudEvent in binary mode (docs/bus.md).
 * Values with spaces, quotes, percent signs or anything outside printable ASCII are
 * percent-encoded (percent.h), but for `content-type`. The name must have been checked, the
 * namespace have at most 32 characters, and nothing may be beyond its EVENT_..._MAX. `ret` holds
 * views of the event and points into itself: do not copy it. Some 22 KiB. */
void event_to_message(const struct event *event, const char *ns, struct event_message *ret);

/* Holds what an event's views point to besides its record: values that were percent-encoded. */
struct event_text {
    size_t used;
    char bytes[EVENT_PRODUCER_ID_MAX + EVENT_SOURCE_MAX + EVENT_KEY_MAX + EVENT_TIME_MAX +
               EVENT_CONTENT_TYPE_MAX + EVENT_TRACESTATE_MAX];
};

/* Reads an event back from a record: all but subject, dataschema and the extensions. Views point
 * into the record and `text`, which need not be prepared and may be used again for the next event.
 * ERR_MALFORMED: it isn't one of ours (no usable Tidings-Event-Id, no name), and the detail says
 * why.
 * Of a message from elsewhere: the name is the subject's, whatever ce-type says; of several headers
 * of one name the first counts; a percent sign that begins no escape stands for itself; a value
 * may be invalid UTF-8 or hold control characters; one that does not fit into `text` is left
 * percent-encoded; a digest that has not the form of one is none. */
must_check enum err event_of_record(const struct bus_record *record, const char *ns,
                                    struct event_text *text, struct event *ret,
                                    struct err_detail *detail);

#define EVENT_RECORD_HEADERS_MAX 128
/* Holds what the members below point to besides the record. */
struct event_more {
    size_t used;
    struct event_extension extensions[EVENT_EXTENSIONS_MAX];
    char bytes[EVENT_SUBJECT_MAX + EVENT_DATASCHEMA_MAX + EVENT_EXTENSIONS_BYTES];
};

/* Sets what event_of_record leaves empty, because few need it and it must look at every header:
 * subject, dataschema and the extensions. Views point into the record and `more`, which need not
 * be prepared. False: the message is not the gateway's, and something of it was left out.
 *
 * An extension is a header ce-<name> with a name of [a-z0-9] that is no attribute of the
 * specification, `data`, or a member of struct event; capitals are taken for their small letters.
 * Other headers are none of an event's, and no loss. Of several headers of one name the first
 * counts. Left out are: a value that, decoded, is empty, invalid UTF-8 or holds control characters
 * or noncharacters; what is longer than its EVENT_..._MAX; in ascending order of the names, an
 * extension for which there is no place or that does not fit into EVENT_EXTENSIONS_BYTES any more,
 * while a shorter one may follow; headers beyond the first EVENT_RECORD_HEADERS_MAX. So these
 * members can be published again with event_to_message. */
bool event_read_more(const struct bus_record *record, struct event_more *more, struct event *event);

/* The id that the status table knows a record by: its event_id, or the UUIDv5 of its position if
 * it is malformed (and then an empty name). True if it is a proper event: then event_of_record
 * succeeds too. Cheaper than event_of_record: reads one header and the subject. */
bool event_identity(const struct bus_record *record, const char *ns, const char *stream,
                    struct event_id *ret_id, struct view *ret_name);

#endif
