#include "event-processor/in_hand.h"

#include "common/mem.h"
#include "event-processor/wait.h"

#include <stdatomic.h>

enum {
    OVERHEAD = 512,           /* bytes that a delivery takes beside its payload */
    EXPECTED_FIRST = 1 << 20, /* the largest that a bus takes unless told otherwise */
    EXPECTED_MEMORY = 256,    /* so many smaller deliveries make a large one forgotten, mostly */
};

/* Invariant: each of `limit` places is either in the free list, or in the list by age and in its
 * position's bucket, or was never used: its memory need not be there yet. */
struct in_hand {
    struct wait wait; /* guards all below; woken when a place becomes free */
    const struct clock *clock;
    size_t limit;
    size_t count;
    size_t aside; /* of these */
    size_t bytes_limit;
    size_t bytes;
    size_t bytes_aside;
    size_t expected; /* bytes of a delivery to come: the largest of late */
    struct held *places;
    size_t used; /* of them, so far */
    struct held *free;
    struct held **buckets;
    size_t bucket_count;          /* a power of two */
    struct held *oldest, *newest; /* by touched_ms */
    size_t most, wanted; /* room that somebody waits for, see in_hand_wait_room; 0: nobody does */
};

enum err in_hand_new(size_t limit, size_t bytes_limit, const struct clock *clock,
                     struct in_hand **ret)
{
    struct in_hand *hand = mem_zero(1, sizeof *hand);
    if (!hand)
        return ERR_MEMORY;
    hand->limit = limit;
    hand->bytes_limit = bytes_limit;
    hand->expected = EXPECTED_FIRST;
    hand->clock = clock;
    hand->bucket_count = 16;
    while (hand->bucket_count < limit)
        hand->bucket_count *= 2;
    hand->places = mem_zero(limit, sizeof *hand->places);
    hand->buckets = mem_zero(hand->bucket_count, sizeof(struct held *));
    if (!hand->places || !hand->buckets || wait_init(&hand->wait)) {
        mem_free(hand->places);
        mem_free(hand->buckets);
        mem_free(hand);
        return ERR_MEMORY;
    }
    *ret = hand;
    return ERR_NONE;
}

void in_hand_free(struct in_hand *hand)
{
    if (!hand)
        return;
    while (hand->oldest)
        in_hand_settle(hand, hand->oldest, BUS_LEAVE, 0);
    wait_destroy(&hand->wait);
    mem_free(hand->buckets);
    mem_free(hand->places);
    mem_free(hand);
}

/* ---- lists ---- */

static struct held **bucket_of(struct in_hand *hand, uint64_t position)
{
    return &hand->buckets[position & (hand->bucket_count - 1)];
}

static void append_newest(struct in_hand *hand, struct held *held)
{
    held->older = hand->newest;
    held->newer = NULL;
    if (hand->newest)
        hand->newest->newer = held;
    else
        hand->oldest = held;
    hand->newest = held;
}

static void unlink_age(struct in_hand *hand, struct held *held)
{
    if (held->older)
        held->older->newer = held->newer;
    else
        hand->oldest = held->newer;
    if (held->newer)
        held->newer->older = held->older;
    else
        hand->newest = held->older;
}

static void unlink_bucket(struct in_hand *hand, struct held *held)
{
    struct held **link = bucket_of(hand, held->source.position);
    while (*link != held)
        link = &(*link)->same_bucket;
    *link = held->same_bucket;
}

static void touch(struct in_hand *hand, struct held *held, int64_t now_ms)
{
    held->touched_ms = now_ms;
    unlink_age(hand, held);
    append_newest(hand, held);
}

/* ---- deliveries ---- */

/* With the lock held. */
static size_t places_free(const struct in_hand *hand)
{
    size_t left = hand->limit - hand->count;
    size_t asked = hand->count - hand->aside;
    size_t more = asked < hand->most ? hand->most - asked : 0;
    return more < left ? more : left;
}

static size_t room(const struct in_hand *hand)
{
    size_t places = places_free(hand);
    size_t bytes = hand->bytes < hand->bytes_limit ? hand->bytes_limit - hand->bytes : 0;
    size_t fitting = bytes / hand->expected;
    if (fitting == 0 && hand->count == hand->aside)
        fitting = 1;
    return places < fitting ? places : fitting;
}

static bool is_enough(const struct in_hand *hand, size_t places)
{
    size_t free = room(hand);
    bool bytes_are_short = free < places && places_free(hand) >= places;
    return free >= places || (free > 0 && bytes_are_short && hand->bytes <= hand->bytes_limit / 2);
}

/* With the lock held. */
static void wake_if_enough(struct in_hand *hand)
{
    if (hand->count == 0 || (hand->wanted && is_enough(hand, hand->wanted)))
        wait_wake_all(&hand->wait);
}

size_t in_hand_wait_room(struct in_hand *hand, size_t most, size_t places, int64_t timeout_ms)
{
    struct timespec until = wait_until(timeout_ms);
    wait_lock(&hand->wait);
    hand->most = most;
    hand->wanted = places;
    while (!is_enough(hand, places) && wait_on_until(&hand->wait, until))
        ;
    hand->wanted = 0;
    size_t free = room(hand);
    wait_unlock(&hand->wait);
    return free;
}

/* With the lock held. */
static struct held *take_place(struct in_hand *hand)
{
    struct held *held = hand->free;
    if (!held)
        return &hand->places[hand->used++];
    hand->free = held->next;
    return held;
}

/* With the lock held. The older handle may go unless it owns the record. */
static void renew(struct in_hand *hand, struct held *held, struct bus_delivery *delivery)
{
    if (held->newest != held->delivery)
        bus_settle(held->newest, BUS_LEAVE, 0);
    else
        hand->bytes += held->bytes;
    held->newest = delivery;
    touch(hand, held, clock_monotonic_ms(hand->clock));
}

/* With the lock held. */
static void weigh(struct in_hand *hand, struct held *held)
{
    held->bytes = (held->record ? held->record->payload.len : 0) + OVERHEAD;
    hand->bytes += held->bytes;
    hand->expected -= hand->expected / EXPECTED_MEMORY;
    if (held->bytes > hand->expected)
        hand->expected = held->bytes;
}

struct held *in_hand_take(struct in_hand *hand, struct bus_delivery *delivery)
{
    uint64_t position = delivery->record->position;
    wait_lock(&hand->wait);
    struct held **bucket = bucket_of(hand, position);
    struct held *held = *bucket;
    while (held && held->source.position != position)
        held = held->same_bucket;
    if (held) {
        renew(hand, held, delivery);
        held = NULL;
    } else {
        held = take_place(hand);
        hand->count++;
        *held = (struct held){
            .hand = hand, .source.position = position, .record = delivery->record, .burial = -1};
        weigh(hand, held);
        held->delivery = delivery;
        held->newest = delivery;
        held->touched_ms = clock_monotonic_ms(hand->clock);
        held->same_bucket = *bucket;
        *bucket = held;
        append_newest(hand, held);
    }
    wait_unlock(&hand->wait);
    return held;
}

void in_hand_set_record(struct in_hand *hand, struct held *held, struct bus_record *record)
{
    wait_lock(&hand->wait);
    hand->bytes -= held->bytes;
    held->record = record;
    held->read = record;
    weigh(hand, held);
    wait_unlock(&hand->wait);
}

bool in_hand_set_aside(struct in_hand *hand, struct held *held)
{
    wait_lock(&hand->wait);
    if (!held->aside && hand->aside < hand->limit / 2 &&
        hand->bytes_aside + held->bytes <= hand->bytes_limit / 2) {
        held->aside = true;
        hand->aside++;
        hand->bytes_aside += held->bytes;
        wake_if_enough(hand);
    }
    bool aside = held->aside;
    wait_unlock(&hand->wait);
    return aside;
}

/* With the lock held, which it lets go of. */
static void let_go(struct in_hand *hand, struct held *held, enum bus_settlement how,
                   int64_t delay_ms)
{
    unlink_age(hand, held);
    unlink_bucket(hand, held);
    struct bus_delivery *first = held->delivery;
    struct bus_delivery *newest = held->newest;
    struct bus_record *read = held->read;
    held->next = hand->free;
    hand->free = held;
    hand->count--;
    if (held->aside) {
        hand->aside--;
        hand->bytes_aside -= held->bytes;
    }
    hand->bytes -= first == newest ? held->bytes : 2 * held->bytes;
    wake_if_enough(hand);
    wait_unlock(&hand->wait);
    bus_settle(newest, how, delay_ms);
    if (first != newest)
        bus_settle(first, BUS_LEAVE, 0);
    bus_record_free(read);
}

void in_hand_settle(struct in_hand *hand, struct held *held, enum bus_settlement how,
                    int64_t delay_ms)
{
    wait_lock(&hand->wait);
    if (!held->noticing) {
        let_go(hand, held, how, delay_ms);
        return;
    }
    held->settled = true;
    held->how = how;
    held->delay_ms = delay_ms;
    wait_unlock(&hand->wait);
}

/* ---- runs that take long ---- */

static bool is_long_run(const struct held *held, int64_t now_ns, int64_t age_ns)
{
    int64_t began_ns = atomic_load(&held->began_ns);
    return !held->noticed && began_ns != 0 && now_ns - began_ns >= age_ns;
}

struct held *in_hand_long_run(struct in_hand *hand, int64_t now_ns, int64_t age_ns)
{
    wait_lock(&hand->wait);
    struct held *held = hand->oldest;
    while (held && !is_long_run(held, now_ns, age_ns))
        held = held->newer;
    if (held)
        held->noticed = held->noticing = true;
    wait_unlock(&hand->wait);
    return held;
}

void in_hand_noted(struct in_hand *hand, struct held *held)
{
    wait_lock(&hand->wait);
    held->noticing = false;
    if (held->settled)
        let_go(hand, held, held->how, held->delay_ms);
    else
        wait_unlock(&hand->wait);
}

void in_hand_report(struct in_hand *hand, int64_t age_ms)
{
    wait_lock(&hand->wait);
    int64_t now_ms = clock_monotonic_ms(hand->clock);
    while (hand->oldest && now_ms - hand->oldest->touched_ms >= age_ms) {
        struct held *held = hand->oldest;
        bus_progress(held->newest);
        touch(hand, held, now_ms);
    }
    wait_unlock(&hand->wait);
}

bool in_hand_wait_empty(struct in_hand *hand, int64_t timeout_ms)
{
    struct timespec until = wait_until(timeout_ms);
    wait_lock(&hand->wait);
    while (hand->count > 0 && wait_on_until(&hand->wait, until))
        ;
    bool empty = hand->count == 0;
    wait_unlock(&hand->wait);
    return empty;
}

size_t in_hand_count(struct in_hand *hand)
{
    wait_lock(&hand->wait);
    size_t count = hand->count;
    wait_unlock(&hand->wait);
    return count;
}

size_t in_hand_bytes(struct in_hand *hand)
{
    wait_lock(&hand->wait);
    size_t bytes = hand->bytes;
    wait_unlock(&hand->wait);
    return bytes;
}
