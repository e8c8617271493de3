/* Which events a replay is for: a walk through the status table in the order of the event log. For
 * one thread.
 */
#ifndef TIDINGS_REPLAY_WALK_H
#define TIDINGS_REPLAY_WALK_H

#include "common/bus.h"
#include "common/event.h"
#include "event-processor/event_find.h"

struct replay_walk {
    struct event_find use;
    struct replay_filter filter; /* its views must live on */
    char pattern[EVENT_NAME_MAX + 1];
    uint64_t begin_position;
    uint64_t next, last; /* positions still to be looked at */
    uint64_t *positions; /* with event_ids: theirs, ascending; NULL: all */
    size_t count, at;
};

enum replay_step {
    REPLAY_TAKE, /* to be replayed */
    REPLAY_SKIP, /* it matches, but has changed since, or there is nothing to run */
    REPLAY_PASS, /* nothing found yet: time to see whether something else is to be done */
    REPLAY_END,
};

/* What becomes of an event under a filter, when only what has ended at or before that position of
 * the status log is replayed. Names and positions have been looked at. Pure. */
enum replay_step replay_judge(const struct status_entry *entry, const struct replay_filter *filter,
                              struct view event_stream, uint64_t begin_position);

/* A walk behind the cursor. Where the filter has times, looks them up in the event log, which takes
 * some round trips. ERR_UNAVAILABLE, ERR_DEADLINE: not now. ERR_MEMORY. */
must_check enum err replay_walk_open(struct replay_walk *walk, const struct event_find *options,
                                     const struct replay_filter *filter, uint64_t begin_position,
                                     uint64_t cursor);
void replay_walk_close(struct replay_walk *walk);
/* The next event that matches; *ret is set for REPLAY_TAKE and REPLAY_SKIP. The same errors: call
 * it again. */
must_check enum err replay_walk_next(struct replay_walk *walk, enum replay_step *ret_step,
                                     struct status_entry *ret);
/* The position up to which all has been looked at. */
uint64_t replay_walk_cursor(const struct replay_walk *walk);

void replay_positions_sort(uint64_t *positions, size_t count); /* ascending */

#endif
