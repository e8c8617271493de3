/* Follows a stream of a processor's messages for one HTTP request, from one processor to the next:
 * where one goes away, the stream is opened again at another. Owned by the request's thread.
 */
#ifndef TIDINGS_GATEWAY_FOLLOW_H
#define TIDINGS_GATEWAY_FOLLOW_H

#include "http-gateway/gateway.h"

/* How long a follower looks for a processor before it gives up. */
#define FOLLOW_PATIENCE_MS 5000
/* How often one that waits looks whether its client has gone. */
#define FOLLOW_LOOK_MS 1000

/* A place among --max-followers, for a request that will wait for events; given back with
 * follow_leave. ERR_UNAVAILABLE: all are taken. Thread-safe. */
must_check enum err follow_enter(struct gateway *g, struct err_detail *detail);
void follow_leave(struct gateway *g);

struct follow {
    struct gateway *g;
    const char *method;
    /* The request for what follows the last message; it is asked each time the stream is opened.
     * ERR_MEMORY. */
    enum err (*write)(const void *ctx, struct buf *out);
    const void *ctx;
    struct buf message; /* the last one */
    unsigned turn;      /* how often the stream was opened; messages of one turn have no gaps */
    /* its own: */
    struct rpc_reader *reader;
    bool heard;       /* a message has come since the stream was opened last */
    int64_t lost_ms;  /* since when there is no processor; 0: there is one */
    int64_t retry_ms; /* when to look for one again */
};

enum follow_news { FOLLOW_MESSAGE, FOLLOW_NOTHING, FOLLOW_END };

/* The members above "its own" but for message and turn must be set. */
void follow_begin(struct follow *f);
void follow_end(struct follow *f);
/* Waits for the next message, at most so long. END: *ret_end says why, in the processor's words:
 * ERR_NONE, or what stands in the way of following it (ERR_UNAVAILABLE once no processor was found
 * for FOLLOW_PATIENCE_MS, or none that had a place left; ERR_BUSY: this client reads too slowly).
 */
enum follow_news follow_next(struct follow *f, int64_t timeout_ms, enum err *ret_end,
                             struct err_detail *detail);

#endif
