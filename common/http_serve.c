/* The life of one request, from the header that civetweb has read to the answer.
 */
#include "common/http_stream.h"
#include "common/log.h"

#include <civetweb.h>

#define DISCARD_MAX 65536 /* an unread body up to this is read, to keep the connection */
#define DISCARD_MS 1000
#define BIG_BUFFER 65536 /* what grew beyond it for one request is given back */

/* ---- admission ---- */

/* The connection's first request takes one of the places; those in the reserve get none. */
static bool admit(struct http_worker *worker)
{
    struct http_server *server = worker->server;

    if (worker->admitted)
        return true;
    if (atomic_fetch_add(&server->admitted, 1) >= server->options.connections) {
        atomic_fetch_sub(&server->admitted, 1);
        http_meters_refused(server);
        return false;
    }
    worker->admitted = true;
    return true;
}

static bool threads_short(const struct http_server *server)
{
    return atomic_load_explicit(&server->in_use, memory_order_relaxed) >
           server->options.connections;
}

/* ---- the client's wish ---- */

/* What civetweb will do, so that the answer can say it; it looks at the first Connection only. One
 * that says "close" ends the connection wherever it stands. */
static bool client_keeps(const struct http_request *r)
{
    struct view connection;

    for (int at = 0; http_header_next(r, "Connection", &at, &connection);)
        if (http_header_has(connection, VIEW("close")))
            return false;
    connection = http_header(r, "Connection");
    if (connection.len > 0)
        return http_header_has(connection, VIEW("keep-alive"));
    return strcmp(r->info->http_version, "1.1") == 0;
}

/* ---- the steps ---- */

static enum err answer(struct http_request *r, struct err_detail *detail)
{
    struct http_worker *worker = r->worker;
    struct http_server *server = worker->server;
    bool done = false;
    enum err e = http_verify(r, detail);

    if (e)
        return e;
    if (!admit(worker)) {
        r->close = true;
        return err_set(detail, ERR_UNAVAILABLE, "all %u connections are in use",
                       server->options.connections);
    }
    e = http_route_find(r, &worker->response, &done, detail);
    if (e || done)
        return e;
    return r->route->handler(r, &worker->response, detail, server->options.ctx);
}

/* Before the answer, since it must say whether the connection goes on. */
static void settle_body(struct http_request *r)
{
    int64_t deadline = http_now_ms() + DISCARD_MS;

    if (!r->body_left)
        return;
    if (r->close || r->continue_due || r->framing == HTTP_CHUNKED ||
        r->content_length > DISCARD_MAX) {
        r->close = true;
        return;
    }
    http_request_discard(r, DISCARD_MAX, deadline < r->deadline_ms ? deadline : r->deadline_ms);
    r->close = r->close || r->body_left;
}

/* Bytes that are unread when a socket is closed make the kernel reset the connection, and the
 * client may lose the answer. So what it is still sending is taken for a moment; also behind a body
 * whose end has been read, where we are the ones who end the connection: trailers, or a request
 * that was sent ahead. */
static void linger(struct http_request *r)
{
    int64_t end_ms = http_now_ms() + DISCARD_MS;

    if (r->continue_due || threads_short(r->worker->server))
        return;
    if (r->stream || (r->framing == HTTP_CHUNKED && !r->body_left))
        http_stream_linger(r, end_ms);
    else if (r->body_left)
        http_request_discard(r, UINT64_MAX, end_ms);
}

/* Most answers fit the socket's buffer, and are gone at once. */
static void write_answer(struct http_request *r)
{
    http_watch_enter(r->worker, HTTP_WRITING, http_write_deadline(r));
    http_response_write(r);
}

static void account(const struct http_request *r)
{
    int status = r->worker->response.status;
    int64_t duration_us = http_now_us() - r->started_us;

    http_meters_count(r, status, duration_us);
    http_access_log(r, status, duration_us);
}

static void give_back(struct buf *b)
{
    if (b->capacity > BIG_BUFFER)
        buf_free(b);
}

static void finish(struct http_request *r)
{
    struct http_worker *worker = r->worker;

    r->close = r->close || atomic_load(&worker->server->draining) ||
               threads_short(worker->server) || !client_keeps(r);
    write_answer(r);
    log_context_clear();
    account(r);
    if (r->close) {
        linger(r);
        mg_disable_connection_keep_alive(r->conn);
    }
    worker->consumed += r->header_size + r->content_length;
    http_stream_free(r);
    give_back(&worker->body);
    give_back(&worker->out);
    give_back(&worker->response.body);
    http_watch_enter(worker, HTTP_IDLE, http_now_ms());
}

/* When the whole request must have arrived. */
static int64_t deadline_of(const struct http_worker *worker)
{
    enum http_phase phase;
    int64_t moment = http_watch_moment(worker, &phase);

    if (phase == HTTP_OPENING || phase == HTTP_ARRIVING)
        return moment;
    return http_now_ms() + worker->server->options.request_timeout_ms;
}

static int serve(struct mg_connection *conn, bool last)
{
    struct http_worker *worker = mg_get_thread_pointer(conn);
    struct http_request *r = &worker->request;
    struct err_detail detail = {""};
    const struct mg_request_info *info = mg_get_request_info(conn);
    int64_t deadline_ms = deadline_of(worker);
    enum err e;

    http_watch_identify(worker, info->remote_addr, info->remote_port);
    if (!http_watch_enter(worker, HTTP_WORKING, 0)) { /* it came too late */
        mg_disable_connection_keep_alive(conn);
        return 408;
    }
    http_request_begin(worker, conn);
    r->deadline_ms = deadline_ms;
    r->close = last;
    http_response_begin(worker);
    log_context_set(http_request_id(r), (struct view){0});
    e = answer(r, &detail);
    settle_body(r);
    r->failed = e != ERR_NONE;
    if (e && !r->answering)
        http_problem(r, e, &detail);
    finish(r);
    return worker->response.status;
}

/* civetweb's begin_request: it has read a header that it finds good. */
int http_serve(struct mg_connection *conn)
{
    return serve(conn, false);
}

/* civetweb ends the connection without a word if the target is "*", or an absolute one whose port
 * isn't ours: behind a proxy or a container's port mapping it never is. */
void http_serve_dropped(struct mg_connection *conn)
{
    const struct http_worker *worker = mg_get_thread_pointer(conn);
    const struct mg_request_info *info = mg_get_request_info(conn);

    if (info->request_uri && info->http_version && !info->local_uri_raw && !worker->refused)
        serve(conn, true);
}

/* ---- what civetweb refuses by itself ---- */

/* Whether the header took too long to arrive; civetweb calls that malformed. */
static bool was_slow(struct http_worker *worker)
{
    enum http_phase phase;
    int64_t moment = http_watch_moment(worker, &phase);

    if (worker->was_cut || phase == HTTP_CUT)
        return true;
    if (phase == HTTP_IDLE)
        return http_now_ms() - moment >= worker->server->options.idle_timeout_ms;
    return (phase == HTTP_OPENING || phase == HTTP_ARRIVING) && moment <= http_now_ms();
}

/* Methods that are somebody's, but that civetweb does not know. */
static bool is_known_elsewhere(struct view method)
{
    return view_equal(method, VIEW("TRACE")) || view_equal(method, VIEW("QUERY"));
}

/* A request line that was read as far as its version, and refused for its method or version. */
static enum err explain_line(struct http_request *r, struct err_detail *detail)
{
    const char *version = r->info->http_version;
    bool other_minor = strncmp(version, "1.", 2) == 0 && version[2] >= '2' && version[2] <= '9' &&
                       version[3] == '\0';

    if ((version[0] >= '2' && version[0] <= '9') || other_minor)
        return err_set(detail, ERR_HTTP_VERSION, "HTTP/1.1 and HTTP/1.0 are served here");
    if (is_known_elsewhere(r->method))
        return http_route_refuse_method(r, &r->worker->response, detail);
    if (strcmp(version, "1.1") == 0 || strcmp(version, "1.0") == 0)
        return err_set(detail, ERR_UNIMPLEMENTED, "the method %.*s is not known here",
                       (int)(r->method.len < 32 ? r->method.len : 32), r->method.data);
    return err_set(detail, ERR_MALFORMED, "the request line does not end with HTTP/1.1");
}

static enum err explain(struct http_request *r, int status, const char *message, bool slow,
                        struct err_detail *detail)
{
    if (status == 400 && slow)
        return err_set(detail, ERR_SLOW, "the header did not arrive in time");
    if (status == 400 && strcmp(message, "Malformed message") == 0)
        return err_set(detail, ERR_MALFORMED,
                       "the header is no HTTP/1.1, holds a control character (tabs too), is much "
                       "larger than %d bytes, or ended early",
                       HTTP_HEADER_MAX);
    if (status == 505 || (status == 400 && r->info->num_headers == 0 && r->info->http_version))
        return explain_line(r, detail);
    if (status == 411)
        return err_set(detail, ERR_MALFORMED, "Content-Length must be a number of bytes");
    if (status >= 500)
        return err_set(detail, ERR_INTERNAL, "%s", message);
    return err_set(detail, ERR_MALFORMED, "the request line or a header is not well-formed");
}

/* civetweb's http_error: the connection ends after it. Always answers. */
int http_serve_error(struct mg_connection *conn, int status, const char *message)
{
    struct http_worker *worker = mg_get_thread_pointer(conn);
    struct http_request *r = &worker->request;
    struct err_detail detail = {""};
    bool slow = was_slow(worker);
    enum err e;

    worker->refused = true;
    http_watch_enter(worker, HTTP_WORKING, 0);
    http_request_begin_refused(worker, conn);
    http_response_begin(worker);
    e = explain(r, status, message, slow, &detail);
    http_problem(r, e, &detail);
    write_answer(r);
    account(r);
    return 0;
}
