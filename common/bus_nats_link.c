#include "common/bus_nats.h"

#include "common/log.h"
#include "common/mem.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    IO_TICK_MS = 50,
    RETRY_MS = 100,        /* between attempts to connect, */
    RETRY_JITTER_MS = 150, /* plus up to this */
    PING_TIMEOUT_MS = 1000,
    IO_BUFFER = 128 * 1024,
    SERVERS_MAX = 64,
    WAKE_UP = 0, /* epoll's mark of the eventfd; a socket's is its session's number */
};

_Thread_local bool nats_link_quiet;

/* ---- time ---- */

int64_t nats_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void nats_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

bool nats_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ms)
{
    struct timespec at = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    return pthread_cond_timedwait(cond, lock, &at) != ETIMEDOUT;
}

/* ---- what nats.c asks of an event loop ---- */

static void wake(struct nats_link *link)
{
    uint64_t one = 1;
    ssize_t n = write(link->event_fd, &one, sizeof one);
    (void)n; /* EAGAIN: it is awake already */
}

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

/* ---- sessions ---- */

struct nats_session *nats_link_hold(struct nats_link *link)
{
    pthread_mutex_lock(&link->lock);
    struct nats_session *session = link->session;
    if (session)
        atomic_fetch_add(&session->refs, 1);
    pthread_mutex_unlock(&link->lock);
    return session;
}

struct nats_session *nats_link_await(struct nats_link *link, int64_t deadline_ms)
{
    struct nats_session *session = NULL;
    pthread_mutex_lock(&link->lock);
    while (!link->session && !link->stop &&
           nats_cond_wait_until(&link->changed, &link->lock, deadline_ms))
        ;
    session = link->session;
    if (session)
        atomic_fetch_add(&session->refs, 1);
    pthread_mutex_unlock(&link->lock);
    return session;
}

void nats_link_pause(struct nats_link *link, int64_t ms)
{
    int64_t deadline = nats_now_ms() + ms;
    pthread_mutex_lock(&link->lock);
    struct nats_session *before = link->session;
    while (!link->stop && link->session == before &&
           nats_cond_wait_until(&link->changed, &link->lock, deadline))
        ;
    pthread_mutex_unlock(&link->lock);
}

void nats_session_release(struct nats_session *session)
{
    if (!session || atomic_fetch_sub(&session->refs, 1) != 1)
        return;
    session->link->owner->end(session->link->ctx, session);
    natsConnection_Destroy(session->nc);
    mem_free(session);
}

/* Closes the connection by breaking its socket: natsConnection_Close would wait for a pong that nobody reads. */
static void session_break(struct nats_session *session)
{
    pthread_mutex_lock(&session->link->io);
    if (!natsConnection_IsClosed(session->nc))
        shutdown(session->fd, SHUT_RDWR);
    while (!natsConnection_IsClosed(session->nc))
        natsConnection_ProcessReadEvent(session->nc);
    pthread_mutex_unlock(&session->link->io);
}

bool nats_link_is_up(struct nats_link *link, struct err_detail *detail)
{
    pthread_mutex_lock(&link->lock);
    bool up = link->session != NULL;
    if (!up && detail)
        *detail = link->last_error;
    pthread_mutex_unlock(&link->lock);
    return up;
}

/* ---- writing ---- */

/* Wants link->io held. natsConnection_ProcessWriteEvent with nothing to write would close the connection. */
static void write_buffered(struct nats_session *session)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = session->number};
    if (natsConnection_Buffered(session->nc) <= 0)
        return;
    natsConnection_ProcessWriteEvent(session->nc);
    if (natsConnection_Buffered(session->nc) <= 0)
        return;
    event.events |= EPOLLOUT; /* the socket is full */
    epoll_ctl(session->link->epoll_fd, EPOLL_CTL_MOD, session->fd, &event);
}

/* Whoever finds the I/O lock taken leaves the writing to its holder, who looks again after letting go. */
static void write_wanted(struct nats_link *link, struct nats_session *session)
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
    write_wanted(link, session);
    nats_session_release(session);
}

void nats_link_write_soon(struct nats_link *link)
{
    if (!atomic_exchange(&link->write_soon, true))
        wake(link);
}

/* ---- the I/O thread ---- */

static void read_and_write(struct nats_link *link, struct nats_session *session, uint32_t events)
{
    pthread_mutex_lock(&link->io);
    if (events & ~(uint32_t)EPOLLOUT) {
        atomic_store(&link->heard_ms, nats_now_ms());
        natsConnection_ProcessReadEvent(session->nc);
    }
    if (events & EPOLLOUT) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = session->number};
        epoll_ctl(link->epoll_fd, EPOLL_CTL_MOD, session->fd, &event);
        write_buffered(session);
    }
    pthread_mutex_unlock(&link->io);
    write_wanted(link, session);
}

static void go_down(struct nats_link *link, struct nats_session *session)
{
    pthread_mutex_lock(&link->lock);
    bool mine = link->session == session;
    if (mine)
        link->session = NULL;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
    if (!mine)
        return;
    const char *why = NULL;
    natsConnection_GetLastError(session->nc, &why);
    if (!atomic_load(&link->io_stop))
        log_warn("bus connection lost", LOG_TEXT("purpose", link->purpose),
                 LOG_TEXT("reason", why ? why : ""));
    link->owner->down(link->ctx, session);
    nats_session_release(session);
    nats_bus_changed(link->bus);
}

static uint32_t events_of(const struct epoll_event *events, int count, uint64_t mark)
{
    uint32_t found = 0;
    for (int i = 0; i < count; ++i)
        if (events[i].data.u64 == mark)
            found |= events[i].events;
    return found;
}

/* What was asked to be written soon is written after a millisecond in which more of it gathers. Returns how long to sleep. */
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

static void serve(struct nats_link *link, struct nats_session *session, uint32_t events)
{
    if (events)
        read_and_write(link, session, events);
    link->owner->turn(link->ctx, session);
    write_wanted(link, session);
    if (nats_now_ms() - atomic_load(&link->heard_ms) > NATS_DEAD_MS)
        session_break(session);
    if (natsConnection_IsClosed(session->nc))
        go_down(link, session);
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
        else
            link->owner->turn(link->ctx, NULL);
        nats_session_release(session);
    }
    return NULL;
}

/* ---- the keeper ---- */

static natsStatus set_servers(natsOptions *options, const char *url)
{
    const char *servers[SERVERS_MAX];
    int count = 0;
    char *copy = mem_copy_text(url, strlen(url));
    char *rest = copy;
    if (!copy)
        return NATS_NO_MEMORY;
    for (char *one; (one = strsep(&rest, ",")) && count < SERVERS_MAX;)
        if (*one)
            servers[count++] = one;
    natsStatus s = natsOptions_SetServers(options, servers, count);
    mem_free(copy);
    return s;
}

static natsStatus make_options(struct nats_link *link, struct nats_session *session,
                               natsOptions **ret)
{
    natsOptions *o = NULL;
    natsStatus s = natsOptions_Create(&o);
    if (s == NATS_OK)
        s = set_servers(o, link->bus->url);
    if (s == NATS_OK)
        s = natsOptions_SetName(o, link->bus->name);
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(o, NATS_CONNECT_TIMEOUT_MS);
    if (s == NATS_OK)
        s = natsOptions_SetAllowReconnect(o, false);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(o, 0); /* the keeper pings */
    if (s == NATS_OK)
        s = natsOptions_SetSendAsap(o, true); /* no flusher thread: we write */
    if (s == NATS_OK)
        s = natsOptions_SetIOBufSize(o, IO_BUFFER);
    if (s == NATS_OK)
        s = natsOptions_SetEventLoop(o, session, on_attach, on_read_wanted, on_write_wanted,
                                     on_detach);
    *ret = o;
    return s;
}

static natsStatus connect_session(struct nats_link *link, struct nats_session *session)
{
    natsOptions *options = NULL;
    natsStatus s = make_options(link, session, &options);
    if (s == NATS_OK)
        s = natsConnection_Connect(&session->nc, options);
    natsOptions_Destroy(options);
    if (s == NATS_OK)
        s = link->owner->begin(link->ctx, session);
    return s;
}

static void install(struct nats_link *link, struct nats_session *session)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = session->number};
    atomic_store(&link->heard_ms, nats_now_ms());
    pthread_mutex_lock(&link->lock);
    link->session = session;
    link->last_error.text[0] = '\0';
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
    epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, session->fd, &event);
    atomic_store(&link->write_wanted, true); /* the subscriptions made so far */
    wake(link);
}

static bool try_connect(struct nats_link *link)
{
    struct nats_session *session = mem_zero(1, sizeof *session);
    if (!session)
        return false;
    session->refs = 1;
    session->link = link;
    session->number = atomic_fetch_add(&link->bus->sessions, 1) + 1;
    natsStatus s = connect_session(link, session);
    if (s == NATS_OK) {
        log_info("bus connected", LOG_TEXT("purpose", link->purpose));
        install(link, session);
        return true;
    }
    pthread_mutex_lock(&link->lock);
    (void)err_set(&link->last_error, ERR_UNAVAILABLE, "cannot connect to the bus: %s",
                  natsStatus_GetText(s));
    pthread_mutex_unlock(&link->lock);
    if (session->nc)
        session_break(session);
    nats_session_release(session);
    return false;
}

/* True if it is up. */
static bool keep(struct nats_link *link)
{
    struct nats_session *session = nats_link_hold(link);
    if (!session)
        return try_connect(link);
    if (natsConnection_FlushTimeout(session->nc, PING_TIMEOUT_MS) == NATS_OK)
        atomic_store(&link->heard_ms, nats_now_ms());
    link->owner->tend(link->ctx, session);
    nats_session_release(session);
    return true;
}

static void *keeper_main(void *arg)
{
    struct nats_link *link = arg;
    unsigned seed = (unsigned)nats_now_ms() ^ (unsigned)link->event_fd;
    bool was_up = false;
    for (;;) {
        bool up = keep(link);
        int64_t rest = RETRY_MS + rand_r(&seed) % RETRY_JITTER_MS;
        if (up)
            rest = was_up ? NATS_PING_MS : 0; /* the first ping follows at once */
        was_up = up;
        int64_t deadline = nats_now_ms() + rest;
        pthread_mutex_lock(&link->lock);
        while (!link->stop && !link->poked && !(up && !link->session) &&
               nats_cond_wait_until(&link->changed, &link->lock, deadline))
            ;
        bool stop = link->stop;
        link->poked = false;
        pthread_mutex_unlock(&link->lock);
        if (stop)
            return NULL;
    }
}

void nats_link_poke(struct nats_link *link)
{
    pthread_mutex_lock(&link->lock);
    link->poked = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

/* ---- start and stop ---- */

static enum err open_descriptors(struct nats_link *link)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WAKE_UP};
    link->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    link->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (link->epoll_fd >= 0 && link->event_fd >= 0 &&
        epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, link->event_fd, &event) == 0)
        return ERR_NONE;
    close(link->epoll_fd);
    close(link->event_fd);
    return ERR_INTERNAL;
}

static void close_all(struct nats_link *link)
{
    close(link->epoll_fd);
    close(link->event_fd);
    pthread_cond_destroy(&link->changed);
    pthread_mutex_destroy(&link->lock);
    pthread_mutex_destroy(&link->io);
}

enum err nats_link_start(struct nats_link *link, struct nats_bus *bus, const char *purpose,
                         const struct nats_link_owner *owner, void *ctx)
{
    link->bus = bus;
    link->purpose = purpose;
    link->owner = owner;
    link->ctx = ctx;
    if (open_descriptors(link) != ERR_NONE)
        return ERR_INTERNAL;
    pthread_mutex_init(&link->io, NULL);
    pthread_mutex_init(&link->lock, NULL);
    nats_cond_init(&link->changed);
    if (pthread_create(&link->io_thread, NULL, io_main, link) != 0) {
        close_all(link);
        return ERR_INTERNAL;
    }
    if (pthread_create(&link->keeper_thread, NULL, keeper_main, link) == 0)
        return ERR_NONE;
    atomic_store(&link->io_stop, true);
    pthread_join(link->io_thread, NULL);
    close_all(link);
    return ERR_INTERNAL;
}

void nats_link_stop(struct nats_link *link)
{
    pthread_mutex_lock(&link->lock);
    link->stop = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
    nats_link_write(link); /* the last acknowledgements */
    pthread_join(link->keeper_thread, NULL);
    atomic_store(&link->io_stop, true);
    wake(link);
    pthread_join(link->io_thread, NULL);
    struct nats_session *session = nats_link_hold(link);
    if (session) {
        session_break(session);
        go_down(link, session);
        nats_session_release(session);
    }
    close_all(link);
}
