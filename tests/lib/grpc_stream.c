#include "tests/lib/grpc_stream.h"

#include "common/rpc_core.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/compression.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>

struct grpc_stream {
    grpc_channel *channel;
    grpc_completion_queue *queue;
    grpc_call *call;
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
    grpc_byte_buffer *in;
    bool reading, has_status;
    char status_tag, read_tag, send_tag, metadata_tag;
};

static void start(struct grpc_stream *s, const grpc_op *ops, size_t count, void *tag)
{
    if (grpc_call_start_batch(s->call, ops, count, tag, NULL) != GRPC_CALL_OK)
        abort();
}

static bool wait_for(struct grpc_stream *s, void *tag, int64_t ms, bool *ret_ok)
{
    gpr_timespec limit =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
    grpc_event event = grpc_completion_queue_pluck(s->queue, tag, limit, NULL);
    if (event.type != GRPC_OP_COMPLETE)
        return false;
    *ret_ok = event.success != 0;
    return true;
}

static grpc_channel *channel_create(uint16_t port, grpc_compression_algorithm compression)
{
    char target[64];
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", (unsigned)port);
    grpc_arg args[] = {
        {.type = GRPC_ARG_INTEGER, .key = GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, .value.integer = 1},
        {.type = GRPC_ARG_INTEGER,
         .key = GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM,
         .value.integer = (int)compression},
    };
    grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(target, insecure, &(grpc_channel_args){2, args});
    grpc_channel_credentials_release(insecure);
    return channel;
}

static struct grpc_stream *open_with(uint16_t port, const char *path, int64_t deadline_ms,
                                     grpc_compression_algorithm compression)
{
    struct grpc_stream *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    rpc_core_acquire();
    s->channel = channel_create(port, compression);
    s->queue = grpc_completion_queue_create_for_pluck(NULL);
    grpc_slice method = grpc_slice_from_copied_string(path);
    s->call = grpc_channel_create_call(
        s->channel, NULL, GRPC_PROPAGATE_DEFAULTS, s->queue, method, NULL,
        gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_millis(deadline_ms, GPR_TIMESPAN)),
        NULL);
    grpc_slice_unref(method);
    grpc_metadata_array_init(&s->initial);
    grpc_metadata_array_init(&s->trailing);
    s->details = grpc_empty_slice();
    grpc_op begin[2] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &s->initial},
    };
    grpc_op end = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                   .data.recv_status_on_client = {.trailing_metadata = &s->trailing,
                                                  .status = &s->status,
                                                  .status_details = &s->details}};
    start(s, &end, 1, &s->status_tag);
    start(s, begin, 2, &s->metadata_tag);
    return s;
}

struct grpc_stream *grpc_stream_open(uint16_t port, const char *path, int64_t deadline_ms)
{
    return open_with(port, path, deadline_ms, GRPC_COMPRESS_NONE);
}

struct grpc_stream *grpc_stream_open_gzip(uint16_t port, const char *path, int64_t deadline_ms)
{
    return open_with(port, path, deadline_ms, GRPC_COMPRESS_GZIP);
}

void grpc_stream_send(struct grpc_stream *s, struct view message)
{
    grpc_slice slice = grpc_slice_from_copied_buffer(message.len ? message.data : "", message.len);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};
    bool ok;
    start(s, &op, 1, &s->send_tag);
    if (!wait_for(s, &s->send_tag, GRPC_STREAM_WAIT_MS, &ok))
        abort();
    grpc_byte_buffer_destroy(buffer);
    grpc_slice_unref(slice);
}

void grpc_stream_half_close(struct grpc_stream *s)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    bool ok;
    start(s, &op, 1, &s->send_tag);
    if (!wait_for(s, &s->send_tag, GRPC_STREAM_WAIT_MS, &ok))
        abort();
}

bool grpc_stream_receive(struct grpc_stream *s, struct buf *ret, int64_t wait_ms)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &s->in};
    bool ok;
    if (!s->reading)
        start(s, &op, 1, &s->read_tag);
    s->reading = true;
    if (!wait_for(s, &s->read_tag, wait_ms, &ok))
        return false;
    s->reading = false;
    if (!ok || !s->in)
        return false;
    grpc_byte_buffer_reader reader;
    grpc_slice slice;
    buf_clear(ret);
    grpc_byte_buffer_reader_init(&reader, s->in);
    while (grpc_byte_buffer_reader_next(&reader, &slice)) {
        buf_add(ret, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
        grpc_slice_unref(slice);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(s->in);
    s->in = NULL;
    return !buf_failed(ret);
}

void grpc_stream_cancel(struct grpc_stream *s)
{
    grpc_call_cancel(s->call, NULL);
}

int grpc_stream_status(struct grpc_stream *s, struct buf *ret_message, int64_t wait_ms)
{
    bool ok;
    if (!s->has_status && !wait_for(s, &s->status_tag, wait_ms, &ok))
        return -1;
    s->has_status = true;
    if (ret_message) {
        buf_clear(ret_message);
        buf_add(ret_message, GRPC_SLICE_START_PTR(s->details), GRPC_SLICE_LENGTH(s->details));
    }
    return (int)s->status;
}

void grpc_stream_close(struct grpc_stream *s)
{
    bool ok;
    grpc_stream_cancel(s);
    if (grpc_stream_status(s, NULL, GRPC_STREAM_WAIT_MS) < 0 ||
        !wait_for(s, &s->metadata_tag, GRPC_STREAM_WAIT_MS, &ok) ||
        (s->reading && !wait_for(s, &s->read_tag, GRPC_STREAM_WAIT_MS, &ok)))
        abort();
    if (s->in)
        grpc_byte_buffer_destroy(s->in);
    grpc_call_unref(s->call);
    grpc_metadata_array_destroy(&s->initial);
    grpc_metadata_array_destroy(&s->trailing);
    grpc_slice_unref(s->details);
    grpc_completion_queue_shutdown(s->queue);
    grpc_completion_queue_destroy(s->queue);
    grpc_channel_destroy(s->channel);
    rpc_core_release();
    free(s);
}

/* ---- bursts ---- */

struct burst_call {
    grpc_call *call;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *in;
    grpc_status_code status;
    grpc_slice details;
};

struct grpc_burst {
    grpc_channel *channel;
    grpc_completion_queue *queue;
    unsigned count;
    struct burst_call calls[];
};

static void burst_call_start(struct grpc_burst *burst, struct burst_call *c, const char *path)
{
    grpc_slice slice = grpc_slice_from_static_string("x");
    grpc_byte_buffer *out = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice method = grpc_slice_from_copied_string(path);
    c->call = grpc_channel_create_call(burst->channel, NULL, GRPC_PROPAGATE_DEFAULTS, burst->queue,
                                       method, NULL, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_slice_unref(method);
    grpc_metadata_array_init(&c->initial);
    grpc_metadata_array_init(&c->trailing);
    c->details = grpc_empty_slice();
    grpc_op ops[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = out},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA,
         .data.recv_initial_metadata.recv_initial_metadata = &c->initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &c->in},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &c->trailing,
                                        .status = &c->status,
                                        .status_details = &c->details}},
    };
    if (grpc_call_start_batch(c->call, ops, 6, c, NULL) != GRPC_CALL_OK)
        abort();
    grpc_byte_buffer_destroy(out);
}

struct grpc_burst *grpc_burst_start(uint16_t port, const char *path, unsigned count)
{
    struct grpc_burst *burst = calloc(1, sizeof *burst + count * sizeof burst->calls[0]);
    if (!burst)
        abort();
    rpc_core_acquire();
    burst->channel = channel_create(port, GRPC_COMPRESS_NONE);
    burst->queue = grpc_completion_queue_create_for_next(NULL);
    burst->count = count;
    for (unsigned i = 0; i < count; i++)
        burst_call_start(burst, &burst->calls[i], path);
    return burst;
}

unsigned grpc_burst_finish(struct grpc_burst *burst)
{
    unsigned good = 0;
    for (unsigned i = 0; i < burst->count; i++) {
        grpc_event event =
            grpc_completion_queue_next(burst->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        struct burst_call *c = event.tag;
        if (event.type != GRPC_OP_COMPLETE)
            abort();
        good += c->status == GRPC_STATUS_OK && c->in != NULL;
        if (c->in)
            grpc_byte_buffer_destroy(c->in);
        grpc_call_unref(c->call);
        grpc_metadata_array_destroy(&c->initial);
        grpc_metadata_array_destroy(&c->trailing);
        grpc_slice_unref(c->details);
    }
    grpc_completion_queue_shutdown(burst->queue);
    grpc_completion_queue_destroy(burst->queue);
    grpc_channel_destroy(burst->channel);
    rpc_core_release();
    free(burst);
    return good;
}
