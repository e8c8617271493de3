/* Problem documents (RFC 9457): the one place where errors meet HTTP.
 */
#include "common/http_internal.h"

#include <stdio.h>

static bool worth_retrying(enum err e)
{
    return e == ERR_BUSY || e == ERR_UNAVAILABLE || e == ERR_MEMORY;
}

void http_add_problem(struct buf *out, enum err e, struct view detail)
{
    buf_add_format(out, "\"type\":\"urn:tidings:problem:%s\",\"title\":", err_slug(e));
    buf_add_json(out, view_of(err_title(e)));
    buf_add_format(out, ",\"status\":%d", err_http_status(e));
    if (detail.len > 0) {
        buf_add_text(out, ",\"detail\":");
        buf_add_json(out, detail);
    }
}

static void write_document(const struct http_request *r, enum err e,
                           const struct err_detail *detail, struct http_response *response)
{
    struct buf *out = &response->body;

    buf_add_text(out, "{");
    http_add_problem(out, e, view_of(detail->text));
    if (r->path.len > 0) {
        buf_add_text(out, ",\"instance\":");
        buf_add_json(out, r->path);
    }
    buf_add_text(out, ",\"request_id\":");
    buf_add_json(out, http_request_id(r));
    buf_add_view(out, buf_view(&response->members));
    buf_add_text(out, "}\n");
}

void http_problem(struct http_request *r, enum err e, const struct err_detail *detail)
{
    struct http_response *response = &r->worker->response;

    r->problem = e;
    response->status = err_http_status(e);
    response->content_type = "application/problem+json";
    response->caching = "no-store";
    buf_clear(&response->body);
    write_document(r, e, detail, response);
    if (worth_retrying(e))
        http_add_header(response, "Retry-After", VIEW("1"));
}
