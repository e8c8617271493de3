/* Entity tags and If-None-Match (RFC 9110, sections 8.8.3 and 13.1.2).
 */
#include "common/http_internal.h"

static bool is_blank(char c)
{
    return c == ' ' || c == ',';
}

/* Without the W/: what weak comparison looks at. */
static struct view opaque_part(struct view tag)
{
    if (tag.len > 2 && memcmp(tag.data, "W/", 2) == 0)
        return (struct view){tag.data + 2, tag.len - 2};
    return tag;
}

/* Cuts off the first entity tag of a list: its quotes may hold commas. False: there is none, or
 * what stands there is no tag; then nothing that follows can be told apart either. */
static bool next_tag(struct view *rest, struct view *ret)
{
    const char *at = rest->data, *end = at + rest->len, *quote;
    const char *start;

    while (at < end && is_blank(*at))
        at++;
    start = at;
    if (end - at > 2 && memcmp(at, "W/", 2) == 0)
        at += 2;
    if (at == end || *at != '"')
        return false;
    quote = memchr(at + 1, '"', (size_t)(end - at - 1));
    if (!quote)
        return false;
    *ret = (struct view){start, (size_t)(quote + 1 - start)};
    *rest = (struct view){quote + 1, (size_t)(end - quote - 1)};
    return true;
}

static bool list_names(struct view list, struct view tag)
{
    struct view one;

    if (view_equal(list, VIEW("*")))
        return true;
    while (list.len > 0 && next_tag(&list, &one))
        if (view_equal(opaque_part(one), opaque_part(tag)))
            return true;
    return false;
}

bool http_not_modified(const struct http_request *r, struct http_response *response,
                       struct view tag)
{
    struct view list;

    http_add_header(response, "ETag", tag);
    response->caching = "private, no-cache";
    for (int at = 0; http_header_next(r, "If-None-Match", &at, &list);) {
        if (!list_names(list, tag))
            continue;
        response->status = 304;
        return true;
    }
    return false;
}
