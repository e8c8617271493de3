/* Asks a processor about events, and tells a client what its failure means.
 */
#ifndef TIDINGS_GATEWAY_EVENT_CALL_H
#define TIDINGS_GATEWAY_EVENT_CALL_H

#include "common/event_query.h"
#include "http-gateway/gateway.h"

#define EVENT_CALL_MS 5000 /* for an answer */

/* What became of an event; waits for it. `answer` must be empty. Errors as event_call_explain. */
must_check enum err event_call_status(struct gateway *g, const struct event_status_request *asked,
                                      struct buf *answer, struct err_detail *detail);
/* One answer of a method of common/event_query.h that is about no single event. */
must_check enum err event_call(struct gateway *g, const char *method, struct view request,
                               struct buf *answer, struct err_detail *detail);
/* The error that a client is told, for that of a call to a processor: ERR_UNAVAILABLE also where
 * that is stopping, ERR_INTERNAL where what answers is no processor, others as they are. `asked`
 * is the event that was asked for; NULL: none. */
enum err event_call_explain(enum err e, const struct event_status_request *asked,
                            const struct err_detail *why, struct err_detail *detail);
/* The same for an answer that could not be read. */
enum err event_call_unreadable(enum err e, struct err_detail *detail);

#endif
