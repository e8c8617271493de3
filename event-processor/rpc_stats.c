/* GetStats: what this processor knows and does. */
#include "event-processor/rpc_events.h"

#include "common/version.h"
#include "event-processor/wait.h"

static void add_table(struct status_table *table, uint64_t floor_position, struct event_stats *ret)
{
    struct status_table_stats stats;
    status_table_stats(table, floor_position, &stats);
    ret->event_position = stats.reflects.event_position;
    ret->status_position = stats.reflects.status_position;
    ret->first_event_position = stats.reflects.first_event_position;
    ret->events = stats.events;
    ret->table_bytes = stats.bytes;
    ret->digest = stats.digest;
    memcpy(ret->counts, stats.counts, sizeof ret->counts);
}

/* An end that was asked for a moment ago may be behind the table by now. */
static uint64_t end_of(uint64_t known, uint64_t position)
{
    return known != 0 && known < position ? position : known;
}

static void add_ends(struct follower *follower, struct event_stats *ret)
{
    uint64_t event_last, status_last;
    follower_known_ends(follower, &event_last, &status_last);
    ret->event_log_end = end_of(event_last, ret->event_position);
    ret->status_log_end = end_of(status_last, ret->status_position);
}

static void add_work(const struct rpc_events *events, struct event_stats *ret)
{
    struct consumer_work work = consumer_work(events->consumer);
    ret->handlers_running = (uint32_t)work.running;
    ret->handlers_max = events->concurrency;
    ret->processed = work.processed;
    ret->retried = work.retried;
    ret->dead = work.dead;
}

void rpc_get_stats(struct rpc_call *call, struct view request, void *ctx)
{
    const struct rpc_events *events = ctx;
    uint64_t floor_position;
    enum err e = event_stats_request_read(request, &floor_position);
    if (e) {
        rpc_fail(call, e,
                 e == ERR_MEMORY ? "out of memory" : "the request is not a GetStatsRequest");
        return;
    }
    struct event_stats stats = {
        .processor = events->processor,
        .group = events->group,
        .version = VIEW(TIDINGS_VERSION),
        .started_ms = events->started_ms,
        .uptime_s = (uint64_t)(wait_until(0).tv_sec - events->started_at.tv_sec),
        .ready = follower_ready(events->follower) != 0,
        .event_watchers = (uint32_t)event_watch_count(events->event_watch),
        .watchers = (uint32_t)changes_watch_count(events->changes_watch),
    };
    add_table(events->table, floor_position, &stats);
    add_ends(events->follower, &stats);
    add_work(events, &stats);
    struct buf out;
    buf_init(&out, RPC_ANSWER_MAX);
    rpc_events_reply(call, &out, event_stats_write(&stats, &out));
}
