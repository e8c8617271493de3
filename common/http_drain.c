/* An orderly end. mg_stop alone would break the replies in progress: once its stop flag is set,
 * civetweb sends nothing more. So the listening socket is taken away first, in a way that civetweb
 * does not notice, then the connections come to their end, and only then is civetweb stopped.
 */
#include "common/http_internal.h"
#include "common/http_socket.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECHECK_MS 20
#define BACKLOG_MS 2000 /* to accept those who have connected before the end */

static bool count_socket(int fd, uint64_t peer, void *ctx)
{
    size_t *count = ctx;

    (void)fd;
    (void)peer;
    ++*count;
    return true;
}

/* Those that civetweb has accepted and no thread has taken yet too, if they can be looked at. */
static size_t connections_open(struct http_server *server)
{
    size_t count = 0;
    bool seen;

    pthread_mutex_lock(&server->watch.lock);
    seen = http_sockets_each(server->watch.descriptors, server->port, count_socket, &count);
    pthread_mutex_unlock(&server->watch.lock);
    return seen ? count : atomic_load(&server->in_use);
}

static int find_listening(struct http_server *server)
{
    int listening;

    pthread_mutex_lock(&server->watch.lock);
    listening = http_socket_listening(server->watch.descriptors, server->port);
    pthread_mutex_unlock(&server->watch.lock);
    return listening;
}

static void wait_a_moment(struct http_server *server)
{
    pthread_mutex_lock(&server->watch.lock);
    http_watch_wait(&server->watch.emptied, &server->watch.lock, RECHECK_MS);
    pthread_mutex_unlock(&server->watch.lock);
}

/* Ends the listening socket and puts the stand-in in its place, so that civetweb polls a descriptor
 * on which nobody connects. A poll in progress is woken by the socket's end, but then looks at the
 * descriptor that it finds under the number, without waiting on it: so the stand-in must be
 * readable at first, else that poll would last for its two seconds. */
static void replace_listening(int listening, int stand_in)
{
    shutdown(listening, SHUT_RDWR);
    dup2(stand_in, listening);
}

static bool wait_until_empty(struct http_server *server, int64_t give_up_ms)
{
    while (connections_open(server) > 0) {
        eventfd_t count;

        if (http_now_ms() >= give_up_ms)
            return false;
        wait_a_moment(server);
        eventfd_read(server->stand_in, &count); /* civetweb has had its moment: now it sleeps */
    }
    return true;
}

bool http_drain_connections(struct http_server *server, int64_t drain_ms)
{
    int listening = find_listening(server);
    int64_t now = http_now_ms(), backlog_end_ms = now + BACKLOG_MS;
    bool drained;

    if (listening >= 0) {
        while (http_socket_backlog(listening) > 0 && http_now_ms() < backlog_end_ms)
            wait_a_moment(server);
        replace_listening(listening, server->stand_in);
    }
    drained = wait_until_empty(server, drain_ms < INT64_MAX - now ? now + drain_ms : INT64_MAX);
    eventfd_write(server->stand_in, 1); /* civetweb's poll returns, and sees the stop flag soon */
    return drained;
}
