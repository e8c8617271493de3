#include "http-gateway/trace_context.h"

#define LENGTH_00 55 /* 00-<32 hex>-<16 hex>-<2 hex> */

/* Lower-case hexadecimal, as the specification demands. */
static bool all_hex(struct view v, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++) {
        bool digit = v.data[i] >= '0' && v.data[i] <= '9';

        if (!digit && (v.data[i] < 'a' || v.data[i] > 'f'))
            return false;
    }
    return true;
}

static bool all_zero(struct view v, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++)
        if (v.data[i] != '0')
            return false;
    return true;
}

/* What a later version may add, as far as an event's header holds it as it is (event.h). */
static bool all_visible(struct view v)
{
    for (size_t i = 0; i < v.len; i++)
        if (v.data[i] <= ' ' || v.data[i] > '~' || v.data[i] == '"' || v.data[i] == '%')
            return false;
    return true;
}

bool traceparent_is_valid(struct view header)
{
    if (header.len < LENGTH_00 || header.len > 128)
        return false;
    if (header.data[2] != '-' || header.data[35] != '-' || header.data[52] != '-')
        return false;
    if (!all_hex(header, 0, 2) || !all_hex(header, 3, 32) || !all_hex(header, 36, 16) ||
        !all_hex(header, 53, 2))
        return false;
    if (memcmp(header.data, "ff", 2) == 0 || all_zero(header, 3, 32) || all_zero(header, 36, 16))
        return false;
    if (memcmp(header.data, "00", 2) == 0)
        return header.len == LENGTH_00;
    return header.len == LENGTH_00 || (header.data[LENGTH_00] == '-' && all_visible(header));
}

bool tracestate_is_valid(struct view header)
{
    if (header.len == 0 || header.len > TRACESTATE_MAX)
        return false;
    for (size_t i = 0; i < header.len; i++)
        if (header.data[i] < ' ' || header.data[i] > '~')
            return false;
    return true;
}

/* ---- of a request ---- */

/* All of them, joined by commas (W3C Trace Context, section 3.3.1); empty if they are too long. */
static struct view join_tracestates(const struct http_request *request, char text[TRACESTATE_MAX])
{
    struct view one;
    size_t used = 0;

    for (int at = 0; http_header_next(request, "tracestate", &at, &one);) {
        size_t comma = used > 0 ? 1 : 0;

        if (one.len == 0)
            continue;
        if (used + comma + one.len > TRACESTATE_MAX)
            return (struct view){0};
        memcpy(text + used, ",", comma);
        memcpy(text + used + comma, one.data, one.len);
        used += comma + one.len;
    }
    return (struct view){text, used};
}

void trace_context_take(const struct http_request *request, char text[TRACESTATE_MAX],
                        struct event *event)
{
    struct view parent, state;
    int at = 0;

    if (event->traceparent.len > 0 || !http_header_next(request, "traceparent", &at, &parent) ||
        !traceparent_is_valid(parent) || http_header_next(request, "traceparent", &at, &state))
        return;
    event->traceparent = parent;
    state = join_tracestates(request, text);
    event->tracestate = tracestate_is_valid(state) ? state : (struct view){0};
}
