#include "common/rpc.h"

#include "tests/lib/grpc_stream.h"
#include "tests/lib/rpc_fixture.h"
#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ECHO "/test.Service/Echo"
#define KEEP "/test.Service/Keep"

static void check_echo(const struct rpc_fixture *f, struct view message)
{
    assert_true(rpc_fixture_echoes(f, message));
}

static void messages_of_any_size_are_answered(void **state)
{
    static const size_t sizes[] = {1, 100, 16384, 100000, 4 << 20};
    static char message[4 << 20];
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (char)(i * 7);
    check_echo(*state, VIEW(""));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_echo(*state, (struct view){message, sizes[i]});
}

static void errors_arrive_with_their_status_and_message(void **state)
{
    static const struct {
        enum err sent, received;
    } errors[] = {
        {ERR_MALFORMED, ERR_INVALID},   {ERR_INVALID, ERR_INVALID},
        {ERR_NOT_FOUND, ERR_NOT_FOUND}, {ERR_UNAVAILABLE, ERR_UNAVAILABLE},
        {ERR_DEADLINE, ERR_DEADLINE},   {ERR_OUT_OF_RANGE, ERR_OUT_OF_RANGE},
        {ERR_BUSY, ERR_BUSY},           {ERR_MEMORY, ERR_BUSY},
        {ERR_CANCELLED, ERR_CANCELLED}, {ERR_UNIMPLEMENTED, ERR_UNIMPLEMENTED},
        {ERR_INTERNAL, ERR_INTERNAL},   {ERR_UNKNOWN_OUTCOME, ERR_INTERNAL},
        {ERR_NOT_ENDED, ERR_NOT_ENDED},
    };
    struct buf reply;
    buf_init(&reply, 1024);
    buf_add_text(&reply, "untouched");
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct err_detail detail;
        char number[8];
        snprintf(number, sizeof number, "%d", (int)errors[i].sent);
        assert_int_equal(
            rpc_fixture_call(*state, "/test.Service/Fail", view_of(number), &reply, &detail),
            errors[i].received);
        assert_string_equal(detail.text, "as you wish: \xC3\xA4?%");
        assert_string_equal(reply.data, "untouched");
    }
    buf_free(&reply);
}

static void an_unknown_method_is_named(void **state)
{
    struct err_detail detail;
    struct buf reply;
    buf_init(&reply, 1024);
    assert_int_equal(rpc_fixture_call(*state, "/test.Service/Nothing", VIEW("x"), &reply, &detail),
                     ERR_UNIMPLEMENTED);
    assert_non_null(strstr(detail.text, "/test.Service/Nothing"));
    assert_int_equal(rpc_fixture_call(*state, "/", VIEW("x"), &reply, &detail), ERR_UNIMPLEMENTED);
    buf_free(&reply);
}

static void a_request_beyond_4_mib_is_refused_and_others_go_on(void **state)
{
    static char message[(4 << 20) + 1];
    struct err_detail detail;
    struct buf reply;
    buf_init(&reply, 1024);
    for (int i = 0; i < 50; i++) /* more than the requests that wait in core */
        assert_int_equal(
            rpc_fixture_call(*state, ECHO, (struct view){message, sizeof message}, &reply, &detail),
            ERR_BUSY);
    check_echo(*state, VIEW("still there"));
    buf_free(&reply);
}

static void a_compressed_request_is_refused(void **state)
{
    static char message[1 << 20]; /* inflating is what costs memory */
    struct buf details;
    buf_init(&details, 1024);
    for (int i = 0; i < 50; i++) {
        struct grpc_stream *s =
            grpc_stream_open_gzip(((struct rpc_fixture *)*state)->port, ECHO, RPC_WAIT_MS);
        grpc_stream_send(s, (struct view){message, sizeof message});
        int status = grpc_stream_status(s, &details, GRPC_STREAM_WAIT_MS);
        if (status != 12 || !strstr(details.data, "gzip"))
            fail_msg("call %d ended with %d: %s", i, status, details.data);
        grpc_stream_close(s);
    }
    check_echo(*state, VIEW("still there"));
    buf_free(&details);
}

static void a_reply_larger_than_the_buffer_is_told(void **state)
{
    struct err_detail detail;
    struct buf reply;
    buf_init(&reply, 4);
    assert_int_equal(rpc_fixture_call(*state, ECHO, VIEW("12345"), &reply, &detail), ERR_MEMORY);
    buf_free(&reply);
}

/* ---- calls that are kept ---- */

struct caller {
    struct rpc_channel *channel;
    int64_t timeout_ms;
    enum err result;
    struct buf reply;
    pthread_t thread;
};

static void *call_keep(void *arg)
{
    struct caller *caller = arg;
    caller->result =
        rpc_call_unary(caller->channel, KEEP, VIEW("x"), caller->timeout_ms, &caller->reply, NULL);
    return NULL;
}

static void caller_start(struct caller *caller, const struct rpc_fixture *f, int64_t timeout_ms)
{
    *caller = (struct caller){.channel = rpc_fixture_channel(f), .timeout_ms = timeout_ms};
    buf_init(&caller->reply, 1024);
    assert_int_equal(pthread_create(&caller->thread, NULL, call_keep, caller), 0);
}

static enum err caller_join(struct caller *caller)
{
    pthread_join(caller->thread, NULL);
    rpc_channel_close(caller->channel);
    return caller->result;
}

static bool is_cancelled(void *call)
{
    return rpc_cancelled(call);
}

static bool is_late(void *call)
{
    return rpc_time_left_ms(call) <= 0;
}

static void a_kept_call_is_answered_from_another_thread(void **state)
{
    struct caller caller;
    caller_start(&caller, *state, RPC_WAIT_MS);
    struct rpc_call *call = rpc_fixture_kept();
    int64_t left = rpc_time_left_ms(call);
    bool cancelled = rpc_cancelled(call);
    rpc_reply(call, VIEW("late"));
    assert_true(left > 0 && left <= RPC_WAIT_MS + 100); /* core rounds up */
    assert_false(cancelled);
    assert_int_equal(caller_join(&caller), ERR_NONE);
    assert_string_equal(caller.reply.data, "late");
    buf_free(&caller.reply);
}

static void a_caller_without_a_deadline_has_all_time(void **state)
{
    struct caller caller;
    caller_start(&caller, *state, INT64_MAX);
    struct rpc_call *call = rpc_fixture_kept();
    int64_t left = rpc_time_left_ms(call);
    rpc_fail(call, ERR_NOT_FOUND, NULL);
    assert_true(left > 1000000000);
    assert_int_equal(caller_join(&caller), ERR_NOT_FOUND);
    buf_free(&caller.reply);
}

static void a_call_is_answered_after_its_caller_has_gone(void **state)
{
    struct rpc_fixture *f = *state;
    struct caller caller;
    caller_start(&caller, f, 100);
    struct rpc_call *call = rpc_fixture_kept();
    enum err e = caller_join(&caller);
    bool told = rpc_wait_until(is_cancelled, call);
    bool over = rpc_wait_until(is_late, call);
    rpc_reply(call, VIEW("nobody hears it"));
    assert_int_equal(e, ERR_DEADLINE);
    assert_true(told && over);
    buf_free(&caller.reply);
    check_echo(f, VIEW("and others go on"));
}

/* ---- many at once ---- */

#define THREADS 16
#define CALLS 63 /* times 16: about a thousand */

static void *answer_all(void *arg)
{
    (void)arg;
    for (int i = 0; i < THREADS * CALLS / 2; i++)
        rpc_reply(rpc_fixture_kept(), VIEW("kept"));
    return NULL;
}

struct many {
    struct rpc_channel *channel;
    atomic_int wrong;
};

static void *call_many(void *arg)
{
    struct many *many = arg;
    struct buf reply;
    buf_init(&reply, 1024);
    for (int i = 0; i < CALLS; i++) {
        char text[32];
        snprintf(text, sizeof text, "%d of %p", i, (void *)&reply);
        if (rpc_call_unary(many->channel, ECHO, view_of(text), RPC_WAIT_MS, &reply, NULL) !=
                ERR_NONE ||
            strcmp(reply.data, text) != 0)
            many->wrong++;
        if (rpc_call_unary(many->channel, KEEP, VIEW("x"), RPC_WAIT_MS, &reply, NULL) != ERR_NONE)
            many->wrong++;
    }
    buf_free(&reply);
    return NULL;
}

static void thousands_of_calls_by_many_threads_are_each_answered(void **state)
{
    struct many many = {.channel = rpc_fixture_channel(*state)};
    pthread_t callers[THREADS], keepers[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&keepers[i], NULL, answer_all, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&callers[i], NULL, call_many, &many), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(callers[i], NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(keepers[i], NULL);
    rpc_channel_close(many.channel);
    assert_int_equal(many.wrong, 0);
}

static void *burst(void *f)
{
    struct grpc_burst *b = grpc_burst_start(((struct rpc_fixture *)f)->port, KEEP, 1000);
    return (void *)(uintptr_t)grpc_burst_finish(b);
}

static void a_thousand_calls_are_open_at_the_same_time(void **state)
{
    static struct rpc_call *calls[1000];
    pthread_t thread;
    void *good;
    assert_int_equal(pthread_create(&thread, NULL, burst, *state), 0);
    for (int i = 0; i < 1000; i++)
        calls[i] = rpc_fixture_kept();
    for (int i = 0; i < 1000; i++)
        rpc_reply(calls[i], VIEW("done"));
    pthread_join(thread, &good);
    assert_int_equal((uintptr_t)good, 1000);
}

/* ---- counting ---- */

static bool counted(void *f)
{
    return rpc_fixture_count(f, "test.Service/Echo", "OK") == 3 &&
           rpc_fixture_count(f, "test.Service/Fail", "NOT_FOUND") == 1 &&
           rpc_fixture_count(f, "test.Service/Keep", "CANCELLED") == 1 &&
           rpc_fixture_count(f, "unknown", "UNIMPLEMENTED") == 1;
}

static void calls_are_counted_by_method_and_status(void **state)
{
    struct caller caller;
    struct buf reply;
    char number[8];
    buf_init(&reply, 1024);
    for (int i = 0; i < 3; i++)
        check_echo(*state, VIEW("x"));
    snprintf(number, sizeof number, "%d", (int)ERR_NOT_FOUND);
    assert_int_equal(rpc_fixture_call(*state, "/test.Service/Fail", view_of(number), &reply, NULL),
                     ERR_NOT_FOUND);
    assert_int_equal(rpc_fixture_call(*state, "/no/such", VIEW("x"), &reply, NULL),
                     ERR_UNIMPLEMENTED);
    caller_start(&caller, *state, 50);
    struct rpc_call *call = rpc_fixture_kept();
    caller_join(&caller);
    assert_true(rpc_wait_until(is_cancelled, call));
    rpc_reply(call, VIEW("x"));
    assert_true(rpc_wait_until(counted, *state));
    buf_free(&caller.reply);
    buf_free(&reply);
}

/* ---- stopping ---- */

static void *stop_slowly(void *f)
{
    rpc_fixture_stop(f, RPC_WAIT_MS);
    return NULL;
}

static bool listens_no_more(void *f)
{
    int fd = rpc_fixture_connect(((struct rpc_fixture *)f)->port);
    if (fd >= 0)
        close(fd);
    return fd < 0;
}

static void stopping_waits_for_calls_in_progress(void **state)
{
    struct rpc_fixture f;
    struct caller caller;
    pthread_t stopper;
    (void)state;
    rpc_fixture_start(&f);
    caller_start(&caller, &f, RPC_WAIT_MS);
    struct rpc_call *call = rpc_fixture_kept();
    assert_int_equal(pthread_create(&stopper, NULL, stop_slowly, &f), 0);
    assert_true(rpc_wait_until(listens_no_more, &f)); /* it is stopping */
    assert_false(rpc_cancelled(call));
    rpc_reply(call, VIEW("in time"));
    pthread_join(stopper, NULL);
    assert_int_equal(caller_join(&caller), ERR_NONE);
    assert_string_equal(caller.reply.data, "in time");
    buf_free(&caller.reply);
}

static void *stop_at_once(void *f)
{
    rpc_fixture_stop(f, 50);
    return NULL;
}

static void after_the_grace_time_calls_are_cancelled_and_their_keepers_waited_for(void **state)
{
    struct rpc_fixture f;
    struct caller caller;
    pthread_t stopper;
    (void)state;
    rpc_fixture_start(&f);
    caller_start(&caller, &f, RPC_WAIT_MS);
    struct rpc_call *call = rpc_fixture_kept();
    assert_int_equal(pthread_create(&stopper, NULL, stop_at_once, &f), 0);
    assert_true(rpc_wait_until(is_cancelled, call)); /* the grace time is over */
    assert_int_equal(caller_join(&caller), ERR_UNAVAILABLE);
    rpc_reply(call, VIEW("too late"));
    pthread_join(stopper, NULL);
    buf_free(&caller.reply);
}

#define WITH_SERVER(test) \
    cmocka_unit_test_setup_teardown(test, rpc_fixture_setup, rpc_fixture_teardown)

static int run(bool gather, const char *name)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(messages_of_any_size_are_answered),
        WITH_SERVER(errors_arrive_with_their_status_and_message),
        WITH_SERVER(an_unknown_method_is_named),
        WITH_SERVER(a_request_beyond_4_mib_is_refused_and_others_go_on),
        WITH_SERVER(a_compressed_request_is_refused),
        WITH_SERVER(a_reply_larger_than_the_buffer_is_told),
        WITH_SERVER(a_kept_call_is_answered_from_another_thread),
        WITH_SERVER(a_caller_without_a_deadline_has_all_time),
        WITH_SERVER(a_call_is_answered_after_its_caller_has_gone),
        WITH_SERVER(thousands_of_calls_by_many_threads_are_each_answered),
        WITH_SERVER(a_thousand_calls_are_open_at_the_same_time),
        WITH_SERVER(calls_are_counted_by_method_and_status),
        cmocka_unit_test(stopping_waits_for_calls_in_progress),
        cmocka_unit_test(after_the_grace_time_calls_are_cancelled_and_their_keepers_waited_for),
    };
    rpc_fixture_gather = gather;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    int failed = run(false, "writes one by one");
    return failed + run(true, "writes gathered");
}
