#include "tests/lib/gateway_peer.h"

#include "tests/lib/unit.h"

#include <stdio.h>

#include <cjson/cJSON.h>

static struct gateway gateway;
static struct http_server *server;
static struct rpc_server *processor;
struct raw_reply gateway_peer_reply;

static void start_processor(const struct rpc_method *methods)
{
    struct rpc_options rpc = {.listen = "127.0.0.1:0", .threads = 1, .methods = methods};
    struct err_detail detail = {""};

    if (rpc_start(&rpc, &processor, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
    rpc_health_set(processor, "", true);
}

void gateway_peer_start(const struct rpc_method *methods, uint64_t max_body)
{
    struct bus_options bus = {.url = "mem://", .name = "test", .clock = &clock_system};
    struct http_options http = {.listen = "127.0.0.1:0",
                                .connections = 8,
                                .reserve = 1,
                                .max_body = max_body,
                                .request_timeout_ms = 10000,
                                .idle_timeout_ms = 10000,
                                .routes = gateway_routes,
                                .ctx = &gateway};
    struct err_detail detail = {""};
    char target[64];

    start_processor(methods);
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", rpc_port(processor));
    gateway.settings.shared.source = GATEWAY_PEER_SOURCE;
    gateway.settings.max_wait_ms = GATEWAY_PEER_MAX_WAIT_S * 1000;
    gateway.settings.stream_keepalive_ms = GATEWAY_PEER_KEEPALIVE_MS;
    gateway.followers_max = GATEWAY_PEER_FOLLOWERS;
    assert_int_equal(metrics_new(&gateway.metrics), ERR_NONE);
    assert_int_equal(bus_open(&bus, &gateway.bus, NULL), ERR_NONE);
    assert_int_equal(rpc_channel_open(target, &gateway.processor, NULL), ERR_NONE);
    gateway_measure(&gateway);
    http.metrics = gateway.metrics;
    if (http_start(&http, &server, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
}

void gateway_peer_stop(void)
{
    http_stop(server);
    rpc_channel_close(gateway.processor);
    rpc_stop(processor, 1000);
    bus_close(gateway.bus);
    metrics_free(gateway.metrics);
}

void gateway_peer_drain(void)
{
    http_drain(server);
}

void gateway_peer_use(const char *target)
{
    struct rpc_channel *other;

    assert_int_equal(rpc_channel_open(target, &other, NULL), ERR_NONE);
    rpc_channel_close(gateway.processor);
    gateway.processor = other;
}

void gateway_peer_set_serving(bool serving)
{
    rpc_health_set(processor, "", serving);
}

uint16_t gateway_peer_port(void)
{
    return http_port(server);
}

uint16_t gateway_peer_processor_port(void)
{
    return rpc_port(processor);
}

void gateway_peer_exchange(const char *request)
{
    raw_exchange(http_port(server), request, &gateway_peer_reply);
}

const char *gateway_peer_member(const char *name)
{
    static char text[600];
    cJSON *json = cJSON_Parse(gateway_peer_reply.body);
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(json, name);

    if (!json)
        fail_msg("no JSON: %s", gateway_peer_reply.body);
    snprintf(text, sizeof text, "%s", cJSON_IsString(found) ? found->valuestring : "");
    cJSON_Delete(json);
    return text;
}

void gateway_peer_must_be(int status)
{
    if (gateway_peer_reply.status != status)
        fail_msg("%d, not %d: %s", gateway_peer_reply.status, status, gateway_peer_reply.body);
}
