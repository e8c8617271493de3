#include "common/buf.h"

#include "common/mem.h"
#include "common/text.h"

#include <stdarg.h>
#include <stdio.h>

static char ascii_lower(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c;
}

bool view_equal_nocase(struct view a, struct view b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (ascii_lower(a.data[i]) != ascii_lower(b.data[i]))
            return false;
    return true;
}

bool view_is_utf8(struct view v)
{
    for (size_t i = 0, length; i < v.len; i += length) {
        length = text_json_plain(v.data + i, v.len - i); /* most is, and so looked at by words */
        if (length == 0)
            length = text_utf8_length(v.data + i, v.len - i);
        if (length == 0)
            return false;
    }
    return true;
}

bool view_parse_u64(struct view v, uint64_t *ret)
{
    uint64_t value = 0;

    if (v.len == 0)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        if (v.data[i] < '0' || v.data[i] > '9')
            return false;
        unsigned digit = (unsigned)(v.data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

/* What data points to while nothing is allocated. Never written. */
static char nothing[1];

void buf_init(struct buf *b, size_t limit)
{
    /* sizes stay below PTRDIFF_MAX, so that none of the sums below overflows */
    *b = (struct buf){.data = nothing, .limit = limit < PTRDIFF_MAX / 2 ? limit : PTRDIFF_MAX / 2};
}

void buf_free(struct buf *b)
{
    if (b->capacity > 0)
        mem_free(b->data);
    buf_init(b, b->limit);
}

void buf_cut(struct buf *b, size_t len)
{
    b->len = len;
    if (b->capacity > 0)
        b->data[len] = '\0';
}

void buf_clear(struct buf *b)
{
    buf_cut(b, 0);
    b->failed = false;
}

/* Doubles, so that n appends cost O(n); never beyond what the limit allows. */
static bool grow(struct buf *b, size_t need)
{
    size_t capacity = b->capacity ? b->capacity : 128;
    char *data;

    while (capacity < need)
        capacity *= 2;
    if (capacity > b->limit + 1)
        capacity = b->limit + 1;
    data = mem_grow(b->capacity ? b->data : NULL, capacity, 1);
    if (!data)
        return false;
    data[b->len] = '\0';
    b->data = data;
    b->capacity = capacity;
    return true;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n > b->limit - b->len || (b->len + n + 1 > b->capacity && !grow(b, b->len + n + 1))) {
        b->failed = true;
        return NULL;
    }
    return b->data + b->len;
}

void buf_advance(struct buf *b, size_t filled)
{
    if (filled == 0)
        return;
    b->len += filled;
    b->data[b->len] = '\0';
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
    char *to;

    if (len == 0)
        return;
    to = buf_reserve(b, len);
    if (!to)
        return;
    memcpy(to, bytes, len);
    buf_advance(b, len);
}

void buf_add_text(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_add_view(struct buf *b, struct view v)
{
    buf_add(b, v.data, v.len);
}

void buf_add_format(struct buf *b, const char *format, ...)
{
    va_list args, again;
    int length;
    char *to;

    if (b->failed)
        return;
    va_start(args, format);
    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, args);
    to = length < 0 ? NULL : buf_reserve(b, (size_t)length);
    if (to && length > 0) {
        vsnprintf(to, (size_t)length + 1, format, again);
        buf_advance(b, (size_t)length);
    }
    b->failed = b->failed || length < 0;
    va_end(again);
    va_end(args);
}

void buf_add_json(struct buf *b, struct view v)
{
    size_t start = b->len, i = 0;

    buf_add(b, "\"", 1);
    while (i < v.len && !b->failed) {
        size_t plain = text_json_plain(v.data + i, v.len - i);

        buf_add(b, v.data + i, plain);
        i += plain;
        if (i < v.len) {
            char escaped[TEXT_JSON_MAX];
            size_t length;

            i += text_json_char(v.data + i, v.len - i, escaped, &length);
            buf_add(b, escaped, length);
        }
    }
    buf_add(b, "\"", 1);
    if (b->failed)
        buf_cut(b, start);
}

bool buf_failed(const struct buf *b)
{
    return b->failed;
}
