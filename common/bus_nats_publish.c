/* The publish path: many threads publish over one connection, and each gets its own outcome.
 *
 *   publisher's thread   takes a slot -> builds the message -> appends it to nats.c's buffer -> writes if nothing is awaited
 *   I/O thread           reads -> drains the acks -> completes their slots -> writes the group that gathered meanwhile
 *
 * An ack finds its publish by the reply subject's last token: the slot's number and its turn, which grows with each use of the
 * slot. So a slot may be used again at once after its publish was given up: the late ack has an old turn and is a stray.
 *
 * The flush clock is group commit: a group is written when nothing of the groups before is awaited any more. What was given up
 * counts as returned. Groups grow by themselves with the load, and a lone publish waits for nobody.
 *
 * "No responders" (a 503 without payload: no stream takes the subject, or it has no leader) reaches us without its subject:
 * natsSubscription_NextMsg destroys that message. Every publish has exactly one answer, so once there are as many of
 * them as there are publishes in flight, all of these were refused. Until then they wait. That is wrong only if the 503 of a
 * publish that was given up comes late, so after giving up it isn't trusted for a while.
 */
#include "common/bus_nats.h"

#include "common/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    NO_SLOT = UINT32_MAX,
    IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024, /* bounds nats.c's send buffer */
    HEADER_SPACE = 4096,                    /* on the stack */
    REFUSALS_DISTRUST_MS = 10000,
    TOKEN_SIZE = 24,
};

static const char MESSAGE_ID[] = "Nats-Msg-Id";

struct nats_slot {
    uint32_t turn;
    uint32_t next; /* newer, or the next free one */
    uint32_t prev; /* older */
    uint32_t bytes;
    uint64_t group;
    int64_t deadline_ms;
    struct nats_log *log;
    bus_published_fn done;
    void *ctx;
    bool taken_in; /* in flight */
};

struct completion {
    bus_published_fn done;
    void *ctx;
};

/* ---- slots; all want the lock held ---- */

static uint32_t slot_take(struct nats_publisher *p)
{
    uint32_t number = p->free;
    p->free = p->slots[number].next;
    ++p->slots[number].turn;
    return number;
}

static void slot_give_back(struct nats_publisher *p, uint32_t number)
{
    p->slots[number].next = p->free;
    p->free = number;
}

static void slot_set_off(struct nats_publisher *p, uint32_t number)
{
    struct nats_slot *slot = &p->slots[number];
    slot->taken_in = true;
    slot->group = p->group;
    slot->prev = p->newest;
    slot->next = NO_SLOT;
    *(p->newest == NO_SLOT ? &p->oldest : &p->slots[p->newest].next) = number;
    p->newest = number;
    p->bytes += slot->bytes;
    ++p->in_flight;
    ++p->filling;
}

static struct completion slot_return(struct nats_publisher *p, uint32_t number)
{
    struct nats_slot *slot = &p->slots[number];
    *(slot->prev == NO_SLOT ? &p->oldest : &p->slots[slot->prev].next) = slot->next;
    *(slot->next == NO_SLOT ? &p->newest : &p->slots[slot->next].prev) = slot->prev;
    slot->taken_in = false;
    p->bytes -= slot->bytes;
    if (--p->in_flight == 0)
        p->refusals = 0;
    --*(slot->group < p->group ? &p->awaited : &p->filling);
    slot_give_back(p, number);
    return (struct completion){slot->done, slot->ctx};
}

/* True if a group is to be written now. */
static bool group_starts(struct nats_publisher *p)
{
    if (p->filling == 0 || p->awaited > p->refusals)
        return false;
    ++p->group;
    p->awaited += p->filling;
    p->filling = 0;
    return true;
}

/* ---- completing ---- */

static void complete(struct completion c, enum bus_outcome outcome, uint64_t position, enum err why,
                     struct view description)
{
    struct bus_receipt receipt = {.outcome = outcome, .position = position, .why = why};
    if (description.len > 0)
        (void)err_set(&receipt.detail, why, "%.*s", (int)description.len, description.data);
    c.done(c.ctx, &receipt);
}

/* Completes the oldest in flight, if it is due. */
static bool complete_oldest(struct nats_publisher *p, int64_t now, const char *why)
{
    struct completion c = {NULL, NULL};
    pthread_mutex_lock(&p->lock);
    bool due = p->oldest != NO_SLOT && p->slots[p->oldest].deadline_ms <= now;
    if (due) {
        p->refusals -= p->refusals > 0;
        c = slot_return(p, p->oldest);
        p->refusals_trusted_ms = nats_now_ms() + REFUSALS_DISTRUST_MS;
    }
    pthread_mutex_unlock(&p->lock);
    if (due)
        complete(c, BUS_UNKNOWN, 0, ERR_UNKNOWN_OUTCOME, view_of(why));
    return due;
}

static bool complete_refused(struct nats_publisher *p)
{
    struct completion c = {NULL, NULL};
    pthread_mutex_lock(&p->lock);
    bool all = p->refusals > 0 && p->refusals >= p->in_flight && p->in_flight > 0 &&
               nats_now_ms() >= p->refusals_trusted_ms;
    if (all) {
        --p->refusals;
        c = slot_return(p, p->oldest);
    }
    pthread_mutex_unlock(&p->lock);
    if (all)
        complete(c, BUS_REFUSED, 0, ERR_UNAVAILABLE,
                 VIEW("no stream takes the subject, or it has no leader"));
    return all;
}

/* ---- acks ---- */

static bool parse_token(const struct nats_publisher *p, const char *subject, uint32_t *ret_slot,
                        uint32_t *ret_turn)
{
    size_t prefix = strlen(p->inbox);
    char *end = NULL;
    if (strncmp(subject, p->inbox, prefix) != 0)
        return false;
    unsigned long slot = strtoul(subject + prefix, &end, 16);
    if (*end != '-' || slot >= p->slot_count)
        return false;
    *ret_slot = (uint32_t)slot;
    *ret_turn = (uint32_t)strtoul(end + 1, &end, 16);
    return *end == '\0';
}

/* Is it an answer of the log that the slot's publish went to? */
static bool belongs(const struct nats_slot *slot, uint32_t turn, const struct nats_ack *ack)
{
    if (!slot->taken_in || slot->turn != turn)
        return false;
    bool unnamed = ack->kind == NATS_ACK_ERROR && ack->stream.len == 0;
    return unnamed || view_equal(ack->stream, view_of(slot->log->name));
}

static void take_ack(struct nats_publisher *p, natsMsg *msg)
{
    static const enum bus_outcome outcomes[] = {[NATS_ACK_STORED] = BUS_STORED,
                                                [NATS_ACK_DUPLICATE] = BUS_DUPLICATE,
                                                [NATS_ACK_ERROR] = BUS_REFUSED};
    struct view text = {natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)};
    struct completion c = {NULL, NULL};
    struct nats_ack ack;
    uint32_t number;
    uint32_t turn;
    nats_ack_parse(text, &ack);
    if (ack.kind != NATS_ACK_FOREIGN && parse_token(p, natsMsg_GetSubject(msg), &number, &turn)) {
        pthread_mutex_lock(&p->lock);
        if (belongs(&p->slots[number], turn, &ack))
            c = slot_return(p, number);
        pthread_mutex_unlock(&p->lock);
    }
    if (c.done)
        complete(c, outcomes[ack.kind], ack.position, ack.why, ack.description);
    else
        atomic_fetch_add(&p->strays, 1);
}

static void take_refusal(struct nats_publisher *p)
{
    pthread_mutex_lock(&p->lock);
    p->refusals += p->in_flight > 0;
    pthread_mutex_unlock(&p->lock);
}

static void drain(struct nats_publisher *p, natsSubscription *acks)
{
    natsMsg *msg = NULL;
    natsStatus s;
    while ((s = natsSubscription_NextMsg(&msg, acks, 0)) == NATS_OK || s == NATS_NO_RESPONDERS) {
        if (s == NATS_NO_RESPONDERS) {
            take_refusal(p);
            continue;
        }
        take_ack(p, msg);
        natsMsg_Destroy(msg);
    }
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
    p->nc = session->nc;
    p->max_payload = (uint64_t)natsConnection_GetMaxPayload(session->nc);
    p->refusals = 0;
    p->refusals_trusted_ms = 0;
    pthread_mutex_unlock(&p->lock);
    return NATS_OK;
}

/* What was found out about the logs may be true no more: they are checked, and made, before more is published. */
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
    drain(p, session->own);
    if (complete_refused(p))
        doubt_logs(p->bus);
    while (complete_refused(p))
        ;
    int64_t now = clock_monotonic_ms(p->bus->options.clock);
    while (complete_oldest(p, now, "no acknowledgement in time"))
        ;
    pthread_mutex_lock(&p->lock);
    if (group_starts(p))
        atomic_store(&p->link.write_wanted, true);
    pthread_mutex_unlock(&p->lock);
}

static void on_down(void *ctx, struct nats_session *session)
{
    struct nats_publisher *p = ctx;
    (void)session;
    pthread_mutex_lock(&p->lock);
    p->session = 0;
    p->nc = NULL;
    p->refusals = 0;
    pthread_mutex_unlock(&p->lock);
    while (complete_oldest(p, INT64_MAX, "the connection to the bus broke"))
        ;
}

static void on_end(void *ctx, struct nats_session *session)
{
    (void)ctx;
    natsSubscription_Destroy(session->own);
}

static const struct nats_link_owner owner = {on_begin, on_tend, on_turn, on_down, on_end};

/* ---- messages ---- */

static size_t header_size(const char *name, size_t value_len)
{
    return value_len ? strlen(name) + strlen(": ") + value_len + strlen("\r\n") : 0;
}

/* As the server counts it against max_payload. */
static size_t encoded_size(const struct bus_message *m)
{
    size_t headers = m->message_id ? header_size(MESSAGE_ID, strlen(m->message_id)) : 0;
    for (size_t i = 0; i < m->header_count; ++i)
        headers += header_size(m->headers[i].name, m->headers[i].value.len);
    if (headers > 0)
        headers += strlen("NATS/1.0\r\n") + strlen("\r\n");
    return headers + m->payload.len;
}

/* nats.c wants a NUL behind the value. An empty one is left out: other clients cannot read it. */
static natsStatus set_header(natsMsg *msg, const struct bus_header *header)
{
    char space[HEADER_SPACE];
    char *text = space;
    if (header->value.len == 0)
        return NATS_OK;
    if (header->value.len >= sizeof space && !(text = mem_alloc(header->value.len + 1)))
        return NATS_NO_MEMORY;
    memcpy(text, header->value.data, header->value.len);
    text[header->value.len] = '\0';
    natsStatus s = natsMsgHeader_Set(msg, header->name, text);
    if (text != space)
        mem_free(text);
    return s;
}

static natsStatus make_message(const struct nats_publisher *p, const struct bus_message *m,
                               uint32_t slot, uint32_t turn, natsMsg **ret)
{
    char reply[sizeof p->inbox + TOKEN_SIZE];
    natsMsg *msg = NULL;
    snprintf(reply, sizeof reply, "%s%x-%x", p->inbox, slot, turn);
    natsStatus s = natsMsg_Create(&msg, m->subject, reply, m->payload.len ? m->payload.data : "",
                                  (int)m->payload.len);
    if (s == NATS_OK && m->message_id)
        s = natsMsgHeader_Set(msg, MESSAGE_ID, m->message_id);
    for (size_t i = 0; s == NATS_OK && i < m->header_count; ++i)
        s = set_header(msg, &m->headers[i]);
    if (s == NATS_OK)
        *ret = msg;
    else
        natsMsg_Destroy(msg);
    return s;
}

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
    else if (p->free == NO_SLOT || p->bytes + size > IN_FLIGHT_BYTES_MAX)
        e = ERR_BUSY;
    if (e == ERR_NONE) {
        ret->slot = slot_take(p);
        ret->turn = p->slots[ret->slot].turn;
        ret->session = p->session;
    }
    pthread_mutex_unlock(&p->lock);
    return e;
}

/* Appends the message to nats.c's buffer and sets its slot off, if the connection is still the one that it was built for. */
static enum err set_off(struct nats_publisher *p, const struct place *place, natsMsg *msg,
                        bool *ret_write)
{
    enum err e = ERR_UNAVAILABLE;
    pthread_mutex_lock(&p->lock);
    if (p->session == place->session) {
        nats_link_quiet = true;
        e = nats_err_of(natsConnection_PublishMsg(p->nc, msg), 0);
        nats_link_quiet = false;
    }
    if (e == ERR_NONE) {
        slot_set_off(p, place->slot);
        *ret_write = group_starts(p);
    } else {
        slot_give_back(p, place->slot);
    }
    pthread_mutex_unlock(&p->lock);
    return e;
}

static void give_back(struct nats_publisher *p, uint32_t slot)
{
    pthread_mutex_lock(&p->lock);
    slot_give_back(p, slot);
    pthread_mutex_unlock(&p->lock);
}

static bool may_publish(struct nats_bus *bus, struct nats_log *log)
{
    return atomic_load(&log->sound_round) == atomic_load(&bus->round) &&
           nats_link_silence_ms(&bus->publisher.link) <= NATS_SILENT_MS;
}

enum err nats_publish(struct bus_log *base, const struct bus_message *message,
                      bus_published_fn done, void *ctx)
{
    struct nats_log *log = (struct nats_log *)base;
    struct nats_bus *bus = nats_bus_of(base);
    struct nats_publisher *p = &bus->publisher;
    size_t size = encoded_size(message);
    struct place place;
    natsMsg *msg = NULL;
    bool write = false;
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
    natsStatus s = make_message(p, message, place.slot, place.turn, &msg);
    if (s != NATS_OK) {
        give_back(p, place.slot);
        return nats_err_of(s, 0);
    }
    e = set_off(p, &place, msg, &write);
    natsMsg_Destroy(msg);
    if (write)
        nats_link_write(&p->link);
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
    p->slot_count = bus->options.max_in_flight;
    p->slots = mem_zero(p->slot_count, sizeof *p->slots);
    if (!p->slots)
        return ERR_MEMORY;
    p->oldest = NO_SLOT;
    p->newest = NO_SLOT;
    for (uint32_t i = 0; i < p->slot_count; ++i)
        p->slots[i].next = i + 1 < p->slot_count ? i + 1 : NO_SLOT;
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
