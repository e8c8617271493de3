/* A whole processor on a bus in memory, but for its ports. */
#include "tests/lib/capture.h"
#include "tests/lib/mem_processor.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdatomic.h>
#include <unistd.h>

/* Each test opens a world of its own, and `finish` closes it. */
static struct mem_world world;

static int begin(void **state)
{
    (void)state;
    mem_world_open(&world);
    return 0;
}

/* ---- the main path ---- */

static void test_each_event_is_processed_once(void **state)
{
    (void)state;
    static struct one one;
    enum { EVENTS = 5000 };
    mem_processor_publish(&world, EVENTS / 2);
    one_start_simulating(&world, &one, "one", 0);
    mem_processor_publish(&world, EVENTS / 2);
    assert_until(one_stats(&one).counts[STATUS_PROCESSED] == EVENTS);
    assert_true(one_drain(&one, DRAIN_MS));
    assert_int_equal(one_deliveries(&one, "processed"), EVENTS);
    assert_int_equal(one_redeliveries(&one), 0);
    ones_finish(&one, 1);
}

static bool each_has_processed(struct one *ones, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (one_deliveries(&ones[i], "processed") == 0)
            return false;
    return true;
}

/* On a busy machine the first events may all have gone before one of them fetches any. */
static void test_processors_share_the_work_and_agree(void **state)
{
    (void)state;
    static struct one ones[3];
    enum { EVENTS = 3000, ROUNDS = 20 };
    one_start_simulating(&world, &ones[0], "a", 1);
    one_start_simulating(&world, &ones[1], "b", 1);
    one_start_simulating(&world, &ones[2], "c", 1);
    uint64_t published = 0, processed = 0;
    do {
        mem_processor_publish(&world, EVENTS);
        published += EVENTS;
        for (size_t i = 0; i < 3; i++)
            assert_until(one_stats(&ones[i]).counts[STATUS_PROCESSED] == published);
    } while (!each_has_processed(ones, 3) && published < ROUNDS * EVENTS);
    assert_int_equal(one_stats(&ones[0]).digest, one_stats(&ones[1]).digest);
    assert_int_equal(one_stats(&ones[0]).digest, one_stats(&ones[2]).digest);
    for (size_t i = 0; i < 3; i++) {
        assert_true(one_drain(&ones[i], DRAIN_MS));
        assert_true(one_deliveries(&ones[i], "processed") > 0);
        processed += one_deliveries(&ones[i], "processed");
    }
    assert_int_equal(processed, published);
    ones_finish(ones, 3);
}

static void test_copies_are_acknowledged_and_not_run(void **state)
{
    (void)state;
    static struct one one;
    struct event_id id = {{0}};
    for (int i = 0; i < 5; i++)
        mem_world_event(&world, "n", "x", &id);
    one_start_simulating(&world, &one, "one", 0);
    assert_until(one_deliveries(&one, "copy") == 4);
    assert_until(one_deliveries(&one, "processed") == 1);
    assert_int_equal(one_stats(&one).events, 1);
    assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
}

static void test_what_has_ended_is_acknowledged_and_not_run(void **state)
{
    (void)state;
    static struct one one;
    for (int i = 0; i < 10; i++) {
        struct event_id id = {{0}};
        uint64_t at = mem_world_event(&world, "n", "x", &id);
        struct status_state state_of = {.status = i % 2 ? STATUS_PROCESSED : STATUS_DEAD,
                                        .attempt = 1};
        mem_world_change(&world, &id, at, state_of, 0, "");
    }
    one_start_simulating(&world, &one, "one", 0);
    assert_until(one_deliveries(&one, "ended") == 10);
    assert_true(one_drain(&one, DRAIN_MS));
    assert_int_equal(one_deliveries(&one, "processed"), 0);
    ones_finish(&one, 1);
}

static void test_what_is_no_event_ends_dead_with_the_reason(void **state)
{
    (void)state;
    static struct one one;
    struct event_id id;
    struct status_entry entry;
    struct bus_record *record;
    struct status_batch *batch;
    uint64_t at = mem_world_junk(&world, "junk");
    mem_processor_publish(&world, 1);
    one_start_simulating(&world, &one, "one", 0);
    assert_until(one_deliveries(&one, "dead") == 1);
    assert_until(one_deliveries(&one, "processed") == 1);
    id_of_position(VIEW(MEM_WORLD_STREAM), at, &id);
    assert_until(status_table_find(one.processor.table, &id, &entry, NULL) &&
                 entry.state.status == STATUS_DEAD);
    assert_int_equal(bus_log_read(world.statuses, entry.change_position, 1000, &record), ERR_NONE);
    assert_int_equal(status_batch_read(record->payload, &batch), ERR_NONE);
    struct view error = status_batch_get(batch, entry.change_place).error;
    if (error.len < 12 || memcmp(error.data, "malformed: ", 11) != 0)
        fail_msg("the reason is \"%.*s\"", (int)error.len, error.data);
    status_batch_free(batch);
    bus_record_free(record);
    assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
}

/* ---- when the bus fails ---- */

static void test_the_group_begins_anew_after_a_lost_tail(void **state)
{
    (void)state;
    static struct one one;
    struct event_id id = {{0}};
    one_start_simulating(&world, &one, "one", 0);
    mem_processor_publish(&world, 5);
    assert_until(one_deliveries(&one, "processed") == 5);
    bus_mem_lose_tail(world.events, 3);
    mem_world_event(&world, "n", "x", &id); /* at a position that the group had */
    assert_until(mem_world_metric(one.metrics, "tidings_group_restarts_total{log=\"events\"}") ==
                 1);
    assert_until(mem_world_floor(&world) == 4 && one_in_hand(&one) == 0);
    assert_true(one_drain(&one, DRAIN_MS));
    assert_int_equal(one_deliveries(&one, "processed"), 6);
    /* The bus had believed that three were done. The new one may have come before and after the
     * group began anew: that is one delivery if it was still in hand, else it had ended, too. */
    double fetched =
        mem_world_metric(one.metrics, "tidings_deliveries_fetched_total{log=\"events\"}");
    uint64_t ended = one_deliveries(&one, "ended");
    assert_true(ended == 3 || (ended == 4 && fetched == 5 + 1 + 4));
    assert_int_equal(one_redeliveries(&one), 0);
    ones_finish(&one, 1);
}

static void test_nothing_is_acknowledged_without_a_record(void **state)
{
    (void)state;
    static struct one one;
    one_start_simulating(&world, &one, "one", 50);
    mem_processor_publish(&world, 10);
    assert_until(mem_world_metric(one.metrics, "tidings_runs_in_progress") > 0);
    bus_mem_set_held(world.bus, true); /* appends are stored, but nobody is told */
    assert_until(one_in_hand(&one) == 10);
    assert_until(one_stats(&one).counts[STATUS_PROCESSED] > 0);
    assert_int_equal(one_deliveries(&one, "processed"), 0);
    bus_mem_set_away(world.bus, true); /* now what was in flight is unknown */
    bus_mem_set_held(world.bus, false);
    bus_mem_set_away(world.bus, false);
    assert_until(one_deliveries(&one, "processed") + one_deliveries(&one, "ended") >= 10);
    assert_until(one_in_hand(&one) == 0);
    assert_until(one_stats(&one).counts[STATUS_PROCESSED] == 10);
    assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
}

static void test_what_the_table_does_not_reach_goes_back_to_the_bus(void **state)
{
    (void)state;
    static struct one one;
    static char log[1 << 16];
    struct capture capture;
    one_start_simulating(&world, &one, "one", 0);
    mem_processor_publish(&world, 1);
    assert_until(one_deliveries(&one, "processed") == 1);
    mem_world_set_readers(&world, NULL, ERR_DEADLINE);
    capture_begin(&capture, STDERR_FILENO);
    mem_processor_publish(&world, 1);
    bool returned = false;
    for (int i = 0; i < UNTIL_LIMIT_MS && !returned; i++) {
        returned = one_deliveries(&one, "returned") == 1 && one_in_hand(&one) == 0;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    /* It is due again after a second; nothing is fetched that could not be handled. */
    nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
    capture_end(&capture, log, sizeof log);
    assert_true(returned);
    assert_int_equal(one_redeliveries(&one), 0);
    const char *warning = strstr(log, "giving them back");
    assert_non_null(warning);
    assert_null(strstr(warning + 1, "giving them back"));
    mem_world_set_readers(&world, NULL, ERR_NONE);
    assert_until(one_deliveries(&one, "processed") == 2);
    assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
}

static void test_all_is_processed_although_the_bus_comes_and_goes(void **state)
{
    (void)state;
    static struct one ones[2];
    enum { EVENTS = 600 };
    one_start_simulating(&world, &ones[0], "a", 3);
    one_start_simulating(&world, &ones[1], "b", 3);
    for (size_t round = 1; round <= 6; round++) {
        mem_processor_publish(&world, EVENTS / 6);
        assert_until(one_in_hand(&ones[0]) + one_in_hand(&ones[1]) > 0 ||
                     one_stats(&ones[0]).counts[STATUS_PROCESSED] == round * (EVENTS / 6));
        bus_mem_set_away(world.bus, true);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* for that long */
        bus_mem_set_away(world.bus, false);
    }
    for (size_t i = 0; i < 2; i++)
        assert_until(one_stats(&ones[i]).counts[STATUS_PROCESSED] == EVENTS);
    assert_int_equal(one_stats(&ones[0]).digest, one_stats(&ones[1]).digest);
    for (size_t i = 0; i < 2; i++)
        assert_true(one_drain(&ones[i], DRAIN_MS));
    ones_finish(ones, 2);
}

static void test_logs_made_anew_are_taken_up(void **state)
{
    (void)state;
    static struct one one;
    one_start_simulating(&world, &one, "one", 100);
    mem_processor_publish(&world, 50);
    assert_until(one_in_hand(&one) > 0 || one_deliveries(&one, "processed") > 0);
    bus_mem_renew(world.events);
    bus_mem_renew(world.statuses);
    mem_processor_publish(&world, 20);
    assert_until(one_stats(&one).events == 20 && one_stats(&one).counts[STATUS_PROCESSED] == 20);
    assert_until(one_in_hand(&one) == 0);
    assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
}

/* ---- stopping ---- */

static void test_a_drain_finishes_what_runs_and_returns_what_waits(void **state)
{
    (void)state;
    static struct one ones[2], *one = &ones[0], *other = &ones[1];
    world.settings.concurrency = 4;
    world.settings.ack_wait_ms = 3600 * 1000; /* whoever waited for it would wait too long */
    one_start_simulating(&world, one, "one", 300);
    mem_processor_publish(&world, 24);
    /* Some more than run are fetched once it is known that runs are short. */
    assert_until(one_in_hand(one) > 4 && one_deliveries(one, "processed") >= 4);
    assert_true(one_drain(one, DRAIN_MS));
    assert_true(one_deliveries(one, "processed") >= 4);
    assert_true(one_deliveries(one, "returned") > 0);
    assert_int_equal(one_deliveries(one, "left"), 0);
    one_start_simulating(&world, other, "other", 0);
    assert_until(one_stats(other).counts[STATUS_PROCESSED] == 24);
    assert_true(one_drain(other, DRAIN_MS));
    assert_int_equal(one_deliveries(one, "processed") + one_deliveries(other, "processed"), 24);
    ones_finish(ones, 2);
}

static void test_what_a_drain_has_no_time_for_comes_to_another(void **state)
{
    (void)state;
    static struct one ones[2], *one = &ones[0], *other = &ones[1];
    one_start_simulating(&world, one, "one", 3600 * 1000);
    mem_processor_publish(&world, 4);
    assert_until(mem_world_metric(one->metrics, "tidings_runs_in_progress") == 4);
    assert_false(one_drain(one, 10));
    assert_int_equal(one_deliveries(one, "left"), 4);
    one_start_simulating(&world, other, "other", 0);
    assert_until(one_deliveries(other, "processed") == 4); /* after ack_wait */
    assert_int_equal(one_redeliveries(other), 4);
    assert_true(one_drain(other, DRAIN_MS));
    ones_finish(ones, 2);
}

static void test_a_drain_without_the_bus_ends_in_time(void **state)
{
    (void)state;
    static struct one one;
    one_start_simulating(&world, &one, "one", 1000);
    mem_processor_publish(&world, 4);
    assert_until(one_in_hand(&one) > 0);
    bus_mem_set_away(world.bus, true);
    (void)one_drain(&one, 100);
    ones_finish(&one, 1);
}

static void test_a_drain_of_a_frozen_bus_ends_in_time(void **state)
{
    (void)state;
    static struct one one;
    struct timespec before, after;
    one_start_simulating(&world, &one, "one", 0);
    mem_processor_publish(&world, 1);
    assert_until(one_deliveries(&one, "processed") == 1);
    mem_world_lock_gate(&world);
    mem_processor_publish(&world, 1);
    assert_until(one_in_hand(&one) == 1); /* its barrier is being asked for */
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_false(one_drain(&one, 100));
    clock_gettime(CLOCK_MONOTONIC, &after);
    int64_t took_ms =
        (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
    assert_in_range(took_ms, 100, 1000);
    ones_finish(&one, 1);
}

static void on_answer(void *ctx, enum err e, const char *message, const struct event_status *status)
{
    (void)message;
    (void)status;
    atomic_store((_Atomic int *)ctx, (int)e);
}

static void test_nobody_waits_for_a_bus_that_is_given_up(void **state)
{
    (void)state;
    static struct one one;
    static _Atomic int answer = -1;
    one_start_simulating(&world, &one, "one", 0);
    assert_until(follower_ready(one.processor.follower) != 0);
    mem_world_set_readers(&world, NULL, ERR_DEADLINE);
    mem_processor_publish(&world, 1);
    query_ask(
        one.processor.query,
        &(struct query_ask){.request = {.event_id = VIEW("00000000-0000-0000-0000-0000000000ff")},
                            .timeout_ms = 3600 * 1000,
                            .done = on_answer,
                            .ctx = &answer});
    (void)one_drain(&one, 100);
    assert_int_equal(atomic_load(&answer), -1);
    processor_give_up(&one.processor);
    for (int i = 0; i < 2000 && atomic_load(&answer) < 0; i++) /* it had ten seconds */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(atomic_load(&answer), ERR_UNAVAILABLE);
    ones_finish(&one, 1);
}

static void test_a_bad_list_of_handlers_starts_nothing(void **state)
{
    (void)state;
    static char match[] = "order.>", kind[] = "log";
    struct config_handler handler = {.match = match, .kind = kind};
    struct config_handlers config = {.list = &handler, .count = 1};
    struct metrics *metrics;
    struct processor processor;
    struct err_detail detail;
    assert_int_equal(metrics_new(&metrics), ERR_NONE);
    struct processor_options options = {.bus = world.bus,
                                        .settings = &world.settings,
                                        .handlers = &config,
                                        .name = "bad",
                                        .metrics = metrics,
                                        .clock = &clock_system};
    assert_int_equal(processor_start(&options, &processor, &detail), ERR_INVALID);
    assert_non_null(strstr(detail.text, "must match everything"));
    mem_world_close(&world);
    processor_free(&processor);
    metrics_free(metrics);
}

#define test(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_each_event_is_processed_once),
        test(test_processors_share_the_work_and_agree),
        test(test_copies_are_acknowledged_and_not_run),
        test(test_what_has_ended_is_acknowledged_and_not_run),
        test(test_what_is_no_event_ends_dead_with_the_reason),
        test(test_the_group_begins_anew_after_a_lost_tail),
        test(test_nothing_is_acknowledged_without_a_record),
        test(test_what_the_table_does_not_reach_goes_back_to_the_bus),
        test(test_all_is_processed_although_the_bus_comes_and_goes),
        test(test_logs_made_anew_are_taken_up),
        test(test_a_drain_finishes_what_runs_and_returns_what_waits),
        test(test_what_a_drain_has_no_time_for_comes_to_another),
        test(test_a_drain_without_the_bus_ends_in_time),
        test(test_a_drain_of_a_frozen_bus_ends_in_time),
        test(test_nobody_waits_for_a_bus_that_is_given_up),
        test(test_a_bad_list_of_handlers_starts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
