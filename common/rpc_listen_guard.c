/* How: at the limit a connection is closed as soon as it is accepted; when no descriptor is left,
 * a spare one makes room to accept it. So such a moment costs the connections that come in it, and
 * no others. */
#include "common/rpc_listen_guard.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/rpc_connections.h"
#include "common/rpc_farewell.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ATTEMPTS_MAX 10000 /* connections dropped or failed in one call */
#define WARNING_EVERY_MS 10000

static void warn(const char *reason)
{
    static _Atomic int64_t last = -WARNING_EVERY_MS;
    int64_t now = clock_monotonic_ms(&clock_system);
    int64_t before = last;
    if (now - before >= WARNING_EVERY_MS && atomic_compare_exchange_strong(&last, &before, now))
        log_warn("connections are refused", LOG_TEXT("reason", reason),
                 LOG_U64("open", rpc_connection_count()));
}

/* An eighth of the descriptors, at least 16 and at most 256, is left to all else. */
static rlim_t connection_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return RLIM_INFINITY;
    rlim_t rest = limit.rlim_cur / 8;
    rest = rest < 16 ? 16 : rest > 256 ? 256 : rest;
    return limit.rlim_cur > rest ? limit.rlim_cur - rest : 1;
}

static pthread_mutex_t spare_lock = PTHREAD_MUTEX_INITIALIZER;
static int spare = -1; /* under spare_lock */

void rpc_listen_guard_prepare(void)
{
    pthread_mutex_lock(&spare_lock);
    if (spare < 0)
        spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pthread_mutex_unlock(&spare_lock);
}

/* Accepts and closes one connection with the help of the spare descriptor; false: could not. */
static bool drop_one(int fd)
{
    pthread_mutex_lock(&spare_lock);
    int dropped = -1;
    if (spare >= 0) { /* else another thread was faster last time; try to get one again below */
        close(spare);
        dropped = rpc_sys_accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (dropped >= 0)
            close(dropped);
    }
    spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pthread_mutex_unlock(&spare_lock);
    return dropped >= 0;
}

/* What a failed accept4 means for the caller: true: try again; else errno is what to return. */
static bool try_again(int fd)
{
    switch (errno) {
    case EAGAIN:
    case EBADF:
    case EFAULT:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
        return false;
    case EMFILE:
    case ENFILE:
        warn("no free descriptor");
        if (drop_one(fd))
            return true;
        errno = EAGAIN;
        return false;
    case ENOBUFS:
    case ENOMEM:
        errno = EAGAIN;
        return false;
    default: /* the connection's own failure, see accept(2): the next one may do */
        return true;
    }
}

/* Enters the connection into the table, if it may stay. */
static bool admit(int fd)
{
    if (rpc_connection_count() >= connection_limit()) {
        warn("the limit of connections is reached");
        return false;
    }
    rpc_connection_adopt(fd);
    /* Asked for when it is in the table: so a farewell that begins now finds it there, or here. */
    return rpc_farewell_welcome(fd);
}

/* glibc's prototype takes a transparent union of the kinds of addresses. */
int accept4(int fd, __SOCKADDR_ARG address, socklen_t *len, int flags)
{
    socklen_t room = len ? *len : 0;
    for (int i = 0; i < ATTEMPTS_MAX; i++) {
        if (len)
            *len = room;
        int accepted = rpc_sys_accept4(fd, address.__sockaddr__, len, flags);
        if (accepted < 0 && !try_again(fd))
            return -1;
        if (accepted < 0)
            continue;
        if (admit(accepted))
            return accepted;
        close(accepted);
    }
    errno = EAGAIN;
    return -1;
}
