#include "tests/lib/gateways.h"

#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

static void start_bus(struct gateways *g, const struct gateways_options *options)
{
    struct bus_options bus = {.url = "mem://",
                              .name = "test",
                              .max_in_flight = options->max_in_flight,
                              .clock = &clock_system};
    struct bus_log_spec spec = {.name = "TIDINGS_EVENTS",
                                .subject = "tidings.events.>",
                                .max_bytes = options->log_bytes,
                                .replicas = 1,
                                .duplicate_window_ms = 3600 * 1000};

    assert_int_equal(bus_open(&bus, &g->bus, NULL), ERR_NONE);
    assert_int_equal(bus_log_open(g->bus, &spec, &g->events), ERR_NONE);
    assert_int_equal(bus_wait_ready(g->bus, 5000, NULL), ERR_NONE);
}

static void start_one(struct gateways *g, int which, const struct gateways_options *options)
{
    struct gateway *gateway = &g->gateway[which];
    struct http_options http = {.listen = "127.0.0.1:0",
                                .connections = 32,
                                .reserve = 1,
                                .max_body = 2 << 20,
                                .request_timeout_ms = options->timeout_ms,
                                .idle_timeout_ms = options->timeout_ms,
                                .routes = gateway_routes,
                                .ctx = gateway};
    struct err_detail detail = {""};

    *gateway = (struct gateway){.settings = {.shared = {.ns = "tidings", .source = GATEWAYS_SOURCE},
                                             .webhook_origins = options->webhook_origins
                                                                    ? options->webhook_origins
                                                                    : "none",
                                             .max_body = 2 << 20,
                                             .request_timeout_ms = options->timeout_ms,
                                             .idle_timeout_ms = 2 * options->timeout_ms,
                                             .publish_timeout_ms = 5000,
                                             .max_batch = 100,
                                             .max_in_flight = options->max_in_flight},
                                .bus = g->bus,
                                .events = g->events};
    assert_int_equal(metrics_new(&gateway->metrics), ERR_NONE);
    /* nobody listens there */
    assert_int_equal(rpc_channel_open("ipv4:127.0.0.1:1", &gateway->processor, NULL), ERR_NONE);
    gateway_measure(gateway);
    http.metrics = gateway->metrics;
    if (http_start(&http, &g->http[which], &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
}

void gateways_start(struct gateways *g, const struct gateways_options *options)
{
    struct gateways_options filled = *options;

    filled.max_in_flight = options->max_in_flight ? options->max_in_flight : 64;
    filled.timeout_ms = options->timeout_ms ? options->timeout_ms : 10000;
    start_bus(g, &filled);
    for (int i = 0; i < GATEWAYS; i++)
        start_one(g, i, &filled);
}

void gateways_stop(struct gateways *g)
{
    for (int i = 0; i < GATEWAYS; i++) {
        http_stop(g->http[i]);
        rpc_channel_close(g->gateway[i].processor);
    }
    bus_close(g->bus);
    for (int i = 0; i < GATEWAYS; i++)
        metrics_free(g->gateway[i].metrics);
}

int gateways_post_begin(const struct gateways *g, int which, const char *headers, const char *body)
{
    return gateways_post_bytes(g, which, headers, view_of(body));
}

int gateways_post_bytes(const struct gateways *g, int which, const char *headers, struct view body)
{
    char head[2048];
    int fd = raw_connect(http_port(g->http[which]));
    int len = snprintf(head, sizeof head,
                       "POST /api/v1/events HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n",
                       headers, body.len);

    assert_in_range(len, 1, sizeof head - 1);
    assert_true(raw_send_text(fd, head));
    assert_true(raw_send(fd, body.data, body.len));
    return fd;
}

void gateways_post_end(int fd, struct raw_reply *ret)
{
    raw_receive(fd, false, ret);
    raw_close(fd);
}

void gateways_post(const struct gateways *g, int which, const char *headers, const char *body,
                   struct raw_reply *ret)
{
    gateways_post_end(gateways_post_begin(g, which, headers, body), ret);
}

void gateways_member(const struct raw_reply *reply, const char *name, char text[512])
{
    cJSON *json = cJSON_Parse(reply->body);
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(json, name);

    if (!cJSON_IsString(found))
        fail_msg("no string %s in %s", name, reply->body);
    snprintf(text, 512, "%s", found->valuestring);
    cJSON_Delete(json);
}

uint64_t gateways_last_position(const struct gateways *g)
{
    struct bus_log_end end;

    assert_int_equal(bus_log_end(g->events, 1000, &end), ERR_NONE);
    return end.last;
}

struct bus_record *gateways_event_at(const struct gateways *g, uint64_t position,
                                     struct event_text *text, struct event *ret)
{
    struct bus_record *record;
    struct err_detail detail = {""};

    assert_int_equal(bus_log_read(g->events, position, 1000, &record), ERR_NONE);
    if (event_of_record(record, "tidings", text, ret, &detail))
        fail_msg("%s", detail.text);
    return record;
}

bool gateways_has_metric(const struct gateways *g, const char *line)
{
    struct buf out;
    char wanted[256];
    bool found;

    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    buf_init(&out, 1 << 20);
    assert_int_equal(metrics_render(g->gateway[0].metrics, &out), ERR_NONE);
    found = strstr(out.data, wanted) != NULL;
    buf_free(&out);
    return found;
}

void gateways_id_of(const char *source, const char *producer_id, char ret[ID_TEXT_SIZE])
{
    struct event_id id;

    id_of_producer(view_of(source), view_of(producer_id), &id);
    id_format(&id, ret);
}

void gateways_assert_status(const struct raw_reply *reply, int status)
{
    if (reply->status != status)
        fail_msg("%d: %s", reply->status, reply->body);
}

static void assert_accepted(const struct raw_reply *reply, const char *event_id, const char *more)
{
    char body[128], location[64], value[512];

    gateways_assert_status(reply, 202);
    snprintf(body, sizeof body, "{\"event_id\":\"%s\",\"status\":\"accepted\"%s}\n", event_id,
             more);
    assert_string_equal(reply->body, body);
    snprintf(location, sizeof location, "/api/v1/events/%s", event_id);
    assert_true(raw_header(reply, "Location", value));
    assert_string_equal(value, location);
}

void gateways_assert_stored(const struct raw_reply *reply, const char *event_id)
{
    assert_accepted(reply, event_id, "");
}

void gateways_assert_duplicate(const struct raw_reply *reply, const char *event_id)
{
    assert_accepted(reply, event_id, ",\"duplicate\":true");
}

void gateways_assert_problem(const struct raw_reply *reply, int status, const char *type,
                             const char *detail)
{
    char expected[64], text[512];

    gateways_assert_status(reply, status);
    snprintf(expected, sizeof expected, "urn:tidings:problem:%s", type);
    gateways_member(reply, "type", text);
    assert_string_equal(text, expected);
    gateways_member(reply, "detail", text);
    if (!strstr(text, detail))
        fail_msg("no \"%s\" in %s", detail, reply->body);
}
