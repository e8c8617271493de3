#include "common/mem.h"
#include "tests/lib/changes_told.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

#define test(function) cmocka_unit_test_setup_teardown(function, served_begin, served_end)
#define test_small(function) cmocka_unit_test_setup_teardown(function, small_begin, small_end)

/* ---- live ---- */

static void test_changes_are_told_as_they_happen(void **state)
{
    struct served *served = *state;
    struct grpc_stream *stream = watch(served, 0, "", NOW);
    assert_true(begins(served, stream) == 0);
    five_changes(served);
    tells(served, stream, 4, ALL_FIVE);
    assert_int_equal(changes_watch_count(served->changes_watch), 1);
    grpc_stream_close(stream);
    assert_until(changes_watch_count(served->changes_watch) == 0);
}

static void test_only_what_matches_is_told(void **state)
{
    struct served *served = *state;
    struct grpc_stream *orders = watch(served, 0, "order.*", NOW);
    struct grpc_stream *ended = watch(served, 1u << STATUS_PROCESSED | 1u << STATUS_DEAD, "", NOW);
    struct grpc_stream *both = watch(served, 1u << STATUS_RETRYING, "order.>", NOW);
    begins(served, orders);
    begins(served, ended);
    begins(served, both);
    five_changes(served);
    tells(served, orders, 3, "processing 1@1 retrying 1@2 processed 1@5");
    tells(served, ended, 2, "dead 2@3 processed 1@5");
    tells(served, both, 1, "retrying 1@2");
    grpc_stream_close(orders);
    grpc_stream_close(ended);
    grpc_stream_close(both);
}

/* Those that stand at one place and want the same share what is made for one of them. */
static void test_many_are_told_each_its_own(void **state)
{
    static const char *const all[] = {
        "retrying 1@2 dead 2@3 processed 1@5 ",
        "dead 2@3 processed 1@5 ",
        "processed 1@5 ",
    };
    static const char again[] = "processing 3@6 retrying 3@7 dead 4@8 processed 3@10";
    enum { EACH = 3, KINDS = 3 };
    struct served *served = *state;
    struct grpc_stream *streams[KINDS][EACH], *ended[EACH], *orders[EACH];
    five_changes(served);
    until_folded(served, 5);
    for (int i = 0; i < EACH; i++) {
        for (int after = 0; after < KINDS; after++) {
            streams[after][i] = watch(served, 0, "", after + 1);
            assert_true(begins(served, streams[after][i]) == (uint64_t)after + 1);
        }
        ended[i] = watch(served, 1u << STATUS_PROCESSED | 1u << STATUS_DEAD, "", 1);
        orders[i] = watch(served, 0, "order.*", 1);
        begins(served, ended[i]);
        begins(served, orders[i]);
    }
    five_changes_from(served, 5);
    for (int i = 0; i < EACH; i++) {
        for (int after = 0; after < KINDS; after++) {
            char expected[200];
            snprintf(expected, sizeof expected, "%s%s", all[after], again);
            tells(served, streams[after][i], 7 - (size_t)after, expected);
            grpc_stream_close(streams[after][i]);
        }
        tells(served, ended[i], 4, "dead 2@3 processed 1@5 dead 4@8 processed 3@10");
        tells(served, orders[i], 5,
              "retrying 1@2 processed 1@5 processing 3@6 retrying 3@7 processed 3@10");
        grpc_stream_close(ended[i]);
        grpc_stream_close(orders[i]);
    }
}

static void test_from_now_on_begins_behind_what_is_known(void **state)
{
    struct served *served = *state;
    five_changes(served);
    until_folded(served, 5);
    struct grpc_stream *stream = watch(served, 0, "", NOW);
    assert_true(begins(served, stream) == 5);
    struct event_id id;
    uint64_t event = new_event(served, "x", &id);
    change(served, &id, event, processed, 0);
    tells(served, stream, 1, "processed 3@6");
    grpc_stream_close(stream);
}

static void test_a_stream_goes_on_after_any_position(void **state)
{
    struct served *served = *state;
    const char *const rest[] = {ALL_FIVE,
                                "retrying 1@2 dead 2@3 processed 1@5 processed 3@6",
                                "dead 2@3 processed 1@5 processed 3@6",
                                "processed 1@5 processed 3@6",
                                "processed 1@5 processed 3@6",
                                "processed 3@6"};
    const size_t counts[] = {4, 4, 3, 2, 2, 1};
    struct event_id id;
    five_changes(served);
    change(served, &id, new_event(served, "x", &id), processed, 0);
    for (int64_t after = 0; after <= 5; after++) {
        struct grpc_stream *stream = watch(served, 0, "", after);
        assert_true(begins(served, stream) == (uint64_t)after);
        if (after > 0)
            tells(served, stream, counts[after], rest[after]);
        grpc_stream_close(stream);
    }
    served_ends_with(served, watch(served, 0, "", 7), ERR_OUT_OF_RANGE);
    assert_non_null(strstr(served->message.data, "after_position 7 is beyond"));
}

/* Nobody knows what was in the hole, nor why it is there: the log is asked. */
static void test_a_hole_in_the_log_ends_those_that_are_live(void **state)
{
    struct served *served = *state;
    struct event_id id;
    five_changes(served);
    until_folded(served, 5);
    struct grpc_stream *stream = watch(served, 0, "", NOW);
    begins(served, stream);
    mem_world_set_readers(&served->asked->world, NULL, ERR_UNAVAILABLE);
    uint64_t event = new_event(served, "x", &id);
    assert_true(change(served, &id, event, processing, 0) == 6);
    assert_true(change(served, &id, event, processed, 6) == 7);
    bus_mem_delete(served->asked->world.statuses, 6);
    mem_world_set_readers(&served->asked->world, NULL, ERR_NONE);
    served_ends_with(served, stream, ERR_BUSY);
    assert_non_null(strstr(served->message.data, "go on after position 5"));
    stream = watch(served, 0, "", 5);
    assert_true(begins(served, stream) == 5);
    tells(served, stream, 1, "processed 3@7");
    grpc_stream_close(stream);
}

/* ---- slow clients ---- */

static void test_a_slow_client_is_ended_and_others_are_not(void **state)
{
    struct served *served = *state;
    struct grpc_stream *slow = watch(served, 0, "", NOW);
    struct grpc_stream *quick = watch(served, 0, "", NOW);
    struct told told = {.count = 0};
    buf_init(&told.words, 64 << 20);
    begins(served, quick);
    size_t count = 0;
    /* Flow control lets some hundred kilobytes through before the slow one is held up. */
    for (int round = 0; round < 20; round++) {
        uint64_t last = fill_ring(served);
        count += SMALL;
        while (told.position < last)
            receive(served, quick, &told);
        assert_int_equal(told.count, count);
    }
    buf_free(&told.words);
    /* It goes on after what it has got: nothing is lost, nothing is told twice. */
    uint64_t got = begins(served, slow);
    struct event_status_holder *holder;
    struct event_changes changes;
    while (grpc_stream_receive(slow, &served->message, GRPC_STREAM_WAIT_MS)) {
        assert_int_equal(event_changes_read(buf_view(&served->message), &holder, &changes),
                         ERR_NONE);
        assert_true(changes.position > got);
        got = changes.position;
        event_status_holder_free(holder);
    }
    char expected[64];
    served_ends_with(served, slow, ERR_BUSY);
    snprintf(expected, sizeof expected, "go on after position %llu", (unsigned long long)got);
    assert_non_null(strstr(served->message.data, expected));
    grpc_stream_close(quick);
}

/* ---- ends ---- */

static void test_what_cannot_be_watched_is_refused(void **state)
{
    struct served *served = *state;
    served_ends_with(served, watch(served, 1u << STATUS_ACCEPTED, "", NOW), ERR_INVALID);
    assert_non_null(strstr(served->message.data, "ACCEPTED is in the event log"));
    served_ends_with(served, watch(served, 0, "a..b", NOW), ERR_INVALID);
    assert_non_null(strstr(served->message.data, "name 'a..b' is no pattern"));
    buf_clear(&served->message);
    buf_add_text(&served->message, "\x0A\x7F");
    served_ends_with(served, served_call(served, EVENT_CHANGES_METHOD), ERR_MALFORMED);
    assert_non_null(strstr(served->message.data, "WatchEventsRequest"));
    assert_until(changes_watch_count(served->changes_watch) == 0);
}

static void test_a_rebuild_ends_the_streams(void **state)
{
    struct served *served = *state;
    five_changes(served);
    until_folded(served, 5);
    struct grpc_stream *stream = watch(served, 0, "", NOW);
    begins(served, stream);
    follower_rebuild(served->asked->follower, 1, "test");
    served_ends_with(served, stream, ERR_UNAVAILABLE);
    assert_non_null(strstr(served->message.data, "anew; go on after position 5"));
    stream = watch(served, 0, "", 3);
    assert_true(begins(served, stream) == 3);
    tells(served, stream, 1, "processed 1@5");
    grpc_stream_close(stream);
}

static void test_the_processors_end_ends_the_streams(void **state)
{
    struct served *served = *state;
    five_changes(served);
    until_folded(served, 5);
    struct grpc_stream *stream = watch(served, 0, "", NOW);
    begins(served, stream);
    changes_watch_end(served->changes_watch);
    served_ends_with(served, stream, ERR_UNAVAILABLE);
    assert_non_null(strstr(served->message.data, "shutting down; go on after position 5"));
    served_ends_with(served, watch(served, 0, "", 4), ERR_UNAVAILABLE);
    assert_non_null(strstr(served->message.data, "go on after position 4"));
    served_ends_with(served, watch(served, 0, "", NOW), ERR_UNAVAILABLE);
    assert_string_equal(served->message.data, "this processor is shutting down");
}

static void test_a_client_that_leaves_while_it_is_asked(void **state)
{
    struct served *served = *state;
    mem_world_close_gate(&served->asked->world);
    struct grpc_stream *stream = watch(served, 0, "", 99);
    assert_until(changes_watch_count(served->changes_watch) == 1);
    grpc_stream_close(stream);
    assert_until(changes_watch_count(served->changes_watch) == 0);
    mem_world_open_gate(&served->asked->world);
}

static void test_without_memory_there_is_no_watch(void **state)
{
    struct served *served = *state;
    struct changes_watch *none = NULL;
    const struct changes_watch_options options = {.changes = served->asked->changes};
    mem_fail_after(0);
    assert_int_equal(changes_watch_start(&options, &none), ERR_MEMORY);
    mem_fail_after(-1);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_changes_are_told_as_they_happen),
        test(test_only_what_matches_is_told),
        test(test_many_are_told_each_its_own),
        test(test_from_now_on_begins_behind_what_is_known),
        test(test_a_stream_goes_on_after_any_position),
        test(test_a_hole_in_the_log_ends_those_that_are_live),
        test_small(test_a_slow_client_is_ended_and_others_are_not),
        test(test_what_cannot_be_watched_is_refused),
        test(test_a_rebuild_ends_the_streams),
        test(test_the_processors_end_ends_the_streams),
        test(test_a_client_that_leaves_while_it_is_asked),
        test(test_without_memory_there_is_no_watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
