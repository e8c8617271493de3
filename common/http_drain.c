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

static size_t connections_open(const struct http_server *server)
{
    size_t count = 0;

    http_sockets_each(server->port, count_socket, &count);
    return count;
}

static void wait_a_moment(struct http_server *server)
{
    pthread_mutex_lock(&server->watch.lock);
    http_watch_wait(&server->watch.emptied, &server->watch.lock, RECHECK_MS);
    pthread_mutex_unlock(&server->watch.lock);
}

/* Ends the listening socket and puts `stand_in` in its place, so that civetweb polls a descriptor
 * on which nobody connects. A poll in progress is woken by the socket's end, but then looks at the
 * descriptor that it finds under the number, without waiting on it: so the stand-in must be
 * readable at first, else that poll would last for its two seconds. */
static void replace_listening(int listening, int stand_in)
{
    shutdown(listening, SHUT_RDWR);
    dup2(stand_in, listening);
}

static bool wait_until_empty(struct http_server *server, int stand_in, int64_t give_up_ms)
{
    while (connections_open(server) > 0) {
        eventfd_t count;

        if (http_now_ms() >= give_up_ms)
            return false;
        wait_a_moment(server);
        if (stand_in >= 0) /* civetweb has had its moment: from now on it sleeps */
            eventfd_read(stand_in, &count);
    }
    return true;
}

bool http_drain_connections(struct http_server *server, int64_t drain_ms)
{
    int listening = http_socket_listening(server->port);
    int stand_in = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    int64_t now = http_now_ms(), backlog_end_ms = now + BACKLOG_MS;
    bool drained;

    if (listening >= 0 && stand_in >= 0) {
        while (http_socket_backlog(listening) > 0 && http_now_ms() < backlog_end_ms)
            wait_a_moment(server);
        replace_listening(listening, stand_in);
    }
    drained =
        wait_until_empty(server, stand_in, drain_ms < INT64_MAX - now ? now + drain_ms : INT64_MAX);
    if (stand_in >= 0) {
        eventfd_write(stand_in, 1); /* civetweb's poll returns, and sees the stop flag soon */
        close(stand_in);
    }
    return drained;
}
