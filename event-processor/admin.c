#include "event-processor/admin.h"

enum {
    CONNECTIONS = 8,
    RESERVE = 4,
    BODY_MAX = 4096,
    REQUEST_TIMEOUT_MS = 5000,
    IDLE_TIMEOUT_MS = 15000,
};

/* ---- probes ---- */

static bool bus_probe(void *ctx, struct err_detail *detail)
{
    struct admin *admin = ctx;
    return bus_state(admin->bus, detail) == BUS_READY;
}

static bool table_probe(void *ctx, struct err_detail *detail)
{
    struct admin *admin = ctx;
    if (follower_stands(admin->follower, detail))
        return false;
    if (follower_ready(admin->follower) != 0)
        return true;
    err_set(detail, ERR_UNAVAILABLE, "the status table is being read from the logs");
    return false;
}

static bool draining_probe(void *ctx, struct err_detail *detail)
{
    struct admin *admin = ctx;
    if (!atomic_load(&admin->draining))
        return true;
    err_set(detail, ERR_UNAVAILABLE, "shutting down");
    return false;
}

static const struct http_probe probes[] = {
    {.name = "bus", .check = bus_probe},
    {.name = "status_table", .check = table_probe},
    {.name = "running", .check = draining_probe},
    {.name = NULL},
};

bool admin_ready(struct admin *admin, struct err_detail *detail)
{
    for (const struct http_probe *probe = probes; probe->name; probe++)
        if (!probe->check(admin, detail))
            return false;
    return true;
}

/* ---- routes ---- */

static enum err get_health(struct http_request *request, struct http_response *response,
                           struct err_detail *detail, void *ctx)
{
    (void)request;
    (void)detail;
    (void)ctx;
    buf_add_text(&response->body, "{\"status\":\"ok\"}\n");
    return buf_failed(&response->body) ? ERR_MEMORY : ERR_NONE;
}

static enum err get_ready(struct http_request *request, struct http_response *response,
                          struct err_detail *detail, void *ctx)
{
    (void)request;
    (void)detail;
    http_write_ready(response, probes, ctx);
    return buf_failed(&response->body) ? ERR_MEMORY : ERR_NONE;
}

static enum err get_metrics(struct http_request *request, struct http_response *response,
                            struct err_detail *detail, void *ctx)
{
    (void)request;
    (void)detail;
    struct admin *admin = ctx;
    return http_write_metrics(response, admin->metrics);
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/health", .handler = get_health},
    {.method = "GET", .pattern = "/ready", .handler = get_ready},
    {.method = "GET", .pattern = "/metrics", .handler = get_metrics},
    {.method = NULL},
};

/* ---- the table's metrics ---- */

static double count_of(void *ctx, enum status status)
{
    struct status_table_stats stats;
    status_table_stats(ctx, 0, &stats);
    return (double)stats.counts[status];
}

static double read_accepted(void *ctx)
{
    return count_of(ctx, STATUS_ACCEPTED);
}

static double read_processing(void *ctx)
{
    return count_of(ctx, STATUS_PROCESSING);
}

static double read_retrying(void *ctx)
{
    return count_of(ctx, STATUS_RETRYING);
}

static double read_processed(void *ctx)
{
    return count_of(ctx, STATUS_PROCESSED);
}

static double read_dead(void *ctx)
{
    return count_of(ctx, STATUS_DEAD);
}

static double read_copies(void *ctx)
{
    return count_of(ctx, STATUS_NONE);
}

static double read_bytes(void *ctx)
{
    struct status_table_stats stats;
    status_table_stats(ctx, 0, &stats);
    return (double)stats.bytes;
}

static void register_table(struct metrics *m, struct status_table *table)
{
    static const struct {
        const char *labels;
        double (*read)(void *ctx);
    } counts[] = {
        {"status=\"accepted\"", read_accepted}, {"status=\"processing\"", read_processing},
        {"status=\"retrying\"", read_retrying}, {"status=\"processed\"", read_processed},
        {"status=\"dead\"", read_dead},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        metrics_gauge_read(m, "tidings_table_events", counts[i].labels,
                           "Events in the status table by status", counts[i].read, table);
    metrics_gauge_read(m, "tidings_table_copies", NULL, "Later copies of events in the event log",
                       read_copies, table);
    metrics_gauge_read(m, "tidings_table_bytes", NULL, "Memory that the status table takes",
                       read_bytes, table);
}

enum err admin_start(struct admin *admin, const char *listen, struct http_server **ret,
                     struct err_detail *detail)
{
    register_table(admin->metrics, admin->table);
    struct http_options options = {
        .listen = listen,
        .connections = CONNECTIONS,
        .reserve = RESERVE,
        .max_body = BODY_MAX,
        .request_timeout_ms = REQUEST_TIMEOUT_MS,
        .idle_timeout_ms = IDLE_TIMEOUT_MS,
        .routes = routes,
        .ctx = admin,
        .metrics = admin->metrics,
    };
    return http_start(&options, ret, detail);
}
