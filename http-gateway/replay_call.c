#include "http-gateway/replay_call.h"

#include "http-gateway/replay_document.h"

static enum err in_doubt(enum err e, enum replay_call_kind kind)
{
    return kind == REPLAY_ACTS ? ERR_UNKNOWN_OUTCOME : e;
}

/* What the processor's failure means to a client of the gateway. Also a processor's own words may
 * be those of the second that was asked, after the first had acted and was lost. */
static enum err explain(enum err e, enum replay_call_kind kind, int64_t timeout_ms,
                        const struct err_detail *why, struct err_detail *detail)
{
    switch (e) {
    case ERR_DEADLINE:
        return err_set(detail, e, "no processor has answered within %lld ms",
                       (long long)timeout_ms);
    case ERR_UNAVAILABLE:
    case ERR_CANCELLED: /* by a processor that is stopping */
        return err_set(detail, in_doubt(ERR_UNAVAILABLE, kind), "no processor %s: %s",
                       kind == REPLAY_ACTS ? "has said that it is done" : "can do it", why->text);
    case ERR_MEMORY:
        return err_set(detail, in_doubt(e, kind), "%s", why->text);
    case ERR_UNIMPLEMENTED:
        return err_set(detail, ERR_INTERNAL,
                       "what answers as the processor is none, or is too old for replays: %s",
                       why->text);
    default:
        return err_set(detail, e, "%s", why->text);
    }
}

enum err replay_call(struct gateway *g, const char *method, enum replay_call_kind kind,
                     struct view request, int64_t timeout_ms, struct buf *answer,
                     struct err_detail *detail)
{
    struct err_detail why = {""};
    enum err e = rpc_call_unary(g->processor, method, request, timeout_ms, answer, &why);

    return e ? explain(e, kind, timeout_ms, &why, detail) : ERR_NONE;
}

enum err replay_call_write(struct view answer, enum replay_call_kind kind,
                           struct http_response *response, char ret_id[ID_TEXT_SIZE],
                           struct err_detail *detail)
{
    struct event_replay_holder *holder = NULL;
    struct replay_progress replay;
    enum err e = replay_progress_read(answer, &holder, &replay);

    if (e == ERR_MEMORY)
        return err_set(detail, in_doubt(e, kind), "no memory to read the processor's answer");
    if (e)
        return err_set(detail, ERR_INTERNAL, "the processor's answer cannot be read");
    replay_document_write(&replay, &response->body);
    buf_add_text(&response->body, "\n");
    if (ret_id && replay.has_id)
        id_format(&replay.id, ret_id);
    else if (ret_id)
        ret_id[0] = '\0';
    event_replay_holder_free(holder);
    return ERR_NONE;
}
