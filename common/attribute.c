#include "common/attribute.h"

#include "common/clock.h"
#include "common/event.h"
#include "common/media_type.h"
#include "common/text.h"

/* U+FDD0 to U+FDEF, and the last two code points of each plane. */
static bool is_noncharacter(const char *bytes, size_t length)
{
    const unsigned char *b = (const unsigned char *)bytes;

    if (length == 3 && b[0] == 0xef && b[1] == 0xb7)
        return b[2] >= 0x90 && b[2] <= 0xaf;
    if (length == 3)
        return b[0] == 0xef && b[1] == 0xbf && b[2] >= 0xbe;
    return length == 4 && (b[1] & 0x0f) == 0x0f && b[2] == 0xbf && b[3] >= 0xbe;
}

enum err attribute_check_text(const char *label, struct view value, struct err_detail *detail)
{
    for (size_t i = 0, length; i < value.len; i += length) {
        const char *at = value.data + i;

        length = text_json_plain(at, value.len - i); /* most is, and so looked at by words */
        if (length > 0)
            continue;
        length = text_utf8_length(at, value.len - i);
        if (length == 0)
            return err_set(detail, ERR_MALFORMED, "%s is not valid UTF-8", label);
        if (text_is_control(at, length))
            return err_set(detail, ERR_INVALID, "%s must not hold control characters", label);
        if (is_noncharacter(at, length))
            return err_set(detail, ERR_INVALID,
                           "%s must not hold code points that Unicode calls noncharacters", label);
    }
    return ERR_NONE;
}

static enum err check_uri(const char *label, struct view value, struct err_detail *detail)
{
    if (memchr(value.data, ' ', value.len))
        return err_set(detail, ERR_INVALID, "%s must be a URI; a space in it is written %%20",
                       label);
    return ERR_NONE;
}

static enum err check_visible(const char *label, struct view value, struct err_detail *detail)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] <= ' ' || value.data[i] > '~' || strchr("\"%", value.data[i]))
            return err_set(detail, ERR_INVALID,
                           "%s must be of printable ASCII without spaces, quotes and percent signs",
                           label);
    return ERR_NONE;
}

static enum err check_time(const char *label, struct view value, struct err_detail *detail)
{
    int64_t ms;

    if (!clock_parse(value.data, value.len, &ms))
        return err_set(detail, ERR_INVALID,
                       "%s is not an RFC 3339 date-time of the years 0001 to 9999 in UTC, such as "
                       "2026-01-02T03:04:05.678Z",
                       label);
    return ERR_NONE;
}

static enum err check_media_type(const char *label, struct view value, struct err_detail *detail)
{
    if (!media_type_is_well_formed(value))
        return err_set(detail, ERR_INVALID,
                       "%s is not a media type such as application/json or "
                       "text/plain;charset=utf-8",
                       label);
    return ERR_NONE;
}

static enum err check_name(const char *label, struct view value, struct err_detail *detail)
{
    struct err_detail why = {""};

    if (!event_name_check(value, &why))
        return ERR_NONE;
    return err_set(detail, ERR_INVALID, "%s is the event's name: %s", label, why.text);
}

enum err attribute_check(const char *label, struct view value, enum attribute_rule rule, size_t max,
                         struct err_detail *detail)
{
    enum err e;

    if (value.len == 0)
        return err_set(detail, ERR_INVALID, "%s is empty; 1 to %zu bytes are allowed", label, max);
    if (value.len > max)
        return err_set(detail, ERR_INVALID, "%s has %zu bytes; at most %zu are allowed", label,
                       value.len, max);
    e = attribute_check_text(label, value, detail);
    if (e)
        return e;
    switch (rule) {
    case ATTRIBUTE_TEXT:
        break;
    case ATTRIBUTE_URI:
        return check_uri(label, value, detail);
    case ATTRIBUTE_VISIBLE:
        return check_visible(label, value, detail);
    case ATTRIBUTE_TIME:
        return check_time(label, value, detail);
    case ATTRIBUTE_MEDIA_TYPE:
        return check_media_type(label, value, detail);
    case ATTRIBUTE_NAME:
        return check_name(label, value, detail);
    }
    return ERR_NONE;
}
