/* Batches of status changes and of replays' changes: the records of the status log
 * (proto/status_log.proto).
 */
#ifndef TIDINGS_STATUS_BATCH_H
#define TIDINGS_STATUS_BATCH_H

#include "common/event_replay.h"

#define STATUS_BATCH_MAX 4096      /* changes in one batch */
#define STATUS_BATCH_REPLAYS_MAX 8 /* ... and replays' changes */
#define STATUS_ERROR_MAX 512       /* bytes of an error text */

/* A delivery that a record names: of which log, and its position there. */
enum status_delivery_log { STATUS_DELIVERY_NONE, STATUS_DELIVERY_EVENT, STATUS_DELIVERY_RETRY };
struct status_delivery {
    enum status_delivery_log log;
    uint64_t position; /* 1 or more, unless there is none */
};

struct status_change {
    struct event_id id;
    uint64_t event_position;   /* in the event log */
    struct status_state state; /* what it changes to */
    int64_t time_ms;           /* wall clock of the processor */
    /* In the status log: the batch with the event's previous change; 0: there is none. */
    uint64_t previous_position;
    struct view error;        /* UTF-8; empty: none */
    uint64_t letter_position; /* of its dead letter, in TIDINGS_DEAD; 0: none */
    /* For `dead` of a copy that is another event than the first of its id: `id` is then the UUIDv5
     * of its position (id_of_position), and these are the id that it came with and the position of
     * the first. 0: no such copy. */
    struct event_id conflict_id;
    uint64_t conflict_position;
    int64_t due_ms;                  /* of `retrying`: when the next attempt is due; 0: unknown */
    struct status_delivery delivery; /* of `processing`: the delivery that is being run */
};

/* Which events a replay is for: those that match all that is given. */
struct replay_filter {
    const struct event_id *event_ids; /* none: any; at most REPLAY_IDS_MAX */
    size_t event_id_count;
    unsigned statuses;                   /* 1u << a status; of those that end, one at least */
    struct view name;                    /* a pattern; empty: any */
    uint64_t from_position, to_position; /* both included; 0: no bound */
    int64_t accepted_since_ms, accepted_until_ms; /* wall clock; 0: no bound */
    uint32_t rate;                                /* events a second; 0: no limit */
    /* Of the event log, when the replay was asked for: what is stored later doesn't match. */
    uint64_t last_position;
    /* In TIDINGS_DEAD, ascending: of event_ids that the event log holds no more, the letters that
     * are published to it anew; at most one an id. */
    const uint64_t *letters;
    size_t letter_count;
};

/* What is recorded of a replay. */
struct replay_change {
    struct event_id id;
    enum replay_state state;
    int64_t time_ms;
    uint64_t cursor;            /* how far in the event log it has come, */
    uint64_t letter_cursor;     /* and after that in filter.letters: their last one that is done, */
    uint64_t replayed, skipped; /* and what became of the events up to there */
    bool has_filter;            /* in a replay's first record only */
    struct replay_filter filter;
    struct view runner; /* who runs it from now on; empty: no change */
};

/* Appends the encoding of a batch of 1 to STATUS_BATCH_MAX changes to `out` (else ERR_INVALID, as
 * for a conflict_position with another status than `dead`, a due_ms with another than `retrying`,
 * a delivery with another than `processing`; ERR_MEMORY). An error text that isn't UTF-8 is
 * repaired with U+FFFD, and cut at STATUS_ERROR_MAX bytes. */
must_check enum err status_batch_write(const struct status_change *changes, size_t count,
                                       struct view processor, struct buf *out);
/* The same with replays' changes, at most STATUS_BATCH_REPLAYS_MAX; beside one of these there need
 * be no others. ERR_INVALID too: no id, an unknown state, a filter that is not as described. */
must_check enum err status_batch_write_all(const struct status_change *changes, size_t count,
                                           const struct replay_change *replays, size_t replay_count,
                                           struct view processor, struct buf *out);

/* A decoded batch: count changes, columns owned by it. */
struct status_batch;
/* ERR_MALFORMED: not a batch (columns of different lengths, a version we don't know, an unknown
 * status, a generation or attempt beyond its maximum, a sparse column whose rows do not ascend or
 * are beyond the batch, a sparse column with a status that it is not for, no change or more than
 * STATUS_BATCH_MAX). ERR_MEMORY. */
must_check enum err status_batch_read(struct view bytes, struct status_batch **ret);
void status_batch_free(struct status_batch *batch);
size_t status_batch_count(const struct status_batch *batch);
/* index < count; the views live as long as the batch. */
struct status_change status_batch_get(const struct status_batch *batch, size_t index);
size_t status_batch_replay_count(const struct status_batch *batch);
/* index < that count; the views live as long as the batch. */
struct replay_change status_batch_replay(const struct status_batch *batch, size_t index);
struct view status_batch_processor(const struct status_batch *batch);

#endif
