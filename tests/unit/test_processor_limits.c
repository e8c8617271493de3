/* A whole processor on a bus in memory: its limits, and what expires. */
#include "tests/lib/mem_processor.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

/* Each test opens a world of its own, and `finish` closes it. */
static struct mem_world world;

static int begin(void **state)
{
    (void)state;
    mem_world_open(&world);
    return 0;
}

/* ---- expiry ---- */

enum { MAX_AGE_MS = 10000 };

/* The world anew, where events expire when the clock is turned. */
static void open_expiring(struct clock_manual *clock)
{
    mem_world_close(&world);
    clock_manual_init(clock, 1700000000000);
    mem_world_open_at(&world, &clock->base, MAX_AGE_MS);
}

static void agree_with_one_more(struct one *ones)
{
    one_start_simulating(&world, &ones[1], "other", 0);
    assert_until(one_stats(&ones[1]).reflects.event_position ==
                     one_stats(&ones[0]).reflects.event_position &&
                 one_stats(&ones[1]).digest == one_stats(&ones[0]).digest);
    assert_int_equal(one_stats(&ones[1]).reflects.first_event_position,
                     one_stats(&ones[0]).reflects.first_event_position);
    for (size_t i = 0; i < 2; i++)
        assert_true(one_drain(&ones[i], DRAIN_MS));
    ones_finish(ones, 2);
}

static void test_an_id_sent_again_after_it_expired_is_another_event(void **state)
{
    (void)state;
    static struct one ones[2];
    struct clock_manual clock;
    struct event_id id = {{0}};
    open_expiring(&clock);
    one_start_simulating(&world, &ones[0], "one", 0);
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(mem_world_event(&world, "n", "x", &id), i);
        assert_until(one_deliveries(&ones[0], "processed") == i);
        clock_manual_advance(&clock, MAX_AGE_MS + 1);
    }
    assert_int_equal(mem_world_event(&world, "n", "x", &id), 6);
    assert_until(one_stats(&ones[0]).counts[STATUS_PROCESSED] == 1 &&
                 one_deliveries(&ones[0], "processed") == 6);
    assert_int_equal(one_deliveries(&ones[0], "copy"), 0);
    assert_int_equal(one_stats(&ones[0]).reflects.first_event_position, 6);
    agree_with_one_more(ones);
}

static void test_a_copy_whose_event_expires_is_no_work_either(void **state)
{
    (void)state;
    static struct one ones[2];
    struct clock_manual clock;
    struct event_id id = {{0}};
    struct status_entry entry;
    open_expiring(&clock);
    one_start_simulating(&world, &ones[0], "one", 0);
    mem_world_event(&world, "n", "x", &id);
    assert_until(one_deliveries(&ones[0], "processed") == 1);
    clock_manual_advance(&clock, MAX_AGE_MS / 2);
    mem_world_event(&world, "n", "x", &id);
    assert_until(one_deliveries(&ones[0], "copy") == 1);
    clock_manual_advance(&clock, MAX_AGE_MS / 2 + 1);
    assert_until(one_stats(&ones[0]).reflects.first_event_position == 2);
    assert_true(status_table_find(ones[0].processor.table, &id, &entry, NULL));
    assert_int_equal(entry.event_position, 2);
    assert_int_equal(entry.state.status, STATUS_PROCESSED);
    agree_with_one_more(ones);
}

/* ---- limits ---- */

static void test_no_more_runs_at_once_than_allowed(void **state)
{
    (void)state;
    static struct one one;
    world.settings.concurrency = 5;
    one_start_simulating(&world, &one, "one", 20);
    mem_processor_publish(&world, 60);
    double most = 0;
    do {
        double now = mem_world_metric(one.metrics, "tidings_runs_in_progress");
        most = now > most ? now : most;
        assert_true(now <= 5);
    } while (one_stats(&one).counts[STATUS_PROCESSED] < 60);
    assert_true(most == 5);
    assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
}

static void test_one_processors_queue_is_not_anothers_want(void **state)
{
    (void)state;
    static struct one ones[2];
    enum { RUNS = 4, EVENTS = 16 };
    world.settings.concurrency = RUNS;
    mem_processor_publish(&world, EVENTS);
    one_start_simulating(&world, &ones[0], "one", 1000);
    assert_until(mem_world_metric(ones[0].metrics, "tidings_runs_in_progress") == RUNS);
    one_start_simulating(&world, &ones[1], "other", 1000);
    while (one_stats(&ones[0]).counts[STATUS_PROCESSED] < EVENTS) {
        for (size_t i = 0; i < 2; i++)
            assert_true(one_in_hand(&ones[i]) <= RUNS + 1); /* one whose record is being appended */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_true(one_deliveries(&ones[i], "processed") >= RUNS);
        assert_true(one_drain(&ones[i], DRAIN_MS));
    }
    ones_finish(ones, 2);
}

static void test_few_runs_at_once_are_no_reason_for_small_fetches(void **state)
{
    (void)state;
    static struct one one;
    enum { EVENTS = 2000 };
    world.settings.concurrency = 1;
    mem_processor_publish(&world, EVENTS);
    one_start_simulating(&world, &one, "one", 0);
    assert_until(one_stats(&one).counts[STATUS_PROCESSED] == EVENTS);
    assert_true(mem_world_metric(one.metrics, "tidings_fetches_total{log=\"events\"}") <
                EVENTS / 10.0);
    assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
}

static void test_a_quick_past_is_no_reason_to_hoard(void **state)
{
    (void)state;
    static char quick[] = "quick", all[] = ">", simulate[] = "simulate";
    struct config_handler list[] = {{.match = quick, .kind = simulate},
                                    {.match = all, .kind = simulate, .delay_ms = 3600 * 1000}};
    static struct one ones[2];
    world.settings.concurrency = 5; /* of which one is kept for the quick */
    one_start_with(&world, &ones[0], "one", list, 2);
    for (int i = 0; i < 200; i++) {
        struct event_id id = {{0}};
        mem_world_event(&world, "quick", "x", &id);
    }
    assert_until(one_deliveries(&ones[0], "processed") == 200);
    mem_processor_publish(&world, 4);
    assert_until(mem_world_metric(ones[0].metrics, "tidings_runs_in_progress") == 4);
    /* By now it could have ended all of them in 200 ms, if they were quick. */
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    mem_processor_publish(&world, 16);
    assert_until(mem_world_metric(ones[0].metrics, "tidings_deliveries_put_off_total") >= 16 &&
                 one_in_hand(&ones[0]) == 4);
    /* Only now: each would get what the other has put off by turns, for any time. */
    assert_false(one_drain(&ones[0], 0));
    world.settings.concurrency = 40;
    one_start_with(&world, &ones[1], "other", list, 2);
    assert_until(one_in_hand(&ones[1]) == 20);
    assert_false(one_drain(&ones[1], 0));
    ones_finish(ones, 2);
}

static void test_long_work_is_not_given_to_others_too(void **state)
{
    (void)state;
    static struct one ones[2], *one = &ones[0], *other = &ones[1];
    world.settings.ack_wait_ms = 300;
    one_start_simulating(&world, one, "one", 1500); /* five times as long as ack_wait */
    mem_processor_publish(&world, 8);
    assert_until(mem_world_metric(one->metrics, "tidings_runs_in_progress") == 8);
    one_start_simulating(&world, other, "other", 0);
    assert_until(one_stats(other).counts[STATUS_PROCESSED] == 8);
    assert_int_equal(one_redeliveries(one), 0);
    assert_int_equal(one_redeliveries(other), 0);
    assert_until(one_deliveries(one, "processed") == 8);
    assert_true(one_drain(one, DRAIN_MS));
    assert_true(one_drain(other, DRAIN_MS));
    ones_finish(ones, 2);
}

#define test(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_an_id_sent_again_after_it_expired_is_another_event),
        test(test_a_copy_whose_event_expires_is_no_work_either),
        test(test_no_more_runs_at_once_than_allowed),
        test(test_one_processors_queue_is_not_anothers_want),
        test(test_few_runs_at_once_are_no_reason_for_small_fetches),
        test(test_a_quick_past_is_no_reason_to_hoard),
        test(test_long_work_is_not_given_to_others_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
