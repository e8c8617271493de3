/* POST /api/v1/events/{id}/replay: runs one event again, named by its event_id, or by the id and
 * the source that its producer gave it.
 */
#include "common/json_scan.h"
#include "http-gateway/event_named.h"
#include "http-gateway/handlers.h"
#include "http-gateway/request_body.h"
#include "http-gateway/start_replay.h"

/* A client that has to send a body may send nothing or {}: what it asks for must not vanish. */
static enum err check_body(struct http_request *request, struct http_response *response,
                           struct err_detail *detail)
{
    struct json_text json = {0};
    struct view body = {0};
    enum err e = request_body_check_coding(request, response, detail);

    if (e)
        return e;
    e = http_body(request, &body, detail);
    if (e == ERR_LENGTH_REQUIRED || (!e && body.len == 0))
        return ERR_NONE;
    if (!e && (json_scan(body, &json, NULL) || json.kind != JSON_OBJECT || json.count > 0))
        return err_set(detail, ERR_INVALID,
                       "this takes no body: the path names the event; POST /api/v1/replays takes "
                       "more");
    return e;
}

enum err replay_event(struct http_request *request, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    struct view id;
    struct replay_request asked = {.event_ids = &id, .event_id_count = 1};
    static const char *const known[] = {"source", NULL};
    enum err e = http_query_only(request, known, detail);

    if (e)
        return e;
    e = event_named_read(request, &id, &asked.source, detail);
    if (!e)
        e = check_body(request, response, detail);
    return e ? e : start_replay(ctx, request, &asked, response, detail);
}
