#include "http-gateway/start_replay.h"

#include "http-gateway/idempotency_key.h"
#include "http-gateway/replay_call.h"

#include <stdio.h>

/* ---- identity ---- */

static enum err choose_id(const struct http_request *request, const struct replay_request *asked,
                          struct view source, char ret[ID_TEXT_SIZE], struct err_detail *detail)
{
    char text[EVENT_PRODUCER_ID_MAX];
    struct event_id own, id;
    struct view key;
    bool given = id_parse(asked->replay_id, &own);
    enum err e = idempotency_key_read(request, text, &key, detail);

    if (e)
        return e;
    if (key.len > 0)
        id_of_producer(source, key, &id);
    else if (given)
        id = own;
    else
        id_make(&clock_system, &id);
    id_format(&id, ret);
    if (given && !id_equal(&own, &id))
        return err_set(detail, ERR_INVALID,
                       "the Idempotency-Key stands for replay_id %s, and replay_id is another; one "
                       "of them must be left out",
                       ret);
    return ERR_NONE;
}

/* ---- asking ---- */

static enum replay_call_kind kind_of(const struct replay_request *asked)
{
    return asked->dry_run ? REPLAY_ASKS : REPLAY_ACTS;
}

static enum err ask(struct gateway *g, const struct replay_request *asked, struct buf *answer,
                    struct err_detail *detail)
{
    struct buf bytes;
    enum err e;

    buf_init(&bytes, SIZE_MAX);
    e = replay_request_write(asked, &bytes);
    if (e)
        err_set(detail, e, "no memory to ask for the replay");
    else
        e = replay_call(g, REPLAY_START_METHOD, kind_of(asked), buf_view(&bytes), REPLAY_START_MS,
                        answer, detail);
    buf_free(&bytes);
    return e;
}

/* A processor may have begun it all the same: the call or its answer was lost. */
static void name_id(enum err e, const char *id, struct http_response *response,
                    struct err_detail *detail)
{
    if (err_http_status(e) < 500 || e == ERR_MEMORY || !id[0])
        return;
    http_add_member(response, "replay_id", view_of(id));
    err_set(detail, e,
            "%.250s; it may have begun: ask for it at /api/v1/replays/%s, or send it again with "
            "Idempotency-Key: %s",
            detail->text, id, id);
}

static enum err answer_with(const struct replay_request *asked, struct view answer,
                            struct http_response *response, struct err_detail *detail)
{
    char id[ID_TEXT_SIZE], location[64];
    enum err e = replay_call_write(answer, kind_of(asked), response, id, detail);

    if (e)
        return e;
    if (asked->dry_run != (id[0] == '\0'))
        return err_set(detail, ERR_INTERNAL, "the processor's answer makes no sense: %s",
                       asked->dry_run ? "a dry run has a replay_id" : "there is no replay_id");
    if (asked->dry_run)
        return ERR_NONE;
    snprintf(location, sizeof location, "/api/v1/replays/%s", id);
    http_add_header(response, "Location", view_of(location));
    response->status = 202;
    return ERR_NONE;
}

enum err start_replay(struct gateway *g, const struct http_request *request,
                      struct replay_request *asked, struct http_response *response,
                      struct err_detail *detail)
{
    bool given = asked->source.len > 0;
    struct view source = given ? asked->source : view_of(g->settings.shared.source);
    char id[ID_TEXT_SIZE];
    struct buf answer;
    enum err e = choose_id(request, asked, source, id, detail);

    if (e)
        return e;
    if (asked->event_id_count > 0) /* without ids it would say nothing, and is refused */
        asked->source = source;
    if (asked->dry_run)
        id[0] = '\0';
    asked->replay_id = view_of(id);
    asked->detach = true;
    buf_init(&answer, RPC_ANSWER_MAX);
    e = ask(g, asked, &answer, detail);
    if (!e)
        e = answer_with(asked, buf_view(&answer), response, detail);
    if (e)
        name_id(e, id, response, detail);
    buf_free(&answer);
    asked->replay_id = (struct view){0}; /* `id` ends here */
    return e;
}
