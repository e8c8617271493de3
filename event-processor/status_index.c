#include "event-processor/status_index.h"

#include "common/mem.h"

#include <assert.h>
#include <string.h>

#define SHARDS 1024
#define CAPACITY_FIRST 16u /* of the first shard; the last one's is almost half as much again */

struct slot {
    uint8_t tag; /* 0: free */
    uint8_t low[4];
};
static_assert(sizeof(struct slot) == 5, "a slot takes 5 bytes");

/* Invariant: count < capacity wherever there are slots, so a probe always meets a free one. */
struct shard {
    struct slot *slots;
    uint32_t capacity;
    uint32_t count;
};

struct status_index {
    struct shard shards[SHARDS];
    status_index_hash_fn hash_of;
    const void *ctx;
    size_t slot_bytes;
};

enum err status_index_new(status_index_hash_fn hash_of, const void *ctx, struct status_index **ret)
{
    struct status_index *index = mem_zero(1, sizeof *index);
    if (!index)
        return ERR_MEMORY;
    index->hash_of = hash_of;
    index->ctx = ctx;
    *ret = index;
    return ERR_NONE;
}

void status_index_free(struct status_index *index)
{
    if (!index)
        return;
    status_index_clear(index);
    mem_free(index);
}

void status_index_clear(struct status_index *index)
{
    for (size_t i = 0; i < SHARDS; i++) {
        mem_free(index->shards[i].slots);
        index->shards[i] = (struct shard){0};
    }
    index->slot_bytes = 0;
}

/* Three disjoint parts of the hash: the top 10 bits choose the shard, the lowest 8 are the tag, 32
 * between them the slot. */
static size_t shard_of(uint64_t hash)
{
    return hash >> 54;
}

static uint8_t tag_of(uint64_t hash)
{
    uint8_t tag = (uint8_t)hash;
    return tag ? tag : 1;
}

static uint32_t slot_of(uint64_t hash, uint32_t capacity)
{
    uint32_t part = (uint32_t)(hash >> 16);
    return (uint32_t)((uint64_t)part * capacity >> 32);
}

static void place(struct slot *slots, uint32_t capacity, uint64_t hash, uint32_t low)
{
    uint32_t i = slot_of(hash, capacity);
    while (slots[i].tag != 0)
        i = i + 1 == capacity ? 0 : i + 1;
    slots[i].tag = tag_of(hash);
    memcpy(slots[i].low, &low, sizeof low);
}

static uint32_t slot_low(const struct slot *slot)
{
    uint32_t low;
    memcpy(&low, slot->low, sizeof low);
    return low;
}

/* Whether what is indexed there has the slot's hash still, as far as the slot shows. */
static bool is_live(const struct status_index *index, const struct shard *shard,
                    const struct slot *slot, uint64_t *ret_hash)
{
    return slot->tag != 0 && index->hash_of(index->ctx, slot_low(slot), ret_hash) &&
           tag_of(*ret_hash) == slot->tag && &index->shards[shard_of(*ret_hash)] == shard;
}

/* Moves the shard's live slots into a new array. */
static enum err resize(struct status_index *index, struct shard *shard, uint32_t capacity)
{
    struct slot *slots = mem_zero(capacity, sizeof *slots);
    if (!slots)
        return ERR_MEMORY;
    uint32_t live = 0;
    for (uint32_t i = 0; i < shard->capacity; i++) {
        uint64_t hash;
        if (!is_live(index, shard, &shard->slots[i], &hash))
            continue;
        place(slots, capacity, hash, slot_low(&shard->slots[i]));
        live++;
    }
    mem_free(shard->slots);
    index->slot_bytes += (size_t)capacity * sizeof *slots;
    index->slot_bytes -= (size_t)shard->capacity * sizeof *slots;
    shard->slots = slots;
    shard->capacity = capacity;
    shard->count = live;
    return ERR_NONE;
}

/* Shards fill equally fast, so with equal capacities all would grow within a few batches of the
 * follower's. These are spread over one step of growth, and stay so. */
static uint32_t first_capacity(const struct status_index *index, const struct shard *shard)
{
    return CAPACITY_FIRST + (uint32_t)(shard - index->shards) * (CAPACITY_FIRST / 2) / SHARDS;
}

static uint32_t grown(uint32_t capacity)
{
    return capacity + capacity / 2;
}

/* Makes room in a full shard: more slots, or fewer if so many are dead that the live ones would
 * not fill half of the next smaller size. */
static enum err make_room(struct status_index *index, struct shard *shard)
{
    uint32_t capacity = first_capacity(index, shard);
    enum err e = resize(index, shard, shard->capacity ? grown(shard->capacity) : capacity);
    if (e)
        return e;
    while ((uint64_t)shard->count * 15 >= (uint64_t)capacity * 8)
        capacity = grown(capacity);
    if (capacity < shard->capacity)
        (void)resize(index, shard, capacity); /* without memory for it there is room to spare */
    return ERR_NONE;
}

void status_index_reserve(struct status_index *index, uint64_t count)
{
    uint64_t each = count / SHARDS + count / SHARDS / 16; /* some get more than others */
    for (size_t i = 0; i < SHARDS; i++) {
        uint32_t capacity = first_capacity(index, &index->shards[i]);
        while ((uint64_t)capacity * 4 <= each * 5 && capacity < UINT32_MAX / 2)
            capacity = grown(capacity);
        if (resize(index, &index->shards[i], capacity))
            return;
    }
}

void status_index_prefetch(const struct status_index *index, uint64_t hash)
{
    const struct shard *shard = &index->shards[shard_of(hash)];
    if (shard->capacity > 0)
        __builtin_prefetch(&shard->slots[slot_of(hash, shard->capacity)], 1);
}

enum err status_index_add(struct status_index *index, uint64_t hash, uint32_t low)
{
    struct shard *shard = &index->shards[shard_of(hash)];
    if ((uint64_t)shard->count * 5 >= (uint64_t)shard->capacity * 4) {
        enum err e = make_room(index, shard);
        if (e)
            return e;
    }
    place(shard->slots, shard->capacity, hash, low);
    shard->count++;
    return ERR_NONE;
}

bool status_index_next(const struct status_index *index, uint64_t hash,
                       struct status_index_cursor *cursor, uint32_t *ret_low)
{
    const struct shard *shard = &index->shards[shard_of(hash)];
    if (shard->capacity == 0)
        return false;
    uint8_t tag = tag_of(hash);
    uint32_t i =
        (uint32_t)(((uint64_t)slot_of(hash, shard->capacity) + cursor->steps) % shard->capacity);
    while (shard->slots[i].tag != 0) {
        cursor->steps++;
        if (shard->slots[i].tag == tag) {
            *ret_low = slot_low(&shard->slots[i]);
            return true;
        }
        i = i + 1 == shard->capacity ? 0 : i + 1;
    }
    return false;
}

size_t status_index_bytes(const struct status_index *index)
{
    return sizeof *index + index->slot_bytes;
}
