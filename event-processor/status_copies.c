#include "event-processor/status_copies.h"

#include "common/mem.h"

#include <string.h>

#define SLOTS_FIRST 64u

struct link {
    uint64_t position; /* 0: a free slot */
    uint64_t next;     /* 0: the last copy */
    uint64_t previous; /* of the event itself: the last copy */
};

/* Invariant: links are found by their position with linear probing, each as near to its home as
 * possible; at most half of the slots are used. Each event that has copies has a link, and each
 * copy that is not its event's only one. */
struct status_copies {
    struct link *links;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

enum err status_copies_new(struct status_copies **ret)
{
    struct status_copies *copies = mem_zero(1, sizeof *copies);
    if (!copies)
        return ERR_MEMORY;
    *ret = copies;
    return ERR_NONE;
}

void status_copies_clear(struct status_copies *copies)
{
    mem_free(copies->links);
    *copies = (struct status_copies){0};
}

void status_copies_free(struct status_copies *copies)
{
    if (!copies)
        return;
    status_copies_clear(copies);
    mem_free(copies);
}

/* ---- slots ---- */

/* Fibonacci hashing: positions come in runs, and runs spread evenly. */
static size_t home_of(uint64_t position, size_t capacity)
{
    return (size_t)(position * 0x9e3779b97f4a7c15u >> 32) & (capacity - 1);
}

/* The slot that holds the position, or the free one where it belongs. */
static struct link *find(struct link *links, size_t capacity, uint64_t position)
{
    size_t i = home_of(position, capacity);
    while (links[i].position != 0 && links[i].position != position)
        i = (i + 1) & (capacity - 1);
    return &links[i];
}

static struct link *get(const struct status_copies *copies, uint64_t position)
{
    if (copies->count == 0)
        return NULL;
    struct link *link = find(copies->links, copies->capacity, position);
    return link->position != 0 ? link : NULL;
}

static enum err resize(struct status_copies *copies, size_t capacity)
{
    struct link *links = mem_zero(capacity, sizeof *links);
    if (!links)
        return ERR_MEMORY;
    for (size_t i = 0; i < copies->capacity; i++)
        if (copies->links[i].position != 0)
            *find(links, capacity, copies->links[i].position) = copies->links[i];
    mem_free(copies->links);
    copies->links = links;
    copies->capacity = capacity;
    return ERR_NONE;
}

/* Links that would have been nearer to their homes but for the removed one move up. */
static void remove_link(struct status_copies *copies, struct link *link)
{
    size_t mask = copies->capacity - 1;
    size_t hole = (size_t)(link - copies->links);
    for (size_t i = (hole + 1) & mask; copies->links[i].position != 0; i = (i + 1) & mask) {
        size_t home = home_of(copies->links[i].position, copies->capacity);
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        copies->links[hole] = copies->links[i];
        hole = i;
    }
    copies->links[hole] = (struct link){0};
    copies->count--;
    if (copies->capacity > SLOTS_FIRST && copies->count * 8 < copies->capacity)
        (void)resize(copies,
                     copies->capacity / 2); /* without memory for it there is room to spare */
}

/* ---- chains ---- */

static void insert(struct status_copies *copies, struct link link)
{
    *find(copies->links, copies->capacity, link.position) = link;
    copies->count++;
}

static bool has_one_copy(const struct link *event)
{
    return event->next == event->previous;
}

enum err status_copies_add(struct status_copies *copies, uint64_t event, uint64_t copy)
{
    if ((copies->count + 2) * 2 > copies->capacity) {
        enum err e = resize(copies, copies->capacity ? copies->capacity * 2 : SLOTS_FIRST);
        if (e)
            return e;
    }
    struct link *head = get(copies, event);
    if (!head) {
        insert(copies, (struct link){.position = event, .next = copy, .previous = copy});
        return ERR_NONE;
    }
    uint64_t last = head->previous;
    if (has_one_copy(head))
        insert(copies, (struct link){.position = last, .next = copy, .previous = event});
    else
        get(copies, last)->next = copy;
    head->previous = copy;
    insert(copies, (struct link){.position = copy, .previous = last});
    return ERR_NONE;
}

bool status_copies_none(const struct status_copies *copies)
{
    return copies->count == 0;
}

uint64_t status_copies_next(const struct status_copies *copies, uint64_t position)
{
    const struct link *link = get(copies, position);
    return link ? link->next : 0;
}

/* After a copy has gone. */
static void drop_link_of_only_copy(struct status_copies *copies, uint64_t event)
{
    const struct link *head = get(copies, event);
    if (has_one_copy(head))
        remove_link(copies, get(copies, head->next));
}

void status_copies_forget(struct status_copies *copies, uint64_t event)
{
    struct link *head = get(copies, event);
    if (!head)
        return;
    uint64_t heir = head->next;
    uint64_t last = head->previous;
    remove_link(copies, head);
    if (heir == last)
        return;
    get(copies, heir)->previous = last;
    drop_link_of_only_copy(copies, heir);
}

void status_copies_remove(struct status_copies *copies, uint64_t event, uint64_t copy)
{
    struct link *head = get(copies, event);
    if (has_one_copy(head)) {
        remove_link(copies, head);
        return;
    }
    struct link *link = get(copies, copy);
    uint64_t next = link->next;
    uint64_t previous = link->previous;
    remove_link(copies, link);
    get(copies, next ? next : event)->previous = previous;
    get(copies, previous)->next = next;
    drop_link_of_only_copy(copies, event);
}

size_t status_copies_bytes(const struct status_copies *copies)
{
    return sizeof *copies + copies->capacity * sizeof *copies->links;
}
