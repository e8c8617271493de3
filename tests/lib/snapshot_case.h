/* Tables for tests of snapshots, and snapshots in memory. All of them fail the test if something
 * goes wrong.
 */
#ifndef TESTS_SNAPSHOT_CASE_H
#define TESTS_SNAPSHOT_CASE_H

#include "event-processor/snapshot.h"
#include "event-processor/status_frozen.h"
#include "tests/lib/unit.h"

/* ---- tables ---- */

struct event_id snap_id(uint64_t number);
struct event_id snap_own_id(uint64_t position); /* stands for the UUIDv5 of the position */
struct status_table *snap_table(void);
/* Each passes its position. */
void snap_add(struct status_table *table, uint64_t position, uint64_t number);
void snap_apply(struct status_table *table, uint64_t event_position, uint64_t number,
                struct status_state state, uint64_t position);
/* The event there is another one than the first of its id, which is at `first`. */
void snap_conflict(struct status_table *table, uint64_t event_position, uint64_t number,
                   uint64_t first, uint64_t position);
void snap_forget(struct status_table *table, uint64_t first);
void snap_freeze(struct status_table *table);

enum { SNAP_LAST = 3 * FROZEN_PAGE_CELLS };
/* Every kind of cell, in several pages and with gaps; up to SNAP_LAST with life 0, and as many more
 * with life 1. */
void snap_fill(struct status_table *table, uint64_t life);

/* What they hold at positions up to `last`, and all that they tell of it. */
void assert_same_table(struct status_table *a, struct status_table *b, uint64_t last);
void assert_empty_table(struct status_table *table);

/* The beginning of a replay. */
struct replay_change snap_replay(uint32_t n);
void snap_change_replay(struct replays *replays, struct replay_change change, uint64_t position);

/* ---- snapshots ---- */

extern const struct snapshot_streams snap_streams;
/* Of the table as it is now. */
struct snapshot_head snap_head(struct status_table *table);
/* Of a table that is frozen; replays may be NULL. */
enum err snap_write_with(struct status_table *table, const struct snapshot_head *head,
                         struct replays *replays, struct buf *out);
void snap_write(struct status_table *table, struct replays *replays, struct buf *out);
enum err snap_read_as(struct view bytes, const struct snapshot_streams *of,
                      struct status_table *table, struct replays *replays,
                      struct snapshot_head *head);
enum err snap_read(const struct buf *bytes, struct status_table *table);

#endif
