/* Requests that wait until an event has ended: `?wait=N`, `Prefer: wait=N` (RFC 7240).
 */
#ifndef TIDINGS_GATEWAY_WAIT_EVENT_H
#define TIDINGS_GATEWAY_WAIT_EVENT_H

#include "common/event_status.h"
#include "http-gateway/gateway.h"

/* How long the request wishes to wait: its parameter `wait`, else its preference, which is cut to
 * --max-wait and then named in Preference-Applied. 0: not at all. ERR_INVALID: `wait` is no number
 * of seconds up to --max-wait. */
must_check enum err wait_event_read(const struct gateway *g, const struct http_request *request,
                                    struct http_response *response, int64_t *ret_ms,
                                    struct err_detail *detail);

/* Waits until the event has ended, at most so long; returns early when the client goes, and when
 * the gateway stops. asked->min_position becomes the position that the last status reflects, so
 * that an answer from any processor is not behind it. ERR_UNAVAILABLE (too many wait already, or no
 * processor is reachable) and all that the processor says of the event. */
must_check enum err wait_event(struct gateway *g, struct http_request *request,
                               struct event_status_request *asked, int64_t wait_ms,
                               struct err_detail *detail);

#endif
