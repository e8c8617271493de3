/* The header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): an id for an event,
 * from a client that cannot or will not put one into the event itself.
 */
#ifndef TIDINGS_GATEWAY_IDEMPOTENCY_KEY_H
#define TIDINGS_GATEWAY_IDEMPOTENCY_KEY_H

#include "common/event.h"
#include "common/http.h"

/* Reads its value: a structured field's String (RFC 8941, section 3.3.3: "..." of printable ASCII,
 * with \" and \\), 1 to EVENT_PRODUCER_ID_MAX bytes without quotes and escapes; or, as many clients
 * send it, the same bare, without spaces, quotes, commas and backslashes. *ret is a view of `value`
 * or `text`. ERR_MALFORMED: the detail says why. Pure. */
must_check enum err idempotency_key_parse(struct view value, char text[EVENT_PRODUCER_ID_MAX],
                                          struct view *ret, struct err_detail *detail);

/* Whether the request has one, be it empty. */
bool idempotency_key_given(const struct http_request *request);

/* The request's; empty if it has none. ERR_MALFORMED also if it has several. */
must_check enum err idempotency_key_read(const struct http_request *request,
                                         char text[EVENT_PRODUCER_ID_MAX], struct view *ret,
                                         struct err_detail *detail);

#endif
