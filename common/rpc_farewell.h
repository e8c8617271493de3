/* Taking leave of a server's clients: before it stops, and of those that have been there for long.
 *
 * Core's server refuses new calls (with CANCELLED) from the moment in which its shutdown begins,
 * but tells clients only then: calls on their way in that moment fail
 * (https://github.com/grpc/grpc/pull/29462: "no grace period where it accepts new requests"). So
 * we tell them before, as RFC 9113 section 6.8 advises: a GOAWAY with the highest stream id, in
 * between core's frames. Clients then send new calls elsewhere, finish those they have, and close
 * the connection; meanwhile the server serves as ever.
 *
 * A connection that has become old is told the same with the first write to it (an answer, a ping),
 * so that its client connects anew and learns of addresses that have come since. Core could do it
 * too (GRPC_ARG_MAX_CONNECTION_AGE_MS), by a filter that each call pays for: 4,000 instructions.
 * Thread-safe.
 */
#ifndef TIDINGS_RPC_FAREWELL_H
#define TIDINGS_RPC_FAREWELL_H

#include <stdbool.h>
#include <stdint.h>

/* Refuses new connections to our port and sends GOAWAY on those there are; waits until all are
 * closed, at most timeout_ms. */
void rpc_farewell_begin(uint16_t port, int64_t timeout_ms);
/* The port may be listened on anew. */
void rpc_farewell_end(uint16_t port);
bool rpc_farewell_said(uint16_t port);

/* How old connections to our port may become from now on, about; 0: as old as they like. */
void rpc_farewell_age(uint16_t port, uint32_t age_ms);
/* A connection has been accepted, and adopted (rpc_connections.h). False: it is too late for new
 * ones. */
bool rpc_farewell_welcome(int fd);

#endif
