/* events.EventService: the gRPC methods of a processor.
 */
#ifndef TIDINGS_RPC_EVENTS_H
#define TIDINGS_RPC_EVENTS_H

#include "event-processor/changes_watch.h"
#include "event-processor/consumer.h"
#include "event-processor/event_watch.h"
#include "event-processor/rpc_replays.h"

#define RPC_EVENTS_SERVICE "events.EventService"

/* For rpc_options.request_max: twice what 1,000 ids take. Unpacking takes up to forty times as much
 * memory, and on a thread that answers others, too. */
#define RPC_EVENTS_REQUEST_MAX (512 << 10)

/* The context of the methods (rpc_options.ctx); must outlive the server. */
struct rpc_events {
    struct query *query;
    struct event_watch *event_watch;
    struct changes_watch *changes_watch;
    struct replay_desk *desk;
    struct replay_watch *watch;
    struct status_table *table;
    struct view processor; /* this one's name */
    struct view group;
    struct follower *follower;
    struct consumer *consumer;
    uint32_t concurrency;
    int64_t started_ms;         /* wall clock, */
    struct timespec started_at; /* and monotonic */
};

void rpc_get_stats(struct rpc_call *call, struct view request, void *ctx);

/* For rpc_options.methods; their ctx is a struct rpc_events. */
extern const struct rpc_method rpc_events_methods[];

/* Answers a unary call with what was written into `out`, or with why it was not, and frees that. */
void rpc_events_reply(struct rpc_call *call, struct buf *out, enum err e);
/* Whether a unary call's caller has gone away: for query_ask and replay_ask. */
bool rpc_events_gone(void *call);

#endif
