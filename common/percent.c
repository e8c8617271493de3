#include "common/percent.h"

#include "common/text.h"

static bool must_encode(char c)
{
    return c <= ' ' || c > '~' || c == '"' || c == '%';
}

bool percent_encode(struct view value, char *to, size_t room, struct view *ret)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t plain = 0, len = 0;

    while (plain < value.len && !must_encode(value.data[plain]))
        plain++;
    if (plain == value.len) {
        *ret = value;
        return true;
    }
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        bool encode = must_encode(value.data[i]);

        if (room - len < (encode ? PERCENT_GROWTH : 1))
            return false;
        if (encode) {
            to[len++] = '%';
            to[len++] = hex[c >> 4];
            to[len++] = hex[c & 15];
        } else {
            to[len++] = (char)c;
        }
    }
    *ret = (struct view){to, len};
    return true;
}

bool percent_decode(struct view value, char *to, size_t room, struct view *ret)
{
    size_t len = 0;

    if (value.len == 0 || !memchr(value.data, '%', value.len)) {
        *ret = value;
        return true;
    }
    for (size_t i = 0; i < value.len; i++) {
        bool escape = value.data[i] == '%' && i + 2 < value.len;
        int high = escape ? text_hex_value(value.data[i + 1]) : -1;
        int low = escape ? text_hex_value(value.data[i + 2]) : -1;

        if (len == room)
            return false;
        if (high >= 0 && low >= 0) {
            to[len++] = (char)(high << 4 | low);
            i += 2;
        } else {
            to[len++] = value.data[i];
        }
    }
    *ret = (struct view){to, len};
    return true;
}
