/* A whole processor on a bus in memory, but for its ports. */
#include "event-processor/processor.h"

#include "tests/lib/mem_world.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

enum { DRAIN_MS = 5000 };

/* ---- processors ---- */

struct one {
    struct mem_world *world;
    char name[16];
    struct config_handler handlers[2];
    struct config_handlers config;
    struct metrics *metrics;
    struct processor processor;
};

static void start_with(struct mem_world *world, struct one *one, const char *name,
                       const struct config_handler *handler)
{
    *one = (struct one){.world = world};
    snprintf(one->name, sizeof one->name, "%s", name);
    if (handler) {
        one->handlers[0] = *handler;
        one->config = (struct config_handlers){.list = one->handlers, .count = 1};
    }
    assert_int_equal(metrics_new(&one->metrics), ERR_NONE);
    struct processor_options options = {.bus = world->bus,
                                        .settings = &world->settings,
                                        .handlers = &one->config,
                                        .name = one->name,
                                        .metrics = one->metrics,
                                        .clock = &clock_system};
    struct err_detail detail;
    enum err e = processor_start(&options, &one->processor, &detail);
    if (e)
        fail_msg("%s", detail.text);
}

static void start_simulating(struct mem_world *world, struct one *one, const char *name,
                             int64_t delay_ms)
{
    static char all[] = ">", simulate[] = "simulate";
    struct config_handler handler = {.match = all, .kind = simulate, .delay_ms = delay_ms};
    start_with(world, one, name, &handler);
}

static bool drain(struct one *one, int64_t timeout_ms)
{
    return processor_drain(&one->processor, timeout_ms);
}

/* The end of a test: all of its processors, drained before, and its bus. */
static void finish(struct one *ones, size_t count)
{
    for (size_t i = 0; i < count; i++)
        processor_stop(&ones[i].processor);
    mem_world_close(ones->world);
    for (size_t i = 0; i < count; i++) {
        processor_free(&ones[i].processor);
        metrics_free(ones[i].metrics);
    }
}

static struct status_table_stats stats_of(struct one *one)
{
    struct status_table_stats stats;
    status_table_stats(one->processor.table, 0, &stats);
    return stats;
}

static uint64_t deliveries(struct one *one, const char *outcome)
{
    char series[80];
    snprintf(series, sizeof series, "tidings_deliveries_total{outcome=\"%s\"}", outcome);
    return (uint64_t)mem_world_metric(one->metrics, series);
}

static uint64_t redeliveries(struct one *one)
{
    return (uint64_t)mem_world_metric(one->metrics, "tidings_redeliveries_total");
}

static uint64_t in_hand(struct one *one)
{
    return (uint64_t)mem_world_metric(one->metrics, "tidings_deliveries_in_hand");
}

static void publish(struct mem_world *world, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct event_id id = {{0}};
        mem_world_event(world, "order.created", "x", &id);
    }
}

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
    publish(&world, EVENTS / 2);
    start_simulating(&world, &one, "one", 0);
    publish(&world, EVENTS / 2);
    assert_until(stats_of(&one).counts[STATUS_PROCESSED] == EVENTS);
    assert_true(drain(&one, DRAIN_MS));
    assert_int_equal(deliveries(&one, "processed"), EVENTS);
    assert_int_equal(redeliveries(&one), 0);
    finish(&one, 1);
}

static void test_processors_share_the_work_and_agree(void **state)
{
    (void)state;
    static struct one ones[3];
    enum { EVENTS = 3000 };
    start_simulating(&world, &ones[0], "a", 1);
    start_simulating(&world, &ones[1], "b", 1);
    start_simulating(&world, &ones[2], "c", 1);
    publish(&world, EVENTS);
    uint64_t processed = 0;
    for (size_t i = 0; i < 3; i++)
        assert_until(stats_of(&ones[i]).counts[STATUS_PROCESSED] == EVENTS);
    assert_int_equal(stats_of(&ones[0]).digest, stats_of(&ones[1]).digest);
    assert_int_equal(stats_of(&ones[0]).digest, stats_of(&ones[2]).digest);
    for (size_t i = 0; i < 3; i++) {
        assert_true(drain(&ones[i], DRAIN_MS));
        assert_true(deliveries(&ones[i], "processed") > 0);
        processed += deliveries(&ones[i], "processed");
    }
    assert_int_equal(processed, EVENTS);
    finish(ones, 3);
}

static void test_copies_are_acknowledged_and_not_run(void **state)
{
    (void)state;
    static struct one one;
    struct event_id id = {{0}};
    for (int i = 0; i < 5; i++)
        mem_world_event(&world, "n", "x", &id);
    start_simulating(&world, &one, "one", 0);
    assert_until(deliveries(&one, "copy") == 4);
    assert_until(deliveries(&one, "processed") == 1);
    assert_int_equal(stats_of(&one).events, 1);
    assert_true(drain(&one, DRAIN_MS));
    finish(&one, 1);
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
    start_simulating(&world, &one, "one", 0);
    assert_until(deliveries(&one, "ended") == 10);
    assert_true(drain(&one, DRAIN_MS));
    assert_int_equal(deliveries(&one, "processed"), 0);
    finish(&one, 1);
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
    publish(&world, 1);
    start_simulating(&world, &one, "one", 0);
    assert_until(deliveries(&one, "dead") == 1);
    assert_until(deliveries(&one, "processed") == 1);
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
    assert_true(drain(&one, DRAIN_MS));
    finish(&one, 1);
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
    start_simulating(&world, &ones[1], "other", 0);
    assert_until(stats_of(&ones[1]).reflects.event_position ==
                     stats_of(&ones[0]).reflects.event_position &&
                 stats_of(&ones[1]).digest == stats_of(&ones[0]).digest);
    assert_int_equal(stats_of(&ones[1]).reflects.first_event_position,
                     stats_of(&ones[0]).reflects.first_event_position);
    for (size_t i = 0; i < 2; i++)
        assert_true(drain(&ones[i], DRAIN_MS));
    finish(ones, 2);
}

static void test_an_id_sent_again_after_it_expired_is_another_event(void **state)
{
    (void)state;
    static struct one ones[2];
    struct clock_manual clock;
    struct event_id id = {{0}};
    open_expiring(&clock);
    start_simulating(&world, &ones[0], "one", 0);
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(mem_world_event(&world, "n", "x", &id), i);
        assert_until(deliveries(&ones[0], "processed") == i);
        clock_manual_advance(&clock, MAX_AGE_MS + 1);
    }
    assert_int_equal(mem_world_event(&world, "n", "x", &id), 6);
    assert_until(stats_of(&ones[0]).counts[STATUS_PROCESSED] == 1 &&
                 deliveries(&ones[0], "processed") == 6);
    assert_int_equal(deliveries(&ones[0], "copy"), 0);
    assert_int_equal(stats_of(&ones[0]).reflects.first_event_position, 6);
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
    start_simulating(&world, &ones[0], "one", 0);
    mem_world_event(&world, "n", "x", &id);
    assert_until(deliveries(&ones[0], "processed") == 1);
    clock_manual_advance(&clock, MAX_AGE_MS / 2);
    mem_world_event(&world, "n", "x", &id);
    assert_until(deliveries(&ones[0], "copy") == 1);
    clock_manual_advance(&clock, MAX_AGE_MS / 2 + 1);
    assert_until(stats_of(&ones[0]).reflects.first_event_position == 2);
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
    start_simulating(&world, &one, "one", 20);
    publish(&world, 60);
    double most = 0;
    do {
        double now = mem_world_metric(one.metrics, "tidings_runs_in_progress");
        most = now > most ? now : most;
        assert_true(now <= 5);
        assert_true(in_hand(&one) <= 20);
    } while (stats_of(&one).counts[STATUS_PROCESSED] < 60);
    assert_true(most == 5);
    assert_true(drain(&one, DRAIN_MS));
    finish(&one, 1);
}

static void test_long_work_is_not_given_to_others_too(void **state)
{
    (void)state;
    static struct one ones[2], *one = &ones[0], *other = &ones[1];
    world.settings.ack_wait_ms = 300;
    start_simulating(&world, one, "one", 1500); /* five times as long as ack_wait */
    publish(&world, 8);
    assert_until(mem_world_metric(one->metrics, "tidings_runs_in_progress") == 8);
    start_simulating(&world, other, "other", 0);
    assert_until(stats_of(other).counts[STATUS_PROCESSED] == 8);
    assert_int_equal(redeliveries(one), 0);
    assert_int_equal(redeliveries(other), 0);
    assert_int_equal(deliveries(one, "processed"), 8);
    assert_true(drain(one, DRAIN_MS));
    assert_true(drain(other, DRAIN_MS));
    finish(ones, 2);
}

/* ---- when the bus fails ---- */

static void test_nothing_is_acknowledged_without_a_record(void **state)
{
    (void)state;
    static struct one one;
    start_simulating(&world, &one, "one", 50);
    publish(&world, 10);
    assert_until(mem_world_metric(one.metrics, "tidings_runs_in_progress") > 0);
    bus_mem_set_held(world.bus, true); /* appends are stored, but nobody is told */
    assert_until(in_hand(&one) == 10);
    assert_until(stats_of(&one).counts[STATUS_PROCESSED] > 0);
    assert_int_equal(deliveries(&one, "processed"), 0);
    bus_mem_set_away(world.bus, true); /* now what was in flight is unknown */
    bus_mem_set_held(world.bus, false);
    bus_mem_set_away(world.bus, false);
    assert_until(deliveries(&one, "processed") + deliveries(&one, "ended") >= 10);
    assert_until(in_hand(&one) == 0);
    assert_int_equal(stats_of(&one).counts[STATUS_PROCESSED], 10);
    assert_true(drain(&one, DRAIN_MS));
    finish(&one, 1);
}

static void test_all_is_processed_although_the_bus_comes_and_goes(void **state)
{
    (void)state;
    static struct one ones[2];
    enum { EVENTS = 600 };
    start_simulating(&world, &ones[0], "a", 3);
    start_simulating(&world, &ones[1], "b", 3);
    for (int round = 0; round < 6; round++) {
        publish(&world, EVENTS / 6);
        assert_until(in_hand(&ones[0]) + in_hand(&ones[1]) > 0);
        bus_mem_set_away(world.bus, true);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* for that long */
        bus_mem_set_away(world.bus, false);
    }
    for (size_t i = 0; i < 2; i++)
        assert_until(stats_of(&ones[i]).counts[STATUS_PROCESSED] == EVENTS);
    assert_int_equal(stats_of(&ones[0]).digest, stats_of(&ones[1]).digest);
    for (size_t i = 0; i < 2; i++)
        assert_true(drain(&ones[i], DRAIN_MS));
    finish(ones, 2);
}

static void test_logs_made_anew_are_taken_up(void **state)
{
    (void)state;
    static struct one one;
    start_simulating(&world, &one, "one", 100);
    publish(&world, 50);
    assert_until(in_hand(&one) > 0);
    bus_mem_renew(world.events);
    bus_mem_renew(world.statuses);
    publish(&world, 20);
    assert_until(stats_of(&one).events == 20 && stats_of(&one).counts[STATUS_PROCESSED] == 20);
    assert_until(in_hand(&one) == 0);
    assert_true(drain(&one, DRAIN_MS));
    finish(&one, 1);
}

/* ---- stopping ---- */

static void test_a_drain_finishes_what_runs_and_returns_what_waits(void **state)
{
    (void)state;
    static struct one ones[2], *one = &ones[0], *other = &ones[1];
    world.settings.concurrency = 4;
    world.settings.ack_wait_ms = 3600 * 1000; /* whoever waited for it would wait too long */
    start_simulating(&world, one, "one", 300);
    publish(&world, 16);
    assert_until(in_hand(one) == 16);
    assert_true(drain(one, DRAIN_MS));
    assert_true(deliveries(one, "processed") >= 4);
    assert_true(deliveries(one, "returned") > 0);
    assert_int_equal(deliveries(one, "left"), 0);
    start_simulating(&world, other, "other", 0);
    assert_until(stats_of(other).counts[STATUS_PROCESSED] == 16);
    assert_int_equal(deliveries(one, "processed") + deliveries(other, "processed"), 16);
    assert_true(drain(other, DRAIN_MS));
    finish(ones, 2);
}

static void test_what_a_drain_has_no_time_for_comes_to_another(void **state)
{
    (void)state;
    static struct one ones[2], *one = &ones[0], *other = &ones[1];
    start_simulating(&world, one, "one", 3600 * 1000);
    publish(&world, 4);
    assert_until(mem_world_metric(one->metrics, "tidings_runs_in_progress") == 4);
    assert_false(drain(one, 10));
    assert_int_equal(deliveries(one, "left"), 4);
    start_simulating(&world, other, "other", 0);
    assert_until(deliveries(other, "processed") == 4); /* after ack_wait */
    assert_int_equal(redeliveries(other), 4);
    assert_true(drain(other, DRAIN_MS));
    finish(ones, 2);
}

static void test_a_drain_without_the_bus_ends_in_time(void **state)
{
    (void)state;
    static struct one one;
    start_simulating(&world, &one, "one", 10);
    publish(&world, 4);
    assert_until(in_hand(&one) > 0);
    bus_mem_set_away(world.bus, true);
    (void)drain(&one, 100);
    finish(&one, 1);
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
        test(test_an_id_sent_again_after_it_expired_is_another_event),
        test(test_a_copy_whose_event_expires_is_no_work_either),
        test(test_no_more_runs_at_once_than_allowed),
        test(test_long_work_is_not_given_to_others_too),
        test(test_nothing_is_acknowledged_without_a_record),
        test(test_all_is_processed_although_the_bus_comes_and_goes),
        test(test_logs_made_anew_are_taken_up),
        test(test_a_drain_finishes_what_runs_and_returns_what_waits),
        test(test_what_a_drain_has_no_time_for_comes_to_another),
        test(test_a_drain_without_the_bus_ends_in_time),
        test(test_a_bad_list_of_handlers_starts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
