#include "common/rpc.h"

#include "common/clock.h"
#include "tests/lib/grpc_stream.h"
#include "tests/lib/rpc_fixture.h"
#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT "/test.Service/Count"
#define OPEN "/test.Service/Open"
#define TALK "/test.Service/Talk"

static struct buf message;

static int setup(void **state)
{
    static struct rpc_fixture f;
    rpc_fixture_start(&f);
    buf_init(&message, 16 << 20);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    rpc_fixture_stop(*state, RPC_WAIT_MS);
    buf_free(&message);
    return 0;
}

static struct grpc_stream *open_stream(const struct rpc_fixture *f, const char *path)
{
    return grpc_stream_open(f->port, path, 60000);
}

/* A stream whose only request has been sent. */
static struct grpc_stream *ask(const struct rpc_fixture *f, const char *path, struct view request)
{
    struct grpc_stream *s = open_stream(f, path);
    grpc_stream_send(s, request);
    grpc_stream_half_close(s);
    return s;
}

static void check_status(struct grpc_stream *s, int expected)
{
    assert_int_equal(grpc_stream_status(s, &message, GRPC_STREAM_WAIT_MS), expected);
}

static void check_message(struct grpc_stream *s, struct view expected)
{
    assert_true(grpc_stream_receive(s, &message, GRPC_STREAM_WAIT_MS));
    assert_true(view_equal(buf_view(&message), expected));
}

static void check_no_more(struct grpc_stream *s)
{
    assert_false(grpc_stream_receive(s, &message, GRPC_STREAM_WAIT_MS));
}

static bool each_ended_call_was_closed_once(void *f)
{
    static const char *const methods[] = {"test.Service/Count", "test.Service/Open",
                                          "test.Service/Talk"};
    uint64_t ended = 0;
    for (int i = 0; i < 3; i++)
        ended += rpc_fixture_count(f, methods[i], "OK") +
                 rpc_fixture_count(f, methods[i], "CANCELLED") +
                 rpc_fixture_count(f, methods[i], "INVALID_ARGUMENT");
    return ended == rpc_fixture_closed_count() && ended >= rpc_fixture_opened_count();
}

/* ---- server streaming ---- */

static void messages_arrive_in_order_and_end_ok(void **state)
{
    struct grpc_stream *s = ask(*state, COUNT, VIEW("1000"));
    for (int i = 1; i <= 1000; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        check_message(s, view_of(number));
    }
    check_no_more(s);
    check_status(s, 0);
    grpc_stream_close(s);
    assert_true(rpc_fixture_closed(1));
    assert_true(rpc_wait_until(each_ended_call_was_closed_once, *state));
    assert_int_equal(rpc_fixture_count(*state, "test.Service/Count", "OK"), 1);
}

static void a_stream_may_end_without_a_message(void **state)
{
    struct grpc_stream *s = ask(*state, COUNT, VIEW("0"));
    check_no_more(s);
    check_status(s, 0);
    grpc_stream_close(s);
    assert_true(rpc_fixture_closed(1));
}

static void a_request_that_never_comes_is_refused(void **state)
{
    struct grpc_stream *s = open_stream(*state, COUNT);
    grpc_stream_half_close(s);
    check_status(s, 3);
    grpc_stream_close(s);
    assert_true(rpc_fixture_closed(1));
}

static void a_caller_that_gives_up_closes_the_stream(void **state)
{
    struct grpc_stream *s = ask(*state, OPEN, VIEW("x"));
    assert_true(rpc_fixture_opened(1));
    grpc_stream_cancel(s);
    check_status(s, 1);
    grpc_stream_close(s);
    assert_true(rpc_fixture_closed(1));
    assert_true(rpc_wait_until(each_ended_call_was_closed_once, *state));
    assert_int_equal(rpc_fixture_count(*state, "test.Service/Open", "CANCELLED"), 1);
}

static void a_deadline_closes_the_stream(void **state)
{
    const struct rpc_fixture *f = *state;
    struct grpc_stream *s = grpc_stream_open(f->port, OPEN, 1500);
    grpc_stream_send(s, VIEW("x"));
    assert_true(rpc_fixture_opened(1));
    check_status(s, 4);
    grpc_stream_close(s);
    assert_true(rpc_fixture_closed(1));
}

static void giving_up_at_any_moment_closes_the_stream_once(void **state)
{
    for (int i = 0; i < 200; i++) {
        struct grpc_stream *s = ask(*state, COUNT, VIEW("100000"));
        for (int k = 0; k < i % 7; k++)
            assert_true(grpc_stream_receive(s, &message, GRPC_STREAM_WAIT_MS));
        grpc_stream_close(s);
    }
    assert_true(rpc_wait_until(each_ended_call_was_closed_once, *state));
    assert_true(rpc_fixture_closed_count() >= 200 - 29); /* those that were seen to be open */
}

static bool is_gone(void *call)
{
    return rpc_cancelled(call);
}

static bool held_call_ended(void *f)
{
    return rpc_fixture_count(f, "test.Service/Hold", "CANCELLED") == 1;
}

static void without_on_closed_a_call_stays_until_it_is_answered(void **state)
{
    struct grpc_stream *s = ask(*state, "/test.Service/Hold", VIEW("x"));
    struct rpc_call *call = rpc_fixture_kept();
    rpc_send(call, VIEW("one"));
    check_message(s, VIEW("one"));
    grpc_stream_close(s);
    assert_true(rpc_wait_until(is_gone, call));
    assert_false(held_call_ended(*state));
    rpc_end(call);
    assert_true(rpc_wait_until(held_call_ended, *state));
}

static void a_last_message_may_come_with_the_end(void **state)
{
    struct grpc_stream *s = ask(*state, "/test.Service/Hold", VIEW("x"));
    rpc_reply(rpc_fixture_kept(), VIEW("the only one"));
    check_message(s, VIEW("the only one"));
    check_no_more(s);
    check_status(s, 0);
    grpc_stream_close(s);
}

static void sending_too_early_ends_the_call(void **state)
{
    struct grpc_stream *s = ask(*state, "/test.Service/Hasty", VIEW("x"));
    check_message(s, VIEW("x"));
    check_no_more(s);
    check_status(s, 13);
    grpc_stream_close(s);
}

/* ---- bidirectional ---- */

static void each_message_is_answered(void **state)
{
    struct grpc_stream *s = open_stream(*state, TALK);
    for (int i = 0; i < 200; i++) {
        char text[32];
        snprintf(text, sizeof text, "message %d", i);
        grpc_stream_send(s, view_of(text));
        check_message(s, view_of(text));
    }
    grpc_stream_half_close(s);
    check_no_more(s);
    check_status(s, 0);
    grpc_stream_close(s);
    assert_true(rpc_fixture_closed(1));
}

static void messages_sent_ahead_are_answered_in_order(void **state)
{
    struct grpc_stream *s = open_stream(*state, TALK);
    for (int i = 0; i < 100; i++) {
        char text[32];
        snprintf(text, sizeof text, "message %d", i);
        grpc_stream_send(s, view_of(text));
    }
    grpc_stream_half_close(s);
    for (int i = 0; i < 100; i++) {
        char text[32];
        snprintf(text, sizeof text, "message %d", i);
        check_message(s, view_of(text));
    }
    check_no_more(s);
    check_status(s, 0);
    grpc_stream_close(s);
}

static void large_messages_pass_both_ways(void **state)
{
    static char large[3 << 20];
    struct grpc_stream *s = open_stream(*state, TALK);
    memset(large, 'x', sizeof large);
    for (int i = 0; i < 3; i++) {
        grpc_stream_send(s, (struct view){large, sizeof large});
        check_message(s, (struct view){large, sizeof large});
    }
    grpc_stream_close(s);
    assert_true(rpc_fixture_closed(1));
}

static void silence_ends_with_the_caller(void **state)
{
    struct grpc_stream *s = open_stream(*state, TALK);
    grpc_stream_half_close(s);
    check_status(s, 0);
    grpc_stream_close(s);
    assert_true(rpc_fixture_closed(1));
    s = open_stream(*state, TALK);
    grpc_stream_close(s); /* may never arrive */
    assert_true(rpc_wait_until(each_ended_call_was_closed_once, *state));
}

/* ---- sending from other threads ---- */

#define TICKERS 4

/* A stream that other threads write to, as the contract asks: under a lock that on_closed takes. */
static struct {
    pthread_mutex_t lock;
    struct rpc_call *call; /* NULL: closed, or not open yet */
    bool writable, closed;
    unsigned sent;
} ticker = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void ticker_open(struct rpc_call *call, struct view request, void *ctx)
{
    (void)request;
    (void)ctx;
    pthread_mutex_lock(&ticker.lock);
    ticker.call = call;
    ticker.writable = true;
    ticker.closed = false;
    pthread_mutex_unlock(&ticker.lock);
}

static void ticker_writable(struct rpc_call *call, void *ctx)
{
    (void)call;
    (void)ctx;
    pthread_mutex_lock(&ticker.lock);
    ticker.writable = true;
    pthread_mutex_unlock(&ticker.lock);
}

static void ticker_closed(struct rpc_call *call, void *ctx)
{
    (void)call;
    (void)ctx;
    pthread_mutex_lock(&ticker.lock);
    ticker.call = NULL;
    ticker.closed = true;
    pthread_mutex_unlock(&ticker.lock);
}

static const struct rpc_method ticker_methods[] = {
    {.path = "/test.Ticker/Tick",
     .kind = RPC_SERVER_STREAM,
     .on_request = ticker_open,
     .on_writable = ticker_writable,
     .on_closed = ticker_closed},
    {.path = NULL},
};

static void *tick(void *last)
{
    bool more = true;
    while (more) {
        pthread_mutex_lock(&ticker.lock);
        if (ticker.call && ticker.writable) {
            ticker.writable = false;
            ticker.sent++;
            rpc_send(ticker.call, VIEW("tick"));
            if (ticker.sent == *(unsigned *)last) {
                rpc_end(ticker.call);
                ticker.call = NULL;
            }
        }
        more = !ticker.closed && ticker.sent < *(unsigned *)last;
        pthread_mutex_unlock(&ticker.lock);
    }
    return NULL;
}

static void ticker_reset(void)
{
    pthread_mutex_lock(&ticker.lock);
    ticker.sent = 0;
    ticker.closed = false;
    pthread_mutex_unlock(&ticker.lock);
}

static struct rpc_server *ticker_start(void)
{
    struct rpc_server *server;
    struct rpc_options options = {.listen = "127.0.0.1:0",
                                  .threads = 2,
                                  .methods = ticker_methods,
                                  .gather_writes = rpc_fixture_gather};
    assert_int_equal(rpc_start(&options, &server, NULL), ERR_NONE);
    ticker_reset();
    return server;
}

static void threads_start(pthread_t threads[TICKERS], unsigned *last)
{
    for (int i = 0; i < TICKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, tick, last), 0);
}

static void threads_join(pthread_t threads[TICKERS])
{
    for (int i = 0; i < TICKERS; i++)
        pthread_join(threads[i], NULL);
}

static void what_other_threads_send_arrives(void **state)
{
    unsigned last = 300, received = 0;
    pthread_t threads[TICKERS];
    (void)state;
    struct rpc_server *server = ticker_start();
    struct grpc_stream *s = grpc_stream_open(rpc_port(server), "/test.Ticker/Tick", 60000);
    grpc_stream_send(s, VIEW("x"));
    threads_start(threads, &last);
    while (grpc_stream_receive(s, &message, GRPC_STREAM_WAIT_MS))
        received++;
    check_status(s, 0);
    threads_join(threads);
    assert_int_equal(received, 300);
    grpc_stream_close(s);
    rpc_stop(server, RPC_WAIT_MS);
}

static void callers_may_give_up_while_other_threads_send(void **state)
{
    unsigned last = UINT32_MAX;
    (void)state;
    struct rpc_server *server = ticker_start();
    for (int i = 0; i < 50; i++) {
        pthread_t threads[TICKERS];
        ticker_reset();
        struct grpc_stream *s = grpc_stream_open(rpc_port(server), "/test.Ticker/Tick", 60000);
        grpc_stream_send(s, VIEW("x"));
        threads_start(threads, &last);
        assert_true(grpc_stream_receive(s, &message, GRPC_STREAM_WAIT_MS));
        grpc_stream_close(s);
        threads_join(threads); /* they end when it is closed */
    }
    rpc_stop(server, RPC_WAIT_MS);
}

/* ---- stopping ---- */

static void open_streams_are_cancelled_after_the_grace_time(void **state)
{
    struct rpc_fixture f;
    (void)state;
    rpc_fixture_start(&f);
    struct grpc_stream *s = ask(&f, OPEN, VIEW("x"));
    assert_true(rpc_fixture_opened(1));
    struct grpc_stream *talk = open_stream(&f, TALK);
    grpc_stream_send(talk, VIEW("x"));
    check_message(talk, VIEW("x"));
    int64_t before = clock_monotonic_ms(&clock_system);
    rpc_fixture_stop(&f, 200);
    int64_t took = clock_monotonic_ms(&clock_system) - before;
    assert_true(took >= 200 && took < RPC_WAIT_MS);
    assert_true(rpc_fixture_closed(2));
    check_status(s, 14);
    check_status(talk, 14);
    grpc_stream_close(s);
    grpc_stream_close(talk);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static int run(bool gather, const char *name)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(messages_arrive_in_order_and_end_ok),
        WITH_SERVER(a_stream_may_end_without_a_message),
        WITH_SERVER(a_request_that_never_comes_is_refused),
        WITH_SERVER(a_caller_that_gives_up_closes_the_stream),
        WITH_SERVER(a_deadline_closes_the_stream),
        WITH_SERVER(giving_up_at_any_moment_closes_the_stream_once),
        WITH_SERVER(without_on_closed_a_call_stays_until_it_is_answered),
        WITH_SERVER(a_last_message_may_come_with_the_end),
        WITH_SERVER(sending_too_early_ends_the_call),
        WITH_SERVER(each_message_is_answered),
        WITH_SERVER(messages_sent_ahead_are_answered_in_order),
        WITH_SERVER(large_messages_pass_both_ways),
        WITH_SERVER(silence_ends_with_the_caller),
        WITH_SERVER(what_other_threads_send_arrives),
        WITH_SERVER(callers_may_give_up_while_other_threads_send),
        WITH_SERVER(open_streams_are_cancelled_after_the_grace_time),
    };
    rpc_fixture_gather = gather;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    int failed = run(false, "writes one by one");
    return failed + run(true, "writes gathered");
}
