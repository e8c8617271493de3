/* Which events a query asks for: its parameters `status` and `name`.
 */
#ifndef TIDINGS_GATEWAY_READ_FILTER_H
#define TIDINGS_GATEWAY_READ_FILTER_H

#include "common/http.h"
#include "common/status.h"

/* `status` is one of `allowed` (1u << a status, added up), or several with commas between them;
 * *ret_statuses is 0 where it is left out. ERR_INVALID: the detail says what is allowed. */
must_check enum err read_filter_statuses(const struct http_request *request, unsigned allowed,
                                         unsigned *ret_statuses, struct err_detail *detail);
/* `name` is a name or a pattern, as handlers have; *ret is empty where it is left out. */
must_check enum err read_filter_name(const struct http_request *request, struct view *ret,
                                     struct err_detail *detail);

#endif
