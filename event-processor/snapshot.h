/* A snapshot: what a processor knows of both logs at one moment, as bytes. docs/snapshots.md
 * describes the format.
 *
 * It holds the status table's cells and names, the replays, and of each log by which record it can
 * be told whether that log is still the one that was folded. All of it is checked when it is read,
 * lengths and sums before they are trusted; what damage cannot change unnoticed is covered by a
 * CRC-32 of everything up to there, after each block.
 */
#ifndef TIDINGS_SNAPSHOT_H
#define TIDINGS_SNAPSHOT_H

#include "event-processor/follower.h"

#define SNAPSHOT_VERSION 1

/* Whose snapshot it is: names of streams, at most 255 bytes. */
struct snapshot_streams {
    struct view events, statuses;
};

struct snapshot_head {
    struct follower_point point; /* both logs had been folded up to there */
    uint64_t first;              /* status_reflects.first_event_position then */
    int64_t taken_ms;            /* wall clock */
};

struct snapshot_sink {
    /* All of the bytes, or an error, which ends the writing. */
    enum err (*write)(void *ctx, const void *bytes, size_t len);
    void *ctx;
};
/* Writes what the table, which is frozen, was, and the replays of that moment. The memory it takes
 * is that of the largest block: 140 KB, or a replay. The sink's error; ERR_CANCELLED as
 * status_table_frozen_next; ERR_MEMORY. */
must_check enum err snapshot_write(const struct snapshot_sink *sink,
                                   const struct snapshot_streams *streams,
                                   const struct snapshot_head *head, struct status_table *table,
                                   const struct replays_saved *replays);

struct snapshot_source {
    /* *ret_len: how many bytes there were, fewer than len only at the end. An error ends the
     * reading. */
    enum err (*read)(void *ctx, void *bytes, size_t len, size_t *ret_len);
    void *ctx;
    uint64_t size; /* about how many bytes there are; a hint */
};
/* Reads only who and when it was. ERR_MALFORMED; ERR_UNIMPLEMENTED: of another version; ERR_STALE:
 * of other streams; ERR_MEMORY, the source's. The detail says why. */
must_check enum err snapshot_read_head(const struct snapshot_source *source,
                                       const struct snapshot_streams *streams,
                                       struct snapshot_head *ret, struct err_detail *detail);
/* Fills the table and the replays (may be NULL), which are empty; takes the table's lock for each
 * block. On an error, those of above, both are emptied again: the table's epoch is the next. */
must_check enum err snapshot_read(const struct snapshot_source *source,
                                  const struct snapshot_streams *streams,
                                  struct status_table *table, struct replays *replays,
                                  struct snapshot_head *ret, struct err_detail *detail);

#endif
