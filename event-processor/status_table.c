#include "event-processor/status_table.h"

#include "common/mem.h"
#include "event-processor/keyed_hash.h"
#include "event-processor/status_cell.h"
#include "event-processor/status_index.h"
#include "event-processor/status_names.h"

#include <pthread.h>

#define CELLS 4096u

/* Invariant: counts and digest are those of the cells. */
struct segment {
    uint64_t number; /* position / CELLS of all its events */
    uint64_t digest;
    uint16_t counts[STATUS_COUNT];
    struct status_cell cells[CELLS];
};
static_assert(CELLS <= UINT16_MAX, "a segment's counters take all its cells");

/* Invariant: segments ascend by number (absent ones take nothing); `last` is the last position
 * added; the index holds the position of each event, of no copy; counts are the sums of the
 * segments'. */
struct status_table {
    pthread_rwlock_t lock;
    struct segment **segments;
    size_t segment_count;
    size_t segment_capacity;
    uint64_t first; /* position added first; 0: none */
    uint64_t last;
    uint64_t counts[STATUS_COUNT];
    struct status_reflects reflects;
    struct status_index *index;
    struct status_names *names;
    struct hash_key key;
};

/* ---- cells ---- */

static uint64_t hash_of(const struct status_table *table, const struct event_id *id)
{
    return keyed_hash(&table->key, id->bytes, sizeof id->bytes);
}

static struct segment *find_segment(const struct status_table *table, uint64_t number)
{
    size_t low = 0;
    size_t high = table->segment_count;
    if (high > 0 && table->segments[high - 1]->number == number)
        return table->segments[high - 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->segments[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < table->segment_count && table->segments[low]->number == number)
        return table->segments[low];
    return NULL;
}

/* NULL: no event was added there. */
static struct status_cell *find_cell(const struct status_table *table, uint64_t position,
                                     struct segment **ret_segment)
{
    struct segment *segment = find_segment(table, position / CELLS);
    struct status_cell *cell = segment ? &segment->cells[position % CELLS] : NULL;
    if (!cell || id_is_zero(&cell->id))
        return NULL;
    if (ret_segment)
        *ret_segment = segment;
    return cell;
}

/* The position whose low 32 bits these are: the table spans fewer than 2^32. */
static uint64_t whole_position(const struct status_table *table, uint32_t low)
{
    return table->first + (uint32_t)(low - (uint32_t)table->first);
}

static uint64_t hash_at(const void *ctx, uint32_t low)
{
    const struct status_table *table = ctx;
    const struct status_cell *cell = find_cell(table, whole_position(table, low), NULL);
    return hash_of(table, &cell->id);
}

/* The cell of the event with this id; NULL: there is none. */
static const struct status_cell *find_id(const struct status_table *table,
                                         const struct event_id *id, uint64_t hash,
                                         uint64_t *ret_position)
{
    struct status_index_cursor cursor = {0};
    uint32_t low;
    while (status_index_next(table->index, hash, &cursor, &low)) {
        uint64_t position = whole_position(table, low);
        const struct status_cell *cell = find_cell(table, position, NULL);
        if (cell && id_equal(&cell->id, id)) {
            *ret_position = position;
            return cell;
        }
    }
    return NULL;
}

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
    if (status_index_new(hash_at, table, &table->index) || status_names_new(&table->names)) {
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
    status_index_free(table->index);
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
static struct segment *need_segment(struct status_table *table, uint64_t position)
{
    uint64_t number = position / CELLS;
    size_t count = table->segment_count;
    if (count > 0 && table->segments[count - 1]->number == number)
        return table->segments[count - 1];
    if (count == table->segment_capacity) {
        size_t capacity = count ? count * 2 : 16;
        struct segment **grown = mem_grow(table->segments, capacity, sizeof *grown);
        if (!grown)
            return NULL;
        table->segments = grown;
        table->segment_capacity = capacity;
    }
    struct segment *segment = mem_zero(1, sizeof *segment);
    if (!segment)
        return NULL;
    segment->number = number;
    table->segments[table->segment_count++] = segment;
    return segment;
}

static void fill_cell(struct status_table *table, struct segment *segment, uint64_t position,
                      struct status_cell filled)
{
    enum status status = status_cell_state(&filled).status;
    segment->cells[position % CELLS] = filled;
    segment->counts[status]++;
    segment->digest += status_cell_digest(&filled, position);
    table->counts[status]++;
    table->last = position;
    if (table->first == 0)
        table->first = position;
}

enum err status_table_add(struct status_table *table, uint64_t position, const struct event_id *id,
                          struct view name, int64_t time_ms)
{
    if (position <= table->last)
        return ERR_NONE;
    if (position > STATUS_TABLE_POSITION_MAX ||
        (table->first != 0 && position - table->first > UINT32_MAX))
        return ERR_FULL;
    struct segment *segment = need_segment(table, position);
    if (!segment)
        return ERR_MEMORY;
    uint64_t hash = hash_of(table, id);
    uint64_t first_copy;
    bool known = find_id(table, id, hash, &first_copy) != NULL;
    if (!known && status_index_add(table->index, hash, (uint32_t)position))
        return ERR_MEMORY;
    struct status_cell cell = {.id = *id};
    status_cell_set_state(&cell,
                          (struct status_state){.status = known ? STATUS_NONE : STATUS_ACCEPTED});
    status_cell_set_time(&cell, time_ms);
    STATUS_CELL_SET(&cell, name, status_names_intern(table->names, name));
    fill_cell(table, segment, position, cell);
    return ERR_NONE;
}

bool status_table_apply(struct status_table *table, const struct status_change *change,
                        uint64_t position, uint32_t place)
{
    struct segment *segment;
    struct status_cell *cell = find_cell(table, change->event_position, &segment);
    if (!cell || !id_equal(&cell->id, &change->id))
        return false;
    struct status_state before = status_cell_state(cell);
    struct status_state after;
    if (!status_move(before, change->state, &after))
        return false;
    segment->digest -= status_cell_digest(cell, change->event_position);
    status_cell_set_state(cell, after);
    status_cell_set_time(cell, change->time_ms);
    STATUS_CELL_SET(cell, change_position, position);
    STATUS_CELL_SET(cell, change_place, place);
    segment->digest += status_cell_digest(cell, change->event_position);
    segment->counts[before.status]--;
    segment->counts[after.status]++;
    table->counts[before.status]--;
    table->counts[after.status]++;
    return true;
}

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
    free_segments(table);
    status_index_clear(table->index);
    table->first = 0;
    table->last = 0;
    memset(table->counts, 0, sizeof table->counts);
    table->reflects = (struct status_reflects){.epoch = table->reflects.epoch + 1};
}

uint64_t status_table_epoch(const struct status_table *table)
{
    return table->reflects.epoch;
}

/* ---- reading ---- */

static void read_cell(const struct status_table *table, const struct status_cell *cell,
                      uint64_t position, struct status_entry *ret)
{
    *ret = (struct status_entry){
        .id = cell->id,
        .state = status_cell_state(cell),
        .event_position = position,
        .change_position = STATUS_CELL_GET(cell, change_position),
        .change_place = (uint32_t)STATUS_CELL_GET(cell, change_place),
        .updated_ms = (int64_t)STATUS_CELL_GET(cell, seconds) * 1000,
        .name = status_names_get(table->names, (uint32_t)STATUS_CELL_GET(cell, name)),
    };
}

bool status_table_find(struct status_table *table, const struct event_id *id,
                       struct status_entry *ret, struct status_reflects *ret_reflects)
{
    uint64_t hash = hash_of(table, id);
    uint64_t position;
    pthread_rwlock_rdlock(&table->lock);
    const struct status_cell *cell = find_id(table, id, hash, &position);
    if (cell)
        read_cell(table, cell, position, ret);
    if (ret_reflects)
        *ret_reflects = table->reflects;
    pthread_rwlock_unlock(&table->lock);
    return cell != NULL;
}

bool status_table_at(struct status_table *table, uint64_t position, struct status_entry *ret,
                     struct status_reflects *ret_reflects)
{
    pthread_rwlock_rdlock(&table->lock);
    const struct status_cell *cell = find_cell(table, position, NULL);
    if (cell)
        read_cell(table, cell, position, ret);
    if (ret_reflects)
        *ret_reflects = table->reflects;
    pthread_rwlock_unlock(&table->lock);
    return cell != NULL;
}

void status_table_reflects(struct status_table *table, struct status_reflects *ret)
{
    pthread_rwlock_rdlock(&table->lock);
    *ret = table->reflects;
    pthread_rwlock_unlock(&table->lock);
}

static uint64_t digest_of(const struct segment *segment, uint64_t floor_position)
{
    uint64_t first = segment->number * CELLS;
    if (first >= floor_position)
        return segment->digest;
    uint64_t digest = 0;
    for (uint64_t i = floor_position - first; i < CELLS; i++)
        digest += status_cell_digest(&segment->cells[i], first + i);
    return digest;
}

static uint64_t bytes_of(const struct status_table *table)
{
    return sizeof *table + table->segment_capacity * sizeof *table->segments +
           table->segment_count * sizeof **table->segments + status_index_bytes(table->index) +
           status_names_bytes(table->names);
}

void status_table_stats(struct status_table *table, uint64_t floor_position,
                        struct status_table_stats *ret)
{
    struct status_table_stats stats = {0};
    pthread_rwlock_rdlock(&table->lock);
    stats.reflects = table->reflects;
    stats.first_event_position = table->first;
    memcpy(stats.counts, table->counts, sizeof stats.counts);
    stats.bytes = bytes_of(table);
    for (size_t i = 0; i < table->segment_count; i++)
        stats.digest += digest_of(table->segments[i], floor_position);
    pthread_rwlock_unlock(&table->lock);
    for (int i = STATUS_ACCEPTED; i < STATUS_COUNT; i++)
        stats.events += stats.counts[i];
    stats.copies = stats.counts[STATUS_NONE];
    *ret = stats;
}
