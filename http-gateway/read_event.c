#include "http-gateway/read_event.h"

#include "common/event_json.h"
#include "common/mem.h"
#include "http-gateway/media_type.h"

struct read_event {
    struct event_json json;
};

enum err read_event_new(struct read_event **ret)
{
    struct read_event *holder = mem_zero(1, sizeof *holder);

    if (!holder)
        return ERR_MEMORY;
    event_json_init(&holder->json);
    *ret = holder;
    return ERR_NONE;
}

void read_event_free(struct read_event *holder)
{
    if (!holder)
        return;
    event_json_free(&holder->json);
    mem_free(holder);
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

enum err read_event(struct read_event *holder, struct http_request *request, struct event *ret,
                    struct err_detail *detail)
{
    struct event event = {.id = ret->id, .digest = ret->digest};
    struct view body;
    enum err e = check_media_type(request, detail);

    if (!e)
        e = check_encoding(request, detail);
    if (!e)
        e = http_body(request, &body, detail);
    if (!e)
        e = event_json_read(&holder->json, body, &event, detail);
    if (!e)
        *ret = event;
    return e;
}
