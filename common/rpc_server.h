/* The inside of the gRPC server: what rpc.c (its life) and rpc_call.c, rpc_stream.c (its calls)
 * share.
 *
 * Threads. A call belongs to the worker whose completion queue it came from; only that worker's
 * thread touches it and calls core for it. What another thread wants of a call goes through its
 * mailbox: it is left there under the call's lock, and an empty batch, which completes at once,
 * wakes the worker (RPC_PHASE_MAIL). So batches need no lock, and answers from other threads are
 * gathered like all others.
 */
#ifndef TIDINGS_RPC_SERVER_H
#define TIDINGS_RPC_SERVER_H

#include "common/rpc.h"

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#define RPC_CODES 17 /* gRPC statuses 0 to 16 */

/* A method as it is served. The last entry of a server is the catch-all for unknown methods. */
struct rpc_entry {
    struct rpc_method method; /* path NULL: the catch-all */
    void *ctx;
    void *handle; /* core's */
    bool builtin; /* a stream of it is ended by rpc_stop, instead of holding the grace time */
    uint32_t index;
    uint32_t outstanding;             /* requests that each worker keeps waiting in core */
    struct metric *counts[RPC_CODES]; /* NULL without metrics */
};

struct rpc_worker {
    struct rpc_server *server;
    grpc_completion_queue *queue;
    pthread_t thread;
    struct rpc_call *pool;
    /* Requests not made for want of memory; made when a context comes back. */
    uint32_t *owed;
    uint32_t owed_total;
    uint32_t open;         /* calls that have begun and aren't finished */
    atomic_uint open_told; /* the same at the end of the last turn; for rpc_workers_wait */
};

struct rpc_server {
    grpc_server *core;
    struct rpc_entry *entries;
    uint32_t entry_count;
    struct rpc_worker *workers;
    uint32_t worker_count;
    uint32_t workers_running;
    uint16_t port;
    atomic_bool gather;
    bool writes_are_ours; /* core's writes come through rpc_gather.c */

    pthread_mutex_t idle_lock;
    pthread_cond_t idle; /* a worker has no open call any more, while: */
    atomic_bool awaited; /* rpc_workers_wait waits */

    struct rpc_health *health;
    struct rpc_reflection *reflection;

    pthread_mutex_t streams_lock; /* owns: */
    struct rpc_call *streams;     /* open built-in streams */
    bool stopping;                /* new ones are refused */
};

/* What a batch was for; in the low bits of its tag. */
enum rpc_phase {
    RPC_PHASE_NEW,   /* core has a call for us */
    RPC_PHASE_CLOSE, /* the call is over, or was cancelled */
    RPC_PHASE_READ,
    RPC_PHASE_WRITE,
    RPC_PHASE_METADATA,
    RPC_PHASE_DONE, /* the status has left */
    RPC_PHASE_MAIL, /* another thread has left something in the mailbox */
};
#define RPC_PHASE_MASK ((uintptr_t)7)

/* What is to be sent: a message, the end, or both. */
struct rpc_mail {
    bool has_message;
    bool has_end;
    grpc_slice message;
    grpc_status_code status;
    grpc_slice details; /* of the status; empty: none */
};

/* A call's context. Pooled; at most one call at a time. The worker's, but for what is under
 * `lock`. */
struct rpc_call {
    struct rpc_worker *worker;
    const struct rpc_entry *entry;
    struct rpc_call *next; /* in the pool */
    grpc_call *core;
    grpc_metadata_array metadata;
    grpc_call_details details; /* catch-all only */
    gpr_timespec deadline;
    grpc_byte_buffer *in;
    grpc_byte_buffer *out; /* kept from call to call; core takes its slices, not the buffer */
    int cancelled;         /* written by core before RPC_PHASE_CLOSE */
    atomic_bool gone;      /* the caller has gone away */
    grpc_status_code status;
    uint32_t pending; /* batches whose events are still to come */
    bool close_asked; /* a batch with RECV_CLOSE_ON_SERVER was started */
    bool closed;      /* and has come back */
    bool ended;       /* the batch with the status was started */
    bool metadata_sent, reading, writing, half_closed; /* streams */
    struct rpc_call *stream_next, *stream_previous;    /* server->streams */
    bool listed;
    void *user;

    pthread_mutex_t lock; /* owns: */
    struct rpc_mail mail;
    uint32_t wakes; /* RPC_PHASE_MAIL events still to come */
    bool answered;  /* an end was accepted: no other is */
    bool busy;      /* an rpc_send has not left yet */
    bool over;      /* on_closed is being called: nothing is accepted any more */
};

/* rpc_call.c */
struct rpc_call *rpc_call_new(struct rpc_worker *worker);
void rpc_call_free(struct rpc_call *call);
/* Asks core for another call of the method; remembers the debt if there is no memory. */
void rpc_call_request(struct rpc_worker *worker, const struct rpc_entry *entry);
/* Handles one event of the worker's queue. */
void rpc_call_event(void *tag, bool ok);
/* Starts a batch whose event will come with this phase. */
void rpc_call_batch(struct rpc_call *call, const grpc_op *ops, size_t count, enum rpc_phase phase);
/* Puts a message into `out` and returns the operation that sends it. */
grpc_op rpc_call_message_op(struct rpc_call *call, grpc_slice message);
grpc_op rpc_call_status_op(struct rpc_call *call, grpc_status_code status, grpc_slice *details);
grpc_op rpc_call_close_op(struct rpc_call *call);
/* Calls on_request with the message in `in`, then frees it. */
void rpc_call_deliver(struct rpc_call *call);
/* Nothing is pending any more: gives the call back to core and the context to the pool. */
void rpc_call_finish(struct rpc_call *call);

/* Leaves mail for the call's worker; takes over its slices. Any thread. */
void rpc_call_post(struct rpc_call *call, const struct rpc_mail *mail);

/* rpc_stream.c */
void rpc_stream_begin(struct rpc_call *call);
void rpc_stream_event(struct rpc_call *call, enum rpc_phase phase, bool ok);
/* Sends what the mailbox holds, as far as it can now. */
void rpc_stream_drain(struct rpc_call *call);
/* Refuses new built-in streams and ends the open ones. */
void rpc_stream_end_all(struct rpc_server *server);

/* rpc_worker.c */
must_check enum err rpc_workers_create(struct rpc_server *server, uint32_t count);
must_check enum err rpc_workers_start(struct rpc_server *server);
/* Waits until no call is open: core's shutdown does not wait for those that are kept. */
void rpc_workers_wait(struct rpc_server *server);
void rpc_workers_join(struct rpc_server *server);        /* when the server is shut down */
void rpc_workers_free(struct rpc_server *server);        /* when it is destroyed */
extern _Thread_local struct rpc_worker *rpc_this_worker; /* NULL on other threads */

#endif
