/* Which event a request names: by the {id} of its path and its parameter `source`.
 */
#ifndef TIDINGS_EVENT_NAMED_H
#define TIDINGS_EVENT_NAMED_H

#include "common/http.h"

/* *ret_source is empty where none is given. The views are the request's. ERR_INVALID: no event can
 * have such an id or source. */
must_check enum err event_named_read(const struct http_request *request, struct view *ret_id,
                                     struct view *ret_source, struct err_detail *detail);

#endif
