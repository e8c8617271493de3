/* GET /health, /ready and /metrics.
 */
#include "common/version.h"
#include "http-gateway/handlers.h"

/* A hint only: probes with a time-out of one second, the usual one, must get their answer. */
#define PROCESSOR_MS 200
#define HEALTH_METHOD "/grpc.health.v1.Health/Check"

static bool check_gateway(void *ctx, struct err_detail *detail)
{
    struct gateway *g = ctx;

    if (!atomic_load(&g->draining))
        return true;
    err_set(detail, ERR_UNAVAILABLE, "stopping");
    return false;
}

static bool check_bus(void *ctx, struct err_detail *detail)
{
    struct gateway *g = ctx;

    if (bus_is_connected(g->bus, detail))
        return true;
    if (detail->text[0] == '\0')
        err_set(detail, ERR_UNAVAILABLE, "away");
    return false;
}

static bool check_event_log(void *ctx, struct err_detail *detail)
{
    struct gateway *g = ctx;

    if (bus_state(g->bus, detail) == BUS_READY)
        return true;
    if (!bus_is_connected(g->bus, NULL))
        err_set(detail, ERR_UNAVAILABLE, "unknown while the bus is away");
    else if (detail->text[0] == '\0')
        err_set(detail, ERR_UNAVAILABLE, "not usable");
    return false;
}

static bool check_processor(void *ctx, struct err_detail *detail)
{
    static const struct view serving = {"\x08\x01", 2}; /* HealthCheckResponse{status: SERVING} */
    struct gateway *g = ctx;
    struct err_detail why = {""};
    struct buf answer;
    enum err e;
    bool good;

    buf_init(&answer, 1024);
    e = rpc_call_unary(g->processor, HEALTH_METHOD, VIEW(""), PROCESSOR_MS, &answer, &why);
    good = !e && view_equal(buf_view(&answer), serving);
    buf_free(&answer);
    if (e)
        err_set(detail, e, "unreachable: %s", why.text[0] ? why.text : err_title(e));
    else if (!good)
        err_set(detail, ERR_UNAVAILABLE, "reachable but not serving");
    return good;
}

enum err get_health(struct http_request *request, struct http_response *response,
                    struct err_detail *detail, void *ctx)
{
    (void)request;
    (void)detail;
    (void)ctx;
    buf_add_text(&response->body, "{\"status\":\"alive\",\"version\":\"" TIDINGS_VERSION "\"}\n");
    return ERR_NONE;
}

/* A processor that is away does not make the gateway unready: events are accepted all the same, and
 * an orchestrator that took all gateways away for it would make an outage of reads one of all. */
enum err get_ready(struct http_request *request, struct http_response *response,
                   struct err_detail *detail, void *ctx)
{
    static const struct http_probe probes[] = {
        {.name = "gateway", .check = check_gateway, .serves = "writes"},
        {.name = "bus", .check = check_bus, .serves = "writes"},
        {.name = "event_log", .check = check_event_log, .serves = "writes"},
        {.name = "processor", .check = check_processor, .advisory = true, .serves = "reads"},
        {.name = NULL},
    };

    (void)request;
    (void)detail;
    http_write_ready(response, probes, ctx);
    return ERR_NONE;
}

enum err get_metrics(struct http_request *request, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    struct gateway *g = ctx;
    enum err e = http_write_metrics(response, g->metrics);

    (void)request;
    return e ? err_set(detail, e, "no memory to write the metrics") : ERR_NONE;
}

static double read_in_flight(void *ctx)
{
    return bus_in_flight(((struct gateway *)ctx)->bus);
}

static double read_followers(void *ctx)
{
    return atomic_load(&((struct gateway *)ctx)->followers);
}

static double read_bus_ready(void *ctx)
{
    return bus_state(((struct gateway *)ctx)->bus, NULL) == BUS_READY;
}

void gateway_measure(struct gateway *g)
{
    static const char *const labels[] = {
        [BUS_STORED] = "outcome=\"stored\"",
        [BUS_DUPLICATE] = "outcome=\"duplicate\"",
        [BUS_REFUSED] = "outcome=\"refused\"",
        [BUS_UNKNOWN] = "outcome=\"unknown\"",
    };
    static const char *const reasons[] = {"reason=\"id\"", "reason=\"idempotency_key\""};

    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
        g->outcomes[i] = metrics_counter(g->metrics, "tidings_publishes_total", labels[i],
                                         "Events sent to the bus, by what became of them there");
    g->publish_duration = metrics_latency(g->metrics, "tidings_publish_duration_seconds", NULL,
                                          "Time until the bus said that an event is stored");
    g->duplicates = metrics_counter(g->metrics, "tidings_duplicates_total", NULL,
                                    "Events that were stored already when they were sent again");
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        g->conflicts[i] = metrics_counter(g->metrics, "tidings_conflicts_total", reasons[i],
                                          "Events refused because their id is another event's");
    metrics_gauge_read(g->metrics, "tidings_publishes_in_flight", NULL,
                       "Events whose outcome the bus has not told yet", read_in_flight, g);
    metrics_gauge_read(g->metrics, "tidings_followers", NULL, "Requests that wait for events",
                       read_followers, g);
    g->followers_refused = metrics_counter(g->metrics, "tidings_followers_refused_total", NULL,
                                           "Not waiting for events because as many as may were");
    metric_set(metrics_gauge(g->metrics, "tidings_publishes_in_flight_limit", NULL,
                             "How many there may be; more are answered 429"),
               (int64_t)g->settings.max_in_flight);
    metrics_gauge_read(g->metrics, "tidings_bus_ready", NULL, "1: events can be stored",
                       read_bus_ready, g);
    metrics_process(g->metrics, TIDINGS_VERSION);
}
