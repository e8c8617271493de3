/* What does not fit into its lane, and when and where it comes back. */
#include "tests/lib/lane_world.h"
#include "tests/lib/unit.h"

/* For how long. */
static int64_t put_off(struct lane_world *w, struct held *held)
{
    assert_true(lanes_put_off(&w->lanes, held, w->now_ns));
    return held->place.delay_ms;
}

static void test_a_full_lane_puts_off_and_others_have_room(void **state)
{
    (void)state;
    static struct lane_world w;
    lane_world_open(&w, lane_world_two, 2, 8);
    assert_int_equal(lane_world_add(&w, 0, 50), 50 - 6);
    assert_int_equal(lane_world_add(&w, 1, 50), 50 - 6);
    lane_world_close(&w);
}

static void test_what_is_put_off_comes_back_at_the_handlers_pace(void **state)
{
    (void)state;
    static struct lane_world w;
    int64_t before_ms = 0;
    struct held *last = NULL;
    lane_world_open(&w, lane_world_two, 2, 8);
    (void)lane_world_add(&w, 0, 6);
    assert_int_equal(lane_world_start_all(&w, 0, &last), 6);
    lanes_end(&w.lanes, last, w.now_ns += 600 * (int64_t)MS); /* so each 100 ms one ends, about */
    (void)lane_world_add(&w, 0, 10);
    for (int i = 0; i < 100; i++) {
        int64_t delay_ms = put_off(&w, lane_world_make(&w, 0));
        if (i > 0)
            assert_in_range(delay_ms - before_ms, 79, 81);
        before_ms = delay_ms;
    }
    for (int i = 0; i < 250; i++)
        before_ms = put_off(&w, &w.held[0]);
    assert_in_range(before_ms, 20000, 30000);
    for (int i = 0; i < 1000; i++)
        before_ms = put_off(&w, &w.held[0]);
    assert_int_equal(before_ms, 30000);
    lane_world_close(&w);
}

/* That is a second. */
static void test_what_is_put_off_for_long_leaves_the_event_log(void **state)
{
    (void)state;
    static struct lane_world w;
    struct held *last = NULL;
    lane_world_open(&w, lane_world_two, 2, 8);
    (void)lane_world_add(&w, 0, 6);
    assert_int_equal(lane_world_start_all(&w, 0, &last), 6);
    lanes_end(&w.lanes, last, w.now_ns += 600 * (int64_t)MS);
    (void)lane_world_add(&w, 0, 10);
    for (int i = 0; i < 50; i++) {
        struct held *event = lane_world_make(&w, 0), *item = lane_world_make(&w, 0);
        event->source.log = STATUS_DELIVERY_EVENT;
        item->source.log = STATUS_DELIVERY_RETRY;
        bool is_long = put_off(&w, event) >= 1000;
        assert_int_equal(event->place.for_long, is_long);
        (void)put_off(&w, item); /* it is there already */
        assert_false(item->place.for_long);
    }
    assert_true(w.held[w.used - 2].place.for_long);
    lane_world_close(&w);
}

/* Nobody knows yet how long its runs take. */
static void test_no_more_wait_in_the_event_log_than_could_be_in_hand(void **state)
{
    (void)state;
    static struct lane_world w;
    enum { EVENTS = 1000 };
    size_t back = 0;
    lane_world_open(&w, lane_world_two, 2, 8);
    (void)lane_world_add(&w, 0, 6);
    (void)lane_world_start_all(&w, 0, NULL);
    struct held *event = lane_world_make(&w, 0);
    event->source.log = STATUS_DELIVERY_EVENT;
    for (int i = 0; i < EVENTS; i++) {
        assert_int_equal(put_off(&w, event), 100);
        back += !event->place.for_long;
    }
    assert_int_equal(back, lanes_places(2, 8) / 2);
    w.now_ns += 200 * (int64_t)MS; /* they have come again */
    (void)put_off(&w, event);
    assert_false(event->place.for_long);
    lane_world_close(&w);
}

static void test_an_item_for_a_full_lane_need_not_be_taken_in_hand(void **state)
{
    (void)state;
    static struct lane_world w;
    int64_t delay_ms = 0;
    lane_world_open(&w, lane_world_two, 2, 8);
    assert_false(lanes_put_off_item(&w.lanes, handlers_at(w.handlers, 0), w.now_ns, &delay_ms));
    (void)lane_world_add(&w, 0, 6);
    assert_true(lanes_put_off_item(&w.lanes, handlers_at(w.handlers, 0), w.now_ns, &delay_ms));
    assert_int_equal(delay_ms, 100);
    assert_false(lanes_put_off_item(&w.lanes, handlers_at(w.handlers, 1), w.now_ns, &delay_ms));
    lane_world_close(&w);
    lane_world_open(&w, &lane_world_two[1], 1, 8); /* who would be served by putting off? */
    (void)lane_world_add(&w, 0, 300);
    assert_false(lanes_put_off_item(&w.lanes, handlers_at(w.handlers, 0), w.now_ns, &delay_ms));
    lane_world_close(&w);
}

static void test_payloads_of_one_leave_room_for_others(void **state)
{
    (void)state;
    static struct lane_world w;
    static const char bytes[300] = "";
    lane_world_open(&w, lane_world_two, 2, 8);
    w.record.payload = (struct view){bytes, sizeof bytes};
    assert_int_equal(lane_world_add(&w, 0, 5), 4); /* of 1000 bytes each handler may have half */
    w.record.payload.len = 900;
    assert_int_equal(lane_world_add(&w, 1, 2), 1); /* one, whatever its size */
    lane_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_lane_puts_off_and_others_have_room),
        cmocka_unit_test(test_what_is_put_off_comes_back_at_the_handlers_pace),
        cmocka_unit_test(test_what_is_put_off_for_long_leaves_the_event_log),
        cmocka_unit_test(test_no_more_wait_in_the_event_log_than_could_be_in_hand),
        cmocka_unit_test(test_an_item_for_a_full_lane_need_not_be_taken_in_hand),
        cmocka_unit_test(test_payloads_of_one_leave_room_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
