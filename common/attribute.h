/* The rules for values of an event's attributes, the same in each form that an event comes in
 * (CloudEvents 1.0.2, "Type System"). Pure, nothing is allocated.
 */
#ifndef TIDINGS_ATTRIBUTE_H
#define TIDINGS_ATTRIBUTE_H

#include "common/buf.h"

enum attribute_rule {
    ATTRIBUTE_TEXT,       /* well-formed UTF-8 without control characters and noncharacters */
    ATTRIBUTE_URI,        /* the same without spaces: URIs are taken as leniently as SDKs do */
    ATTRIBUTE_VISIBLE,    /* printable ASCII without space, quote and percent sign */
    ATTRIBUTE_TIME,       /* an RFC 3339 date-time */
    ATTRIBUTE_MEDIA_TYPE, /* media_type_is_well_formed */
    ATTRIBUTE_NAME,       /* event_name_check */
};

/* Whether a value is non-empty, has at most `max` bytes and keeps to its rule. `label` is what the
 * detail calls it. ERR_MALFORMED: it isn't UTF-8. ERR_INVALID. */
must_check enum err attribute_check(const char *label, struct view value, enum attribute_rule rule,
                                    size_t max, struct err_detail *detail);

/* ATTRIBUTE_TEXT of any length, also empty. */
must_check enum err attribute_check_text(const char *label, struct view value,
                                         struct err_detail *detail);

#endif
