#include "common/media_type.h"

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

    if (consumed > 0)
        *rest = (struct view){rest->data + consumed, rest->len - consumed};
    return trim(taken);
}

/* RFC 9110, section 5.6.2 */
static bool is_token(struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        bool alphanumeric = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');

        if (!alphanumeric && (!c || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return v.len > 0;
}

static struct view subtype_of(struct view media_type)
{
    struct view essence = media_type_essence(media_type);

    (void)take_until(&essence, '/');
    return essence;
}

struct view media_type_essence(struct view media_type)
{
    return take_until(&media_type, ';');
}

bool media_type_is_well_formed(struct view media_type)
{
    struct view essence = media_type_essence(media_type), type = take_until(&essence, '/');

    for (size_t i = 0; i < media_type.len; i++)
        if (media_type.data[i] < ' ' || media_type.data[i] > '~')
            return false;
    return is_token(type) && is_token(essence);
}

bool media_type_is_json(struct view media_type)
{
    struct view subtype = subtype_of(media_type), suffix = VIEW("+json");

    if (view_equal_nocase(subtype, VIEW("json")))
        return true;
    if (subtype.len < suffix.len)
        return false;
    return view_equal_nocase((struct view){subtype.data + subtype.len - suffix.len, suffix.len},
                             suffix);
}

struct view media_type_parameters(struct view media_type)
{
    (void)take_until(&media_type, ';');
    return media_type;
}

bool media_type_next_parameter(struct view *rest, struct media_type_parameter *ret)
{
    while (rest->len > 0) {
        struct view value = take_until(rest, ';'), name;

        if (value.len == 0)
            continue;
        name = take_until(&value, '=');
        value = trim(value);
        if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
            value = (struct view){value.data + 1, value.len - 2};
        *ret = (struct media_type_parameter){name, value};
        return true;
    }
    return false;
}
