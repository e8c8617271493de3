/* GET /openapi.json: what the gateway answers, as OpenAPI 3.1. The document is docs/openapi.json,
 * embedded as it is when the program is built; tests hold it to the table of routes.
 */
#include "http-gateway/handlers.h"

extern const unsigned char tidings_openapi[];
extern const size_t tidings_openapi_size;

enum err get_openapi(struct http_request *request, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    (void)request;
    (void)detail;
    (void)ctx;
    buf_add(&response->body, (const char *)tidings_openapi, tidings_openapi_size);
    return ERR_NONE;
}
