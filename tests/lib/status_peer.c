#include "tests/lib/status_peer.h"

#include "tests/lib/unit.h"
#include "tests/lib/watch_peer.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

static struct gateway gateway;
static struct http_server *server;
static struct rpc_server *processor;
struct raw_reply status_peer_reply;

/* What the processor was asked and what it answers; the test's thread and gRPC's take turns. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct status_question question;
static enum err answer_error;
static const char *answer_message;
static struct event_status answer;
static struct event_list_request listed;
static char listed_name[256], listed_token[1024];
static struct event_page page;

static void on_request(struct rpc_call *call, struct view bytes, void *ctx)
{
    struct event_status_holder *holder = NULL;
    struct event_status_request request;
    struct buf out;

    (void)ctx;
    buf_init(&out, RPC_ANSWER_MAX);
    pthread_mutex_lock(&lock);
    if (event_status_request_read(bytes, &holder, &request)) {
        rpc_fail(call, ERR_INTERNAL, "not a request");
    } else {
        snprintf(question.id, sizeof question.id, "%.*s", (int)request.event_id.len,
                 request.event_id.data);
        snprintf(question.source, sizeof question.source, "%.*s", (int)request.source.len,
                 request.source.data);
        question.full = request.full;
        question.position = request.min_position;
        if (answer_error)
            rpc_fail(call, answer_error, answer_message);
        else if (event_status_write(&answer, &out))
            rpc_fail(call, ERR_INTERNAL, "not a status");
        else
            rpc_reply(call, buf_view(&out));
        event_status_holder_free(holder);
    }
    pthread_mutex_unlock(&lock);
    buf_free(&out);
}

static void on_list(struct rpc_call *call, struct view bytes, void *ctx)
{
    struct event_status_holder *holder = NULL;
    struct event_list_request request;
    struct buf out;

    (void)ctx;
    buf_init(&out, RPC_ANSWER_MAX);
    pthread_mutex_lock(&lock);
    if (event_list_request_read(bytes, &holder, &request)) {
        rpc_fail(call, ERR_INTERNAL, "not a request");
    } else {
        listed = request;
        snprintf(listed_name, sizeof listed_name, "%.*s", (int)request.name.len, request.name.data);
        snprintf(listed_token, sizeof listed_token, "%.*s", (int)request.page_token.len,
                 request.page_token.data);
        listed.name = view_of(listed_name);
        listed.page_token = view_of(listed_token);
        if (answer_error)
            rpc_fail(call, answer_error, answer_message);
        else if (event_page_write(&page, &out))
            rpc_fail(call, ERR_INTERNAL, "not a page");
        else
            rpc_reply(call, buf_view(&out));
        event_status_holder_free(holder);
    }
    pthread_mutex_unlock(&lock);
    buf_free(&out);
}

struct event_list_request status_peer_listed(void)
{
    struct event_list_request request;

    pthread_mutex_lock(&lock);
    request = listed;
    pthread_mutex_unlock(&lock);
    return request;
}

void status_peer_page(const struct event_page *next)
{
    pthread_mutex_lock(&lock);
    answer_error = ERR_NONE;
    page = *next;
    pthread_mutex_unlock(&lock);
}

struct status_question status_peer_asked(void)
{
    struct status_question q;

    pthread_mutex_lock(&lock);
    q = question;
    pthread_mutex_unlock(&lock);
    return q;
}

void status_peer_answer(enum err e, const char *message, const struct event_status *status)
{
    pthread_mutex_lock(&lock);
    answer_error = e;
    answer_message = message;
    if (status)
        answer = *status;
    pthread_mutex_unlock(&lock);
}

int status_peer_start(void **state)
{
    static const struct rpc_method methods[] = {
        {.path = EVENT_STATUS_METHOD, .kind = RPC_UNARY, .on_request = on_request},
        {.path = EVENT_LIST_METHOD, .kind = RPC_UNARY, .on_request = on_list},
        WATCH_PEER_METHODS,
        {.path = NULL}};
    struct rpc_options rpc = {.listen = "127.0.0.1:0", .threads = 1, .methods = methods};
    struct bus_options bus = {.url = "mem://", .name = "test", .clock = &clock_system};
    struct http_options http = {.listen = "127.0.0.1:0",
                                .connections = 8,
                                .reserve = 1,
                                .max_body = 1000,
                                .request_timeout_ms = 10000,
                                .idle_timeout_ms = 10000,
                                .routes = gateway_routes,
                                .ctx = &gateway};
    struct err_detail detail = {""};
    char target[64];

    (void)state;
    if (rpc_start(&rpc, &processor, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
    rpc_health_set(processor, "", true);
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", rpc_port(processor));
    gateway.settings.shared.source = STATUS_PEER_SOURCE;
    gateway.settings.max_wait_ms = STATUS_PEER_MAX_WAIT_S * 1000;
    gateway.settings.stream_keepalive_ms = STATUS_PEER_KEEPALIVE_MS;
    gateway.followers_max = STATUS_PEER_FOLLOWERS;
    assert_int_equal(metrics_new(&gateway.metrics), ERR_NONE);
    assert_int_equal(bus_open(&bus, &gateway.bus, NULL), ERR_NONE);
    assert_int_equal(rpc_channel_open(target, &gateway.processor, NULL), ERR_NONE);
    gateway_measure(&gateway);
    if (http_start(&http, &server, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
    return 0;
}

int status_peer_stop(void **state)
{
    (void)state;
    http_stop(server);
    rpc_channel_close(gateway.processor);
    rpc_stop(processor, 1000);
    bus_close(gateway.bus);
    metrics_free(gateway.metrics);
    return 0;
}

void status_peer_send(const char *method, const char *path, const char *headers)
{
    char request[2048];
    int fd = raw_connect(http_port(server));

    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path, headers);
    raw_send_text(fd, request);
    raw_receive(fd, strcmp(method, "HEAD") == 0, &status_peer_reply);
    raw_close(fd);
}

void status_peer_get(const char *path)
{
    status_peer_send("GET", path, "");
}

struct event_status status_peer_basic(void)
{
    struct event_status status = {
        .state = {.status = STATUS_PROCESSED, .attempt = 1, .generation = 0},
        .name = VIEW("order.created"),
        .updated_ms = 1767323045678,
        .event_position = 7,
        .position = 11,
    };

    assert_true(id_parse(VIEW(STATUS_PEER_ID), &status.id));
    return status;
}

const char *status_peer_member(const char *name)
{
    static char text[256];
    cJSON *json = cJSON_Parse(status_peer_reply.body);
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(json, name);

    if (!json)
        fail_msg("no JSON: %s", status_peer_reply.body);
    snprintf(text, sizeof text, "%s", cJSON_IsString(found) ? found->valuestring : "");
    cJSON_Delete(json);
    return text;
}

void status_peer_use(const char *target)
{
    struct rpc_channel *other;

    assert_int_equal(rpc_channel_open(target, &other, NULL), ERR_NONE);
    rpc_channel_close(gateway.processor);
    gateway.processor = other;
}

void status_peer_set_health(bool serving)
{
    rpc_health_set(processor, "", serving);
}

uint16_t status_peer_port(void)
{
    return http_port(server);
}

uint16_t status_peer_processor_port(void)
{
    return rpc_port(processor);
}

void status_peer_must_be(int status)
{
    if (status_peer_reply.status != status)
        fail_msg("%d, not %d: %s", status_peer_reply.status, status, status_peer_reply.body);
}
