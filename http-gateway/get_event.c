/* GET /api/v1/events/{id}: what became of an event, by its event_id, or by the id and the source
 * that its producer gave it. A processor answers, over gRPC.
 */
#include "http-gateway/event_call.h"
#include "http-gateway/event_document.h"
#include "http-gateway/event_named.h"
#include "http-gateway/handlers.h"
#include "http-gateway/wait_event.h"

#include <inttypes.h>
#include <stdio.h>

#define TAG_SIZE 192

static enum err read_parameters(const struct gateway *g, const struct http_request *request,
                                struct event_status_request *ret, struct err_detail *detail)
{
    static const char *const known[] = {"min_position", "source", "view", "wait", NULL};
    struct view view = VIEW("basic"), position = VIEW("0");
    enum err e = http_query_only(request, known, detail);

    if (e)
        return e;
    http_query(request, "view", &view);
    http_query(request, "min_position", &position);
    ret->full = view_equal(view, VIEW("full"));
    if (!ret->full && !view_equal(view, VIEW("basic")))
        return err_set(detail, ERR_INVALID, "view must be basic or full");
    if (!view_parse_u64(position, &ret->min_position))
        return err_set(detail, ERR_INVALID,
                       "min_position must be a number: the position of an earlier answer");
    e = event_named_read(request, &ret->event_id, &ret->source, detail);
    if (!e && ret->source.len == 0)
        ret->source = view_of(g->settings.shared.source);
    return e;
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

    if (e)
        return event_call_unreadable(e, detail);
    write_tag(&status, tag);
    if (!http_not_modified(request, response, view_of(tag))) {
        event_document_write(&status, &response->body);
        buf_add_text(&response->body, "\n");
    }
    event_status_holder_free(holder);
    return ERR_NONE;
}

enum err get_event(struct http_request *request, struct http_response *response,
                   struct err_detail *detail, void *ctx)
{
    struct event_status_request asked = {0};
    enum wait_end end = WAIT_TIME_UP;
    int64_t wait_ms = 0;
    bool preferred = false;
    struct buf answer;
    enum err e = read_parameters(ctx, request, &asked, detail);

    if (!e)
        e = wait_event_read(ctx, request, &wait_ms, &preferred, detail);
    if (!e && wait_ms > 0)
        e = wait_event(ctx, request, &asked, wait_ms, &end, detail);
    if (e)
        return e;
    buf_init(&answer, RPC_ANSWER_MAX);
    e = event_call_status(ctx, &asked, &answer, detail);
    if (!e)
        e = write_answer(request, buf_view(&answer), response, detail);
    if (!e && preferred && end != WAIT_GIVEN_UP)
        wait_event_applied(response, wait_ms);
    buf_free(&answer);
    return e;
}
