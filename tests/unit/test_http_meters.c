/* What is counted of requests and connections, as /metrics would show it.
 */
#include "common/http.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>
#include <string.h>

static struct http_server *server;
static struct metrics *metrics;
static struct raw_reply reply;

static enum err echo(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    struct view body;
    enum err e = http_body(r, &body, detail);

    (void)ctx;
    if (!e)
        buf_add_view(&response->body, body);
    return e;
}

static enum err hello(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    (void)r;
    (void)detail;
    (void)ctx;
    buf_add_text(&response->body, "hello");
    return ERR_NONE;
}

static enum err tagged(struct http_request *r, struct http_response *response,
                       struct err_detail *detail, void *ctx)
{
    (void)detail;
    (void)ctx;
    if (!http_not_modified(r, response, VIEW("\"1\"")))
        buf_add_text(&response->body, "1");
    return ERR_NONE;
}

static const struct http_route routes[] = {
    {"GET", "/tagged", tagged, NULL},
    {"POST", "/echo", echo, NULL},
    {"GET", "/hello/{id}", hello, "application/json"},
    {NULL, NULL, NULL, NULL},
};

static int start(void **state)
{
    struct http_options options = {
        .listen = "127.0.0.1:0",
        .connections = 4,
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

static void ask(const char *request, int status)
{
    raw_exchange(http_port(server), request, &reply);
    if (reply.status != status)
        fail_msg("%d, not %d: %s", reply.status, status, request);
}

static bool has_line(const char *line)
{
    struct buf text;
    bool found;

    buf_init(&text, SIZE_MAX);
    assert_int_equal(metrics_render(metrics, &text), ERR_NONE);
    buf_add(&text, "", 1);
    found = strstr(text.data, line) != NULL;
    buf_free(&text);
    return found;
}

/* A request is counted after its answer has left. */
static void until_line(const char *series, const char *value)
{
    char line[256];

    snprintf(line, sizeof line, "\n%s %s\n", series, value);
    assert_until(has_line(line));
}

#define ECHO "{method=\"POST\",route=\"/echo\"}"
#define HELLO "{method=\"GET\",route=\"/hello/{id}\"}"
#define OTHER "{method=\"other\",route=\"other\"}"
#define REQUEST_BYTES "tidings_http_request_body_bytes_total"
#define RESPONSE_BYTES "tidings_http_response_body_bytes_total"

static void bodies_are_counted_by_route(void **state)
{
    (void)state;
    ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n1234567", 200);
    ask("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        200);
    ask("GET /hello/7 HTTP/1.1\r\nHost: x\r\n\r\n", 200);
    until_line(REQUEST_BYTES ECHO, "12");
    until_line(RESPONSE_BYTES ECHO, "12");
    until_line(REQUEST_BYTES HELLO, "0");
    until_line(RESPONSE_BYTES HELLO, "5");
}

/* The answer to a HEAD has no body. */
static void a_head_sends_no_bytes(void **state)
{
    int fd = raw_connect(http_port(server));

    (void)state;
    assert_true(raw_send_text(fd, "HEAD /hello/7 HTTP/1.1\r\nHost: x\r\n\r\n"));
    raw_receive(fd, true, &reply);
    raw_close(fd);
    until_line("tidings_http_requests_total{method=\"GET\",route=\"/hello/{id}\",code=\"200\"}",
               "1");
    until_line(RESPONSE_BYTES HELLO, "0");
}

static void what_is_not_modified_counts_as_that(void **state)
{
    static const char *const methods[] = {"GET", "HEAD"};
    char request[128], count[8];

    (void)state;
    for (int i = 0; i < 2; i++) {
        snprintf(request, sizeof request,
                 "%s /tagged HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"1\"\r\n\r\n", methods[i]);
        ask(request, 304);
        snprintf(count, sizeof count, "%d", i + 1);
        until_line("tidings_http_requests_total{method=\"GET\",route=\"/tagged\",code=\"304\"}",
                   count);
    }
    until_line(RESPONSE_BYTES "{method=\"GET\",route=\"/tagged\"}", "0");
}

/* Of a body that is refused counts what has come. */
static void a_body_that_nobody_asked_for_counts(void **state)
{
    (void)state;
    ask("GET /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", 404);
    until_line(REQUEST_BYTES OTHER, "4");
}

static void refusals_are_counted_by_reason(void **state)
{
    (void)state;
    until_line("tidings_http_refusals_total{reason=\"not-found\"}", "0");
    ask("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404);
    ask("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", 404);
    ask("PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405);
    ask("GET /hello/1 HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n", 406);
    ask("POST /echo HTTP/1.1\r\nHost: x\r\n\r\n", 411);
    ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413);
    ask("GET /hello/1 HTTP/1.1\r\n\r\n", 400); /* we refuse it */
    ask("GET /hello/1 HTTP/9.9\r\n\r\n", 505); /* civetweb does */
    ask("GET /hello/1 HTTP/1.1\r\nHost: x\r\n\r\n", 200);
    until_line("tidings_http_refusals_total{reason=\"not-found\"}", "2");
    until_line("tidings_http_refusals_total{reason=\"method-not-allowed\"}", "1");
    until_line("tidings_http_refusals_total{reason=\"not-acceptable\"}", "1");
    until_line("tidings_http_refusals_total{reason=\"length-required\"}", "1");
    until_line("tidings_http_refusals_total{reason=\"too-large\"}", "1");
    until_line("tidings_http_refusals_total{reason=\"malformed\"}", "1");
    until_line("tidings_http_refusals_total{reason=\"http-version\"}", "1");
    assert_false(has_line("reason=\"none\""));
}

static void durations_are_counted_once_a_request(void **state)
{
    (void)state;
    ask("GET /hello/1 HTTP/1.1\r\nHost: x\r\n\r\n", 200);
    until_line("tidings_http_request_duration_seconds_count" HELLO, "1");
    until_line("tidings_http_request_duration_seconds_bucket"
               "{method=\"GET\",route=\"/hello/{id}\",le=\"+Inf\"}",
               "1");
    assert_false(has_line("\ntidings_http_request_duration_seconds_sum" HELLO " 0.000000\n"));
}

static void connections_are_counted(void **state)
{
    int fd[3];

    (void)state;
    until_line("tidings_http_connections_limit", "4");
    for (size_t i = 0; i < 3; i++)
        fd[i] = raw_connect(http_port(server));
    until_line("tidings_http_connections", "3");
    for (size_t i = 0; i < 3; i++)
        raw_close(fd[i]);
    until_line("tidings_http_connections", "0");
    until_line("tidings_http_connections_accepted_total", "3");
    until_line("tidings_http_connections_refused_total", "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bodies_are_counted_by_route, start, stop),
        cmocka_unit_test_setup_teardown(a_head_sends_no_bytes, start, stop),
        cmocka_unit_test_setup_teardown(what_is_not_modified_counts_as_that, start, stop),
        cmocka_unit_test_setup_teardown(a_body_that_nobody_asked_for_counts, start, stop),
        cmocka_unit_test_setup_teardown(refusals_are_counted_by_reason, start, stop),
        cmocka_unit_test_setup_teardown(durations_are_counted_once_a_request, start, stop),
        cmocka_unit_test_setup_teardown(connections_are_counted, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
