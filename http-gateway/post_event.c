/* POST /api/v1/events. 202 means that the bus has stored it. One event:
 *
 *     read_event -> idempotency_key, trace_context -> store_event: identify, store
 *         -> wait_event, if it is preferred -> the answer
 *
 * Several in one body: post_batch. Any number, one a line: post_lines.
 */
#include "common/log.h"
#include "http-gateway/content_coding.h"
#include "http-gateway/handlers.h"
#include "http-gateway/idempotency_key.h"
#include "http-gateway/post_batch.h"
#include "http-gateway/post_lines.h"
#include "http-gateway/read_event.h"
#include "http-gateway/store_event.h"
#include "http-gateway/trace_context.h"
#include "http-gateway/wait_event.h"

#include <stdio.h>
#include <string.h>

/* What the header says of the body. */
struct posted {
    enum content_coding coding;
    enum event_form form;
};

/* ---- the answer ---- */

static void write_accepted(const char *id, bool duplicate, struct http_response *response)
{
    response->status = 202;
    buf_add_text(&response->body, "{\"event_id\":\"");
    buf_add_text(&response->body, id);
    buf_add_text(&response->body, "\",\"status\":\"accepted\"");
    buf_add_text(&response->body, duplicate ? ",\"duplicate\":true}\n" : "}\n");
}

/* The body is the event's document. */
static void write_ended(bool duplicate, struct http_response *response)
{
    if (duplicate) {
        buf_cut(&response->body, response->body.len - 1); /* its closing brace */
        buf_add_text(&response->body, ",\"duplicate\":true}");
    }
    buf_add_text(&response->body, "\n");
}

static void answer_stored(struct gateway *g, struct http_request *request, const char *id,
                          bool duplicate, struct http_response *response)
{
    enum wait_end end = WAIT_GIVEN_UP;
    int64_t wait_ms = 0;
    char location[64];

    snprintf(location, sizeof location, "/api/v1/events/%s", id);
    http_add_header(response, "Location", view_of(location));
    if (wait_event_prefers(g, request, &wait_ms))
        end = wait_event_stored(g, request, view_of(id), wait_ms, &response->body);
    if (end != WAIT_GIVEN_UP)
        wait_event_applied(response, wait_ms);
    if (end == WAIT_EVENT_ENDED)
        write_ended(duplicate, response);
    else
        write_accepted(id, duplicate, response);
}

static void explain_failure(enum err e, const struct store_identity *identity,
                            struct http_response *response, const struct err_detail *detail)
{
    if (e == ERR_UNKNOWN_OUTCOME || e == ERR_ID_REUSED || e == ERR_KEY_REUSED)
        http_add_member(response, "event_id", view_of(identity->id));
    if (e != ERR_BUSY)
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
    if (e)
        explain_failure(e, &identity, response, detail);
    else
        answer_stored(g, request, identity.id, duplicate, response);
    log_context_set(http_request_id(request), (struct view){0}); /* `identity` ends here */
    return e;
}

/* The body; `decoded` holds it if it was encoded. */
static enum err read_body(struct http_request *request, enum content_coding coding,
                          struct buf *decoded, struct view *ret, struct err_detail *detail)
{
    enum err e = http_body(request, ret, detail);

    if (e || coding == CODING_IDENTITY)
        return e;
    e = content_decode(coding, *ret, decoded, detail);
    *ret = buf_view(decoded);
    return e;
}

static enum err take_body(struct read_event *holder, const struct posted *posted,
                          struct http_request *request, struct http_response *response,
                          struct err_detail *detail, struct gateway *g)
{
    struct event event = {0};
    struct view body = {0};
    struct buf decoded;
    enum err e = read_event_head(holder, request, posted->form, &event, detail);

    buf_init(&decoded, (size_t)g->settings.max_body);
    if (!e)
        e = read_body(request, posted->coding, &decoded, &body, detail);
    if (!e && post_batch_is_meant(posted->form, body)) {
        e = post_batch(g, request, posted->form, body, response, detail);
    } else if (!e) {
        e = read_event_body(holder, posted->form, body, &event, detail);
        if (!e)
            e = take_event(request, response, detail, g, &event);
    }
    buf_free(&decoded);
    return e;
}

enum err post_event(struct http_request *request, struct http_response *response,
                    struct err_detail *detail, void *ctx)
{
    struct read_event holder;
    struct posted posted = {.form = EVENT_FORM_PLAIN};
    enum err e = content_coding_of(request, response, &posted.coding, detail);

    if (!e)
        e = read_event_form(request, response, &posted.form, detail);
    if (e)
        return e;
    if (posted.form == EVENT_FORM_LINES)
        return post_lines(ctx, request, posted.coding, response, detail);
    read_event_init(&holder);
    e = take_body(&holder, &posted, request, response, detail, ctx);
    read_event_free(&holder);
    return e;
}
