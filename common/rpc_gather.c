#include "common/rpc_gather.h"

#include "common/mem.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOCK_SIZE (64u * 1024) /* what may wait for one connection */
#define SMALL (16u * 1024)      /* larger writes aren't worth copying */
#define TURN_MAX 128            /* connections gathered for in one turn; others are not */
#define PIECES_MAX 200          /* core hands over long lists in parts of 260, which end anywhere */
#define SPARE_BLOCKS 32         /* kept for reuse */

struct rpc_block {
    struct rpc_block *next; /* among the spare ones */
    uint32_t start, end;
    char bytes[BLOCK_SIZE];
};

static struct {
    pthread_mutex_t lock; /* owns: */
    struct rpc_block *list;
    uint32_t count;
} spare = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct {
    pthread_mutex_t lock; /* owns: */
    uint32_t users;
    pthread_t thread;
    int wake;
    atomic_int epoll; /* -1: not running */
} flusher = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = -1, .epoll = -1};

/* The calling thread's turn. */
static _Thread_local struct {
    uint64_t id; /* 0: none */
    uint32_t count;
    int descriptors[TURN_MAX];
} turn;

/* ---- blocks ---- */

static struct rpc_block *block_take(void)
{
    pthread_mutex_lock(&spare.lock);
    struct rpc_block *block = spare.list;
    if (block) {
        spare.list = block->next;
        spare.count--;
    }
    pthread_mutex_unlock(&spare.lock);
    if (!block)
        block = mem_alloc(sizeof *block);
    if (block)
        block->start = block->end = 0;
    return block;
}

static void block_give(struct rpc_block *block)
{
    pthread_mutex_lock(&spare.lock);
    bool keep = spare.count < SPARE_BLOCKS;
    if (keep) {
        block->next = spare.list;
        spare.list = block;
        spare.count++;
    }
    pthread_mutex_unlock(&spare.lock);
    if (!keep)
        mem_free(block);
}

static void blocks_free(void)
{
    pthread_mutex_lock(&spare.lock);
    while (spare.list) {
        struct rpc_block *block = spare.list;
        spare.list = block->next;
        mem_free(block);
    }
    spare.count = 0;
    pthread_mutex_unlock(&spare.lock);
}

/* ---- writing; all under the connection's lock ---- */

static void discard(struct rpc_connection *c)
{
    if (c->block)
        block_give(c->block);
    c->block = NULL;
}

/* Writes what waits. False: the socket is full and something still waits. */
static bool flush(struct rpc_connection *c, int fd)
{
    struct rpc_block *block = c->block;
    while (block && block->start < block->end) {
        ssize_t sent = rpc_sys_send(fd, block->bytes + block->start, block->end - block->start);
        if (sent >= 0)
            block->start += (uint32_t)sent;
        else if (errno == EAGAIN || errno == ENOBUFS)
            return false;
        else if (errno != EINTR) {
            c->error = errno; /* core learns it from its next write, and from reading */
            break;
        }
    }
    discard(c);
    return true;
}

/* Nobody would write what waits: ends the connection, so that both sides know. */
static void lose(struct rpc_connection *c, int fd, int error)
{
    c->stuck = false;
    c->error = error;
    discard(c);
    rpc_sys_shutdown(fd, SHUT_RDWR);
}

/* The socket is full: the flusher shall write the rest. */
static void wait_writable(struct rpc_connection *c, int fd)
{
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT, .data.fd = fd};
    int operation = c->stuck ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    c->stuck = true;
    if (rpc_sys_epoll_ctl(flusher.epoll, operation, fd, &event) == 0)
        return;
    lose(c, fd, errno);
}

static void no_longer_stuck(struct rpc_connection *c, int fd)
{
    if (c->stuck)
        rpc_sys_epoll_ctl(flusher.epoll, EPOLL_CTL_DEL, fd, NULL);
    c->stuck = false;
}

/* Puts the connection on the turn's list; false: there is no room. */
static bool join_turn(struct rpc_connection *c, int fd)
{
    if (c->turn == turn.id)
        return true;
    if (turn.count == TURN_MAX)
        return false;
    turn.descriptors[turn.count++] = fd;
    c->turn = turn.id;
    return true;
}

static size_t size_of(const struct msghdr *message)
{
    size_t size = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        size += message->msg_iov[i].iov_len;
    return size;
}

/* Only what core does by default: no address, no control data (timestamps), no zero copy. */
static bool is_plain(const struct msghdr *message, int flags)
{
    return !message->msg_name && message->msg_controllen == 0 &&
           (flags & ~(MSG_NOSIGNAL | MSG_DONTWAIT)) == 0;
}

static bool gather(struct rpc_connection *c, int fd, const struct msghdr *message, size_t size)
{
    if (size > SMALL || (c->block && c->block->end + size > BLOCK_SIZE) || !join_turn(c, fd))
        return false;
    if (!c->block)
        c->block = block_take();
    if (!c->block)
        return false;
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        const struct iovec *piece = &message->msg_iov[i];
        if (piece->iov_len)
            memcpy(c->block->bytes + c->block->end, piece->iov_base, piece->iov_len);
        c->block->end += (uint32_t)piece->iov_len;
    }
    return true;
}

static ssize_t write_or_gather(struct rpc_connection *c, int fd, const struct msghdr *message,
                               int flags)
{
    c->written = true;
    if (turn.id && !c->error && !c->stuck && is_plain(message, flags)) {
        size_t size = size_of(message);
        if (gather(c, fd, message, size))
            return (ssize_t)size;
    }
    if (c->block && !flush(c, fd)) {
        if (!c->stuck)
            wait_writable(c, fd);
        errno = c->error ? c->error : EAGAIN;
        return -1;
    }
    no_longer_stuck(c, fd);
    if (c->error) {
        errno = c->error;
        return -1;
    }
    return rpc_sys_sendmsg(fd, message, flags);
}

/* ---- frames of our own ---- */

/* Sends the frame that is to be inserted, where core's last one has ended. */
static void insert_frame(struct rpc_connection *c, int fd)
{
    const struct rpc_frame *frame = c->insert;
    if (!frame || !c->whole || c->error || c->stuck || rpc_connection_now_ms() < c->insert_ms)
        return; /* later, or never */
    if (c->block && c->block->end + sizeof frame->bytes > BLOCK_SIZE)
        return;
    c->insert = NULL;
    if (c->block) {
        memcpy(c->block->bytes + c->block->end, frame->bytes, sizeof frame->bytes);
        c->block->end += (uint32_t)sizeof frame->bytes;
        return;
    }
    ssize_t sent = rpc_sys_send(fd, frame->bytes, sizeof frame->bytes);
    if (sent < 0)
        c->insert = frame; /* full: after core's next write; broken: core will find out */
    else if ((size_t)sent < sizeof frame->bytes)
        lose(c, fd, EIO);
}

void rpc_gather_insert(struct rpc_connection *c, int fd, const struct rpc_frame *frame,
                       int64_t not_before_ms)
{
    c->insert = frame;
    c->insert_ms = not_before_ms;
    insert_frame(c, fd);
}

/* ---- what core calls ---- */

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct rpc_connection *c = rpc_connection_find(fd);
    if (!c)
        return rpc_sys_sendmsg(fd, message, flags);
    pthread_mutex_lock(&c->lock);
    ssize_t sent = write_or_gather(c, fd, message, flags);
    int error = errno;
    if (sent >= 0) {
        c->whole = (size_t)sent == size_of(message) && message->msg_iovlen < PIECES_MAX;
        insert_frame(c, fd);
    }
    pthread_mutex_unlock(&c->lock);
    errno = error;
    return sent;
}

int shutdown(int fd, int how)
{
    struct rpc_connection *c = rpc_connection_find(fd);
    if (c && how != SHUT_RD) {
        pthread_mutex_lock(&c->lock);
        if (c->block)
            flush(c, fd);
        pthread_mutex_unlock(&c->lock);
    }
    return rpc_sys_shutdown(fd, how);
}

int close(int fd)
{
    struct rpc_connection *c = rpc_connection_find(fd);
    if (c) {
        pthread_mutex_lock(&c->lock);
        if (c->block)
            flush(c, fd);
        discard(c); /* as the kernel does with what a reset connection could not take */
        no_longer_stuck(c, fd);
        rpc_connection_forget(c);
        pthread_mutex_unlock(&c->lock);
    }
    return rpc_sys_close(fd);
}

/* ---- turns ---- */

void rpc_gather_begin(void)
{
    static _Atomic uint64_t last;
    turn.id = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    turn.count = 0;
}

static void flush_descriptor(int fd)
{
    struct rpc_connection *c = rpc_connection_find(fd);
    if (!c)
        return; /* closed meanwhile */
    pthread_mutex_lock(&c->lock);
    if (c->block && !c->stuck && !flush(c, fd))
        wait_writable(c, fd);
    pthread_mutex_unlock(&c->lock);
}

void rpc_gather_end(void)
{
    turn.id = 0;
    for (uint32_t i = 0; i < turn.count; i++)
        flush_descriptor(turn.descriptors[i]);
    turn.count = 0;
}

/* ---- the flusher ---- */

static void write_rest(int fd)
{
    struct rpc_connection *c = rpc_connection_find(fd);
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    if (c->stuck && flush(c, fd)) {
        no_longer_stuck(c, fd);
        insert_frame(c, fd);
    } else if (c->stuck) {
        wait_writable(c, fd);
    }
    pthread_mutex_unlock(&c->lock);
}

static void *flusher_main(void *arg)
{
    (void)arg;
    struct epoll_event events[32];
    pthread_setname_np(pthread_self(), "rpc-flusher");
    for (;;) {
        int count = epoll_wait(flusher.epoll, events, sizeof events / sizeof events[0], -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == flusher.wake)
                return NULL;
            write_rest(events[i].data.fd);
        }
    }
}

/* Nobody will write what still waits: those connections are lost. */
static void abandon(struct rpc_connection *c, int fd, void *ctx)
{
    (void)ctx;
    if (c->stuck)
        lose(c, fd, EIO);
}

static void flusher_close(void)
{
    int epoll = atomic_exchange(&flusher.epoll, -1);
    if (epoll >= 0)
        close(epoll);
    if (flusher.wake >= 0)
        close(flusher.wake);
    flusher.wake = -1;
}

static bool flusher_open(void)
{
    flusher.wake = eventfd(0, EFD_CLOEXEC);
    flusher.epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = flusher.wake};
    bool open = flusher.wake >= 0 && flusher.epoll >= 0 &&
                epoll_ctl(flusher.epoll, EPOLL_CTL_ADD, flusher.wake, &event) == 0 &&
                pthread_create(&flusher.thread, NULL, flusher_main, NULL) == 0;
    if (!open)
        flusher_close();
    return open;
}

bool rpc_gather_start(void)
{
    pthread_mutex_lock(&flusher.lock);
    bool running = flusher.users > 0 || flusher_open();
    if (running)
        flusher.users++;
    pthread_mutex_unlock(&flusher.lock);
    return running;
}

void rpc_gather_stop(void)
{
    pthread_mutex_lock(&flusher.lock);
    if (--flusher.users == 0) {
        eventfd_write(flusher.wake, 1);
        pthread_join(flusher.thread, NULL);
        rpc_connection_each(abandon, NULL);
        flusher_close();
        blocks_free();
    }
    pthread_mutex_unlock(&flusher.lock);
}

bool rpc_gather_wait(int peer, int fd)
{
    struct pollfd readable = {.fd = peer, .events = POLLIN};
    struct rpc_connection *c = rpc_connection_find(fd);
    if (!c || poll(&readable, 1, 1000) != 1)
        return false;
    pthread_mutex_lock(&c->lock);
    bool ours = c->written;
    pthread_mutex_unlock(&c->lock);
    return ours;
}
