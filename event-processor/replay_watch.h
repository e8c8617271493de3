/* Streams that watch a replay. Private to rpc_replays.c and replay_watch.c.
 *
 * A stream belongs to its call and is freed when that is over; while the desk has it too, by
 * whoever is last.
 */
#ifndef TIDINGS_REPLAY_WATCH_H
#define TIDINGS_REPLAY_WATCH_H

#include "event-processor/rpc_replays.h"

struct replay_stream;

/* A stream of this call, which is told the replay's changes after the first answer unless `once`.
 * NULL: the call has been failed. */
struct replay_stream *replay_stream_open(struct replay_watch *watch, struct rpc_call *call,
                                         bool once);
/* For replay_ask: they take the stream as ctx. */
void replay_stream_first(void *stream, enum err e, const char *message,
                         const struct replay_progress *progress);
bool replay_stream_gone(void *stream);
/* The call's callbacks. */
void replay_stream_writable(struct replay_watch *watch, struct rpc_call *call);
void replay_stream_closed(struct replay_watch *watch, struct rpc_call *call);

#endif
