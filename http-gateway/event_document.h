/* An event's status as the JSON document that GET /api/v1/events/{id} answers (docs/http-api.md).
 */
#ifndef TIDINGS_GATEWAY_EVENT_DOCUMENT_H
#define TIDINGS_GATEWAY_EVENT_DOCUMENT_H

#include "common/event_status.h"

/* Appends it, without a line's end. A failure is the buffer's. */
void event_document_write(const struct event_status *status, struct buf *out);

#endif
