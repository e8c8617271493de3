#include "http-gateway/event_call.h"

#define REQUEST_MAX 65536

/* As much of a text as a message can show. */
static int shown(struct view v)
{
    return (int)(v.len < 50 ? v.len : 50);
}

static enum err explain_unknown_id(const struct event_status_request *asked,
                                   const struct err_detail *why, struct err_detail *detail)
{
    struct event_id id;

    if (!asked || id_parse(asked->event_id, &id))
        return err_set(detail, ERR_NOT_FOUND, "%s", why->text);
    return err_set(detail, ERR_NOT_FOUND,
                   "no event has the id \"%.*s\" and the source \"%.*s\"; a producer's id, unlike "
                   "an event_id, goes with its source (?source=)",
                   shown(asked->event_id), asked->event_id.data, shown(asked->source),
                   asked->source.data);
}

enum err event_call_explain(enum err e, const struct event_status_request *asked,
                            const struct err_detail *why, struct err_detail *detail)
{
    switch (e) {
    case ERR_NOT_FOUND:
        return explain_unknown_id(asked, why, detail);
    case ERR_DEADLINE:
        return err_set(detail, e, "no processor has answered within %d ms", EVENT_CALL_MS);
    case ERR_UNAVAILABLE:
    case ERR_CANCELLED: /* by a processor that is stopping */
        return err_set(detail, ERR_UNAVAILABLE, "no processor can say: %s", why->text);
    case ERR_UNIMPLEMENTED:
        return err_set(detail, ERR_INTERNAL,
                       "what answers as the processor is none, or is too old for this: %s",
                       why->text);
    default:
        return err_set(detail, e, "%s", why->text);
    }
}

enum err event_call_unreadable(enum err e, struct err_detail *detail)
{
    if (e == ERR_MEMORY)
        return err_set(detail, e, "no memory to read the processor's answer");
    return err_set(detail, ERR_INTERNAL, "the processor's answer cannot be read");
}

static enum err call(struct gateway *g, const char *method, struct view request,
                     const struct event_status_request *asked, struct buf *answer,
                     struct err_detail *detail)
{
    struct err_detail why = {""};
    enum err e = rpc_call_unary(g->processor, method, request, EVENT_CALL_MS, answer, &why);

    return e ? event_call_explain(e, asked, &why, detail) : ERR_NONE;
}

enum err event_call(struct gateway *g, const char *method, struct view request, struct buf *answer,
                    struct err_detail *detail)
{
    return call(g, method, request, NULL, answer, detail);
}

enum err event_call_status(struct gateway *g, const struct event_status_request *asked,
                           struct buf *answer, struct err_detail *detail)
{
    struct buf bytes;
    enum err e;

    buf_init(&bytes, REQUEST_MAX);
    e = event_status_request_write(asked, &bytes);
    if (e)
        err_set(detail, e, "no memory to ask for the event");
    else
        e = call(g, EVENT_STATUS_METHOD, buf_view(&bytes), asked, answer, detail);
    buf_free(&bytes);
    return e;
}
