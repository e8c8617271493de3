/* Ready-made handlers: readiness and metrics.
 */
#include "common/http_internal.h"

void http_write_ready(struct http_response *response, const struct http_probe *probes, void *ctx)
{
    struct buf checks;
    bool ready = true;

    buf_init(&checks, SIZE_MAX);
    for (const struct http_probe *p = probes; p->name; p++) {
        struct err_detail detail = {""};
        bool good = p->check(ctx, &detail);

        ready = ready && (good || p->advisory);
        buf_add_text(&checks, p == probes ? "" : ",");
        buf_add_json(&checks, view_of(p->name));
        buf_add_text(&checks, ":");
        buf_add_json(&checks, good ? VIEW("ok") : view_of(detail.text));
    }
    buf_add_format(&response->body, "{\"ready\":%s,\"checks\":{", ready ? "true" : "false");
    if (buf_failed(&checks))
        response->body.failed = true;
    buf_add_view(&response->body, buf_view(&checks));
    buf_add_text(&response->body, "}}\n");
    response->status = ready ? 200 : 503;
    if (!ready)
        http_add_header(response, "Retry-After", VIEW("1"));
    buf_free(&checks);
}

enum err http_write_metrics(struct http_response *response, const struct metrics *metrics)
{
    response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return metrics_render(metrics, &response->body);
}
