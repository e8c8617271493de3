#include "common/rpc_connections.h"

#include "common/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 1024u  /* connections in a chunk of the table */
#define CHUNKS 1024u /* descriptors of a million and more are not known */

static _Atomic(struct rpc_connection *) table[CHUNKS]; /* made when needed, never freed */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint open_count;

static struct {
    atomic_uint waiting;  /* threads for which closings are counted */
    pthread_mutex_t lock; /* owns `count`; taken after a connection's, never before */
    pthread_cond_t changed;
    uint64_t count;
} closing = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- the table ---- */

struct rpc_connection *rpc_connection_find(int fd)
{
    unsigned number = (unsigned)fd;
    if (fd < 0 || number >= CHUNK * CHUNKS)
        return NULL;
    struct rpc_connection *chunk =
        atomic_load_explicit(&table[number / CHUNK], memory_order_acquire);
    if (!chunk)
        return NULL;
    struct rpc_connection *c = &chunk[number % CHUNK];
    return atomic_load_explicit(&c->open, memory_order_acquire) ? c : NULL;
}

static bool add_chunk(unsigned index)
{
    pthread_mutex_lock(&table_lock);
    bool there = table[index] != NULL;
    if (!there) {
        struct rpc_connection *chunk = mem_zero(CHUNK, sizeof *chunk);
        for (unsigned i = 0; chunk && i < CHUNK; i++)
            pthread_mutex_init(&chunk[i].lock, NULL);
        there = chunk != NULL;
        atomic_store_explicit(&table[index], chunk, memory_order_release);
    }
    pthread_mutex_unlock(&table_lock);
    return there;
}

uint16_t rpc_connection_port(int fd)
{
    union {
        struct sockaddr_storage room;
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.room = {0}};
    socklen_t len = sizeof address;
    if (getsockname(fd, &address.any, &len) != 0)
        return 0;
    if (address.any.sa_family == AF_INET)
        return ntohs(address.v4.sin_port);
    return address.any.sa_family == AF_INET6 ? ntohs(address.v6.sin6_port) : 0;
}

int64_t rpc_connection_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void rpc_connection_adopt(int fd)
{
    unsigned number = (unsigned)fd;
    if (fd < 0 || number >= CHUNK * CHUNKS)
        return;
    if (!table[number / CHUNK] && !add_chunk(number / CHUNK))
        return; /* written to directly, as any other descriptor */
    struct rpc_connection *c = &table[number / CHUNK][number % CHUNK];
    pthread_mutex_lock(&c->lock);
    if (!c->open)
        atomic_fetch_add(&open_count, 1);
    c->port = rpc_connection_port(fd);
    c->written = c->whole = c->stuck = false;
    c->insert = NULL;
    c->error = 0;
    c->turn = 0;
    c->open = true;
    pthread_mutex_unlock(&c->lock);
}

void rpc_connection_forget(struct rpc_connection *c)
{
    c->open = false;
    atomic_fetch_sub(&open_count, 1);
    if (closing.waiting) {
        pthread_mutex_lock(&closing.lock);
        closing.count++;
        pthread_cond_broadcast(&closing.changed);
        pthread_mutex_unlock(&closing.lock);
    }
}

unsigned rpc_connection_count(void)
{
    return open_count;
}

void rpc_connection_each(void (*visit)(struct rpc_connection *c, int fd, void *ctx), void *ctx)
{
    for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
        for (unsigned i = 0; table[chunk] && i < CHUNK; i++) {
            int fd = (int)(chunk * CHUNK + i);
            struct rpc_connection *c = rpc_connection_find(fd);
            if (!c)
                continue;
            pthread_mutex_lock(&c->lock);
            if (c->open)
                visit(c, fd, ctx);
            pthread_mutex_unlock(&c->lock);
        }
    }
}

/* ---- waiting ---- */

struct of_port {
    uint16_t port;
    unsigned count;
};

static void count_one(struct rpc_connection *c, int fd, void *ctx)
{
    struct of_port *of = ctx;
    (void)fd;
    of->count += c->port == of->port;
}

static unsigned count_of(uint16_t port)
{
    struct of_port of = {.port = port};
    rpc_connection_each(count_one, &of);
    return of.count;
}

static struct timespec limit_of(int64_t timeout_ms)
{
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += timeout_ms / 1000;
    limit.tv_nsec += timeout_ms % 1000 * 1000000;
    if (limit.tv_nsec >= 1000000000) {
        limit.tv_sec++;
        limit.tv_nsec -= 1000000000;
    }
    return limit;
}

static uint64_t closings(void)
{
    pthread_mutex_lock(&closing.lock);
    uint64_t count = closing.count;
    pthread_mutex_unlock(&closing.lock);
    return count;
}

/* Waits for a closing after the `seen` ones; false: none in time. */
static bool wait_closing(uint64_t seen, const struct timespec *limit)
{
    int error = 0;
    pthread_mutex_lock(&closing.lock);
    while (closing.count == seen && !error)
        error = pthread_cond_timedwait(&closing.changed, &closing.lock, limit);
    pthread_mutex_unlock(&closing.lock);
    return !error;
}

bool rpc_connection_wait_none(uint16_t port, int64_t timeout_ms)
{
    struct timespec limit = limit_of(timeout_ms);
    bool in_time = true;
    unsigned left = 1;
    closing.waiting++;
    while (left && in_time) {
        uint64_t seen = closings();
        left = count_of(port);
        if (left)
            in_time = wait_closing(seen, &limit);
    }
    closing.waiting--;
    return left == 0;
}

/* ---- system calls ---- */

ssize_t rpc_sys_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t rpc_sys_send(int fd, const void *bytes, size_t size)
{
    return syscall(SYS_sendto, fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
}

int rpc_sys_shutdown(int fd, int how)
{
    return (int)syscall(SYS_shutdown, fd, how);
}

int rpc_sys_close(int fd)
{
    return (int)syscall(SYS_close, fd);
}

int rpc_sys_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    return (int)syscall(SYS_accept4, fd, address, len, flags);
}

int rpc_sys_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}
