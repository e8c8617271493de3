#include "common/rpc.h"

#include "common/clock.h"
#include "tests/lib/free_port.h"
#include "tests/lib/rpc_fixture.h"
#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define ECHO "/test.Service/Echo"
#define FALTER "/test.Service/Falter"

static void an_absent_server_is_told_at_once(void **state)
{
    struct rpc_fixture f;
    struct err_detail detail;
    struct buf reply;
    (void)state;
    rpc_fixture_start_on(&f, free_port());
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
    rpc_fixture_start_on(&f, free_port());
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

#define CALLERS 4

struct callers {
    struct rpc_channel *channel;
    atomic_bool stop;
    atomic_uint good, failed;
};

static void *call_until_stopped(void *arg)
{
    struct callers *callers = arg;
    struct buf reply;
    struct err_detail detail;
    buf_init(&reply, 1024);
    while (!callers->stop) {
        if (rpc_call_unary(callers->channel, ECHO, VIEW("x"), RPC_WAIT_MS, &reply, &detail) ==
            ERR_NONE) {
            callers->good++;
        } else {
            callers->failed++;
            print_error("%s\n", detail.text);
        }
    }
    buf_free(&reply);
    return NULL;
}

struct served {
    struct rpc_fixture *fixture;
    uint64_t calls;
};

static bool has_served(void *arg)
{
    struct served *served = arg;
    return rpc_fixture_count(served->fixture, "test.Service/Echo", "OK") >= served->calls;
}

static void no_call_fails_while_servers_are_restarted_in_turn(void **state)
{
    struct rpc_fixture servers[2];
    struct callers callers = {0};
    pthread_t threads[CALLERS];
    char target[64];
    (void)state;
    for (int i = 0; i < 2; i++)
        rpc_fixture_start_on(&servers[i], free_port());
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u,127.0.0.1:%u", (unsigned)servers[0].port,
             (unsigned)servers[1].port);
    assert_int_equal(rpc_channel_open(target, &callers.channel, NULL), ERR_NONE);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_until_stopped, &callers), 0);
    for (int i = 0; i < 6; i++) {
        struct rpc_fixture *f = &servers[i % 2];
        struct served served = {f, 10}; /* it has calls before it goes */
        assert_true(rpc_wait_until(has_served, &served));
        uint16_t port = f->port;
        rpc_fixture_stop(f, RPC_WAIT_MS);
        rpc_fixture_start_on(f, port);
        assert_true(rpc_wait_until(has_served, &served));
    }
    callers.stop = true;
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    rpc_channel_close(callers.channel);
    for (int i = 0; i < 2; i++)
        rpc_fixture_stop(&servers[i], RPC_WAIT_MS);
    assert_true(callers.good > 0);
    assert_int_equal(callers.failed, 0);
}

/* A call that fails `times` times before it would succeed; ret_asked: how often it was made. */
static enum err falter(struct rpc_fixture *f, int times, int *ret_asked)
{
    struct buf reply;
    struct err_detail detail = {""};
    buf_init(&reply, 1024);
    rpc_fixture_falter = times;
    enum err e = rpc_fixture_call(f, FALTER, VIEW("x"), &reply, &detail);
    if (e)
        assert_string_equal(detail.text, "not now");
    else
        assert_true(view_equal(buf_view(&reply), VIEW("x")));
    buf_free(&reply);
    *ret_asked = times - rpc_fixture_falter;
    return e;
}

static void what_is_unavailable_is_tried_three_times(void **state)
{
    int asked;
    assert_int_equal(falter(*state, 2, &asked), ERR_NONE);
    assert_int_equal(asked, 3);
    assert_int_equal(falter(*state, 4, &asked), ERR_UNAVAILABLE);
    assert_int_equal(asked, 3);
}

static bool has_refused(void *f)
{
    return rpc_fixture_count(f, "test.Service/Fail", "RESOURCE_EXHAUSTED") > 0;
}

static void what_is_refused_is_not_tried_again(void **state)
{
    struct rpc_fixture *f = *state;
    struct buf reply;
    char number[16];
    buf_init(&reply, 1024);
    snprintf(number, sizeof number, "%d", ERR_BUSY);
    assert_int_equal(rpc_fixture_call(f, "/test.Service/Fail", view_of(number), &reply, NULL),
                     ERR_BUSY);
    assert_true(rpc_wait_until(has_refused, f));
    assert_int_equal(rpc_fixture_count(f, "test.Service/Fail", "RESOURCE_EXHAUSTED"), 1);
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
        cmocka_unit_test(no_call_fails_while_servers_are_restarted_in_turn),
        WITH_SERVER(what_is_unavailable_is_tried_three_times),
        WITH_SERVER(what_is_refused_is_not_tried_again),
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
