/* POST /api/v1/events. 202 means that the bus has stored it. One event:
 *
 *     read_event -> idempotency_key, trace_context -> store_event: identify, store -> the answer
 *
 * Several in one body: post_batch.
 */
#include "common/log.h"
#include "http-gateway/handlers.h"
#include "http-gateway/idempotency_key.h"
#include "http-gateway/post_batch.h"
#include "http-gateway/read_event.h"
#include "http-gateway/request_body.h"
#include "http-gateway/store_event.h"
#include "http-gateway/trace_context.h"

#include <stdio.h>
#include <string.h>

/* ---- the answer ---- */

static void write_accepted(const char *id, bool duplicate, struct http_response *response)
{
    char location[64];

    snprintf(location, sizeof location, "/api/v1/events/%s", id);
    http_add_header(response, "Location", view_of(location));
    response->status = 202;
    buf_add_text(&response->body, "{\"event_id\":\"");
    buf_add_text(&response->body, id);
    buf_add_text(&response->body, "\",\"status\":\"accepted\"");
    buf_add_text(&response->body, duplicate ? ",\"duplicate\":true}\n" : "}\n");
}

static void write_result(enum err e, const struct store_identity *identity, bool duplicate,
                         struct http_response *response, const struct err_detail *detail)
{
    if (!e)
        write_accepted(identity->id, duplicate, response);
    if (e == ERR_UNKNOWN_OUTCOME || e == ERR_ID_REUSED || e == ERR_KEY_REUSED)
        http_add_member(response, "event_id", view_of(identity->id));
    if (e && e != ERR_BUSY)
        log_debug("event not stored", LOG_TEXT("error", err_slug(e)),
                  LOG_TEXT("detail", detail->text));
}

/* ---- the event's way ---- */

static enum err take_event(struct http_request *request, struct http_response *response,
                           struct err_detail *detail, struct gateway *g, const struct event *read)
{
    struct event event = *read; /* its views get to point into: */
    struct store_identity identity;
    char key_text[EVENT_PRODUCER_ID_MAX], tracestate[TRACESTATE_MAX];
    struct view key;
    bool duplicate = false;
    enum err e = idempotency_key_read(request, key_text, &key, detail);

    if (!e)
        e = store_event_identify(g, key, &event, &identity, detail);
    if (e)
        return e;
    trace_context_take(request, tracestate, &event);
    log_context_set(http_request_id(request), view_of(identity.id));
    e = store_event(g, &event, &identity, &duplicate, detail);
    write_result(e, &identity, duplicate, response, detail);
    log_context_set(http_request_id(request), (struct view){0}); /* `identity` ends here */
    return e;
}

static enum err take_body(struct read_event *holder, enum event_form form,
                          struct http_request *request, struct http_response *response,
                          struct err_detail *detail, struct gateway *g)
{
    struct event event = {0};
    struct view body = {0};
    enum err e = read_event_head(holder, request, form, &event, detail);

    if (!e)
        e = http_body(request, &body, detail);
    if (e)
        return e;
    if (post_batch_is_meant(form, body))
        return post_batch(g, request, form, body, response, detail);
    e = read_event_body(holder, form, body, &event, detail);
    return e ? e : take_event(request, response, detail, g, &event);
}

enum err post_event(struct http_request *request, struct http_response *response,
                    struct err_detail *detail, void *ctx)
{
    struct read_event *holder;
    enum event_form form = EVENT_FORM_PLAIN;
    enum err e = request_body_check_coding(request, response, detail);

    if (!e)
        e = read_event_form(request, response, &form, detail);
    if (e)
        return e;
    e = read_event_new(&holder);
    if (e)
        return err_set(detail, e, "no memory to read the event");
    e = take_body(holder, form, request, response, detail, ctx);
    read_event_free(holder);
    return e;
}
