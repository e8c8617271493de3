#include "common/base64.h"

/* 64: not in the alphabet */
static unsigned digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0') + 52;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* Four characters of which `digits` (2 to 4) are not padding. */
static bool decode_group(const char *from, size_t digits, char *to)
{
    unsigned bits = 0, bytes[3];

    for (size_t i = 0; i < 4; i++) {
        unsigned value = i < digits ? digit_value(from[i]) : 0;

        if (value == 64)
            return false;
        bits = bits << 6 | value;
    }
    bytes[0] = bits >> 16;
    bytes[1] = bits >> 8 & 0xff;
    bytes[2] = bits & 0xff;
    for (size_t i = 0; i < 3; i++) {
        if (i < digits - 1)
            to[i] = (char)bytes[i];
        else if (bytes[i] != 0)
            return false;
    }
    return true;
}

bool base64_decode(struct view text, char *to, size_t *ret_len)
{
    size_t padding = 0, used = 0;

    if (text.len % 4 != 0)
        return false;
    while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < text.len; i += 4) {
        size_t digits = i + 4 < text.len ? 4 : 4 - padding;

        if (!decode_group(text.data + i, digits, to + used))
            return false;
        used += digits - 1;
    }
    *ret_len = used;
    return true;
}

void base64_encode(struct buf *out, struct view bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        unsigned char b[3] = {0};
        char group[4];

        memcpy(b, bytes.data + i, left < 3 ? left : 3);
        group[0] = digits[b[0] >> 2];
        group[1] = digits[(b[0] & 3) << 4 | b[1] >> 4];
        group[2] = left > 1 ? digits[(b[1] & 15) << 2 | b[2] >> 6] : '=';
        group[3] = left > 2 ? digits[b[2] & 63] : '=';
        buf_add(out, group, sizeof group);
    }
}
