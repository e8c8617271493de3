#include "common/http_stream.h"

#include "common/http_socket.h"
#include "common/mem.h"
#include "common/text.h"

#include <civetweb.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define RAW_SIZE 16384
#define SLICE_MS 200       /* between looks whether the server is to stop */
#define EXTENSION_MAX 256  /* bytes of chunk extensions, which nobody reads (RFC 9112, 7.1.1) */
#define SIZE_DIGITS_MAX 15 /* of a chunk's size */

enum state { IN_SIZE, IN_EXTENSION, SIZE_LF, IN_DATA, DATA_CR, DATA_LF, AT_END };

struct http_stream {
    int fd; /* negative: civetweb reads */
    bool chunked;
    enum state state;
    uint64_t left;       /* of the body, or of the chunk */
    uint32_t digits;     /* of the chunk's size */
    uint32_t extensions; /* bytes of them */
    struct view arrived; /* and not decoded yet: in civetweb's buffer, or in: */
    char raw[RAW_SIZE];
};

/* ---- begin ---- */

static bool find_arrived(struct http_request *r, int fd, struct view *ret)
{
    uint64_t before = r->worker->consumed + r->header_size, taken;

    if (!http_socket_taken(fd, &taken) || taken < before || taken - before > HTTP_BUFFER_SIZE)
        return false;
    *ret = (struct view){r->body_at, (size_t)(taken - before)};
    return true;
}

static enum err begin(struct http_request *r, struct err_detail *detail)
{
    struct http_stream *s = mem_alloc(sizeof *s);

    if (!s)
        return err_set(detail, ERR_MEMORY, "no memory for the body");
    s->chunked = r->framing == HTTP_CHUNKED;
    s->state = s->chunked ? IN_SIZE : r->body_left ? IN_DATA : AT_END;
    s->left = s->chunked ? 0 : r->content_length;
    s->digits = s->extensions = 0;
    s->arrived = (struct view){"", 0};
    s->fd = http_watch_socket(r->worker);
    if (s->fd >= 0 && !find_arrived(r, s->fd, &s->arrived))
        s->fd = -1;
    r->stream = s;
    r->close = true;
    return ERR_NONE;
}

/* ---- decoding (RFC 9112, section 7.1) ---- */

static bool take_size_byte(struct http_stream *s, char c)
{
    int digit = text_hex_value(c);

    if (digit >= 0 && s->digits < SIZE_DIGITS_MAX) {
        s->left = s->left << 4 | (uint64_t)digit;
        s->digits++;
        return true;
    }
    s->state = c == '\r' ? SIZE_LF : IN_EXTENSION;
    return s->digits > 0 && (c == '\r' || c == ';' || c == ' ' || c == '\t');
}

static bool take_extension_byte(struct http_stream *s, char c)
{
    if (c == '\r')
        s->state = SIZE_LF;
    return c != '\n' && ++s->extensions <= EXTENSION_MAX;
}

/* What frames the data. False: it breaks the rules. */
static bool take_frame_byte(struct http_stream *s, char c)
{
    switch (s->state) {
    case IN_SIZE:
        return take_size_byte(s, c);
    case IN_EXTENSION:
        return take_extension_byte(s, c);
    case SIZE_LF:
        s->state = s->left > 0 ? IN_DATA : AT_END;
        s->digits = 0;
        return c == '\n';
    case DATA_CR:
        s->state = DATA_LF;
        return c == '\r';
    default:
        s->state = IN_SIZE;
        return c == '\n';
    }
}

static size_t take_data(struct http_stream *s, char *to, size_t room)
{
    size_t len = s->arrived.len < room ? s->arrived.len : room;

    if (len > s->left)
        len = (size_t)s->left;
    memcpy(to, s->arrived.data, len);
    s->arrived.data += len;
    s->arrived.len -= len;
    s->left -= len;
    if (s->left == 0)
        s->state = s->chunked ? DATA_CR : AT_END;
    return len;
}

/* Decodes as much of what has arrived as there is room for. */
static bool decode(struct http_stream *s, char *to, size_t room, size_t *ret)
{
    size_t used = 0;

    while (s->arrived.len > 0 && s->state != AT_END && used < room) {
        if (s->state == IN_DATA) {
            used += take_data(s, to + used, room - used);
            continue;
        }
        if (!take_frame_byte(s, *s->arrived.data))
            return false;
        s->arrived.data++;
        s->arrived.len--;
    }
    *ret = used;
    return true;
}

/* ---- arriving ---- */

static enum err fail_ended(const struct http_stream *s, struct err_detail *detail)
{
    return err_set(detail, ERR_MALFORMED,
                   s->chunked ? "the chunked body is broken, or ended early"
                              : "the body ended before its Content-Length");
}

static enum err fail_frame(const struct http_stream *s, struct err_detail *detail)
{
    if (s->extensions > EXTENSION_MAX)
        return err_set(detail, ERR_MALFORMED,
                       "the chunk extensions have more than %d bytes; better send none",
                       EXTENSION_MAX);
    return fail_ended(s, detail);
}

static enum err fail_slow(struct err_detail *detail)
{
    return err_set(detail, ERR_SLOW, "the body did not go on in time");
}

/* While the server drains, a body is read on as long as it keeps coming, but not to the end of the
 * drain time: its answer must still be written. */
static enum err wait_readable(struct http_request *r, int fd, int64_t deadline_ms,
                              struct err_detail *detail)
{
    struct http_server *server = r->worker->server;

    for (;;) {
        int64_t now = http_now_ms(), left = deadline_ms - now;
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        bool stop = http_now_ms() >= atomic_load(&server->streams_end_ms);
        int found = poll(&poller, 1,
                         stop              ? 0
                         : left < 0        ? 0
                         : left < SLICE_MS ? (int)left
                                           : SLICE_MS);

        if (stop || (found == 0 && atomic_load(&server->draining)))
            return err_set(detail, ERR_UNAVAILABLE, "the server is being stopped");
        if (found > 0)
            return ERR_NONE;
        if (left <= 0)
            return fail_slow(detail);
    }
}

static enum err receive(struct http_request *r, int64_t deadline_ms, struct err_detail *detail)
{
    struct http_stream *s = r->stream;

    for (;;) {
        ssize_t got;
        enum err e = wait_readable(r, s->fd, deadline_ms, detail);

        if (e)
            return e;
        got = recv(s->fd, s->raw, sizeof s->raw, MSG_DONTWAIT);
        if (got > 0) {
            s->arrived = (struct view){s->raw, (size_t)got};
            return ERR_NONE;
        }
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            return fail_ended(s, detail);
    }
}

static enum err read_socket(struct http_request *r, int64_t deadline_ms, char *to, size_t room,
                            size_t *ret, struct err_detail *detail)
{
    struct http_stream *s = r->stream;
    size_t used = 0;

    while (s->state != AT_END && used == 0) {
        enum err e = s->arrived.len > 0 ? ERR_NONE : receive(r, deadline_ms, detail);

        if (e)
            return e;
        if (!decode(s, to, room, &used))
            return fail_frame(s, detail);
    }
    *ret = used;
    return ERR_NONE;
}

/* civetweb's way. */
static enum err read_filled(struct http_request *r, int64_t deadline_ms, char *to, size_t room,
                            size_t *ret, struct err_detail *detail)
{
    struct http_stream *s = r->stream;
    int got;

    *ret = 0;
    if (s->state == AT_END)
        return ERR_NONE;
    if (!s->chunked && room > s->left)
        room = (size_t)s->left;
    http_watch_enter(r->worker, HTTP_READING, deadline_ms);
    got = mg_read(r->conn, to, room);
    if (!http_watch_enter(r->worker, HTTP_WORKING, 0) && got <= 0)
        return fail_slow(detail);
    if (got < 0 || (got == 0 && !s->chunked))
        return http_now_ms() >= deadline_ms ? fail_slow(detail) : fail_ended(s, detail);
    if (!s->chunked)
        s->left -= (uint64_t)got;
    if (got == 0 || (!s->chunked && s->left == 0))
        s->state = AT_END;
    *ret = (size_t)got;
    return ERR_NONE;
}

enum err http_stream_read(struct http_request *r, int64_t deadline_ms, char *to, size_t room,
                          size_t *ret, struct err_detail *detail)
{
    enum err e = r->stream ? ERR_NONE : begin(r, detail);

    if (e || !r->stream)
        return e;
    e = r->stream->fd >= 0 ? read_socket(r, deadline_ms, to, room, ret, detail)
                           : read_filled(r, deadline_ms, to, room, ret, detail);
    if (e)
        return e;
    r->body_received += *ret;
    r->body_left = r->stream->state != AT_END;
    return ERR_NONE;
}

/* Whatever it is: the rest of the body, trailers, a request that will have no answer. */
void http_stream_linger(struct http_request *r, int64_t deadline_ms)
{
    int fd = r->stream ? r->stream->fd : http_watch_socket(r->worker);
    struct err_detail ignored;
    char bytes[4096];
    ssize_t got = 1;

    if (fd < 0)
        return;
    shutdown(fd, SHUT_WR); /* the answer is complete: the client may close, too */
    while (got != 0 && http_now_ms() < deadline_ms &&
           wait_readable(r, fd, deadline_ms, &ignored) == ERR_NONE) {
        got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            return;
    }
}

void http_stream_free(struct http_request *r)
{
    mem_free(r->stream);
    r->stream = NULL;
}
