#include "event-processor/status_table_cells.h"

uint64_t status_table_hash(const struct status_table *table, const struct event_id *id)
{
    return keyed_hash(&table->key, id->bytes, sizeof id->bytes);
}

/* ---- by position ---- */

static struct status_segment *find_segment(const struct status_table *table, uint64_t number)
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

struct status_cell *status_table_cell(const struct status_table *table, uint64_t position,
                                      struct status_segment **ret_segment)
{
    struct status_segment *segment = find_segment(table, position / STATUS_SEGMENT_CELLS);
    struct status_cell *cell = segment ? &segment->cells[position % STATUS_SEGMENT_CELLS] : NULL;
    if (!cell || id_is_zero(&cell->id))
        return NULL;
    if (ret_segment)
        *ret_segment = segment;
    return cell;
}

/* ---- by id ---- */

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
        position <= table->last ? status_table_cell(table, position, NULL) : NULL;
    return cell && !cell->copy ? cell : NULL;
}

bool status_table_hash_at(const void *ctx, uint32_t low, uint64_t *ret_hash)
{
    const struct status_table *table = ctx;
    const struct status_cell *cell = find_event(table, whole_position(table, low));
    if (cell)
        *ret_hash = status_table_hash(table, &cell->id);
    return cell != NULL;
}

static const struct status_cell *find_id(const struct status_table *table,
                                         const struct event_id *id, uint64_t hash, bool conflict,
                                         uint64_t *ret_position)
{
    struct status_index_cursor cursor = {0};
    uint32_t low;
    while (status_index_next(table->index, hash, &cursor, &low)) {
        uint64_t position = whole_position(table, low);
        const struct status_cell *cell = find_event(table, position);
        if (cell && cell->conflict == conflict && id_equal(&cell->id, id)) {
            *ret_position = position;
            return cell;
        }
    }
    return NULL;
}

const struct status_cell *status_table_event(const struct status_table *table,
                                             const struct event_id *id, uint64_t hash,
                                             uint64_t *ret_position)
{
    return find_id(table, id, hash, false, ret_position);
}

const struct status_cell *status_table_any(const struct status_table *table,
                                           const struct event_id *id, uint64_t hash,
                                           uint64_t *ret_position)
{
    const struct status_cell *cell = find_id(table, id, hash, false, ret_position);
    return cell ? cell : find_id(table, id, hash, true, ret_position);
}

/* ---- changing one ---- */

/* What it counts as. */
static enum status shown(const struct status_cell *cell)
{
    return cell->copy ? STATUS_NONE : status_cell_state(cell).status;
}

void status_table_count(struct status_table *table, struct status_segment *segment,
                        const struct status_cell *cell, uint64_t position, int sign)
{
    uint64_t digest = status_cell_digest(cell, position);
    enum status status = shown(cell);
    segment->digest += sign > 0 ? digest : -digest;
    segment->counts[status] = (uint16_t)(segment->counts[status] + sign);
    table->counts[status] += (uint64_t)sign;
}

void status_table_change(struct status_cell *cell, struct status_state state,
                         const struct status_change *change, uint64_t position, uint32_t place)
{
    status_cell_set_state(cell, state);
    status_cell_set_time(cell, change->time_ms);
    STATUS_CELL_SET(cell, change_position, position);
    STATUS_CELL_SET(cell, change_place, place);
}

enum err status_table_pass_on(struct status_table *table, uint64_t position, uint64_t first)
{
    struct status_segment *segment;
    uint64_t heir = status_copies_next(table->copies, position);
    struct status_cell *cell = heir >= first ? status_table_cell(table, heir, &segment) : NULL;
    if (cell) {
        if (status_index_add(table->index, status_table_hash(table, &cell->id), (uint32_t)heir))
            return ERR_MEMORY;
        status_table_count(table, segment, cell, heir, -1);
        cell->copy = false;
        status_table_count(table, segment, cell, heir, 1);
    }
    status_copies_forget(table->copies, position);
    return ERR_NONE;
}
