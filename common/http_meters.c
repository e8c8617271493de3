/* What is measured of HTTP: requests by method, route and code, their durations and bytes, refusals
 * by reason, connections. All series are made at start, so that counting is a few atomic additions
 * without a look-up by name.
 */
#include "common/http_internal.h"
#include "common/mem.h"

#include <stdio.h>

/* All statuses that are ever answered: the good ones, and those of errors. */
static const int statuses[] = {200,        202, 204, 207, 304,
#define X(code, slug, title, http, grpc) http,
                               ERR_LIST(X)
#undef X
};
#define STATUSES (sizeof statuses / sizeof statuses[0])
#define LABELS_MAX 160

static const char *const reasons[] = {
#define X(code, slug, title, http, grpc) [code] = slug,
    ERR_LIST(X)
#undef X
};
#define REASONS (sizeof reasons / sizeof reasons[0])

struct route_meters {
    struct metric *by_status[STATUSES]; /* equal statuses share the first one's */
    struct metric *duration;
    struct metric *received, *sent;
};

struct http_meters {
    struct metric *accepted, *refused;
    struct metric *by_reason[REASONS];               /* ERR_NONE's is NULL */
    struct route_meters routes[HTTP_ROUTES_MAX + 1]; /* the last: no route */
};

static size_t index_of(int status)
{
    size_t i = 0;

    while (i + 1 < STATUSES && statuses[i] != status)
        i++;
    return i;
}

static void register_route(struct metrics *m, struct route_meters *meters, const char *method,
                           const char *pattern)
{
    char labels[LABELS_MAX];

    for (size_t i = 0; i < STATUSES; i++) {
        size_t first = index_of(statuses[i]);

        snprintf(labels, sizeof labels, "method=\"%s\",route=\"%s\",code=\"%d\"", method, pattern,
                 statuses[i]);
        meters->by_status[i] =
            first < i ? meters->by_status[first]
                      : metrics_counter(m, "tidings_http_requests_total", labels,
                                        "Requests answered, by method, route and status code");
    }
    snprintf(labels, sizeof labels, "method=\"%s\",route=\"%s\"", method, pattern);
    meters->duration =
        metrics_latency(m, "tidings_http_request_duration_seconds", labels,
                        "Time from a request's header to the answer's last byte being sent");
    meters->received =
        metrics_counter(m, "tidings_http_request_body_bytes_total", labels,
                        "Bytes of requests' bodies that were read, as they came over the wire");
    meters->sent = metrics_counter(m, "tidings_http_response_body_bytes_total", labels,
                                   "Bytes of answers' bodies");
}

static void register_reasons(struct metrics *m, struct http_meters *meters)
{
    char labels[LABELS_MAX];

    for (size_t i = ERR_NONE + 1; i < REASONS; i++) {
        snprintf(labels, sizeof labels, "reason=\"%s\"", reasons[i]);
        meters->by_reason[i] =
            metrics_counter(m, "tidings_http_refusals_total", labels,
                            "Requests answered with a problem document, by its type");
    }
}

static double read_in_use(void *ctx)
{
    return (double)atomic_load(&((struct http_server *)ctx)->in_use);
}

static void register_connections(struct metrics *m, struct http_server *server)
{
    struct http_meters *meters = server->meters;

    meters->accepted = metrics_counter(m, "tidings_http_connections_accepted_total", NULL,
                                       "Connections that were given a thread");
    meters->refused = metrics_counter(m, "tidings_http_connections_refused_total", NULL,
                                      "Connections answered 503 because all places were taken");
    metrics_gauge_read(m, "tidings_http_connections", NULL, "Connections that have a thread",
                       read_in_use, server);
    metric_set(metrics_gauge(m, "tidings_http_connections_limit", NULL,
                             "Connections that are served; more are answered 503"),
               server->options.connections);
}

enum err http_meters_new(struct http_server *server)
{
    struct metrics *m = server->options.metrics;
    const struct http_route *routes = server->options.routes;
    struct http_meters *meters;
    size_t i;

    if (!m)
        return ERR_NONE;
    meters = mem_zero(1, sizeof *meters);
    if (!meters)
        return ERR_MEMORY;
    for (i = 0; routes[i].method; i++)
        register_route(m, &meters->routes[i], routes[i].method, routes[i].pattern);
    register_route(m, &meters->routes[i], "other", "other");
    register_reasons(m, meters);
    server->meters = meters;
    register_connections(m, server);
    return ERR_NONE;
}

void http_meters_free(struct http_server *server)
{
    mem_free(server->meters);
}

void http_meters_count(const struct http_request *r, int status, int64_t duration_us)
{
    struct http_server *server = r->worker->server;
    const struct http_route *routes = server->options.routes;
    struct route_meters *meters;
    size_t i = 0;

    if (!server->meters)
        return;
    while (routes[i].method && &routes[i] != r->route)
        i++;
    meters = &server->meters->routes[i];
    metric_add(meters->by_status[index_of(status)], 1);
    if (!r->answering) /* which takes as long as its client likes */
        metric_observe_us(meters->duration, duration_us);
    if (r->body_received > 0)
        metric_add(meters->received, r->body_received);
    if (r->body_sent > 0)
        metric_add(meters->sent, r->body_sent);
    if (r->problem)
        metric_add(server->meters->by_reason[r->problem], 1);
}

void http_meters_accepted(struct http_server *server)
{
    if (server->meters)
        metric_add(server->meters->accepted, 1);
}

void http_meters_refused(struct http_server *server)
{
    if (server->meters)
        metric_add(server->meters->refused, 1);
}
