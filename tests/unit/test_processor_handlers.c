/* A whole processor on a bus in memory: handlers that fail, hang, are slow or many. */
#include "tests/lib/mem_processor.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

/* Each test opens a world of its own, and ones_finish closes it. */
static struct mem_world world;
static char all[] = ">", slow[] = "slow", simulate[] = "simulate";

static int begin(void **state)
{
    (void)state;
    mem_world_open(&world);
    return 0;
}

static void publish(const char *name, const char *payload, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct event_id id = {{0}};
        mem_world_event(&world, name, payload, &id);
    }
}

static uint64_t count_of(struct one *one, enum status status)
{
    return one_stats(one).counts[status];
}

static double metric(struct one *one, const char *series)
{
    return mem_world_metric(one->metrics, series);
}

/* The first dead letter's header. */
static void assert_letter(const char *header, const char *expected)
{
    struct bus_record *letter;
    assert_int_equal(bus_log_read(world.dead, 1, 1000, &letter), ERR_NONE);
    struct view value = bus_record_header(letter, header);
    if (!view_equal(value, view_of(expected)))
        fail_msg("%s is \"%.*s\", not \"%s\"", header, (int)value.len, value.data, expected);
    bus_record_free(letter);
}

static struct config_handler quick_retries(uint64_t max_attempts)
{
    return (struct config_handler){.match = all,
                                   .kind = simulate,
                                   .max_attempts = max_attempts,
                                   .backoff_ms = 1,
                                   .backoff_max_ms = 2};
}

static void drain_and_finish(struct one *one)
{
    assert_true(one_drain(one, DRAIN_MS));
    ones_finish(one, 1);
}

/* ---- what the payload asks for ---- */

/* Runs one event until it is dead, and looks at its letter. */
static void one_dies(const char *payload, const char *error, const char *attempts)
{
    static struct one one;
    struct config_handler handler = quick_retries(3);
    one_start_with(&world, &one, "one", &handler, 1);
    publish("a", payload, 1);
    assert_until(count_of(&one, STATUS_DEAD) == 1);
    assert_letter("Tidings-Error", error);
    assert_letter("Tidings-Attempts", attempts);
    drain_and_finish(&one);
}

static void test_who_fails_ends_dead_with_the_reason(void **state)
{
    (void)state;
    one_dies("{\"simulate\":[\"fail:first\",\"fail:no stock\"]}", "no stock", "3");
}

static void test_never_again_is_at_once(void **state)
{
    (void)state;
    one_dies("{\"simulate\":[\"never:no such customer\",\"ok\"]}", "no such customer", "1");
}

static void test_a_crash_that_is_not_allowed_is_a_failure(void **state)
{
    (void)state;
    one_dies("{\"simulate\":[\"crash\"]}", "the configuration has no allow_crash: true", "3");
}

static void test_an_attempt_may_succeed_after_others(void **state)
{
    (void)state;
    static struct one one;
    struct config_handler handler = quick_retries(3);
    handler.backoff_ms = handler.backoff_max_ms = 3600 * 1000; /* so the payload's time counts */
    one_start_with(&world, &one, "one", &handler, 1);
    publish("a", "{\"simulate\":[\"fail:after=10ms\",\"fail:after=0\",\"delay:5ms\"]}", 20);
    assert_until(count_of(&one, STATUS_PROCESSED) == 20);
    drain_and_finish(&one);
}

static void test_some_fail_by_chance(void **state)
{
    (void)state;
    static struct one one;
    enum { EVENTS = 400 };
    struct config_handler handler = quick_retries(1);
    handler.failure_rate = 0.5;
    one_start_with(&world, &one, "one", &handler, 1);
    publish("a", "x", EVENTS);
    assert_until(count_of(&one, STATUS_PROCESSED) + count_of(&one, STATUS_DEAD) == EVENTS);
    /* Outside of this once in 10^10 times. */
    assert_in_range(count_of(&one, STATUS_DEAD), EVENTS / 2 - 65, EVENTS / 2 + 65);
    drain_and_finish(&one);
}

/* ---- time limits ---- */

static void test_an_attempt_that_hangs_has_failed_at_its_limit(void **state)
{
    (void)state;
    static struct one one;
    struct config_handler handler = quick_retries(2);
    handler.timeout_ms = 50;
    one_start_with(&world, &one, "one", &handler, 1);
    publish("a", "{\"simulate\":[\"hang\"]}", 1);
    assert_until(count_of(&one, STATUS_DEAD) == 1);
    assert_letter("Tidings-Error", "it took longer than 50ms");
    assert_letter("Tidings-Attempts", "2");
    assert_true(metric(&one, "tidings_runs_timed_out_total") == 2);
    assert_true(metric(&one, "tidings_runs_in_progress") == 0);
    drain_and_finish(&one);
}

/* They end as their limits come: each attempt has one end, whatever that is. */
static void test_an_attempt_ends_once(void **state)
{
    (void)state;
    static struct one one;
    enum { EVENTS = 2000 };
    struct config_handler handler = quick_retries(1);
    handler.delay_ms = 10;
    handler.timeout_ms = 10;
    world.settings.concurrency = 64;
    one_start_with(&world, &one, "one", &handler, 1);
    publish("a", "x", EVENTS);
    assert_until(count_of(&one, STATUS_PROCESSED) + count_of(&one, STATUS_DEAD) == EVENTS);
    assert_true(one_drain(&one, DRAIN_MS));
    assert_int_equal(one_deliveries(&one, "processed") + one_deliveries(&one, "dead"), EVENTS);
    assert_true(metric(&one, "tidings_runs_timed_out_total") ==
                (double)one_deliveries(&one, "dead"));
    assert_true(metric(&one, "tidings_runs_in_progress") == 0);
    ones_finish(&one, 1);
}

static void test_a_drain_charges_nothing(void **state)
{
    (void)state;
    static struct one ones[2];
    struct config_handler handler = quick_retries(1);
    one_start_with(&world, &ones[0], "one", &handler, 1);
    publish("a", "{\"simulate\":[\"hang\"]}", 4);
    assert_until(metric(&ones[0], "tidings_runs_in_progress") == 4);
    assert_false(one_drain(&ones[0], 50));
    assert_true(metric(&ones[0], "tidings_runs_timed_out_total") == 0);
    assert_int_equal(one_deliveries(&ones[0], "left"), 4);
    handler.timeout_ms = 20;
    one_start_with(&world, &ones[1], "other", &handler, 1);
    assert_until(count_of(&ones[1], STATUS_DEAD) == 4);
    assert_true(metric(&ones[1], "tidings_runs_timed_out_total") == 4);
    assert_true(one_drain(&ones[1], DRAIN_MS));
    ones_finish(ones, 2);
}

/* Else the next one to get them would think that their runner has vanished. */
static void test_a_drain_runs_what_it_has_claimed(void **state)
{
    (void)state;
    static struct one one;
    enum { EVENTS = 30, RUNS = 2 };
    struct config_handler handler = quick_retries(8);
    handler.delay_ms = 50;
    world.settings.concurrency = RUNS;
    one_start_with(&world, &one, "one", &handler, 1);
    publish("a", "{\"simulate\":[\"fail\",\"ok\"]}", EVENTS);
    assert_until(count_of(&one, STATUS_PROCESSING) > 0);
    assert_true(one_drain(&one, DRAIN_MS));
    assert_true(one_stats(&one).events == EVENTS);
    assert_true(count_of(&one, STATUS_PROCESSED) < EVENTS);
    assert_until(count_of(&one, STATUS_PROCESSING) == 0);
    ones_finish(&one, 1);
}

static void test_time_limits_hold_during_a_drain(void **state)
{
    (void)state;
    static struct one one;
    struct config_handler handler = quick_retries(8);
    handler.timeout_ms = 1500;
    one_start_with(&world, &one, "one", &handler, 1);
    publish("a", "{\"simulate\":[\"hang\"]}", 4);
    assert_until(metric(&one, "tidings_runs_in_progress") == 4);
    assert_true(one_drain(&one, 4 * DRAIN_MS));
    assert_true(metric(&one, "tidings_runs_timed_out_total") == 4);
    ones_finish(&one, 1);
}

/* ---- many handlers ---- */

static void test_a_handlers_own_concurrency(void **state)
{
    (void)state;
    static struct one one;
    enum { EVENTS = 60 };
    struct config_handler handler = quick_retries(1);
    double most = 0;
    handler.delay_ms = 10;
    handler.concurrency = 3;
    one_start_with(&world, &one, "one", &handler, 1);
    publish("a", "x", EVENTS);
    while (count_of(&one, STATUS_PROCESSED) < EVENTS) {
        double now = metric(&one, "tidings_runs_in_progress");
        most = now > most ? now : most;
        assert_true(now <= 3);
    }
    assert_true(most == 3);
    drain_and_finish(&one);
}

/* One has much work that never ends; more than a processor has in hand, and in front of the log. */
static void test_who_is_slow_holds_up_nobody(void **state)
{
    (void)state;
    static struct one one;
    enum { SLOW = 1000, QUICK = 1000 };
    struct config_handler list[] = {{.match = slow, .kind = simulate, .delay_ms = 3600 * 1000},
                                    quick_retries(1)};
    list[0].timeout_ms = 3600 * 1000;
    publish("slow", "x", SLOW);
    publish("quick", "x", QUICK);
    one_start_with(&world, &one, "one", list, 2);
    assert_until(count_of(&one, STATUS_PROCESSED) == QUICK);
    publish("quick", "x", QUICK);
    assert_until(count_of(&one, STATUS_PROCESSED) == 2 * QUICK);
    assert_true(metric(&one, "tidings_deliveries_put_off_total") > 0);
    assert_int_equal(count_of(&one, STATUS_DEAD), 0);
    assert_false(one_drain(&one, 0));
    ones_finish(&one, 1);
}

/* What was put off is run all the same, as soon as its handler can. */
static void test_what_is_put_off_comes_back(void **state)
{
    (void)state;
    static struct one one;
    enum { SLOW = 300, QUICK = 300 };
    struct config_handler list[] = {{.match = slow, .kind = simulate, .delay_ms = 20},
                                    quick_retries(1)};
    list[0].concurrency = 4;
    list[0].max_attempts = 1; /* one that is charged in vain is dead */
    publish("slow", "x", SLOW);
    publish("quick", "x", QUICK);
    one_start_with(&world, &one, "one", list, 2);
    assert_until(count_of(&one, STATUS_PROCESSED) == SLOW + QUICK);
    assert_int_equal(count_of(&one, STATUS_DEAD), 0);
    drain_and_finish(&one);
}

/* Without it these would be all that the group may have in hand. */
static void test_what_waits_for_one_that_hangs_does_so_elsewhere(void **state)
{
    (void)state;
    static struct one one;
    enum { HANGING = 400, PENDING = 100, HEALTHY = 20 };
    struct config_handler handlers[] = {{.match = slow, .kind = simulate},
                                        {.match = all, .kind = simulate}};
    struct bus_log_end end;
    world.settings.concurrency = 4;
    world.settings.max_ack_pending = PENDING;
    publish("slow", "{\"simulate\":[\"hang\"]}", HANGING);
    publish("quick", "x", HEALTHY);
    one_start_with(&world, &one, "one", handlers, 2);
    assert_until(count_of(&one, STATUS_PROCESSED) == HEALTHY);
    assert_true(one_deliveries(&one, "put_off") >= HANGING - PENDING);
    assert_int_equal(bus_log_end(one.processor.retry_items, 1000, &end), ERR_NONE);
    assert_true(end.last >= HANGING - PENDING);
    assert_int_equal(count_of(&one, STATUS_DEAD), 0);
    assert_true(metric(&one, "tidings_attempts_failed_total") == 0);
    assert_false(one_drain(&one, 0));
    ones_finish(&one, 1);
}

static int64_t ms_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static double all_fetches(struct one *one)
{
    return metric(one, "tidings_fetches_total{log=\"events\"}") +
           metric(one, "tidings_fetches_total{log=\"retry\"}");
}

/* Whoever has nothing in hand does not look for room all the time. */
static void test_full_lanes_cost_no_time(void **state)
{
    (void)state;
    enum { LOOK_MS = 300, BUSY_MS = LOOK_MS / 2, MANY = 200 };
    static struct one one;
    const struct config_handler handlers[] = {{.match = slow, .kind = simulate},
                                              {.match = all, .kind = simulate}};
    publish("slow", "{\"simulate\":[\"hang\"]}", MANY);
    publish("other", "{\"simulate\":[\"hang\"]}", MANY);
    one_start_with(&world, &one, "one", handlers, 2);
    int64_t cpu_ms;
    double fetches;
    do { /* until nothing fits any more */
        int64_t until_ms = ms_of(CLOCK_MONOTONIC) + LOOK_MS;
        fetches = all_fetches(&one);
        cpu_ms = -ms_of(CLOCK_PROCESS_CPUTIME_ID);
        assert_until(ms_of(CLOCK_MONOTONIC) >= until_ms);
        cpu_ms += ms_of(CLOCK_PROCESS_CPUTIME_ID);
    } while (fetches == 0 || fetches < all_fetches(&one));
    assert_in_range(cpu_ms, 0, BUSY_MS);
    assert_false(one_drain(&one, 0)); /* they hang on */
    ones_finish(&one, 1);
}

#define test(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_full_lanes_cost_no_time),
        test(test_who_fails_ends_dead_with_the_reason),
        test(test_never_again_is_at_once),
        test(test_a_crash_that_is_not_allowed_is_a_failure),
        test(test_an_attempt_may_succeed_after_others),
        test(test_some_fail_by_chance),
        test(test_an_attempt_that_hangs_has_failed_at_its_limit),
        test(test_an_attempt_ends_once),
        test(test_a_drain_charges_nothing),
        test(test_a_drain_runs_what_it_has_claimed),
        test(test_time_limits_hold_during_a_drain),
        test(test_a_handlers_own_concurrency),
        test(test_who_is_slow_holds_up_nobody),
        test(test_what_is_put_off_comes_back),
        test(test_what_waits_for_one_that_hangs_does_so_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
