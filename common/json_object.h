/* Reads the outermost object of a JSON text whose members' names are known.
 */
#ifndef TIDINGS_JSON_OBJECT_H
#define TIDINGS_JSON_OBJECT_H

#include "common/json_scan.h"

#define JSON_OBJECT_RULES_MAX 16

struct json_object {
    const void *rules;   /* an array; each element begins with a `const char *`, a member's name */
    size_t size;         /* of an element, in bytes */
    size_t count;        /* at most JSON_OBJECT_RULES_MAX */
    const char *allowed; /* the names, for people */
    const char *is;      /* what such an object is, in a sentence for who sends something else */
};

/* *ret: a member for each of the rules; one that is absent has no value (value.len is 0). Pure.
 * ERR_MALFORMED: no JSON (json_scan.h), or a member twice. ERR_INVALID: no object, or a member with
 * another name. ERR_MEMORY: for names with escapes. */
must_check enum err json_object_read(struct view body, const struct json_object *object,
                                     struct json_member *ret, struct err_detail *detail);

#endif
