#include "common/port_owner.h"

#include "tests/lib/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int listen_on(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void own_name(char *ret, size_t size)
{
    snprintf(ret, size, "test_port_owner (pid %d)", (int)getpid());
}

static void the_listening_process_is_found(void **state)
{
    uint16_t port;
    char found[128], expected[128];
    int fd = listen_on(&port);
    (void)state;
    own_name(expected, sizeof expected);
    assert_true(port_owner_find(port, found, sizeof found));
    assert_string_equal(found, expected);
    close(fd);
    assert_false(port_owner_find(port, found, sizeof found));
}

static void a_taken_port_is_told_with_its_owner(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "0.0.0.0", "localhost", ""};
    uint16_t port;
    char owner[128];
    int fd = listen_on(&port);
    (void)state;
    own_name(owner, sizeof owner);
    for (int i = 0; i < 4; i++) {
        char address[64];
        struct err_detail detail;
        snprintf(address, sizeof address, "%s:%u", hosts[i], (unsigned)port);
        assert_int_equal(port_owner_explain(address, &detail), ERR_UNAVAILABLE);
        assert_non_null(strstr(detail.text, address));
        assert_non_null(strstr(detail.text, strerrordesc_np(EADDRINUSE)));
        assert_non_null(strstr(detail.text, owner));
    }
    close(fd);
}

static void check_says(const char *address, const char *expected)
{
    struct err_detail detail;
    assert_int_equal(port_owner_explain(address, &detail), ERR_UNAVAILABLE);
    assert_non_null(strstr(detail.text, address));
    assert_non_null(strstr(detail.text, expected));
}

static void other_reasons_are_told(void **state)
{
    (void)state;
    check_says("192.0.2.1:1234", strerrordesc_np(EADDRNOTAVAIL));
    check_says("nonsense", "host:port");
    check_says("127.0.0.1:", "host:port");
    check_says("127.0.0.1:0", "gone by now");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_listening_process_is_found),
        cmocka_unit_test(a_taken_port_is_told_with_its_owner),
        cmocka_unit_test(other_reasons_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
