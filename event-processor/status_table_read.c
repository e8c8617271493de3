/* What readers of the status table are told. */
#include "event-processor/status_table_cells.h"

static void read_cell(const struct status_table *table, const struct status_cell *cell,
                      uint64_t position, struct status_entry *ret)
{
    *ret = (struct status_entry){
        .id = cell->id,
        .event_position = position,
        .updated_ms = (int64_t)STATUS_CELL_GET(cell, seconds) * 1000,
        .conflict = cell->conflict,
        .name = status_names_get(table->names, (uint32_t)STATUS_CELL_GET(cell, name)),
    };
    if (cell->copy)
        return;
    ret->state = status_cell_state(cell);
    ret->change_position = STATUS_CELL_GET(cell, change_position);
    ret->change_place = (uint32_t)STATUS_CELL_GET(cell, change_place);
}

bool status_table_changed(const struct status_table *table, uint64_t event_position,
                          uint64_t position, uint32_t place, struct status_entry *ret)
{
    const struct status_cell *cell = status_table_cell(table, event_position, NULL);
    if (!cell || cell->copy || STATUS_CELL_GET(cell, change_position) != position ||
        STATUS_CELL_GET(cell, change_place) != place)
        return false;
    read_cell(table, cell, event_position, ret);
    return true;
}

bool status_table_find(struct status_table *table, const struct event_id *id,
                       struct status_entry *ret, struct status_reflects *ret_reflects)
{
    uint64_t hash = status_table_hash(table, id);
    uint64_t position;
    pthread_rwlock_rdlock(&table->lock);
    const struct status_cell *cell = status_table_any(table, id, hash, &position);
    if (cell)
        read_cell(table, cell, position, ret);
    if (ret_reflects)
        *ret_reflects = table->reflects;
    pthread_rwlock_unlock(&table->lock);
    return cell != NULL;
}

void status_table_find_many(struct status_table *table, const struct event_id *ids, size_t count,
                            struct status_entry *ret, struct status_reflects *ret_reflects)
{
    pthread_rwlock_rdlock(&table->lock);
    for (size_t i = 0; i < count; i++) {
        uint64_t position;
        const struct status_cell *cell =
            status_table_any(table, &ids[i], status_table_hash(table, &ids[i]), &position);
        ret[i].state.status = STATUS_NONE;
        if (cell)
            read_cell(table, cell, position, &ret[i]);
    }
    *ret_reflects = table->reflects;
    pthread_rwlock_unlock(&table->lock);
}

bool status_table_at(struct status_table *table, uint64_t position, struct status_entry *ret,
                     struct status_reflects *ret_reflects)
{
    pthread_rwlock_rdlock(&table->lock);
    const struct status_cell *cell = status_table_cell(table, position, NULL);
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

/* ---- events of some statuses ---- */

static bool has_any(const struct status_segment *segment, unsigned statuses)
{
    for (unsigned i = 0; i < STATUS_COUNT; i++)
        if ((statuses >> i & 1) != 0 && segment->counts[i] > 0)
            return true;
    return false;
}

/* The first one at `from` or later in its segment, of which positions after `to` don't count; 0:
 * none. */
static uint64_t find_any(const struct status_segment *segment, unsigned statuses, uint64_t from,
                         uint64_t to)
{
    uint64_t begin = segment->number * STATUS_SEGMENT_CELLS;
    uint64_t end = begin + STATUS_SEGMENT_CELLS - 1;
    for (uint64_t at = from > begin ? from : begin; at <= (to < end ? to : end); at++) {
        const struct status_cell *cell = &segment->cells[at - begin];
        if (!id_is_zero(&cell->id) && !cell->copy &&
            (statuses >> status_cell_state(cell).status & 1) != 0)
            return at;
    }
    return 0;
}

/* The index of the first segment with positions at `from` or later. */
static size_t find_segment(const struct status_table *table, uint64_t from)
{
    size_t low = 0, high = table->segment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->segments[middle]->number < from / STATUS_SEGMENT_CELLS)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool status_table_first_of(struct status_table *table, unsigned statuses, uint64_t from,
                           uint64_t to, struct status_entry *ret,
                           struct status_reflects *ret_reflects)
{
    uint64_t found = 0;
    pthread_rwlock_rdlock(&table->lock);
    for (size_t i = find_segment(table, from); i < table->segment_count && found == 0; i++) {
        const struct status_segment *segment = table->segments[i];
        if (segment->number > to / STATUS_SEGMENT_CELLS)
            break;
        if (has_any(segment, statuses))
            found = find_any(segment, statuses, from, to);
    }
    if (found)
        read_cell(table, status_table_cell(table, found, NULL), found, ret);
    *ret_reflects = table->reflects;
    pthread_rwlock_unlock(&table->lock);
    return found != 0;
}

/* ---- the latest first ---- */

/* How many events of these statuses the segment has, at all of its positions. */
static uint32_t count_whole(const struct status_segment *segment, unsigned statuses)
{
    uint32_t count = 0;
    for (unsigned i = STATUS_ACCEPTED; i < STATUS_COUNT; i++)
        count += (statuses >> i & 1) != 0 ? segment->counts[i] : 0;
    return count;
}

/* What is found, and what it may cost. */
struct found {
    struct status_entry *entries;
    size_t count, max;
    uint64_t cells, cells_max;
};

/* Looks at the segment's cells from scan->next down. Most cells are of other statuses, and after
 * the last one of these nothing is left to find. */
static void scan_segment(const struct status_table *table, const struct status_segment *segment,
                         struct status_scan *scan, struct found *found)
{
    uint64_t begin = segment->number * STATUS_SEGMENT_CELLS;
    uint64_t last = scan->last > begin ? scan->last : begin;
    uint32_t left = count_whole(segment, scan->statuses);
    while (scan->next >= last && left > 0 && found->count < found->max &&
           found->cells < found->cells_max) {
        uint64_t position = scan->next--;
        const struct status_cell *cell = &segment->cells[position - begin];
        found->cells++;
        if ((scan->statuses >> status_cell_state(cell).status & 1) == 0 || cell->copy)
            continue;
        left--;
        struct status_entry *entry = &found->entries[found->count];
        read_cell(table, cell, position, entry);
        found->count += !scan->matches || scan->matches(scan->ctx, entry->name);
    }
    if (left == 0)
        scan->next = last - 1;
}

size_t status_table_scan(struct status_table *table, struct status_scan *scan, uint64_t cells_max,
                         struct status_entry *ret, size_t max, uint64_t *ret_cells,
                         struct status_reflects *ret_reflects)
{
    struct found found = {.entries = ret, .max = max, .cells_max = cells_max};
    pthread_rwlock_rdlock(&table->lock);
    size_t left = find_segment(table, scan->next + STATUS_SEGMENT_CELLS); /* that begin before it */
    while (left > 0 && scan->next >= scan->last && found.count < max && found.cells < cells_max) {
        const struct status_segment *segment = table->segments[left - 1];
        uint64_t end = segment->number * STATUS_SEGMENT_CELLS + STATUS_SEGMENT_CELLS - 1;
        if (end < scan->last)
            break;
        scan->next = scan->next < end ? scan->next : end;
        found.cells++;
        scan_segment(table, segment, scan, &found);
        left--;
    }
    if (found.count < max && found.cells < cells_max)
        scan->next = scan->last - 1;
    *ret_cells += found.cells;
    *ret_reflects = table->reflects;
    pthread_rwlock_unlock(&table->lock);
    return found.count;
}

/* Of a segment, positions up to `to`. */
static uint64_t count_any(const struct status_segment *segment, unsigned statuses, uint64_t to)
{
    uint64_t count = 0;
    uint64_t begin = segment->number * STATUS_SEGMENT_CELLS;
    if (to >= begin + STATUS_SEGMENT_CELLS - 1) {
        for (unsigned i = 0; i < STATUS_COUNT; i++)
            count += (statuses >> i & 1) != 0 ? segment->counts[i] : 0;
        return count;
    }
    for (uint64_t at = begin; (at = find_any(segment, statuses, at, to)) != 0; at++)
        count++;
    return count;
}

uint64_t status_table_count_of(struct status_table *table, unsigned statuses, uint64_t to)
{
    uint64_t count = 0;
    pthread_rwlock_rdlock(&table->lock);
    for (size_t i = 0; i < table->segment_count; i++) {
        if (table->segments[i]->number > to / STATUS_SEGMENT_CELLS)
            break;
        count += count_any(table->segments[i], statuses, to);
    }
    pthread_rwlock_unlock(&table->lock);
    return count;
}

/* ---- all of it ---- */

static uint64_t digest_of(const struct status_segment *segment, uint64_t floor_position)
{
    uint64_t first = segment->number * STATUS_SEGMENT_CELLS;
    if (first >= floor_position)
        return segment->digest;
    uint64_t digest = 0;
    for (uint64_t i = floor_position - first; i < STATUS_SEGMENT_CELLS; i++)
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
    stats.bytes = bytes_of(table);
    if (!table->loading)
        memcpy(stats.counts, table->counts, sizeof stats.counts);
    for (size_t i = 0; i < table->segment_count && !table->loading; i++)
        stats.digest += digest_of(table->segments[i], floor_position);
    pthread_rwlock_unlock(&table->lock);
    for (int i = STATUS_ACCEPTED; i < STATUS_COUNT; i++)
        stats.events += stats.counts[i];
    stats.copies = stats.counts[STATUS_NONE];
    *ret = stats;
}
