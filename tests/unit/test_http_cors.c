/* CORS: what pages of other origins are allowed, through a real server.
 */
#include "common/http.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct http_server *server;
static struct raw_reply reply;
static char value[512];

static enum err show(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    (void)r;
    (void)detail;
    (void)ctx;
    buf_add_text(&response->body, "{}");
    return ERR_NONE;
}

static enum err more_options(struct http_request *r, struct http_response *response,
                             struct err_detail *detail, void *ctx)
{
    (void)r;
    (void)detail;
    (void)ctx;
    http_add_header(response, "X-More", VIEW("1"));
    return ERR_NONE;
}

static const struct http_route routes[] = {
    {"GET", "/items", show, NULL},
    {"POST", "/items", show, NULL},
    {"OPTIONS", "/items", more_options, NULL},
    {"DELETE", "/items/{id}", show, NULL},
    {NULL, NULL, NULL, NULL},
};

static void start(const char *origins)
{
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .connections = 8,
                                   .reserve = 2,
                                   .max_body = 1000,
                                   .request_timeout_ms = 5000,
                                   .idle_timeout_ms = 5000,
                                   .cors_origins = origins,
                                   .routes = routes};
    struct err_detail detail = {""};

    if (http_start(&options, &server, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
}

static void ask(const char *line, const char *headers)
{
    char request[2048];

    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: x\r\n%s\r\n", line, headers);
    raw_exchange(http_port(server), request, &reply);
}

/* NULL: absent. */
static void header_is(const char *name, const char *expected)
{
    bool there = raw_header(&reply, name, value);

    if (there != (expected != NULL) || (expected && strcmp(value, expected) != 0))
        fail_msg("%s: %s in %s", name, expected ? expected : "(none)", reply.head);
}

#define ORIGIN "Origin: https://app.example.com\r\n"
#define PREFLIGHT ORIGIN "Access-Control-Request-Method: POST\r\n"

static void nobody_is_allowed_by_default(void **state)
{
    static const char *const none[] = {NULL, "none"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        start(none[i]);
        ask("GET /items", ORIGIN);
        assert_int_equal(reply.status, 200);
        assert_null(strstr(reply.head, "Access-Control"));
        header_is("Vary", NULL);
        ask("OPTIONS /items", PREFLIGHT);
        assert_int_equal(reply.status, 204);
        assert_null(strstr(reply.head, "Access-Control"));
        http_stop(server);
    }
}

static void those_listed_are_allowed(void **state)
{
    static const char *const allowed[] = {"https://app.example.com", "http://localhost:3000",
                                          "http://[::1]:8080"};
    static const char *const others[] = {
        "https://app.example.com:8443", "http://app.example.com",    "https://example.com",
        "https://app.example.com.evil", "https://x.app.example.com", "null"};
    char header[200];

    (void)state;
    start("https://app.example.com, http://localhost:3000,http://[::1]:8080");
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        snprintf(header, sizeof header, "Origin: %s\r\n", allowed[i]);
        ask("GET /items", header);
        header_is("Access-Control-Allow-Origin", allowed[i]);
        header_is("Vary", "Origin");
        header_is("Access-Control-Expose-Headers",
                  "ETag, Link, Location, Preference-Applied, Retry-After, X-Request-Id");
        header_is("Access-Control-Allow-Credentials", NULL);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        snprintf(header, sizeof header, "Origin: %s\r\n", others[i]);
        ask("GET /items", header);
        assert_int_equal(reply.status, 200);
        assert_null(strstr(reply.head, "Access-Control"));
        header_is("Vary", "Origin"); /* a cache must not give them each other's answers */
    }
    ask("GET /items", "");
    header_is("Vary", "Origin");
    assert_null(strstr(reply.head, "Access-Control"));
    http_stop(server);
}

static void all_are_allowed_by_an_asterisk(void **state)
{
    (void)state;
    start("*");
    ask("GET /items", ORIGIN);
    header_is("Access-Control-Allow-Origin", "*");
    header_is("Access-Control-Allow-Credentials", NULL);
    header_is("Vary", NULL);               /* all get the same */
    ask("GET /items", "Origin: null\r\n"); /* a file's page, a sandboxed frame */
    header_is("Access-Control-Allow-Origin", "*");
    ask("OPTIONS /items", PREFLIGHT);
    header_is("Access-Control-Allow-Origin", "*");
    header_is("Access-Control-Allow-Credentials", NULL);
    http_stop(server);
}

/* Also by pages: they read why they were refused. */
static void problems_can_be_read(void **state)
{
    (void)state;
    start("https://app.example.com");
    ask("GET /nothing", ORIGIN);
    assert_int_equal(reply.status, 404);
    header_is("Access-Control-Allow-Origin", "https://app.example.com");
    ask("BREW /items", ORIGIN);
    assert_int_equal(reply.status, 501);
    http_stop(server);
}

static void preflights_are_answered(void **state)
{
    (void)state;
    start("https://app.example.com");
    ask("OPTIONS /items/7", ORIGIN "Access-Control-Request-Method: DELETE\r\n");
    assert_int_equal(reply.status, 204);
    header_is("Access-Control-Allow-Origin", "https://app.example.com");
    header_is("Access-Control-Allow-Methods", "DELETE, OPTIONS");
    header_is("Access-Control-Allow-Headers", NULL);
    header_is("Access-Control-Max-Age", "600");
    header_is("Allow", "DELETE, OPTIONS");
    /* a route's own answer to OPTIONS stays */
    ask("OPTIONS /items",
        PREFLIGHT "Access-Control-Request-Headers: ce-id, content-type,Idempotency-Key ,x-evil, "
                  "ce-, cookie,last-event-id,content-encoding\r\n");
    header_is("X-More", "1");
    header_is("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS");
    header_is("Access-Control-Allow-Headers",
              "ce-id, content-type, Idempotency-Key, last-event-id, content-encoding");
    /* no preflight, and another page's */
    ask("OPTIONS /items", ORIGIN);
    header_is("Access-Control-Allow-Methods", NULL);
    ask("OPTIONS /items",
        "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n");
    assert_int_equal(reply.status, 204);
    assert_null(strstr(reply.head, "Access-Control"));
    http_stop(server);
}

static void what_is_no_origin_is_told(void **state)
{
    static const char *const good[] = {"none",
                                       "*",
                                       "https://a",
                                       "http://a.b-c_d:80,app://x",
                                       "http://[2001:db8::1]",
                                       " https://a , https://b:1 "};
    static const char *const bad[] = {
        "",           "example.com", "https://",       "https://a/",      "https://a:",
        "https://a,", "https://a:b", "://a",           "https://a b",     "*, https://a",
        "http://[",   "http://[]",   "http://[::1",    "https://*.a.com", "none,https://a",
        "HTTPS://a",  "https:/a",    "https://a:80:1", "https://ä",       "https://a?b",
        "null"};
    struct err_detail detail;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (http_cors_check(good[i], &detail) != ERR_NONE)
            fail_msg("\"%s\": %s", good[i], detail.text);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (http_cors_check(bad[i], &detail) != ERR_INVALID ||
            !strstr(detail.text, "https://app.example.com:8443"))
            fail_msg("\"%s\" is taken for an origin", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_allowed_by_default),
        cmocka_unit_test(those_listed_are_allowed),
        cmocka_unit_test(all_are_allowed_by_an_asterisk),
        cmocka_unit_test(problems_can_be_read),
        cmocka_unit_test(preflights_are_answered),
        cmocka_unit_test(what_is_no_origin_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
