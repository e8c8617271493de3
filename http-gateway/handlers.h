/* The gateway's handlers: one file a kind of request, docs/http-api.md says what they answer. The
 * contract is http_handler's; ctx is a struct gateway.
 */
#ifndef TIDINGS_GATEWAY_HANDLERS_H
#define TIDINGS_GATEWAY_HANDLERS_H

#include "http-gateway/gateway.h"

enum err post_event(struct http_request *request, struct http_response *response,
                    struct err_detail *detail, void *ctx);
enum err options_event(struct http_request *request, struct http_response *response,
                       struct err_detail *detail, void *ctx);
enum err get_event(struct http_request *request, struct http_response *response,
                   struct err_detail *detail, void *ctx);
enum err get_events(struct http_request *request, struct http_response *response,
                    struct err_detail *detail, void *ctx);
enum err stream_event(struct http_request *request, struct http_response *response,
                      struct err_detail *detail, void *ctx);
enum err stream_events(struct http_request *request, struct http_response *response,
                       struct err_detail *detail, void *ctx);
enum err replay_event(struct http_request *request, struct http_response *response,
                      struct err_detail *detail, void *ctx);
enum err post_replay(struct http_request *request, struct http_response *response,
                     struct err_detail *detail, void *ctx);
enum err get_replays(struct http_request *request, struct http_response *response,
                     struct err_detail *detail, void *ctx);
enum err get_replay(struct http_request *request, struct http_response *response,
                    struct err_detail *detail, void *ctx);
enum err delete_replay(struct http_request *request, struct http_response *response,
                       struct err_detail *detail, void *ctx);
enum err get_health(struct http_request *request, struct http_response *response,
                    struct err_detail *detail, void *ctx);
enum err get_ready(struct http_request *request, struct http_response *response,
                   struct err_detail *detail, void *ctx);
enum err get_metrics(struct http_request *request, struct http_response *response,
                     struct err_detail *detail, void *ctx);
enum err get_openapi(struct http_request *request, struct http_response *response,
                     struct err_detail *detail, void *ctx);

#endif
