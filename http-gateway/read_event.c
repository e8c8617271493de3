#include "http-gateway/read_event.h"

#include "common/json_scan.h"
#include "common/media_type.h"
#include "http-gateway/request_body.h"

#define ALLOWED                                                               \
    "allowed are application/json, application/cloudevents+json, "            \
    "application/cloudevents-batch+json, application/x-ndjson, and with ce- " \
    "headers any that does not begin with application/cloudevents"

void read_event_init(struct read_event *holder)
{
    event_json_init(&holder->plain);
    cloud_event_json_init(&holder->structured);
    read_binary_init(&holder->binary);
}

void read_event_free(struct read_event *holder)
{
    event_json_free(&holder->plain);
    cloud_event_json_free(&holder->structured);
    read_binary_free(&holder->binary);
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
                          enum event_form *ret, struct err_detail *detail)
{
    static const struct {
        const char *essence;
        enum event_form form;
    } table[] = {
        {"application/json", EVENT_FORM_PLAIN},
        {"application/cloudevents+json", EVENT_FORM_STRUCTURED},
        {"application/cloudevents-batch+json", EVENT_FORM_BATCH},
        {"application/x-ndjson", EVENT_FORM_LINES},
    };
    struct view essence = media_type_essence(content_type);

    if (!is_cloud_events(essence) && read_binary_is_meant(request)) {
        *ret = EVENT_FORM_BINARY;
        return ERR_NONE;
    }
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (!view_equal_nocase(essence, view_of(table[i].essence)))
            continue;
        *ret = table[i].form;
        return request_body_check_charset(content_type, detail);
    }
    if (content_type.len == 0)
        return err_set(detail, ERR_MEDIA_TYPE, "Content-Type is missing; " ALLOWED);
    return err_set(detail, ERR_MEDIA_TYPE, "Content-Type is \"%.*s\"; " ALLOWED, shown(essence),
                   essence.data);
}

enum err read_event_form(const struct http_request *request, struct http_response *response,
                         enum event_form *ret, struct err_detail *detail)
{
    struct view type = {0};
    enum err e = request_body_type(request, &type, detail);

    if (!e)
        e = find_form(request, type, ret, detail);
    if (e == ERR_MEDIA_TYPE)
        http_add_header(response, "Accept-Post", VIEW(READ_EVENT_TYPES));
    return e;
}

/* ---- reading ---- */

enum err read_event_head(struct read_event *holder, const struct http_request *request,
                         enum event_form form, struct event *ret, struct err_detail *detail)
{
    struct view type = {0};
    enum err e;

    if (form != EVENT_FORM_BINARY)
        return ERR_NONE;
    e = request_body_type(request, &type, detail);
    return e ? e : read_binary(&holder->binary, request, type, ret, detail);
}

/* A CloudEvent has specversion, which a plain event must not have. */
static enum event_form form_of_line(struct view text)
{
    struct json_member members[CLOUD_EVENT_MEMBERS_MAX];
    struct json_text json = {.members = members, .capacity = CLOUD_EVENT_MEMBERS_MAX};

    if (!memmem(text.data, text.len, "\"specversion\"", sizeof "\"specversion\"" - 1) ||
        json_scan(text, &json, NULL))
        return EVENT_FORM_PLAIN;
    for (size_t i = 0; i < json.count && i < json.capacity; i++)
        if (view_equal(members[i].name, VIEW("specversion")))
            return EVENT_FORM_STRUCTURED;
    return EVENT_FORM_PLAIN;
}

enum err read_event_body(struct read_event *holder, enum event_form form, struct view body,
                         struct event *ret, struct err_detail *detail)
{
    if (form == EVENT_FORM_LINES)
        form = form_of_line(body);
    if (form == EVENT_FORM_PLAIN)
        return event_json_read(&holder->plain, body, ret, detail);
    if (form == EVENT_FORM_STRUCTURED)
        return cloud_event_json_read(&holder->structured, body, ret, detail);
    ret->payload = body;
    return ERR_NONE;
}
