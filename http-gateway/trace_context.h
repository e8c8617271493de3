/* W3C Trace Context: the headers traceparent and tracestate (https://www.w3.org/TR/trace-context/).
 */
#ifndef TIDINGS_GATEWAY_TRACE_CONTEXT_H
#define TIDINGS_GATEWAY_TRACE_CONTEXT_H

#include "common/buf.h"

/* Section 3.2: version 00 exactly, or a later one that begins alike. */
bool traceparent_is_valid(struct view header);
#define TRACESTATE_MAX 512
/* Section 3.3, as far as carrying it on needs: printable ASCII, at most 512 characters. */
bool tracestate_is_valid(struct view header);

#endif
