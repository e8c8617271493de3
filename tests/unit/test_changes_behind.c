/* WatchEvents: streams that read what the ring no longer has. */
#include "tests/lib/changes_told.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

#define test_small(function) cmocka_unit_test_setup_teardown(function, small_begin, small_end)

static void test_what_the_ring_has_lost_is_read_from_the_log(void **state)
{
    struct served *served = *state;
    five_changes(served);
    uint64_t last = fill_ring(served);
    until_folded(served, last);
    struct grpc_stream *stream = watch(served, ~(1u << STATUS_ACCEPTED) & 60u, "", 0);
    struct grpc_stream *orders = watch(served, 0, "order.a", 1);
    assert_true(begins(served, stream) == 0);
    assert_true(begins(served, orders) == 1);
    tells(served, orders, 2, "retrying 1@2 processed 1@5");
    struct told told = {.count = 0};
    buf_init(&told.words, 1 << 20);
    while (told.position < last)
        receive(served, stream, &told);
    assert_int_equal(told.count, 4 + SMALL);
    assert_memory_equal(told.words.data, ALL_FIVE, strlen(ALL_FIVE));
    buf_free(&told.words);
    struct event_id id; /* both are live by now, or will be */
    uint64_t event = new_event(served, "order.a", &id);
    char expected[64];
    uint64_t position = change(served, &id, event, dead, 0);
    snprintf(expected, sizeof expected, "dead %llu@%llu", (unsigned long long)event,
             (unsigned long long)position);
    tells(served, stream, 1, expected);
    tells(served, orders, 1, expected);
    grpc_stream_close(stream);
    grpc_stream_close(orders);
}

/* More changes than a history has, each of which knows of none before; and each is told. */
static void test_one_event_with_many_changes_is_told_whole(void **state)
{
    struct served *served = *state;
    static struct status_change changes[STATUS_BATCH_MAX];
    struct event_id id;
    uint64_t event = new_event(served, "order.a", &id), last = 0;
    for (uint32_t generation = 0; generation < 12; generation++) {
        for (uint32_t i = 0; i < 1000; i++)
            changes[i] = (struct status_change){
                .id = id,
                .event_position = event,
                .state = {STATUS_RETRYING, .generation = generation, .attempt = i + 1},
                .time_ms = 1000};
        last = mem_world_batch(&served->asked->world, changes, 1000);
        mem_world_batch(&served->asked->world, changes, 1000); /* stored twice: all lose */
    }
    until_folded(served, last + 1);
    for (int i = 0; i < 2; i++) { /* of these, with a filter, only some */
        unsigned statuses = i == 0 ? 0 : 1u << STATUS_RETRYING;
        struct grpc_stream *stream = watch(served, statuses, "", 0);
        struct told told = {.count = 0};
        buf_init(&told.words, 1 << 20);
        begins(served, stream);
        while (told.position < last)
            receive(served, stream, &told);
        assert_int_equal(told.count, 12000);
        buf_free(&told.words);
        grpc_stream_close(stream);
    }
}

static void test_what_could_not_be_read_is_read_again(void **state)
{
    struct served *served = *state;
    five_changes(served);
    until_folded(served, fill_ring(served));
    bus_mem_set_unreadable(served->asked->world.bus, ERR_UNAVAILABLE); /* only histories are */
    struct grpc_stream *stream = watch(served, 0, "order.a", 0);
    begins(served, stream);
    assert_false(grpc_stream_receive(stream, &served->message, 500));
    bus_mem_set_unreadable(served->asked->world.bus, ERR_NONE);
    tells(served, stream, 3, "processing 1@1 retrying 1@2 processed 1@5");
    grpc_stream_close(stream);
}

static void tells_of_orders(struct served *served, unsigned statuses, size_t count,
                            const char *expected)
{
    struct grpc_stream *stream = watch(served, statuses, "order.*", 0);
    begins(served, stream);
    tells(served, stream, count, expected);
    grpc_stream_close(stream);
}

static void test_what_lost_in_its_own_batch_is_not_told(void **state)
{
    struct served *served = *state;
    struct event_id a, b, c;
    uint64_t first = new_event(served, "order.a", &a);
    uint64_t second = new_event(served, "order.b", &b);
    uint64_t third = new_event(served, "order.c", &c);
    struct status_change changes[] = {
        {.id = a, .event_position = first, .state = processed, .time_ms = 1000},
        {.id = a, .event_position = first, .state = dead, .time_ms = 1000}, /* loses */
        {.id = b, .event_position = second, .state = retrying, .time_ms = 1000},
        {.id = b, .event_position = second, .state = processing, .time_ms = 1000}, /* loses */
        {.id = b, .event_position = second, .state = processed, .time_ms = 1000},
        {.id = c, .event_position = third, .state = processing, .time_ms = 1000},
        {.id = c, .event_position = third, .state = dead, .time_ms = 1000},
    };
    assert_true(mem_world_batch(&served->asked->world, changes, 5) == 1);
    assert_true(mem_world_batch(&served->asked->world, changes + 5, 2) == 2);
    until_folded(served, fill_ring(served));
    tells_of_orders(served, 0, 5,
                    "processed 1@1 retrying 2@1 processed 2@1 processing 3@2 dead 3@2");
    tells_of_orders(served, 1u << STATUS_DEAD, 1, "dead 3@2");
    tells_of_orders(served, 1u << STATUS_PROCESSING, 1, "processing 3@2");
}

static void test_changes_of_replays_are_passed(void **state)
{
    struct served *served = *state;
    struct replay_change change = {.state = REPLAY_CANCELLED, .time_ms = 1000};
    id_make(&clock_system, &change.id);
    assert_true(mem_world_replay(&served->asked->world, &change) == 1);
    five_changes_from(served, 1);
    until_folded(served, fill_ring(served));
    struct grpc_stream *stream = watch(served, 0, "order.a", 0);
    begins(served, stream);
    tells(served, stream, 3, "processing 1@2 retrying 1@3 processed 1@6");
    grpc_stream_close(stream);
}

/* They have nothing to read, and so are not behind. */
static void test_many_begin_with_an_empty_log(void **state)
{
    struct served *served = *state;
    enum { MANY = CHANGES_BEHIND_MAX + 1 };
    static struct grpc_stream *streams[MANY];
    five_changes(served);
    until_folded(served, fill_ring(served));
    bus_mem_purge(served->asked->world.statuses);
    for (int i = 0; i < MANY; i++) {
        streams[i] = watch(served, 0, "", 0);
        begins(served, streams[i]);
    }
    for (int i = 0; i < MANY; i++)
        grpc_stream_close(streams[i]);
}

static void test_without_the_bus_those_behind_wait(void **state)
{
    struct served *served = *state;
    five_changes(served);
    until_folded(served, fill_ring(served));
    bus_mem_set_away(served->asked->world.bus, true);
    struct grpc_stream *stream = watch(served, 0, "order.a", 0);
    begins(served, stream);
    assert_false(grpc_stream_receive(stream, &served->message, 300));
    bus_mem_set_away(served->asked->world.bus, false);
    tells(served, stream, 3, "processing 1@1 retrying 1@2 processed 1@5");
    grpc_stream_close(stream);
}

static void test_a_rebuild_ends_those_behind(void **state)
{
    struct served *served = *state;
    five_changes(served);
    until_folded(served, fill_ring(served));
    bus_mem_set_away(served->asked->world.bus, true);
    struct grpc_stream *stream = watch(served, 0, "", 2);
    begins(served, stream);
    follower_rebuild(served->asked->follower, 1, "test");
    served_ends_with(served, stream, ERR_UNAVAILABLE);
    assert_non_null(strstr(served->message.data, "go on after position 2"));
    bus_mem_set_away(served->asked->world.bus, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_small(test_what_the_ring_has_lost_is_read_from_the_log),
        test_small(test_one_event_with_many_changes_is_told_whole),
        test_small(test_what_could_not_be_read_is_read_again),
        test_small(test_what_lost_in_its_own_batch_is_not_told),
        test_small(test_changes_of_replays_are_passed),
        test_small(test_many_begin_with_an_empty_log),
        test_small(test_without_the_bus_those_behind_wait),
        test_small(test_a_rebuild_ends_those_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
