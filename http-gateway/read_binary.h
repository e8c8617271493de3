/* Reads a CloudEvent in binary mode: attributes in ce- headers, the body is the data (CloudEvents
 * HTTP binding 1.0.2, section 3.1).
 */
#ifndef TIDINGS_READ_BINARY_H
#define TIDINGS_READ_BINARY_H

#include "common/cloud_event.h"
#include "common/http.h"

/* Holds what an event's views point to besides the request. */
struct read_binary {
    struct cloud_event attributes;
    struct buf text; /* lower-cased names, decoded values */
};
void read_binary_init(struct read_binary *holder);
void read_binary_free(struct read_binary *holder);

/* Whether there is any header ce-… */
bool read_binary_is_meant(const struct http_request *request);

/* Sets all members of *ret but id, digest and payload. The body is not looked at, whatever its
 * content type.
 * ERR_MALFORMED: a header twice, no valid UTF-8 after decoding.
 * ERR_INVALID: an attribute is missing or breaks its rule. ERR_MEMORY. */
must_check enum err read_binary(struct read_binary *holder, const struct http_request *request,
                                struct view content_type, struct event *ret,
                                struct err_detail *detail);

#endif
