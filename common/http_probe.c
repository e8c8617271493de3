/* Ready-made handlers: readiness and metrics.
 */
#include "common/http_internal.h"

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* "reads":false, for each thing that probes serve, in the order of the first that does. */
static void write_served(struct buf *out, const struct http_probe *probes, const bool *passed)
{
    for (size_t i = 0; probes[i].name; i++) {
        bool works = true, written = false;

        for (size_t j = 0; probes[j].name; j++) {
            if (!same(probes[j].serves, probes[i].serves))
                continue;
            works = works && passed[j];
            written = written || j < i;
        }
        if (probes[i].serves && !written)
            buf_add_format(out, "\"%s\":%s,", probes[i].serves, works ? "true" : "false");
    }
}

void http_write_ready(struct http_response *response, const struct http_probe *probes, void *ctx)
{
    bool passed[HTTP_PROBES_MAX], ready = true;
    struct buf checks;

    buf_init(&checks, SIZE_MAX);
    for (size_t i = 0; probes[i].name && i < HTTP_PROBES_MAX; i++) {
        struct err_detail detail = {""};

        passed[i] = probes[i].check(ctx, &detail);
        ready = ready && (passed[i] || probes[i].advisory);
        buf_add_text(&checks, i == 0 ? "" : ",");
        buf_add_json(&checks, view_of(probes[i].name));
        buf_add_text(&checks, ":");
        buf_add_json(&checks, passed[i] ? VIEW("ok") : view_of(detail.text));
    }
    buf_add_format(&response->body, "{\"ready\":%s,", ready ? "true" : "false");
    write_served(&response->body, probes, passed);
    buf_add_text(&response->body, "\"checks\":{");
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
