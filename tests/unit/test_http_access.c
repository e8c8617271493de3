/* The access log: which requests have a line, and what it says.
 */
#include "common/http.h"
#include "common/log.h"
#include "tests/lib/capture.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

static struct http_server *server;
static struct capture capture;
static struct raw_reply reply;
static char said[1 << 18];

static enum err echo(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    struct view body;
    enum err e = http_body(r, &body, detail);

    (void)ctx;
    if (!e)
        buf_add_text(&response->body, "thanks");
    return e;
}

static enum err show(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    (void)r;
    (void)response;
    (void)detail;
    (void)ctx;
    return ERR_NONE;
}

static const struct http_route routes[] = {
    {"POST", "/echo", echo, NULL},
    {"GET", "/items/{id}", show, NULL},
    {NULL, NULL, NULL, NULL},
};

/* Until said_by_the_end, what is logged is kept. */
static void begin(bool errors, double share, enum log_level level)
{
    struct http_options options = {
        .listen = "127.0.0.1:0",
        .connections = 8,
        .reserve = 2,
        .max_body = 1000,
        .request_timeout_ms = 5000,
        .idle_timeout_ms = 5000,
        .routes = routes,
        .log_errors = errors,
        .log_share = share,
    };
    struct err_detail detail = {""};

    log_init("test", level, LOG_JSON_LINES);
    if (http_start(&options, &server, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
    capture_begin(&capture, STDERR_FILENO);
}

static void end(void)
{
    http_stop(server); /* what it still has to say, it says */
    capture_end(&capture, said, sizeof said);
    log_init(NULL, LOG_INFO, LOG_TEXT_LINES);
}

static void ask(const char *request)
{
    raw_exchange(http_port(server), request, &reply);
}

static size_t lines(const char *with)
{
    size_t count = 0;

    for (const char *at = said; (at = strstr(at, with)); at += strlen(with))
        count++;
    return count;
}

static const char *text_of(const cJSON *entry, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, name));

    return text ? text : "(none)";
}

static double number_of(const cJSON *entry, const char *name)
{
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(entry, name);

    if (!cJSON_IsNumber(number))
        fail_msg("no number %s in %s", name, said);
    return number->valuedouble;
}

static void a_line_tells_of_the_request(void **state)
{
    cJSON *entry;

    (void)state;
    begin(true, 1, LOG_INFO);
    ask("POST /echo?token=secret HTTP/1.1\r\nHost: x\r\nX-Request-Id: me-1\r\n"
        "Content-Length: 7\r\n\r\n1234567");
    end();
    assert_int_equal(lines("\n"), 1);
    entry = cJSON_Parse(said);
    assert_string_equal(text_of(entry, "msg"), "request");
    assert_string_equal(text_of(entry, "level"), "info");
    assert_string_equal(text_of(entry, "method"), "POST");
    assert_string_equal(text_of(entry, "path"), "/echo"); /* a query may hold what is secret */
    assert_string_equal(text_of(entry, "route"), "/echo");
    assert_string_equal(text_of(entry, "remote"), "127.0.0.1");
    assert_string_equal(text_of(entry, "request_id"), "me-1");
    assert_string_equal(text_of(entry, "problem"), "(none)");
    assert_true(number_of(entry, "status") == 200);
    assert_true(number_of(entry, "request_bytes") == 7);
    assert_true(number_of(entry, "response_bytes") == 6);
    assert_true(number_of(entry, "duration_ms") > 0);
    assert_int_equal(lines("request_id"), 1);
    cJSON_Delete(entry);
}

static void errors_only(void **state)
{
    (void)state;
    begin(true, 0, LOG_INFO);
    ask("GET /items/7 HTTP/1.1\r\nHost: x\r\n\r\n");
    ask("GET /nowhere HTTP/1.1\r\nHost: x\r\nX-Request-Id: lost\r\n\r\n");
    ask("GET /items/7 HTTP/1.1\r\n\r\n"); /* we refuse it */
    ask("BREW /pot HTTP/1.1\r\n\r\n");    /* civetweb does */
    end();
    assert_int_equal(lines("\n"), 3);
    assert_int_equal(lines("\"path\":\"/nowhere\",\"route\":\"other\",\"status\":404"), 1);
    assert_int_equal(lines("\"request_id\":\"lost\",\"problem\":\"not-found\""), 1);
    assert_int_equal(lines("\"route\":\"other\",\"status\":400"), 1);
    assert_int_equal(lines("\"problem\":\"malformed\""), 1);
    assert_int_equal(lines("\"method\":\"BREW\",\"path\":\"/pot\",\"route\":\"other\","
                           "\"status\":501"),
                     1);
}

static void off(void **state)
{
    (void)state;
    begin(false, 1, LOG_DEBUG);
    ask("GET /items/7 HTTP/1.1\r\nHost: x\r\n\r\n");
    ask("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
    end();
    assert_string_equal(said, "");
}

static void lines_are_of_level_info(void **state)
{
    (void)state;
    begin(true, 1, LOG_WARN);
    ask("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
    end();
    assert_string_equal(said, "");
}

#define SAMPLES 400

static void send_samples(void)
{
    int fd = raw_connect(http_port(server));
    char request[128];

    for (int i = 0; i < SAMPLES; i++) {
        snprintf(request, sizeof request,
                 "GET /items/7 HTTP/1.1\r\nHost: x\r\nX-Request-Id: %d\r\n\r\n", i);
        assert_true(raw_send_text(fd, request));
        raw_receive(fd, false, &reply);
        assert_int_equal(reply.status, 200);
    }
    raw_close(fd);
}

/* 400 of them, a quarter: 100, give or take. */
static void a_share_is_told_by_request_ids(void **state)
{
    static char first[sizeof said];
    size_t count;

    (void)state;
    begin(true, 0.25, LOG_INFO);
    send_samples();
    end();
    count = lines("\n");
    assert_in_range(count, 70, 130);
    memcpy(first, said, sizeof said);
    begin(true, 0.25, LOG_INFO); /* another server */
    send_samples();
    end();
    assert_int_equal(lines("\n"), count);
    for (char *at = first; (at = strstr(at, "\"request_id\":")); at++) {
        char id[64];

        snprintf(id, sizeof id, "%.*s}", (int)strcspn(at, "}"), at);
        assert_int_equal(lines(id), 1);
    }
}

static void an_error_is_logged_whatever_the_share(void **state)
{
    char request[128];

    (void)state;
    begin(true, 0.01, LOG_INFO);
    for (int i = 0; i < 50; i++) {
        snprintf(request, sizeof request,
                 "GET /nowhere HTTP/1.1\r\nHost: x\r\nX-Request-Id: %d\r\n\r\n", i);
        ask(request);
    }
    end();
    assert_int_equal(lines("\"status\":404"), 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_tells_of_the_request),
        cmocka_unit_test(errors_only),
        cmocka_unit_test(off),
        cmocka_unit_test(lines_are_of_level_info),
        cmocka_unit_test(a_share_is_told_by_request_ids),
        cmocka_unit_test(an_error_is_logged_whatever_the_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
