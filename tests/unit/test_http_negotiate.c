/* Accept, If-None-Match, queries, and which route hides another, through a real server.
 */
#include "common/http.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"

#include <stdio.h>

static struct http_server *server;
static struct raw_reply reply;
static char value[512];

/* An answer with a tag, to queries of a and b. */
static enum err show(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    enum err e = http_query_only(r, (const char *const[]){"a", "b", NULL}, detail);

    (void)ctx;
    if (!e && !http_not_modified(r, response, VIEW("W/\"one, two\"")))
        buf_add_text(&response->body, "{}");
    return e;
}

static enum err fixed(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    (void)r;
    (void)detail;
    (void)ctx;
    buf_add_text(&response->body, "\"fixed\"");
    return ERR_NONE;
}

static const struct http_route routes[] = {
    {"GET", "/items/fixed", fixed, NULL},
    {"GET", "/items/{id}", show, "application/json"},
    {"POST", "/items/{id}", fixed, NULL},
    {NULL, NULL, NULL, NULL},
};

static int start(void **state)
{
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .connections = 8,
                                   .reserve = 2,
                                   .max_body = 1000,
                                   .request_timeout_ms = 5000,
                                   .idle_timeout_ms = 5000,
                                   .routes = routes};
    struct err_detail detail = {""};

    (void)state;
    if (http_start(&options, &server, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    http_stop(server);
    return 0;
}

static void send_line(const char *line, const char *headers)
{
    char request[2048];

    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: x\r\n%s\r\n", line, headers);
    raw_exchange(http_port(server), request, &reply);
}

static void must_be(int status, const char *for_what)
{
    if (reply.status != status)
        fail_msg("%s: %d %s", for_what, reply.status, reply.body);
}

static void the_most_specific_range_decides(void **state)
{
    static const struct {
        const char *accept;
        int status;
    } cases[] = {
        {"application/json", 200},
        {"application/json;q=0.001", 200},
        {"application/json;charset=utf-8", 200},
        {"text/html, */*;q=0.1", 200},
        {"application/json;q=0, application/json", 200},
        {"*/*;q=0, application/json", 200},
        {"application/problem+json, application/json;q=0", 200},
        {"application/json;q=0", 406},
        {"application/json; Q=0.000", 406},
        {"*/*;q=0", 406},
        {"application/*;q=0, */*", 406},
        {"text/html;q=1", 406},
        {"text/*", 406},
        {";q=1", 406},
    };
    char header[128];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(header, sizeof header, "Accept: %s\r\n", cases[i].accept);
        send_line("GET /items/7", header);
        must_be(cases[i].status, cases[i].accept);
    }
    assert_non_null(strstr(reply.body, "this is answered with application/json"));
}

static void tags_are_compared_weakly(void **state)
{
    static const struct {
        const char *headers;
        int status;
    } cases[] = {
        {"If-None-Match: W/\"one, two\"\r\n", 304},
        {"If-None-Match: \"one, two\"\r\n", 304},
        {"If-None-Match: *\r\n", 304},
        {"If-None-Match: \"a\", W/\"b\" , \"one, two\"\r\n", 304},
        {"If-None-Match: \"a\"\r\nIf-None-Match: W/\"one, two\"\r\n", 304},
        {"If-None-Match: \"one\", \"two\"\r\n", 200},
        {"If-None-Match: one, two\r\n", 200},
        {"If-None-Match: \"one, two\r\n", 200},
        {"If-None-Match: W/\r\n", 200},
        {"If-None-Match: W/*\r\n", 200},
        {"If-None-Match:\r\n", 200},
        {"", 200},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        send_line("GET /items/7", cases[i].headers);
        must_be(cases[i].status, cases[i].headers);
        assert_true(raw_header(&reply, "ETag", value));
        assert_string_equal(value, "W/\"one, two\"");
    }
}

/* What is sent after a 304 on the same connection is understood: it had no body. */
static void a_304_ends_with_its_head(void **state)
{
    int fd = raw_connect(http_port(server));

    (void)state;
    raw_send_text(fd, "GET /items/7 HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n");
    raw_receive(fd, true, &reply);
    must_be(304, "*");
    assert_false(raw_header(&reply, "Content-Type", value));
    raw_send_text(fd, "GET /items/7 HTTP/1.1\r\nHost: x\r\n\r\n");
    raw_receive(fd, false, &reply);
    must_be(200, "none");
    raw_close(fd);
}

static void queries_are_what_is_allowed(void **state)
{
    (void)state;
    send_line("GET /items/7?a=1&b=2", "");
    must_be(200, "a and b");
    send_line("GET /items/7?b&c=2", "");
    must_be(422, "c");
    assert_non_null(
        strstr(reply.body, "there is no query parameter \\\"c\\\" here; allowed: a, b"));
    send_line("GET /items/7?a=1&a=1", "");
    must_be(422, "a twice");
    assert_non_null(strstr(reply.body, "the query parameter a is given twice"));
}

static void the_first_pattern_hides_the_next(void **state)
{
    (void)state;
    send_line("GET /items/fixed", "");
    assert_string_equal(reply.body, "\"fixed\"");
    send_line("GET /items/%66ixed", ""); /* an item of that name is found so */
    assert_string_equal(reply.body, "{}");
    send_line("POST /items/fixed", "Content-Length: 0\r\n");
    must_be(405, "POST");
    assert_true(raw_header(&reply, "Allow", value));
    assert_string_equal(value, "GET, HEAD, OPTIONS");
    send_line("OPTIONS /items/7", "");
    assert_true(raw_header(&reply, "Allow", value));
    assert_string_equal(value, "GET, HEAD, POST, OPTIONS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_specific_range_decides),
        cmocka_unit_test(tags_are_compared_weakly),
        cmocka_unit_test(a_304_ends_with_its_head),
        cmocka_unit_test(queries_are_what_is_allowed),
        cmocka_unit_test(the_first_pattern_hides_the_next),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
