#include "event-processor/rpc_events.h"

#include "common/event.h"

void rpc_events_reply(struct rpc_call *call, struct buf *out, enum err e)
{
    if (e)
        rpc_fail(call, e, err_title(e));
    else
        rpc_reply(call, buf_view(out));
    buf_free(out);
}

bool rpc_events_gone(void *ctx)
{
    return rpc_cancelled(ctx);
}

/* Ends a call whose request could not be read. */
static void refuse(struct rpc_call *call, enum err e, const char *request)
{
    struct err_detail detail;
    err_set(&detail, e, e == ERR_MEMORY ? "out of memory" : "the request is not a %s", request);
    rpc_fail(call, e, detail.text);
}

/* ---- GetEventStatus ---- */

static void on_answer(void *ctx, enum err e, const char *message, const struct event_status *status)
{
    struct rpc_call *call = ctx;
    if (e) {
        rpc_fail(call, e, message);
        return;
    }
    struct buf out;
    buf_init(&out, RPC_ANSWER_MAX);
    rpc_events_reply(call, &out, event_status_write(status, &out));
}

static void get_event_status(struct rpc_call *call, struct view request, void *ctx)
{
    const struct rpc_events *events = ctx;
    struct event_status_holder *holder;
    struct query_ask ask = {.timeout_ms = rpc_time_left_ms(call),
                            .done = on_answer,
                            .gone = rpc_events_gone,
                            .ctx = call};
    enum err e = event_status_request_read(request, &holder, &ask.request);
    if (e) {
        refuse(call, e, "GetEventStatusRequest");
        return;
    }
    query_ask(events->query, &ask);
    event_status_holder_free(holder);
}

/* ---- BatchGetEventStatus ---- */

static void refuse_batch(struct rpc_call *call, enum err e)
{
    struct err_detail detail;
    if (e != ERR_INVALID) {
        refuse(call, e, "BatchGetEventStatusRequest");
        return;
    }
    err_set(&detail, e,
            "event_ids are too many or too long; at most %d are allowed, each of at most %d bytes",
            EVENT_BATCH_MAX, EVENT_PRODUCER_ID_MAX);
    rpc_fail(call, e, detail.text);
}

static void on_results(void *ctx, enum err e, const char *message,
                       const struct event_batch_result *results, size_t count)
{
    struct rpc_call *call = ctx;
    if (e) {
        rpc_fail(call, e, message);
        return;
    }
    struct buf out;
    buf_init(&out, RPC_ANSWER_MAX);
    rpc_events_reply(call, &out, event_batch_write(results, count, &out));
}

static void batch_get_event_status(struct rpc_call *call, struct view request, void *ctx)
{
    const struct rpc_events *events = ctx;
    struct event_status_holder *holder;
    struct query_batch_ask ask = {.timeout_ms = rpc_time_left_ms(call),
                                  .done = on_results,
                                  .gone = rpc_events_gone,
                                  .ctx = call};
    enum err e = event_batch_request_read(request, &holder, &ask.request);
    if (e) {
        refuse_batch(call, e);
        return;
    }
    query_batch(events->query, &ask);
    event_status_holder_free(holder);
}

/* ---- ListEvents ---- */

static void on_page(void *ctx, enum err e, const char *message, const struct event_page *page)
{
    struct rpc_call *call = ctx;
    if (e) {
        rpc_fail(call, e, message);
        return;
    }
    struct buf out;
    buf_init(&out, RPC_ANSWER_MAX);
    rpc_events_reply(call, &out, event_page_write(page, &out));
}

static void list_events(struct rpc_call *call, struct view request, void *ctx)
{
    const struct rpc_events *events = ctx;
    struct event_status_holder *holder;
    struct query_list_ask ask = {.timeout_ms = rpc_time_left_ms(call),
                                 .done = on_page,
                                 .gone = rpc_events_gone,
                                 .ctx = call};
    enum err e = event_list_request_read(request, &holder, &ask.request);
    if (e) {
        refuse(call, e, "ListEventsRequest");
        return;
    }
    query_list(events->query, &ask);
    event_status_holder_free(holder);
}

/* ---- WatchEvent ---- */

static void watch_event(struct rpc_call *call, struct view request, void *ctx)
{
    const struct rpc_events *events = ctx;
    event_watch_open(events->event_watch, call, request);
}

static void watch_event_writable(struct rpc_call *call, void *ctx)
{
    const struct rpc_events *events = ctx;
    event_watch_writable(events->event_watch, call);
}

static void watch_event_closed(struct rpc_call *call, void *ctx)
{
    const struct rpc_events *events = ctx;
    event_watch_closed(events->event_watch, call);
}

/* ---- WatchEvents ---- */

static void watch_events(struct rpc_call *call, struct view request, void *ctx)
{
    const struct rpc_events *events = ctx;
    changes_watch_open(events->changes_watch, call, request);
}

static void watch_events_writable(struct rpc_call *call, void *ctx)
{
    const struct rpc_events *events = ctx;
    changes_watch_writable(events->changes_watch, call);
}

static void watch_events_closed(struct rpc_call *call, void *ctx)
{
    const struct rpc_events *events = ctx;
    changes_watch_closed(events->changes_watch, call);
}

const struct rpc_method rpc_events_methods[] = {
    {.path = EVENT_STATUS_METHOD, .kind = RPC_UNARY, .busy = true, .on_request = get_event_status},
    {.path = EVENT_BATCH_METHOD, .kind = RPC_UNARY, .on_request = batch_get_event_status},
    {.path = EVENT_LIST_METHOD, .kind = RPC_UNARY, .on_request = list_events},
    {.path = EVENT_WATCH_METHOD,
     .kind = RPC_SERVER_STREAM,
     .on_request = watch_event,
     .on_writable = watch_event_writable,
     .on_closed = watch_event_closed},
    {.path = EVENT_CHANGES_METHOD,
     .kind = RPC_SERVER_STREAM,
     .on_request = watch_events,
     .on_writable = watch_events_writable,
     .on_closed = watch_events_closed},
    {.path = EVENT_STATS_METHOD, .kind = RPC_UNARY, .on_request = rpc_get_stats},
    {.path = REPLAY_START_METHOD,
     .kind = RPC_SERVER_STREAM,
     .on_request = rpc_replay_events,
     .on_writable = rpc_replay_writable,
     .on_closed = rpc_replay_closed},
    {.path = REPLAY_WATCH_METHOD,
     .kind = RPC_SERVER_STREAM,
     .on_request = rpc_watch_replay,
     .on_writable = rpc_replay_writable,
     .on_closed = rpc_replay_closed},
    {.path = REPLAY_GET_METHOD, .kind = RPC_UNARY, .on_request = rpc_get_replay},
    {.path = REPLAY_CANCEL_METHOD, .kind = RPC_UNARY, .on_request = rpc_cancel_replay},
    {.path = REPLAY_LIST_METHOD, .kind = RPC_UNARY, .on_request = rpc_list_replays},
    {.path = NULL},
};
