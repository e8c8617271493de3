/* Snapshots as a processor takes them: from time to time and at its end, and the last one is where
 * it starts. docs/snapshots.md says it for operators.
 *
 * A thread of its own writes them; it holds the table's lock for some ten microseconds at a time
 * (status_frozen.h). Whatever goes wrong with a snapshot is a warning: the processor goes on, and
 * without a good one it starts from the logs. Thread-safe, but for new, start, stop and free;
 * these but new take NULL too, and so does finish.
 */
#ifndef TIDINGS_SNAPSHOTS_H
#define TIDINGS_SNAPSHOTS_H

#include "common/clock.h"
#include "event-processor/snapshot.h"

struct snapshots;

struct snapshots_options {
    const char *folder; /* all of these must live on */
    const char *event_stream, *status_stream;
    struct status_table *table;
    struct replays *replays;
    const struct clock *clock;
    struct metrics *metrics;
    int64_t interval_ms; /* above 0 */
};

/* Takes a place in the folder; a folder that cannot be used is a warning. ERR_MEMORY. */
must_check enum err snapshots_new(const struct snapshots_options *options, struct snapshots **ret);
/* For follower_options.load: fills the table from the youngest snapshot of the folder that is
 * sound, whoever wrote it. */
bool snapshots_load(void *snapshots, struct follower_point *ret);
/* Begins to take them. ERR_MEMORY. */
must_check enum err snapshots_start(struct snapshots *snapshots, struct follower *follower);
/* Takes the last one, unless that takes longer than the timeout. Blocks so long. */
void snapshots_finish(struct snapshots *snapshots, int64_t timeout_ms);
/* Takes and loads none any more; waits for the thread. Before the follower is freed. */
void snapshots_stop(struct snapshots *snapshots);
/* After that, for the follower may be loading. */
void snapshots_free(struct snapshots *snapshots);

#endif
