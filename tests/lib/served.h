/* A replica on a bus in memory that answers over gRPC what it knows of events; replays are not
 * served. Clients are grpc_stream's.
 */
#ifndef TESTS_SERVED_H
#define TESTS_SERVED_H

#include "event-processor/rpc_events.h"
#include "tests/lib/asked.h"
#include "tests/lib/grpc_stream.h"

struct served {
    struct asked *asked;
    struct event_watch *event_watch;
    struct changes_watch *changes_watch;
    struct rpc_events events;
    struct rpc_server *server;
    uint16_t port;
    struct buf message; /* for whoever receives one */
};

/* For cmocka: a struct served in *state, caught up, and its end. */
int served_begin(void **state);
int served_end(void **state);

/* Opens a call with this request, which `write` has written into served->message. */
struct grpc_stream *served_call(struct served *served, const char *path);
/* Waits for the next message, into served->message. */
void served_receive(struct served *served, struct grpc_stream *stream);
/* Waits for the status; the message is in served->message. */
void served_ends_with(struct served *served, struct grpc_stream *stream, enum err e);

#endif
