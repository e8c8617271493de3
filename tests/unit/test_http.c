/* Routes, replies and problem documents, through a real server and real sockets.
 */
#include "common/http.h"
#include "common/mem.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cjson/cJSON.h>

static struct http_server *server;
static struct metrics *metrics;
static struct raw_reply reply;
static char value[512];

/* ---- handlers ---- */

static enum err echo(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    struct view body;
    enum err e = http_body(r, &body, detail);

    (void)ctx;
    if (e)
        return e;
    response->status = 202;
    buf_add_view(&response->body, body);
    return ERR_NONE;
}

static enum err show_item(struct http_request *r, struct http_response *response,
                          struct err_detail *detail, void *ctx)
{
    struct view color = VIEW("none");
    bool found = http_query(r, "color", &color);

    (void)detail;
    (void)ctx;
    buf_add_text(&response->body, "{\"id\":");
    buf_add_json(&response->body, http_parameter(r, 0));
    buf_add_text(&response->body, ",\"part\":");
    buf_add_json(&response->body, http_parameter(r, 1));
    buf_add_text(&response->body, ",\"color\":");
    buf_add_json(&response->body, color);
    buf_add_format(&response->body, ",\"found\":%s}", found ? "true" : "false");
    return ERR_NONE;
}

/* Fails with the error whose number the path names. */
static enum err fail_with(struct http_request *r, struct http_response *response,
                          struct err_detail *detail, void *ctx)
{
    int number = atoi(http_parameter(r, 0).data);

    (void)ctx;
    http_add_member(response, "event_id", VIEW("abc\"def"));
    return err_set(detail, (enum err)number, "because of %d", number);
}

static enum err bad_header(struct http_request *r, struct http_response *response,
                           struct err_detail *detail, void *ctx)
{
    (void)r;
    (void)detail;
    (void)ctx;
    http_add_header(response, "X-Good", VIEW("1"));
    http_add_header(response, "X-Split", VIEW("a\r\nSet-Cookie: b"));
    return ERR_NONE;
}

/* Its answer does not fit the memory that there is. */
static enum err no_memory(struct http_request *r, struct http_response *response,
                          struct err_detail *detail, void *ctx)
{
    (void)r;
    (void)detail;
    (void)ctx;
    mem_fail_after(0);
    (void)buf_reserve(&response->body, 1 << 20);
    return ERR_NONE;
}

static bool probe_good(void *ctx, struct err_detail *detail)
{
    (void)detail;
    return *(bool *)ctx;
}

static bool probe_bad(void *ctx, struct err_detail *detail)
{
    (void)ctx;
    err_set(detail, ERR_UNAVAILABLE, "away");
    return false;
}

static bool bus_is_good = true;

static enum err ready(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    static const struct http_probe probes[] = {{"bus", probe_good, false, "writes"},
                                               {"log", probe_good, false, "writes"},
                                               {"processor", probe_bad, true, "reads"},
                                               {NULL, NULL, false, NULL}};

    (void)r;
    (void)detail;
    (void)ctx;
    bus_is_good = !http_query(r, "broken", &(struct view){0});
    http_write_ready(response, probes, &bus_is_good);
    return ERR_NONE;
}

static enum err show_metrics(struct http_request *r, struct http_response *response,
                             struct err_detail *detail, void *ctx)
{
    (void)r;
    (void)detail;
    (void)ctx;
    return http_write_metrics(response, metrics);
}

/* Adds to the automatic answer, or fails. */
static enum err more_options(struct http_request *r, struct http_response *response,
                             struct err_detail *detail, void *ctx)
{
    (void)ctx;
    if (view_equal(http_parameter(r, 0), VIEW("bad one")))
        return err_set(detail, ERR_MALFORMED, "not this one");
    http_add_header(response, "X-More", http_parameter(r, 1));
    return ERR_NONE;
}

static const struct http_route routes[] = {
    {"POST", "/echo", echo, "application/json"},
    {"GET", "/items/{id}", show_item, "application/json"},
    {"GET", "/items/{id}/parts/{part}", show_item, "application/json"},
    {"OPTIONS", "/items/{id}/parts/{part}", more_options, NULL},
    {"POST", "/items/{id}", echo, "application/json"},
    {"GET", "/fail/{number}", fail_with, NULL},
    {"GET", "/bad-header", bad_header, NULL},
    {"GET", "/no-memory", no_memory, NULL},
    {"POST", "/no-memory", no_memory, NULL},
    {"GET", "/ready", ready, NULL},
    {"GET", "/metrics", show_metrics, NULL},
    {NULL, NULL, NULL, NULL},
};

static int start(void **state)
{
    struct http_options options = {
        .listen = "127.0.0.1:0",
        .connections = 8,
        .reserve = 2,
        .max_body = 1000,
        .request_timeout_ms = 5000,
        .idle_timeout_ms = 5000,
        .routes = routes,
    };
    struct err_detail detail = {""};

    (void)state;
    assert_int_equal(metrics_new(&metrics), ERR_NONE);
    options.metrics = metrics;
    if (http_start(&options, &server, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    http_stop(server);
    metrics_free(metrics);
    return 0;
}

static void get(const char *line, const char *more_headers)
{
    char request[2048];

    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: x\r\n%s\r\n", line, more_headers);
    raw_exchange(http_port(server), request, &reply);
}

static cJSON *document(void)
{
    cJSON *json = cJSON_Parse(reply.body);

    if (!json)
        fail_msg("no JSON: %s", reply.body);
    return json;
}

static void assert_member(const cJSON *json, const char *name, const char *expected)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(json, name);

    if (!cJSON_IsString(member))
        fail_msg("no string %s in %s", name, reply.body);
    assert_string_equal(member->valuestring, expected);
}

static void assert_header(const char *name, const char *expected)
{
    if (!raw_header(&reply, name, value))
        fail_msg("no %s in %s", name, reply.head);
    assert_string_equal(value, expected);
}

/* ---- tests ---- */

static void answers_a_route(void **state)
{
    (void)state;
    get("GET /items/7?color=red", "");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body,
                        "{\"id\":\"7\",\"part\":\"\",\"color\":\"red\",\"found\":true}");
    assert_header("Content-Type", "application/json");
    assert_header("Cache-Control", "no-store");
    assert_true(raw_header(&reply, "Date", value));
    assert_int_equal(strlen(value), strlen("Tue, 15 Nov 1994 08:12:31 GMT"));
    assert_false(raw_header(&reply, "Connection", value));
}

static void decodes_parameters(void **state)
{
    (void)state;
    get("GET /items/a%2Fb%20c/parts/%7b+%7D?x=1&&color=a%26b+c%zz&color=second", "");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "{\"id\":\"a/b c\",\"part\":\"{+}\",\"color\":\"a&b c%zz\","
                                    "\"found\":true}");
    get("GET /items/%2e%2E?color", "");
    assert_string_equal(reply.body, "{\"id\":\"..\",\"part\":\"\",\"color\":\"\",\"found\":true}");
}

static void answers_head_without_body(void **state)
{
    int fd = raw_connect(http_port(server));

    (void)state;
    raw_send_text(fd, "HEAD /items/7 HTTP/1.1\r\nHost: x\r\n\r\n");
    raw_receive(fd, true, &reply);
    assert_int_equal(reply.status, 200);
    assert_header("Content-Length", "49");
    /* had there been a body, this reply would not begin where it does */
    raw_send_text(fd, "GET /items/8 HTTP/1.1\r\nHost: x\r\n\r\n");
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    raw_close(fd);
}

static void unknown_path_names_the_known(void **state)
{
    cJSON *json;

    (void)state;
    get("GET /nothing/here?x=y", "");
    assert_int_equal(reply.status, 404);
    assert_header("Content-Type", "application/problem+json");
    json = document();
    assert_member(json, "type", "urn:tidings:problem:not-found");
    assert_member(json, "title", "Not found");
    assert_int_equal(cJSON_GetObjectItem(json, "status")->valueint, 404);
    assert_member(json, "instance", "/nothing/here");
    assert_member(
        json, "detail",
        "there is nothing at this path; there is: /echo, /items/{id}, "
        "/items/{id}/parts/{part}, /fail/{number}, /bad-header, /no-memory, /ready, /metrics");
    cJSON_Delete(json);
}

static void paths_match_exactly(void **state)
{
    static const char *const paths[] = {"GET /items/",   "GET /items",         "GET /items/7/",
                                        "GET //items/7", "GET /items/7/parts", "GET /x/../echo",
                                        "GET /",         "GET /ITEMS/7"};

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        get(paths[i], "");
        if (reply.status != 404)
            fail_msg("%s: %d", paths[i], reply.status);
    }
}

static void other_methods_are_told_which(void **state)
{
    (void)state;
    get("DELETE /items/7", "");
    assert_int_equal(reply.status, 405);
    assert_header("Allow", "GET, HEAD, POST, OPTIONS");
    get("GET /echo", "");
    assert_int_equal(reply.status, 405);
    assert_header("Allow", "POST, OPTIONS");
    get("OPTIONS /items/7/parts/a", "");
    assert_int_equal(reply.status, 204);
    assert_header("Allow", "GET, HEAD, OPTIONS");
    assert_header("X-More", "a");
    get("OPTIONS /items/bad%20one/parts/a", "");
    assert_int_equal(reply.status, 400);
    get("POST /items/7/parts/a", "Content-Length: 0\r\n");
    assert_int_equal(reply.status, 405);
    assert_header("Allow", "GET, HEAD, OPTIONS");
    get("OPTIONS /items/7", "");
    assert_int_equal(reply.status, 204);
    assert_header("Allow", "GET, HEAD, POST, OPTIONS");
    assert_false(raw_header(&reply, "Content-Length", value));
    get("OPTIONS /nothing", "");
    assert_int_equal(reply.status, 404);
}

static void unknown_methods_and_versions(void **state)
{
    (void)state;
    get("BREW /items/7", "");
    assert_int_equal(reply.status, 501);
    assert_header("Connection", "close");
    raw_exchange(http_port(server), "GET /items/7 HTTP/2.0\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 505);
    for (const char *minor = "29"; *minor; minor++) {
        char request[64];

        snprintf(request, sizeof request, "GET /items/7 HTTP/1.%c\r\nHost: x\r\n\r\n", *minor);
        raw_exchange(http_port(server), request, &reply);
        assert_int_equal(reply.status, 505);
        assert_non_null(strstr(reply.body, "HTTP/1.1 and HTTP/1.0"));
    }
    raw_exchange(http_port(server), "GET /items/7 HTTP/1.x\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 400);
    raw_exchange(http_port(server), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &reply);
    assert_int_equal(reply.status, 505);
    raw_exchange(http_port(server), "GET /items/7 FTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 400);
    raw_exchange(http_port(server), "GET items/7 HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 400);
    assert_header("Content-Type", "application/problem+json");
}

static void every_error_becomes_its_problem(void **state)
{
    static const struct {
        enum err e;
        const char *type;
        int status;
    } errors[] = {
#define X(code, slug, title, http, grpc) {code, "urn:tidings:problem:" slug, http},
        ERR_LIST(X)
#undef X
    };
    char line[64], detail[64];

    (void)state;
    for (size_t i = 1; i < sizeof errors / sizeof errors[0]; i++) {
        bool retry =
            errors[i].e == ERR_BUSY || errors[i].e == ERR_UNAVAILABLE || errors[i].e == ERR_MEMORY;
        cJSON *json;

        snprintf(line, sizeof line, "GET /fail/%d", (int)errors[i].e);
        snprintf(detail, sizeof detail, "because of %d", (int)errors[i].e);
        get(line, "X-Request-Id: my-id_1\r\n");
        assert_int_equal(reply.status, errors[i].status);
        json = document();
        assert_member(json, "type", errors[i].type);
        assert_member(json, "detail", detail);
        assert_member(json, "request_id", "my-id_1");
        assert_member(json, "event_id", "abc\"def");
        cJSON_Delete(json);
        assert_int_equal(raw_header(&reply, "Retry-After", value), retry);
    }
}

static void request_ids_are_kept_or_made(void **state)
{
    char id[sizeof value];

    (void)state;
    get("GET /items/7", "X-Request-Id: 3f/a:b=c+d~e._-\r\n");
    assert_header("X-Request-Id", "3f/a:b=c+d~e._-");
    get("GET /items/7", "X-Request-Id: two words\r\n");
    assert_true(raw_header(&reply, "X-Request-Id", value));
    assert_int_equal(strlen(value), 36);
    get("GET /items/7", "");
    snprintf(id, sizeof id, "%s", value);
    assert_true(raw_header(&reply, "X-Request-Id", value));
    assert_int_equal(strlen(value), 36);
    assert_string_not_equal(id, value);
    snprintf(id, sizeof id, "X-Request-Id: %0128d\r\n", 7);
    get("GET /items/7", id);
    assert_true(raw_header(&reply, "X-Request-Id", value));
    assert_int_equal(strlen(value), 128);
    snprintf(id, sizeof id, "X-Request-Id: %0129d\r\n", 7);
    get("GET /items/7", id);
    assert_true(raw_header(&reply, "X-Request-Id", value));
    assert_int_equal(strlen(value), 36);
}

static void accept_is_obeyed_leniently(void **state)
{
    static const char *const good[] = {"",
                                       "Accept: */*\r\n",
                                       "Accept: application/*\r\n",
                                       "Accept: text/html, application/json;q=0.1\r\n",
                                       "Accept: APPLICATION/JSON\r\n",
                                       "Accept: text/html\r\nAccept: application/json\r\n",
                                       "Accept:\r\n",
                                       "Accept: application/problem+json\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        get("GET /items/7", good[i]);
        if (reply.status != 200)
            fail_msg("%s: %d", good[i], reply.status);
    }
    get("GET /items/7", "Accept: text/html, application/jsonx\r\n");
    assert_int_equal(reply.status, 406);
    get("GET /items/7", "Accept: text/html\r\nAccept:\r\nAccept: image/png\r\n");
    assert_int_equal(reply.status, 406);
    get("GET /metrics", "Accept: image/png\r\n");
    assert_int_equal(reply.status, 200);
}

static void header_values_cannot_split_the_reply(void **state)
{
    (void)state;
    get("GET /bad-header", "");
    assert_int_equal(reply.status, 200);
    assert_header("X-Good", "1");
    assert_false(raw_header(&reply, "X-Split", value));
    assert_false(raw_header(&reply, "Set-Cookie", value));
}

static void short_memory_is_said_without_any(void **state)
{
    (void)state;
    get("GET /no-memory", "");
    assert_int_equal(reply.status, 503);
    assert_header("Retry-After", "1");
    get("POST /no-memory", "Content-Length: 0\r\n"); /* it may have acted */
    assert_int_equal(reply.status, 504);
    assert_header("Connection", "close");
    assert_null(strstr(reply.head, "Retry-After"));
    assert_int_equal(reply.body_len, 0);
    get("GET /items/7", "");
    assert_int_equal(reply.status, 200);
}

static void readiness_counts_what_is_not_advisory(void **state)
{
    (void)state;
    get("GET /ready", "");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "{\"ready\":true,\"writes\":true,\"reads\":false,\"checks\":"
                                    "{\"bus\":\"ok\",\"log\":\"ok\",\"processor\":\"away\"}}\n");
    get("GET /ready?broken=1", "");
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "{\"ready\":false,\"writes\":false,\"reads\":false,"));
    assert_header("Retry-After", "1");
}

static void requests_are_counted(void **state)
{
    (void)state;
    get("GET /items/7", "");
    get("GET /metrics", "");
    assert_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    assert_non_null(strstr(reply.body, "tidings_http_requests_total{method=\"GET\","
                                       "route=\"/items/{id}\",code=\"200\"} "));
    assert_null(strstr(reply.body, "tidings_http_requests_total{method=\"GET\","
                                   "route=\"/items/{id}\",code=\"200\"} 0"));
    assert_non_null(strstr(reply.body, "\ntidings_http_connections "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_a_route),
        cmocka_unit_test(decodes_parameters),
        cmocka_unit_test(answers_head_without_body),
        cmocka_unit_test(unknown_path_names_the_known),
        cmocka_unit_test(paths_match_exactly),
        cmocka_unit_test(other_methods_are_told_which),
        cmocka_unit_test(unknown_methods_and_versions),
        cmocka_unit_test(every_error_becomes_its_problem),
        cmocka_unit_test(request_ids_are_kept_or_made),
        cmocka_unit_test(accept_is_obeyed_leniently),
        cmocka_unit_test(header_values_cannot_split_the_reply),
        cmocka_unit_test(short_memory_is_said_without_any),
        cmocka_unit_test(readiness_counts_what_is_not_advisory),
        cmocka_unit_test(requests_are_counted),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
