/* Whole processors on a bus in memory: attempts to come that are lost. */
#include "tests/lib/mem_processor.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

enum {
    LONG_MS = 60 * 1000, /* longer than an event may be unchanged and than a walk is apart */
    HOUR_MS = 3600 * 1000,
    MANY = 300, /* more items than are published at once */
    IN_FLIGHT = 64,
};

/* Each test opens a world of its own, and finish closes it. */
static struct mem_world world;
static struct clock_manual clock_;
static struct one ones[2], *one; /* the one that works; what was before it has stopped */
static size_t started;

static int begin(void **state)
{
    (void)state;
    clock_manual_init(&clock_, 1700000000000);
    mem_world_open_at(&world, &clock_.base, 0);
    started = 0;
    return 0;
}

static void start(void)
{
    static char all[] = ">", simulate[] = "simulate";
    struct config_handler handler = {.match = all,
                                     .kind = simulate,
                                     .max_attempts = 3,
                                     .backoff_ms = 1,
                                     .backoff_max_ms = 1000,
                                     .timeout_ms = 10000};
    one = &ones[started++];
    one_start_with(&world, one, "one", &handler, 1);
}

static void finish(void)
{
    assert_true(one_drain(one, DRAIN_MS));
    ones_finish(ones, started);
}

static uint64_t count_of(enum status status)
{
    return one_stats(one).counts[status];
}

static uint64_t walks(void)
{
    return (uint64_t)mem_world_metric(one->metrics, "tidings_sweeps_total");
}

static uint64_t swept(void)
{
    return (uint64_t)mem_world_metric(one->metrics, "tidings_attempts_swept_total");
}

static uint64_t items(void)
{
    struct bus_log_end end;
    assert_int_equal(bus_log_end(one->processor.retry_items, 1000, &end), ERR_NONE);
    return end.count;
}

static struct bus_consumer *open_consumer(void)
{
    struct bus_consumer *consumer;
    assert_int_equal(bus_consumer_open(world.events,
                                       &(struct bus_consumer_spec){.group = "default",
                                                                   .ack_wait_ms = HOUR_MS,
                                                                   .max_ack_pending = 20000},
                                       &consumer),
                     ERR_NONE);
    return consumer;
}

static bool all_acknowledged(void)
{
    uint64_t floor;
    struct bus_consumer *consumer = open_consumer();
    assert_int_equal(bus_consumer_floor(consumer, 1000, &floor), ERR_NONE);
    bus_consumer_close(consumer);
    return floor == mem_world_last(world.events);
}

/* Time passes, and the sweep has walked. */
static void pass(int64_t ms)
{
    uint64_t before = walks();
    clock_manual_advance(&clock_, ms);
    assert_until(walks() > before);
}

/* Events that have failed once, and whose next attempts are to come. */
static void let_fail(const char *payload, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct event_id id = {{0}};
        mem_world_event(&world, "n", payload, &id);
    }
    assert_until(count_of(STATUS_RETRYING) == count && all_acknowledged() && items() == count);
    assert_until(walks() > 0); /* the one at the start, which has nothing to say to them */
}

/* All items are lost, also those that a processor has fetched and puts off. */
static void lose_items(void)
{
    assert_true(one_drain(one, DRAIN_MS));
    bus_mem_renew(one->processor.retry_items);
    start();
    assert_until(walks() > 0);
    assert_int_equal(items(), 0);
}

static void test_an_item_that_is_lost_comes_after_all(void **state)
{
    (void)state;
    start();
    let_fail("{\"simulate\":[\"fail:after=5s\",\"ok\"]}", 1);
    lose_items();
    pass(LONG_MS);
    assert_until(count_of(STATUS_PROCESSED) == 1);
    assert_int_equal(swept(), 1);
    assert_until(items() == 0);
    finish();
}

/* A server's that has lost its tail: the positions are used again, and the group is beyond them. */
static void test_an_item_that_the_group_has_passed_by_comes_after_all(void **state)
{
    static const char soon[] = "{\"simulate\":[\"fail:after=5s\",\"ok\"]}";
    struct bus_log_end end;
    struct event_id id = {{0}};
    (void)state;
    start();
    let_fail(soon, 3);
    clock_manual_advance(&clock_, 6000);
    assert_until(count_of(STATUS_PROCESSED) == 3 && items() == 0);
    mem_world_event(&world, "n", "{\"simulate\":[\"fail:after=1h\",\"ok\"]}", &id);
    assert_until(count_of(STATUS_RETRYING) == 1 && items() == 1);
    bus_mem_lose_tail(one->processor.retry_items, 0);
    id = (struct event_id){{0}};
    mem_world_event(&world, "n", soon, &id);
    assert_until(count_of(STATUS_RETRYING) == 2 && items() == 1);
    assert_int_equal(bus_log_end(one->processor.retry_items, 1000, &end), ERR_NONE);
    assert_int_equal(end.last, 1);
    pass(LONG_MS);
    assert_int_equal(count_of(STATUS_PROCESSED), 3);
    pass(LONG_MS);
    assert_until(count_of(STATUS_PROCESSED) == 4 && items() == 0);
    assert_int_equal(mem_world_metric(one->metrics, "tidings_group_restarts_total{log=\"retry\"}"),
                     1);
    finish();
}

static void test_nothing_is_swept_that_has_its_item(void **state)
{
    (void)state;
    start();
    let_fail("{\"simulate\":[\"fail:after=5s\",\"ok\"]}", 3);
    clock_manual_advance(&clock_, 6000);
    assert_until(count_of(STATUS_PROCESSED) == 3);
    pass(LONG_MS);
    assert_int_equal(swept(), 0);
    finish();
}

static void test_no_item_before_its_time(void **state)
{
    (void)state;
    start();
    let_fail("{\"simulate\":[\"fail:after=1h\",\"ok\"]}", 1);
    lose_items();
    pass(LONG_MS);
    pass(LONG_MS);
    assert_int_equal(items() + swept(), 0);
    assert_int_equal(count_of(STATUS_RETRYING), 1);
    pass(HOUR_MS);
    assert_until(count_of(STATUS_PROCESSED) == 1);
    assert_int_equal(swept(), 1);
    finish();
}

static void test_all_of_a_lost_log_come_and_few_at_a_time(void **state)
{
    (void)state;
    start();
    let_fail("{\"simulate\":[\"fail:after=5s\",\"ok\"]}", MANY);
    lose_items();
    bus_mem_set_held(world.bus, true);
    clock_manual_advance(&clock_, LONG_MS);
    assert_until(bus_in_flight(world.bus) >= IN_FLIGHT);
    /* What is published is stored; only the receipts wait. */
    assert_int_equal(mem_world_last(one->processor.retry_items), IN_FLIGHT);
    bus_mem_set_held(world.bus, false);
    assert_until(count_of(STATUS_PROCESSED) == MANY);
    assert_until(swept() == MANY);
    finish();
}

/* They wait for longer than usual, but each has its item. */
static void test_a_log_that_has_them_all_gets_few_more_and_late(void **state)
{
    (void)state;
    start();
    let_fail("{\"simulate\":[\"fail:after=1s\",\"delay:100ms\"]}", MANY);
    pass(LONG_MS);
    assert_int_equal(swept(), 0);
    pass(3 * LONG_MS);
    assert_in_range(swept(), 0, 64);
    finish();
}

/* An event that was acknowledged and is `processing` for a delivery that will not come again. */
static void begin_lost_attempt(struct event_id *id, struct status_delivery named, bool alone)
{
    size_t count;
    struct bus_delivery *delivery;
    struct bus_consumer *consumer = open_consumer();
    uint64_t position = mem_world_event(&world, "n", "x", id);
    assert_int_equal(bus_fetch(consumer, 1000, &delivery, 1, &count), ERR_NONE);
    bus_settle(delivery, BUS_ACK, 0);
    bus_consumer_close(consumer);
    struct status_change change = {
        .id = *id,
        .event_position = position,
        .state = {.status = STATUS_PROCESSING, .alone = alone, .attempt = 1},
        .time_ms = clock_wall_ms(world.clock),
        .delivery = named};
    mem_world_batch(&world, &change, 1);
}

static bool turn_clock(bool done)
{
    if (!done)
        clock_manual_advance(&clock_, 1);
    return done;
}

static void lost_attempt_ends(struct status_delivery named, bool alone, uint32_t attempt)
{
    struct event_id id = {{0}};
    struct status_entry entry;
    begin_lost_attempt(&id, named, alone);
    start();
    assert_until(walks() > 0);
    assert_int_equal(one_status(one, &id), STATUS_PROCESSING);
    pass(LONG_MS);
    assert_until(turn_clock(one_status(one, &id) == STATUS_PROCESSED)); /* after its backoff */
    assert_true(status_table_find(one->processor.table, &id, &entry, NULL));
    assert_int_equal(entry.state.attempt, attempt);
    finish();
}

static void test_an_attempt_whose_item_is_lost_is_run_alone(void **state)
{
    (void)state;
    lost_attempt_ends((struct status_delivery){STATUS_DELIVERY_RETRY, 77}, false, 1);
}

static void test_an_attempt_of_the_event_itself_that_is_lost_is_run_alone(void **state)
{
    (void)state;
    lost_attempt_ends((struct status_delivery){STATUS_DELIVERY_EVENT, 1}, false, 1);
}

static void test_an_attempt_that_was_run_alone_and_is_lost_has_failed(void **state)
{
    (void)state;
    lost_attempt_ends((struct status_delivery){STATUS_DELIVERY_RETRY, 77}, true, 2);
}

#define test(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_an_item_that_is_lost_comes_after_all),
        test(test_an_item_that_the_group_has_passed_by_comes_after_all),
        test(test_nothing_is_swept_that_has_its_item),
        test(test_no_item_before_its_time),
        test(test_all_of_a_lost_log_come_and_few_at_a_time),
        test(test_a_log_that_has_them_all_gets_few_more_and_late),
        test(test_an_attempt_whose_item_is_lost_is_run_alone),
        test(test_an_attempt_of_the_event_itself_that_is_lost_is_run_alone),
        test(test_an_attempt_that_was_run_alone_and_is_lost_has_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
