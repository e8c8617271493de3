/* Server-streaming calls, from the client's side.
 */
#include "common/clock.h"
#include "common/rpc.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/rpc_fixture.h"
#include "tests/lib/unit.h"

#include <stdio.h>

#define COUNT "/test.Service/Count"
#define OPEN "/test.Service/Open"

static struct rpc_reader *open_reader(struct rpc_channel *channel, const char *path,
                                      struct view request)
{
    struct rpc_reader *reader = NULL;

    assert_int_equal(rpc_reader_open(channel, path, request, &reader, NULL), ERR_NONE);
    return reader;
}

static void messages_come_in_order_and_end(void **state)
{
    struct rpc_channel *channel = rpc_fixture_channel(*state);
    struct rpc_reader *reader = open_reader(channel, COUNT, VIEW("1000"));
    struct buf message;
    enum err end = ERR_INTERNAL;
    char expected[16];

    buf_init(&message, 1024);
    for (int i = 1; i <= 1000; i++) {
        assert_int_equal(rpc_reader_next(reader, RPC_WAIT_MS, &message, &end, NULL),
                         RPC_READ_MESSAGE);
        snprintf(expected, sizeof expected, "%d", i);
        assert_string_equal(message.data, expected);
    }
    for (int i = 0; i < 2; i++) { /* once ended, it stays so */
        end = ERR_INTERNAL;
        assert_int_equal(rpc_reader_next(reader, RPC_WAIT_MS, &message, &end, NULL), RPC_READ_END);
        assert_int_equal(end, ERR_NONE);
    }
    rpc_reader_close(reader);
    rpc_channel_close(channel);
    buf_free(&message);
}

static void waiting_has_a_limit(void **state)
{
    struct rpc_channel *channel = rpc_fixture_channel(*state);
    struct rpc_reader *reader = open_reader(channel, OPEN, VIEW("x"));
    int64_t begin = clock_monotonic_ms(&clock_system);
    struct buf message;
    enum err end;

    buf_init(&message, 1024);
    assert_true(rpc_fixture_opened(1));
    for (int i = 0; i < 3; i++)
        assert_int_equal(rpc_reader_next(reader, 30, &message, &end, NULL), RPC_READ_NOTHING);
    assert_true(clock_monotonic_ms(&clock_system) - begin >= 90);
    assert_int_equal(rpc_fixture_closed_count(), 0);
    rpc_reader_close(reader); /* cancels it */
    assert_true(rpc_fixture_closed(1));
    rpc_channel_close(channel);
    buf_free(&message);
}

static void a_reader_may_be_closed_at_once_or_half_way(void **state)
{
    struct rpc_channel *channel = rpc_fixture_channel(*state);
    struct buf message;
    enum err end;

    buf_init(&message, 1024);
    for (int i = 0; i < 50; i++) {
        struct rpc_reader *reader = open_reader(channel, COUNT, VIEW("1000000"));

        for (int j = 0; j < i; j++)
            assert_int_equal(rpc_reader_next(reader, RPC_WAIT_MS, &message, &end, NULL),
                             RPC_READ_MESSAGE);
        rpc_reader_close(reader);
    }
    rpc_reader_close(NULL);
    rpc_channel_close(channel);
    buf_free(&message);
}

static void failures_are_told(void **state)
{
    struct rpc_fixture *f = *state, gone;
    struct rpc_channel *channel = rpc_fixture_channel(f);
    struct rpc_reader *reader = open_reader(channel, "/test.Service/None", VIEW("x"));
    struct err_detail detail = {""};
    struct buf message;
    enum err end = ERR_NONE;

    buf_init(&message, 1024);
    assert_int_equal(rpc_reader_next(reader, RPC_WAIT_MS, &message, &end, &detail), RPC_READ_END);
    assert_int_equal(end, ERR_UNIMPLEMENTED);
    assert_true(detail.text[0] != '\0');
    rpc_reader_close(reader);
    rpc_channel_close(channel);

    rpc_fixture_start(&gone);
    channel = rpc_fixture_channel(&gone);
    reader = open_reader(channel, OPEN, VIEW("x"));
    assert_int_equal(rpc_reader_next(reader, 0, &message, &end, &detail), RPC_READ_NOTHING);
    assert_true(rpc_fixture_opened(1));
    rpc_fixture_stop(&gone, 0); /* its server ends */
    assert_int_equal(rpc_reader_next(reader, RPC_WAIT_MS, &message, &end, &detail), RPC_READ_END);
    assert_true(end == ERR_UNAVAILABLE || end == ERR_CANCELLED);
    rpc_reader_close(reader);
    reader = open_reader(channel, OPEN, VIEW("x")); /* and nobody is there any more */
    assert_int_equal(rpc_reader_next(reader, RPC_WAIT_MS, &message, &end, &detail), RPC_READ_END);
    assert_int_equal(end, ERR_UNAVAILABLE);
    rpc_reader_close(reader);
    rpc_channel_close(channel);
    buf_free(&message);
}

static void what_has_no_room_is_told(void **state)
{
    struct rpc_channel *channel = rpc_fixture_channel(*state);
    struct rpc_reader *reader = open_reader(channel, COUNT, VIEW("100"));
    struct buf message;
    enum err end = ERR_NONE;
    int count = 0;

    buf_init(&message, 1); /* one digit */
    while (rpc_reader_next(reader, RPC_WAIT_MS, &message, &end, NULL) == RPC_READ_MESSAGE)
        count++;
    assert_int_equal(count, 9);
    assert_int_equal(end, ERR_MEMORY);
    rpc_reader_close(reader);
    rpc_channel_close(channel);
    buf_free(&message);
}

static void short_memory_is_told(void **state)
{
    struct rpc_channel *channel = rpc_fixture_channel(*state);
    struct rpc_reader *reader = NULL;

    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        enum err e = rpc_reader_open(channel, OPEN, VIEW("x"), &reader, NULL);
        bool failed = each_failure_end(&f);

        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
    }
    rpc_reader_close(reader);
    rpc_channel_close(channel);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rpc_fixture_setup, rpc_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(messages_come_in_order_and_end),
        TEST(waiting_has_a_limit),
        TEST(a_reader_may_be_closed_at_once_or_half_way),
        TEST(failures_are_told),
        TEST(what_has_no_room_is_told),
        TEST(short_memory_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
