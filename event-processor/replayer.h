/* The replayer: runs the replays whose runner this processor is, and takes over those whose runner
 * has been silent.
 *
 *     walk to events that match -> items of their next generation published -> one batch with their
 *     `retrying` and with how far the replay has come -> folded -> the next ones
 *
 * In this order, since a stored item is run whatever becomes of the batch; and counts are recorded
 * with what they count. Only what has ended at or before the replay's first record is taken, so
 * whoever goes on from the last record, here or elsewhere, replays nothing twice, and several that
 * do so at once do no harm.
 *
 * After the last event come the filter's letters, one by one:
 *
 *     the table knows all that the event log held, but not the id -> published as the event it was
 *
 * Should two runners do so at once, one of the two is a copy, and is not run.
 *
 * Thread-safe. One thread of its own.
 */
#ifndef TIDINGS_REPLAYER_H
#define TIDINGS_REPLAYER_H

#include "event-processor/follower.h"
#include "event-processor/replay_letters.h"
#include "event-processor/replay_walk.h"

struct replayer;

#define REPLAYER_CHUNK_MAX 512 /* events in one batch */

struct replayer_options {
    struct event_find walk;
    struct replay_letters_options letters;
    struct bus_log *status_records;
    const char *status_subject;
    struct bus_log *retry_log;
    const char *retry_subject;
    const char *group;
    const char *processor; /* its name */
    struct follower *follower;
    struct replays *replays;
    const struct clock *clock;
    struct metrics *metrics;
    int64_t silent_ms; /* after so long another takes over; 0: 15 s. Signs of life come five times
                        * as often. */
};

must_check enum err replayer_start(const struct replayer_options *options, struct replayer **ret);
/* Begins no more; its replays stay running, for others. Does not wait. */
void replayer_stop(struct replayer *replayer);
/* After replayer_stop. Waits for what is being done, some seconds if the bus has frozen. */
void replayer_free(struct replayer *replayer);

#endif
