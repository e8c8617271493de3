#include "common/rpc.h"

#include "common/clock.h"
#include "tests/lib/rpc_fixture.h"
#include "tests/lib/unit.h"

#include <stdio.h>

#define ECHO "/test.Service/Echo"

static void an_absent_server_is_told_at_once(void **state)
{
    struct rpc_fixture f;
    struct err_detail detail;
    struct buf reply;
    (void)state;
    rpc_fixture_start(&f);
    rpc_fixture_stop(&f, 0); /* its port is free now */
    buf_init(&reply, 1024);
    int64_t before = clock_monotonic_ms(&clock_system);
    assert_int_equal(rpc_fixture_call(&f, ECHO, VIEW("x"), &reply, &detail), ERR_UNAVAILABLE);
    assert_true(clock_monotonic_ms(&clock_system) - before < RPC_WAIT_MS / 2);
    assert_true(detail.text[0] != '\0');
    buf_free(&reply);
}

struct probe {
    struct rpc_channel *channel;
    struct buf reply;
};

static bool is_answered(void *arg)
{
    struct probe *probe = arg;
    return rpc_call_unary(probe->channel, ECHO, VIEW("x"), 1000, &probe->reply, NULL) == ERR_NONE;
}

static void a_server_that_comes_back_is_found_again(void **state)
{
    struct rpc_fixture f;
    (void)state;
    rpc_fixture_start(&f);
    struct probe probe = {.channel = rpc_fixture_channel(&f)};
    buf_init(&probe.reply, 1024);
    assert_true(is_answered(&probe));
    uint16_t port = f.port;
    rpc_fixture_stop(&f, 0);
    assert_false(is_answered(&probe));
    rpc_fixture_start_on(&f, port);
    assert_true(rpc_wait_until(is_answered, &probe));
    rpc_channel_close(probe.channel);
    rpc_fixture_stop(&f, 0);
    buf_free(&probe.reply);
}

static void calls_go_round_all_addresses(void **state)
{
    struct rpc_fixture *a = *state, b;
    struct rpc_channel *channel;
    struct buf reply;
    char target[64];
    rpc_fixture_start(&b);
    buf_init(&reply, 1024);
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u,127.0.0.1:%u", (unsigned)a->port,
             (unsigned)b.port);
    assert_int_equal(rpc_channel_open(target, &channel, NULL), ERR_NONE);
    /* Until both are connected all calls go to one. */
    for (int i = 0; i < 10000 && (!rpc_fixture_count(a, "test.Service/Echo", "OK") ||
                                  !rpc_fixture_count(&b, "test.Service/Echo", "OK"));
         i++)
        assert_int_equal(rpc_call_unary(channel, ECHO, VIEW("x"), RPC_WAIT_MS, &reply, NULL),
                         ERR_NONE);
    assert_true(rpc_fixture_count(a, "test.Service/Echo", "OK") > 0);
    assert_true(rpc_fixture_count(&b, "test.Service/Echo", "OK") > 0);
    rpc_fixture_stop(&b, RPC_WAIT_MS); /* one is left, and no call fails */
    for (int i = 0; i < 100; i++)
        assert_int_equal(rpc_call_unary(channel, ECHO, VIEW("x"), RPC_WAIT_MS, &reply, NULL),
                         ERR_NONE);
    rpc_channel_close(channel);
    buf_free(&reply);
}

static void no_time_is_over_at_once(void **state)
{
    struct rpc_channel *channel = rpc_fixture_channel(*state);
    struct buf reply;
    buf_init(&reply, 1024);
    assert_int_equal(rpc_call_unary(channel, ECHO, VIEW("x"), 0, &reply, NULL), ERR_DEADLINE);
    assert_int_equal(rpc_call_unary(channel, ECHO, VIEW("x"), -5, &reply, NULL), ERR_DEADLINE);
    rpc_channel_close(channel);
    buf_free(&reply);
}

static void what_is_no_target_is_refused(void **state)
{
    struct rpc_channel *channel = NULL;
    struct err_detail detail;
    struct buf reply;
    (void)state;
    buf_init(&reply, 1024);
    enum err e = rpc_channel_open("nosuchscheme:///x:1:2", &channel, &detail);
    if (e == ERR_NONE) { /* core takes it for a name: then no call gets through */
        assert_int_equal(rpc_call_unary(channel, ECHO, VIEW("x"), 2000, &reply, &detail),
                         ERR_UNAVAILABLE);
        rpc_channel_close(channel);
    } else {
        assert_int_equal(e, ERR_INVALID);
    }
    buf_free(&reply);
}

#define WITH_SERVER(test) \
    cmocka_unit_test_setup_teardown(test, rpc_fixture_setup, rpc_fixture_teardown)

static int run(bool gather, const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_absent_server_is_told_at_once),
        cmocka_unit_test(a_server_that_comes_back_is_found_again),
        WITH_SERVER(calls_go_round_all_addresses),
        WITH_SERVER(no_time_is_over_at_once),
        cmocka_unit_test(what_is_no_target_is_refused),
    };
    rpc_fixture_gather = gather;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    int failed = run(false, "writes one by one");
    return failed + run(true, "writes gathered");
}
