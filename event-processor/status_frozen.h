/* The status table as it was at one moment, read while it goes on changing; and a table made of
 * that again.
 *
 * Freezing copies nothing. Whoever reads takes one segment after the other, under the table's lock
 * for as long as copying it takes (some ten microseconds). Before a writer changes a cell in a
 * segment that was not read yet, it keeps the cell as it was, 40 bytes; the reader puts it back in
 * its copy. Cells that are added after the moment are left out. So what is read is the fold of both
 * logs at exactly the positions of the moment, and the memory that it takes grows with the changes
 * to older events while it is read: with more than FROZEN_KEPT_MAX of these it is given up.
 *
 * Only what the event log drops meanwhile may be missing, and is of no use to anybody: whoever
 * restores has to forget what was forgotten (status_frozen_first) when the last segment was read.
 *
 * Whether a cell is a copy is not part of it: a table finds that out again, for it follows from the
 * ids before it (status_table.h).
 */
#ifndef TIDINGS_STATUS_FROZEN_H
#define TIDINGS_STATUS_FROZEN_H

#include "event-processor/status_table.h"

#define FROZEN_KEPT_MAX (1u << 20)
#define FROZEN_CELL_SIZE 34    /* bytes of a cell; the last one: 1 if it is a conflict, else 0 */
#define FROZEN_PAGE_CELLS 4096 /* positions of a page */

/* ---- reading; for one thread at a time ---- */

/* With the lock held for writing. ERR_MEMORY; ERR_BUSY: the table is frozen. */
must_check enum err status_table_freeze(struct status_table *table);
/* To be called after each freeze that was good. */
void status_table_thaw(struct status_table *table);

/* The cells of a segment in ascending order; absent ones take nothing. */
struct frozen_page {
    uint64_t number; /* its positions begin with this one, times FROZEN_PAGE_CELLS */
    uint8_t present[FROZEN_PAGE_CELLS / 8]; /* bit i % 8 of byte i / 8: cell i */
    uint32_t count;                         /* of cells, and bits */
    uint8_t cells[FROZEN_PAGE_CELLS * FROZEN_CELL_SIZE];
};
/* The next page with a cell in it. *ret_more false: there is none. ERR_CANCELLED: too much has
 * changed, memory was short, or the table was emptied. */
must_check enum err status_table_frozen_next(struct status_table *table, struct frozen_page *ret,
                                             bool *ret_more);
/* What the table has forgotten up to now, as status_reflects.first_event_position. */
uint64_t status_table_frozen_first(struct status_table *table);
/* The names that cells mean by number; 0 is not among them. False: no more. */
bool status_table_frozen_name(struct status_table *table, uint32_t number, struct view *ret);

/* ---- restoring: for a table that is empty, with its lock held for writing ---- */

/* What the cells are read by. */
struct frozen_frame {
    uint64_t event_position, status_position; /* how far both logs had been folded */
    uint64_t first;                           /* as status_reflects.first_event_position */
    uint32_t *names; /* the table's numbers of the names that cells mean by theirs */
    uint32_t name_count;
};
/* Before the first cell: only `first` counts, and about how many cells will come, at most. */
void status_table_restore_begin(struct status_table *table, const struct frozen_frame *frame,
                                uint64_t cells);
/* The table's number for a name. */
uint32_t status_table_restore_name(struct status_table *table, struct view name);
/* Adds the cells of a page as it was read; pages must ascend. ERR_MALFORMED: no such cells, or
 * beyond the frame; ERR_MEMORY. Either way some may have been added. */
must_check enum err status_table_restore(struct status_table *table,
                                         const struct frozen_frame *frame,
                                         const struct frozen_page *page);
/* After the last one: readers are told how far the logs were folded. `first` is what had been
 * forgotten when the last page was read. ERR_MEMORY: try again, or reset the table. */
must_check enum err status_table_restore_end(struct status_table *table,
                                             const struct frozen_frame *frame, uint64_t first);

#endif
