/* W3C Trace Context: the headers traceparent and tracestate (https://www.w3.org/TR/trace-context/).
 */
#ifndef TIDINGS_GATEWAY_TRACE_CONTEXT_H
#define TIDINGS_GATEWAY_TRACE_CONTEXT_H

#include "common/event.h"
#include "common/http.h"

/* Section 3.2: version 00 exactly, or a later one that begins alike. */
bool traceparent_is_valid(struct view header);
#define TRACESTATE_MAX 512
/* Section 3.3, as far as carrying it on needs: printable ASCII, at most 512 characters. */
bool tracestate_is_valid(struct view header);

/* Gives the event the request's, unless it brings a traceparent of its own. Without exactly one
 * valid parent there is no state either. The event's views get to point into request and `text`. */
void trace_context_take(const struct http_request *request, char text[TRACESTATE_MAX],
                        struct event *event);

#endif
