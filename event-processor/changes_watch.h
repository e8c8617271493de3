/* Those who watch all events: the streams of WatchEvents.
 *
 *     asked ---> behind: reads the status log ---> live: reads the ring (changes.h)
 *        '-----------------------------------------^
 *
 * A stream that begins at a position which the ring does not reach back to reads the status log
 * until the ring takes over; most begin live. Each has a place of its own in the ring and in the
 * log, so a slow client makes nobody wait: it is ended when what it has not read leaves the ring.
 *
 * Two threads for all: one for those that are live, one for those behind, which waits for the bus.
 * Thread-safe.
 */
#ifndef TIDINGS_CHANGES_WATCH_H
#define TIDINGS_CHANGES_WATCH_H

#include "common/bus.h"
#include "common/rpc.h"
#include "event-processor/changes.h"
#include "event-processor/query.h"

struct changes_watch;

#define CHANGES_WATCHERS_MAX 1000
#define CHANGES_BEHIND_MAX 100 /* of them, behind: each reads the log by itself */

struct changes_watch_options {
    struct query *query;
    struct status_table *table;
    struct changes *changes;
    struct bus_log *status_log;
    struct metrics *metrics; /* tidings_watchers{kind="changes"} */
};

must_check enum err changes_watch_start(const struct changes_watch_options *options,
                                        struct changes_watch **ret);
size_t changes_watch_count(struct changes_watch *watch); /* of open streams */
/* Ends the streams, and those that are opened from now on, with ERR_UNAVAILABLE: another processor
 * goes on from their positions. */
void changes_watch_end(struct changes_watch *watch);
/* After changes_watch_end, rpc_stop and query_stop: nothing calls it any more. */
void changes_watch_free(struct changes_watch *watch);

/* The method's callbacks (rpc_method), without their ctx. */
void changes_watch_open(struct changes_watch *watch, struct rpc_call *call, struct view request);
void changes_watch_writable(struct changes_watch *watch, struct rpc_call *call);
void changes_watch_closed(struct changes_watch *watch, struct rpc_call *call);

#endif
