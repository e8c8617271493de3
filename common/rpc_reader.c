/* The client: server-streaming calls. One is three operations on a queue of its own: the request's
 * way out, the status, and one message after another; each has been plucked when the reader ends.
 */
#include "common/rpc_client.h"

#include "common/mem.h"

#include <grpc/slice.h>
#include <grpc/support/time.h>

struct rpc_reader {
    struct rpc_channel *channel;
    struct rpc_queue *queue;
    grpc_call *call;
    grpc_byte_buffer *request;
    grpc_byte_buffer *message; /* the one that is waited for */
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice text;
    bool receiving; /* a message is asked for */
    bool ended;     /* the status has been plucked */
};

/* Tags: what the operation fills. */
static void *tag_sent(struct rpc_reader *reader)
{
    return &reader->request;
}

static void *tag_message(struct rpc_reader *reader)
{
    return &reader->message;
}

static void *tag_status(struct rpc_reader *reader)
{
    return &reader->status;
}

/* Core refuses a batch only if it makes no sense, which these always do. */
static void start(struct rpc_reader *reader, const grpc_op *ops, size_t count, void *tag)
{
    (void)grpc_call_start_batch(reader->call, ops, count, tag, NULL);
}

static void begin(struct rpc_reader *reader)
{
    grpc_op sent[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = reader->request},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &reader->initial}};
    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                      .data.recv_status_on_client = {.trailing_metadata = &reader->trailing,
                                                     .status = &reader->status,
                                                     .status_details = &reader->text}};

    start(reader, sent, sizeof sent / sizeof sent[0], tag_sent(reader));
    start(reader, &status, 1, tag_status(reader));
}

enum err rpc_reader_open(struct rpc_channel *channel, const char *path, struct view request,
                         struct rpc_reader **ret, struct err_detail *detail)
{
    struct rpc_reader *reader = mem_zero(1, sizeof *reader);
    struct rpc_queue *queue = reader ? rpc_queue_take(channel) : NULL;

    if (!queue) {
        mem_free(reader);
        return err_set(detail, ERR_MEMORY, "%s", err_title(ERR_MEMORY));
    }
    reader->channel = channel;
    reader->queue = queue;
    reader->text = grpc_empty_slice();
    grpc_metadata_array_init(&reader->initial);
    grpc_metadata_array_init(&reader->trailing);
    reader->request = rpc_client_message(request);
    reader->call = rpc_client_call(channel, queue, path, gpr_inf_future(GPR_CLOCK_REALTIME));
    begin(reader);
    *ret = reader;
    return ERR_NONE;
}

/* False: nothing has come within that time. */
static bool pluck(struct rpc_reader *reader, void *tag, gpr_timespec limit)
{
    return grpc_completion_queue_pluck(reader->queue->core, tag, limit, NULL).type ==
           GRPC_OP_COMPLETE;
}

static void ask_for_message(struct rpc_reader *reader)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &reader->message};

    if (!reader->receiving)
        start(reader, &op, 1, tag_message(reader));
    reader->receiving = true;
}

static void wait_for_end(struct rpc_reader *reader)
{
    if (!reader->ended)
        pluck(reader, tag_status(reader), gpr_inf_future(GPR_CLOCK_REALTIME));
    reader->ended = true;
}

static enum rpc_read tell_end(struct rpc_reader *reader, enum err *ret_end,
                              struct err_detail *detail)
{
    wait_for_end(reader);
    *ret_end = reader->status == GRPC_STATUS_OK
                   ? ERR_NONE
                   : rpc_client_error(reader->status, reader->text, detail);
    return RPC_READ_END;
}

enum rpc_read rpc_reader_next(struct rpc_reader *reader, int64_t timeout_ms, struct buf *message,
                              enum err *ret_end, struct err_detail *detail)
{
    gpr_timespec limit =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
    enum err e;

    if (reader->ended)
        return tell_end(reader, ret_end, detail);
    ask_for_message(reader);
    if (!pluck(reader, tag_message(reader), limit))
        return RPC_READ_NOTHING;
    reader->receiving = false;
    if (!reader->message)
        return tell_end(reader, ret_end, detail);
    e = rpc_client_read(reader->message, message, detail);
    grpc_byte_buffer_destroy(reader->message);
    reader->message = NULL;
    if (!e)
        return RPC_READ_MESSAGE;
    *ret_end = e;
    return RPC_READ_END;
}

void rpc_reader_close(struct rpc_reader *reader)
{
    if (!reader)
        return;
    if (!reader->ended)
        grpc_call_cancel(reader->call, NULL);
    if (reader->receiving)
        pluck(reader, tag_message(reader), gpr_inf_future(GPR_CLOCK_REALTIME));
    wait_for_end(reader);
    pluck(reader, tag_sent(reader), gpr_inf_future(GPR_CLOCK_REALTIME));
    grpc_call_unref(reader->call);
    grpc_byte_buffer_destroy(reader->request);
    if (reader->message)
        grpc_byte_buffer_destroy(reader->message);
    grpc_metadata_array_destroy(&reader->initial);
    grpc_metadata_array_destroy(&reader->trailing);
    grpc_slice_unref(reader->text);
    rpc_queue_give(reader->channel, reader->queue);
    mem_free(reader);
}
