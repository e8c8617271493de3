#include "common/http_internal.h"
#include "common/log.h"

#include <civetweb.h>
#include <stdio.h>
#include <time.h>

/* The request's time-out, for an answer to be taken by a client that keeps taking some of it; from
 * one that takes nothing civetweb turns away after one. */
#define WRITE_TIMES 6

static const struct reason {
    int status;
    const char *phrase;
} reasons[] = {
    {200, "OK"},
    {202, "Accepted"},
    {204, "No Content"},
    {207, "Multi-Status"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].phrase;
    return "Unknown";
}

void http_response_begin(struct http_worker *worker)
{
    struct http_response *response = &worker->response;

    response->status = 200;
    response->content_type = "application/json";
    response->caching = "no-store";
    buf_clear(&response->body);
    buf_clear(&response->headers);
    buf_clear(&response->members);
}

void http_add_header(struct http_response *response, const char *name, struct view value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] >= ' ' && value.data[i] <= '~')
            continue;
        log_error("response header dropped: not printable", LOG_TEXT("header", name));
        return;
    }
    buf_add_text(&response->headers, name);
    buf_add(&response->headers, ": ", 2);
    buf_add_view(&response->headers, value);
    buf_add(&response->headers, "\r\n", 2);
}

void http_add_member(struct http_response *response, const char *name, struct view value)
{
    buf_add(&response->members, ",", 1);
    buf_add_json(&response->members, view_of(name));
    buf_add(&response->members, ":", 1);
    buf_add_json(&response->members, value);
}

/* RFC 9110, section 5.6.7; made once a second and thread. */
static const char *date_of(struct http_worker *worker)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct timespec now;
    struct tm t;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec == worker->date_second)
        return worker->date;
    gmtime_r(&now.tv_sec, &t);
    snprintf(worker->date, sizeof worker->date, "%.3s, %02d %.3s %d %02d:%02d:%02d GMT",
             days + (size_t)3 * (size_t)t.tm_wday, t.tm_mday, months + (size_t)3 * (size_t)t.tm_mon,
             t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
    worker->date_second = now.tv_sec;
    return worker->date;
}

static void add_number(struct buf *out, size_t number)
{
    char digits[20], *at = digits + sizeof digits;

    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    buf_add(out, at, (size_t)(digits + sizeof digits - at));
}

static bool is_old(const struct http_request *r)
{
    return r->info->http_version && strcmp(r->info->http_version, "1.0") == 0;
}

/* RFC 9110, section 6.4.1 */
static bool has_content(const struct http_response *response)
{
    return response->status != 204 && response->status != 304;
}

static void add_framing(const struct http_request *r, struct buf *out)
{
    if (!r->answering) {
        buf_add_text(out, "\r\nContent-Length: ");
        add_number(out, r->worker->response.body.len);
    } else if (!is_old(r)) {
        buf_add_text(out, "\r\nTransfer-Encoding: chunked");
    }
}

/* Piece by piece: printf would take as long as all the rest of a request here. */
void http_response_head(struct http_request *r, struct buf *out)
{
    const struct http_response *response = &r->worker->response;

    buf_add_text(out, "HTTP/1.1 ");
    add_number(out, (size_t)response->status);
    buf_add_text(out, " ");
    buf_add_text(out, http_reason(response->status));
    buf_add_text(out, "\r\nDate: ");
    buf_add_text(out, date_of(r->worker));
    if (has_content(response)) {
        buf_add_text(out, "\r\nContent-Type: ");
        buf_add_text(out, response->content_type);
        add_framing(r, out);
    }
    buf_add_text(out, "\r\nCache-Control: ");
    buf_add_text(out, response->caching);
    buf_add_text(out, "\r\nX-Request-Id: ");
    buf_add_view(out, http_request_id(r));
    buf_add_text(out, r->close    ? "\r\nConnection: close\r\n"
                      : is_old(r) ? "\r\nConnection: keep-alive\r\n"
                                  : "\r\n");
    http_cors_write(r, out);
    buf_add_view(out, buf_view(&response->headers));
    buf_add_text(out, "\r\n");
}

/* Whether the request may have changed something. */
static bool may_have_acted(const struct http_request *r)
{
    if (view_equal(r->method, VIEW("GET")) || view_equal(r->method, VIEW("HEAD")) ||
        view_equal(r->method, VIEW("OPTIONS")))
        return false;
    return r->problem == ERR_NONE || err_http_status(r->problem) == 504;
}

/* What is said when there is no memory to say more. Not a 503 of what may have been done: that
 * would be sent again as if it had not. */
static void write_bare(struct http_request *r)
{
    static const char tail[] = "Content-Length: 0\r\n"
                               "Connection: close\r\n\r\n";
    char reply[160];
    int len;

    r->close = true;
    r->problem = may_have_acted(r) ? ERR_UNKNOWN_OUTCOME : ERR_MEMORY;
    r->body_sent = 0;
    r->worker->response.status = err_http_status(r->problem);
    len = snprintf(reply, sizeof reply, "HTTP/1.1 %d %s\r\n%s%s", r->worker->response.status,
                   http_reason(r->worker->response.status),
                   r->problem == ERR_MEMORY ? "Retry-After: 1\r\n" : "", tail);
    mg_write(r->conn, reply, (size_t)len);
}

int64_t http_write_deadline(const struct http_request *r)
{
    return http_now_ms() + WRITE_TIMES * r->worker->server->options.request_timeout_ms;
}

void http_response_write(struct http_request *r)
{
    struct http_response *response = &r->worker->response;
    struct buf *out = &r->worker->out;

    if (r->answering) {
        http_pieces_end(r);
        return;
    }
    buf_clear(out);
    http_response_head(r, out);
    if (has_content(response) && !view_equal(r->method, VIEW("HEAD"))) {
        buf_add_view(out, buf_view(&response->body));
        r->body_sent = response->body.len;
    }
    if (buf_failed(out) || buf_failed(&response->body) || buf_failed(&response->headers)) {
        write_bare(r);
        return;
    }
    if (mg_write(r->conn, out->data, out->len) != (int)out->len)
        r->close = true; /* the client has gone, or takes nothing */
}
