#include "event-processor/status_names.h"

#include "common/event.h"
#include "common/mem.h"
#include "event-processor/keyed_hash.h"

#define SLOTS_FIRST 256u

/* Invariant: `slots` holds the numbers of all names but 0, found by hash with linear probing; 0 is
 * a free slot. At most half of it is used. */
struct status_names {
    struct hash_key key;
    struct view *list; /* by number */
    uint32_t count;
    uint32_t list_capacity;
    uint32_t *slots;
    uint32_t slot_count; /* a power of two */
    size_t text_bytes;
};

enum err status_names_new(struct status_names **ret)
{
    struct status_names *names = mem_zero(1, sizeof *names);
    if (!names)
        return ERR_MEMORY;
    names->list = mem_zero(SLOTS_FIRST / 2, sizeof *names->list);
    names->slots = mem_zero(SLOTS_FIRST, sizeof *names->slots);
    if (!names->list || !names->slots) {
        status_names_free(names);
        return ERR_MEMORY;
    }
    hash_key_make(&names->key);
    names->list_capacity = SLOTS_FIRST / 2;
    names->slot_count = SLOTS_FIRST;
    names->list[0] = VIEW(STATUS_NAMES_OTHER);
    names->count = 1;
    *ret = names;
    return ERR_NONE;
}

void status_names_free(struct status_names *names)
{
    if (!names)
        return;
    for (uint32_t i = 1; names->list && i < names->count; i++)
        mem_free((char *)names->list[i].data);
    mem_free(names->list);
    mem_free(names->slots);
    mem_free(names);
}

/* The slot that holds the name, or the free one where it belongs. */
static uint32_t *find_slot(const struct status_names *names, uint32_t *slots, uint32_t slot_count,
                           struct view name)
{
    uint32_t i = (uint32_t)keyed_hash(&names->key, name.data, name.len) & (slot_count - 1);
    while (slots[i] != 0 && !view_equal(names->list[slots[i]], name))
        i = (i + 1) & (slot_count - 1);
    return &slots[i];
}

static bool grow(struct status_names *names)
{
    uint32_t slot_count = names->slot_count * 2;
    uint32_t *slots = mem_zero(slot_count, sizeof *slots);
    struct view *list = slots ? mem_grow(names->list, slot_count / 2, sizeof *list) : NULL;
    if (!list) {
        mem_free(slots);
        return false;
    }
    names->list = list;
    names->list_capacity = slot_count / 2;
    for (uint32_t i = 1; i < names->count; i++)
        *find_slot(names, slots, slot_count, list[i]) = i;
    mem_free(names->slots);
    names->slots = slots;
    names->slot_count = slot_count;
    return true;
}

uint32_t status_names_intern(struct status_names *names, struct view name)
{
    if (name.len > EVENT_NAME_MAX)
        return 0;
    uint32_t *slot = find_slot(names, names->slots, names->slot_count, name);
    if (*slot != 0)
        return *slot;
    if (names->count >= STATUS_NAMES_MAX)
        return 0;
    if (names->count == names->list_capacity) {
        if (!grow(names))
            return 0;
        slot = find_slot(names, names->slots, names->slot_count, name);
    }
    char *text = mem_copy_text(name.data, name.len);
    if (!text)
        return 0;
    names->list[names->count] = (struct view){text, name.len};
    names->text_bytes += name.len + 1;
    *slot = names->count++;
    return *slot;
}

struct view status_names_get(const struct status_names *names, uint32_t number)
{
    return names->list[number < names->count ? number : 0];
}

uint32_t status_names_count(const struct status_names *names)
{
    return names->count;
}

size_t status_names_bytes(const struct status_names *names)
{
    return sizeof *names + names->list_capacity * sizeof *names->list +
           names->slot_count * sizeof *names->slots + names->text_bytes;
}
