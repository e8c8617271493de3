/* The publish path: many threads publish over one connection, and each gets its own outcome.
 *
 *   publisher   takes a slot -> builds the message -> adds it to the group
 *               -> writes the group, if nothing is awaited
 *   I/O thread  reads -> drains the acks -> completes their slots
 *               -> writes the group that gathered meanwhile
 *
 * The flush clock is group commit: a group is written when nothing of the groups before is awaited
 * any more. What was given up counts as returned, and what is not back after 50 ms is not awaited
 * any longer. Groups grow by themselves with the load, and a
 * lone publish waits for nobody.
 *
 * Nothing is built, encoded, written or woken with the publisher's lock held, and only whoever
 * writes a group touches the connection: nats.c holds the connection's lock while it writes.
 */
#include "common/bus_nats.h"

#include "common/log.h"
#include "common/mem.h"

#include <stdio.h>

enum {
    IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024, /* bounds nats.c's send buffer */
    WRITTEN_AT_ONCE = 64,
    TOKEN_SIZE = 24,
};

/* ---- groups ---- */

/* Empty if the connection is not the one in use any more. */
static size_t take_messages(struct nats_publisher *p, uint64_t session, natsMsg **ret, size_t max)
{
    size_t count = 0;
    pthread_mutex_lock(&p->lock);
    if (p->session == session)
        count = nats_slots_take_messages(p, ret, max);
    pthread_mutex_unlock(&p->lock);
    return count;
}

/* Appends the groups that have started to the connection's buffer. What does not get there has no
 * answer, and ends as BUS_UNKNOWN. */
static void append_groups(struct nats_publisher *p, const struct nats_session *session)
{
    natsMsg *msgs[WRITTEN_AT_ONCE];
    size_t count;
    nats_link_quiet = true;
    while ((count = take_messages(p, session->number, msgs, WRITTEN_AT_ONCE)) > 0)
        for (size_t i = 0; i < count; ++i) {
            natsStatus s = natsConnection_PublishMsg(session->nc, msgs[i]);
            if (s != NATS_OK && s != NATS_CONNECTION_CLOSED)
                log_error("cannot publish", LOG_TEXT("reason", natsStatus_GetText(s)));
            natsMsg_Destroy(msgs[i]);
        }
    nats_link_quiet = false;
}

static void write_groups(struct nats_publisher *p)
{
    struct nats_session *session = nats_link_hold(&p->link);
    if (!session)
        return;
    append_groups(p, session);
    nats_session_release(session);
    nats_link_write(&p->link);
}

/* ---- what the link calls ---- */

static natsStatus on_begin(void *ctx, struct nats_session *session)
{
    struct nats_publisher *p = ctx;
    natsSubscription *acks = NULL;
    char subject[sizeof p->inbox + 1];
    snprintf(subject, sizeof subject, "%s*", p->inbox);
    natsStatus s = natsConnection_SubscribeSync(&acks, session->nc, subject);
    session->own = acks;
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(acks, -1, -1); /* bounded by max_in_flight */
    if (s != NATS_OK)
        return s;
    atomic_fetch_add(&p->bus->round, 1);
    pthread_mutex_lock(&p->lock);
    p->session = session->number;
    p->max_payload = (uint64_t)natsConnection_GetMaxPayload(session->nc);
    p->refusals = 0;
    p->refusals_trusted_ms = 0;
    pthread_mutex_unlock(&p->lock);
    return NATS_OK;
}

/* What was found out about the logs may be true no more: they are checked, and made, before more
 * is published. */
static void doubt_logs(struct nats_bus *bus)
{
    atomic_fetch_add(&bus->round, 1);
    nats_link_poke(&bus->service);
}

/* The link is up, and the logs may have changed while it was not. */
static void on_tend(void *ctx, struct nats_session *session)
{
    struct nats_publisher *p = ctx;
    (void)session;
    if (!nats_logs_sound(p->bus, NULL))
        nats_link_poke(&p->bus->service);
    nats_bus_changed(p->bus);
}

static void on_turn(void *ctx, struct nats_session *session)
{
    struct nats_publisher *p = ctx;
    nats_slots_drain(p, session->own);
    if (nats_slots_refused(p)) {
        doubt_logs(p->bus); /* first: whoever is told may wait until the bus is ready again */
        nats_slots_refuse(p);
    }
    nats_slots_expire(p, clock_monotonic_ms(p->bus->options.clock), "no acknowledgement in time");
    pthread_mutex_lock(&p->lock);
    p->draining = false;
    bool starts = nats_group_starts(p, true);
    pthread_mutex_unlock(&p->lock);
    if (starts) {
        append_groups(p, session);
        atomic_store(&p->link.write_wanted, true);
    }
}

static void on_down(void *ctx, struct nats_session *session)
{
    struct nats_publisher *p = ctx;
    (void)session;
    pthread_mutex_lock(&p->lock);
    p->session = 0;
    p->refusals = 0;
    pthread_mutex_unlock(&p->lock);
    nats_slots_expire(p, INT64_MAX, "the connection to the bus broke");
}

static void on_end(void *ctx, struct nats_session *session)
{
    (void)ctx;
    natsSubscription_Destroy(session->own);
}

static const struct nats_link_owner owner = {on_begin, on_tend, on_turn, on_down, on_end};

/* ---- publishing ---- */

struct place {
    uint32_t slot;
    uint32_t turn;
    uint64_t session;
};

static enum err reserve(struct nats_publisher *p, size_t size, struct place *ret)
{
    enum err e = ERR_NONE;
    pthread_mutex_lock(&p->lock);
    if (p->session == 0)
        e = ERR_UNAVAILABLE;
    else if (size > p->max_payload)
        e = ERR_TOO_LARGE;
    else if (p->free == NATS_NO_SLOT || p->bytes + size > IN_FLIGHT_BYTES_MAX)
        e = ERR_BUSY;
    if (e == ERR_NONE) {
        ret->slot = nats_slot_take(p);
        ret->turn = p->slots[ret->slot].turn;
        ret->session = p->session;
    }
    pthread_mutex_unlock(&p->lock);
    return e;
}

/* Adds the message to the group, if the connection is still the one that it was built for. */
static enum err set_off(struct nats_publisher *p, const struct place *place, natsMsg *msg,
                        bool *ret_starts)
{
    pthread_mutex_lock(&p->lock);
    bool same = p->session == place->session;
    if (same) {
        p->slots[place->slot].msg = msg;
        nats_slot_set_off(p, place->slot);
        *ret_starts = nats_group_starts(p, false);
    } else {
        nats_slot_give_back(p, place->slot);
    }
    pthread_mutex_unlock(&p->lock);
    return same ? ERR_NONE : ERR_UNAVAILABLE;
}

static void give_back(struct nats_publisher *p, uint32_t slot)
{
    pthread_mutex_lock(&p->lock);
    nats_slot_give_back(p, slot);
    pthread_mutex_unlock(&p->lock);
}

static bool may_publish(struct nats_bus *bus, struct nats_log *log)
{
    return atomic_load(&log->sound_round) == atomic_load(&bus->round) &&
           nats_link_silence_ms(&bus->publisher.link) <= NATS_SILENT_MS;
}

static natsStatus make_message(const struct nats_publisher *p, const struct bus_message *m,
                               const struct place *place, natsMsg **ret)
{
    char reply[sizeof p->inbox + TOKEN_SIZE];
    snprintf(reply, sizeof reply, "%s%x-%x", p->inbox, place->slot, place->turn);
    return nats_encode(m, reply, ret);
}

enum err nats_publish(struct bus_log *base, const struct bus_message *message,
                      bus_published_fn done, void *ctx)
{
    struct nats_log *log = (struct nats_log *)base;
    struct nats_bus *bus = nats_bus_of(base);
    struct nats_publisher *p = &bus->publisher;
    size_t size = nats_encoded_size(message);
    struct place place;
    natsMsg *msg = NULL;
    bool starts = false;
    if (!may_publish(bus, log))
        return ERR_UNAVAILABLE;
    enum err e = reserve(p, size, &place);
    if (e != ERR_NONE)
        return e;
    struct nats_slot *slot = &p->slots[place.slot]; /* ours until it is set off */
    slot->bytes = (uint32_t)size;
    slot->deadline_ms = clock_monotonic_ms(bus->options.clock) + bus->options.publish_timeout_ms;
    slot->log = log;
    slot->done = done;
    slot->ctx = ctx;
    natsStatus s = make_message(p, message, &place, &msg);
    if (s != NATS_OK) {
        give_back(p, place.slot);
        return nats_err_of(s, 0);
    }
    e = set_off(p, &place, msg, &starts);
    if (e != ERR_NONE)
        natsMsg_Destroy(msg);
    if (starts)
        write_groups(p);
    return e;
}

/* ---- start and stop ---- */

enum err nats_publisher_start(struct nats_publisher *p, struct nats_bus *bus)
{
    natsInbox *inbox = NULL;
    if (natsInbox_Create(&inbox) != NATS_OK)
        return ERR_MEMORY;
    snprintf(p->inbox, sizeof p->inbox, "%s.", inbox);
    natsInbox_Destroy(inbox);
    p->bus = bus;
    if (nats_slots_make(p, bus->options.max_in_flight) != ERR_NONE)
        return ERR_MEMORY;
    pthread_mutex_init(&p->lock, NULL);
    enum err e = nats_link_start(&p->link, bus, "publish", &owner, p);
    if (e != ERR_NONE) {
        pthread_mutex_destroy(&p->lock);
        mem_free(p->slots);
    }
    return e;
}

void nats_publisher_stop(struct nats_publisher *p)
{
    nats_link_stop(&p->link);
    pthread_mutex_destroy(&p->lock);
    mem_free(p->slots);
}
