/* GET /api/v1/replays: replays, the latest first. Any processor answers.
 */
#include "http-gateway/handlers.h"
#include "http-gateway/replay_call.h"
#include "http-gateway/replay_document.h"

#define LIMIT_MAX 1000
#define LIMIT_DEFAULT "100"

static enum err read_limit(const struct http_request *request, uint32_t *ret,
                           struct err_detail *detail)
{
    static const char *const known[] = {"limit", NULL};
    struct view text = VIEW(LIMIT_DEFAULT);
    uint64_t limit;
    enum err e = http_query_only(request, known, detail);

    if (e)
        return e;
    http_query(request, "limit", &text);
    if (!view_parse_u64(text, &limit) || limit == 0 || limit > LIMIT_MAX)
        return err_set(detail, ERR_INVALID, "limit must be a number from 1 to %d", LIMIT_MAX);
    *ret = (uint32_t)limit;
    return ERR_NONE;
}

static enum err ask(struct gateway *g, uint32_t limit, struct buf *answer,
                    struct err_detail *detail)
{
    struct buf bytes;
    enum err e;

    buf_init(&bytes, 64);
    e = replay_list_request_write(limit, &bytes);
    if (e)
        err_set(detail, e, "no memory to ask for replays");
    else
        e = replay_call(g, REPLAY_LIST_METHOD, REPLAY_ASKS, buf_view(&bytes), REPLAY_CALL_MS,
                        answer, detail);
    buf_free(&bytes);
    return e;
}

static enum err write_answer(struct view answer, struct buf *out, struct err_detail *detail)
{
    struct event_replay_holder *holder = NULL;
    const struct replay_progress *replays;
    size_t count;
    enum err e = replay_list_read(answer, &holder, &replays, &count);

    if (e == ERR_MEMORY)
        return err_set(detail, e, "no memory to read the processor's answer");
    if (e)
        return err_set(detail, ERR_INTERNAL, "the processor's answer cannot be read");
    buf_add_text(out, "{\"replays\":[");
    for (size_t i = 0; i < count; i++) {
        buf_add_text(out, i > 0 ? "," : "");
        replay_document_write(&replays[i], out);
    }
    buf_add_text(out, "]}\n");
    event_replay_holder_free(holder);
    return ERR_NONE;
}

enum err get_replays(struct http_request *request, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    struct buf answer;
    uint32_t limit = 0;
    enum err e = read_limit(request, &limit, detail);

    if (e)
        return e;
    buf_init(&answer, RPC_ANSWER_MAX);
    e = ask(ctx, limit, &answer, detail);
    if (!e)
        e = write_answer(buf_view(&answer), &response->body, detail);
    buf_free(&answer);
    return e;
}
