/* Those who wait for one event: the streams of WatchEvent.
 *
 * A stream begins as a query. What that finds is sent, and then each change of the event as the
 * follower folds it, until the event has ended. One thread for all: it reads the changes and finds
 * the streams of an event by its position, so a stream that waits costs nothing but its memory.
 *
 * Thread-safe. Locks: its own may be held while the table's is taken, never the other way round.
 */
#ifndef TIDINGS_EVENT_WATCH_H
#define TIDINGS_EVENT_WATCH_H

#include "common/rpc.h"
#include "event-processor/changes.h"
#include "event-processor/query.h"

struct event_watch;

#define EVENT_WATCHERS_MAX 10000

struct event_watch_options {
    struct query *query;
    struct follower *follower;
    struct status_table *table;
    struct changes *changes;
    struct metrics *metrics; /* tidings_watchers{kind="event"} */
};

must_check enum err event_watch_start(const struct event_watch_options *options,
                                      struct event_watch **ret);
size_t event_watch_count(struct event_watch *watch); /* of open streams */
/* Ends the streams, and those that are opened from now on, with ERR_UNAVAILABLE: another processor
 * tells the same. */
void event_watch_end(struct event_watch *watch);
/* After event_watch_end, rpc_stop and query_stop: nothing calls it any more. */
void event_watch_free(struct event_watch *watch);

/* The method's callbacks (rpc_method), without their ctx. */
void event_watch_open(struct event_watch *watch, struct rpc_call *call, struct view request);
void event_watch_writable(struct event_watch *watch, struct rpc_call *call);
void event_watch_closed(struct event_watch *watch, struct rpc_call *call);

#endif
