#include "tests/lib/sse_reader.h"

#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void read_exactly(int fd, char *to, size_t len)
{
    while (len > 0) {
        ssize_t got;

        if (!raw_readable(fd, RAW_LIMIT_MS))
            fail_msg("nothing comes");
        got = read(fd, to, len);
        if (got <= 0)
            fail_msg("the stream breaks: %s", got < 0 ? strerrordesc_np(errno) : "end");
        to += got;
        len -= (size_t)got;
    }
}

/* Up to and without CRLF. */
static void read_line(int fd, char *to, size_t room)
{
    size_t len = 0;

    do {
        assert_in_range(len, 0, room - 2);
        read_exactly(fd, to + len, 1);
        len++;
    } while (len < 2 || memcmp(to + len - 2, "\r\n", 2) != 0);
    to[len - 2] = '\0';
}

void sse_reader_open(struct sse_reader *r, uint16_t port, const char *path, const char *headers)
{
    char request[2048], line[1024];
    size_t len = 0;

    *r = (struct sse_reader){.fd = raw_connect(port)};
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, headers);
    assert_true(raw_send_text(r->fd, request));
    do {
        read_line(r->fd, line, sizeof line);
        len += (size_t)snprintf(r->head + len, sizeof r->head - len, "%s\r\n", line);
        assert_in_range(len, 1, sizeof r->head - 1);
    } while (line[0]);
    r->status = atoi(r->head + strlen("HTTP/1.1 "));
    r->ended = !strstr(r->head, "Transfer-Encoding: chunked");
}

/* False: that was the last one. */
static bool read_chunk(struct sse_reader *r)
{
    char line[32];
    size_t len;

    read_line(r->fd, line, sizeof line);
    len = strtoul(line, NULL, 16);
    assert_in_range(len, 0, sizeof r->pending - r->pending_len - 1);
    read_exactly(r->fd, r->pending + r->pending_len, len);
    r->pending_len += len;
    r->pending[r->pending_len] = '\0';
    read_line(r->fd, line, sizeof line);
    assert_string_equal(line, "");
    r->ended = len == 0;
    return !r->ended;
}

static void take_line(const char *line, struct sse_event *ret)
{
    if (strncmp(line, "id: ", 4) == 0)
        snprintf(ret->id, sizeof ret->id, "%s", line + 4);
    else if (strncmp(line, "event: ", 7) == 0)
        snprintf(ret->name, sizeof ret->name, "%s", line + 7);
    else if (strncmp(line, "data: ", 6) == 0)
        snprintf(ret->data, sizeof ret->data, "%s", line + 6);
    else if (strncmp(line, "retry: ", 7) == 0)
        snprintf(ret->retry, sizeof ret->retry, "%s", line + 7);
    else if (strncmp(line, ": ", 2) == 0)
        snprintf(ret->comment, sizeof ret->comment, "%s", line + 2);
    else
        fail_msg("not a line of an event: %s", line);
}

bool sse_reader_next(struct sse_reader *r, struct sse_event *ret)
{
    char *end, *rest;

    while (!(end = strstr(r->pending, "\n\n")))
        if (r->ended || !read_chunk(r)) {
            assert_string_equal(r->pending, "");
            return false;
        }
    *ret = (struct sse_event){.id = ""};
    *end = '\0';
    for (char *line = strtok_r(r->pending, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        take_line(line, ret);
    end += 2;
    r->pending_len -= (size_t)(end - r->pending);
    memmove(r->pending, end, r->pending_len + 1);
    return true;
}

bool sse_reader_silent(struct sse_reader *r, int ms)
{
    return r->pending_len == 0 && !raw_readable(r->fd, ms);
}

void sse_reader_close(struct sse_reader *r)
{
    raw_close(r->fd);
}
