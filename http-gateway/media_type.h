/* Media types of requests (RFC 9110, section 8.3).
 */
#ifndef TIDINGS_GATEWAY_MEDIA_TYPE_H
#define TIDINGS_GATEWAY_MEDIA_TYPE_H

#include "common/media_type.h"

/* Whether a Content-Type is application/json, with no parameter but charset=utf-8. ERR_MEDIA_TYPE:
 * the detail names what is allowed. */
must_check enum err media_type_check_json(struct view content_type, struct err_detail *detail);

#endif
