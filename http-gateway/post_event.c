/* POST /api/v1/events: one event. 202 means that the bus has stored it.
 *
 *     read_event -> idempotency_key, trace_context -> store_event: identify, store -> the answer
 */
#include "common/log.h"
#include "http-gateway/handlers.h"
#include "http-gateway/idempotency_key.h"
#include "http-gateway/read_event.h"
#include "http-gateway/request_body.h"
#include "http-gateway/store_event.h"
#include "http-gateway/trace_context.h"

#include <stdio.h>
#include <string.h>

/* ---- trace context ---- */

/* All of them, joined by commas (W3C Trace Context, section 3.3.1); empty if they are too long. */
static struct view join_tracestates(const struct http_request *request, char text[TRACESTATE_MAX])
{
    struct view one;
    size_t used = 0;

    for (int at = 0; http_header_next(request, "tracestate", &at, &one);) {
        size_t comma = used > 0 ? 1 : 0;

        if (one.len == 0)
            continue;
        if (used + comma + one.len > TRACESTATE_MAX)
            return (struct view){0};
        memcpy(text + used, ",", comma);
        memcpy(text + used + comma, one.data, one.len);
        used += comma + one.len;
    }
    return (struct view){text, used};
}

/* The request's, unless the event brings its own. Without exactly one valid parent there is no
 * state either. */
static void take_trace_context(const struct http_request *request, char text[TRACESTATE_MAX],
                               struct event *event)
{
    struct view parent, state;
    int at = 0;

    if (event->traceparent.len > 0 || !http_header_next(request, "traceparent", &at, &parent) ||
        !traceparent_is_valid(parent) || http_header_next(request, "traceparent", &at, &state))
        return;
    event->traceparent = parent;
    state = join_tracestates(request, text);
    event->tracestate = tracestate_is_valid(state) ? state : (struct view){0};
}

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
    take_trace_context(request, tracestate, &event);
    log_context_set(http_request_id(request), view_of(identity.id));
    e = store_event(g, &event, &identity, &duplicate, detail);
    write_result(e, &identity, duplicate, response, detail);
    log_context_set(http_request_id(request), (struct view){0}); /* `identity` ends here */
    return e;
}

enum err post_event(struct http_request *request, struct http_response *response,
                    struct err_detail *detail, void *ctx)
{
    struct event event = {0};
    struct read_event *holder;
    enum err e = request_body_check_coding(request, response, detail);

    if (e)
        return e;
    e = read_event_new(&holder);
    if (e)
        return err_set(detail, e, "no memory to read the event");
    e = read_event(holder, request, &event, detail);
    if (e == ERR_MEDIA_TYPE)
        http_add_header(response, "Accept-Post", VIEW(POST_EVENT_TYPES));
    if (!e)
        e = take_event(request, response, detail, ctx, &event);
    read_event_free(holder);
    return e;
}
