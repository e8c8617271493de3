#include "common/http_internal.h"

#include <stdio.h>

#define ALLOW_SIZE 128

struct segment {
    const char *start;
    size_t len;
};

/* The part up to the next slash; `*at` moves behind it. Both begin behind a slash. */
static struct segment next_segment(const char **at, const char *end)
{
    const char *slash = memchr(*at, '/', (size_t)(end - *at));
    struct segment segment = {*at, (size_t)((slash ? slash : end) - *at)};

    *at = slash ? slash + 1 : NULL;
    return segment;
}

/* Whether the path matches; fills the parts in braces, percent-encoded. */
static bool matches(const char *pattern, struct view path, struct view *parameters, size_t *count)
{
    const char *want = pattern + 1, *want_end = pattern + strlen(pattern);
    const char *have = path.data + 1, *have_end = path.data + path.len;

    *count = 0;
    if (path.len == 0 || path.data[0] != '/')
        return false;
    while (want && have) {
        struct segment w = next_segment(&want, want_end), h = next_segment(&have, have_end);

        if (w.len > 0 && w.start[0] == '{') {
            if (h.len == 0 || *count == HTTP_PARAMETERS_MAX)
                return false;
            parameters[(*count)++] = (struct view){h.start, h.len};
        } else if (w.len != h.len || memcmp(w.start, h.start, w.len) != 0) {
            return false;
        }
    }
    return !want && !have;
}

static bool serves(const struct http_route *route, struct view method)
{
    return view_equal(view_of(route->method), method) ||
           (view_equal(method, VIEW("HEAD")) && strcmp(route->method, "GET") == 0);
}

/* ---- answers for paths that are known, and not ---- */

/* "GET, HEAD, POST, OPTIONS" */
static void write_allow(const struct http_request *r, const char *pattern, struct buf *out)
{
    for (const struct http_route *p = r->worker->server->options.routes; p->method; p++) {
        if (strcmp(p->method, "OPTIONS") == 0 || strcmp(p->pattern, pattern) != 0)
            continue;
        buf_add_text(out, p->method);
        buf_add_text(out, strcmp(p->method, "GET") == 0 ? ", HEAD, " : ", ");
    }
    buf_add_text(out, "OPTIONS");
}

/* Writes the methods to `text`, too. */
static enum err add_allow(struct http_request *r, const char *pattern,
                          struct http_response *response, char text[ALLOW_SIZE],
                          struct err_detail *detail)
{
    struct buf *allow = &r->worker->decoded;

    buf_clear(allow);
    write_allow(r, pattern, allow);
    if (buf_failed(allow))
        return err_set(detail, ERR_MEMORY, "no memory for the answer");
    snprintf(text, ALLOW_SIZE, "%.*s", (int)allow->len, allow->data);
    http_add_header(response, "Allow", view_of(text));
    if (view_equal(r->method, VIEW("OPTIONS")))
        http_cors_preflight(r, response, text);
    return ERR_NONE;
}

/* The first pattern that matches; it hides those that follow. NULL: there is none. */
static const char *pattern_of(const struct http_request *r, struct view *parameters, size_t *count)
{
    for (const struct http_route *p = r->worker->server->options.routes; p->method; p++)
        if (matches(p->pattern, r->path, parameters, count))
            return p->pattern;
    return NULL;
}

static enum err refuse_method(struct http_request *r, const char *pattern,
                              struct http_response *response, struct err_detail *detail)
{
    char allowed[ALLOW_SIZE];
    enum err e = add_allow(r, pattern, response, allowed, detail);

    return e ? e : err_set(detail, ERR_METHOD, "allowed here: %s", allowed);
}

enum err http_route_refuse_method(struct http_request *r, struct http_response *response,
                                  struct err_detail *detail)
{
    struct view parameters[HTTP_PARAMETERS_MAX];
    size_t count;
    const char *pattern = pattern_of(r, parameters, &count);

    return refuse_method(r, pattern ? pattern : "", response, detail);
}

static enum err answer_other_method(struct http_request *r, const char *pattern,
                                    struct http_response *response, bool *ret_done,
                                    struct err_detail *detail)
{
    char allowed[ALLOW_SIZE];
    enum err e;

    if (!view_equal(r->method, VIEW("OPTIONS")))
        return refuse_method(r, pattern, response, detail);
    e = add_allow(r, pattern, response, allowed, detail);
    if (e)
        return e;
    response->status = 204;
    *ret_done = true;
    return ERR_NONE;
}

/* A handler of its own adds to the automatic answer. */
static enum err begin_options(struct http_request *r, struct http_response *response,
                              struct err_detail *detail)
{
    char allowed[ALLOW_SIZE];

    response->status = 204;
    return add_allow(r, r->route->pattern, response, allowed, detail);
}

/* "OPTIONS *" asks whether the server lives (RFC 9110, section 9.3.7). */
static enum err answer_asterisk(const struct http_request *r, struct http_response *response,
                                bool *ret_done, struct err_detail *detail)
{
    if (!view_equal(r->method, VIEW("OPTIONS")))
        return err_set(detail, ERR_MALFORMED, "the target * is for OPTIONS only");
    response->status = 204;
    *ret_done = true;
    return ERR_NONE;
}

/* Each pattern once, in the table's order. */
static enum err fail_unknown_path(const struct http_request *r, struct err_detail *detail)
{
    const struct http_route *routes = r->worker->server->options.routes;
    char known[sizeof detail->text] = "";
    size_t used = 0;

    for (size_t i = 0; routes[i].method; i++) {
        bool seen = false;

        for (size_t j = 0; j < i; j++)
            seen = seen || strcmp(routes[i].pattern, routes[j].pattern) == 0;
        if (!seen && used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                                     routes[i].pattern);
    }
    return err_set(detail, ERR_NOT_FOUND, "there is nothing at this path; there is: %s", known);
}

/* The path is the route's, and the method too. */
static enum err enter(struct http_request *r, const struct http_route *route,
                      const struct view *parameters, size_t count, struct http_response *response,
                      struct err_detail *detail)
{
    enum err e = ERR_NONE;

    r->route = route;
    if (route->produces && !http_accepts(r, route->produces))
        return err_set(detail, ERR_NOT_ACCEPTABLE, "this is answered with %s", route->produces);
    if (view_equal(r->method, VIEW("OPTIONS")))
        e = begin_options(r, response, detail);
    return e ? e : http_request_decode(r, parameters, count, detail);
}

enum err http_route_find(struct http_request *r, struct http_response *response, bool *ret_done,
                         struct err_detail *detail)
{
    struct view parameters[HTTP_PARAMETERS_MAX];
    size_t count = 0;
    const char *pattern;

    if (view_equal(r->path, VIEW("*")))
        return answer_asterisk(r, response, ret_done, detail);
    pattern = pattern_of(r, parameters, &count);
    if (!pattern)
        return fail_unknown_path(r, detail);
    for (const struct http_route *p = r->worker->server->options.routes; p->method; p++)
        if (strcmp(p->pattern, pattern) == 0 && serves(p, r->method))
            return enter(r, p, parameters, count, response, detail);
    return answer_other_method(r, pattern, response, ret_done, detail);
}
