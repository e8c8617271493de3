#include "common/rpc.h"

#include "tests/lib/each_failure.h"
#include "tests/lib/rpc_fixture.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void check_echo(const struct rpc_fixture *f, struct view message)
{
    assert_true(rpc_fixture_echoes(f, message));
}

/* ---- starting ---- */

static const struct rpc_method no_methods[] = {{.path = NULL}};

static void a_taken_address_is_told_with_its_owner(void **state)
{
    const struct rpc_fixture *f = *state;
    struct rpc_server *server = NULL;
    struct err_detail detail;
    char address[32], pid[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)f->port);
    struct rpc_options options = {.listen = address, .threads = 1, .methods = no_methods};
    assert_int_equal(rpc_start(&options, &server, &detail), ERR_UNAVAILABLE);
    assert_null(server);
    snprintf(pid, sizeof pid, " %d)", (int)getpid());
    assert_non_null(strstr(detail.text, address));
    assert_non_null(strstr(detail.text, pid));
}

static void a_foreign_address_is_told(void **state)
{
    struct rpc_server *server = NULL;
    struct err_detail detail;
    struct rpc_options options = {.listen = "192.0.2.1:1234", .threads = 1, .methods = no_methods};
    (void)state;
    assert_int_equal(rpc_start(&options, &server, &detail), ERR_UNAVAILABLE);
    assert_non_null(strstr(detail.text, "192.0.2.1:1234"));
    options.threads = 17;
    assert_int_equal(rpc_start(&options, &server, &detail), ERR_INVALID);
}

static void short_memory_at_the_start_is_told_and_nothing_leaks(void **state)
{
    struct rpc_options options = {.listen = "127.0.0.1:0",
                                  .threads = 1,
                                  .methods = no_methods,
                                  .gather_writes = rpc_fixture_gather};
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct rpc_server *server = NULL;
        enum err e = rpc_start(&options, &server, NULL);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        rpc_stop(server, 0);
    }
}

/* ---- connections and descriptors ---- */

static void many_connections_are_served(void **state)
{
    const struct rpc_fixture *f = *state;
    int fds[300];
    for (int i = 0; i < 300; i++)
        fds[i] = rpc_fixture_connect(f->port);
    check_echo(f, VIEW("beside them"));
    for (int i = 0; i < 300; i++) {
        char settings[9]; /* the head of an HTTP/2 frame: each was accepted */
        assert_true(fds[i] >= 0);
        assert_int_equal(recv(fds[i], settings, sizeof settings, MSG_WAITALL), 9);
        close(fds[i]);
    }
    check_echo(f, VIEW("after them"));
}

/* A connection is served if the server's first frame comes, and refused if its end does. */
static bool is_served(int fd)
{
    char head[9];
    return recv(fd, head, sizeof head, MSG_WAITALL) == sizeof head;
}

/* Makes connections from a process of its own, which has descriptors where this one has none, and
 * holds all of them until each is served or refused. */
static int served_elsewhere(uint16_t port, int count, const int report[2])
{
    int served = 0, status, fds[1000];
    pid_t child = fork();
    if (child == 0) {
        struct rlimit more;
        getrlimit(RLIMIT_NOFILE, &more);
        more.rlim_cur = more.rlim_max;
        setrlimit(RLIMIT_NOFILE, &more);
        for (int i = 0; i < count; i++)
            fds[i] = rpc_fixture_connect(port);
        for (int i = 0; i < count; i++)
            served += fds[i] >= 0 && is_served(fds[i]);
        _exit(write(report[1], &served, sizeof served) == sizeof served ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(report[0], &served, sizeof served), sizeof served);
    return served;
}

#define LOW_LIMIT 600 /* descriptors; an eighth is left to all else */

static void connections_beyond_the_limit_of_descriptors_are_closed(void **state)
{
    const struct rpc_fixture *f = *state;
    struct rlimit before, low;
    int report[2];
    assert_int_equal(pipe(report), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = LOW_LIMIT;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int served = served_elsewhere(f->port, 1000, report);
    close(report[0]);
    close(report[1]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(served > LOW_LIMIT / 2 && served <= LOW_LIMIT - LOW_LIMIT / 8);
    check_echo(f, VIEW("still there"));
}

static void running_out_of_descriptors_does_not_end_the_listener(void **state)
{
    const struct rpc_fixture *f = *state;
    int taken[LOW_LIMIT];
    int count = 0, report[2];
    struct rlimit before, low;
    assert_int_equal(pipe(report), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = LOW_LIMIT;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (count < LOW_LIMIT && (taken[count] = dup(0)) >= 0)
        count++;
    int served = served_elsewhere(f->port, 50, report);
    while (count)
        close(taken[--count]);
    close(report[0]);
    close(report[1]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_in_range(served, 0, 5); /* a descriptor may have become free meanwhile */
    check_echo(f, VIEW("still there"));
}

/* ---- age ---- */

static int begin_http2(uint16_t port)
{
    static const char preface[] =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0"; /* SETTINGS */
    int fd = rpc_fixture_connect(port);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, preface, sizeof preface, MSG_NOSIGNAL), sizeof preface);
    return fd;
}

/* The server acknowledges it: an idle client is told with the first thing that it is sent. */
static void send_settings(int fd)
{
    static const char frame[9] = {0, 0, 0, 4};
    assert_int_equal(send(fd, frame, sizeof frame, MSG_NOSIGNAL), sizeof frame);
}

/* Whether a GOAWAY is among the frames that have come; the rest is read away. */
static bool is_told_to_leave(int fd)
{
    unsigned char head[9], payload[64];
    if (recv(fd, head, sizeof head, MSG_DONTWAIT | MSG_PEEK) != sizeof head)
        return false;
    size_t len = (size_t)head[1] << 8 | head[2];
    assert_true(len <= sizeof payload);
    assert_int_equal(recv(fd, head, sizeof head, MSG_WAITALL), sizeof head);
    assert_int_equal(recv(fd, payload, len, MSG_WAITALL), len);
    if (head[3] == 7)
        assert_memory_equal(payload, "\x7f\xff\xff\xff\0\0\0\0", 8); /* what it has begun goes on */
    return head[3] == 7;
}

/* RFC 9113 section 6.8. */
static void old_connections_are_told_to_leave_and_no_call_fails(void **state)
{
    struct rpc_fixture f;
    struct buf reply;
    (void)state;
    rpc_fixture_age_ms = 100;
    rpc_fixture_start(&f);
    struct rpc_channel *channel = rpc_fixture_channel(&f);
    buf_init(&reply, 1024);
    for (int i = 0; i < 3; i++) {
        int fd = begin_http2(f.port);
        for (int calls = 0; !is_told_to_leave(fd); calls++) {
            assert_true(calls < 1000000);
            send_settings(fd);
            assert_int_equal(
                rpc_call_unary(channel, "/test.Service/Echo", VIEW("x"), RPC_WAIT_MS, &reply, NULL),
                ERR_NONE);
        }
        close(fd);
    }
    buf_free(&reply);
    rpc_channel_close(channel);
    rpc_fixture_stop(&f, 0);
    rpc_fixture_age_ms = 0;
}

#define WITH_SERVER(test) \
    cmocka_unit_test_setup_teardown(test, rpc_fixture_setup, rpc_fixture_teardown)

static int run(bool gather, const char *name)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_taken_address_is_told_with_its_owner),
        cmocka_unit_test(a_foreign_address_is_told),
        cmocka_unit_test(short_memory_at_the_start_is_told_and_nothing_leaks),
        WITH_SERVER(many_connections_are_served),
        WITH_SERVER(connections_beyond_the_limit_of_descriptors_are_closed),
        WITH_SERVER(running_out_of_descriptors_does_not_end_the_listener),
        cmocka_unit_test(old_connections_are_told_to_leave_and_no_call_fails),
    };
    rpc_fixture_gather = gather;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    int failed = run(false, "writes one by one");
    return failed + run(true, "writes gathered");
}
