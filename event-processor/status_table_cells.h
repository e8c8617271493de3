/* The inside of the status table: its cells, and how they are found. Private to status_table*.c.
 */
#ifndef TIDINGS_STATUS_TABLE_CELLS_H
#define TIDINGS_STATUS_TABLE_CELLS_H

#include "event-processor/keyed_hash.h"
#include "event-processor/status_cell.h"
#include "event-processor/status_copies.h"
#include "event-processor/status_index.h"
#include "event-processor/status_names.h"
#include "event-processor/status_table.h"

#include <pthread.h>

#define STATUS_SEGMENT_CELLS 4096u

/* Invariant: counts and digest are those of the cells. */
struct status_segment {
    uint64_t number; /* position / STATUS_SEGMENT_CELLS of all its events */
    uint64_t digest;
    uint32_t kept; /* the last of its cells that status_frozen.c keeps; 0: none */
    uint16_t counts[STATUS_COUNT];
    struct status_cell cells[STATUS_SEGMENT_CELLS];
};
static_assert(STATUS_SEGMENT_CELLS <= UINT16_MAX, "a segment's counters take all its cells");

/* Invariant: segments ascend by number (absent ones take nothing), and no cell before
 * reflects.first_event_position is left in them; `last` is the last position added; the index holds
 * the position of each event, of no copy, and some of forgotten ones; `copies` has a chain from
 * each event to its copies, from none that is a conflict; counts are the sums of the segments'. */
struct status_table {
    pthread_rwlock_t lock;
    struct status_segment **segments;
    size_t segment_count;
    size_t segment_capacity;
    uint64_t last;
    uint64_t counts[STATUS_COUNT];
    struct status_reflects reflects;
    struct status_index *index;
    struct status_copies *copies;
    struct status_names *names;
    struct hash_key key;
    struct status_frozen *frozen; /* NULL: it isn't */
    bool loading;                 /* what is in it counts for nothing yet */
};

/* All of these with the lock held. */

uint64_t status_table_hash(const struct status_table *table, const struct event_id *id);
/* For the index: the hash of the event at the position whose low 32 bits these are. */
bool status_table_hash_at(const void *table, uint32_t low, uint64_t *ret_hash);
/* NULL: no event was added there, or it is forgotten. */
struct status_cell *status_table_cell(const struct status_table *table, uint64_t position,
                                      struct status_segment **ret_segment);
/* The cell of the event that came with this id; NULL: there is none. */
const struct status_cell *status_table_event(const struct status_table *table,
                                             const struct event_id *id, uint64_t hash,
                                             uint64_t *ret_position);
/* The same, or else a conflict that was given this id. */
const struct status_cell *status_table_any(const struct status_table *table,
                                           const struct event_id *id, uint64_t hash,
                                           uint64_t *ret_position);
/* Puts a cell at a position after all others, with its id's hash; it becomes a copy if its id is
 * known. ERR_MEMORY: nothing was put. */
must_check enum err status_table_put(struct status_table *table, uint64_t position, uint64_t hash,
                                     struct status_cell *cell);
/* Adds what the cell is to what is counted; with -1 takes it out again. */
void status_table_count(struct status_table *table, struct status_segment *segment,
                        const struct status_cell *cell, uint64_t position, int sign);
/* Makes the cell, which is counted, what a change at that place of the status log says. */
void status_table_change(struct status_cell *cell, struct status_state state,
                         const struct status_change *change, uint64_t position, uint32_t place);
/* Takes the event at this position out of the chain of its id: the next copy becomes the event,
 * unless it is before `first`. ERR_MEMORY: nothing has changed. */
must_check enum err status_table_pass_on(struct status_table *table, uint64_t position,
                                         uint64_t first);

/* ---- status_frozen.c; `frozen` may be NULL ---- */

/* To be called before a cell becomes another one, but for what readers of it find out again. */
void status_frozen_keep(struct status_frozen *frozen, struct status_segment *segment,
                        const struct status_cell *cell, uint64_t position);
void status_frozen_void(struct status_frozen *frozen); /* it is not to be read any more */
void status_frozen_free(struct status_frozen *frozen);

#endif
