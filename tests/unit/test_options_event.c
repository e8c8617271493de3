/* OPTIONS /api/v1/events: the handshake of webhooks, and its setting.
 */
#include "http-gateway/webhook_origins.h"
#include "tests/lib/gateways.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct gateways g;
static struct raw_reply reply;
static char value[512];

static void start(char *origins)
{
    gateways_start(&g, &(struct gateways_options){.webhook_origins = origins});
}

static void ask(const char *headers)
{
    char request[1024];

    snprintf(request, sizeof request, "OPTIONS /api/v1/events HTTP/1.1\r\nHost: x\r\n%s\r\n",
             headers);
    raw_exchange(http_port(g.http[0]), request, &reply);
}

static void assert_plain(void)
{
    assert_int_equal(reply.status, 204);
    assert_true(raw_header(&reply, "Allow", value));
    assert_string_equal(value, "GET, HEAD, POST, OPTIONS");
    assert_true(raw_header(&reply, "Accept-Post", value));
    assert_non_null(strstr(value, "application/cloudevents+json"));
    assert_false(raw_header(&reply, "WebHook-Allowed-Origin", value));
    assert_false(raw_header(&reply, "WebHook-Allowed-Rate", value));
}

static void assert_consent(const char *origin)
{
    assert_int_equal(reply.status, 204);
    assert_true(raw_header(&reply, "Allow", value));
    assert_string_equal(value, "GET, HEAD, POST, OPTIONS");
    assert_true(raw_header(&reply, "WebHook-Allowed-Origin", value));
    assert_string_equal(value, origin);
    assert_true(raw_header(&reply, "WebHook-Allowed-Rate", value));
    assert_string_equal(value, "*");
}

#define ORIGIN(name) "WebHook-Request-Origin: " name "\r\n"

static void by_default_nobody_is_told_to_come(void **state)
{
    (void)state;
    start(NULL);
    ask("");
    assert_plain();
    ask(ORIGIN("events.example.com") "WebHook-Request-Rate: 120\r\n");
    assert_plain();
    ask(ORIGIN("none"));
    assert_plain();
    gateways_stop(&g);
}

static void named_origins_are_told(void **state)
{
    (void)state;
    start("events.example.com, Other.Example");
    ask("");
    assert_plain();
    ask(ORIGIN("events.example.com"));
    assert_consent("events.example.com");
    ask(ORIGIN(
        "EVENTS.example.COM") "WebHook-Request-Rate: 120\r\n"
                              "WebHook-Request-Callback: https://example.com/confirm?id=1\r\n");
    assert_consent("EVENTS.example.COM");
    ask(ORIGIN("other.example"));
    assert_consent("other.example");
    ask(ORIGIN("example.com"));
    assert_plain();
    ask(ORIGIN("more.events.example.com"));
    assert_plain();
    gateways_stop(&g);
}

static void any_origin_may_be_told(void **state)
{
    (void)state;
    start("*");
    ask(ORIGIN("anyone.example"));
    assert_consent("anyone.example");
    ask("");
    assert_plain();
    gateways_stop(&g);
}

static void malformed_requests_are_refused(void **state)
{
    static const char *const bad[] = {
        ORIGIN(""),
        ORIGIN("a b"),
        ORIGIN("*"),
        ORIGIN("https://example.com"),
        ORIGIN("example.com:443"),
        ORIGIN("example..com"),
        ORIGIN("-a.example"),
        ORIGIN("a.example") ORIGIN("b.example"),
        ORIGIN("a.example") "WebHook-Request-Rate: 0\r\n",
        ORIGIN("a.example") "WebHook-Request-Rate: -1\r\n",
        ORIGIN("a.example") "WebHook-Request-Rate: many\r\n",
        ORIGIN("a.example") "WebHook-Request-Rate: 1\r\nWebHook-Request-Rate: 1\r\n",
    };

    (void)state;
    start("*");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ask(bad[i]);
        if (reply.status != 400 || !strstr(reply.body, "WebHook-Request-"))
            fail_msg("%s: %d %s", bad[i], reply.status, reply.body);
        assert_false(raw_header(&reply, "WebHook-Allowed-Origin", value));
    }
    gateways_stop(&g);
}

static void the_setting_is_checked(void **state)
{
    static const char *const good[] = {"none", "*", "a", "a.example,b_c.example , d"};
    static const char *const bad[] = {"",    "a,",  ",a",  "a,,b",  "a b",
                                      "*,a", "a.*", "a/b", "none,", "a.example:80"};
    struct err_detail detail;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(webhook_origins_check(good[i], NULL), ERR_NONE);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (webhook_origins_check(bad[i], &detail) != ERR_INVALID)
            fail_msg("taken: %s", bad[i]);
        assert_non_null(strstr(detail.text, "--webhook-origins"));
    }
}

static void names_have_lengths(void **state)
{
    char name[300];

    (void)state;
    memset(name, 'a', sizeof name);
    assert_true(webhook_origin_is_valid((struct view){name, 63}));
    assert_false(webhook_origin_is_valid((struct view){name, 64}));
    for (size_t i = 63; i < sizeof name; i += 64)
        name[i] = '.';
    assert_true(webhook_origin_is_valid((struct view){name, 253}));
    assert_false(webhook_origin_is_valid((struct view){name, 254}));
    assert_false(webhook_origin_is_valid((struct view){name, 64})); /* ends with a dot */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_default_nobody_is_told_to_come),
        cmocka_unit_test(named_origins_are_told),
        cmocka_unit_test(any_origin_may_be_told),
        cmocka_unit_test(malformed_requests_are_refused),
        cmocka_unit_test(the_setting_is_checked),
        cmocka_unit_test(names_have_lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
