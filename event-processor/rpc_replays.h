/* The gRPC methods of replays: ReplayEvents, GetReplay, WatchReplay, CancelReplay, ListReplays.
 */
#ifndef TIDINGS_RPC_REPLAYS_H
#define TIDINGS_RPC_REPLAYS_H

#include "common/rpc.h"
#include "event-processor/replay_desk.h"

/* The streams that watch replays. Thread-safe, with a thread of its own that tells them what has
 * changed. */
struct replay_watch;
must_check enum err replay_watch_new(struct replay_desk *desk, struct replay_watch **ret);
/* Ends the thread and the streams, and those that are opened from now on, with ERR_UNAVAILABLE:
 * another processor tells the same. From now on the desk is not used. */
void replay_watch_end(struct replay_watch *watch);
/* After replay_watch_end, rpc_stop and replay_desk_stop: the desk may have a stream whose call is
 * over, and gives it back. */
void replay_watch_free(struct replay_watch *watch);

/* The methods' callbacks (rpc_method); their ctx is a struct rpc_events. */
void rpc_replay_events(struct rpc_call *call, struct view request, void *ctx);
void rpc_watch_replay(struct rpc_call *call, struct view request, void *ctx);
void rpc_replay_writable(struct rpc_call *call, void *ctx);
void rpc_replay_closed(struct rpc_call *call, void *ctx);
void rpc_get_replay(struct rpc_call *call, struct view request, void *ctx);
void rpc_cancel_replay(struct rpc_call *call, struct view request, void *ctx);
void rpc_list_replays(struct rpc_call *call, struct view request, void *ctx);

#endif
