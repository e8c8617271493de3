/* Many events of one request, stored side by side: all of a window are on their way to the bus at
 * once, so a window costs about one round trip to it, not one an event. Each event has a result of
 * its own, in the order they came.
 *
 * A batch belongs to its request's thread.
 */
#ifndef TIDINGS_GATEWAY_STORE_BATCH_H
#define TIDINGS_GATEWAY_STORE_BATCH_H

#include "http-gateway/gateway.h"
#include "http-gateway/read_event.h"

#define STORE_BATCH_WINDOW_MAX 1024

struct store_batch;

struct store_batch_options {
    struct gateway *gateway;
    enum event_form form; /* of each: plain, structured, or either (EVENT_FORM_LINES) */
    size_t window;        /* 1 to STORE_BATCH_WINDOW_MAX events; some 400 bytes of memory each */
    /* For events that bring no traceparent of their own; the views must live as long. */
    struct view traceparent, tracestate;
    /* Where results are written, each behind `before`, but for the first, and followed by `after`.
     * One is {"event_id":…,"status":"accepted"}, perhaps with "duplicate":true, or what a problem
     * document says: type, title, status, detail, with the event_id if it is known and matters. Its
     * first member is the event's line, if it has one. */
    struct buf *results;
    const char *before, *after;
};

/* ERR_MEMORY. */
must_check enum err store_batch_new(const struct store_batch_options *options,
                                    struct store_batch **ret);
/* Waits for what is on its way. */
void store_batch_free(struct store_batch *batch);

/* Takes one event's text, which must stay where it is until the next flush; it came in that line,
 * 0: in none. Waits (as flush does) where the window is full, where its id is that of an event in
 * the window, or where the gateway is busy with the events of this window; so it is answered
 * ERR_BUSY only because of others. */
void store_batch_add(struct store_batch *batch, uint64_t line, struct view text);
/* The same for what cannot be read at all. */
void store_batch_refuse(struct store_batch *batch, uint64_t line, enum err e,
                        const struct err_detail *detail);
/* Waits for the window's events, and writes their results. May take as long as store_event, and
 * longer where several of them were stored before. */
void store_batch_flush(struct store_batch *batch);

struct store_batch_counts {
    uint64_t stored; /* by this request */
    uint64_t duplicates;
    uint64_t failed;    /* of these: */
    uint64_t unknown;   /* may be stored */
    uint64_t retryable; /* surely not stored for a reason that may pass: their status is 429, or
                         * from 500 on */
    int status;         /* of those that failed, if it is the same for all; else 0 */
};
/* Of all that have their results. */
struct store_batch_counts store_batch_counts(const struct store_batch *batch);

#endif
