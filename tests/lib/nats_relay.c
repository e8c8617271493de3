#include "tests/lib/nats_relay.h"

#include "tests/lib/nats_peer.h"
#include "tests/lib/unit.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS_MAX = 16, CHUNK = 1 << 16 };

/* Connections: fds[2 * i] to the client, fds[2 * i + 1] to the server; -1: none. */
struct nats_relay {
    pthread_t thread;
    int listener;
    int wake; /* an eventfd: `cut` or `stop` has been set */
    int server_port;
    char url[64];
    struct nats_peer *sink; /* hears what is silenced, so that nobody refuses it either */
    _Atomic(const char *) silenced;
    atomic_bool stop;
    atomic_int taken;
    int fds[2 * PAIRS_MAX];

    pthread_mutex_t lock;
    pthread_cond_t done;
    bool cut;
};

static struct sockaddr_in address(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void drop(struct nats_relay *relay, int at)
{
    for (int i = at & ~1; i <= (at | 1); i++) {
        if (relay->fds[i] >= 0)
            close(relay->fds[i]);
        relay->fds[i] = -1;
    }
}

static void take_client(struct nats_relay *relay)
{
    struct sockaddr_in at = address(relay->server_port);
    int client = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int pair = 0;
    int on = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (pair < PAIRS_MAX && relay->fds[2 * pair] >= 0)
        pair++;
    if (pair < PAIRS_MAX && connect(server, (struct sockaddr *)&at, sizeof at) == 0) {
        relay->fds[2 * pair] = client;
        relay->fds[2 * pair + 1] = server;
        atomic_fetch_add(&relay->taken, 1);
    } else {
        close(client);
        close(server);
    }
}

/* $JS.API.x becomes $JS.APX.x. A request is written in one piece, so none is cut in two here. */
static void silence(const char *subject, char *bytes, size_t len)
{
    size_t size = strlen(subject);
    for (char *at = bytes; (at = memmem(at, len - (size_t)(at - bytes), subject, size)); at += size)
        at[6] = 'X';
}

static void pass_on(struct nats_relay *relay, int from)
{
    char bytes[CHUNK];
    const char *silenced = atomic_load(&relay->silenced);
    ssize_t n = read(relay->fds[from], bytes, sizeof bytes);
    if (n > 0 && from % 2 == 0 && silenced)
        silence(silenced, bytes, (size_t)n);
    for (ssize_t done = 0, m = 1; n > 0 && done < n && m > 0; done += m)
        m = send(relay->fds[from ^ 1], bytes + done, (size_t)(n - done), MSG_NOSIGNAL);
    if (n <= 0)
        drop(relay, from);
}

static void obey(struct nats_relay *relay)
{
    uint64_t count;
    if (read(relay->wake, &count, sizeof count) < 0)
        return;
    pthread_mutex_lock(&relay->lock);
    for (int i = 0; relay->cut && i < 2 * PAIRS_MAX; i += 2)
        drop(relay, i);
    relay->cut = false;
    pthread_cond_broadcast(&relay->done);
    pthread_mutex_unlock(&relay->lock);
}

static void *relay_main(void *arg)
{
    struct nats_relay *relay = arg;
    while (!atomic_load(&relay->stop)) {
        struct pollfd polled[2 * PAIRS_MAX + 2];
        for (int i = 0; i < 2 * PAIRS_MAX; i++)
            polled[i] = (struct pollfd){.fd = relay->fds[i], .events = POLLIN};
        polled[2 * PAIRS_MAX] = (struct pollfd){.fd = relay->listener, .events = POLLIN};
        polled[2 * PAIRS_MAX + 1] = (struct pollfd){.fd = relay->wake, .events = POLLIN};
        if (poll(polled, 2 * PAIRS_MAX + 2, -1) < 0)
            continue;
        for (int i = 0; i < 2 * PAIRS_MAX; i++)
            if (polled[i].revents && relay->fds[i] >= 0)
                pass_on(relay, i);
        if (polled[2 * PAIRS_MAX].revents)
            take_client(relay);
        if (polled[2 * PAIRS_MAX + 1].revents)
            obey(relay);
    }
    return NULL;
}

static void wake(struct nats_relay *relay)
{
    uint64_t one = 1;
    assert_int_equal(write(relay->wake, &one, sizeof one), sizeof one);
}

struct nats_relay *nats_relay_open(int port)
{
    struct sockaddr_in at = address(0);
    socklen_t size = sizeof at;
    struct nats_relay *relay = calloc(1, sizeof *relay);
    assert_non_null(relay);
    relay->server_port = port;
    for (int i = 0; i < 2 * PAIRS_MAX; i++)
        relay->fds[i] = -1;
    relay->wake = eventfd(0, EFD_CLOEXEC);
    relay->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(relay->listener, (struct sockaddr *)&at, size), 0);
    assert_return_code(listen(relay->listener, 16), 0);
    assert_return_code(getsockname(relay->listener, (struct sockaddr *)&at, &size), 0);
    snprintf(relay->url, sizeof relay->url, "nats://127.0.0.1:%d", ntohs(at.sin_port));
    relay->sink = nats_peer_open(port);
    nats_peer_subscribe(relay->sink, "$JS.APX.>");
    pthread_mutex_init(&relay->lock, NULL);
    pthread_cond_init(&relay->done, NULL);
    assert_int_equal(pthread_create(&relay->thread, NULL, relay_main, relay), 0);
    return relay;
}

void nats_relay_close(struct nats_relay *relay)
{
    atomic_store(&relay->stop, true);
    wake(relay);
    pthread_join(relay->thread, NULL);
    for (int i = 0; i < 2 * PAIRS_MAX; i += 2)
        drop(relay, i);
    close(relay->listener);
    close(relay->wake);
    nats_peer_close(relay->sink);
    pthread_cond_destroy(&relay->done);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
}

const char *nats_relay_url(const struct nats_relay *relay)
{
    return relay->url;
}

void nats_relay_cut(struct nats_relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    relay->cut = true;
    wake(relay);
    while (relay->cut)
        pthread_cond_wait(&relay->done, &relay->lock);
    pthread_mutex_unlock(&relay->lock);
}

int nats_relay_taken(const struct nats_relay *relay)
{
    return atomic_load(&relay->taken);
}

void nats_relay_silence(struct nats_relay *relay, const char *subject)
{
    atomic_store(&relay->silenced, subject);
}
