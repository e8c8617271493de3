/* POSTs at a constant rate, however fast the answers come.
 *
 *     build/bench/open_loop PORT CONNECTIONS RATE SECONDS BYTES
 *
 * Each request is due at a time that was fixed before. The connection that has been idle for
 * longest takes it; when none is idle, it waits. Its latency counts from when it was due, so a
 * server that stops is charged with all that would have been sent meanwhile (no coordinated
 * omission). Events are those of post.lua, with a payload of BYTES. Prints JSON; fails unless each
 * answer is a 202.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, REQUEST_MAX = 8192, ANSWER_MAX = 4096, PATIENCE_S = 30 };

static const char HEAD[] = "POST /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                           "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n";
static const char EVENT[] = "{\"name\":\"bench.event\",\"payload\":\"%.*s\"}";

struct connection {
    int fd;
    int64_t due_ns; /* of the request that it waits for */
    size_t have;
    char answer[ANSWER_MAX + 1];
};

static struct connection connections[CONNECTIONS_MAX];
static struct {
    struct connection *queue[CONNECTIONS_MAX]; /* a ring, idle for longest first */
    size_t first, count;
} idle;
static char request[REQUEST_MAX];
static size_t request_len;
static uint32_t *times_us;
static size_t answers;

static _Noreturn void fail(const char *what)
{
    char why[128];
    fprintf(stderr, "open_loop: %s (%s)\n", what, strerror_r(errno, why, sizeof why));
    _Exit(1);
}

static void need(bool good, const char *what)
{
    if (!good)
        fail(what);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void make_request(int bytes)
{
    char text[REQUEST_MAX], body[REQUEST_MAX];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('0' + i % 7);
    int len = snprintf(body, sizeof body, EVENT, bytes - 2, text); /* without its quotes */
    int head = snprintf(request, sizeof request, HEAD, (size_t)len);
    need(len > 0 && head > 0 && (size_t)(head + len) < sizeof request, "too many bytes");
    memcpy(request + head, body, (size_t)len);
    request_len = (size_t)(head + len);
}

static void push_idle(struct connection *connection)
{
    idle.queue[(idle.first + idle.count++) % CONNECTIONS_MAX] = connection;
}

static struct connection *pop_idle(void)
{
    struct connection *connection = idle.queue[idle.first];
    idle.first = (idle.first + 1) % CONNECTIONS_MAX;
    idle.count--;
    return connection;
}

static void open_connection(struct connection *connection, int epoll, in_port_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event wish = {.events = EPOLLIN, .data.ptr = connection};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    need(connection->fd >= 0 &&
             !setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) &&
             !connect(connection->fd, (struct sockaddr *)&address, sizeof address) &&
             !epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &wish),
         "no connection");
    push_idle(connection);
}

static void post(struct connection *connection, int64_t due_ns)
{
    connection->due_ns = due_ns;
    connection->have = 0;
    need(send(connection->fd, request, request_len, MSG_NOSIGNAL) == (ssize_t)request_len,
         "a request was not taken");
}

/* Whether the whole answer is there. */
static bool is_answered(const struct connection *connection)
{
    static const char LENGTH[] = "\r\ncontent-length:";
    const char *body = strstr(connection->answer, "\r\n\r\n");
    if (!body)
        return false;
    const char *length = strcasestr(connection->answer, LENGTH);
    if (!length || length > body)
        fail("an answer has no length");
    size_t head = (size_t)(body + 4 - connection->answer);
    return connection->have == head + strtoul(length + sizeof LENGTH - 1, NULL, 10);
}

static void receive(struct connection *connection)
{
    char *end = connection->answer + connection->have;
    ssize_t got = recv(connection->fd, end, ANSWER_MAX - connection->have, 0);
    need(got > 0, "a connection ended, or an answer is too long");
    connection->have += (size_t)got;
    connection->answer[connection->have] = '\0';
    if (!is_answered(connection))
        return;
    need(!strncmp(connection->answer, "HTTP/1.1 202 ", 13), "an answer is no 202");
    times_us[answers++] = (uint32_t)((now_ns() - connection->due_ns) / 1000);
    push_idle(connection);
}

/* Waits for answers, or until the next request is due where a connection could take it. */
static void await(int epoll, int64_t due_ns)
{
    struct epoll_event events[CONNECTIONS_MAX];
    int64_t left = idle.count > 0 ? due_ns - now_ns() : PATIENCE_S * INT64_C(1000000000);
    left = left < 0 ? 0 : left;
    struct timespec limit = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    int count = epoll_pwait2(epoll, events, CONNECTIONS_MAX, &limit, NULL);
    need(count > 0 || (count == 0 && idle.count > 0), "no answer");
    for (int i = 0; i < count; i++)
        receive(events[i].data.ptr);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void run(int epoll, size_t total, double rate)
{
    size_t sent = 0;
    int64_t begin = now_ns();
    while (answers < total) {
        int64_t due_ns = begin + (int64_t)((double)sent * 1e9 / rate);
        if (sent < total && idle.count > 0 && due_ns <= now_ns()) {
            post(pop_idle(), due_ns);
            sent++;
        } else {
            await(epoll, sent < total ? due_ns : INT64_MAX);
        }
    }
    double took_s = (double)(now_ns() - begin) / 1e9;
    qsort(times_us, total, sizeof *times_us, by_size);
    printf("{\"events\": %zu, \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u}\n", total, took_s,
           times_us[total / 2], times_us[total * 99 / 100]);
}

/* 0: it is not a number from `least` to `most`. */
static long number(const char *text, long least, long most)
{
    char *end;
    long value = strtol(text, &end, 10);
    return *end == '\0' && value >= least && value <= most ? value : 0;
}

int main(int argc, char **argv)
{
    long port = argc == 6 ? number(argv[1], 1, 65535) : 0;
    long count = port ? number(argv[2], 1, CONNECTIONS_MAX) : 0;
    long rate = count ? number(argv[3], 1, 1000000) : 0;
    long seconds = rate ? number(argv[4], 1, 3600) : 0;
    long bytes = seconds ? number(argv[5], 2, REQUEST_MAX) : 0;
    if (bytes == 0) {
        fprintf(stderr, "usage: open_loop PORT CONNECTIONS RATE SECONDS BYTES\n");
        return 2;
    }
    size_t total = (size_t)(rate * seconds);
    int epoll = epoll_create1(0);
    make_request((int)bytes);
    times_us = calloc(total, sizeof *times_us);
    need(times_us && epoll >= 0 && !prctl(PR_SET_TIMERSLACK, 1), "it cannot begin");
    for (long i = 0; i < count; i++)
        open_connection(&connections[i], epoll, (in_port_t)port);
    run(epoll, total, (double)rate);
    free(times_us);
    return 0;
}
