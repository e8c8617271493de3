/* The attributes of a CloudEvent (specification 1.0.2), gathered one by one: the rules that all
 * modes share. Pure, nothing is allocated.
 *
 * Invariant: event.extensions[0 .. extension_count) are `extensions`, in ascending order of their
 * names, no name twice.
 */
#ifndef TIDINGS_CLOUD_EVENT_H
#define TIDINGS_CLOUD_EVENT_H

#include "common/event.h"

#define CLOUD_EVENT_TRACEPARENT_MAX 128
/* Longer than any attribute's name in a detail. */
#define CLOUD_EVENT_LABEL_SIZE (EVENT_EXTENSION_NAME_MAX + 16)

struct cloud_event {
    struct event event;
    struct event_extension extensions[EVENT_EXTENSIONS_MAX];
    size_t extension_bytes; /* of their names and values */
    unsigned seen;   /* a bit for each attribute that isn't an extension of unknown meaning */
    bool in_headers; /* binary mode: details name headers instead of attributes */
};

void cloud_event_begin(struct cloud_event *ce, bool in_headers);

/* Whether it can be an attribute's name. ERR_INVALID. */
must_check enum err cloud_event_check_name(const struct cloud_event *ce, struct view name,
                                           struct err_detail *detail);

/* Whether the specification leaves the attribute's type open. */
bool cloud_event_is_extension(struct view name);

/* What a detail calls that attribute. */
const char *cloud_event_label(const struct cloud_event *ce, struct view name,
                              char text[CLOUD_EVENT_LABEL_SIZE]);

/* Adds an attribute with its value in string form; `ce` keeps views of both.
 * ERR_MALFORMED: it is there already, or is not UTF-8. ERR_INVALID: name or value breaks its rule,
 * or there are too many extensions. */
must_check enum err cloud_event_add(struct cloud_event *ce, struct view name, struct view value,
                                    struct err_detail *detail);

/* Whether all required ones are there. ERR_INVALID names the first that isn't. */
must_check enum err cloud_event_check(const struct cloud_event *ce, struct err_detail *detail);

#endif
