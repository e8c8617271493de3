/* The sweep: nothing is stuck, and nothing leaves the event log in silence.
 *
 * - Attempts to come that are lost: the retry log was deleted, emptied or lost its tail. Nothing
 *   else would ever bring these events back. After each rebuild of the table and then at an
 *   interval it walks through the events that are `retrying` or `processing` at or below the
 *   group's floor (those above are still to be acknowledged, so they come again) and have not
 *   changed for longer than any attempt and backoff takes. Each gets its next item once more,
 *   without a message id, since the bus may know that of the lost one. Whoever has the other copy
 *   of an item just acknowledges it (decide.h). There are never many more than the retry log lacks.
 * - Attempts to come that the group has passed by: the retry log lost its tail and its positions
 *   are used again, or a server that was killed has forgotten whom it gave them to. What the group
 *   has acknowledged leaves the retry log, so what lies below its floor in two looks would lie
 *   there for ever: the group begins anew.
 * - Events that expire: where the event log has an age, an event that has not ended at 80 % of it
 *   becomes a dead letter with the reason `expired`, oldest first. Letter stored, then `dead`
 *   appended with the event's generation and attempt: an attempt that comes to its end at the same
 *   moment is before it, or too late, but there is one outcome. All processors do this, and one
 *   letter counts.
 *
 * One thread of its own. The walk is done in small steps, and memory is bounded.
 */
#ifndef TIDINGS_SWEEP_H
#define TIDINGS_SWEEP_H

#include "event-processor/follower.h"
#include "event-processor/handlers.h"
#include "event-processor/letters.h"

struct sweep;

struct sweep_options {
    struct bus_log *event_log;
    const char *event_stream; /* its name */
    struct bus_log *status_records;
    struct bus_log *retry_log;
    const char *retry_subject;
    const char *ns;
    const char *group;
    int64_t ack_wait_ms;
    struct follower *follower;
    struct status_table *table;
    struct status_log *status_log;
    struct letters *letters;
    const struct handlers *handlers;
    const struct clock *clock;
    struct metrics *metrics;
    /* An event must not have changed for longer; 0: for the longest backoff_max + timeout of the
     * handlers (LETTERS_HOLD_MS where that is more than backoff_max), an ack_wait and a second. */
    int64_t unchanged_ms;
    int64_t every_ms; /* between two walks; 0: unchanged_ms, at least 10 s and at most an hour */
};

/* Begins as soon as the follower is ready. */
must_check enum err sweep_start(const struct sweep_options *options, struct sweep **ret);
/* It begins nothing more. Does not wait. */
void sweep_stop(struct sweep *sweep);
/* After sweep_stop, and when the status log has stopped. Waits for what is being done, some seconds
 * if the bus has frozen. */
void sweep_free(struct sweep *sweep);

#endif
