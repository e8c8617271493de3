/* Replays: a replica's fold of what the status log holds of them. Processors that have folded the
 * same log hold the same replays: those that run, and the last REPLAYS_KEPT that have ended.
 *
 * Thread-safe. One writer: the follower's status side, which holds the status table's lock; so what
 * a reader finds reflects the position that the table said before at least.
 */
#ifndef TIDINGS_REPLAYS_H
#define TIDINGS_REPLAYS_H

#include "common/status_batch.h"

#include <time.h>

struct replays;

#define REPLAY_RUNNER_SIZE 257

/* A replay's filter, shared by all copies of the replay; never changes. */
struct replay_plan;
const struct replay_filter *replay_plan_filter(const struct replay_plan *plan);

/* A replay as it is at one moment. */
struct replay {
    struct event_id id;
    enum replay_state state; /* REPLAY_NONE: it has not begun */
    /* Of its first record, in the status log: events that have ended after that are skipped. */
    uint64_t begin_position;
    int64_t started_ms, updated_ms; /* wall clock, as recorded */
    uint64_t cursor;                /* how far in the event log it has come, */
    uint64_t letter_cursor;         /* then in its filter's letters, */
    uint64_t replayed, skipped;     /* and what became of the events up to there */
    char runner[REPLAY_RUNNER_SIZE];
    struct timespec heard_at; /* monotonic, here: when its last record was folded */
    struct replay_plan *plan;
};
/* Gives back what replays_find, replays_list or replay_copy has filled. */
void replay_release(struct replay *replay);
void replay_copy(const struct replay *from, struct replay *ret);

/* What a record at this position makes of a replay, pure, but for heard_at and plan: false if
 * nothing. A replay begins with a record that has a filter; its end is its first one; counts go
 * with the highest cursor, and of equal ones the highest letter_cursor, also after that. */
bool replay_move(struct replay *replay, const struct replay_change *change, uint64_t position);

must_check enum err replays_new(struct replays **ret);
void replays_free(struct replays *replays);

/* ---- writing ---- */

/* ERR_MEMORY: nothing was applied, try again. */
must_check enum err replays_apply(struct replays *replays, const struct replay_change *change,
                                  uint64_t position);
/* Forgets replays that began before this position, the status log's first one: what they were for
 * has left the event log too. */
void replays_forget(struct replays *replays, uint64_t first);
uint64_t replays_first(struct replays *replays); /* as told by that; 0: not yet */
/* Forgets all, for a fold from the start. */
void replays_reset(struct replays *replays);
/* To be called without the table's lock after changes: wakes who waits for them. */
void replays_announce(struct replays *replays);

/* ---- reading ---- */

/* False: there is no such replay. Release what was filled. */
bool replays_find(struct replays *replays, const struct event_id *id, struct replay *ret);
/* Up to `max` replays, the latest first; returns how many. Release each. */
size_t replays_list(struct replays *replays, bool running_only, struct replay *ret, size_t max);
size_t replays_running(struct replays *replays);

/* ---- for a snapshot ---- */

struct replays_saved {
    struct replay_saved {
        struct replay replay;
        uint64_t ended; /* the how-manieth that ended; 0: it has not */
    } * list;           /* in the order they began */
    size_t count;
};
/* All that is known, at one moment for whoever holds the table's lock. ERR_MEMORY. */
must_check enum err replays_save(struct replays *replays, struct replays_saved *ret);
void replays_saved_free(struct replays_saved *saved);
/* Puts back what was saved of one replay, as a record that says all of it: in the same order, for a
 * writer. ERR_MALFORMED: it cannot be so; ERR_MEMORY. */
must_check enum err replays_restore(struct replays *replays, const struct replay_change *change,
                                    uint64_t begin_position, int64_t started_ms, uint64_t ended);

/* ---- waiting ---- */

/* Waits until something has changed since the turn `seen` (0 at first), or the time is over;
 * returns the present turn. */
uint64_t replays_wait(struct replays *replays, uint64_t seen, struct timespec until);
/* Begins a turn although nothing has changed, which ends all waits: for who waits for changes and
 * for something else too. */
void replays_wake(struct replays *replays);

#endif
