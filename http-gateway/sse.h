/* Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html): one stream,
 * owned by its request's thread.
 *
 *     struct sse sse;
 *     sse_open(&sse, g, request, response);
 *     ... the first message's events to sse.out ...
 *     while (!e && !sse.over) {
 *         wait, at most sse_patience(&sse); events to sse.out
 *         e = sse_send(&sse, detail), unless there is no first message yet
 *         e = sse_look(&sse, detail)
 *     }
 *     sse_close(&sse);
 *
 * Nothing goes out before the first sse_send: until then the request may still fail, and be
 * answered with a problem document.
 */
#ifndef TIDINGS_GATEWAY_SSE_H
#define TIDINGS_GATEWAY_SSE_H

#include "common/event_status.h"
#include "http-gateway/gateway.h"

struct sse {
    struct gateway *g;
    struct http_request *request;
    struct http_response *response;
    struct buf out; /* what the next sse_send sends */
    bool begun;     /* the head is out */
    bool over;      /* the client has gone, or the last event is out */
    int64_t opened_ms;
    int64_t due_ms; /* when to say that it lives */
};

void sse_open(struct sse *s, struct gateway *g, struct http_request *request,
              struct http_response *response);
void sse_close(struct sse *s);

/* Where the client left off: Last-Event-ID, or the parameter last_event_id; empty: nowhere. */
struct view sse_last_id(const struct http_request *request);

/* Append to `out`: an event `status` with its id and document; an id alone, which moves on where
 * the client would begin anew; the last event, `closing`: its reason is a word for programs. */
void sse_add_status(struct sse *s, const char *id, const struct event_status *status);
void sse_add_id(struct sse *s, const char *id);
void sse_add_closing(struct sse *s, const char *reason, const char *detail);

/* Sends what is in `out`, if anything; the first time with the head before it. Where memory was
 * lacking for it the stream fails (sse_fail): it would have a gap. */
must_check enum err sse_send(struct sse *s, struct err_detail *detail);
/* How long to wait for the next event at most. */
int64_t sse_patience(const struct sse *s);
/* After each wait, whether or not anything came: a stream may never be idle. Says that it lives, if
 * that is due, and ends it where the client has gone or the gateway is stopping. ERR_DEADLINE: it
 * has not begun, and there was no answer for too long. */
must_check enum err sse_look(struct sse *s, struct err_detail *detail);
/* A failure: of a stream that has begun its last event, and ERR_NONE; else the error that the
 * client is told. `told` is what it is told in any case. */
must_check enum err sse_fail(struct sse *s, enum err e, const struct err_detail *told,
                             struct err_detail *detail);

#endif
