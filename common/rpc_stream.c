/* Streams: the sequences of server streaming and bidirectional calls.
 *
 *     begin: {RECV_CLOSE}, bidi: {SEND_INITIAL_METADATA}, {RECV_MESSAGE}
 *     then, as mail comes: {[SEND_INITIAL_METADATA] SEND_MESSAGE} one at a time,
 *     at last {[SEND_INITIAL_METADATA] [SEND_MESSAGE] SEND_STATUS}
 *
 * A bidi stream reads its next message when on_request has returned and what it sent has left: so
 * a method that answers each message may always send, and a caller that doesn't read is not read
 * from.
 */
#include "common/rpc_server.h"

#include <grpc/slice.h>

/* ---- the list of built-in streams ---- */

/* False: the server is stopping. */
static bool list_add(struct rpc_call *call)
{
    struct rpc_server *server = call->worker->server;
    pthread_mutex_lock(&server->streams_lock);
    bool open = !server->stopping;
    if (open) {
        call->stream_previous = NULL;
        call->stream_next = server->streams;
        if (server->streams)
            server->streams->stream_previous = call;
        server->streams = call;
        call->listed = true;
    }
    pthread_mutex_unlock(&server->streams_lock);
    return open;
}

static void list_remove(struct rpc_call *call)
{
    struct rpc_server *server = call->worker->server;
    if (!call->listed)
        return;
    pthread_mutex_lock(&server->streams_lock);
    if (call->stream_previous)
        call->stream_previous->stream_next = call->stream_next;
    else
        server->streams = call->stream_next;
    if (call->stream_next)
        call->stream_next->stream_previous = call->stream_previous;
    pthread_mutex_unlock(&server->streams_lock);
    call->listed = false;
}

void rpc_stream_end_all(struct rpc_server *server)
{
    pthread_mutex_lock(&server->streams_lock);
    server->stopping = true;
    for (struct rpc_call *call = server->streams; call; call = call->stream_next)
        rpc_fail(call, ERR_UNAVAILABLE, "the server is stopping");
    pthread_mutex_unlock(&server->streams_lock);
}

/* ---- sending ---- */

static size_t add_metadata_op(struct rpc_call *call, grpc_op *ops)
{
    if (call->metadata_sent)
        return 0;
    call->metadata_sent = true;
    ops[0] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    return 1;
}

static void send_metadata(struct rpc_call *call)
{
    grpc_op op;
    if (add_metadata_op(call, &op))
        rpc_call_batch(call, &op, 1, RPC_PHASE_METADATA);
}

void rpc_stream_drain(struct rpc_call *call)
{
    if (call->writing || call->ended)
        return; /* the event of the write comes back here */
    pthread_mutex_lock(&call->lock);
    struct rpc_mail mail = call->mail;
    call->mail = (struct rpc_mail){0};
    pthread_mutex_unlock(&call->lock);
    if (!mail.has_message && !mail.has_end)
        return;

    grpc_op ops[3];
    size_t n = add_metadata_op(call, ops);
    if (mail.has_message)
        ops[n++] = rpc_call_message_op(call, mail.message);
    if (mail.has_end)
        ops[n++] = rpc_call_status_op(call, mail.status, &mail.details);
    call->writing = mail.has_message && !mail.has_end;
    rpc_call_batch(call, ops, n, mail.has_end ? RPC_PHASE_DONE : RPC_PHASE_WRITE);
    if (mail.has_end)
        grpc_slice_unref(mail.details);
}

/* ---- receiving ---- */

static void read_next(struct rpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->in};
    call->reading = true;
    rpc_call_batch(call, &op, 1, RPC_PHASE_READ);
}

static void half_close(struct rpc_call *call)
{
    const struct rpc_method *method = &call->entry->method;
    call->half_closed = true;
    if (method->on_half_close)
        method->on_half_close(call, call->entry->ctx);
    else
        rpc_end(call);
}

void rpc_stream_begin(struct rpc_call *call)
{
    grpc_op op = rpc_call_close_op(call);
    rpc_call_batch(call, &op, 1, RPC_PHASE_CLOSE);
    if (call->entry->builtin && !list_add(call)) {
        rpc_fail(call, ERR_UNAVAILABLE, "the server is stopping");
        return;
    }
    if (call->entry->method.kind == RPC_BIDI) {
        send_metadata(call);
        read_next(call);
    } else if (call->in) {
        rpc_call_deliver(call);
        send_metadata(call); /* unless a first message has taken it along */
    } else {
        rpc_fail(call, ERR_MALFORMED, "the request has no message");
    }
}

/* ---- events ---- */

static void note(struct rpc_call *call, enum rpc_phase phase)
{
    if (phase != RPC_PHASE_MAIL)
        call->pending--;
    if (phase == RPC_PHASE_CLOSE) {
        call->closed = true;
        if (call->cancelled)
            call->gone = true;
    } else if (phase == RPC_PHASE_READ) {
        call->reading = false;
    } else if (phase == RPC_PHASE_WRITE) {
        call->writing = false;
    }
    pthread_mutex_lock(&call->lock);
    if (phase == RPC_PHASE_MAIL)
        call->wakes--;
    if (phase == RPC_PHASE_WRITE)
        call->busy = false;
    pthread_mutex_unlock(&call->lock);
}

/* The client has gone without a half-close, and nobody but us would end the call. */
static bool is_orphan(const struct rpc_call *call)
{
    const struct rpc_method *method = &call->entry->method;
    return method->kind == RPC_BIDI && !method->on_half_close && !method->on_closed &&
           call->closed && !call->ended;
}

static void call_back(struct rpc_call *call, enum rpc_phase phase, bool ok)
{
    const struct rpc_method *method = &call->entry->method;
    if (!ok || call->ended || call->closed)
        return;
    if (phase == RPC_PHASE_WRITE && method->on_writable)
        method->on_writable(call, call->entry->ctx);
    else if (phase == RPC_PHASE_READ && call->in)
        rpc_call_deliver(call);
    else if (phase == RPC_PHASE_READ)
        half_close(call);
}

/* True: nothing more can happen, and no other thread's mail is accepted from now on. */
static bool is_over(struct rpc_call *call)
{
    bool done = call->pending == 0 &&
                (call->ended || (call->closed && call->entry->method.on_closed != NULL));
    if (!done)
        return false;
    pthread_mutex_lock(&call->lock);
    call->over = call->wakes == 0;
    bool over = call->over;
    pthread_mutex_unlock(&call->lock);
    return over;
}

void rpc_stream_event(struct rpc_call *call, enum rpc_phase phase, bool ok)
{
    const struct rpc_method *method = &call->entry->method;
    note(call, phase);
    rpc_stream_drain(call);
    call_back(call, phase, ok);
    if (method->kind == RPC_BIDI && !call->reading && !call->writing && !call->half_closed &&
        !call->ended && !call->closed)
        read_next(call);
    if (is_orphan(call))
        rpc_end(call);
    if (!is_over(call))
        return;
    list_remove(call);
    if (method->on_closed)
        method->on_closed(call, call->entry->ctx);
    rpc_call_finish(call);
}
