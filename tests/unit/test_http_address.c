/* Where the server listens. */
#include "common/http.h"
#include "tests/lib/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct http_route routes[] = {{NULL, NULL, NULL, NULL}};

static void a_taken_address_says_by_whom(void **state)
{
    char listen[32], expected[64];
    struct http_options options = {.listen = listen,
                                   .connections = 1,
                                   .reserve = 1,
                                   .max_body = 1,
                                   .request_timeout_ms = 1,
                                   .idle_timeout_ms = 1,
                                   .routes = routes};
    struct http_server *server, *second;
    struct err_detail detail;

    (void)state;
    options.listen = "127.0.0.1:0";
    assert_int_equal(http_start(&options, &server, &detail), ERR_NONE);
    options.listen = listen;
    snprintf(listen, sizeof listen, "127.0.0.1:%u", http_port(server));
    assert_int_equal(http_start(&options, &second, &detail), ERR_UNAVAILABLE);
    snprintf(expected, sizeof expected, "by %.15s (pid %d)", program_invocation_short_name,
             getpid());
    if (!strstr(detail.text, expected) || !strstr(detail.text, listen))
        fail_msg("%s", detail.text);
    options.listen = "192.0.2.1:0";
    assert_int_equal(http_start(&options, &second, &detail), ERR_UNAVAILABLE);
    assert_non_null(strstr(detail.text, "Cannot assign requested address"));
    options.listen = "[::1]:0";
    assert_int_equal(http_start(&options, &second, &detail), ERR_UNAVAILABLE);
    http_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_taken_address_says_by_whom),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
