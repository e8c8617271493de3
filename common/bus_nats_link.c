/* A link's life: its keeper connects for ever, pings, and lets the owner tend to its chores. */
#include "common/bus_nats.h"

#include "common/log.h"
#include "common/mem.h"

#include <stdlib.h>
#include <time.h>

enum {
    CONNECT_TIMEOUT_MS = 2000,
    RETRY_MS = 100,        /* between attempts to connect, */
    RETRY_JITTER_MS = 150, /* plus up to this */
    PING_MS = 500,         /* between pings */
    PING_TIMEOUT_MS = 1000,
    IO_BUFFER = 128 * 1024,
    SERVERS_MAX = 64,
};

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
    return pthread_cond_timedwait(cond, lock, &at) == 0;
}

/* ---- sessions ---- */

/* Wants link.lock held. */
static struct nats_session *held_session(struct nats_link *link)
{
    if (link->session)
        atomic_fetch_add(&link->session->refs, 1);
    return link->session;
}

struct nats_session *nats_link_hold(struct nats_link *link)
{
    pthread_mutex_lock(&link->lock);
    struct nats_session *session = held_session(link);
    pthread_mutex_unlock(&link->lock);
    return session;
}

struct nats_session *nats_link_await(struct nats_link *link, int64_t deadline_ms)
{
    pthread_mutex_lock(&link->lock);
    while (!link->session && !link->stop &&
           nats_cond_wait_until(&link->changed, &link->lock, deadline_ms))
        ;
    struct nats_session *session = held_session(link);
    pthread_mutex_unlock(&link->lock);
    return session;
}

void nats_link_pause(struct nats_link *link, int64_t ms)
{
    int64_t deadline = nats_now_ms() + ms;
    pthread_mutex_lock(&link->lock);
    const struct nats_session *before = link->session;
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

bool nats_link_is_up(struct nats_link *link, struct err_detail *detail)
{
    pthread_mutex_lock(&link->lock);
    bool up = link->session != NULL;
    if (!up && detail)
        *detail = link->last_error;
    pthread_mutex_unlock(&link->lock);
    return up;
}

int64_t nats_link_silence_ms(struct nats_link *link)
{
    int64_t since = atomic_load(&link->unanswered_ms);
    return since ? nats_now_ms() - since : 0;
}

void nats_link_drop(struct nats_link *link, struct nats_session *session)
{
    const char *why = NULL;
    pthread_mutex_lock(&link->lock);
    bool mine = link->session == session;
    pthread_mutex_unlock(&link->lock);
    if (!mine)
        return;
    /* Before the keeper may connect again, or the owner would hear of this life's end in the
     * middle of the next one. */
    link->owner->down(link->ctx, session);
    pthread_mutex_lock(&link->lock);
    link->session = NULL;
    bool stop = link->stop;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
    natsConnection_GetLastError(session->nc, &why);
    if (!stop)
        log_warn("bus connection lost", LOG_TEXT("purpose", link->purpose),
                 LOG_TEXT("reason", why ? why : ""));
    nats_session_release(session);
    nats_bus_changed(link->bus);
}

/* ---- connecting ---- */

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

/* Errors that belong to no call: a permission that is missing, for one. */
static void on_error(natsConnection *nc, natsSubscription *subscription, natsStatus status,
                     void *purpose)
{
    (void)nc;
    (void)subscription;
    log_warn("bus error", LOG_TEXT("purpose", purpose),
             LOG_TEXT("reason", natsStatus_GetText(status)));
}

static natsStatus set_options(natsOptions *o, struct nats_link *link, struct nats_session *session)
{
    natsStatus s = set_servers(o, link->bus->url);
    if (s == NATS_OK)
        s = natsOptions_SetName(o, link->bus->name);
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(o, CONNECT_TIMEOUT_MS);
    if (s == NATS_OK)
        s = natsOptions_SetAllowReconnect(o, false);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(o, 0); /* the keeper pings */
    if (s == NATS_OK)
        s = natsOptions_SetSendAsap(o, true); /* no flusher thread: we write */
    if (s == NATS_OK)
        s = natsOptions_SetIOBufSize(o, IO_BUFFER);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(o, on_error, (void *)(uintptr_t)link->purpose);
    if (s == NATS_OK)
        s = nats_io_set_loop(o, session);
    return s;
}

static natsStatus connect_session(struct nats_link *link, struct nats_session *session)
{
    natsOptions *options = NULL;
    natsStatus s = natsOptions_Create(&options);
    if (s == NATS_OK)
        s = set_options(options, link, session);
    if (s == NATS_OK)
        s = natsConnection_Connect(&session->nc, options);
    natsOptions_Destroy(options);
    if (s == NATS_OK)
        s = link->owner->begin(link->ctx, session);
    return s;
}

/* False: the link has been told to end meanwhile. */
static bool go_up(struct nats_link *link, struct nats_session *session)
{
    atomic_store(&link->unanswered_ms, 0);
    pthread_mutex_lock(&link->lock);
    bool up = !link->stop;
    if (up) {
        link->session = session;
        link->last_error.text[0] = '\0';
        pthread_cond_broadcast(&link->changed);
    }
    pthread_mutex_unlock(&link->lock);
    if (!up) {
        link->owner->down(link->ctx, session);
        return false;
    }
    nats_io_attach(link, session);
    log_info("bus connected", LOG_TEXT("purpose", link->purpose));
    return true;
}

static void note_failure(struct nats_link *link, natsStatus s)
{
    struct err_detail before;
    pthread_mutex_lock(&link->lock);
    before = link->last_error;
    (void)err_set(&link->last_error, ERR_UNAVAILABLE, "cannot connect to the bus: %s",
                  natsStatus_GetText(s));
    bool news = strcmp(before.text, link->last_error.text) != 0;
    pthread_mutex_unlock(&link->lock);
    if (news)
        log_warn("bus not connected", LOG_TEXT("purpose", link->purpose),
                 LOG_TEXT("reason", natsStatus_GetText(s)));
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
    if (s == NATS_OK && go_up(link, session))
        return true;
    if (s != NATS_OK)
        note_failure(link, s);
    if (session->nc)
        nats_session_break(session);
    nats_session_release(session);
    return false;
}

/* ---- the keeper ---- */

static void ping(struct nats_link *link, struct nats_session *session)
{
    int64_t nothing = 0;
    atomic_compare_exchange_strong(&link->unanswered_ms, &nothing, nats_now_ms());
    if (natsConnection_FlushTimeout(session->nc, PING_TIMEOUT_MS) == NATS_OK)
        atomic_store(&link->unanswered_ms, 0);
}

enum kept { KEPT_DOWN, KEPT_NEW, KEPT_UP };

static enum kept keep(struct nats_link *link)
{
    struct nats_session *session = nats_link_hold(link);
    if (!session)
        return try_connect(link) ? KEPT_NEW : KEPT_DOWN;
    ping(link, session);
    link->owner->tend(link->ctx, session);
    nats_session_release(session);
    return KEPT_UP;
}

static int64_t rest_ms(enum kept kept, unsigned *seed)
{
    if (kept == KEPT_NEW)
        return 0; /* the first ping and the first chores follow at once */
    return kept == KEPT_UP ? PING_MS : RETRY_MS + rand_r(seed) % RETRY_JITTER_MS;
}

static void *keeper_main(void *arg)
{
    struct nats_link *link = arg;
    unsigned seed = (unsigned)nats_now_ms() ^ (unsigned)link->event_fd;
    for (bool stop = false; !stop;) {
        enum kept kept = keep(link);
        int64_t deadline = nats_now_ms() + rest_ms(kept, &seed);
        pthread_mutex_lock(&link->lock);
        while (!link->stop && !link->poked && !(kept != KEPT_DOWN && !link->session) &&
               nats_cond_wait_until(&link->changed, &link->lock, deadline))
            ;
        stop = link->stop;
        link->poked = false;
        pthread_mutex_unlock(&link->lock);
    }
    return NULL;
}

void nats_link_poke(struct nats_link *link)
{
    pthread_mutex_lock(&link->lock);
    link->poked = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

/* ---- start and stop ---- */

enum err nats_link_start(struct nats_link *link, struct nats_bus *bus, const char *purpose,
                         const struct nats_link_owner *owner, void *ctx)
{
    link->bus = bus;
    link->purpose = purpose;
    link->owner = owner;
    link->ctx = ctx;
    pthread_mutex_init(&link->lock, NULL);
    nats_cond_init(&link->changed);
    enum err e = nats_io_start(link);
    if (e == ERR_NONE && pthread_create(&link->keeper_thread, NULL, keeper_main, link) != 0) {
        nats_io_stop(link);
        nats_io_free(link);
        e = ERR_INTERNAL;
    }
    if (e != ERR_NONE) {
        pthread_cond_destroy(&link->changed);
        pthread_mutex_destroy(&link->lock);
    }
    return e;
}

void nats_link_end(struct nats_link *link)
{
    pthread_mutex_lock(&link->lock);
    link->stop = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

void nats_link_stop(struct nats_link *link)
{
    nats_link_end(link);
    nats_link_write(link); /* the last acknowledgements */
    nats_io_stop(link);    /* a request that the keeper waits for ends with the connection */
    pthread_join(link->keeper_thread, NULL);
    nats_io_free(link);
    pthread_cond_destroy(&link->changed);
    pthread_mutex_destroy(&link->lock);
}
