/* What the status table does with a copy that is another event than the first of its id. */
#include "event-processor/status_table_cells.h"

/* A change may be of an earlier life of the event log, whose positions have been used again since:
 * then what is at the first's position came with another id. Where it is forgotten, or lost, there
 * is nothing to be seen; a conflict there may have come with that id. Nothing else counts, not even
 * whether the cell is a copy: that is different before and after its first is forgotten. */
static bool is_of_this_log(const struct status_table *table, const struct status_change *change)
{
    const struct status_cell *first = NULL;
    if (change->conflict_position >= change->event_position)
        return false;
    if (change->conflict_position >= table->reflects.first_event_position)
        first = status_table_cell(table, change->conflict_position, NULL);
    return !first || first->conflict || id_equal(&first->id, &change->conflict_id);
}

/* Takes the cell out of the chain of the id that it came with. ERR_MEMORY: nothing has changed. */
static enum err leave_chain(struct status_table *table, const struct status_cell *cell,
                            uint64_t position)
{
    uint64_t event;
    if (!cell->copy)
        return status_table_pass_on(table, position, position);
    if (status_table_event(table, &cell->id, status_table_hash(table, &cell->id), &event))
        status_copies_remove(table->copies, event, position);
    return ERR_NONE;
}

enum err status_table_apply_conflict(struct status_table *table, const struct status_change *change,
                                     uint64_t position, uint32_t place)
{
    struct status_segment *segment;
    struct status_state after;
    uint64_t at = change->event_position;
    struct status_cell *cell = status_table_cell(table, at, &segment);
    if (cell && cell->conflict) {
        (void)status_table_apply(table, change, position, place);
        return ERR_NONE;
    }
    if (!cell || !id_equal(&cell->id, &change->conflict_id) || !is_of_this_log(table, change) ||
        !status_move(status_cell_state(cell), change->state, &after))
        return ERR_NONE;
    struct status_cell before = *cell;
    status_frozen_keep(table->frozen, segment, cell, at);
    status_table_count(table, segment, cell, at, -1);
    cell->id = change->id;
    cell->copy = false;
    cell->conflict = true;
    /* The cell is what its slot says before there is one; a slot too many does no harm. */
    if (status_index_add(table->index, status_table_hash(table, &change->id), (uint32_t)at) ||
        leave_chain(table, &before, at)) {
        *cell = before;
        status_table_count(table, segment, cell, at, 1);
        return ERR_MEMORY;
    }
    status_table_change(cell, after, change, position, place);
    status_table_count(table, segment, cell, at, 1);
    return ERR_NONE;
}
