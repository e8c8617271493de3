#include "common/json_object.h"

#include "common/json_string.h"

#define SHOWN_MAX 64 /* bytes; no name is longer */

static const char *name_of(const struct json_object *object, size_t i)
{
    const char *const *name = (const void *)((const char *)object->rules + i * object->size);
    return *name;
}

/* *ret: which rule is the member's; the buffer holds its name if that has escapes. */
static enum err find(const struct json_object *object, struct view name, struct buf *text,
                     size_t *ret, struct err_detail *detail)
{
    enum err e = ERR_NONE;
    if (name.len <= JSON_STRING_RAW_MAX(SHOWN_MAX)) /* else it is none of ours */
        e = json_string_decode(name, text, &name, detail);
    if (e)
        return e;
    for (size_t i = 0; i < object->count; i++) {
        if (!view_equal(name, view_of(name_of(object, i))))
            continue;
        *ret = i;
        return ERR_NONE;
    }
    return err_set(detail, ERR_INVALID, "unknown member \"%.*s\"; allowed are %s",
                   (int)(name.len < SHOWN_MAX ? name.len : SHOWN_MAX), name.data, object->allowed);
}

static enum err take(const struct json_object *object, const struct json_member *member,
                     struct json_member *ret, struct err_detail *detail)
{
    struct buf text;
    size_t i = 0;
    buf_init(&text, JSON_STRING_RAW_MAX(SHOWN_MAX));
    enum err e = find(object, member->name, &text, &i, detail);
    buf_free(&text);
    if (e)
        return e;
    if (ret[i].value.len > 0)
        return err_set(detail, ERR_MALFORMED, "the member %s comes twice", name_of(object, i));
    ret[i] = *member;
    return ERR_NONE;
}

enum err json_object_read(struct view body, const struct json_object *object,
                          struct json_member *ret, struct err_detail *detail)
{
    /* One more than there are names: then one is unknown or comes twice. */
    struct json_member members[JSON_OBJECT_RULES_MAX + 1];
    struct json_text text = {.members = members, .capacity = object->count + 1};
    enum err e = json_scan(body, &text, detail);
    if (e)
        return e;
    if (text.kind != JSON_OBJECT)
        return err_set(detail, ERR_INVALID, "%s", object->is);
    memset(ret, 0, object->count * sizeof *ret);
    for (size_t i = 0; i < text.count && i < text.capacity && !e; i++)
        e = take(object, &members[i], ret, detail);
    return e;
}
