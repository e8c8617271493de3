/* What a processor says to those who follow events: a script of messages, which each of them gets
 * from its beginning. Part of status_peer.h.
 */
#ifndef TESTS_WATCH_PEER_H
#define TESTS_WATCH_PEER_H

#include "common/event_query.h"
#include "common/rpc.h"

/* Its methods, for rpc_options. */
#define WATCH_PEER_METHODS                                                          \
    {.path = EVENT_WATCH_METHOD,                                                    \
     .kind = RPC_SERVER_STREAM,                                                     \
     .on_request = watch_peer_on_event,                                             \
     .on_writable = watch_peer_on_writable,                                         \
     .on_closed = watch_peer_on_closed},                                            \
    {                                                                               \
        .path = EVENT_CHANGES_METHOD, .kind = RPC_SERVER_STREAM,                    \
        .on_request = watch_peer_on_changes, .on_writable = watch_peer_on_writable, \
        .on_closed = watch_peer_on_closed                                           \
    }
void watch_peer_on_event(struct rpc_call *call, struct view request, void *ctx);
void watch_peer_on_changes(struct rpc_call *call, struct view request, void *ctx);
void watch_peer_on_writable(struct rpc_call *call, void *ctx);
void watch_peer_on_closed(struct rpc_call *call, void *ctx);

/* Forgets the script, for those who come from now on. */
void watch_peer_reset(void);
/* The script's next message: a status, or changes up to a position. Sent to all who follow. */
void watch_peer_say(const struct event_status *status);
void watch_peer_say_changes(const struct event_status *changes, size_t count, uint64_t position);
/* From now on this happens again and again, each time one position on and as another attempt, so
 * that no stream is ever idle. Its views must stay. */
void watch_peer_be_busy(const struct event_status *change);
/* From now on streams end so, at the script's end; those that are open, too. ERR_NONE: not any
 * more. */
void watch_peer_fail(enum err e, const char *message);

/* What was asked last. */
struct watch_question {
    char id[1024], source[1024], name[256];
    unsigned statuses;
    uint64_t position; /* min_position, or after_position */
    bool has_after;
};
struct watch_question watch_peer_asked(void);
unsigned watch_peer_opened(void); /* streams since watch_peer_reset */
unsigned watch_peer_open(void);   /* streams that are open now */

#endif
