/* Answers that are written piece by piece, and clients that go meanwhile. Such an answer is chunked
 * (to HTTP/1.0: until the connection ends), and its connection ends with it, so that nothing that
 * the client has sent meanwhile waits behind it.
 */
#include "common/http_internal.h"

#include <civetweb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

/* Bytes that the kernel keeps for a client that does not take them; it would grow to megabytes. */
#define SEND_BUFFER 65536

/* It is this thread's for as long as the request is. Negative: it cannot be found. */
static int socket_of(struct http_request *r)
{
    if (r->fd < 0)
        r->fd = http_watch_socket(r->worker);
    return r->fd;
}

bool http_client_gone(struct http_request *r)
{
    struct pollfd socket = {.fd = socket_of(r), .events = POLLRDHUP};

    if (r->broken)
        return true;
    return socket.fd >= 0 && poll(&socket, 1, 0) > 0 &&
           (socket.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool http_draining(const struct http_request *r)
{
    return atomic_load(&r->worker->server->draining);
}

/* ---- the answer ---- */

static bool is_chunked(const struct http_request *r)
{
    return !r->info->http_version || strcmp(r->info->http_version, "1.0") != 0;
}

/* Bounded, other than mg_write alone, also for a client that takes a little now and then. */
static bool send_out(struct http_request *r)
{
    struct buf *out = &r->worker->out;
    int64_t limit_ms = r->worker->server->options.request_timeout_ms;

    http_watch_enter(r->worker, HTTP_WRITING, http_now_ms() + limit_ms);
    r->broken = mg_write(r->conn, out->data, out->len) != (int)out->len;
    if (!http_watch_enter(r->worker, HTTP_WORKING, 0))
        r->broken = true;
    return !r->broken;
}

void http_answer_lasts(struct http_request *r)
{
    int size = SEND_BUFFER, fd = socket_of(r);

    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static void add_piece(const struct http_request *r, struct view piece, struct buf *out)
{
    if (piece.len == 0) /* an empty chunk would be the last one */
        return;
    if (is_chunked(r))
        buf_add_format(out, "%zx\r\n", piece.len);
    buf_add_view(out, piece);
    if (is_chunked(r))
        buf_add_text(out, "\r\n");
}

enum err http_answer(struct http_request *r, struct view piece)
{
    struct buf *out = &r->worker->out;
    bool head_only = view_equal(r->method, VIEW("HEAD"));

    if (r->broken)
        return ERR_CANCELLED;
    buf_clear(out);
    if (!r->answering) {
        r->answering = r->close = true;
        http_response_head(r, out);
    }
    if (!head_only)
        add_piece(r, piece, out);
    if (buf_failed(out) || buf_failed(&r->worker->response.headers)) {
        r->broken = true;
        return ERR_MEMORY;
    }
    if (out->len > 0 && !send_out(r))
        return ERR_CANCELLED;
    if (head_only)
        return ERR_CANCELLED;
    r->body_sent += piece.len;
    return ERR_NONE;
}

/* Without the last chunk the client sees that something is missing; HTTP/1.0 has no such thing. */
void http_pieces_end(struct http_request *r)
{
    static const char last[] = "0\r\n\r\n";

    if (!r->failed && !r->broken && is_chunked(r) && !view_equal(r->method, VIEW("HEAD")))
        mg_write(r->conn, last, sizeof last - 1);
}
