/* GET /api/v1/events/{id}: what became of an event, by its event_id, or by the id and the source
 * that its producer gave it. A processor answers, over gRPC.
 */
#include "common/event_status.h"
#include "http-gateway/event_document.h"
#include "http-gateway/handlers.h"

#include <inttypes.h>
#include <stdio.h>

#define TAG_SIZE 192
#define ANSWER_MS 5000
#define REQUEST_MAX 65536

static bool is_text(struct view v, size_t max)
{
    return v.len <= max && view_is_utf8(v) && (v.len == 0 || !memchr(v.data, '\0', v.len));
}

static enum err read_parameters(const struct gateway *g, const struct http_request *request,
                                struct event_status_request *ret, struct err_detail *detail)
{
    static const char *const known[] = {"min_position", "source", "view", NULL};
    struct view view = VIEW("basic"), position = VIEW("0");
    enum err e = http_query_only(request, known, detail);

    if (e)
        return e;
    http_query(request, "view", &view);
    http_query(request, "min_position", &position);
    http_query(request, "source", &ret->source);
    ret->event_id = http_parameter(request, 0);
    if (ret->source.len == 0)
        ret->source = view_of(g->settings.shared.source);
    ret->full = view_equal(view, VIEW("full"));
    if (!ret->full && !view_equal(view, VIEW("basic")))
        return err_set(detail, ERR_INVALID, "view must be basic or full");
    if (!view_parse_u64(position, &ret->min_position))
        return err_set(detail, ERR_INVALID,
                       "min_position must be a number: the position of an earlier answer");
    if (!is_text(ret->event_id, EVENT_PRODUCER_ID_MAX))
        return err_set(detail, ERR_INVALID,
                       "an id is at most %d bytes of UTF-8 without NUL, percent-encoded",
                       EVENT_PRODUCER_ID_MAX);
    if (!is_text(ret->source, EVENT_SOURCE_MAX))
        return err_set(detail, ERR_INVALID,
                       "source is at most %d bytes of UTF-8 without NUL, percent-encoded",
                       EVENT_SOURCE_MAX);
    return ERR_NONE;
}

/* As much of a text as a message can show. */
static int shown(struct view v)
{
    return (int)(v.len < 50 ? v.len : 50);
}

static enum err explain_unknown_id(const struct event_status_request *request,
                                   const struct err_detail *why, struct err_detail *detail)
{
    struct event_id id;

    if (id_parse(request->event_id, &id))
        return err_set(detail, ERR_NOT_FOUND, "%s", why->text);
    return err_set(detail, ERR_NOT_FOUND,
                   "no event has the id \"%.*s\" and the source \"%.*s\"; a producer's id, unlike "
                   "an event_id, goes with its source (?source=)",
                   shown(request->event_id), request->event_id.data, shown(request->source),
                   request->source.data);
}

/* What the processor's failure means to a client of the gateway. */
static enum err explain(enum err e, const struct event_status_request *request,
                        const struct err_detail *why, struct err_detail *detail)
{
    switch (e) {
    case ERR_NOT_FOUND:
        return explain_unknown_id(request, why, detail);
    case ERR_DEADLINE:
        return err_set(detail, e, "no processor has answered within %d ms", ANSWER_MS);
    case ERR_UNAVAILABLE:
    case ERR_CANCELLED: /* by a processor that is stopping */
        return err_set(detail, ERR_UNAVAILABLE, "no processor can say: %s", why->text);
    case ERR_UNIMPLEMENTED:
        return err_set(detail, ERR_INTERNAL, "what answers as the processor is none: %s",
                       why->text);
    default:
        return err_set(detail, e, "%s", why->text);
    }
}

static enum err ask(struct gateway *g, const struct event_status_request *request,
                    struct buf *answer, struct err_detail *detail)
{
    struct err_detail why = {""};
    struct buf bytes;
    enum err e;

    buf_init(&bytes, REQUEST_MAX);
    e = event_status_request_write(request, &bytes);
    if (e)
        err_set(&why, e, "no memory to ask for the event");
    else
        e = rpc_call_unary(g->processor, EVENT_STATUS_METHOD, buf_view(&bytes), ANSWER_MS, answer,
                           &why);
    buf_free(&bytes);
    return e ? explain(e, request, &why, detail) : ERR_NONE;
}

/* What tells one answer from another: `position` moves on with other events, so weakly. */
static void write_tag(const struct event_status *s, char tag[TAG_SIZE])
{
    char id[ID_TEXT_SIZE];

    id_format(&s->id, id);
    snprintf(tag, TAG_SIZE, "W/\"%s.%" PRIu64 ".%u.%u.%s.%" PRId64 ".%s\"", id, s->event_position,
             s->state.generation, s->state.attempt, status_word(s->state.status), s->updated_ms,
             s->full ? "full" : "basic");
}

static enum err write_answer(const struct http_request *request, struct view answer,
                             struct http_response *response, struct err_detail *detail)
{
    struct event_status_holder *holder = NULL;
    struct event_status status;
    char tag[TAG_SIZE];
    enum err e = event_status_read(answer, &holder, &status);

    if (e == ERR_MEMORY)
        return err_set(detail, e, "no memory to read the processor's answer");
    if (e)
        return err_set(detail, ERR_INTERNAL, "the processor's answer cannot be read");
    write_tag(&status, tag);
    if (!http_not_modified(request, response, view_of(tag)))
        event_document_write(&status, &response->body);
    event_status_holder_free(holder);
    return ERR_NONE;
}

enum err get_event(struct http_request *request, struct http_response *response,
                   struct err_detail *detail, void *ctx)
{
    struct event_status_request asked = {0};
    struct buf answer;
    enum err e = read_parameters(ctx, request, &asked, detail);

    if (e)
        return e;
    buf_init(&answer, RPC_ANSWER_MAX);
    e = ask(ctx, &asked, &answer, detail);
    if (!e)
        e = write_answer(request, buf_view(&answer), response, detail);
    buf_free(&answer);
    return e;
}
