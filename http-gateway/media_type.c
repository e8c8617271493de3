#include "http-gateway/media_type.h"

static struct view trim(struct view v)
{
    while (v.len > 0 && (v.data[0] == ' ' || v.data[0] == '\t')) {
        v.data++;
        v.len--;
    }
    while (v.len > 0 && (v.data[v.len - 1] == ' ' || v.data[v.len - 1] == '\t'))
        v.len--;
    return v;
}

/* Cuts off and returns what stands before the separator; all of it if there is none. */
static struct view take_until(struct view *rest, char separator)
{
    const char *at = rest->len ? memchr(rest->data, separator, rest->len) : NULL;
    struct view taken = {rest->data, at ? (size_t)(at - rest->data) : rest->len};
    size_t consumed = taken.len + (at ? 1 : 0);

    rest->data += consumed;
    rest->len -= consumed;
    return trim(taken);
}

static bool is_utf8_charset(struct view parameter)
{
    struct view name = take_until(&parameter, '='), value = trim(parameter);

    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
        value = (struct view){value.data + 1, value.len - 2};
    return view_equal_nocase(name, VIEW("charset")) && view_equal_nocase(value, VIEW("utf-8"));
}

enum err media_type_check_json(struct view content_type, struct err_detail *detail)
{
    struct view rest = content_type, type = take_until(&rest, ';');

    if (content_type.len == 0)
        return err_set(detail, ERR_MEDIA_TYPE,
                       "Content-Type is missing; it must be application/json");
    if (!view_equal_nocase(type, VIEW("application/json")))
        return err_set(detail, ERR_MEDIA_TYPE,
                       "Content-Type is \"%.*s\"; it must be application/json",
                       (int)(type.len < 80 ? type.len : 80), type.data);
    while (rest.len > 0) {
        struct view parameter = take_until(&rest, ';');

        if (parameter.len > 0 && !is_utf8_charset(parameter))
            return err_set(detail, ERR_MEDIA_TYPE,
                           "Content-Type has the parameter \"%.*s\"; only charset=utf-8 is allowed",
                           (int)(parameter.len < 80 ? parameter.len : 80), parameter.data);
    }
    return ERR_NONE;
}
