/* The status table: a replica's fold of both logs, event_id -> status, in memory. It knows what the
 * event log keeps, and forgets what that log has dropped from its head.
 *
 * Layout: segments of 4,096 cells in the order of the event log, so a cell's position is implied,
 * growth moves nothing and whole segments can go when the log's head expires; a cell is 34 bytes; a
 * hash index (status_index) finds the position of an id. At most 48 bytes an event in all, while
 * nothing expires. Counters and a digest are kept for each segment as it changes.
 *
 * An event is the first copy of its id that the event log keeps: only its position is indexed and
 * counted. A later copy has a cell that shows STATUS_NONE; changes are folded into it all the same,
 * and it becomes the event, with what they have made of it, when all before it are forgotten. A
 * copy with other content than the first is a conflict: once that is recorded, it is an event of
 * its own, dead, known by the UUIDv5 of its position. So
 * what the table holds depends on the logs' records and the event log's first position alone, not
 * on how they were batched or when the two logs were read: as long as a change is applied after its
 * event was added (the follower sees to that). The one exception: a conflict recorded in an earlier
 * life of the event log is told apart from those of today by what is at its first's position, so
 * only while that is kept.
 *
 * Threads: one rwlock that prefers writers. Writers (the followers) call status_table_write_begin,
 * then the functions of "writing", then status_table_write_end. The functions of "reading" take the
 * lock themselves and may be called from any thread that does not hold it; none of them waits for
 * anything else. Names are views that live as long as the table.
 */
#ifndef TIDINGS_STATUS_TABLE_H
#define TIDINGS_STATUS_TABLE_H

#include "common/status_batch.h"

struct status_table;
struct status_entry;

#define STATUS_TABLE_POSITION_MAX ((UINT64_C(1) << 40) - 1)

must_check enum err status_table_new(struct status_table **ret);
void status_table_free(struct status_table *table);

/* ---- writing ---- */

void status_table_write_begin(struct status_table *table);
void status_table_write_end(struct status_table *table);

/* Adds the event at a position of the event log as accepted, or as a copy if its id is known.
 * Positions must ascend; one at or below the last added changes nothing. Only the name's first
 * STATUS_NAMES_MAX different ones are kept. ERR_MEMORY: nothing was added, try again. ERR_FULL: the
 * event is 2^32 positions or more after the first one. */
must_check enum err status_table_add(struct status_table *table, uint64_t position,
                                     const struct event_id *id, struct view name, int64_t time_ms);
/* Applies a change, kept at `position` of the status log and at `place` of its batch. True if it
 * won; it loses if there is no event at its event_position, or another one, or status_move says so.
 * What it makes of a copy does not show: false. */
bool status_table_apply(struct status_table *table, const struct status_change *change,
                        uint64_t position, uint32_t place);
/* The same for a change with a conflict_position, by its conflict_id: if it wins, the event at its
 * event_position is one of its own from then on, known by the change's id, which must be the
 * UUIDv5 of its position (the table does not know the event log's name). Of the id it came with it
 * is no copy any more; if it was that event, the next copy is. It loses too if what is at its
 * conflict_position came with another id. ERR_MEMORY: nothing was applied, try again. */
must_check enum err status_table_apply_conflict(struct status_table *table,
                                                const struct status_change *change,
                                                uint64_t position, uint32_t place);
/* What a change, applied before, has made of its event; false: it did not win, or does not show.
 * For writers, which hold the lock. */
bool status_table_changed(const struct status_table *table, uint64_t event_position,
                          uint64_t position, uint32_t place, struct status_entry *ret);
/* Forgets all events before this position, the event log's first one, and passes them. Unless it is
 * higher than ever before nothing changes. ERR_MEMORY: only some were forgotten, try again. */
must_check enum err status_table_forget(struct status_table *table, uint64_t first);
/* Says how far each log has been folded: what readers are told. Positions never go back but by a
 * reset. */
void status_table_passed_event(struct status_table *table, uint64_t position);
void status_table_passed_status(struct status_table *table, uint64_t position);
/* Empties the table for a fold from the start; the epoch becomes the next. */
void status_table_reset(struct status_table *table);
/* For writers, which hold the lock: what readers are told. */
struct status_reflects;
void status_table_told(const struct status_table *table, struct status_reflects *ret);
uint64_t status_table_epoch(const struct status_table *table);

/* ---- reading ---- */

/* What an answer reflects: it was true when both logs had been folded up to these positions. */
struct status_reflects {
    uint64_t epoch; /* 1 at first; another one: the table was emptied meanwhile */
    uint64_t event_position;
    uint64_t status_position;
    /* What is before it was dropped from the event log's head, and is not in the table; 0: that is
     * not known, and the table is empty. */
    uint64_t first_event_position;
};

struct status_entry {
    struct event_id id;
    bool conflict;             /* it came with another id, that of an event with other content */
    struct status_state state; /* STATUS_NONE: a later copy of an id */
    uint64_t event_position;
    uint64_t change_position; /* in the status log, of the last change that won; 0: none, or a
                               * copy */
    uint32_t change_place;    /* in that batch */
    int64_t updated_ms;       /* whole seconds */
    struct view name;
};

/* False: the id is not in the table. An event that came with the id goes before a conflict that was
 * given it. *ret_reflects (may be NULL) is set in both cases. */
bool status_table_find(struct status_table *table, const struct event_id *id,
                       struct status_entry *ret, struct status_reflects *ret_reflects);
/* The same for many ids at one moment; state.status STATUS_NONE in `ret` where it is false. */
void status_table_find_many(struct status_table *table, const struct event_id *ids, size_t count,
                            struct status_entry *ret, struct status_reflects *ret_reflects);
/* What is at a position of the event log, copies too. */
bool status_table_at(struct status_table *table, uint64_t position, struct status_entry *ret,
                     struct status_reflects *ret_reflects);
void status_table_reflects(struct status_table *table, struct status_reflects *ret);
/* The first event at positions `from` to `to`, both included, whose status is one of these (1u << a
 * status, added up); copies are none. False: there is none. Looks into few cells of others. */
bool status_table_first_of(struct status_table *table, unsigned statuses, uint64_t from,
                           uint64_t to, struct status_entry *ret,
                           struct status_reflects *ret_reflects);

/* A walk down the event log's positions, the latest first. */
struct status_scan {
    unsigned statuses; /* 1u << a status, added up; copies are none */
    /* Called with the table's lock held: must not block. NULL: all names. */
    bool (*matches)(void *ctx, struct view name);
    void *ctx;
    uint64_t next, last; /* still to be looked at; last >= 1; next < last: it is done */
};
/* Takes the scan on until `max` events are found, or about `cells_max` cells were looked at, which
 * bounds how long the lock is held: a segment without the statuses costs as much as one cell.
 * Returns how many are in `ret`; *ret_cells grows by those looked at. */
size_t status_table_scan(struct status_table *table, struct status_scan *scan, uint64_t cells_max,
                         struct status_entry *ret, size_t max, uint64_t *ret_cells,
                         struct status_reflects *ret_reflects);

/* How many events there are at positions up to `to` whose status is one of these; copies are none.
 */
uint64_t status_table_count_of(struct status_table *table, unsigned statuses, uint64_t to);

struct status_table_stats {
    struct status_reflects reflects;
    uint64_t events; /* copies not counted */
    uint64_t copies;
    uint64_t bytes;
    uint64_t counts[STATUS_COUNT]; /* STATUS_NONE: copies */
    /* Sum of a hash of each event at or after the floor: position, id, status, alone, generation,
     * attempt, last change. */
    uint64_t digest;
};
void status_table_stats(struct status_table *table, uint64_t floor_position,
                        struct status_table_stats *ret);

#endif
