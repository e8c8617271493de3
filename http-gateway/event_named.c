#include "http-gateway/event_named.h"

#include "common/event.h"

static enum err check_text(const char *what, struct view v, int max, struct err_detail *detail)
{
    if (v.len <= (size_t)max && view_is_utf8(v) && (v.len == 0 || !memchr(v.data, '\0', v.len)))
        return ERR_NONE;
    return err_set(detail, ERR_INVALID,
                   "%s is at most %d bytes of UTF-8 without NUL, percent-encoded", what, max);
}

enum err event_named_read(const struct http_request *request, struct view *ret_id,
                          struct view *ret_source, struct err_detail *detail)
{
    struct view id = http_parameter(request, 0), source = {0};
    enum err e;

    http_query(request, "source", &source);
    e = check_text("an id", id, EVENT_PRODUCER_ID_MAX, detail);
    if (!e)
        e = check_text("source", source, EVENT_SOURCE_MAX, detail);
    if (e)
        return e;
    *ret_id = id;
    *ret_source = source;
    return ERR_NONE;
}
