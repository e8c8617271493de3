/* Requests that wait until an event has ended: `?wait=N`, `Prefer: wait=N` (RFC 7240).
 */
#ifndef TIDINGS_GATEWAY_WAIT_EVENT_H
#define TIDINGS_GATEWAY_WAIT_EVENT_H

#include "common/event_status.h"
#include "http-gateway/gateway.h"

/* How long the request wishes to wait: its parameter `wait`, else its preference, which is cut to
 * --max-wait; *ret_preferred: it was that. 0: not at all. ERR_INVALID: `wait` is no number of
 * seconds up to --max-wait. */
must_check enum err wait_event_read(const struct gateway *g, const struct http_request *request,
                                    int64_t *ret_ms, bool *ret_preferred,
                                    struct err_detail *detail);
/* Its preference alone, cut to --max-wait. False: it has none; what cannot be read as one is none
 * (RFC 7240, section 2). */
bool wait_event_prefers(const struct gateway *g, const struct http_request *request,
                        int64_t *ret_ms);
/* Says that the preference was followed; for an answer that is no problem. */
void wait_event_applied(struct http_response *response, int64_t wait_ms);

enum wait_end {
    WAIT_EVENT_ENDED,
    WAIT_TIME_UP,
    WAIT_GIVEN_UP /* before: no place, no processor, the client has gone, the gateway stops, ... */
};
/* Waits until the event has ended, at most so long; gives up when the client goes, and when the
 * gateway stops. asked->min_position becomes the position that the last status reflects, so
 * that an answer from any processor is not behind it. ERR_UNAVAILABLE (too many wait already, or no
 * processor is reachable) and all that the processor says of the event. */
must_check enum err wait_event(struct gateway *g, struct http_request *request,
                               struct event_status_request *asked, int64_t wait_ms,
                               enum wait_end *ret, struct err_detail *detail);
/* The same for an event that this request has stored: whatever stands in the way of waiting is no
 * error then. If the event has ended, its document (event_document.h) is written to `document`,
 * which must be empty, and is empty otherwise. */
enum wait_end wait_event_stored(struct gateway *g, struct http_request *request,
                                struct view event_id, int64_t wait_ms, struct buf *document);

#endif
