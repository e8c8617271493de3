/* A body of several events: application/cloudevents-batch+json (CloudEvents JSON event format
 * 1.0.2, section 4), or a JSON array of plain events. */
#ifndef TIDINGS_GATEWAY_POST_BATCH_H
#define TIDINGS_GATEWAY_POST_BATCH_H

#include "http-gateway/gateway.h"
#include "http-gateway/read_event.h"

/* Whether a body of this form holds several events. */
bool post_batch_is_meant(enum event_form form, struct view body);

/* Answers with an array of results (store_batch.h), one an event, in order: 202 when all are
 * stored, 207 when some are; when none is, with the status that they share, else with 504 (some may
 * be stored), 503 (some may be sent again) or 422.
 * ERR_MALFORMED: the body is no JSON. ERR_INVALID: no array, an empty one, or there is an
 * Idempotency-Key, which is for one event. ERR_TOO_LARGE: more than max_batch events. ERR_MEMORY.
 * ERR_UNKNOWN_OUTCOME: no memory to tell the results. */
must_check enum err post_batch(struct gateway *g, const struct http_request *request,
                               enum event_form form, struct view body,
                               struct http_response *response, struct err_detail *detail);

#endif
