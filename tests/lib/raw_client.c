#include "tests/lib/raw_client.h"

#include "tests/lib/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

int raw_connect(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool raw_send(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

bool raw_send_text(int fd, const char *text)
{
    return raw_send(fd, text, strlen(text));
}

bool raw_readable(int fd, int ms)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ms) == 1;
}

/* Up to len bytes; 0: closed. */
static size_t receive_some(int fd, char *to, size_t len)
{
    ssize_t got;

    if (!raw_readable(fd, RAW_LIMIT_MS))
        fail_msg("no reply within %d ms", RAW_LIMIT_MS);
    got = recv(fd, to, len, 0);
    return got > 0 ? (size_t)got : 0;
}

void raw_receive_head(int fd, struct raw_reply *ret)
{
    size_t used = 0;

    /* byte by byte, so that nothing of the next reply is taken */
    while (used < 4 || memcmp(ret->head + used - 4, "\r\n\r\n", 4) != 0) {
        if (used == sizeof ret->head - 1)
            fail_msg("the reply's header has no end");
        if (receive_some(fd, ret->head + used, 1) == 0)
            fail_msg("closed after %zu bytes of a reply: %.*s", used, (int)used, ret->head);
        used++;
    }
    ret->head[used] = '\0';
    if (sscanf(ret->head, "HTTP/1.1 %d ", &ret->status) != 1)
        fail_msg("no status line: %s", ret->head);
}

bool raw_header(const struct raw_reply *reply, const char *name, char value[512])
{
    size_t len = strlen(name);

    for (const char *line = strstr(reply->head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) != 0 || line[2 + len] != ':')
            continue;
        sscanf(line + 2 + len + 1, " %511[^\r]", value);
        return true;
    }
    return false;
}

void raw_receive(int fd, bool head_only, struct raw_reply *ret)
{
    char value[512];
    size_t want = 0;

    raw_receive_head(fd, ret);
    if (!head_only && raw_header(ret, "Content-Length", value))
        want = strtoul(value, NULL, 10);
    assert_true(want < sizeof ret->body);
    for (ret->body_len = 0; ret->body_len < want;) {
        size_t got = receive_some(fd, ret->body + ret->body_len, want - ret->body_len);

        assert_true(got > 0);
        ret->body_len += got;
    }
    ret->body[ret->body_len] = '\0';
}

static bool receive_all(int fd, char *to, size_t len)
{
    for (size_t used = 0; used < len;) {
        size_t got = receive_some(fd, to + used, len - used);

        if (got == 0)
            return false;
        used += got;
    }
    return true;
}

bool raw_receive_chunk(int fd, char *to, size_t size, size_t *ret)
{
    char line[32] = "", end[2];
    size_t used = 0;

    while (used < 2 || memcmp(line + used - 2, "\r\n", 2) != 0) {
        assert_true(used < sizeof line - 1);
        if (!receive_all(fd, line + used++, 1))
            return false;
    }
    *ret = strtoul(line, NULL, 16);
    assert_true(*ret < size);
    if (!receive_all(fd, to, *ret) || !receive_all(fd, end, 2))
        return false;
    to[*ret] = '\0';
    return true;
}

bool raw_receive_chunks(int fd, struct raw_reply *ret)
{
    size_t len = 1;

    raw_receive_head(fd, ret);
    ret->body[ret->body_len = 0] = '\0';
    while (len > 0) {
        if (!raw_receive_chunk(fd, ret->body + ret->body_len, sizeof ret->body - ret->body_len,
                               &len))
            return false;
        ret->body_len += len;
    }
    return true;
}

bool raw_closed(int fd)
{
    char byte;

    return receive_some(fd, &byte, 1) == 0;
}

void raw_close(int fd)
{
    close(fd);
}

void raw_end(int fd)
{
    char byte;

    shutdown(fd, SHUT_WR);
    while (receive_some(fd, &byte, 1) > 0)
        continue;
    close(fd);
}

void raw_exchange(uint16_t port, const char *request, struct raw_reply *ret)
{
    int fd = raw_connect(port);

    assert_true(fd >= 0);
    assert_true(raw_send_text(fd, request));
    raw_receive(fd, strncmp(request, "HEAD ", 5) == 0, ret);
    raw_end(fd);
}
