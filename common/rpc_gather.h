/* Gathering of writes: core makes one sendmsg(2) for each batch; here those of one turn of a
 * worker become one per connection. And a guard for the listener, which core ends for ever when
 * descriptors run out.
 *
 * How: this file defines sendmsg, close, shutdown and accept4, and the program's definitions take
 * precedence over libc's for the shared libgrpc. docs/decisions/gather-writes.md tells what it
 * costs and what it may do. (accept4, the guard, is in rpc_listen_guard.c.)
 *
 * Invariants, for each connection that accept4 returned:
 * - bytes leave in the order in which they were given to sendmsg, whichever threads gave them;
 * - bytes wait only between rpc_gather_begin and rpc_gather_end of a thread, or for the socket to
 *   become writable;
 * - while bytes wait for the socket, sendmsg answers EAGAIN, and only if the kernel did so in the
 *   same call: so core's wait for writability ends.
 *
 * All other descriptors, and all outside of a turn, go straight to the kernel. Thread-safe.
 */
#ifndef TIDINGS_RPC_GATHER_H
#define TIDINGS_RPC_GATHER_H

#include "common/rpc_connections.h"

/* Starts the thread that writes what a socket did not take at once; counted. False: cannot. */
bool rpc_gather_start(void);
void rpc_gather_stop(void);

/* A turn of the calling thread: its small writes are gathered until the end, which writes them. */
void rpc_gather_begin(void);
void rpc_gather_end(void);

/* Sends a frame of ours as soon as core's last one has ended, if the connection is in order; with
 * the first of core's writes from `not_before_ms` on, by rpc_connection_now_ms. In place of one
 * that was to be sent and has not been. Under the connection's lock. */
void rpc_gather_insert(struct rpc_connection *c, int fd, const struct rpc_frame *frame,
                       int64_t not_before_ms);

/* For the self-test: waits (up to a second) until something can be read from `peer`, and tells
 * whether it was written through here to fd, which must have been adopted. */
bool rpc_gather_wait(int peer, int fd);

#endif
