/* A link's I/O: the event loop that nats.c asks for, one thread of ours a connection.
 *
 * nats.c only parses and buffers. It tells us its socket (attach) and that something is buffered
 * (write); we call it when the socket can be read or written. So we decide when to write, and
 * nothing but the holder of link.io ever reads, writes or closes the socket.
 */
#include "common/bus_nats.h"

#include "common/log.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IO_TICK_MS = 50,
    WAKE_UP = 0, /* epoll's mark of the eventfd; a socket's is its session's number */
};

_Thread_local bool nats_link_quiet;

static void wake(struct nats_link *link)
{
    uint64_t one = 1;
    ssize_t n = write(link->event_fd, &one, sizeof one);
    (void)n; /* EAGAIN: it is awake already */
}

/* ---- what nats.c asks of an event loop ---- */

static natsStatus on_attach(void **user, void *loop, natsConnection *nc, natsSock fd)
{
    struct nats_session *session = loop;
    (void)nc;
    session->fd = (int)fd;
    *user = session;
    return NATS_OK;
}

static natsStatus on_read_wanted(void *user, bool add)
{
    struct nats_session *session = user;
    if (!add)
        epoll_ctl(session->link->epoll_fd, EPOLL_CTL_DEL, session->fd, NULL);
    return NATS_OK;
}

/* nats.c holds its lock: writing from here would deadlock. */
static natsStatus on_write_wanted(void *user, bool add)
{
    struct nats_session *session = user;
    if (add && !nats_link_quiet) {
        atomic_store(&session->link->write_wanted, true);
        wake(session->link);
    }
    return NATS_OK;
}

static natsStatus on_detach(void *user)
{
#if NATS_VERSION_NUMBER >= 0x030A00 /* since then the event loop closes the socket */
    struct nats_session *session = user;
    close(session->fd);
#endif
    (void)user;
    return NATS_OK;
}

natsStatus nats_io_set_loop(natsOptions *options, struct nats_session *session)
{
    return natsOptions_SetEventLoop(options, session, on_attach, on_read_wanted, on_write_wanted,
                                    on_detach);
}

/* ---- writing ---- */

/* Wants link.io held. natsConnection_ProcessWriteEvent with nothing to write would close the
 * connection. */
static void write_buffered(struct nats_session *session)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u64 = session->number};
    if (natsConnection_Buffered(session->nc) <= 0)
        return;
    natsConnection_ProcessWriteEvent(session->nc);
    if (natsConnection_Buffered(session->nc) > 0) /* the socket is full */
        epoll_ctl(session->link->epoll_fd, EPOLL_CTL_MOD, session->fd, &event);
}

/* Whoever finds the I/O lock taken leaves the writing to its holder, who looks again after
 * letting go. */
static void write_if_wanted(struct nats_link *link, struct nats_session *session)
{
    while (atomic_load(&link->write_wanted) && pthread_mutex_trylock(&link->io) == 0) {
        atomic_store(&link->write_wanted, false);
        write_buffered(session);
        pthread_mutex_unlock(&link->io);
        atomic_thread_fence(memory_order_seq_cst);
    }
}

void nats_link_write(struct nats_link *link)
{
    struct nats_session *session = nats_link_hold(link);
    if (!session)
        return;
    atomic_store(&link->write_wanted, true);
    write_if_wanted(link, session);
    nats_session_release(session);
}

void nats_link_write_soon(struct nats_link *link)
{
    if (!atomic_exchange(&link->write_soon, true))
        wake(link);
}

/* What was asked to be written soon is written after a millisecond in which more of it gathers.
 * Returns how long to sleep. */
static int gather(struct nats_link *link, int64_t *since_ms)
{
    if (!atomic_load(&link->write_soon))
        return IO_TICK_MS;
    int64_t now = nats_now_ms();
    if (*since_ms == 0)
        *since_ms = now;
    if (now <= *since_ms)
        return 1;
    *since_ms = 0;
    atomic_store(&link->write_soon, false);
    atomic_store(&link->write_wanted, true);
    return IO_TICK_MS;
}

/* ---- the thread ---- */

void nats_session_break(struct nats_session *session)
{
    pthread_mutex_lock(&session->link->io);
    if (!natsConnection_IsClosed(session->nc))
        shutdown(session->fd, SHUT_RDWR);
    while (!natsConnection_IsClosed(session->nc))
        natsConnection_ProcessReadEvent(session->nc);
    pthread_mutex_unlock(&session->link->io);
}

static void read_and_write(struct nats_link *link, struct nats_session *session, uint32_t events)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = session->number};
    pthread_mutex_lock(&link->io);
    if (events & ~(uint32_t)EPOLLOUT) {
        atomic_store(&link->unanswered_ms, 0);
        natsConnection_ProcessReadEvent(session->nc);
    }
    if (events & EPOLLOUT) {
        epoll_ctl(link->epoll_fd, EPOLL_CTL_MOD, session->fd, &event);
        write_buffered(session);
    }
    pthread_mutex_unlock(&link->io);
    write_if_wanted(link, session);
}

static void serve(struct nats_link *link, struct nats_session *session, uint32_t events)
{
    if (events)
        read_and_write(link, session, events);
    link->owner->turn(link->ctx, session);
    write_if_wanted(link, session);
    if (nats_link_silence_ms(link) > NATS_DEAD_MS)
        nats_session_break(session);
    if (natsConnection_IsClosed(session->nc))
        nats_link_drop(link, session);
}

static uint32_t events_of(const struct epoll_event *events, int count, uint64_t mark)
{
    uint32_t found = 0;
    for (int i = 0; i < count; ++i)
        if (events[i].data.u64 == mark)
            found |= events[i].events;
    return found;
}

static void *io_main(void *arg)
{
    struct nats_link *link = arg;
    struct epoll_event events[4];
    int timeout = IO_TICK_MS;
    int64_t gathering_since = 0;
    while (!atomic_load(&link->io_stop)) {
        int count = epoll_wait(link->epoll_fd, events, 4, timeout);
        uint64_t drained;
        if (events_of(events, count, WAKE_UP) &&
            read(link->event_fd, &drained, sizeof drained) < 0 && errno != EAGAIN)
            log_error("bus wake-up failed", LOG_I64("errno", errno));
        timeout = gather(link, &gathering_since);
        if (count == 0) /* idle: whatever nobody saw to, a ping behind a stalled group for one */
            atomic_store(&link->write_wanted, true);
        struct nats_session *session = nats_link_hold(link);
        if (session)
            serve(link, session, events_of(events, count, session->number));
        nats_session_release(session);
    }
    return NULL;
}

/* ---- start and stop ---- */

void nats_io_attach(struct nats_link *link, struct nats_session *session)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = session->number};
    epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, session->fd, &event);
    atomic_store(&link->write_wanted, true); /* the subscriptions made so far */
    wake(link);
}

void nats_io_free(struct nats_link *link)
{
    close(link->epoll_fd);
    close(link->event_fd);
    pthread_mutex_destroy(&link->io);
}

enum err nats_io_start(struct nats_link *link)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WAKE_UP};
    link->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    link->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&link->io, NULL);
    if (link->epoll_fd >= 0 && link->event_fd >= 0 &&
        epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, link->event_fd, &event) == 0 &&
        pthread_create(&link->io_thread, NULL, io_main, link) == 0)
        return ERR_NONE;
    nats_io_free(link);
    return ERR_INTERNAL;
}

void nats_io_stop(struct nats_link *link)
{
    atomic_store(&link->io_stop, true);
    wake(link);
    pthread_join(link->io_thread, NULL);
    struct nats_session *session = nats_link_hold(link);
    if (session) {
        nats_session_break(session);
        nats_link_drop(link, session);
        nats_session_release(session);
    }
}
