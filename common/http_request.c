#include "common/http_stream.h"
#include "common/text.h"

#include <civetweb.h>
#include <stdio.h>

#define CHUNKED_STEP 8192 /* the first room for a body of unknown length */

/* ---- begin ---- */

static bool request_id_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("._~:/+=-", c));
}

static void choose_request_id(struct http_request *r)
{
    struct view sent = http_header(r, "X-Request-Id");
    bool good = sent.len >= 1 && sent.len <= sizeof r->request_id;
    struct event_id id;
    char text[ID_TEXT_SIZE];

    for (size_t i = 0; good && i < sent.len; i++)
        good = request_id_character(sent.data[i]);
    if (!good) {
        id_make(&clock_system, &id);
        id_format(&id, text);
        sent = view_of(text);
    }
    memcpy(r->request_id, sent.data, sent.len);
    r->request_id_len = sent.len;
}

/* civetweb has not split a target that it finds to be another server's: "http://host/path?query".
 * To us all of them are ours (RFC 9112, section 3.2.2). What query_string says is then an earlier
 * request's. */
static void split_target(struct http_request *r)
{
    const char *authority = strstr(r->info->request_uri, "://"), *path = NULL, *question;

    if (r->info->local_uri_raw) {
        r->path = view_of(r->info->local_uri_raw);
        r->query_text = view_of(r->info->query_string);
        return;
    }
    if (authority)
        path = strpbrk(authority + 3, "/?");
    r->path = view_of(path ? path : r->info->request_uri);
    question = memchr(r->path.data, '?', r->path.len);
    if (!question)
        return;
    r->query_text = view_of(question + 1);
    r->path.len = (size_t)(question - r->path.data);
}

void http_request_begin(struct http_worker *worker, struct mg_connection *conn)
{
    struct http_request *r = &worker->request;
    const struct mg_request_info *info = mg_get_request_info(conn);

    *r = (struct http_request){
        .worker = worker,
        .conn = conn,
        .info = info,
        .method = view_of(info->request_method),
        .started_us = http_now_us(),
        .fd = -1,
    };
    split_target(r);
    choose_request_id(r);
    r->continue_due = view_equal_nocase(http_header(r, "Expect"), VIEW("100-continue"));
}

void http_request_begin_refused(struct http_worker *worker, struct mg_connection *conn)
{
    struct http_request *r = &worker->request;
    const struct mg_request_info *info = mg_get_request_info(conn);

    *r = (struct http_request){
        .worker = worker,
        .conn = conn,
        .info = info,
        .started_us = http_now_us(),
        .fd = -1,
        .close = true,
    };
    if (info->request_uri)
        r->method = view_of(info->request_method);
    if (info->request_uri && info->http_version)
        r->path = (struct view){info->request_uri, strcspn(info->request_uri, "?")};
    choose_request_id(r);
}

/* ---- what it says ---- */

struct view http_method(const struct http_request *r)
{
    return r->method;
}

struct view http_path(const struct http_request *r)
{
    return r->path;
}

struct view http_request_id(const struct http_request *r)
{
    return (struct view){r->request_id, r->request_id_len};
}

bool http_header_at(const struct http_request *r, size_t index, struct view *ret_name,
                    struct view *ret_value)
{
    int count = r->info->num_headers; /* -1 in a request that could not be parsed */

    if (count < 0 || index >= (size_t)count)
        return false;
    *ret_name = view_of(r->info->http_headers[index].name);
    *ret_value = view_of(r->info->http_headers[index].value);
    while (ret_value->len > 0 && ret_value->data[ret_value->len - 1] == ' ')
        ret_value->len--;
    return true;
}

bool http_header_next(const struct http_request *r, const char *name, int *at, struct view *ret)
{
    struct view field, value;

    while (http_header_at(r, (size_t)*at, &field, &value)) {
        ++*at;
        if (!view_equal_nocase(field, view_of(name)))
            continue;
        *ret = value;
        return true;
    }
    return false;
}

struct view http_header(const struct http_request *r, const char *name)
{
    struct view value = {0};
    int at = 0;

    (void)http_header_next(r, name, &at, &value);
    return value;
}

bool http_header_has(struct view header, struct view token)
{
    const char *at = header.data, *end = at + header.len;

    while (header.len > 0 && at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct view item = {at, (size_t)((comma ? comma : end) - at)};

        while (item.len > 0 && *item.data == ' ') {
            item.data++;
            item.len--;
        }
        while (item.len > 0 && item.data[item.len - 1] == ' ')
            item.len--;
        if (view_equal_nocase(item, token))
            return true;
        at = comma ? comma + 1 : end;
    }
    return false;
}

struct view http_parameter(const struct http_request *r, size_t index)
{
    return index < r->parameter_count ? r->parameters[index] : (struct view){0};
}

bool http_query(const struct http_request *r, const char *name, struct view *ret)
{
    for (size_t i = 0; i < r->query_count; i++) {
        if (!view_equal(r->query[i].name, view_of(name)))
            continue;
        *ret = r->query[i].value;
        return true;
    }
    return false;
}

static bool is_listed(const char *const *names, struct view name)
{
    for (; *names; names++)
        if (view_equal(view_of(*names), name))
            return true;
    return false;
}

static enum err fail_unknown_parameter(struct view name, const char *const *names,
                                       struct err_detail *detail)
{
    int shown = (int)(name.len < 50 ? name.len : 50);
    char allowed[256] = "none";
    size_t used = 0;

    for (; *names && used < sizeof allowed; names++)
        used += (size_t)snprintf(allowed + used, sizeof allowed - used, "%s%s", used ? ", " : "",
                                 *names);
    return err_set(detail, ERR_INVALID, "there is no query parameter \"%.*s\" here; allowed: %s",
                   shown, name.data, allowed);
}

enum err http_query_only(const struct http_request *r, const char *const *names,
                         struct err_detail *detail)
{
    for (size_t i = 0; i < r->query_count; i++) {
        struct view name = r->query[i].name;

        if (!is_listed(names, name))
            return fail_unknown_parameter(name, names, detail);
        for (size_t j = 0; j < i; j++)
            if (view_equal(r->query[j].name, name))
                return err_set(detail, ERR_INVALID,
                               "the query parameter %.*s is given twice; once is allowed",
                               (int)name.len, name.data);
    }
    return ERR_NONE;
}

/* ---- decoding of path and query ---- */

/* %XX, and + where `plus` is true; what is no escape stands for itself. Never longer than raw. */
static struct view decode(struct view raw, bool plus, struct buf *out)
{
    size_t start = out->len;

    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.data[i];
        int high = c == '%' && i + 2 < raw.len ? text_hex_value(raw.data[i + 1]) : -1;
        int low = high >= 0 ? text_hex_value(raw.data[i + 2]) : -1;

        if (low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        buf_add(out, &c, 1);
    }
    return (struct view){out->data + start, out->len - start};
}

static void decode_pair(struct http_request *r, struct view raw)
{
    const char *equals = memchr(raw.data, '=', raw.len);
    struct view name = {raw.data, equals ? (size_t)(equals - raw.data) : raw.len};
    struct view value = {raw.data + raw.len, 0};

    if (equals)
        value = (struct view){equals + 1, raw.len - name.len - 1};
    r->query[r->query_count].name = decode(name, true, &r->worker->decoded);
    r->query[r->query_count].value = decode(value, true, &r->worker->decoded);
    r->query_count++;
}

enum err http_request_decode(struct http_request *r, const struct view *raw_parameters,
                             size_t count, struct err_detail *detail)
{
    struct buf *out = &r->worker->decoded;
    struct view query = r->query_text;

    buf_clear(out);
    /* all of it at once, so that nothing moves: nothing gets longer by decoding */
    if (!buf_reserve(out, r->path.len + query.len))
        return err_set(detail, ERR_MEMORY, "no memory for the request's parameters");
    for (size_t i = 0; i < count && i < HTTP_PARAMETERS_MAX; i++)
        r->parameters[r->parameter_count++] = decode(raw_parameters[i], false, out);
    while (query.len > 0) {
        const char *ampersand = memchr(query.data, '&', query.len);
        size_t len = ampersand ? (size_t)(ampersand - query.data) : query.len;

        if (len > 0 && r->query_count == HTTP_QUERY_MAX)
            return err_set(detail, ERR_INVALID,
                           "the query has too many parameters; at most %d are allowed",
                           HTTP_QUERY_MAX);
        if (len > 0)
            decode_pair(r, (struct view){query.data, len});
        query.data += len + (ampersand ? 1 : 0);
        query.len -= len + (ampersand ? 1 : 0);
    }
    return ERR_NONE;
}

/* ---- body ---- */

static enum err fail_reading(struct http_request *r, struct err_detail *detail)
{
    r->close = true;
    if (r->worker->was_cut || http_now_ms() >= r->deadline_ms)
        return err_set(detail, ERR_SLOW, "the body did not arrive within %lld ms",
                       (long long)r->worker->server->options.request_timeout_ms);
    if (r->framing == HTTP_CHUNKED)
        return err_set(detail, ERR_MALFORMED,
                       "the chunked body is broken, has chunk extensions, or ended early");
    return err_set(detail, ERR_MALFORMED, "the body ended before its Content-Length");
}

static enum err fail_too_large(struct http_request *r, struct err_detail *detail)
{
    r->close = true;
    return err_set(detail, ERR_TOO_LARGE, "the body may have at most %llu bytes",
                   (unsigned long long)r->worker->server->options.max_body);
}

static enum err fail_memory(struct http_request *r, struct err_detail *detail)
{
    r->close = true;
    return err_set(detail, ERR_MEMORY, "no memory for the body");
}

static enum err read_length(struct http_request *r, struct err_detail *detail)
{
    struct buf *body = &r->worker->body;
    size_t length = (size_t)r->content_length;
    char *to = buf_reserve(body, length);

    if (!to)
        return fail_memory(r, detail);
    while (body->len < length) {
        int got = mg_read(r->conn, body->data + body->len, length - body->len);

        if (got <= 0)
            return fail_reading(r, detail);
        buf_advance(body, (size_t)got);
        r->body_received += (uint64_t)got;
    }
    return ERR_NONE;
}

static enum err read_chunked(struct http_request *r, struct err_detail *detail)
{
    struct buf *body = &r->worker->body;
    size_t max = (size_t)r->worker->server->options.max_body;

    for (;;) {
        size_t step = body->len < CHUNKED_STEP ? CHUNKED_STEP : body->len;
        size_t room = step < max - body->len ? step : max - body->len;
        char beyond;
        char *to = room > 0 ? buf_reserve(body, room) : &beyond;
        int got;

        if (!to)
            return fail_memory(r, detail);
        got = mg_read(r->conn, to, room > 0 ? room : 1);
        if (got < 0)
            return fail_reading(r, detail);
        r->body_received += (uint64_t)got;
        if (got == 0) {
            /* civetweb 1.15 looks at two bytes behind the last chunk, and does not tell whether
             * they were the end, a trailer's beginning or nothing (1.16 reads on to an empty line):
             * so nothing may follow */
            r->close = true;
            return ERR_NONE;
        }
        if (room == 0)
            return fail_too_large(r, detail);
        buf_advance(body, (size_t)got);
    }
}

void http_request_continue(struct http_request *r)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (r->continue_due && strcmp(r->info->http_version, "1.1") == 0)
        mg_write(r->conn, line, sizeof line - 1);
    r->continue_due = false;
}

static enum err check_framed(const struct http_request *r, struct err_detail *detail)
{
    if (r->framing == HTTP_NO_BODY && view_equal(r->method, VIEW("POST")))
        return err_set(detail, ERR_LENGTH_REQUIRED,
                       "a POST needs Content-Length or Transfer-Encoding: chunked");
    return ERR_NONE;
}

enum err http_body_read(struct http_request *r, int64_t timeout_ms, char *to, size_t room,
                        size_t *ret, struct err_detail *detail)
{
    enum err e = check_framed(r, detail);

    if (e)
        return e;
    http_request_continue(r);
    return http_stream_read(r, http_now_ms() + timeout_ms, to, room, ret, detail);
}

enum err http_body(struct http_request *r, struct view *ret, struct err_detail *detail)
{
    enum err e = check_framed(r, detail);

    if (e)
        return e;
    if (r->framing == HTTP_LENGTH && r->content_length > r->worker->server->options.max_body)
        return fail_too_large(r, detail);
    if (r->body_left) {
        buf_clear(&r->worker->body);
        http_watch_enter(r->worker, HTTP_READING, r->deadline_ms);
        http_request_continue(r);
        e = r->framing == HTTP_LENGTH ? read_length(r, detail) : read_chunked(r, detail);
        http_watch_enter(r->worker, HTTP_WORKING, 0);
        if (e)
            return e;
        r->body_left = false;
        *ret = buf_view(&r->worker->body);
        return ERR_NONE;
    }
    *ret = (struct view){"", 0};
    return ERR_NONE;
}

void http_request_discard(struct http_request *r, uint64_t limit, int64_t deadline_ms)
{
    char bytes[8192];
    uint64_t total = 0;
    int got = 1;

    http_watch_enter(r->worker, HTTP_READING, deadline_ms);
    while (total < limit && (got = mg_read(r->conn, bytes, sizeof bytes)) > 0)
        total += (uint64_t)got;
    r->body_received += total;
    http_watch_enter(r->worker, HTTP_WORKING, 0);
    if (r->worker->was_cut)
        return;
    r->body_left = r->framing == HTTP_LENGTH ? total < r->content_length : got != 0;
}
