/* A gRPC client for tests that sees every step of a call: messages one by one, half-close, cancel.
 * On grpc core's own client, which the code under test uses for unary calls only. One thread.
 */
#ifndef TESTS_GRPC_STREAM_H
#define TESTS_GRPC_STREAM_H

#include "common/buf.h"

struct grpc_stream;

#define GRPC_STREAM_WAIT_MS 30000

/* Opens a call on 127.0.0.1:port with a connection of its own. Aborts where the machine is at
 * fault. */
struct grpc_stream *grpc_stream_open(uint16_t port, const char *path, int64_t deadline_ms);
/* The same with messages compressed by gzip. */
struct grpc_stream *grpc_stream_open_gzip(uint16_t port, const char *path, int64_t deadline_ms);
void grpc_stream_send(struct grpc_stream *stream, struct view message);
void grpc_stream_half_close(struct grpc_stream *stream);
/* Core drops what has not been asked for when an error status comes; so ask in time (wait_ms 0
 * does). Waits for the next message and puts it into `ret`; false: there is none in time, or the
 * call is over. */
bool grpc_stream_receive(struct grpc_stream *stream, struct buf *ret, int64_t wait_ms);
void grpc_stream_cancel(struct grpc_stream *stream);
/* Waits for the status; -1: none in time. `ret_message` may be NULL. */
int grpc_stream_status(struct grpc_stream *stream, struct buf *ret_message, int64_t wait_ms);
/* Cancels if it isn't over. */
void grpc_stream_close(struct grpc_stream *stream);

/* Many unary calls at the same time, on one connection. */
struct grpc_burst;
struct grpc_burst *grpc_burst_start(uint16_t port, const char *path, unsigned count);
/* Waits for all; returns how many ended OK. */
unsigned grpc_burst_finish(struct grpc_burst *burst);

#endif
