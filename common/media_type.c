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

/* Where the separator first stands outside of quoted strings (RFC 9110, section 5.6.4); the end if
 * it does not. */
static size_t find(struct view v, char separator)
{
    bool quoted = false;

    for (size_t i = 0; i < v.len; i++) {
        if (!quoted && v.data[i] == separator)
            return i;
        if (v.data[i] == '"')
            quoted = !quoted;
        else if (quoted && v.data[i] == '\\')
            i++;
    }
    return v.len;
}

/* Cuts off and returns what stands before the separator; all of it if there is none. */
static struct view take_until(struct view *rest, char separator)
{
    struct view taken = {rest->data, find(*rest, separator)};
    size_t consumed = taken.len + (taken.len < rest->len ? 1 : 0);

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
    struct view essence = media_type_essence(media_type);
    size_t slash = find(essence, '/');

    for (size_t i = 0; i < media_type.len; i++)
        if (media_type.data[i] < ' ' || media_type.data[i] > '~')
            return false;
    if (slash == essence.len || essence.data != media_type.data ||
        media_type.data[media_type.len - 1] == ' ')
        return false;
    return is_token((struct view){essence.data, slash}) &&
           is_token((struct view){essence.data + slash + 1, essence.len - slash - 1});
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
