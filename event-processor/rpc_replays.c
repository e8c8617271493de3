#include "common/event.h"
#include "event-processor/replay_watch.h"
#include "event-processor/rpc_events.h"

enum { PAGE_DEFAULT = 100, PAGE_MAX = 1000 };

/* ---- GetReplay, CancelReplay ---- */

static void on_answer(void *ctx, enum err e, const char *message,
                      const struct replay_progress *progress)
{
    struct rpc_call *call = ctx;
    struct buf out;
    if (e) {
        rpc_fail(call, e, message);
        return;
    }
    buf_init(&out, RPC_ANSWER_MAX);
    rpc_events_reply(call, &out, replay_progress_write(progress, &out));
}

/* Reads the id and asks; the ask says all else. */
static void ask_by_id(struct rpc_call *call, struct view request, void *ctx, struct replay_ask ask)
{
    const struct rpc_events *events = ctx;
    struct event_replay_holder *holder;
    enum err e = replay_id_read(request, &holder, &ask.replay_id);
    if (e) {
        ask.done(ask.ctx, e, e == ERR_MEMORY ? "out of memory" : "the request has no replay_id",
                 NULL);
        return;
    }
    ask.timeout_ms = rpc_time_left_ms(call);
    replay_desk_ask(events->desk, &ask);
    event_replay_holder_free(holder);
}

void rpc_get_replay(struct rpc_call *call, struct view request, void *ctx)
{
    ask_by_id(call, request, ctx,
              (struct replay_ask){
                  .wish = REPLAY_GET, .done = on_answer, .gone = rpc_events_gone, .ctx = call});
}

void rpc_cancel_replay(struct rpc_call *call, struct view request, void *ctx)
{
    ask_by_id(call, request, ctx,
              (struct replay_ask){
                  .wish = REPLAY_CANCEL, .done = on_answer, .gone = rpc_events_gone, .ctx = call});
}

/* ---- WatchReplay, ReplayEvents ---- */

void rpc_watch_replay(struct rpc_call *call, struct view request, void *ctx)
{
    const struct rpc_events *events = ctx;
    struct replay_stream *stream = replay_stream_open(events->watch, call, false);
    if (stream)
        ask_by_id(call, request, ctx,
                  (struct replay_ask){.wish = REPLAY_GET,
                                      .done = replay_stream_first,
                                      .gone = replay_stream_gone,
                                      .ctx = stream});
}

static void refuse(struct rpc_call *call, enum err e)
{
    struct err_detail detail;
    if (e == ERR_MEMORY)
        err_set(&detail, e, "out of memory");
    else if (e == ERR_INVALID)
        err_set(&detail, e,
                "event_ids are too many or too long; at most %d are allowed, each of at most %d "
                "bytes",
                REPLAY_IDS_MAX, EVENT_PRODUCER_ID_MAX);
    else
        err_set(&detail, e,
                "the request is not a ReplayEventsRequest, or has a status or a time that does not "
                "exist");
    rpc_fail(call, e, detail.text);
}

void rpc_replay_events(struct rpc_call *call, struct view request, void *ctx)
{
    const struct rpc_events *events = ctx;
    struct event_replay_holder *holder;
    struct replay_ask ask = {.wish = REPLAY_START,
                             .timeout_ms = rpc_time_left_ms(call),
                             .done = replay_stream_first,
                             .gone = replay_stream_gone};
    enum err e = replay_request_read(request, &holder, &ask.request);
    if (e) {
        refuse(call, e);
        return;
    }
    ask.ctx = replay_stream_open(events->watch, call, ask.request.detach || ask.request.dry_run);
    if (ask.ctx)
        replay_desk_ask(events->desk, &ask);
    event_replay_holder_free(holder);
}

void rpc_replay_writable(struct rpc_call *call, void *ctx)
{
    const struct rpc_events *events = ctx;
    replay_stream_writable(events->watch, call);
}

void rpc_replay_closed(struct rpc_call *call, void *ctx)
{
    const struct rpc_events *events = ctx;
    replay_stream_closed(events->watch, call);
}

/* ---- ListReplays ---- */

static void on_list(void *ctx, const struct replay_progress *replays, size_t count)
{
    struct rpc_call *call = ctx;
    struct buf out;
    buf_init(&out, RPC_ANSWER_MAX);
    rpc_events_reply(call, &out, replay_list_write(replays, count, &out));
}

void rpc_list_replays(struct rpc_call *call, struct view request, void *ctx)
{
    const struct rpc_events *events = ctx;
    struct err_detail detail;
    uint32_t page_size;
    enum err e = replay_list_request_read(request, &page_size);
    if (e) {
        rpc_fail(call, e, "the request is not a ListReplaysRequest");
        return;
    }
    if (page_size > PAGE_MAX) {
        err_set(&detail, ERR_INVALID, "page_size %u is too large; at most %d are allowed",
                page_size, PAGE_MAX);
        rpc_fail(call, ERR_INVALID, detail.text);
        return;
    }
    e = replay_desk_list(events->desk, page_size ? page_size : PAGE_DEFAULT, on_list, call);
    if (e)
        rpc_fail(call, e,
                 e == ERR_MEMORY ? "out of memory"
                                 : "this processor has not caught up with the bus; try again");
}
