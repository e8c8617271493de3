/* GET /api/v1/replays/{id}: how far a replay is; DELETE cancels it. Any processor answers.
 */
#include "http-gateway/handlers.h"
#include "http-gateway/replay_call.h"

static enum err ask(struct gateway *g, const char *method, enum replay_call_kind kind,
                    struct view id, struct buf *answer, struct err_detail *detail)
{
    struct buf bytes;
    enum err e;

    buf_init(&bytes, 256);
    e = replay_id_write(id, &bytes);
    if (e)
        err_set(detail, e, "no memory to ask for the replay");
    else
        e = replay_call(g, method, kind, buf_view(&bytes), REPLAY_CALL_MS, answer, detail);
    buf_free(&bytes);
    return e;
}

static enum err answer_with(const char *method, enum replay_call_kind kind,
                            const struct http_request *request, struct http_response *response,
                            struct err_detail *detail, struct gateway *g)
{
    struct view id = http_parameter(request, 0);
    struct event_id parsed;
    struct buf answer;
    enum err e = http_query_only(request, (const char *const[]){NULL}, detail);

    if (e)
        return e;
    if (!id_parse(id, &parsed))
        return err_set(detail, ERR_NOT_FOUND,
                       "\"%.*s\" is no replay_id, which is a UUID in its 36-character form",
                       (int)(id.len < 50 ? id.len : 50), id.data);
    buf_init(&answer, RPC_ANSWER_MAX);
    e = ask(g, method, kind, id, &answer, detail);
    if (!e)
        e = replay_call_write(buf_view(&answer), kind, response, NULL, detail);
    buf_free(&answer);
    return e;
}

enum err get_replay(struct http_request *request, struct http_response *response,
                    struct err_detail *detail, void *ctx)
{
    return answer_with(REPLAY_GET_METHOD, REPLAY_ASKS, request, response, detail, ctx);
}

enum err delete_replay(struct http_request *request, struct http_response *response,
                       struct err_detail *detail, void *ctx)
{
    return answer_with(REPLAY_CANCEL_METHOD, REPLAY_ACTS, request, response, detail, ctx);
}
