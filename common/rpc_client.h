/* What the client's two kinds of calls share: rpc_client.c (unary) and rpc_reader.c (streams).
 */
#ifndef TIDINGS_RPC_CLIENT_H
#define TIDINGS_RPC_CLIENT_H

#include "common/rpc.h"

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>

/* A completion queue for one call at a time, reused. */
struct rpc_queue {
    struct rpc_queue *next;
    grpc_completion_queue *core;
};
/* NULL: no memory. A queue is given back when all that was asked for on it has been plucked. */
struct rpc_queue *rpc_queue_take(struct rpc_channel *channel);
void rpc_queue_give(struct rpc_channel *channel, struct rpc_queue *queue);

/* A call of that method, on that queue; the caller's reference. */
grpc_call *rpc_client_call(struct rpc_channel *channel, struct rpc_queue *queue, const char *path,
                           gpr_timespec limit);
/* A message of these bytes, copied; the caller's. */
grpc_byte_buffer *rpc_client_message(struct view bytes);
/* The message replaces what is in `reply`. ERR_INTERNAL: there is none. ERR_MEMORY. */
must_check enum err rpc_client_read(grpc_byte_buffer *message, struct buf *reply,
                                    struct err_detail *detail);
/* What a call's status means; its text becomes the detail. */
enum err rpc_client_error(grpc_status_code status, grpc_slice text, struct err_detail *detail);

#endif
