#include "common/mem.h"
#include "event-processor/status_table_cells.h"

/* ---- life ---- */

static bool init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;
    if (pthread_rwlockattr_init(&attributes) != 0)
        return false;
    /* Readers come all the time; the follower must not starve behind them. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    bool made = pthread_rwlock_init(lock, &attributes) == 0;
    pthread_rwlockattr_destroy(&attributes);
    return made;
}

enum err status_table_new(struct status_table **ret)
{
    struct status_table *table = mem_zero(1, sizeof *table);
    if (!table)
        return ERR_MEMORY;
    if (!init_lock(&table->lock)) {
        mem_free(table);
        return ERR_MEMORY;
    }
    hash_key_make(&table->key);
    table->reflects.epoch = 1;
    if (status_index_new(status_table_hash_at, table, &table->index) ||
        status_copies_new(&table->copies) || status_names_new(&table->names)) {
        status_table_free(table);
        return ERR_MEMORY;
    }
    *ret = table;
    return ERR_NONE;
}

static void free_segments(struct status_table *table)
{
    for (size_t i = 0; i < table->segment_count; i++)
        mem_free(table->segments[i]);
    mem_free(table->segments);
    table->segments = NULL;
    table->segment_count = 0;
    table->segment_capacity = 0;
}

void status_table_free(struct status_table *table)
{
    if (!table)
        return;
    free_segments(table);
    status_frozen_free(table->frozen);
    status_index_free(table->index);
    status_copies_free(table->copies);
    status_names_free(table->names);
    pthread_rwlock_destroy(&table->lock);
    mem_free(table);
}

/* ---- writing ---- */

void status_table_write_begin(struct status_table *table)
{
    pthread_rwlock_wrlock(&table->lock);
}

void status_table_write_end(struct status_table *table)
{
    pthread_rwlock_unlock(&table->lock);
}

/* The segment for a position at or after the last one's; made if need be. */
static struct status_segment *need_segment(struct status_table *table, uint64_t position)
{
    uint64_t number = position / STATUS_SEGMENT_CELLS;
    size_t count = table->segment_count;
    if (count > 0 && table->segments[count - 1]->number == number)
        return table->segments[count - 1];
    if (count == table->segment_capacity) {
        size_t capacity = count ? count * 2 : 16;
        struct status_segment **grown = mem_grow(table->segments, capacity, sizeof *grown);
        if (!grown)
            return NULL;
        table->segments = grown;
        table->segment_capacity = capacity;
    }
    struct status_segment *segment = mem_zero(1, sizeof *segment);
    if (!segment)
        return NULL;
    segment->number = number;
    table->segments[table->segment_count++] = segment;
    return segment;
}

enum err status_table_put(struct status_table *table, uint64_t position, uint64_t hash,
                          struct status_cell *cell)
{
    struct status_segment *segment = need_segment(table, position);
    if (!segment)
        return ERR_MEMORY;
    uint64_t event;
    cell->copy = !cell->conflict && status_table_event(table, &cell->id, hash, &event);
    if (cell->copy ? status_copies_add(table->copies, event, position)
                   : status_index_add(table->index, hash, (uint32_t)position))
        return ERR_MEMORY;
    segment->cells[position % STATUS_SEGMENT_CELLS] = *cell;
    status_table_count(table, segment, cell, position, 1);
    table->last = position;
    return ERR_NONE;
}

enum err status_table_add(struct status_table *table, uint64_t position, const struct event_id *id,
                          struct view name, int64_t time_ms)
{
    uint64_t first = table->reflects.first_event_position;
    if (position <= table->last || position < first)
        return ERR_NONE;
    if (position > STATUS_TABLE_POSITION_MAX || (first != 0 && position - first > UINT32_MAX))
        return ERR_FULL;
    struct status_cell cell = {.id = *id};
    status_cell_set_state(&cell, (struct status_state){.status = STATUS_ACCEPTED});
    status_cell_set_time(&cell, time_ms);
    STATUS_CELL_SET(&cell, name, status_names_intern(table->names, name));
    enum err e = status_table_put(table, position, status_table_hash(table, id), &cell);
    if (!e && first == 0)
        table->reflects.first_event_position = position;
    return e;
}

bool status_table_apply(struct status_table *table, const struct status_change *change,
                        uint64_t position, uint32_t place)
{
    struct status_segment *segment;
    struct status_cell *cell = status_table_cell(table, change->event_position, &segment);
    if (!cell || !id_equal(&cell->id, &change->id))
        return false;
    struct status_state after;
    if (!status_move(status_cell_state(cell), change->state, &after))
        return false;
    status_frozen_keep(table->frozen, segment, cell, change->event_position);
    status_table_count(table, segment, cell, change->event_position, -1);
    status_table_change(cell, after, change, position, place);
    status_table_count(table, segment, cell, change->event_position, 1);
    return !cell->copy;
}

/* ---- writing, the rest ---- */

void status_table_passed_event(struct status_table *table, uint64_t position)
{
    if (position > table->reflects.event_position)
        table->reflects.event_position = position;
}

void status_table_passed_status(struct status_table *table, uint64_t position)
{
    if (position > table->reflects.status_position)
        table->reflects.status_position = position;
}

void status_table_reset(struct status_table *table)
{
    status_frozen_void(table->frozen);
    table->loading = false;
    free_segments(table);
    status_index_clear(table->index);
    status_copies_clear(table->copies);
    table->last = 0;
    memset(table->counts, 0, sizeof table->counts);
    table->reflects = (struct status_reflects){.epoch = table->reflects.epoch + 1};
}

void status_table_told(const struct status_table *table, struct status_reflects *ret)
{
    *ret = table->reflects;
}

uint64_t status_table_epoch(const struct status_table *table)
{
    return table->reflects.epoch;
}
