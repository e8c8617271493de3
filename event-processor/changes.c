#include "event-processor/changes.h"

#include "common/mem.h"
#include "event-processor/wait.h"

/* Invariant: entries first..end-1, counted since the last reset, are at their numbers modulo the
 * capacity; those before `passed_end` may be read, and are at or before `position` in the status
 * log; those before `first` are all at or before `lost`, and one of each gap has no entry. */
struct changes {
    struct wait wait; /* guards the following; woken with each turn */
    struct status_entry *entries;
    size_t capacity;
    uint64_t life;
    uint64_t first, end, passed_end;
    uint64_t position, lost;
    uint64_t turn;
};

enum err changes_new(size_t capacity, struct changes **ret)
{
    struct changes *changes = mem_zero(1, sizeof *changes);
    if (!changes)
        return ERR_MEMORY;
    changes->entries = mem_zero(capacity, sizeof *changes->entries);
    if (!changes->entries || wait_init(&changes->wait)) {
        mem_free(changes->entries);
        mem_free(changes);
        return ERR_MEMORY;
    }
    changes->capacity = capacity;
    changes->life = 1;
    *ret = changes;
    return ERR_NONE;
}

void changes_free(struct changes *changes)
{
    if (!changes)
        return;
    wait_destroy(&changes->wait);
    mem_free(changes->entries);
    mem_free(changes);
}

static struct status_entry *entry_at(const struct changes *changes, uint64_t number)
{
    return &changes->entries[number % changes->capacity];
}

/* ---- writing ---- */

void changes_add(struct changes *changes, const struct status_entry *entry)
{
    wait_lock(&changes->wait);
    if (changes->end - changes->first == changes->capacity) {
        changes->lost = entry_at(changes, changes->first)->change_position;
        changes->first++;
    }
    *entry_at(changes, changes->end++) = *entry;
    wait_unlock(&changes->wait);
}

static void next_turn(struct changes *changes)
{
    changes->turn++;
    wait_wake_all(&changes->wait);
}

void changes_pass(struct changes *changes, uint64_t position)
{
    wait_lock(&changes->wait);
    changes->passed_end = changes->end;
    if (position > changes->position)
        changes->position = position;
    next_turn(changes);
    wait_unlock(&changes->wait);
}

void changes_begin(struct changes *changes, uint64_t position)
{
    wait_lock(&changes->wait);
    if (position > changes->position) {
        changes->position = position;
        changes->lost = position;
        changes->end++; /* the number of what nobody has read */
        changes->first = changes->end;
        changes->passed_end = changes->end;
        next_turn(changes);
    }
    wait_unlock(&changes->wait);
}

void changes_reset(struct changes *changes)
{
    wait_lock(&changes->wait);
    changes->life++;
    changes->first = changes->end = changes->passed_end = 0;
    changes->position = changes->lost = 0;
    next_turn(changes);
    wait_unlock(&changes->wait);
}

/* ---- reading ---- */

uint64_t changes_now(struct changes *changes, struct changes_cursor *ret)
{
    wait_lock(&changes->wait);
    *ret = (struct changes_cursor){.life = changes->life, .next = changes->passed_end};
    uint64_t position = changes->position;
    wait_unlock(&changes->wait);
    return position;
}

/* The number of the first entry after the position; `passed_end` if there is none. */
static uint64_t find_after(const struct changes *changes, uint64_t position)
{
    uint64_t low = changes->first, high = changes->passed_end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (entry_at(changes, middle)->change_position <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool changes_after(struct changes *changes, uint64_t position, struct changes_cursor *ret)
{
    wait_lock(&changes->wait);
    bool kept = position >= changes->lost && position <= changes->position;
    if (kept)
        *ret =
            (struct changes_cursor){.life = changes->life, .next = find_after(changes, position)};
    wait_unlock(&changes->wait);
    return kept;
}

/* How many entries from `next` on may be taken at once: whole batches only. */
static size_t whole_batches(const struct changes *changes, uint64_t next, size_t max)
{
    uint64_t there = changes->passed_end - next;
    size_t count = there < max ? (size_t)there : max;
    if (count == there)
        return count;
    uint64_t cut = entry_at(changes, next + count)->change_position;
    while (count > 0 && entry_at(changes, next + count - 1)->change_position == cut)
        count--;
    return count;
}

/* The next ones are still there. */
static void take(const struct changes *changes, struct changes_cursor *cursor,
                 struct status_entry *ret, size_t count)
{
    size_t at = (size_t)(cursor->next % changes->capacity);
    size_t straight = changes->capacity - at < count ? changes->capacity - at : count;
    memcpy(ret, changes->entries + at, straight * sizeof *ret);
    memcpy(ret + straight, changes->entries, (count - straight) * sizeof *ret);
    cursor->next += count;
}

static enum changes_end look(const struct changes *changes, const struct changes_cursor *cursor)
{
    if (cursor->life != changes->life)
        return CHANGES_RESET;
    return cursor->next < changes->first ? CHANGES_LOST : CHANGES_READ;
}

enum changes_end changes_read(struct changes *changes, struct changes_cursor *cursor,
                              struct status_entry *ret, size_t max, size_t *ret_count,
                              uint64_t *ret_position, bool *ret_more)
{
    wait_lock(&changes->wait);
    enum changes_end end = look(changes, cursor);
    if (end == CHANGES_READ) {
        size_t count = whole_batches(changes, cursor->next, max);
        take(changes, cursor, ret, count);
        *ret_more = cursor->next < changes->passed_end;
        *ret_position = *ret_more ? ret[count - 1].change_position : changes->position;
        *ret_count = count;
    }
    wait_unlock(&changes->wait);
    return end;
}

enum changes_end changes_look(struct changes *changes, const struct changes_cursor *cursor)
{
    wait_lock(&changes->wait);
    enum changes_end end = look(changes, cursor);
    wait_unlock(&changes->wait);
    return end;
}

uint64_t changes_wait(struct changes *changes, uint64_t seen, struct timespec until)
{
    wait_lock(&changes->wait);
    while (changes->turn == seen && wait_on_until(&changes->wait, until))
        ;
    uint64_t turn = changes->turn;
    wait_unlock(&changes->wait);
    return turn;
}

void changes_wake(struct changes *changes)
{
    wait_lock(&changes->wait);
    next_turn(changes);
    wait_unlock(&changes->wait);
}
