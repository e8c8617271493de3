/* Where the server listens. */
#include "common/http.h"
#include "common/http_socket.h"
#include "tests/lib/unit.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct http_route routes[] = {{NULL, NULL, NULL, NULL}};

static struct http_options listening_on(const char *address)
{
    return (struct http_options){.listen = address,
                                 .connections = 1,
                                 .reserve = 1,
                                 .max_body = 1,
                                 .request_timeout_ms = 1,
                                 .idle_timeout_ms = 1,
                                 .routes = routes};
}

static void a_taken_address_says_by_whom(void **state)
{
    char listen[32], expected[64];
    struct http_options options = listening_on("127.0.0.1:0");
    struct http_server *server, *second;
    struct err_detail detail;

    (void)state;
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
    http_stop(server);
}

/* Debian 12's civetweb is built without IPv6, Debian 13's with it; a machine may have none. */
static void listens_on_ipv6_or_says_why_not(void **state)
{
    struct http_options options = listening_on("[::1]:0");
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct http_server *server;
    struct err_detail detail;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool machine = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;

    (void)state;
    if (fd >= 0)
        close(fd);
    if (!machine || !mg_check_feature(MG_FEATURES_IPV6)) {
        assert_int_equal(http_start(&options, &server, &detail), ERR_UNAVAILABLE);
        assert_non_null(strstr(detail.text, "cannot listen on [::1]:0: "));
        return;
    }
    assert_int_equal(http_start(&options, &server, &detail), ERR_NONE);
    fd = socket(AF_INET6, SOCK_STREAM, 0);
    loopback.sin6_port = htons(http_port(server));
    assert_int_equal(connect(fd, (struct sockaddr *)&loopback, sizeof loopback), 0);
    close(fd);
    http_stop(server);
}

static void a_peer_is_known_with_or_without_its_interface(void **state)
{
    (void)state;
    assert_int_not_equal(http_peer_parse("fe80::1", 80), 0);
    assert_int_equal(http_peer_parse("fe80::1%eth0", 80), http_peer_parse("fe80::1", 80));
    assert_int_not_equal(http_peer_parse("fe80::2%eth0", 80), http_peer_parse("fe80::1", 80));
    assert_int_equal(http_peer_parse("", 80), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_taken_address_says_by_whom),
        cmocka_unit_test(listens_on_ipv6_or_says_why_not),
        cmocka_unit_test(a_peer_is_known_with_or_without_its_interface),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
