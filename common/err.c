#include "common/err.h"

#include "common/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct entry {
    const char *slug;
    const char *title;
    int http;
    int grpc;
};

static const struct entry entries[] = {
#define X(code, slug, title, http, grpc) [code] = {slug, title, http, grpc},
    ERR_LIST(X)
#undef X
};

static const struct entry *entry_of(enum err e)
{
    size_t i = (size_t)e;

    return i < sizeof entries / sizeof entries[0] ? &entries[i] : &entries[ERR_INTERNAL];
}

const char *err_slug(enum err e)
{
    return entry_of(e)->slug;
}

const char *err_title(enum err e)
{
    return entry_of(e)->title;
}

int err_http_status(enum err e)
{
    return entry_of(e)->http;
}

int err_grpc_status(enum err e)
{
    return entry_of(e)->grpc;
}

/* Copies as many whole characters as fit, with '?' for what is not safe to print. */
static void copy_printable(char *to, size_t size, const char *from)
{
    size_t left = strlen(from), used = 0;

    while (left > 0) {
        size_t length = text_utf8_length(from, left);
        bool safe = length > 0 && !text_is_control(from, length);
        size_t width = safe ? length : 1;

        if (used + width >= size)
            break;
        if (safe)
            memcpy(to + used, from, length);
        else
            to[used] = '?';
        used += width;
        from += length ? length : 1;
        left -= length ? length : 1;
    }
    to[used] = '\0';
}

enum err err_set(struct err_detail *detail, enum err e, const char *format, ...)
{
    /* A text of its own, because an argument may be the detail's text; twice its size, so that a
     * character which this one cuts lies beyond what fits there (a two-byte control character
     * shrinks to one byte). */
    char text[2 * sizeof detail->text + 4];
    va_list args;

    if (!detail)
        return e;
    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = '\0';
    va_end(args);
    copy_printable(detail->text, sizeof detail->text, text);
    return e;
}
