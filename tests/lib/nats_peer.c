#include "tests/lib/nats_peer.h"

#include "tests/lib/unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT_MS = 10000 };

struct nats_peer {
    int fd;
    int subscriptions;
    size_t len;
    char buffer[1 << 20];
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void send_all(struct nats_peer *peer, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(peer->fd, bytes, len, MSG_NOSIGNAL);
        assert_true(n > 0);
        bytes += n;
        len -= (size_t)n;
    }
}

static void send_text(struct nats_peer *peer, const char *text)
{
    send_all(peer, text, strlen(text));
}

/* Reads more; false at the deadline. */
static bool read_more(struct nats_peer *peer, int64_t deadline)
{
    struct pollfd poll_fd = {.fd = peer->fd, .events = POLLIN};
    int64_t left = deadline - now_ms();
    if (left < 0 || poll(&poll_fd, 1, (int)left) <= 0)
        return false;
    assert_true(peer->len < sizeof peer->buffer - 1);
    ssize_t n = read(peer->fd, peer->buffer + peer->len, sizeof peer->buffer - 1 - peer->len);
    assert_true(n > 0);
    peer->len += (size_t)n;
    peer->buffer[peer->len] = '\0';
    return true;
}

static void drop(struct nats_peer *peer, size_t count)
{
    memmove(peer->buffer, peer->buffer + count, peer->len + 1 - count);
    peer->len -= count;
}

/* A whole line without its end, taken out of the buffer. */
static bool take_line(struct nats_peer *peer, int64_t deadline, char line[2048])
{
    char *end;
    while (!(end = strstr(peer->buffer, "\r\n")))
        if (!read_more(peer, deadline))
            return false;
    size_t len = (size_t)(end - peer->buffer);
    size_t kept = len < 2047 ? len : 2047;
    memcpy(line, peer->buffer, kept);
    line[kept] = '\0';
    drop(peer, len + 2);
    return true;
}

static void take_payload(struct nats_peer *peer, size_t len, size_t header, char *payload,
                         size_t size)
{
    while (peer->len < len + 2)
        assert_true(read_more(peer, now_ms() + LIMIT_MS));
    if (payload) {
        size_t kept = len - header < size - 1 ? len - header : size - 1;
        memcpy(payload, peer->buffer + header, kept);
        payload[kept] = '\0';
    }
    drop(peer, len + 2);
}

/* MSG <subject> <sid> [reply] <size>; HMSG <subject> <sid> [reply] <header size> <size> */
static void take_message(struct nats_peer *peer, char *line, char reply[128], char *payload,
                         size_t size)
{
    const char *words[6] = {"", "", "", "", "", ""};
    const char *last = "0";
    const char *before = "0";
    char *rest = NULL;
    int count = 0;
    bool headers = line[0] == 'H';
    for (const char *word = strtok_r(line, " ", &rest); word && count < 6;
         word = strtok_r(NULL, " ", &rest)) {
        words[count++] = word;
        before = last;
        last = word;
    }
    snprintf(reply, 128, "%s", count > (headers ? 5 : 4) ? words[3] : "");
    take_payload(peer, strtoul(last, NULL, 10), headers ? strtoul(before, NULL, 10) : 0, payload,
                 size);
}

bool nats_peer_next(struct nats_peer *peer, int limit_ms, char reply[128], char *payload,
                    size_t size)
{
    char line[2048];
    int64_t deadline = now_ms() + limit_ms;
    while (take_line(peer, deadline, line)) {
        if (strncmp(line, "MSG ", 4) == 0 || strncmp(line, "HMSG ", 5) == 0) {
            take_message(peer, line, reply, payload, size);
            return true;
        }
        if (strcmp(line, "PING") == 0)
            send_text(peer, "PONG\r\n");
        assert_int_not_equal(strncmp(line, "-ERR", 4), 0);
    }
    return false;
}

/* The server has dealt with all that was sent so far. Only for when no message can be on its
 * way. */
static void settle(struct nats_peer *peer)
{
    char line[2048] = "";
    send_text(peer, "PING\r\n");
    while (strcmp(line, "PONG") != 0)
        assert_true(take_line(peer, now_ms() + LIMIT_MS, line));
}

struct nats_peer *nats_peer_open(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct nats_peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(connect(peer->fd, (struct sockaddr *)&at, sizeof at), 0);
    send_text(peer, "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n");
    settle(peer);
    return peer;
}

void nats_peer_close(struct nats_peer *peer)
{
    close(peer->fd);
    free(peer);
}

void nats_peer_subscribe(struct nats_peer *peer, const char *subject)
{
    char line[256];
    snprintf(line, sizeof line, "SUB %s %d\r\n", subject, ++peer->subscriptions);
    send_text(peer, line);
    settle(peer);
}

void nats_peer_publish(struct nats_peer *peer, const char *subject, const char *payload)
{
    char line[256];
    snprintf(line, sizeof line, "PUB %s %zu\r\n", subject, strlen(payload));
    send_text(peer, line);
    send_text(peer, payload);
    send_text(peer, "\r\n");
}

void nats_peer_publish_headers(struct nats_peer *peer, const char *subject, const char *headers,
                               const char *payload)
{
    char line[256];
    snprintf(line, sizeof line, "HPUB %s %zu %zu\r\n", subject, strlen(headers),
             strlen(headers) + strlen(payload));
    send_text(peer, line);
    send_text(peer, headers);
    send_text(peer, payload);
    send_text(peer, "\r\n");
}

void nats_peer_ask(struct nats_peer *peer, const char *subject, const char *payload, char *answer,
                   size_t size)
{
    char line[512];
    char reply[128];
    snprintf(line, sizeof line, "SUB peer.%d.answer %d\r\nPUB %s peer.%d.answer %zu\r\n", peer->fd,
             ++peer->subscriptions, subject, peer->fd, strlen(payload));
    send_text(peer, line);
    send_text(peer, payload);
    snprintf(line, sizeof line, "\r\nUNSUB %d 1\r\n", peer->subscriptions);
    send_text(peer, line);
    assert_true(nats_peer_next(peer, LIMIT_MS, reply, answer, size));
}
