/* What pages of other origins may do with this server (CORS: https://fetch.spec.whatwg.org,
 * section "HTTP extensions"). Nothing here relies on cookies, so credentials are never allowed, and
 * an origin that may read anything at all may read all that the server answers.
 */
#include "common/http_internal.h"

#define MAX_AGE "600" /* seconds that a browser may keep the answer to a preflight */
#define EXPOSED "ETag, Link, Location, Preference-Applied, Retry-After, X-Request-Id"

/* What requests may have besides what Fetch always allows; and ce-..., events in binary mode. */
static const char *const request_headers[] = {
    "authorization",   "cache-control", "content-encoding", "content-type",
    "idempotency-key", "if-none-match", "last-event-id",    "prefer",
    "traceparent",     "tracestate",    "x-request-id",
};

static bool is_word(const char *origins, const char *word)
{
    return strcmp(origins, word) == 0;
}

/* Cuts off what stands before the next comma, without blanks. False: there is nothing more. */
static bool next_item(struct view *rest, struct view *ret)
{
    const char *comma;

    if (!rest->data)
        return false;
    comma = memchr(rest->data, ',', rest->len);
    *ret = (struct view){rest->data, comma ? (size_t)(comma - rest->data) : rest->len};
    *rest = comma ? (struct view){comma + 1, rest->len - ret->len - 1} : (struct view){0};
    while (ret->len > 0 && *ret->data == ' ')
        *ret = (struct view){ret->data + 1, ret->len - 1};
    while (ret->len > 0 && ret->data[ret->len - 1] == ' ')
        ret->len--;
    return true;
}

/* ---- the setting ---- */

static size_t span(struct view v, size_t from, const char *set)
{
    size_t n = from;

    while (n < v.len && v.data[n] && strchr(set, v.data[n]))
        n++;
    return n - from;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"
#define HOST LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "._-"

/* scheme://host or scheme://host:port, the host perhaps an IPv6 address in brackets: how a browser
 * says it (RFC 6454, section 6.2). */
static bool is_origin(struct view v)
{
    size_t at = span(v, 0, LOWER DIGITS "+.-"), host;

    if (at == 0 || v.len - at < 3 || memcmp(v.data + at, "://", 3) != 0)
        return false;
    at += 3;
    if (at < v.len && v.data[at] == '[') {
        host = span(v, at + 1, LOWER "ABCDEF" DIGITS ":.");
        if (host == 0 || at + 1 + host == v.len || v.data[at + 1 + host] != ']')
            return false;
        at += host + 2;
    } else {
        host = span(v, at, HOST);
        at += host;
    }
    if (host == 0 || at == v.len)
        return host > 0;
    return v.data[at] == ':' && at + 1 < v.len && at + 1 + span(v, at + 1, DIGITS) == v.len;
}

enum err http_cors_check(const char *origins, struct err_detail *detail)
{
    struct view rest = view_of(origins), item;

    if (is_word(origins, "*") || is_word(origins, "none"))
        return ERR_NONE;
    while (next_item(&rest, &item))
        if (!is_origin(item))
            return err_set(detail, ERR_INVALID,
                           "\"%.*s\" is not allowed: an origin like https://app.example.com:8443 "
                           "is, or several with commas between them, or * for any, or none",
                           (int)(item.len < 80 ? item.len : 80), item.data);
    return ERR_NONE;
}

/* ---- answers ---- */

static const char *origins_of(const struct http_request *r)
{
    const char *origins = r->worker->server->options.cors_origins;

    return origins ? origins : "none";
}

static bool allows(const char *origins, struct view origin)
{
    struct view rest = view_of(origins), item;

    if (origin.len == 0 || is_word(origins, "none"))
        return false;
    if (is_word(origins, "*"))
        return true;
    while (next_item(&rest, &item))
        if (view_equal_nocase(item, origin))
            return true;
    return false;
}

static bool allows_header(struct view name)
{
    const struct view event = VIEW("ce-");

    if (name.len > event.len && view_equal_nocase((struct view){name.data, event.len}, event))
        return true;
    for (size_t i = 0; i < sizeof request_headers / sizeof request_headers[0]; i++)
        if (view_equal_nocase(name, view_of(request_headers[i])))
            return true;
    return false;
}

/* Those that are asked for and allowed: names of ce- headers are beyond counting. */
static void add_allowed_headers(const struct http_request *r, struct http_response *response)
{
    struct view asked = http_header(r, "Access-Control-Request-Headers"), name;
    struct buf *out = &response->headers;
    bool first = true;

    while (asked.len > 0 && next_item(&asked, &name)) {
        if (!allows_header(name))
            continue;
        buf_add_text(out, first ? "Access-Control-Allow-Headers: " : ", ");
        buf_add_view(out, name);
        first = false;
    }
    buf_add_text(out, first ? "" : "\r\n");
}

void http_cors_preflight(const struct http_request *r, struct http_response *response,
                         const char *methods)
{
    if (!allows(origins_of(r), http_header(r, "Origin")) ||
        http_header(r, "Access-Control-Request-Method").len == 0)
        return;
    http_add_header(response, "Access-Control-Allow-Methods", view_of(methods));
    add_allowed_headers(r, response);
    http_add_header(response, "Access-Control-Max-Age", VIEW(MAX_AGE));
}

void http_cors_write(const struct http_request *r, struct buf *out)
{
    const char *origins = origins_of(r);
    struct view origin = http_header(r, "Origin");
    bool any = is_word(origins, "*");

    if (is_word(origins, "none"))
        return;
    if (!any)
        buf_add_text(out, "Vary: Origin\r\n");
    if (!allows(origins, origin))
        return;
    buf_add_text(out, "Access-Control-Allow-Origin: ");
    buf_add_view(out, any ? VIEW("*") : origin);
    buf_add_text(out, "\r\nAccess-Control-Expose-Headers: " EXPOSED "\r\n");
}
