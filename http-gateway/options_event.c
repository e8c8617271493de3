/* OPTIONS /api/v1/events: whether a sender of webhooks may deliver events here (HTTP 1.1 Web Hooks
 * for Event Delivery 1.0.2, section 4). The answer without consent is that to any OPTIONS.
 *
 * A sender may offer a callback, to be told later. It is never called: that would make the gateway
 * send requests to any address that a stranger names.
 */
#include "common/log.h"
#include "http-gateway/handlers.h"
#include "http-gateway/read_event.h"
#include "http-gateway/webhook_origins.h"

/* The one header of that name; *ret_found says whether there is one. */
static enum err read_header(const struct http_request *request, const char *name, bool *ret_found,
                            struct view *ret, struct err_detail *detail)
{
    struct view second;
    int at = 0;

    *ret_found = http_header_next(request, name, &at, ret);
    if (*ret_found && http_header_next(request, name, &at, &second))
        return err_set(detail, ERR_MALFORMED, "there are two %s; one is allowed", name);
    return ERR_NONE;
}

/* It is only checked: there is no limit to grant. */
static enum err check_rate(const struct http_request *request, struct err_detail *detail)
{
    struct view rate;
    uint64_t number;
    bool found;
    enum err e = read_header(request, "WebHook-Request-Rate", &found, &rate, detail);

    if (!e && found && (!view_parse_u64(rate, &number) || number == 0))
        return err_set(detail, ERR_MALFORMED,
                       "WebHook-Request-Rate must be a positive number of requests a minute");
    return e;
}

enum err options_event(struct http_request *request, struct http_response *response,
                       struct err_detail *detail, void *ctx)
{
    const struct gateway *g = ctx;
    struct view origin;
    bool found, allowed;
    enum err e = read_header(request, "WebHook-Request-Origin", &found, &origin, detail);

    if (e)
        return e;
    http_add_header(response, "Accept-Post", VIEW(READ_EVENT_TYPES));
    if (!found)
        return ERR_NONE;
    if (!webhook_origin_is_valid(origin))
        return err_set(detail, ERR_MALFORMED,
                       "WebHook-Request-Origin must be a DNS name, like events.example.com");
    e = check_rate(request, detail);
    if (e)
        return e;
    allowed = webhook_origins_allow(g->settings.webhook_origins, origin);
    log_debug("webhook sender asks to deliver", LOG_VIEW("origin", origin),
              LOG_TEXT("answer", allowed ? "allowed" : "no consent"));
    if (allowed) {
        http_add_header(response, "WebHook-Allowed-Origin", origin);
        http_add_header(response, "WebHook-Allowed-Rate", VIEW("*"));
    }
    return ERR_NONE;
}
