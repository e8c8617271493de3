/* POST /api/v1/events: one event. 202 means that the bus has stored it.
 */
#include "common/event_json.h"
#include "common/log.h"
#include "http-gateway/handlers.h"
#include "http-gateway/media_type.h"
#include "http-gateway/trace_context.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* What the gateway adds to what the producer sent. */
struct made {
    char id[ID_TEXT_SIZE];
    char time[CLOCK_TEXT_SIZE];
    char tracestate[TRACESTATE_MAX];
};

static void make_identity(const struct gateway *g, struct made *made, struct event *event)
{
    id_make(&clock_system, &event->id);
    id_format(&event->id, made->id);
    event->producer_id = view_of(made->id);
    event->source = view_of(g->settings.shared.source);
    if (event->time.len > 0)
        return;
    clock_format(clock_wall_ms(&clock_system), made->time);
    event->time = view_of(made->time);
}

/* All of them, joined by commas (W3C Trace Context, section 3.3.1); empty if they are too long. */
static struct view join_tracestates(const struct http_request *request, struct made *made)
{
    struct view one;
    size_t used = 0;

    for (int at = 0; http_header_next(request, "tracestate", &at, &one);) {
        size_t comma = used > 0 ? 1 : 0;

        if (one.len == 0)
            continue;
        if (used + comma + one.len > sizeof made->tracestate)
            return (struct view){0};
        memcpy(made->tracestate + used, ",", comma);
        memcpy(made->tracestate + used + comma, one.data, one.len);
        used += comma + one.len;
    }
    return (struct view){made->tracestate, used};
}

/* Without exactly one valid parent there is no state either. */
static void take_trace_context(const struct http_request *request, struct made *made,
                               struct event *event)
{
    struct view parent, state;
    int at = 0;

    if (!http_header_next(request, "traceparent", &at, &parent) || !traceparent_is_valid(parent) ||
        http_header_next(request, "traceparent", &at, &state))
        return;
    event->traceparent = parent;
    state = join_tracestates(request, made);
    if (tracestate_is_valid(state))
        event->tracestate = state;
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Nothing was sent. */
static enum err explain_untaken(const struct gateway *g, enum err e, struct err_detail *detail)
{
    struct err_detail why = {""};

    if (e == ERR_UNAVAILABLE) {
        bus_state(g->bus, &why);
        return err_set(detail, e, "the event is not stored: %s",
                       why.text[0] ? why.text : "the bus is away");
    }
    if (e == ERR_BUSY)
        return err_set(detail, e, "%llu events are being stored at this moment; that is the limit",
                       (unsigned long long)g->settings.max_in_flight);
    if (e == ERR_TOO_LARGE)
        return err_set(detail, e,
                       "the event with its headers is larger than the bus allows (%llu bytes)",
                       (unsigned long long)bus_max_payload(g->bus));
    return err_set(detail, e, "the event is not stored: %s", err_title(e));
}

static enum err store(struct gateway *g, const struct event *event, struct err_detail *detail)
{
    struct event_message message;
    struct bus_receipt receipt;
    int64_t start = now_us();
    enum err e;

    event_to_message(event, g->settings.shared.ns, &message);
    e = bus_publish_wait(g->events, &message.message, &receipt);
    if (e)
        return explain_untaken(g, e, detail);
    metric_add(g->outcomes[receipt.outcome], 1);
    metric_observe_us(g->publish_duration, now_us() - start);
    switch (receipt.outcome) {
    case BUS_STORED:
    case BUS_DUPLICATE: /* the same event: its id is the message's */
        return ERR_NONE;
    case BUS_REFUSED:
        return err_set(detail, receipt.why, "the bus has refused the event: %s",
                       receipt.detail.text[0] ? receipt.detail.text : err_title(receipt.why));
    case BUS_UNKNOWN:
        break;
    }
    return err_set(detail, ERR_UNKNOWN_OUTCOME,
                   "the bus has not said in time whether it has stored the event; ask for its "
                   "event_id before you send it again");
}

static void write_accepted(const char *id, struct http_response *response)
{
    char location[64];

    snprintf(location, sizeof location, "/api/v1/events/%s", id);
    http_add_header(response, "Location", view_of(location));
    response->status = 202;
    buf_add_text(&response->body, "{\"event_id\":\"");
    buf_add_text(&response->body, id);
    buf_add_text(&response->body, "\",\"status\":\"accepted\"}\n");
}

static enum err take_event(struct http_request *request, struct http_response *response,
                           struct err_detail *detail, struct gateway *g, struct event_json *json)
{
    struct event event = {0};
    struct made made;
    struct view body;
    enum err e = http_body(request, &body, detail);

    if (!e)
        e = event_json_read(json, body, &event, detail);
    if (e)
        return e;
    make_identity(g, &made, &event);
    take_trace_context(request, &made, &event);
    log_context_set(http_request_id(request), event.producer_id);
    e = store(g, &event, detail);
    if (e == ERR_UNKNOWN_OUTCOME)
        http_add_member(response, "event_id", event.producer_id);
    if (e && e != ERR_BUSY)
        log_debug("event not stored", LOG_TEXT("error", err_slug(e)),
                  LOG_TEXT("detail", detail->text));
    if (!e)
        write_accepted(made.id, response);
    log_context_set(http_request_id(request), (struct view){0}); /* `made` ends here */
    return e;
}

static enum err check_media_type(const struct http_request *request, struct err_detail *detail)
{
    struct view type = {0}, second;
    int at = 0;

    (void)http_header_next(request, "Content-Type", &at, &type);
    if (http_header_next(request, "Content-Type", &at, &second))
        return err_set(detail, ERR_MEDIA_TYPE,
                       "there are two Content-Type; one is needed, and it must be "
                       "application/json");
    return media_type_check_json(type, detail);
}

/* RFC 9110, section 8.4: what isn't decoded must not be taken for the content itself. */
static enum err check_encoding(const struct http_request *request, struct err_detail *detail)
{
    struct view coding;

    for (int at = 0; http_header_next(request, "Content-Encoding", &at, &coding);)
        if (coding.len > 0 && !view_equal_nocase(coding, VIEW("identity")))
            return err_set(detail, ERR_MEDIA_TYPE,
                           "Content-Encoding is \"%.*s\"; send the event as it is, without any",
                           (int)(coding.len < 80 ? coding.len : 80), coding.data);
    return ERR_NONE;
}

enum err post_event(struct http_request *request, struct http_response *response,
                    struct err_detail *detail, void *ctx)
{
    struct event_json json;
    enum err e = check_media_type(request, detail);

    if (!e)
        e = check_encoding(request, detail);
    if (e)
        return e;
    event_json_init(&json);
    e = take_event(request, response, detail, ctx, &json);
    event_json_free(&json);
    return e;
}
