#include "common/text.h"

#include <stdint.h>
#include <string.h>

/* The second byte's range narrows for some first bytes: no overlongs, no surrogates, nothing above
 * U+10FFFF
 * (the table of RFC 3629 section 4). */
struct lead {
    unsigned char first, last; /* of the first byte */
    unsigned char low, high;   /* of the second byte */
    unsigned char length;
};
static const struct lead leads[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

static size_t sequence_length(const struct lead *lead, const unsigned char *b, size_t len)
{
    if (len < lead->length || b[1] < lead->low || b[1] > lead->high)
        return 0;
    for (size_t i = 2; i < lead->length; i++)
        if (b[i] < 0x80 || b[i] > 0xbf)
            return 0;
    return lead->length;
}

size_t text_utf8_length(const char *bytes, size_t len)
{
    const unsigned char *b = (const unsigned char *)bytes;

    if (len == 0)
        return 0;
    if (b[0] < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++)
        if (b[0] >= leads[i].first && b[0] <= leads[i].last)
            return sequence_length(&leads[i], b, len);
    return 0;
}

bool text_is_control(const char *bytes, size_t length)
{
    const unsigned char *b = (const unsigned char *)bytes;

    if (length == 1)
        return b[0] < 0x20 || b[0] == 0x7f;
    return length == 2 && b[0] == 0xc2 && b[1] < 0xa0;
}

typedef signed char block __attribute__((vector_size(16)));

/* Whether the bytes of a block are all plain. Those of 0x80 and more are negative. */
static bool plain_block(const char *bytes)
{
    block b;
    uint64_t halves[2];

    memcpy(&b, bytes, sizeof b);
    b = (b < 0x20) | (b == 0x7f) | (b == '"') | (b == '\\');
    memcpy(halves, &b, sizeof b);
    return (halves[0] | halves[1]) == 0;
}

size_t text_json_plain(const char *bytes, size_t len)
{
    size_t n = 0;

    while (len - n >= sizeof(block) && plain_block(bytes + n))
        n += sizeof(block);
    if (n > 0 && len - n < sizeof(block) && plain_block(bytes + len - sizeof(block)))
        return len;
    while (n < len) {
        unsigned char c = (unsigned char)bytes[n];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            break;
        n++;
    }
    return n;
}

static size_t escape(unsigned char c, char *ret)
{
    static const char hex[] = "0123456789abcdef";
    static const char special[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    const char *found = c ? strchr(special, c) : NULL;

    ret[0] = '\\';
    if (found) {
        ret[1] = letter[found - special];
        return 2;
    }
    ret[1] = 'u';
    ret[2] = ret[3] = '0';
    ret[4] = hex[c >> 4];
    ret[5] = hex[c & 15];
    return 6;
}

size_t text_json_char(const char *bytes, size_t len, char ret[TEXT_JSON_MAX], size_t *ret_len)
{
    size_t length = text_utf8_length(bytes, len);

    if (length == 0) {
        memcpy(ret, "\xef\xbf\xbd", 3);
        *ret_len = 3;
        return 1;
    }
    if (text_is_control(bytes, length) || bytes[0] == '"' || bytes[0] == '\\') {
        /* a C1 character's code point is its second byte */
        *ret_len = escape((unsigned char)bytes[length - 1], ret);
    } else {
        memcpy(ret, bytes, length);
        *ret_len = length;
    }
    return length;
}

int text_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}
