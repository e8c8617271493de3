/* A gRPC server and client: methods of bytes to bytes. Built on the grpc core C API, which only
 * rpc*.c know.
 *
 * The server runs `threads` threads, each with its own completion queue; a call's callbacks all
 * run on one of them, one at a time, and must not block. A handler answers at once, or keeps the
 * call and answers later from any thread: each call is answered exactly once with rpc_reply,
 * rpc_fail, or (streams) rpc_end. After that the keeper must not touch it any more.
 *
 * Served by itself: grpc.health.v1.Health (Check, Watch; states by rpc_health_set) and
 * grpc.reflection.v1 and v1alpha (from the descriptors embedded at build time). Unknown methods
 * get UNIMPLEMENTED. Limits that callers meet are in docs/grpc-api.md.
 */
#ifndef TIDINGS_RPC_H
#define TIDINGS_RPC_H

#include "common/metrics.h"

struct rpc_server;
struct rpc_call;

enum rpc_kind { RPC_UNARY, RPC_SERVER_STREAM, RPC_BIDI };

struct rpc_method {
    const char *path; /* "/events.EventService/GetEventStatus" */
    enum rpc_kind kind;
    bool busy; /* called far more often than others: served with less CPU, at their expense */
    /* Unary and server stream: the request, once. Bidi: each message; the next one is read when
     * it has returned and what it sent has left. The view lives until it returns. */
    void (*on_request)(struct rpc_call *call, struct view request, void *ctx);
    /* Bidi: the client has no more messages. NULL: ends the call OK, also when the client goes. */
    void (*on_half_close)(struct rpc_call *call, void *ctx);
    /* Streams: the last rpc_send has left. NULL: don't care. */
    void (*on_writable)(struct rpc_call *call, void *ctx);
    /* Streams: over, for whatever reason (also if nothing was ever asked or answered); after it
     * the call is gone and needs no answer. A thread that uses the call must make sure that it
     * does so before: by a lock that on_closed takes too. NULL: the call stays until it has been
     * answered, even if the client has gone. */
    void (*on_closed)(struct rpc_call *call, void *ctx);
};

struct rpc_options {
    const char *listen;               /* host:port; port 0 takes a free one */
    uint32_t threads;                 /* 1 to 16 */
    const struct rpc_method *methods; /* ends with path NULL; strings must outlive the server */
    void *ctx;
    struct metrics *metrics; /* tidings_grpc_requests_total{method,code}; NULL: none */
    /* One system call for a turn's replies (docs/decisions/gather-writes.md); ignored where it
     * cannot work. */
    bool gather_writes;
    int32_t request_max; /* bytes of a message that is taken; 0: 4 MiB, the most */
    /* How old a connection may become, about: then the client is told to leave (GOAWAY), connects
     * anew, and so learns of addresses that have come since. Its calls are finished. 0: a minute.
     */
    int64_t max_connection_age_ms;
};

/* ERR_UNAVAILABLE: the address is taken or not ours; the detail says which and, where it can be
 * found out, by whom. Signals should be blocked by then: core's threads inherit the mask. */
must_check enum err rpc_start(const struct rpc_options *options, struct rpc_server **ret,
                              struct err_detail *detail);
uint16_t rpc_port(const struct rpc_server *server);
bool rpc_gathers(const struct rpc_server *server); /* whether gather_writes is in effect */
/* Of one service, "" being the whole server; all are NOT_SERVING at the start. Watchers are told.
 * Thread-safe. */
void rpc_health_set(struct rpc_server *server, const char *service, bool serving);
/* Health says NOT_SERVING, watchers and reflection streams are ended, clients are told to leave and
 * get up to a second for it, in which new calls are still served; then calls in progress get
 * grace_ms and are cancelled. With grace_ms 0 all are cancelled at once. Frees. Kept calls must be
 * answered by their keepers meanwhile: it waits for that without a limit. Not from a callback. */
void rpc_stop(struct rpc_server *server, int64_t grace_ms);

/* Answers OK with a message; it is copied. On a stream: the last message. */
void rpc_reply(struct rpc_call *call, struct view message);
/* Ends the call with the error's gRPC status and a message for people (NULL: the error's title). */
void rpc_fail(struct rpc_call *call, enum err e, const char *message);
/* Streams: sends one message (copied); only when the last has left (sent earlier, it ends the call
 * as INTERNAL). */
void rpc_send(struct rpc_call *call, struct view message);
/* Streams: ends OK, once what was sent has left. */
void rpc_end(struct rpc_call *call);
/* The caller's deadline in milliseconds from now; a very large number if it has none; <= 0: it is
 * over. */
int64_t rpc_time_left_ms(const struct rpc_call *call);
bool rpc_cancelled(const struct rpc_call *call); /* a hint: the caller has gone away */
/* Streams: a keeper's own state, NULL at first; only from the call's callbacks. */
void rpc_set_user(struct rpc_call *call, void *user);
void *rpc_user(const struct rpc_call *call);

/* ---- client ---- */

struct rpc_channel;
/* Bytes of the largest answer: an event of the largest size, with its history. */
#define RPC_ANSWER_MAX (128 << 20)
/* target: "dns:///host:port", "ipv4:1.2.3.4:5,6.7.8.9:5"; calls go round robin over all its
 * addresses. One that is UNAVAILABLE is made up to three times, some 10 ms apart, so most likely at
 * others: calls must be harmless to repeat. Connects with the first call, and again by itself. Does
 * not wait. ERR_INVALID: not a target. */
must_check enum err rpc_channel_open(const char *target, struct rpc_channel **ret,
                                     struct err_detail *detail);
void rpc_channel_close(struct rpc_channel *channel); /* when no call or reader is in progress */
/* One unary call; waits, thread-safe. Fails fast: ERR_UNAVAILABLE while no address can be reached.
 * The answer replaces what is in `reply`. A status other than OK becomes the enum err with that
 * gRPC status (NOT_FOUND -> ERR_NOT_FOUND, UNAVAILABLE -> ERR_UNAVAILABLE, DEADLINE_EXCEEDED ->
 * ERR_DEADLINE, INVALID_ARGUMENT -> ERR_INVALID, FAILED_PRECONDITION -> ERR_NOT_ENDED,
 * OUT_OF_RANGE, RESOURCE_EXHAUSTED -> ERR_BUSY, UNIMPLEMENTED, CANCELLED, anything else
 * ERR_INTERNAL), with the server's message as detail. A server-streaming method will do, too, if it
 * answers with one message. */
must_check enum err rpc_call_unary(struct rpc_channel *channel, const char *path,
                                   struct view request, int64_t timeout_ms, struct buf *reply,
                                   struct err_detail *detail);

/* A server-streaming call, read message by message, by one thread. What is not read stays with the
 * server, but for what HTTP/2 lets it send ahead (64 KiB, about). */
struct rpc_reader;
enum rpc_read { RPC_READ_MESSAGE, RPC_READ_NOTHING, RPC_READ_END };
/* Begins the call; does not wait. ERR_MEMORY. */
must_check enum err rpc_reader_open(struct rpc_channel *channel, const char *path,
                                    struct view request, struct rpc_reader **ret,
                                    struct err_detail *detail);
/* Waits for the next message, at most so long. MESSAGE: it replaces what is in `message`. NOTHING:
 * none has come yet. END: there are no more; *ret_end says how the call has ended, as
 * rpc_call_unary does (ERR_NONE: OK), or is ERR_MEMORY: a message had no room. */
enum rpc_read rpc_reader_next(struct rpc_reader *reader, int64_t timeout_ms, struct buf *message,
                              enum err *ret_end, struct err_detail *detail);
void rpc_reader_close(struct rpc_reader *reader); /* cancels a call that has not ended; NULL too */

#endif
