/* Publishes in flight, each in a slot of its own until its outcome is known.
 *
 * An ack finds its publish by the reply subject's last token: the slot's number and its turn,
 * which grows with each use of the slot. So a slot may be used again at once after its publish
 * was given up: the late ack has an old turn and is a stray.
 *
 * "No responders" (a 503 without payload: no stream takes the subject, or it has no leader)
 * reaches us without its subject, because natsSubscription_NextMsg destroys that message. Every
 * publish has exactly one answer, so once there are as many of them as there are publishes in
 * flight, all of these were refused; until then they wait. That is wrong only if the 503 of a
 * publish that was given up comes late, so after giving up they don't count for a while.
 */
#include "common/bus_nats.h"

#include "common/mem.h"

#include <stdlib.h>

enum {
    REFUSALS_DISTRUST_MS = 10000,
    LATE_MS = 50, /* after its start a group holds up the next one no longer */
};

struct completion {
    bus_published_fn done;
    void *ctx;
};

/* ---- slots ---- */

enum err nats_slots_make(struct nats_publisher *p, uint32_t count)
{
    p->slots = mem_zero(count, sizeof *p->slots);
    if (!p->slots)
        return ERR_MEMORY;
    p->slot_count = count;
    p->oldest = NATS_NO_SLOT;
    p->newest = NATS_NO_SLOT;
    p->unwritten = NATS_NO_SLOT;
    for (uint32_t i = 0; i < count; ++i)
        p->slots[i].next = i + 1 < count ? i + 1 : NATS_NO_SLOT;
    return ERR_NONE;
}

uint32_t nats_slot_take(struct nats_publisher *p)
{
    uint32_t number = p->free;
    p->free = p->slots[number].next;
    ++p->slots[number].turn;
    return number;
}

void nats_slot_give_back(struct nats_publisher *p, uint32_t number)
{
    p->slots[number].next = p->free;
    p->free = number;
}

void nats_slot_set_off(struct nats_publisher *p, uint32_t number)
{
    struct nats_slot *slot = &p->slots[number];
    slot->taken_in = true;
    slot->group = p->group;
    if (p->unwritten == NATS_NO_SLOT)
        p->unwritten = number;
    slot->prev = p->newest;
    slot->next = NATS_NO_SLOT;
    *(p->newest == NATS_NO_SLOT ? &p->oldest : &p->slots[p->newest].next) = number;
    p->newest = number;
    p->bytes += slot->bytes;
    ++p->in_flight;
    ++p->filling;
}

static struct completion slot_return(struct nats_publisher *p, uint32_t number)
{
    struct nats_slot *slot = &p->slots[number];
    if (p->unwritten == number)
        p->unwritten = slot->next;
    natsMsg_Destroy(slot->msg);
    slot->msg = NULL;
    *(slot->prev == NATS_NO_SLOT ? &p->oldest : &p->slots[slot->prev].next) = slot->next;
    *(slot->next == NATS_NO_SLOT ? &p->newest : &p->slots[slot->next].prev) = slot->prev;
    slot->taken_in = false;
    p->bytes -= slot->bytes;
    if (--p->in_flight == 0)
        p->refusals = 0;
    if (slot->group == p->group)
        --p->filling;
    else if (slot->group >= p->awaited_from)
        --p->awaited;
    nats_slot_give_back(p, number);
    return (struct completion){slot->done, slot->ctx};
}

/* ---- groups ---- */

bool nats_group_starts(struct nats_publisher *p, bool late)
{
    if (p->filling == 0 || p->draining)
        return false;
    bool back = p->awaited <= p->refusals;
    int64_t now = nats_now_ms();
    if (!back && (!late || now - p->started_ms < LATE_MS))
        return false;
    if (!back) {
        p->awaited_from = p->group;
        p->awaited = 0;
    }
    p->started_ms = now;
    ++p->group;
    p->awaited += p->filling;
    p->filling = 0;
    return true;
}

size_t nats_slots_take_messages(struct nats_publisher *p, natsMsg **ret, size_t max)
{
    size_t count = 0;
    while (count < max && p->unwritten != NATS_NO_SLOT) {
        struct nats_slot *slot = &p->slots[p->unwritten];
        if (slot->group == p->group)
            break;
        ret[count++] = slot->msg;
        slot->msg = NULL;
        p->unwritten = slot->next;
    }
    return count;
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
    bool due = p->oldest != NATS_NO_SLOT && p->slots[p->oldest].deadline_ms <= now;
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

/* Wants the lock held. */
static bool all_are_refused(const struct nats_publisher *p)
{
    return p->in_flight > 0 && p->refusals >= p->in_flight;
}

bool nats_slots_refused(struct nats_publisher *p)
{
    pthread_mutex_lock(&p->lock);
    bool refused = all_are_refused(p);
    pthread_mutex_unlock(&p->lock);
    return refused;
}

static bool complete_refused(struct nats_publisher *p)
{
    struct completion c = {NULL, NULL};
    pthread_mutex_lock(&p->lock);
    if (all_are_refused(p)) {
        --p->refusals;
        c = slot_return(p, p->oldest);
    }
    pthread_mutex_unlock(&p->lock);
    if (c.done)
        complete(c, BUS_REFUSED, 0, ERR_UNAVAILABLE,
                 VIEW("no stream takes the subject, or it has no leader"));
    return c.done != NULL;
}

void nats_slots_refuse(struct nats_publisher *p)
{
    while (complete_refused(p))
        ;
}

void nats_slots_expire(struct nats_publisher *p, int64_t now, const char *why)
{
    while (complete_oldest(p, now, why))
        ;
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

/* What came together: acks, and refusals that nobody knows whose they are. */
enum { BATCH_MAX = 64 };
struct batch {
    struct nats_ack acks[BATCH_MAX];
    struct completion completions[BATCH_MAX]; /* done NULL: a stray */
    natsMsg *msgs[BATCH_MAX];
    size_t count;
    uint32_t refusals;
};

static bool gather(natsSubscription *acks, struct batch *batch)
{
    natsStatus s = NATS_OK;
    batch->count = 0;
    batch->refusals = 0;
    while (batch->count < BATCH_MAX && (s == NATS_OK || s == NATS_NO_RESPONDERS)) {
        s = natsSubscription_NextMsg(&batch->msgs[batch->count], acks, 0);
        batch->refusals += s == NATS_NO_RESPONDERS;
        batch->count += s == NATS_OK;
    }
    return batch->count > 0 || batch->refusals > 0;
}

static struct completion take_ack(struct nats_publisher *p, const natsMsg *msg,
                                  const struct nats_ack *ack)
{
    uint32_t number;
    uint32_t turn;
    if (ack->kind != NATS_ACK_FOREIGN && parse_token(p, natsMsg_GetSubject(msg), &number, &turn) &&
        belongs(&p->slots[number], turn, ack))
        return slot_return(p, number);
    atomic_fetch_add(&p->strays, 1);
    return (struct completion){NULL, NULL};
}

static void take(struct nats_publisher *p, struct batch *batch)
{
    for (size_t i = 0; i < batch->count; ++i) {
        const natsMsg *msg = batch->msgs[i];
        struct view text = {natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)};
        nats_ack_parse(text, &batch->acks[i]);
    }
    pthread_mutex_lock(&p->lock);
    p->draining = true;
    if (p->in_flight > 0 && nats_now_ms() >= p->refusals_trusted_ms)
        p->refusals += batch->refusals;
    for (size_t i = 0; i < batch->count; ++i)
        batch->completions[i] = take_ack(p, batch->msgs[i], &batch->acks[i]);
    pthread_mutex_unlock(&p->lock);
}

static void tell(struct batch *batch)
{
    static const enum bus_outcome outcomes[] = {[NATS_ACK_STORED] = BUS_STORED,
                                                [NATS_ACK_DUPLICATE] = BUS_DUPLICATE,
                                                [NATS_ACK_ERROR] = BUS_REFUSED,
                                                [NATS_ACK_UNKNOWN] = BUS_UNKNOWN};
    for (size_t i = 0; i < batch->count; ++i) {
        const struct nats_ack *ack = &batch->acks[i];
        if (batch->completions[i].done)
            complete(batch->completions[i], outcomes[ack->kind], ack->position, ack->why,
                     ack->description);
        natsMsg_Destroy(batch->msgs[i]);
    }
}

void nats_slots_drain(struct nats_publisher *p, natsSubscription *acks)
{
    struct batch batch;
    while (gather(acks, &batch)) {
        take(p, &batch);
        tell(&batch);
    }
}
