#include "event-processor/lanes.h"

#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <stdlib.h>

enum { MS = 1000000, HELD = 400 };

/* Some handlers, their lanes, and deliveries of an empty payload. */
struct world {
    struct handlers *handlers;
    struct lanes lanes;
    struct bus_record record;
    struct held held[HELD];
    size_t used;
    int64_t now_ns;
};

static void open_world(struct world *w, const struct config_handler *list, size_t count,
                       uint32_t concurrency)
{
    struct config_handler copy[8];
    struct config_handlers config = {.list = copy, .count = count};
    struct handler_tools tools = {.concurrency = concurrency};
    *w = (struct world){.now_ns = 1000 * (int64_t)MS};
    memcpy(copy, list, count * sizeof *list);
    assert_int_equal(handlers_open(&config, &tools, &w->handlers, NULL), ERR_NONE);
    assert_int_equal(lanes_init(&w->lanes, w->handlers, concurrency, 1000), ERR_NONE);
}

static void close_world(struct world *w)
{
    lanes_free(&w->lanes);
    handlers_close(w->handlers);
}

static struct held *make(struct world *w, size_t handler)
{
    struct held *held = &w->held[w->used++];
    held->handler = handlers_at(w->handlers, handler);
    held->record = &w->record;
    return held;
}

/* Adds deliveries one by one; returns how many were put off. */
static size_t add(struct world *w, size_t handler, size_t count)
{
    size_t put_off = 0;
    for (size_t i = 0; i < count; i++) {
        struct held *rest;
        lanes_add(&w->lanes, make(w, handler), w->now_ns, &rest);
        for (; rest; rest = rest->next)
            put_off++;
    }
    return put_off;
}

/* Starts all that may; returns how many of that handler. */
static size_t start_all(struct world *w, size_t handler, struct held **last)
{
    struct held *held;
    size_t count = 0;
    while ((held = lanes_take(&w->lanes)) != NULL) {
        lanes_begin(&w->lanes, held, w->now_ns);
        if (held->handler->index != handler)
            continue;
        count++;
        if (last)
            *last = held;
    }
    return count;
}

#define SIMULATE(pattern)                      \
    {                                          \
        .match = (pattern), .kind = "simulate" \
    }
static const struct config_handler two[] = {SIMULATE("a"), SIMULATE(">")};

/* ---- shares ---- */

static void test_one_handler_gets_all(void **state)
{
    (void)state;
    static struct world w;
    open_world(&w, &two[1], 1, 10);
    assert_int_equal(add(&w, 0, 300), 0);
    assert_int_equal(start_all(&w, 0, NULL), 10);
    assert_false(lanes_may_take(&w.lanes));
    close_world(&w);
}

static void test_who_has_much_leaves_others_a_way(void **state)
{
    (void)state;
    static struct world w;
    open_world(&w, two, 2, 32); /* eight are kept for each */
    (void)add(&w, 0, 60);
    assert_int_equal(start_all(&w, 0, NULL), 24);
    (void)add(&w, 1, 10);
    assert_int_equal(start_all(&w, 1, NULL), 8);
    assert_int_equal(w.lanes.running, 32);
    close_world(&w);
}

static void test_a_handlers_own_limit(void **state)
{
    (void)state;
    static struct world w;
    struct config_handler list[] = {SIMULATE("a"), SIMULATE(">")};
    struct held *last = NULL;
    list[0].concurrency = 10;
    open_world(&w, list, 2, 32);
    (void)add(&w, 0, 20);
    (void)add(&w, 1, 40);
    assert_int_equal(start_all(&w, 0, &last), 10);
    assert_int_equal(w.lanes.running, 32); /* what was kept for it, it uses */
    lanes_end(&w.lanes, last, w.now_ns + MS);
    assert_true(lanes_may_take(&w.lanes));
    close_world(&w);
}

static void test_turns_are_taken(void **state)
{
    (void)state;
    static struct world w;
    open_world(&w, two, 2, 8);
    (void)add(&w, 0, 3);
    (void)add(&w, 1, 3);
    size_t turns[6];
    for (size_t i = 0; i < 6; i++)
        turns[i] = lanes_take(&w.lanes)->handler->index;
    for (size_t i = 1; i < 6; i++)
        assert_int_not_equal(turns[i], turns[i - 1]);
    close_world(&w);
}

static void test_what_ends_at_once_needs_no_share(void **state)
{
    (void)state;
    static struct world w;
    struct config_handler list[] = {SIMULATE("a"), {.match = ">", .kind = "log"}};
    open_world(&w, list, 2, 4);
    (void)add(&w, 0, 8);
    assert_int_equal(start_all(&w, 0, NULL), 4);
    (void)add(&w, 1, 4);
    assert_int_equal(start_all(&w, 1, NULL), 4);
    close_world(&w);
}

static void test_the_lanes_are_as_before_when_all_has_ended(void **state)
{
    (void)state;
    static struct world w;
    unsigned seed = 1;
    open_world(&w, two, 2, 7);
    for (int round = 0; round < 20000; round++) {
        struct held *rest = NULL, *held = &w.held[rand_r(&seed) % HELD];
        if (!held->handler) {
            held->next = NULL;
            held->handler = handlers_at(w.handlers, (size_t)rand_r(&seed) % 2);
            held->record = &w.record;
            held->began_ns = 0;
            lanes_add(&w.lanes, held, w.now_ns, &rest);
            if (rest)
                rest->handler = NULL;
        } else if (held->began_ns) {
            lanes_end(&w.lanes, held, w.now_ns);
            held->handler = NULL;
        }
        if (rand_r(&seed) % 2 && (held = lanes_take(&w.lanes)) != NULL)
            lanes_begin(&w.lanes, held, w.now_ns);
        w.now_ns += rand_r(&seed) % MS;
        assert_true(w.lanes.running + w.lanes.owed <= 7);
    }
    for (size_t i = 0; i < HELD; i++)
        if (w.held[i].handler && w.held[i].began_ns)
            lanes_end(&w.lanes, &w.held[i], w.now_ns);
    (void)lanes_clear(&w.lanes, true);
    assert_int_equal(w.lanes.running, 0);
    assert_int_equal(w.lanes.all_running, 0);
    assert_int_equal(w.lanes.owed, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(w.lanes.list[i].held, 0);
        assert_null(w.lanes.list[i].oldest);
        assert_null(w.lanes.list[i].newest);
    }
    close_world(&w);
}

/* ---- alone ---- */

static void test_alone_is_alone(void **state)
{
    (void)state;
    static struct world w;
    struct held *first, *rest;
    open_world(&w, two, 2, 8);
    (void)add(&w, 0, 1);
    first = lanes_take(&w.lanes);
    lanes_begin(&w.lanes, first, w.now_ns);
    struct held *alone = make(&w, 1);
    alone->alone = true;
    lanes_add(&w.lanes, alone, w.now_ns, &rest);
    (void)add(&w, 0, 1);
    assert_null(lanes_take(&w.lanes)); /* neither it nor what came later */
    lanes_end(&w.lanes, first, w.now_ns);
    assert_ptr_equal(lanes_take(&w.lanes), alone);
    lanes_begin(&w.lanes, alone, w.now_ns);
    assert_null(lanes_take(&w.lanes));
    lanes_end(&w.lanes, alone, w.now_ns);
    assert_null(lanes_take(&w.lanes)); /* its outcome is not recorded yet */
    lanes_end_alone(&w.lanes, alone);
    assert_non_null(lanes_take(&w.lanes));
    close_world(&w);
}

/* ---- time limits ---- */

static void test_limits_are_told_in_their_order(void **state)
{
    (void)state;
    static struct world w;
    struct config_handler list[] = {SIMULATE("a"), SIMULATE(">")};
    struct held *late = NULL, *runs[3];
    list[0].timeout_ms = 500;
    list[1].timeout_ms = 100;
    open_world(&w, list, 2, 8);
    assert_true(lanes_next_limit(&w.lanes, &late) == INT64_MAX);
    static const size_t handlers[] = {0, 1, 1};
    for (size_t i = 0; i < 3; i++) {
        (void)add(&w, handlers[i], 1);
        runs[i] = lanes_take(&w.lanes);
        lanes_begin(&w.lanes, runs[i], w.now_ns + (int64_t)i * MS);
    }
    assert_true(lanes_next_limit(&w.lanes, &late) == w.now_ns + 101 * (int64_t)MS);
    assert_ptr_equal(late, runs[1]);
    lanes_forget_limit(&w.lanes, runs[1]);
    lanes_forget_limit(&w.lanes, runs[1]);
    assert_true(lanes_next_limit(&w.lanes, &late) == w.now_ns + 102 * (int64_t)MS);
    assert_ptr_equal(late, runs[2]);
    lanes_end(&w.lanes, runs[2], w.now_ns);
    assert_true(lanes_next_limit(&w.lanes, &late) == w.now_ns + 500 * (int64_t)MS);
    lanes_end(&w.lanes, runs[0], w.now_ns);
    lanes_end(&w.lanes, runs[1], w.now_ns);
    assert_true(lanes_next_limit(&w.lanes, &late) == INT64_MAX);
    close_world(&w);
}

/* ---- what is put off ---- */

/* For how long. */
static int64_t put_off(struct world *w, struct held *held)
{
    assert_true(lanes_put_off(&w->lanes, held, w->now_ns));
    return held->place.delay_ms;
}

static void test_a_full_lane_puts_off_and_others_have_room(void **state)
{
    (void)state;
    static struct world w;
    open_world(&w, two, 2, 8);
    assert_int_equal(add(&w, 0, 50), 50 - 6);
    assert_int_equal(add(&w, 1, 50), 50 - 6);
    close_world(&w);
}

static void test_what_is_put_off_comes_back_at_the_handlers_pace(void **state)
{
    (void)state;
    static struct world w;
    int64_t before_ms = 0;
    struct held *last = NULL;
    open_world(&w, two, 2, 8);
    (void)add(&w, 0, 6);
    assert_int_equal(start_all(&w, 0, &last), 6);
    lanes_end(&w.lanes, last, w.now_ns += 600 * (int64_t)MS); /* so each 100 ms one ends, about */
    (void)add(&w, 0, 10);
    for (int i = 0; i < 100; i++) {
        int64_t delay_ms = put_off(&w, make(&w, 0));
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
    close_world(&w);
}

/* That is a second. */
static void test_what_is_put_off_for_long_leaves_the_event_log(void **state)
{
    (void)state;
    static struct world w;
    struct held *last = NULL;
    open_world(&w, two, 2, 8);
    (void)add(&w, 0, 6);
    assert_int_equal(start_all(&w, 0, &last), 6);
    lanes_end(&w.lanes, last, w.now_ns += 600 * (int64_t)MS);
    (void)add(&w, 0, 10);
    for (int i = 0; i < 50; i++) {
        struct held *event = make(&w, 0), *item = make(&w, 0);
        event->source.log = STATUS_DELIVERY_EVENT;
        item->source.log = STATUS_DELIVERY_RETRY;
        bool is_long = put_off(&w, event) >= 1000;
        assert_int_equal(event->place.for_long, is_long);
        (void)put_off(&w, item); /* it is there already */
        assert_false(item->place.for_long);
    }
    assert_true(w.held[w.used - 2].place.for_long);
    close_world(&w);
}

/* Nobody knows yet how long its runs take. */
static void test_no_more_wait_in_the_event_log_than_could_be_in_hand(void **state)
{
    (void)state;
    static struct world w;
    enum { EVENTS = 1000 };
    size_t back = 0;
    open_world(&w, two, 2, 8);
    (void)add(&w, 0, 6);
    (void)start_all(&w, 0, NULL);
    struct held *event = make(&w, 0);
    event->source.log = STATUS_DELIVERY_EVENT;
    for (int i = 0; i < EVENTS; i++) {
        assert_int_equal(put_off(&w, event), 100);
        back += !event->place.for_long;
    }
    assert_int_equal(back, lanes_places(2, 8) / 2);
    w.now_ns += 200 * (int64_t)MS; /* they have come again */
    (void)put_off(&w, event);
    assert_false(event->place.for_long);
    close_world(&w);
}

static void test_an_item_for_a_full_lane_need_not_be_taken_in_hand(void **state)
{
    (void)state;
    static struct world w;
    int64_t delay_ms = 0;
    open_world(&w, two, 2, 8);
    assert_false(lanes_put_off_item(&w.lanes, handlers_at(w.handlers, 0), w.now_ns, &delay_ms));
    (void)add(&w, 0, 6);
    assert_true(lanes_put_off_item(&w.lanes, handlers_at(w.handlers, 0), w.now_ns, &delay_ms));
    assert_int_equal(delay_ms, 100);
    assert_false(lanes_put_off_item(&w.lanes, handlers_at(w.handlers, 1), w.now_ns, &delay_ms));
    close_world(&w);
    open_world(&w, &two[1], 1, 8); /* who would be served by putting off? */
    (void)add(&w, 0, 300);
    assert_false(lanes_put_off_item(&w.lanes, handlers_at(w.handlers, 0), w.now_ns, &delay_ms));
    close_world(&w);
}

static void test_what_was_claimed_is_not_put_off(void **state)
{
    (void)state;
    static struct world w;
    open_world(&w, two, 2, 8);
    assert_true(add(&w, 0, 50) > 0);
    struct held *claimed = make(&w, 0), *alone = make(&w, 0);
    claimed->claim_position = 5;
    alone->alone = true;
    assert_false(lanes_put_off(&w.lanes, claimed, w.now_ns));
    assert_false(lanes_put_off(&w.lanes, alone, w.now_ns));
    struct held *rest;
    lanes_add(&w.lanes, claimed, w.now_ns, &rest);
    assert_null(rest);
    for (rest = lanes_clear(&w.lanes, false); rest; rest = rest->next)
        assert_ptr_not_equal(rest, claimed); /* nor given back while it can be run */
    assert_ptr_equal(lanes_clear(&w.lanes, true), claimed);
    close_world(&w);
}

static void test_payloads_of_one_leave_room_for_others(void **state)
{
    (void)state;
    static struct world w;
    static const char bytes[300] = "";
    open_world(&w, two, 2, 8);
    w.record.payload = (struct view){bytes, sizeof bytes};
    assert_int_equal(add(&w, 0, 5), 4); /* of 1000 bytes each handler may have half */
    w.record.payload.len = 900;
    assert_int_equal(add(&w, 1, 2), 1); /* one, whatever its size */
    close_world(&w);
}

/* ---- what is wanted ---- */

static void test_one_handler_wants_what_it_gets_through(void **state)
{
    (void)state;
    static struct world w;
    struct held *last = NULL;
    open_world(&w, &two[1], 1, 100);
    struct lanes_want want = lanes_want(&w.lanes, w.now_ns);
    assert_int_equal(want.most, 100);
    assert_int_equal(want.places, 1);
    (void)add(&w, 0, 1);
    (void)start_all(&w, 0, &last);
    lanes_end(&w.lanes, last, w.now_ns += 100 * (int64_t)MS);
    want = lanes_want(&w.lanes, w.now_ns);
    assert_in_range(want.most, 295, 300);
    assert_in_range(want.places, 64, 67);
    close_world(&w);
}

static void test_a_full_lane_is_not_fetched_for(void **state)
{
    (void)state;
    static struct world w;
    open_world(&w, two, 2, 8);
    struct lanes_want want = lanes_want(&w.lanes, w.now_ns);
    assert_int_equal(want.most, 12);
    assert_int_equal(want.places, 1);
    assert_int_equal(want.fit, 6);
    (void)add(&w, 0, 4);
    want = lanes_want(&w.lanes, w.now_ns); /* room for two more of it */
    assert_int_equal(want.fit, 2);
    assert_int_equal(want.places, 1);
    (void)add(&w, 0, 2);
    want = lanes_want(&w.lanes, w.now_ns); /* until it has room again, or the time is over */
    assert_int_equal(want.places, 7);
    assert_int_equal(want.fit, 6); /* what others may have room for */
    close_world(&w);
}

static void test_who_finds_something_behind_a_full_lane_goes_on(void **state)
{
    (void)state;
    static struct world w;
    struct held *rest;
    open_world(&w, two, 2, 8);
    (void)add(&w, 0, 6);
    struct held *one = make(&w, 0), *other = make(&w, 1);
    one->next = other;
    lanes_add(&w.lanes, one, w.now_ns, &rest);
    assert_ptr_equal(rest, one);
    assert_null(rest->next);
    assert_int_equal(lanes_want(&w.lanes, w.now_ns).places, 1);
    close_world(&w);
}

static void test_places_are_enough_for_all(void **state)
{
    (void)state;
    assert_int_equal(lanes_places(1, 1), 65);
    assert_int_equal(lanes_places(1, 256), 1024);
    for (size_t handlers = 2; handlers < 100; handlers += 7)
        for (uint32_t runs = 1; runs <= 4096; runs *= 4)
            assert_true(lanes_places(handlers, runs) / handlers >= runs + 64);
}

static void test_short_memory(void **state)
{
    (void)state;
    static struct world w;
    open_world(&w, two, 2, 8);
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct lanes lanes;
        enum err e = lanes_init(&lanes, w.handlers, 8, 1000);
        assert_int_equal(e, each_failure_end(&f) ? ERR_MEMORY : ERR_NONE);
        if (!e)
            lanes_free(&lanes);
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_handler_gets_all),
        cmocka_unit_test(test_who_has_much_leaves_others_a_way),
        cmocka_unit_test(test_a_handlers_own_limit),
        cmocka_unit_test(test_turns_are_taken),
        cmocka_unit_test(test_what_ends_at_once_needs_no_share),
        cmocka_unit_test(test_the_lanes_are_as_before_when_all_has_ended),
        cmocka_unit_test(test_alone_is_alone),
        cmocka_unit_test(test_limits_are_told_in_their_order),
        cmocka_unit_test(test_a_full_lane_puts_off_and_others_have_room),
        cmocka_unit_test(test_what_is_put_off_comes_back_at_the_handlers_pace),
        cmocka_unit_test(test_what_is_put_off_for_long_leaves_the_event_log),
        cmocka_unit_test(test_no_more_wait_in_the_event_log_than_could_be_in_hand),
        cmocka_unit_test(test_an_item_for_a_full_lane_need_not_be_taken_in_hand),
        cmocka_unit_test(test_what_was_claimed_is_not_put_off),
        cmocka_unit_test(test_payloads_of_one_leave_room_for_others),
        cmocka_unit_test(test_one_handler_wants_what_it_gets_through),
        cmocka_unit_test(test_a_full_lane_is_not_fetched_for),
        cmocka_unit_test(test_who_finds_something_behind_a_full_lane_goes_on),
        cmocka_unit_test(test_places_are_enough_for_all),
        cmocka_unit_test(test_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
