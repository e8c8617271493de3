/* nats.c hands messages over by callback, on the subscription's own thread, one by one; a reader
 * wants many at once, on its own thread. (natsSubscription_NextMsg would do that, but it builds
 * the table of headers of every message without payload.) So the callback queues them here, and
 * the reader takes the whole queue in one go. */
#include "common/bus_nats.h"

#include "common/mem.h"

#include <stdio.h>

struct nats_inbox {
    _Atomic uint32_t refs; /* the owner, and nats.c until the subscription's thread has ended */
    struct nats_session *session;
    natsSubscription *subscription;
    char subject[64];
    _Atomic int64_t heard_ms;

    /* the owner's thread's */
    natsMsg **taken;
    size_t taken_at;
    size_t taken_count;
    size_t taken_capacity;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t filled;
    natsMsg **queue;
    size_t count;
    size_t capacity;
    bool waiting;
    bool ended; /* no more messages will come, or some were lost */
};

static void inbox_release(struct nats_inbox *inbox)
{
    if (atomic_fetch_sub(&inbox->refs, 1) != 1)
        return;
    for (size_t i = inbox->taken_at; i < inbox->taken_count; ++i)
        natsMsg_Destroy(inbox->taken[i]);
    for (size_t i = 0; i < inbox->count; ++i)
        natsMsg_Destroy(inbox->queue[i]);
    mem_free(inbox->taken);
    mem_free(inbox->queue);
    pthread_cond_destroy(&inbox->filled);
    pthread_mutex_destroy(&inbox->lock);
    mem_free(inbox);
}

static bool make_room(struct nats_inbox *inbox)
{
    if (inbox->count < inbox->capacity)
        return true;
    size_t capacity = inbox->capacity ? inbox->capacity * 2 : 64;
    natsMsg **grown = mem_grow(inbox->queue, capacity, sizeof *grown);
    if (!grown)
        return false;
    inbox->queue = grown;
    inbox->capacity = capacity;
    return true;
}

static void on_message(natsConnection *nc, natsSubscription *subscription, natsMsg *msg, void *ctx)
{
    struct nats_inbox *inbox = ctx;
    (void)nc;
    (void)subscription;
    atomic_store(&inbox->heard_ms, nats_now_ms());
    pthread_mutex_lock(&inbox->lock);
    if (!inbox->ended && make_room(inbox)) {
        inbox->queue[inbox->count++] = msg;
        msg = NULL;
    } else {
        inbox->ended = true;
    }
    if (inbox->waiting)
        pthread_cond_signal(&inbox->filled);
    pthread_mutex_unlock(&inbox->lock);
    natsMsg_Destroy(msg);
}

static void on_complete(void *ctx)
{
    struct nats_inbox *inbox = ctx;
    pthread_mutex_lock(&inbox->lock);
    inbox->ended = true;
    pthread_cond_signal(&inbox->filled);
    pthread_mutex_unlock(&inbox->lock);
    inbox_release(inbox);
}

static natsStatus subscribe(struct nats_inbox *inbox, bool wildcard)
{
    natsConnection *nc = inbox->session->nc;
    natsInbox *unique = NULL;
    char subject[sizeof inbox->subject + 2];
    natsStatus s = natsInbox_Create(&unique);
    if (s != NATS_OK)
        return s;
    snprintf(inbox->subject, sizeof inbox->subject, "%s", unique);
    snprintf(subject, sizeof subject, wildcard ? "%s.*" : "%s", unique);
    natsInbox_Destroy(unique);
    s = natsConnection_Subscribe(&inbox->subscription, nc, subject, on_message, inbox);
    if (s != NATS_OK)
        return s;
    /* Bounded by what is asked for: a batch, or the window of flow control. */
    s = natsSubscription_SetPendingLimits(inbox->subscription, -1, -1);
    if (s == NATS_OK)
        s = natsSubscription_SetOnCompleteCB(inbox->subscription, on_complete, inbox);
    return s;
}

enum err nats_inbox_open(struct nats_session *session, bool wildcard, struct nats_inbox **ret)
{
    struct nats_inbox *inbox = mem_zero(1, sizeof *inbox);
    if (!inbox)
        return ERR_MEMORY;
    inbox->refs = 2;
    inbox->heard_ms = nats_now_ms();
    inbox->session = session;
    pthread_mutex_init(&inbox->lock, NULL);
    nats_cond_init(&inbox->filled);
    /* The connection cannot be closed while the lock is held, so the three steps succeed or fail
     * together. */
    pthread_mutex_lock(&session->link->io);
    natsStatus s = subscribe(inbox, wildcard);
    if (s != NATS_OK)
        natsSubscription_Destroy(inbox->subscription);
    pthread_mutex_unlock(&session->link->io);
    nats_link_write(session->link); /* what others left to us, and our own */
    if (s != NATS_OK) {
        inbox_release(inbox);
        inbox_release(inbox);
        return nats_err_of(s, 0);
    }
    atomic_fetch_add(&session->refs, 1);
    *ret = inbox;
    return ERR_NONE;
}

void nats_inbox_close(struct nats_inbox *inbox)
{
    if (!inbox)
        return;
    struct nats_session *session = inbox->session;
    pthread_mutex_lock(&session->link->io);
    natsSubscription_Destroy(inbox->subscription);
    pthread_mutex_unlock(&session->link->io);
    nats_link_write(session->link);
    inbox_release(inbox);
    nats_session_release(session);
}

const char *nats_inbox_subject(const struct nats_inbox *inbox)
{
    return inbox->subject;
}

int64_t nats_inbox_heard_ms(struct nats_inbox *inbox)
{
    return atomic_load(&inbox->heard_ms);
}

/* Takes the whole queue; the emptied array becomes the next queue. */
static void swap(struct nats_inbox *inbox)
{
    natsMsg **spare = inbox->taken;
    size_t spare_capacity = inbox->taken_capacity;
    inbox->taken = inbox->queue;
    inbox->taken_count = inbox->count;
    inbox->taken_capacity = inbox->capacity;
    inbox->taken_at = 0;
    inbox->queue = spare;
    inbox->capacity = spare_capacity;
    inbox->count = 0;
}

enum err nats_inbox_next(struct nats_inbox *inbox, int64_t deadline_ms, natsMsg **ret)
{
    enum err e = ERR_NONE;
    if (inbox->taken_at == inbox->taken_count) {
        pthread_mutex_lock(&inbox->lock);
        inbox->waiting = true;
        while (inbox->count == 0 && !inbox->ended && nats_now_ms() < deadline_ms &&
               nats_cond_wait_until(&inbox->filled, &inbox->lock, deadline_ms))
            ;
        inbox->waiting = false;
        if (inbox->count == 0)
            e = inbox->ended ? ERR_UNAVAILABLE : ERR_DEADLINE;
        else
            swap(inbox);
        pthread_mutex_unlock(&inbox->lock);
    }
    if (e == ERR_NONE)
        *ret = inbox->taken[inbox->taken_at++];
    return e;
}
