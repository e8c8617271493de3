/* The follower: reads both logs from their beginning, or from where a snapshot ends, and folds them
 * into the status table, for ever.
 *
 * Two threads, one a log. The event log's adds cells; the status log's applies batches of changes,
 * each batch after the event log's has passed all events that it names (or that log's end), so that
 * every replica's table is the same. Both ask for their log's end each second, or whenever somebody
 * needs it, and the table forgets what the event log has dropped from its head.
 *
 * A rebuild: when a log turns out not to be the one that was followed (made anew, or without its
 * tail), what was read is void. The table is emptied, its epoch becomes the next, and both logs are
 * read from the start: at once, or if rebuilds follow each other closely after a pause that grows
 * to five seconds. Until both have caught up, the follower isn't ready and nobody may take the
 * table's word.
 *
 * Thread-safe. Locks: its own mutex may be held while the table's is taken, never the other way
 * round.
 */
#ifndef TIDINGS_FOLLOWER_H
#define TIDINGS_FOLLOWER_H

#include "common/bus.h"
#include "common/metrics.h"
#include "event-processor/changes.h"
#include "event-processor/replays.h"
#include "event-processor/status_table.h"

struct follower;

/* Up to where a log was folded, and how to tell whether it is still that log. */
struct follower_mark {
    int64_t created_ns; /* the log's life */
    uint64_t position;  /* of the last record folded; 0: none was */
    int64_t time_ms;    /* when the bus stored that */
};
struct follower_point {
    struct follower_mark events, statuses;
};

struct follower_options {
    struct bus_log *event_log;
    const char *event_stream; /* its name: ids of malformed messages are made of it */
    const char *ns;
    struct bus_log *status_log;
    struct status_table *table; /* written by nobody else */
    struct replays *replays;    /* the same; NULL: replays are not followed */
    struct changes *changes;    /* the same; NULL: nobody watches */
    struct metrics *metrics;
    /* May fill the table and the replays, which are empty, and tell up to where they were folded
     * then; false: it did not, they are empty. Called once, on one of the follower's threads, which
     * stops waiting for it only when it returns. NULL: both logs are read from the start. */
    bool (*load)(void *ctx, struct follower_point *ret);
    void *load_ctx;
    int64_t still_ms; /* see follower_stands; 0: 10 s */
};
#define FOLLOWER_MALFORMED_NAME "(malformed)" /* the name of messages that are no events */

must_check enum err follower_start(const struct follower_options *options, struct follower **ret);
/* Tells its threads to end and waiters to give up (ERR_UNAVAILABLE). Waits for nothing. */
void follower_stop(struct follower *follower);
/* Waits for the threads (a fraction of a second after follower_stop) and frees. */
void follower_free(struct follower *follower);

/* A loaded table counts for nothing before both logs have shown the very records that it ends with.
 * If one of them does not, a rebuild begins. */

/* Freezes the table (status_frozen.h) at a moment up to which both logs are folded, and can be told
 * again; saves the replays of that moment (thaw the table, and free them). ERR_UNAVAILABLE: not
 * now, or not yet; ERR_BUSY, ERR_MEMORY. */
must_check enum err follower_freeze(struct follower *follower, struct follower_point *ret_point,
                                    struct replays_saved *ret_replays, uint64_t *ret_epoch,
                                    uint64_t *ret_first);

/* The epoch in which both logs have been folded up to the ends they had when it began; 0: not yet.
 */
uint64_t follower_ready(struct follower *follower);

/* How often the event log turned out not to be the one that was followed. The bus may then believe
 * that the group has had events which were lost and whose positions are given out again, so the
 * group must begin anew (restart.h). */
uint64_t follower_event_log_losses(struct follower *follower);

/* How often either log turned out not to be the one that was followed, or without its tail. Records
 * of the status log may be lost then of events that nobody will be given again; see restart.h. */
uint64_t follower_losses(struct follower *follower);

/* Whether one of the logs is known to go on behind what has been folded, but nothing has been for
 * still_ms: the bus refuses to be read, or memory is short, say. The detail says which. */
bool follower_stands(struct follower *follower, struct err_detail *detail);

/* How far the table must have come. */
struct follower_target {
    uint64_t event_position;
    uint64_t status_position;
    /* The logs' last positions ever used, also where the log is empty by now. */
    uint64_t event_last;
    uint64_t status_last;
};
/* Asks both logs for their ends: a table that has passed the target knows all that was stored
 * before this call, and no event that its log had dropped by then. Should a log turn out to be
 * another one, a rebuild begins. ERR_UNAVAILABLE, ERR_DEADLINE, ERR_MEMORY. */
must_check enum err follower_ends(struct follower *follower, int64_t timeout_ms,
                                  struct follower_target *ret);
/* The same for the status log alone; the event log's members are 0. */
must_check enum err follower_status_end(struct follower *follower, int64_t timeout_ms,
                                        struct follower_target *ret);
/* The logs' last positions as last asked for, without asking; 0: that was not in the last seconds.
 */
void follower_known_ends(struct follower *follower, uint64_t *ret_event_last,
                         uint64_t *ret_status_last);
/* Waits until the follower is ready and the table has passed the target. *ret_epoch (may be NULL):
 * the epoch it is true in. ERR_DEADLINE; ERR_UNAVAILABLE: the follower was stopped. */
must_check enum err follower_wait(struct follower *follower, const struct follower_target *target,
                                  int64_t timeout_ms, uint64_t *ret_epoch);
/* Says that what was read in this epoch is void; begins a rebuild unless one has begun since. */
void follower_rebuild(struct follower *follower, uint64_t epoch, const char *why);

#endif
