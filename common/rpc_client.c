/* The client: unary calls over a channel that balances round robin. */
#include "common/rpc_client.h"

#include "common/mem.h"
#include "common/rpc_core.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <pthread.h>

struct rpc_channel {
    grpc_channel *core;
    pthread_mutex_t lock; /* owns: */
    struct rpc_queue *idle;
};

/* ---- the channel ---- */

static grpc_arg number(const char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

static grpc_arg text(const char *key, const char *value)
{
    return (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)key, .value.string = (char *)value};
}

/* Another address for each call, and for what one of them could not do. (gRFC A6; a method name
 * without members stands for all methods.) */
static const char service_config[] =
    "{\"loadBalancingConfig\":[{\"round_robin\":{}}],"
    "\"methodConfig\":[{\"name\":[{}],\"retryPolicy\":{\"maxAttempts\":3,"
    "\"initialBackoff\":\"0.02s\",\"maxBackoff\":\"0.1s\",\"backoffMultiplier\":2,"
    "\"retryableStatusCodes\":[\"UNAVAILABLE\"]}}]}";

static grpc_channel *core_create(const char *target)
{
    grpc_arg args[] = {
        text(GRPC_ARG_SERVICE_CONFIG, service_config), number(GRPC_ARG_ENABLE_RETRIES, 1),
        number(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        number(GRPC_ARG_ENABLE_HTTP_PROXY, 0), /* our services are not on the other side of one */
        number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_ANSWER_MAX),
        /* A server that comes back, or a new address behind the name, is found within seconds. */
        number(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100),
        number(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000), /* also the time a connect may take */
        number(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000),
        number(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000),
        number(GRPC_ARG_DNS_ENABLE_SRV_QUERIES, 0),
        /* One that vanished without a word is given up after 15 s. */
        number(GRPC_ARG_KEEPALIVE_TIME_MS, 10000), number(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000),
        number(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        number(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        number(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1), /* channels don't share backoffs */
    };
    grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(
        target, insecure, &(grpc_channel_args){sizeof args / sizeof args[0], args});
    grpc_channel_credentials_release(insecure);
    return channel;
}

enum err rpc_channel_open(const char *target, struct rpc_channel **ret, struct err_detail *detail)
{
    struct rpc_channel *channel = mem_zero(1, sizeof *channel);
    if (!channel)
        return err_set(detail, ERR_MEMORY, "%s", err_title(ERR_MEMORY));
    rpc_core_acquire();
    channel->core = core_create(target);
    if (!channel->core) {
        rpc_core_release();
        mem_free(channel);
        return err_set(detail, ERR_INVALID, "%s is no gRPC target", target);
    }
    pthread_mutex_init(&channel->lock, NULL);
    *ret = channel;
    return ERR_NONE;
}

static void queue_free(struct rpc_queue *queue)
{
    grpc_completion_queue_shutdown(queue->core);
    grpc_completion_queue_destroy(queue->core);
    mem_free(queue);
}

void rpc_channel_close(struct rpc_channel *channel)
{
    if (!channel)
        return;
    grpc_channel_destroy(channel->core);
    while (channel->idle) {
        struct rpc_queue *queue = channel->idle;
        channel->idle = queue->next;
        queue_free(queue);
    }
    pthread_mutex_destroy(&channel->lock);
    mem_free(channel);
    rpc_core_release();
}

struct rpc_queue *rpc_queue_take(struct rpc_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    struct rpc_queue *queue = channel->idle;
    if (queue)
        channel->idle = queue->next;
    pthread_mutex_unlock(&channel->lock);
    if (queue)
        return queue;
    queue = mem_zero(1, sizeof *queue);
    if (queue)
        queue->core = grpc_completion_queue_create_for_pluck(NULL);
    return queue;
}

void rpc_queue_give(struct rpc_channel *channel, struct rpc_queue *queue)
{
    pthread_mutex_lock(&channel->lock);
    queue->next = channel->idle;
    channel->idle = queue;
    pthread_mutex_unlock(&channel->lock);
}

/* ---- a call ---- */

/* What a call brings back; owned until result_free. */
struct result {
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *message; /* NULL: none */
    grpc_status_code status;
    grpc_slice details;
};

static void result_free(struct result *result)
{
    grpc_metadata_array_destroy(&result->initial);
    grpc_metadata_array_destroy(&result->trailing);
    if (result->message)
        grpc_byte_buffer_destroy(result->message);
    grpc_slice_unref(result->details);
}

static gpr_timespec limit_of(int64_t timeout_ms)
{
    if (timeout_ms > INT32_MAX)
        return gpr_inf_future(GPR_CLOCK_REALTIME);
    return gpr_time_add(gpr_now(GPR_CLOCK_REALTIME),
                        gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
}

/* The whole call as one batch; waits for it. The deadline ends it in any case. */
static void perform(grpc_call *call, grpc_completion_queue *queue, grpc_byte_buffer *request,
                    struct result *result)
{
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = request},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &result->initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &result->message},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &result->trailing,
                                        .status = &result->status,
                                        .status_details = &result->details}},
    };
    if (grpc_call_start_batch(call, ops, 6, call, NULL) == GRPC_CALL_OK)
        grpc_completion_queue_pluck(queue, call, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
}

static enum err error_of(grpc_status_code status)
{
    switch (status) {
    case GRPC_STATUS_OK:
        return ERR_NONE;
    case GRPC_STATUS_NOT_FOUND:
        return ERR_NOT_FOUND;
    case GRPC_STATUS_UNAVAILABLE:
        return ERR_UNAVAILABLE;
    case GRPC_STATUS_DEADLINE_EXCEEDED:
        return ERR_DEADLINE;
    case GRPC_STATUS_INVALID_ARGUMENT:
        return ERR_INVALID;
    case GRPC_STATUS_FAILED_PRECONDITION:
        return ERR_NOT_ENDED;
    case GRPC_STATUS_OUT_OF_RANGE:
        return ERR_OUT_OF_RANGE;
    case GRPC_STATUS_RESOURCE_EXHAUSTED:
        return ERR_BUSY;
    case GRPC_STATUS_UNIMPLEMENTED:
        return ERR_UNIMPLEMENTED;
    case GRPC_STATUS_CANCELLED:
        return ERR_CANCELLED;
    default:
        return ERR_INTERNAL;
    }
}

enum err rpc_client_read(grpc_byte_buffer *message, struct buf *reply, struct err_detail *detail)
{
    grpc_byte_buffer_reader reader;
    grpc_slice slice;
    if (!message || !grpc_byte_buffer_reader_init(&reader, message))
        return err_set(detail, ERR_INTERNAL, "the server's answer has no message");
    buf_clear(reply);
    while (grpc_byte_buffer_reader_next(&reader, &slice)) {
        buf_add(reply, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
        grpc_slice_unref(slice);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    if (buf_failed(reply))
        return err_set(detail, ERR_MEMORY, "there is no room for the server's answer");
    return ERR_NONE;
}

enum err rpc_client_error(grpc_status_code status, grpc_slice text, struct err_detail *detail)
{
    return err_set(detail, error_of(status), "%.*s", (int)GRPC_SLICE_LENGTH(text),
                   (const char *)GRPC_SLICE_START_PTR(text));
}

static enum err read_result(const struct result *result, struct buf *reply,
                            struct err_detail *detail)
{
    if (result->status == GRPC_STATUS_OK)
        return rpc_client_read(result->message, reply, detail);
    return rpc_client_error(result->status, result->details, detail);
}

grpc_byte_buffer *rpc_client_message(struct view bytes)
{
    grpc_slice slice = grpc_slice_from_copied_buffer(bytes.len ? bytes.data : "", bytes.len);
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return message;
}

grpc_call *rpc_client_call(struct rpc_channel *channel, struct rpc_queue *queue, const char *path,
                           gpr_timespec limit)
{
    grpc_slice name = grpc_slice_from_copied_string(path);
    grpc_call *call = grpc_channel_create_call(channel->core, NULL, GRPC_PROPAGATE_DEFAULTS,
                                               queue->core, name, NULL, limit, NULL);
    grpc_slice_unref(name);
    return call;
}

enum err rpc_call_unary(struct rpc_channel *channel, const char *path, struct view request,
                        int64_t timeout_ms, struct buf *reply, struct err_detail *detail)
{
    if (timeout_ms <= 0) /* core may be faster than its timer */
        return err_set(detail, ERR_DEADLINE, "%s", err_title(ERR_DEADLINE));
    struct rpc_queue *queue = rpc_queue_take(channel);
    if (!queue)
        return err_set(detail, ERR_MEMORY, "%s", err_title(ERR_MEMORY));
    grpc_byte_buffer *message = rpc_client_message(request);
    grpc_call *call = rpc_client_call(channel, queue, path, limit_of(timeout_ms));

    struct result result = {.status = GRPC_STATUS_INTERNAL, .details = grpc_empty_slice()};
    grpc_metadata_array_init(&result.initial);
    grpc_metadata_array_init(&result.trailing);
    perform(call, queue->core, message, &result);
    enum err e = read_result(&result, reply, detail);
    grpc_call_unref(call);
    grpc_byte_buffer_destroy(message);
    result_free(&result);
    rpc_queue_give(channel, queue);
    return e;
}
