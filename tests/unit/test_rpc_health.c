#include "common/rpc.h"

#include "common/clock.h"
#include "tests/lib/grpc_stream.h"
#include "tests/lib/rpc_fixture.h"
#include "tests/lib/unit.h"

#include "grpc/health/v1/health.pb-c.h"

#include <pthread.h>
#include <stdlib.h>

#define CHECK "/grpc.health.v1.Health/Check"
#define WATCH "/grpc.health.v1.Health/Watch"
#define STATUS(word) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##word
#define UNKNOWN STATUS(SERVICE_UNKNOWN)
#define SERVING STATUS(SERVING)
#define NOT_SERVING STATUS(NOT_SERVING)

static struct buf message;

static int setup(void **state)
{
    static struct rpc_fixture f;
    rpc_fixture_start(&f);
    buf_init(&message, 1 << 20);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    rpc_fixture_stop(*state, RPC_WAIT_MS);
    buf_free(&message);
    return 0;
}

static struct view request(const char *service)
{
    static uint8_t bytes[2048];
    Grpc__Health__V1__HealthCheckRequest m;
    grpc__health__v1__health_check_request__init(&m);
    m.service = (char *)service;
    return (struct view){(char *)bytes, grpc__health__v1__health_check_request__pack(&m, bytes)};
}

/* The status in `message`. */
static int answered(void)
{
    Grpc__Health__V1__HealthCheckResponse *m =
        grpc__health__v1__health_check_response__unpack(NULL, message.len, (uint8_t *)message.data);
    assert_non_null(m);
    int status = (int)m->status;
    grpc__health__v1__health_check_response__free_unpacked(m, NULL);
    return status;
}

static enum err check(const struct rpc_fixture *f, struct view bytes)
{
    struct rpc_channel *channel = rpc_fixture_channel(f);
    enum err e = rpc_call_unary(channel, CHECK, bytes, RPC_WAIT_MS, &message, NULL);
    rpc_channel_close(channel);
    return e;
}

static void check_is(const struct rpc_fixture *f, const char *service, int expected)
{
    assert_int_equal(check(f, request(service)), ERR_NONE);
    assert_int_equal(answered(), expected);
}

static struct grpc_stream *watch(const struct rpc_fixture *f, const char *service)
{
    struct grpc_stream *s = grpc_stream_open(f->port, WATCH, 60000);
    grpc_stream_send(s, request(service));
    grpc_stream_half_close(s);
    return s;
}

static void check_told(struct grpc_stream *s, int expected)
{
    assert_true(grpc_stream_receive(s, &message, GRPC_STREAM_WAIT_MS));
    assert_int_equal(answered(), expected);
}

static void check_answers_what_was_set(void **state)
{
    const struct rpc_fixture *f = *state;
    check_is(f, "", NOT_SERVING);
    check_is(f, "test.Service", NOT_SERVING);
    rpc_health_set(f->server, "", true);
    check_is(f, "", SERVING);
    check_is(f, "test.Service", NOT_SERVING);
    rpc_health_set(f->server, "test.Service", true);
    check_is(f, "test.Service", SERVING);
    rpc_health_set(f->server, "", false);
    check_is(f, "", NOT_SERVING);
}

static void an_unknown_service_is_not_found_until_it_is_set(void **state)
{
    const struct rpc_fixture *f = *state;
    assert_int_equal(check(f, request("other")), ERR_NOT_FOUND);
    assert_int_equal(check(f, request("test.Servic")), ERR_NOT_FOUND);
    rpc_health_set(f->server, "other", true);
    check_is(f, "other", SERVING);
}

static void what_is_no_request_is_refused(void **state)
{
    char name[1001];
    memset(name, 'x', 1000);
    name[1000] = '\0';
    assert_int_equal(check(*state, VIEW("\xFF\xFF")), ERR_INVALID);
    assert_int_equal(check(*state, request(name)), ERR_INVALID);
    struct grpc_stream *s = grpc_stream_open(((struct rpc_fixture *)*state)->port, WATCH, 60000);
    grpc_stream_send(s, VIEW("\xFF\xFF"));
    assert_int_equal(grpc_stream_status(s, NULL, GRPC_STREAM_WAIT_MS), 3);
    grpc_stream_close(s);
}

static void watchers_are_told_of_each_change(void **state)
{
    const struct rpc_fixture *f = *state;
    struct grpc_stream *s = watch(f, "test.Service");
    check_told(s, NOT_SERVING);
    for (int i = 0; i < 20; i++) {
        rpc_health_set(f->server, "test.Service", true);
        check_told(s, SERVING);
        rpc_health_set(f->server, "test.Service", true); /* no change */
        rpc_health_set(f->server, "", true);             /* not this service */
        rpc_health_set(f->server, "test.Service", false);
        check_told(s, NOT_SERVING);
    }
    grpc_stream_close(s);
}

static void a_watcher_of_an_unknown_service_waits_for_it(void **state)
{
    const struct rpc_fixture *f = *state;
    struct grpc_stream *s = watch(f, "later");
    check_told(s, UNKNOWN);
    assert_int_equal(check(f, request("later")), ERR_NOT_FOUND); /* being watched is not known */
    rpc_health_set(f->server, "later", true);
    check_told(s, SERVING);
    grpc_stream_close(s);
}

static void changes_in_a_row_end_with_the_last_one(void **state)
{
    const struct rpc_fixture *f = *state;
    struct grpc_stream *s = watch(f, "");
    for (int i = 0; i < 1001; i++)
        rpc_health_set(f->server, "", i % 2 == 0);
    do {
        assert_true(grpc_stream_receive(s, &message, GRPC_STREAM_WAIT_MS));
    } while (answered() != SERVING);
    rpc_health_set(f->server, "", false);
    check_told(s, NOT_SERVING);
    grpc_stream_close(s);
}

static void *flip(void *f)
{
    for (int i = 0; i < 2000; i++)
        rpc_health_set(((struct rpc_fixture *)f)->server, "", i % 2 == 0);
    return NULL;
}

static void watchers_come_and_go_while_states_change(void **state)
{
    struct rpc_fixture *f = *state;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, flip, f), 0);
    for (int i = 0; i < 50; i++) {
        struct grpc_stream *s = watch(f, i % 3 ? "" : "unknown");
        assert_true(grpc_stream_receive(s, &message, GRPC_STREAM_WAIT_MS));
        grpc_stream_close(s);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void stopping_tells_watchers_and_does_not_wait_for_them(void **state)
{
    struct rpc_fixture f;
    struct grpc_stream *watchers[8];
    (void)state;
    rpc_fixture_start(&f);
    rpc_health_set(f.server, "", true);
    for (int i = 0; i < 8; i++) {
        watchers[i] = watch(&f, "");
        check_told(watchers[i], SERVING);
        assert_false(grpc_stream_receive(watchers[i], &message, 0)); /* asks for the next */
    }
    int64_t before = clock_monotonic_ms(&clock_system);
    rpc_fixture_stop(&f, 60000);
    assert_true(clock_monotonic_ms(&clock_system) - before < RPC_WAIT_MS);
    for (int i = 0; i < 8; i++) {
        check_told(watchers[i], NOT_SERVING);
        assert_int_equal(grpc_stream_status(watchers[i], &message, GRPC_STREAM_WAIT_MS), 14);
        assert_string_equal(message.data, "the server is stopping");
        grpc_stream_close(watchers[i]);
    }
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static int run(bool gather, const char *name)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(check_answers_what_was_set),
        WITH_SERVER(an_unknown_service_is_not_found_until_it_is_set),
        WITH_SERVER(what_is_no_request_is_refused),
        WITH_SERVER(watchers_are_told_of_each_change),
        WITH_SERVER(a_watcher_of_an_unknown_service_waits_for_it),
        WITH_SERVER(changes_in_a_row_end_with_the_last_one),
        WITH_SERVER(watchers_come_and_go_while_states_change),
        WITH_SERVER(stopping_tells_watchers_and_does_not_wait_for_them),
    };
    rpc_fixture_gather = gather;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    int failed = run(false, "writes one by one");
    return failed + run(true, "writes gathered");
}
