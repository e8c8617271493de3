/* A strict scanner of JSON texts: whether one is valid, and where the members of its object, or the
 * elements of its array, stand.
 *
 * It accepts exactly what RFC 8259 calls a JSON text, less what would hurt further on: a nesting
 * deeper than JSON_DEPTH_MAX, a NUL (\u0000), and a surrogate without its other half. One pass, no
 * recursion, pure, nothing is allocated.
 */
#ifndef TIDINGS_JSON_SCAN_H
#define TIDINGS_JSON_SCAN_H

#include "common/buf.h"

#define JSON_DEPTH_MAX 64

enum json_kind { JSON_NULL, JSON_BOOLEAN, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_member {
    struct view name;  /* between its quotes, escapes as they are; of an element: empty */
    struct view value; /* with its quotes or brackets, byte for byte */
    enum json_kind kind;
};

struct json_text {
    enum json_kind kind; /* of the whole text */
    /* Of the outermost object or array, in order; those beyond `capacity` are counted but not kept.
     */
    struct json_member *members;
    size_t capacity;
    size_t count;
};

/* Scans one whole text. The caller sets members and capacity (may be NULL and 0). ERR_MALFORMED:
 * the detail says what is wrong at which byte, counted from 0. */
must_check enum err json_scan(struct view text, struct json_text *ret, struct err_detail *detail);

#endif
