#include "event-processor/lanes.h"

#include "tests/lib/each_failure.h"
#include "tests/lib/lane_world.h"
#include "tests/lib/unit.h"

#include <stdlib.h>

/* ---- shares ---- */

static void test_one_handler_gets_all(void **state)
{
    (void)state;
    static struct lane_world w;
    lane_world_open(&w, &lane_world_two[1], 1, 10);
    assert_int_equal(lane_world_add(&w, 0, 300), 0);
    assert_int_equal(lane_world_start_all(&w, 0, NULL), 10);
    assert_false(lanes_may_take(&w.lanes));
    lane_world_close(&w);
}

static void test_who_has_much_leaves_others_a_way(void **state)
{
    (void)state;
    static struct lane_world w;
    lane_world_open(&w, lane_world_two, 2, 32); /* eight are kept for each */
    (void)lane_world_add(&w, 0, 60);
    assert_int_equal(lane_world_start_all(&w, 0, NULL), 24);
    (void)lane_world_add(&w, 1, 10);
    assert_int_equal(lane_world_start_all(&w, 1, NULL), 8);
    assert_int_equal(w.lanes.running, 32);
    lane_world_close(&w);
}

static void test_a_handlers_own_limit(void **state)
{
    (void)state;
    static struct lane_world w;
    struct config_handler list[] = {SIMULATE("a"), SIMULATE(">")};
    struct held *last = NULL;
    list[0].concurrency = 10;
    lane_world_open(&w, list, 2, 32);
    (void)lane_world_add(&w, 0, 20);
    (void)lane_world_add(&w, 1, 40);
    assert_int_equal(lane_world_start_all(&w, 0, &last), 10);
    assert_int_equal(w.lanes.running, 32); /* what was kept for it, it uses */
    lanes_end(&w.lanes, last, w.now_ns + MS);
    assert_true(lanes_may_take(&w.lanes));
    lane_world_close(&w);
}

static void test_turns_are_taken(void **state)
{
    (void)state;
    static struct lane_world w;
    lane_world_open(&w, lane_world_two, 2, 8);
    (void)lane_world_add(&w, 0, 3);
    (void)lane_world_add(&w, 1, 3);
    size_t turns[6];
    for (size_t i = 0; i < 6; i++)
        turns[i] = lanes_take(&w.lanes)->handler->index;
    for (size_t i = 1; i < 6; i++)
        assert_int_not_equal(turns[i], turns[i - 1]);
    lane_world_close(&w);
}

static void test_what_ends_at_once_needs_no_share(void **state)
{
    (void)state;
    static struct lane_world w;
    struct config_handler list[] = {SIMULATE("a"), {.match = ">", .kind = "log"}};
    lane_world_open(&w, list, 2, 4);
    (void)lane_world_add(&w, 0, 8);
    assert_int_equal(lane_world_start_all(&w, 0, NULL), 4);
    (void)lane_world_add(&w, 1, 4);
    assert_int_equal(lane_world_start_all(&w, 1, NULL), 4);
    lane_world_close(&w);
}

static void test_the_lanes_are_as_before_when_all_has_ended(void **state)
{
    (void)state;
    static struct lane_world w;
    unsigned seed = 1;
    lane_world_open(&w, lane_world_two, 2, 7);
    for (int round = 0; round < 20000; round++) {
        struct held *held = &w.held[rand_r(&seed) % HELD];
        struct held *rest = NULL;
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
    lane_world_close(&w);
}

/* ---- alone ---- */

static void test_alone_is_alone(void **state)
{
    (void)state;
    static struct lane_world w;
    struct held *first, *rest;
    lane_world_open(&w, lane_world_two, 2, 8);
    (void)lane_world_add(&w, 0, 1);
    first = lanes_take(&w.lanes);
    lanes_begin(&w.lanes, first, w.now_ns);
    struct held *alone = lane_world_make(&w, 1);
    alone->alone = true;
    lanes_add(&w.lanes, alone, w.now_ns, &rest);
    (void)lane_world_add(&w, 0, 1);
    assert_null(lanes_take(&w.lanes)); /* neither it nor what came later */
    lanes_end(&w.lanes, first, w.now_ns);
    assert_ptr_equal(lanes_take(&w.lanes), alone);
    lanes_begin(&w.lanes, alone, w.now_ns);
    assert_null(lanes_take(&w.lanes));
    lanes_end(&w.lanes, alone, w.now_ns);
    assert_null(lanes_take(&w.lanes)); /* its outcome is not recorded yet */
    lanes_end_alone(&w.lanes, alone);
    assert_non_null(lanes_take(&w.lanes));
    lane_world_close(&w);
}

/* ---- claims ---- */

/* Takes up to `most`, and claims them. */
static size_t claim_all(struct lane_world *w, struct held **claimed, size_t most)
{
    size_t count = 0;
    while (count < most && (claimed[count] = lanes_take(&w->lanes)) != NULL)
        lanes_claim(&w->lanes, claimed[count++]);
    return count;
}

static void add(struct lane_world *w, struct held *held)
{
    struct held *rest;
    if (!held)
        fail_msg("there is none");
    else
        held->next = NULL;
    lanes_add(&w->lanes, held, w->now_ns, &rest);
    assert_null(rest);
}

/* Those would be suspects if the process were killed now. */
static void test_no_more_are_claimed_than_can_run(void **state)
{
    (void)state;
    static struct lane_world w;
    enum { RUNS = 8 };
    struct held *claimed[2 * RUNS];
    lane_world_open(&w, &lane_world_two[1], 1, RUNS);
    (void)lane_world_add(&w, 0, 2 * RUNS);
    assert_int_equal(claim_all(&w, claimed, 2 * RUNS), RUNS);
    assert_false(lanes_may_take(&w.lanes));
    lanes_give_up(&w.lanes, claimed[0]);
    lanes_give_up(&w.lanes, claimed[0]); /* nothing is left to give up */
    assert_int_equal(claim_all(&w, claimed, 2 * RUNS), 1);
    lane_world_close(&w);
}

static void test_what_ends_at_once_is_claimed_within_bounds_too(void **state)
{
    (void)state;
    static struct lane_world w;
    struct config_handler list[] = {{.match = ">", .kind = "log"}};
    struct held *claimed[20];
    lane_world_open(&w, list, 1, 8);
    (void)lane_world_add(&w, 0, 20);
    assert_int_equal(claim_all(&w, claimed, 20), 8);
    lane_world_close(&w);
}

static void test_what_is_claimed_has_its_place_and_begins_next(void **state)
{
    (void)state;
    static struct lane_world w;
    struct held *claimed[6] = {NULL};
    lane_world_open(&w, lane_world_two, 2, 8); /* of which one may have six */
    (void)lane_world_add(&w, 0, 3);
    assert_int_equal(claim_all(&w, claimed, 3), 3);
    assert_int_equal(lane_world_add(&w, 0, 20), 17); /* it counts among those that are held */
    (void)lane_world_add(&w, 1, 1);
    assert_int_equal(lane_world_start_all(&w, 0, NULL), 3);
    add(&w, claimed[2]);
    add(&w, claimed[0]);
    assert_ptr_equal(lanes_take(&w.lanes), claimed[2]);
    assert_ptr_equal(lanes_take(&w.lanes), claimed[0]);
    assert_null(lanes_take(&w.lanes));
    assert_int_equal(w.lanes.all_running, 7);
    assert_int_equal(w.lanes.claiming, 1);
    lanes_end(&w.lanes, claimed[2], w.now_ns);
    lanes_end(&w.lanes, claimed[0], w.now_ns);
    lanes_give_up(&w.lanes, claimed[1]);
    assert_int_equal(w.lanes.all_running, 4);
    assert_int_equal(w.lanes.claiming, 0);
    assert_int_equal(w.lanes.list[0].held, 3);
    lane_world_close(&w);
}

static void test_what_is_to_run_alone_waits_for_those_that_are_claimed(void **state)
{
    (void)state;
    static struct lane_world w;
    struct held *claimed;
    lane_world_open(&w, lane_world_two, 2, 8);
    (void)lane_world_add(&w, 0, 1);
    assert_int_equal(claim_all(&w, &claimed, 1), 1);
    struct held *alone = lane_world_make(&w, 1);
    alone->alone = true;
    add(&w, alone);
    (void)lane_world_add(&w, 0, 3); /* nor are more claimed beside it */
    assert_false(lanes_may_take(&w.lanes));
    add(&w, claimed);
    assert_ptr_equal(lanes_take(&w.lanes), claimed);
    assert_false(lanes_may_take(&w.lanes));
    lanes_end(&w.lanes, claimed, w.now_ns);
    assert_ptr_equal(lanes_take(&w.lanes), alone);
    lane_world_close(&w);
}

static void test_only_what_is_not_claimed_is_given_back_at_first(void **state)
{
    (void)state;
    static struct lane_world w;
    struct held *claimed;
    lane_world_open(&w, lane_world_two, 2, 8);
    (void)lane_world_add(&w, 0, 1);
    assert_int_equal(claim_all(&w, &claimed, 1), 1);
    add(&w, claimed);
    (void)lane_world_add(&w, 0, 1);
    struct held *given_back = lanes_clear(&w.lanes, false);
    assert_ptr_equal(given_back, &w.held[1]);
    assert_null(given_back->next);
    assert_ptr_equal(lanes_clear(&w.lanes, true), claimed);
    assert_int_equal(w.lanes.all_running, 0);
    assert_int_equal(w.lanes.list[0].held, 0);
    assert_int_equal(w.lanes.list[0].bytes, 0);
    lane_world_close(&w);
}

/* ---- time limits ---- */

static void test_limits_are_told_in_their_order(void **state)
{
    (void)state;
    static struct lane_world w;
    struct config_handler list[] = {SIMULATE("a"), SIMULATE(">")};
    struct held *late = NULL, *runs[3];
    list[0].timeout_ms = 500;
    list[1].timeout_ms = 100;
    lane_world_open(&w, list, 2, 8);
    assert_true(lanes_next_limit(&w.lanes, &late) == INT64_MAX);
    static const size_t handlers[] = {0, 1, 1};
    for (size_t i = 0; i < 3; i++) {
        (void)lane_world_add(&w, handlers[i], 1);
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
    lane_world_close(&w);
}

/* ---- what is wanted ---- */

static void test_one_handler_wants_what_it_gets_through(void **state)
{
    (void)state;
    static struct lane_world w;
    struct held *last = NULL;
    lane_world_open(&w, &lane_world_two[1], 1, 100);
    struct lanes_want want = lanes_want(&w.lanes, w.now_ns);
    assert_int_equal(want.most, 100);
    assert_int_equal(want.places, 1);
    (void)lane_world_add(&w, 0, 1);
    (void)lane_world_start_all(&w, 0, &last);
    lanes_end(&w.lanes, last, w.now_ns += 100 * (int64_t)MS);
    want = lanes_want(&w.lanes, w.now_ns);
    assert_in_range(want.most, 295, 300);
    assert_in_range(want.places, 64, 67);
    lane_world_close(&w);
}

/* That nothing has ended for an hour does not mean that runs take an hour. */
static void test_an_idle_time_is_no_run(void **state)
{
    (void)state;
    static struct lane_world w;
    struct held *last = NULL;
    lane_world_open(&w, &lane_world_two[1], 1, 100);
    (void)lane_world_add(&w, 0, 1);
    (void)lane_world_start_all(&w, 0, &last);
    lanes_end(&w.lanes, last, w.now_ns += 100 * (int64_t)MS);
    size_t most = lanes_want(&w.lanes, w.now_ns).most;
    w.now_ns += 3600 * (int64_t)1000 * MS;
    (void)lane_world_add(&w, 0, 2);
    lanes_claim(&w.lanes, lanes_take(&w.lanes)); /* it has not begun */
    assert_int_equal(lanes_want(&w.lanes, w.now_ns).most, most);
    (void)lane_world_start_all(&w, 0, &last);
    assert_int_equal(lanes_want(&w.lanes, w.now_ns).most, most);
    lane_world_close(&w);
}

static void test_a_full_lane_is_not_fetched_for(void **state)
{
    (void)state;
    static struct lane_world w;
    lane_world_open(&w, lane_world_two, 2, 8);
    struct lanes_want want = lanes_want(&w.lanes, w.now_ns);
    assert_int_equal(want.most, 12);
    assert_int_equal(want.places, 1);
    assert_int_equal(want.fit, 6);
    (void)lane_world_add(&w, 0, 4);
    want = lanes_want(&w.lanes, w.now_ns); /* room for two more of it */
    assert_int_equal(want.fit, 2);
    assert_int_equal(want.places, 1);
    (void)lane_world_add(&w, 0, 2);
    want = lanes_want(&w.lanes, w.now_ns); /* until it has room again, or the time is over */
    assert_int_equal(want.places, 7);
    assert_int_equal(want.fit, 6); /* what others may have room for */
    lane_world_close(&w);
}

static void test_who_finds_something_behind_a_full_lane_goes_on(void **state)
{
    (void)state;
    static struct lane_world w;
    struct held *rest;
    lane_world_open(&w, lane_world_two, 2, 8);
    (void)lane_world_add(&w, 0, 6);
    struct held *one = lane_world_make(&w, 0), *other = lane_world_make(&w, 1);
    one->next = other;
    lanes_add(&w.lanes, one, w.now_ns, &rest);
    assert_ptr_equal(rest, one);
    assert_null(rest->next);
    assert_int_equal(lanes_want(&w.lanes, w.now_ns).places, 1);
    lane_world_close(&w);
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
    static struct lane_world w;
    lane_world_open(&w, lane_world_two, 2, 8);
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct lanes lanes;
        enum err e = lanes_init(&lanes, w.handlers, 8, 1000);
        assert_int_equal(e, each_failure_end(&f) ? ERR_MEMORY : ERR_NONE);
        if (!e)
            lanes_free(&lanes);
    }
    lane_world_close(&w);
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
        cmocka_unit_test(test_no_more_are_claimed_than_can_run),
        cmocka_unit_test(test_what_ends_at_once_is_claimed_within_bounds_too),
        cmocka_unit_test(test_what_is_claimed_has_its_place_and_begins_next),
        cmocka_unit_test(test_what_is_to_run_alone_waits_for_those_that_are_claimed),
        cmocka_unit_test(test_only_what_is_not_claimed_is_given_back_at_first),
        cmocka_unit_test(test_limits_are_told_in_their_order),
        cmocka_unit_test(test_one_handler_wants_what_it_gets_through),
        cmocka_unit_test(test_an_idle_time_is_no_run),
        cmocka_unit_test(test_a_full_lane_is_not_fetched_for),
        cmocka_unit_test(test_who_finds_something_behind_a_full_lane_goes_on),
        cmocka_unit_test(test_places_are_enough_for_all),
        cmocka_unit_test(test_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
