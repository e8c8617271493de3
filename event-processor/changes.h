/* The latest status changes, for those who watch: what the follower has folded, in the order of the
 * status log, kept in a ring that all watchers share.
 *
 * Only changes that won and show are here, so each is what an event's status became. The ring keeps
 * the latest `capacity` of them; whoever reads too slowly finds that what it wants is lost. The
 * follower pays for a copy of a few dozen bytes a change and a wake-up a batch, however many watch.
 *
 * Thread-safe. One writer: the follower's status side, which holds the status table's lock: so a
 * change can be read here once the table that others read has it, and not before. The ring's own
 * lock is held for a copy of some entries at most.
 */
#ifndef TIDINGS_CHANGES_H
#define TIDINGS_CHANGES_H

#include "event-processor/status_table.h"

#include <time.h>

struct changes;

#define CHANGES_KEPT 65536 /* usual capacity: seconds of a busy log */

/* At least 2 * STATUS_BATCH_MAX, so that a reader always finds room for a batch and time to take
 * it. */
must_check enum err changes_new(size_t capacity, struct changes **ret);
void changes_free(struct changes *changes);

/* ---- writing ---- */

/* Not to be read before it is passed. */
void changes_add(struct changes *changes, const struct status_entry *entry);
/* All of the status log up to this position is here. */
void changes_pass(struct changes *changes, uint64_t position);
/* The status log begins after this position: unless that is passed already, nothing before is
 * here, and whoever read on so far has lost it. */
void changes_begin(struct changes *changes, uint64_t position);
/* Empties it for a fold from the start. */
void changes_reset(struct changes *changes);

/* ---- reading ---- */

/* A place in the ring; a reader's own. */
struct changes_cursor {
    uint64_t life; /* one more with each reset */
    uint64_t next;
};
enum changes_end {
    CHANGES_READ,
    CHANGES_LOST,  /* the reader is too slow: what comes next is no longer kept */
    CHANGES_RESET, /* all is read anew: the cursor is void */
};

/* A cursor behind all that is here; returns the status log's position up to which that is. */
uint64_t changes_now(struct changes *changes, struct changes_cursor *ret);
/* A cursor at the first change after a position of the status log. False: what follows it is no
 * longer here, or it has not been passed. */
bool changes_after(struct changes *changes, uint64_t position, struct changes_cursor *ret);
/* Copies the next changes, at most `max` (STATUS_BATCH_MAX or more, or up to where another reader's
 * cursor has come), all of a batch or none.
 * *ret_position: up to where in the status log all has been read then. *ret_more: there are more.
 */
enum changes_end changes_read(struct changes *changes, struct changes_cursor *cursor,
                              struct status_entry *ret, size_t max, size_t *ret_count,
                              uint64_t *ret_position, bool *ret_more);
/* How changes_read would end. */
enum changes_end changes_look(struct changes *changes, const struct changes_cursor *cursor);
/* Waits until something has been passed or reset since the turn `seen` (0 at first), or the time is
 * over; returns the present turn. */
uint64_t changes_wait(struct changes *changes, uint64_t seen, struct timespec until);
/* Ends all waits, once. */
void changes_wake(struct changes *changes);

#endif
