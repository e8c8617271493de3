#include "event-processor/status_frozen.h"

#include "common/mem.h"
#include "event-processor/status_table_cells.h"

static_assert(FROZEN_CELL_SIZE == sizeof(struct status_cell), "a page's cell is a cell");
static_assert(FROZEN_PAGE_CELLS == STATUS_SEGMENT_CELLS, "a page is a segment");
static_assert(offsetof(struct status_cell, name) + sizeof((struct status_cell){0}.name) ==
                  FROZEN_CELL_SIZE - 1,
              "flags come last");

#define KEPT_FIRST 1024u

/* A cell as it was; those of a segment are a list, the latest first. */
struct kept {
    uint32_t next; /* counted from 1; 0: no more */
    uint16_t place;
    struct status_cell cell;
};

struct status_frozen {
    uint64_t next;  /* number of the first segment that was not read yet */
    uint64_t last;  /* cells after this position are later */
    uint32_t names; /* there were so many */
    bool failed;
    struct kept *kept;
    uint32_t kept_count, kept_capacity;
};

/* ---- the moment ---- */

enum err status_table_freeze(struct status_table *table)
{
    if (table->frozen)
        return ERR_BUSY;
    struct status_frozen *frozen = mem_zero(1, sizeof *frozen);
    if (!frozen)
        return ERR_MEMORY;
    frozen->last = table->last;
    frozen->names = status_names_count(table->names);
    for (size_t i = 0; i < table->segment_count; i++)
        table->segments[i]->kept = 0;
    table->frozen = frozen;
    return ERR_NONE;
}

void status_table_thaw(struct status_table *table)
{
    status_table_write_begin(table);
    struct status_frozen *frozen = table->frozen;
    table->frozen = NULL;
    status_table_write_end(table);
    status_frozen_free(frozen);
}

void status_frozen_free(struct status_frozen *frozen)
{
    if (!frozen)
        return;
    mem_free(frozen->kept);
    mem_free(frozen);
}

void status_frozen_void(struct status_frozen *frozen)
{
    if (frozen)
        frozen->failed = true;
}

/* ---- what changes ---- */

static bool need_kept(struct status_frozen *frozen)
{
    if (frozen->kept_count < frozen->kept_capacity)
        return true;
    uint32_t capacity = frozen->kept_capacity ? frozen->kept_capacity * 2 : KEPT_FIRST;
    struct kept *grown =
        capacity <= FROZEN_KEPT_MAX ? mem_grow(frozen->kept, capacity, sizeof *grown) : NULL;
    if (!grown)
        return false;
    frozen->kept = grown;
    frozen->kept_capacity = capacity;
    return true;
}

void status_frozen_keep(struct status_frozen *frozen, struct status_segment *segment,
                        const struct status_cell *cell, uint64_t position)
{
    if (!frozen || frozen->failed || segment->number < frozen->next || position > frozen->last)
        return;
    if (!need_kept(frozen)) {
        frozen->failed = true;
        return;
    }
    frozen->kept[frozen->kept_count++] = (struct kept){
        .next = segment->kept,
        .place = (uint16_t)(position % STATUS_SEGMENT_CELLS),
        .cell = *cell,
    };
    segment->kept = frozen->kept_count;
}

/* ---- reading ---- */

static const struct status_segment *next_segment(const struct status_table *table)
{
    size_t low = 0;
    size_t high = table->segment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->segments[middle]->number < table->frozen->next)
            low = middle + 1;
        else
            high = middle;
    }
    return low < table->segment_count ? table->segments[low] : NULL;
}

static void put_back(const struct status_frozen *frozen, uint32_t first, uint8_t *cells)
{
    for (uint32_t i = first; i != 0; i = frozen->kept[i - 1].next)
        memcpy(cells + (size_t)frozen->kept[i - 1].place * FROZEN_CELL_SIZE,
               &frozen->kept[i - 1].cell, FROZEN_CELL_SIZE);
}

/* Copies the next segment as it was. False: there is none, or it failed. */
static bool copy_segment(struct status_table *table, uint64_t *ret_number, uint8_t *cells)
{
    pthread_rwlock_rdlock(&table->lock);
    struct status_frozen *frozen = table->frozen;
    const struct status_segment *segment = frozen->failed ? NULL : next_segment(table);
    bool found = segment && segment->number * STATUS_SEGMENT_CELLS <= frozen->last;
    if (found) {
        memcpy(cells, segment->cells, sizeof segment->cells);
        put_back(frozen, segment->kept, cells);
        *ret_number = segment->number;
        frozen->next = segment->number + 1;
    }
    pthread_rwlock_unlock(&table->lock);
    return found;
}

/* Leaves out what is not there, or was not then. The cells are those of the page. */
static void pack(struct frozen_page *page, uint64_t last)
{
    memset(page->present, 0, sizeof page->present);
    page->count = 0;
    for (size_t i = 0; i < FROZEN_PAGE_CELLS; i++) {
        uint8_t *cell = page->cells + i * FROZEN_CELL_SIZE;
        struct status_cell full;
        memcpy(&full, cell, sizeof full);
        if (id_is_zero(&full.id) || page->number * FROZEN_PAGE_CELLS + i > last)
            continue;
        cell[FROZEN_CELL_SIZE - 1] = full.conflict;
        page->present[i / 8] |= (uint8_t)(1u << i % 8);
        memmove(page->cells + (size_t)page->count++ * FROZEN_CELL_SIZE, cell, FROZEN_CELL_SIZE);
    }
}

enum err status_table_frozen_next(struct status_table *table, struct frozen_page *ret,
                                  bool *ret_more)
{
    do {
        if (!copy_segment(table, &ret->number, ret->cells)) {
            pthread_rwlock_rdlock(&table->lock);
            bool failed = table->frozen->failed;
            pthread_rwlock_unlock(&table->lock);
            *ret_more = false;
            return failed ? ERR_CANCELLED : ERR_NONE;
        }
        pack(ret, table->frozen->last);
    } while (ret->count == 0);
    *ret_more = true;
    return ERR_NONE;
}

uint64_t status_table_frozen_first(struct status_table *table)
{
    struct status_reflects reflects;
    status_table_reflects(table, &reflects);
    return reflects.first_event_position;
}

bool status_table_frozen_name(struct status_table *table, uint32_t number, struct view *ret)
{
    if (number >= table->frozen->names)
        return false;
    pthread_rwlock_rdlock(&table->lock);
    *ret = status_names_get(table->names, number);
    pthread_rwlock_unlock(&table->lock);
    return true;
}

/* ---- restoring ---- */

void status_table_restore_begin(struct status_table *table, const struct frozen_frame *frame,
                                uint64_t cells)
{
    status_index_reserve(table->index, cells);
    table->loading = true;
    table->reflects.first_event_position = frame->first;
}

uint32_t status_table_restore_name(struct status_table *table, struct view name)
{
    return status_names_intern(table->names, name);
}

static bool is_sound(const struct status_table *table, const struct frozen_frame *frame,
                     uint64_t position, const struct status_cell *cell, uint8_t flags)
{
    enum status status = status_cell_state(cell).status;
    return position > table->last && position >= frame->first &&
           position <= frame->event_position && position - frame->first <= UINT32_MAX &&
           !id_is_zero(&cell->id) && status != STATUS_NONE && status < STATUS_COUNT && flags <= 1 &&
           STATUS_CELL_GET(cell, change_position) <= frame->status_position &&
           STATUS_CELL_GET(cell, name) < frame->name_count;
}

/* So many are looked up together, each while the others are on their way from memory. */
enum { TOGETHER = 32 };

struct restored {
    uint64_t position, hash;
    struct status_cell cell;
};

/* ERR_MALFORMED. */
static enum err take_cell(const struct status_table *table, const struct frozen_frame *frame,
                          uint64_t position, const uint8_t *bytes, struct restored *ret)
{
    uint8_t flags = bytes[FROZEN_CELL_SIZE - 1];
    struct status_cell *cell = &ret->cell;
    *cell = (struct status_cell){.conflict = flags != 0};
    memcpy(cell, bytes, FROZEN_CELL_SIZE - 1);
    if (!is_sound(table, frame, position, cell, flags))
        return ERR_MALFORMED;
    STATUS_CELL_SET(cell, name, frame->names[STATUS_CELL_GET(cell, name)]);
    ret->position = position;
    ret->hash = status_table_hash(table, &cell->id);
    status_index_prefetch(table->index, ret->hash);
    return ERR_NONE;
}

static enum err put_all(struct status_table *table, struct restored *list, size_t count)
{
    enum err e = ERR_NONE;
    for (size_t i = 0; i < count && !e; i++)
        e = status_table_put(table, list[i].position, list[i].hash, &list[i].cell);
    return e;
}

enum err status_table_restore(struct status_table *table, const struct frozen_frame *frame,
                              const struct frozen_page *page)
{
    struct restored list[TOGETHER];
    size_t count = 0;
    const uint8_t *cell = page->cells;
    enum err e = ERR_NONE;
    for (uint32_t i = 0; i < FROZEN_PAGE_CELLS && !e; i++) {
        if ((page->present[i / 8] >> i % 8 & 1) == 0)
            continue;
        e = take_cell(table, frame, page->number * FROZEN_PAGE_CELLS + i, cell, &list[count]);
        cell += FROZEN_CELL_SIZE;
        count += !e;
        if (count < TOGETHER)
            continue;
        e = put_all(table, list, count);
        count = 0;
    }
    return e ? e : put_all(table, list, count);
}

enum err status_table_restore_end(struct status_table *table, const struct frozen_frame *frame,
                                  uint64_t first)
{
    enum err e = status_table_forget(table, first);
    if (e)
        return e;
    table->loading = false;
    status_table_passed_event(table, frame->event_position);
    status_table_passed_status(table, frame->status_position);
    return ERR_NONE;
}
