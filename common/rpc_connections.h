/* What we know of core's connections: a table by descriptor number. rpc_listen_guard enters those
 * that core accepts, rpc_gather writes to them, rpc_farewell takes leave of them. Private to
 * these.
 *
 * Thread-safe. A connection's number may be closed and opened again at any time, so what is found
 * is true only under the connection's lock.
 */
#ifndef TIDINGS_RPC_CONNECTIONS_H
#define TIDINGS_RPC_CONNECTIONS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct rpc_block; /* bytes that wait; rpc_gather's */

#define RPC_FRAME_SIZE 17
struct rpc_frame { /* an HTTP/2 frame of ours */
    unsigned char bytes[RPC_FRAME_SIZE];
};

struct rpc_connection {
    pthread_mutex_t lock; /* owns all below; held while writing, which never waits */
    atomic_bool open;     /* accept4 returned it, and it isn't closed; read without the lock */
    uint16_t port;        /* ours; 0: none (a socket pair) */
    bool written;         /* sendmsg was called for it */
    bool whole;           /* the last write ended where a frame ends */
    bool stuck;           /* the socket is full: the flusher waits for it */
    int error;            /* a write of gathered bytes failed: what sendmsg must say from now on */
    uint64_t turn;        /* the last turn that gathered for it */
    struct rpc_block *block;        /* NULL: none */
    const struct rpc_frame *insert; /* to be sent between two of core's frames; NULL: none */
    int64_t insert_ms;              /* not before, by rpc_connection_now_ms */
};

/* NULL: not a connection of the kind we know. */
struct rpc_connection *rpc_connection_find(int fd);
void rpc_connection_adopt(int fd);
void rpc_connection_forget(struct rpc_connection *c); /* it is being closed; under its lock */
unsigned rpc_connection_count(void);
uint16_t rpc_connection_port(int fd); /* asks the kernel */
/* A monotonic clock that costs little, a few milliseconds behind. */
int64_t rpc_connection_now_ms(void);
/* Visits each open connection, under its lock. */
void rpc_connection_each(void (*visit)(struct rpc_connection *c, int fd, void *ctx), void *ctx);
/* Waits until no connection of that port is open. False: not in time. */
bool rpc_connection_wait_none(uint16_t port, int64_t timeout_ms);

/* System calls, made directly: libc's functions are the ones that rpc_gather and rpc_listen_guard
 * define, or, in sanitizer builds, ones that follow descriptors, which core opens and closes out of
 * their sight. */
ssize_t rpc_sys_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t rpc_sys_send(int fd, const void *bytes, size_t size); /* never waits, never signals */
int rpc_sys_shutdown(int fd, int how);
int rpc_sys_close(int fd);
int rpc_sys_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int rpc_sys_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);

#endif
