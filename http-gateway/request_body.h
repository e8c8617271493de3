/* What a request says about its body, and bodies that are plain JSON.
 */
#ifndef TIDINGS_GATEWAY_REQUEST_BODY_H
#define TIDINGS_GATEWAY_REQUEST_BODY_H

#include "common/http.h"

/* RFC 9110, section 8.4: what isn't decoded must not be taken for the content itself.
 * ERR_MEDIA_TYPE if the request has a Content-Encoding; only then the answer gets Accept-Encoding
 * (section 12.5.3). */
must_check enum err request_body_check_coding(const struct http_request *request,
                                              struct http_response *response,
                                              struct err_detail *detail);

/* The Content-Type, empty if there is none. ERR_MEDIA_TYPE: there are several. */
must_check enum err request_body_type(const struct http_request *request, struct view *ret,
                                      struct err_detail *detail);

/* JSON is UTF-8. ERR_MEDIA_TYPE: a parameter other than charset=utf-8. */
must_check enum err request_body_check_charset(struct view content_type, struct err_detail *detail);

/* The body of a request that must be application/json. ERR_MEDIA_TYPE (the answer gets
 * Accept-Post), and what http_body returns. */
must_check enum err request_body_json(struct http_request *request, struct http_response *response,
                                      struct view *ret, struct err_detail *detail);

#endif
