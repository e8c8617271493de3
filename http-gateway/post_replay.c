/* POST /api/v1/replays: runs again the events that its body names.
 */
#include "http-gateway/handlers.h"
#include "http-gateway/read_replay.h"
#include "http-gateway/request_body.h"
#include "http-gateway/start_replay.h"

enum err post_replay(struct http_request *request, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    struct replay_request asked;
    struct read_replay *holder;
    struct view body;
    enum err e = http_query_only(request, (const char *const[]){NULL}, detail);

    if (!e)
        e = request_body_json(request, response, &body, detail);
    if (e)
        return e;
    e = read_replay_new(&holder);
    if (e)
        return err_set(detail, e, "no memory to read the request");
    e = read_replay(holder, body, &asked, detail);
    if (!e)
        e = start_replay(ctx, request, &asked, response, detail);
    read_replay_free(holder);
    return e;
}
