/* Calls: contexts, batches, mail, and the sequence of a unary call. */
#include "common/rpc_server.h"

#include "common/log.h"
#include "common/mem.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/slice_buffer.h>
#include <grpc/support/time.h>

_Static_assert(_Alignof(max_align_t) > RPC_PHASE_MASK,
               "a context's address leaves room for the phase");

static void unary_begin(struct rpc_call *call);
static void unary_event(struct rpc_call *call, enum rpc_phase phase);
static void unary_drain(struct rpc_call *call);

static void *tag_of(struct rpc_call *call, enum rpc_phase phase)
{
    return (void *)((uintptr_t)call | phase);
}

static bool is_unary(const struct rpc_call *call)
{
    return call->entry->method.kind == RPC_UNARY;
}

/* ---- contexts ---- */

struct rpc_call *rpc_call_new(struct rpc_worker *worker)
{
    struct rpc_call *call = mem_zero(1, sizeof *call);
    if (!call)
        return NULL;
    call->worker = worker;
    call->out = grpc_raw_byte_buffer_create(NULL, 0);
    grpc_metadata_array_init(&call->metadata);
    grpc_call_details_init(&call->details);
    pthread_mutex_init(&call->lock, NULL);
    return call;
}

void rpc_call_free(struct rpc_call *call)
{
    grpc_byte_buffer_destroy(call->out);
    grpc_metadata_array_destroy(&call->metadata);
    pthread_mutex_destroy(&call->lock);
    mem_free(call);
}

static void pool_put(struct rpc_call *call)
{
    call->next = call->worker->pool;
    call->worker->pool = call;
}

static struct rpc_call *pool_take(struct rpc_worker *worker)
{
    struct rpc_call *call = worker->pool;
    if (!call)
        return rpc_call_new(worker);
    worker->pool = call->next;
    return call;
}

static void request(struct rpc_call *call, const struct rpc_entry *entry)
{
    struct rpc_worker *worker = call->worker;
    grpc_server *server = worker->server->core;
    void *tag = tag_of(call, RPC_PHASE_NEW);
    grpc_call_error error;

    call->entry = entry;
    if (!entry->method.path)
        error = grpc_server_request_call(server, &call->core, &call->details, &call->metadata,
                                         worker->queue, worker->queue, tag);
    else
        error = grpc_server_request_registered_call(
            server, entry->handle, &call->core, &call->deadline, &call->metadata,
            entry->method.kind == RPC_BIDI ? NULL : &call->in, worker->queue, worker->queue, tag);
    if (error != GRPC_CALL_OK) {
        log_error("cannot request calls", LOG_TEXT("reason", grpc_call_error_to_string(error)));
        pool_put(call);
    }
}

void rpc_call_request(struct rpc_worker *worker, const struct rpc_entry *entry)
{
    struct rpc_call *call = pool_take(worker);
    if (call) {
        request(call, entry);
        return;
    }
    worker->owed[entry->index]++;
    worker->owed_total++;
}

/* A context has become free: pays one debt with it. */
static void pay_debt(struct rpc_worker *worker)
{
    for (uint32_t i = 0; i < worker->server->entry_count; i++) {
        if (!worker->owed[i])
            continue;
        worker->owed[i]--;
        worker->owed_total--;
        rpc_call_request(worker, &worker->server->entries[i]);
        return;
    }
}

static void count(const struct rpc_call *call)
{
    grpc_status_code code = call->cancelled ? GRPC_STATUS_CANCELLED : call->status;
    struct metric *metric = code < RPC_CODES ? call->entry->counts[code] : NULL;
    if (metric)
        metric_add(metric, 1);
}

static void mail_free(struct rpc_mail *mail)
{
    if (mail->has_message)
        grpc_slice_unref(mail->message);
    if (mail->has_end)
        grpc_slice_unref(mail->details);
    *mail = (struct rpc_mail){0};
}

static void free_in(struct rpc_call *call)
{
    if (call->in)
        grpc_byte_buffer_destroy(call->in);
    call->in = NULL;
}

void rpc_call_finish(struct rpc_call *call)
{
    call->worker->open--;
    count(call);
    grpc_call_unref(call->core);
    free_in(call);
    grpc_slice_buffer_reset_and_unref(&call->out->data.raw.slice_buffer);
    call->metadata.count = 0; /* core appends */
    if (!call->entry->method.path) {
        grpc_call_details_destroy(&call->details);
        grpc_call_details_init(&call->details);
    }
    mail_free(&call->mail);

    call->core = NULL;
    call->cancelled = 0;
    call->gone = false;
    call->status = GRPC_STATUS_OK;
    call->close_asked = call->closed = call->ended = false;
    call->metadata_sent = call->reading = call->writing = call->half_closed = false;
    call->user = NULL;
    call->answered = call->busy = call->over = false;
    pool_put(call);
    if (call->worker->owed_total)
        pay_debt(call->worker);
}

/* ---- batches ---- */

void rpc_call_batch(struct rpc_call *call, const grpc_op *ops, size_t op_count,
                    enum rpc_phase phase)
{
    call->pending++;
    grpc_call_error error =
        grpc_call_start_batch(call->core, ops, op_count, tag_of(call, phase), NULL);
    if (error == GRPC_CALL_OK)
        return;
    /* Our sequences never make an invalid batch; if one does, the call must not hang. */
    log_error("a batch was refused", LOG_TEXT("reason", grpc_call_error_to_string(error)),
              LOG_U64("phase", phase));
    grpc_call_cancel_with_status(call->core, GRPC_STATUS_INTERNAL, "internal error", NULL);
    grpc_call_start_batch(call->core, NULL, 0, tag_of(call, phase), NULL);
}

grpc_op rpc_call_message_op(struct rpc_call *call, grpc_slice message)
{
    grpc_slice_buffer *slices = &call->out->data.raw.slice_buffer;
    grpc_slice_buffer_reset_and_unref(slices);
    grpc_slice_buffer_add(slices, message);
    return (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->out};
}

grpc_op rpc_call_status_op(struct rpc_call *call, grpc_status_code status, grpc_slice *details)
{
    call->status = status;
    call->ended = true;
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op.data.send_status_from_server.status = status;
    op.data.send_status_from_server.status_details = GRPC_SLICE_IS_EMPTY(*details) ? NULL : details;
    return op;
}

grpc_op rpc_call_close_op(struct rpc_call *call)
{
    call->close_asked = true;
    return (grpc_op){.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                     .data.recv_close_on_server.cancelled = &call->cancelled};
}

void rpc_call_deliver(struct rpc_call *call)
{
    const struct rpc_method *method = &call->entry->method;
    grpc_byte_buffer_reader reader;
    grpc_byte_buffer_reader_init(&reader, call->in);
    if (call->in->data.raw.slice_buffer.count == 1) {
        grpc_slice *slice; /* small messages come in one piece: no copy */
        grpc_byte_buffer_reader_peek(&reader, &slice);
        method->on_request(
            call,
            (struct view){(const char *)GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)},
            call->entry->ctx);
    } else {
        grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
        method->on_request(
            call,
            (struct view){(const char *)GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole)},
            call->entry->ctx);
        grpc_slice_unref(whole);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    free_in(call);
}

/* ---- events ---- */

static void refuse_unknown(struct rpc_call *call)
{
    struct err_detail detail;
    grpc_slice path = call->details.method;
    int shown = GRPC_SLICE_LENGTH(path) > 150 ? 150 : (int)GRPC_SLICE_LENGTH(path);
    enum err e = err_set(&detail, ERR_UNIMPLEMENTED,
                         "there is no method %.*s here; server reflection lists those there are",
                         shown, (const char *)GRPC_SLICE_START_PTR(path));
    rpc_fail(call, e, detail.text);
}

static void begin(struct rpc_call *call)
{
    call->worker->open++;
    rpc_call_request(call->worker, call->entry);
    if (!call->entry->method.path)
        refuse_unknown(call);
    else if (is_unary(call))
        unary_begin(call);
    else
        rpc_stream_begin(call);
}

void rpc_call_event(void *tag, bool ok)
{
    struct rpc_call *call = (struct rpc_call *)((uintptr_t)tag & ~RPC_PHASE_MASK);
    enum rpc_phase phase = (enum rpc_phase)((uintptr_t)tag & RPC_PHASE_MASK);

    if (phase == RPC_PHASE_NEW && ok)
        begin(call);
    else if (phase == RPC_PHASE_NEW)
        pool_put(call); /* the server is stopping */
    else if (is_unary(call))
        unary_event(call, phase);
    else
        rpc_stream_event(call, phase, ok);
}

/* ---- mail ---- */

/* Both under the lock. */
static void take_message(struct rpc_call *call, const struct rpc_mail *mail)
{
    call->mail.has_message = call->busy = true;
    call->mail.message = mail->message;
}

static void take_end(struct rpc_call *call, grpc_status_code status, grpc_slice details)
{
    call->mail.has_end = call->answered = true;
    call->mail.status = status;
    call->mail.details = details;
}

/* Takes over the mail's slices, or leaves them: then false. A keeper that sends too early ends its
 * call. */
static bool take(struct rpc_call *call, const struct rpc_mail *mail, bool *ret_changed)
{
    bool open = !call->over && !call->answered;
    bool early = open && mail->has_message && call->busy;
    *ret_changed = open;
    if (early) {
        log_error("a message was sent before the last one had left",
                  LOG_TEXT("method", call->entry->method.path));
        take_end(call, GRPC_STATUS_INTERNAL, grpc_empty_slice());
        return false;
    }
    if (open && mail->has_message)
        take_message(call, mail);
    if (open && mail->has_end)
        take_end(call, mail->status, mail->details);
    return open;
}

void rpc_call_post(struct rpc_call *call, const struct rpc_mail *mail)
{
    bool own = rpc_this_worker == call->worker;
    bool changed;
    pthread_mutex_lock(&call->lock);
    bool taken = take(call, mail, &changed);
    if (changed && !own) {
        call->wakes++; /* keeps the call until the worker has seen it */
        grpc_call_start_batch(call->core, NULL, 0, tag_of(call, RPC_PHASE_MAIL), NULL);
    }
    pthread_mutex_unlock(&call->lock);

    if (!taken) {
        struct rpc_mail refused = *mail;
        mail_free(&refused);
    }
    if (changed && own && is_unary(call))
        unary_drain(call);
    else if (changed && own)
        rpc_stream_drain(call);
}

/* ---- a unary call: request -> on_request -> one batch with everything -> done ---- */

static void unary_drain(struct rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    struct rpc_mail mail = call->mail;
    call->mail = (struct rpc_mail){0};
    call->wakes = 0; /* there is at most one, for the one answer */
    pthread_mutex_unlock(&call->lock);

    grpc_op ops[4];
    size_t n = 0;
    ops[n++] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    if (!call->close_asked)
        ops[n++] = rpc_call_close_op(call);
    if (mail.has_message)
        ops[n++] = rpc_call_message_op(call, mail.message);
    ops[n++] = rpc_call_status_op(call, mail.status, &mail.details);
    rpc_call_batch(call, ops, n, RPC_PHASE_DONE);
    grpc_slice_unref(mail.details);
}

static void unary_begin(struct rpc_call *call)
{
    if (!call->in) {
        rpc_fail(call, ERR_MALFORMED, "the request has no message");
        return;
    }
    rpc_call_deliver(call);
    if (!call->close_asked) { /* kept for later: learn meanwhile whether the caller gives up */
        grpc_op op = rpc_call_close_op(call);
        rpc_call_batch(call, &op, 1, RPC_PHASE_CLOSE);
    }
}

static void unary_event(struct rpc_call *call, enum rpc_phase phase)
{
    if (phase == RPC_PHASE_MAIL) {
        unary_drain(call);
        return;
    }
    call->pending--;
    if (call->cancelled)
        call->gone = true;
    if (call->pending == 0 && call->ended)
        rpc_call_finish(call);
}

/* ---- what handlers call ---- */

static grpc_slice slice_of(struct view v)
{
    return grpc_slice_from_copied_buffer(v.len ? v.data : "", v.len);
}

void rpc_reply(struct rpc_call *call, struct view message)
{
    rpc_call_post(call, &(struct rpc_mail){.has_message = true,
                                           .has_end = true,
                                           .message = slice_of(message),
                                           .status = GRPC_STATUS_OK,
                                           .details = grpc_empty_slice()});
}

void rpc_fail(struct rpc_call *call, enum err e, const char *message)
{
    struct view details = view_of(message && *message ? message : err_title(e));
    rpc_call_post(call, &(struct rpc_mail){.has_end = true,
                                           .status = (grpc_status_code)err_grpc_status(e),
                                           .details = slice_of(details)});
}

void rpc_send(struct rpc_call *call, struct view message)
{
    if (is_unary(call)) {
        log_error("rpc_send on a unary call", LOG_TEXT("method", call->entry->method.path));
        return;
    }
    rpc_call_post(call, &(struct rpc_mail){.has_message = true, .message = slice_of(message)});
}

void rpc_end(struct rpc_call *call)
{
    if (is_unary(call)) {
        rpc_fail(call, ERR_INTERNAL, "the method gave no answer");
        return;
    }
    rpc_call_post(call, &(struct rpc_mail){.has_end = true,
                                           .status = GRPC_STATUS_OK,
                                           .details = grpc_empty_slice()});
}

int64_t rpc_time_left_ms(const struct rpc_call *call)
{
    gpr_timespec never = gpr_inf_future(call->deadline.clock_type);
    if (gpr_time_cmp(call->deadline, never) == 0)
        return INT64_MAX;
    gpr_timespec left = gpr_time_sub(call->deadline, gpr_now(call->deadline.clock_type));
    return left.tv_sec * 1000 + left.tv_nsec / 1000000;
}

bool rpc_cancelled(const struct rpc_call *call)
{
    return call->gone;
}

void rpc_set_user(struct rpc_call *call, void *user)
{
    call->user = user;
}

void *rpc_user(const struct rpc_call *call)
{
    return call->user;
}
