#include "http-gateway/read_event.h"

#include "common/cloud_event_json.h"
#include "common/event_json.h"
#include "common/media_type.h"
#include "common/mem.h"
#include "http-gateway/read_binary.h"
#include "http-gateway/request_body.h"

#define ALLOWED                                                                                  \
    "allowed are application/json, application/cloudevents+json, and with ce- headers any that " \
    "does not begin with application/cloudevents"

struct read_event {
    struct event_json plain;
    struct cloud_event_json *structured;
    struct read_binary binary;
};

enum form { FORM_PLAIN, FORM_STRUCTURED, FORM_BINARY };

enum err read_event_new(struct read_event **ret)
{
    struct read_event *holder = mem_zero(1, sizeof *holder);

    if (!holder)
        return ERR_MEMORY;
    if (cloud_event_json_new(&holder->structured)) {
        mem_free(holder);
        return ERR_MEMORY;
    }
    event_json_init(&holder->plain);
    read_binary_init(&holder->binary);
    *ret = holder;
    return ERR_NONE;
}

void read_event_free(struct read_event *holder)
{
    if (!holder)
        return;
    event_json_free(&holder->plain);
    cloud_event_json_free(holder->structured);
    read_binary_free(&holder->binary);
    mem_free(holder);
}

/* ---- which form? ---- */

static int shown(struct view v)
{
    return (int)(v.len < 80 ? v.len : 80);
}

static bool is_cloud_events(struct view essence)
{
    static const struct view prefix = {"application/cloudevents", 23};

    return essence.len >= prefix.len &&
           view_equal_nocase((struct view){essence.data, prefix.len}, prefix);
}

/* Section 3 of the binding: a type that begins with application/cloudevents decides, ce- headers
 * or not; else those do. */
static enum err find_form(const struct http_request *request, struct view content_type,
                          enum form *ret, struct err_detail *detail)
{
    struct view essence = media_type_essence(content_type);

    if (view_equal_nocase(essence, VIEW("application/cloudevents+json"))) {
        *ret = FORM_STRUCTURED;
        return request_body_check_charset(content_type, detail);
    }
    if (!is_cloud_events(essence) && read_binary_is_meant(request)) {
        *ret = FORM_BINARY;
        return ERR_NONE;
    }
    if (content_type.len == 0)
        return err_set(detail, ERR_MEDIA_TYPE, "Content-Type is missing; " ALLOWED);
    if (!view_equal_nocase(essence, VIEW("application/json")))
        return err_set(detail, ERR_MEDIA_TYPE, "Content-Type is \"%.*s\"; " ALLOWED, shown(essence),
                       essence.data);
    *ret = FORM_PLAIN;
    return request_body_check_charset(content_type, detail);
}

/* ---- reading ---- */

static enum err read_body(struct read_event *holder, struct http_request *request, enum form form,
                          struct event *event, struct err_detail *detail)
{
    struct view body;
    enum err e = http_body(request, &body, detail);

    if (e)
        return e;
    if (form == FORM_PLAIN)
        return event_json_read(&holder->plain, body, event, detail);
    if (form == FORM_STRUCTURED)
        return cloud_event_json_read(holder->structured, body, event, detail);
    event->payload = body;
    return ERR_NONE;
}

enum err read_event(struct read_event *holder, struct http_request *request, struct event *ret,
                    struct err_detail *detail)
{
    struct event event = {.id = ret->id, .digest = ret->digest};
    struct view type = {0};
    enum form form = FORM_PLAIN;
    enum err e = request_body_type(request, &type, detail);

    if (!e)
        e = find_form(request, type, &form, detail);
    if (!e && form == FORM_BINARY)
        e = read_binary(&holder->binary, request, type, &event, detail);
    if (!e)
        e = read_body(holder, request, form, &event, detail);
    if (!e)
        *ret = event;
    return e;
}
