#include "event-processor/status_table.h"

#include "common/mem.h"
#include "event-processor/keyed_hash.h"
#include "event-processor/status_cell.h"
#include "event-processor/status_copies.h"
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

/* Invariant: segments ascend by number (absent ones take nothing), and no cell before
 * reflects.first_event_position is left in them; `last` is the last position added; the index holds
 * the position of each event, of no copy, and some of forgotten ones; `copies` has a chain from
 * each event to its copies; counts are the sums of the segments'. */
struct status_table {
    pthread_rwlock_t lock;
    struct segment **segments;
    size_t segment_count;
    size_t segment_capacity;
    uint64_t last;
    uint64_t counts[STATUS_COUNT];
    struct status_reflects reflects;
    struct status_index *index;
    struct status_copies *copies;
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
    uint64_t first = table->reflects.first_event_position;
    return first + (uint32_t)(low - (uint32_t)first);
}

/* A slot of a forgotten event may mean a position of today: so whatever comes from the index is
 * only an event if the cell there says so. */
static const struct status_cell *find_event(const struct status_table *table, uint64_t position)
{
    const struct status_cell *cell =
        position <= table->last ? find_cell(table, position, NULL) : NULL;
    return cell && !cell->copy ? cell : NULL;
}

static bool hash_at(const void *ctx, uint32_t low, uint64_t *ret_hash)
{
    const struct status_table *table = ctx;
    const struct status_cell *cell = find_event(table, whole_position(table, low));
    if (cell)
        *ret_hash = hash_of(table, &cell->id);
    return cell != NULL;
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
        const struct status_cell *cell = find_event(table, position);
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
    if (status_index_new(hash_at, table, &table->index) || status_copies_new(&table->copies) ||
        status_names_new(&table->names)) {
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

/* What it counts as. */
static enum status shown(const struct status_cell *cell)
{
    return cell->copy ? STATUS_NONE : status_cell_state(cell).status;
}

/* Adds what the cell is to what is counted; with -1 takes it out again. */
static void count_cell(struct status_table *table, struct segment *segment,
                       const struct status_cell *cell, uint64_t position, int sign)
{
    uint64_t digest = status_cell_digest(cell, position);
    enum status status = shown(cell);
    segment->digest += sign > 0 ? digest : -digest;
    segment->counts[status] = (uint16_t)(segment->counts[status] + sign);
    table->counts[status] += (uint64_t)sign;
}

enum err status_table_add(struct status_table *table, uint64_t position, const struct event_id *id,
                          struct view name, int64_t time_ms)
{
    uint64_t first = table->reflects.first_event_position;
    if (position <= table->last || position < first)
        return ERR_NONE;
    if (position > STATUS_TABLE_POSITION_MAX || (first != 0 && position - first > UINT32_MAX))
        return ERR_FULL;
    struct segment *segment = need_segment(table, position);
    if (!segment)
        return ERR_MEMORY;
    uint64_t hash = hash_of(table, id);
    uint64_t event;
    bool known = find_id(table, id, hash, &event) != NULL;
    if (known ? status_copies_add(table->copies, event, position)
              : status_index_add(table->index, hash, (uint32_t)position))
        return ERR_MEMORY;
    struct status_cell *cell = &segment->cells[position % CELLS];
    *cell = (struct status_cell){.id = *id, .copy = known};
    status_cell_set_state(cell, (struct status_state){.status = STATUS_ACCEPTED});
    status_cell_set_time(cell, time_ms);
    STATUS_CELL_SET(cell, name, status_names_intern(table->names, name));
    count_cell(table, segment, cell, position, 1);
    table->last = position;
    if (first == 0)
        table->reflects.first_event_position = position;
    return ERR_NONE;
}

bool status_table_apply(struct status_table *table, const struct status_change *change,
                        uint64_t position, uint32_t place)
{
    struct segment *segment;
    struct status_cell *cell = find_cell(table, change->event_position, &segment);
    if (!cell || !id_equal(&cell->id, &change->id))
        return false;
    struct status_state after;
    if (!status_move(status_cell_state(cell), change->state, &after))
        return false;
    count_cell(table, segment, cell, change->event_position, -1);
    status_cell_set_state(cell, after);
    status_cell_set_time(cell, change->time_ms);
    STATUS_CELL_SET(cell, change_position, position);
    STATUS_CELL_SET(cell, change_place, place);
    count_cell(table, segment, cell, change->event_position, 1);
    return !cell->copy;
}

/* ---- forgetting ---- */

/* The event at a position that is about to be forgotten: its next copy becomes the event, unless
 * that is forgotten too. */
static enum err pass_on(struct status_table *table, uint64_t position, uint64_t first)
{
    struct segment *segment;
    uint64_t heir = status_copies_next(table->copies, position);
    struct status_cell *cell = heir >= first ? find_cell(table, heir, &segment) : NULL;
    if (cell) {
        if (status_index_add(table->index, hash_of(table, &cell->id), (uint32_t)heir))
            return ERR_MEMORY;
        count_cell(table, segment, cell, heir, -1);
        cell->copy = false;
        count_cell(table, segment, cell, heir, 1);
    }
    status_copies_forget(table->copies, position);
    return ERR_NONE;
}

/* Forgets a segment's cells from `from` to before `to`. */
static enum err forget_cells(struct status_table *table, struct segment *segment, uint64_t from,
                             uint64_t to, uint64_t first)
{
    for (uint64_t position = from; position < to; position++) {
        struct status_cell *cell = &segment->cells[position % CELLS];
        if (id_is_zero(&cell->id))
            continue;
        if (!status_copies_none(table->copies) && pass_on(table, position, first))
            return ERR_MEMORY;
        count_cell(table, segment, cell, position, -1);
        *cell = (struct status_cell){.copy = false};
    }
    return ERR_NONE;
}

/* Forgets what needs a look at each cell: copies to pass an event on to, or a segment of which some
 * stays. */
static enum err forget_singly(struct status_table *table, uint64_t first)
{
    enum err e = ERR_NONE;
    for (size_t i = 0; i < table->segment_count && !e; i++) {
        uint64_t begin = table->segments[i]->number * CELLS;
        uint64_t end = begin + CELLS;
        if (begin >= first)
            break;
        if (end > first || !status_copies_none(table->copies))
            e = forget_cells(table, table->segments[i], begin, end < first ? end : first, first);
    }
    return e;
}

static void forget_segments(struct status_table *table, uint64_t first)
{
    size_t gone = 0;
    while (gone < table->segment_count && (table->segments[gone]->number + 1) * CELLS <= first) {
        struct segment *segment = table->segments[gone++];
        for (int i = 0; i < STATUS_COUNT; i++)
            table->counts[i] -= segment->counts[i];
        mem_free(segment);
    }
    table->segment_count -= gone;
    if (gone > 0)
        memmove(table->segments, table->segments + gone,
                table->segment_count * sizeof(struct segment *));
}

enum err status_table_forget(struct status_table *table, uint64_t first)
{
    if (first <= table->reflects.first_event_position)
        return ERR_NONE;
    enum err e = forget_singly(table, first);
    if (e)
        return e;
    forget_segments(table, first);
    table->reflects.first_event_position = first;
    status_table_passed_event(table, first - 1);
    return ERR_NONE;
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
    free_segments(table);
    status_index_clear(table->index);
    status_copies_clear(table->copies);
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
        .event_position = position,
        .updated_ms = (int64_t)STATUS_CELL_GET(cell, seconds) * 1000,
        .name = status_names_get(table->names, (uint32_t)STATUS_CELL_GET(cell, name)),
    };
    if (cell->copy)
        return;
    ret->state = status_cell_state(cell);
    ret->change_position = STATUS_CELL_GET(cell, change_position);
    ret->change_place = (uint32_t)STATUS_CELL_GET(cell, change_place);
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
           status_copies_bytes(table->copies) + status_names_bytes(table->names);
}

void status_table_stats(struct status_table *table, uint64_t floor_position,
                        struct status_table_stats *ret)
{
    struct status_table_stats stats = {0};
    pthread_rwlock_rdlock(&table->lock);
    stats.reflects = table->reflects;
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
