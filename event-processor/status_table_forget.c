/* What the status table does when the event log drops its head. */
#include "common/mem.h"
#include "event-processor/status_table_cells.h"

/* Forgets a segment's cells from `from` to before `to`. */
static enum err forget_cells(struct status_table *table, struct status_segment *segment,
                             uint64_t from, uint64_t to, uint64_t first)
{
    for (uint64_t position = from; position < to; position++) {
        struct status_cell *cell = &segment->cells[position % STATUS_SEGMENT_CELLS];
        if (id_is_zero(&cell->id))
            continue;
        if (!status_copies_none(table->copies) && status_table_pass_on(table, position, first))
            return ERR_MEMORY;
        status_table_count(table, segment, cell, position, -1);
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
        uint64_t begin = table->segments[i]->number * STATUS_SEGMENT_CELLS;
        uint64_t end = begin + STATUS_SEGMENT_CELLS;
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
    while (gone < table->segment_count &&
           (table->segments[gone]->number + 1) * STATUS_SEGMENT_CELLS <= first) {
        struct status_segment *segment = table->segments[gone++];
        for (int i = 0; i < STATUS_COUNT; i++)
            table->counts[i] -= segment->counts[i];
        mem_free(segment);
    }
    table->segment_count -= gone;
    if (gone > 0)
        memmove(table->segments, table->segments + gone,
                table->segment_count * sizeof(struct status_segment *));
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
