#include "event-processor/in_hand.h"

#include "tests/lib/mem_world.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

enum { LIMIT = 8, BYTES = 4 << 20, ACK_WAIT_MS = 30000 };

/* A consumer whose deliveries are taken in hand. */
struct hands {
    struct clock_manual clock;
    struct mem_world world;
    struct bus_consumer *consumer;
    struct in_hand *hand;
};

static int begin(void **state)
{
    static struct hands hands;
    clock_manual_init(&hands.clock, 1700000000000);
    mem_world_open_at(&hands.world, &hands.clock.base, 0);
    assert_int_equal(bus_consumer_open(hands.world.events,
                                       &(struct bus_consumer_spec){.group = "g",
                                                                   .ack_wait_ms = ACK_WAIT_MS,
                                                                   .max_ack_pending = 100},
                                       &hands.consumer),
                     ERR_NONE);
    assert_int_equal(in_hand_new(LIMIT, BYTES, &hands.clock.base, &hands.hand), ERR_NONE);
    *state = &hands;
    return 0;
}

static int end(void **state)
{
    struct hands *hands = *state;
    in_hand_free(hands->hand);
    bus_consumer_close(hands->consumer);
    mem_world_close(&hands->world);
    return 0;
}

static struct bus_delivery *fetch(struct hands *hands)
{
    struct bus_delivery *delivery = NULL;
    size_t count;
    assert_until(bus_fetch(hands->consumer, 100, &delivery, 1, &count) == ERR_NONE);
    return delivery;
}

static bool nothing_comes(struct hands *hands)
{
    struct bus_delivery *delivery;
    size_t count;
    return bus_fetch(hands->consumer, 0, &delivery, 1, &count) == ERR_DEADLINE;
}

static bool nothing_comes_later(struct hands *hands)
{
    clock_manual_advance(&hands->clock, 10 * ACK_WAIT_MS);
    return nothing_comes(hands);
}

static void publish(struct hands *hands, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct event_id id = {{0}};
        mem_world_event(&hands->world, "n", "hello", &id);
    }
}

enum { SMALL_ONES = 300 };

/* So many that no large ones are expected. */
static void settle_small_ones(struct hands *hands)
{
    publish(hands, SMALL_ONES);
    for (int i = 0; i < SMALL_ONES; i++)
        in_hand_settle(hands->hand, in_hand_take(hands->hand, fetch(hands)), BUS_ACK, 0);
}

static void test_places_are_bounded_and_come_back(void **state)
{
    struct hands *hands = *state;
    struct held *held[LIMIT];
    settle_small_ones(hands);
    publish(hands, LIMIT);
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT, 1, 0), LIMIT);
    assert_int_equal(in_hand_wait_room(hands->hand, 3, 1, 0), 3);
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT + 1, 1, 0), LIMIT);
    for (size_t i = 0; i < LIMIT; i++) {
        held[i] = in_hand_take(hands->hand, fetch(hands));
        assert_non_null(held[i]);
        assert_int_equal(held[i]->source.position, SMALL_ONES + i + 1);
    }
    assert_int_equal(in_hand_count(hands->hand), LIMIT);
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT, 1, 1), 0);
    assert_false(in_hand_wait_empty(hands->hand, 1));
    for (size_t i = 0; i < LIMIT; i++)
        in_hand_settle(hands->hand, held[(i + 3) % LIMIT], BUS_ACK, 0);
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT, LIMIT, 0), LIMIT);
    assert_true(in_hand_wait_empty(hands->hand, 0));
    assert_true(nothing_comes_later(hands));
}

static void test_what_is_set_aside_leaves_room_for_others(void **state)
{
    struct hands *hands = *state;
    struct held *held[LIMIT];
    settle_small_ones(hands);
    publish(hands, LIMIT);
    for (size_t i = 0; i < LIMIT; i++) {
        assert_int_equal(in_hand_wait_room(hands->hand, 1, 1, 0), 1);
        held[i] = in_hand_take(hands->hand, fetch(hands));
        assert_int_equal(in_hand_wait_room(hands->hand, 1, 1, 0), 0);
        if (i == LIMIT / 2)
            break;
        assert_true(in_hand_set_aside(hands->hand, held[i]));
        assert_true(in_hand_set_aside(hands->hand, held[i])); /* twice is once */
    }
    assert_false(in_hand_set_aside(hands->hand, held[LIMIT / 2]));
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT, 1, 0), LIMIT / 2 - 1);
    assert_false(in_hand_wait_empty(hands->hand, 1));
    in_hand_settle(hands->hand, held[0], BUS_ACK, 0);
    assert_true(in_hand_set_aside(hands->hand, held[LIMIT / 2]));
    for (size_t i = 1; i <= LIMIT / 2; i++)
        in_hand_settle(hands->hand, held[i], BUS_ACK, 0);
    assert_int_equal(in_hand_wait_room(hands->hand, 3, 1, 0), 3);
    assert_true(in_hand_wait_empty(hands->hand, 0));
}

static void test_a_position_is_in_hand_once_with_its_newest_delivery(void **state)
{
    struct hands *hands = *state;
    publish(hands, 1);
    struct held *held = in_hand_take(hands->hand, fetch(hands));
    assert_non_null(held);
    for (int i = 0; i < 3; i++) {
        clock_manual_advance(&hands->clock, ACK_WAIT_MS);
        struct bus_delivery *again = fetch(hands);
        assert_int_equal(again->delivered, i + 2);
        assert_null(in_hand_take(hands->hand, again));
        assert_int_equal(in_hand_count(hands->hand), 1);
        assert_ptr_equal(held->newest, again);
    }
    /* The first one's record is still what the handler works with. */
    assert_true(view_equal(held->record->payload, VIEW("hello")));
    in_hand_settle(hands->hand, held, BUS_ACK, 0);
    assert_true(nothing_comes_later(hands));
}

static void test_bytes_are_bounded_as_they_come(void **state)
{
    struct hands *hands = *state;
    static char large[1000000];
    struct held *held[LIMIT];
    memset(large, 'x', sizeof large - 1);
    for (int i = 0; i < LIMIT; i++) {
        struct event_id id = {{0}};
        mem_world_event(&hands->world, "n", large, &id);
    }
    /* At first large ones are expected; they come, and fill the bytes before the places. */
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT, 1, 0), 4);
    for (int i = 0; i < 4; i++)
        held[i] = in_hand_take(hands->hand, fetch(hands));
    assert_true(in_hand_bytes(hands->hand) >= 4 * sizeof large);
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT, 1, 1), 0);
    for (int i = 0; i < 4; i++)
        in_hand_settle(hands->hand, held[i], BUS_ACK, 0);
    assert_int_equal(in_hand_bytes(hands->hand), 0);
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT, LIMIT, UNTIL_LIMIT_MS), 4); /* at once */
    for (int i = 0; i < 4; i++)
        in_hand_settle(hands->hand, in_hand_take(hands->hand, fetch(hands)), BUS_ACK, 0);
    /* Small ones come, and there is room for more of them each time. */
    settle_small_ones(hands);
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT, 1, 0), LIMIT);
    assert_int_equal(in_hand_bytes(hands->hand), 0);
}

static void test_one_delivery_may_be_in_hand_whatever_its_size(void **state)
{
    struct hands *hands = *state;
    in_hand_free(hands->hand);
    assert_int_equal(in_hand_new(LIMIT, 2, &hands->clock.base, &hands->hand), ERR_NONE);
    publish(hands, 2);
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT, 1, 0), 1);
    struct held *held = in_hand_take(hands->hand, fetch(hands));
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT, 1, 1), 0);
    clock_manual_advance(&hands->clock, ACK_WAIT_MS);
    assert_null(in_hand_take(hands->hand, fetch(hands))); /* a second handle of it */
    in_hand_settle(hands->hand, held, BUS_ACK, 0);
    assert_int_equal(in_hand_bytes(hands->hand), 0);
    assert_int_equal(in_hand_wait_room(hands->hand, LIMIT, 1, 0), 1);
}

static void test_what_is_reported_in_time_does_not_come_again(void **state)
{
    struct hands *hands = *state;
    publish(hands, 2);
    struct held *one = in_hand_take(hands->hand, fetch(hands));
    struct held *other = in_hand_take(hands->hand, fetch(hands));
    for (int i = 0; i < 20; i++) {
        clock_manual_advance(&hands->clock, ACK_WAIT_MS / 2);
        in_hand_report(hands->hand, ACK_WAIT_MS / 3);
        assert_true(nothing_comes(hands));
    }
    in_hand_settle(hands->hand, one, BUS_LEAVE, 0);
    in_hand_settle(hands->hand, other, BUS_RETRY, 0);
    struct bus_delivery *returned = fetch(hands); /* at once */
    assert_int_equal(returned->record->position, 2);
    bus_settle(returned, BUS_ACK, 0);
    assert_true(nothing_comes(hands));
    clock_manual_advance(&hands->clock, ACK_WAIT_MS);
    bus_settle(fetch(hands), BUS_ACK, 0);
    assert_true(nothing_comes_later(hands));
}

static void test_the_end_leaves_what_is_in_hand(void **state)
{
    struct hands *hands = *state;
    publish(hands, 3);
    for (int i = 0; i < 3; i++)
        assert_non_null(in_hand_take(hands->hand, fetch(hands)));
    in_hand_free(hands->hand);
    assert_true(nothing_comes(hands));
    clock_manual_advance(&hands->clock, ACK_WAIT_MS);
    for (int i = 0; i < 3; i++)
        bus_settle(fetch(hands), BUS_ACK, 0);
    assert_int_equal(in_hand_new(LIMIT, BYTES, &hands->clock.base, &hands->hand), ERR_NONE);
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_places_are_bounded_and_come_back),
        test(test_what_is_set_aside_leaves_room_for_others),
        test(test_bytes_are_bounded_as_they_come),
        test(test_one_delivery_may_be_in_hand_whatever_its_size),
        test(test_a_position_is_in_hand_once_with_its_newest_delivery),
        test(test_what_is_reported_in_time_does_not_come_again),
        test(test_the_end_leaves_what_is_in_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
