/* When a group begins anew because the status log has lost records: the rules, step by step. */
#include "event-processor/restart.h"

#include "common/bus_driver.h"
#include "tests/lib/mem_world.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

enum { EVENTS = 3, APART_MS = 200 };

/* A replica whose consumer is the test: it acknowledges and records what it likes. */
static struct {
    struct mem_world world;
    struct metrics *metrics;
    struct status_table *table;
    struct follower *follower;
    struct bus_consumer *consumer;
    struct restart restart;
    struct event_id ids[EVENTS + 1]; /* by position */
    struct bus_driver driver;        /* the world's, but for restarts */
    const struct bus_driver *driver_below;
    int restarts; /* asked for */
    int failing;  /* the first of these are not done */
    bool untold;  /* nobody learns that they are done */
} t;

static enum err told_restart(struct bus_consumer *consumer, int64_t timeout_ms)
{
    if (++t.restarts <= t.failing)
        return ERR_DEADLINE;
    enum err e = t.driver_below->consumer_restart(consumer, timeout_ms);
    return t.untold ? ERR_DEADLINE : e;
}

/* After the consumer is opened. */
static void start(void)
{
    assert_int_equal(status_table_new(&t.table), ERR_NONE);
    assert_int_equal(follower_start(&(struct follower_options){.event_log = t.world.events,
                                                               .event_stream = MEM_WORLD_STREAM,
                                                               .ns = MEM_WORLD_NS,
                                                               .status_log = t.world.statuses,
                                                               .table = t.table,
                                                               .metrics = t.metrics},
                                    &t.follower),
                     ERR_NONE);
    restart_init(&t.restart, &(struct restart_options){.event_log = t.world.events,
                                                       .consumer = t.consumer,
                                                       .follower = t.follower,
                                                       .table = t.table,
                                                       .metrics = t.metrics,
                                                       .look_ms = 1,
                                                       .apart_ms = APART_MS});
    assert_until(follower_ready(t.follower) != 0);
}

static void stop(void)
{
    follower_stop(t.follower);
    follower_free(t.follower);
    status_table_free(t.table);
}

static int begin(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    mem_world_open(&t.world);
    t.driver_below = t.world.bus->driver;
    t.driver = *t.driver_below;
    t.driver.consumer_restart = told_restart;
    t.world.bus->driver = &t.driver;
    for (uint64_t i = 1; i <= EVENTS; i++)
        assert_int_equal(mem_world_event(&t.world, "n", "x", &t.ids[i]), i);
    assert_int_equal(metrics_new(&t.metrics), ERR_NONE);
    assert_int_equal(bus_consumer_open(t.world.events,
                                       &(struct bus_consumer_spec){.group = "default",
                                                                   .ack_wait_ms = 60000,
                                                                   .max_ack_pending = 100},
                                       &t.consumer),
                     ERR_NONE);
    start();
    return 0;
}

static int end(void **state)
{
    (void)state;
    stop();
    bus_consumer_close(t.consumer);
    mem_world_close(&t.world);
    metrics_free(t.metrics);
    return 0;
}

/* Takes all deliveries there are, and acknowledges them. */
static size_t acknowledge(void)
{
    struct bus_delivery *deliveries[EVENTS];
    size_t count = 0;
    if (bus_fetch(t.consumer, 0, deliveries, EVENTS, &count))
        return 0;
    for (size_t i = 0; i < count; i++)
        bus_settle(deliveries[i], BUS_ACK, 0);
    return count;
}

static void record(uint64_t position)
{
    struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};
    mem_world_change(&t.world, &t.ids[position], position, processed, 0, "");
}

static int restarts(void)
{
    return (int)mem_world_metric(t.metrics, "tidings_group_restarts_total{log=\"status\"}");
}

/* As many steps as it takes to look and come to a decision at least twice. */
static void look(void)
{
    int searches = 0;
    for (int i = 0; i < UNTIL_LIMIT_MS && searches < 2 * EVENTS; i++) {
        searches += t.restart.step == RESTART_SEARCH;
        assert_true(restart_tend(&t.restart));
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_int_equal(searches, 2 * EVENTS);
}

static int64_t ms_until_restart(int number)
{
    struct timespec before = wait_until(0);
    assert_until(restart_tend(&t.restart) && restarts() == number);
    struct timespec now = wait_until(0);
    return (now.tv_sec - before.tv_sec) * 1000 + (now.tv_nsec - before.tv_nsec) / 1000000;
}

/* ---- the rule ---- */

static void test_what_is_not_acknowledged_may_be_open(void **state)
{
    (void)state;
    struct bus_delivery *deliveries[EVENTS];
    size_t count = 0;
    look();
    assert_int_equal(bus_fetch(t.consumer, 0, deliveries, EVENTS, &count), ERR_NONE);
    assert_int_equal(count, EVENTS);
    bus_settle(deliveries[1], BUS_ACK, 0); /* above the first, which is not */
    bus_settle(deliveries[2], BUS_LEAVE, 0);
    look();
    record(1);
    bus_settle(deliveries[0], BUS_ACK, 0);
    record(2);
    look();
    assert_int_equal(restarts(), 0);
}

static void test_what_is_acknowledged_may_not(void **state)
{
    (void)state;
    record(1);
    record(2);
    assert_int_equal(acknowledge(), EVENTS);
    ms_until_restart(1);
    assert_int_equal(acknowledge(), EVENTS); /* all of it again */
}

static void test_it_takes_its_word_from_a_table_that_knows_all_there_was(void **state)
{
    (void)state;
    mem_world_set_readers(&t.world, NULL, ERR_DEADLINE);
    for (uint64_t i = 1; i <= EVENTS; i++)
        record(i);
    assert_int_equal(acknowledge(), EVENTS);
    for (int i = 0; i < 100; i++) {
        assert_true(restart_tend(&t.restart));
        assert_true(t.restart.step != RESTART_SEARCH);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    mem_world_set_readers(&t.world, NULL, ERR_NONE);
    look();
    assert_int_equal(restarts(), 0);
}

static void test_an_event_that_is_lost_itself_is_past_help(void **state)
{
    (void)state;
    struct bus_log_end log_end;
    record(1);
    assert_int_equal(acknowledge(), EVENTS);
    /* The table has read it: it stays open. */
    assert_int_equal(bus_log_end(t.world.events, 1000, &log_end), ERR_NONE);
    struct follower_target target = {.event_position = log_end.last};
    assert_int_equal(follower_wait(t.follower, &target, UNTIL_LIMIT_MS, NULL), ERR_NONE);
    bus_mem_delete(t.world.events, 2);
    record(3);
    look();
    assert_int_equal(restarts(), 0);
    struct event_id id = {{0}};
    assert_int_equal(mem_world_event(&t.world, "n", "x", &id), EVENTS + 1);
    assert_int_equal(acknowledge(), 1);
    ms_until_restart(1); /* those behind it are not forgotten */
}

/* ---- no circles ---- */

static void test_restarts_are_ever_further_apart(void **state)
{
    (void)state;
    assert_int_equal(acknowledge(), EVENTS);
    ms_until_restart(1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(acknowledge(), EVENTS); /* without a record, again */
        int64_t took_ms = ms_until_restart(2 + i);
        assert_true(took_ms >= (APART_MS << i) - 20); /* less what came between */
    }
    for (uint64_t i = 1; i <= EVENTS; i++)
        record(i);
    assert_true(t.restart.apart_ms > APART_MS);
    look(); /* nothing is open, but nothing is acknowledged either */
    assert_true(t.restart.apart_ms > APART_MS);
    assert_int_equal(acknowledge(), EVENTS);
    look();
    assert_int_equal(t.restart.apart_ms, APART_MS);
    assert_int_equal(restarts(), 4);
}

static void test_a_group_that_is_beyond_the_event_log_begins_anew(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= EVENTS; i++)
        record(i);
    assert_int_equal(acknowledge(), EVENTS);
    stop();
    bus_mem_lose_tail(t.world.events, EVENTS - 1);
    start();
    assert_until(restart_tend(&t.restart) && acknowledge() == EVENTS - 1);
    assert_int_equal(mem_world_metric(t.metrics, "tidings_group_restarts_total{log=\"events\"}"),
                     1);
}

/* ---- tables that differ ---- */

static enum status status_at(uint64_t position)
{
    struct status_entry entry;
    return status_table_at(t.table, position, &entry, NULL) ? entry.state.status : STATUS_NONE;
}

static void test_what_others_have_ended_ends_here(void **state)
{
    struct event_id same;
    (void)state;
    for (uint64_t i = 1; i <= EVENTS; i++)
        record(i);
    assert_int_equal(acknowledge(), EVENTS);
    same = t.ids[EVENTS];
    uint64_t epoch = follower_ready(t.follower);
    bus_mem_lose_tail(t.world.events, EVENTS - 1); /* its record is of no event now, ... */
    assert_until(follower_ready(t.follower) > epoch && status_at(EVENTS - 1) == STATUS_PROCESSED);
    assert_int_equal(mem_world_event(&t.world, "n", "x", &same), EVENTS);
    assert_until(status_at(EVENTS) == STATUS_ACCEPTED); /* ... but is of this one to new tables */
    assert_until(restart_tend(&t.restart) && acknowledge() == EVENTS);
    ms_until_restart(1);
    assert_int_equal(acknowledge(), EVENTS);
    assert_until(restart_tend(&t.restart) && status_at(EVENTS) == STATUS_PROCESSED);
    assert_int_equal(restarts(), 1);
}

/* ---- when the bus fails ---- */

static void test_a_restart_that_may_have_been_is_looked_at_again(void **state)
{
    (void)state;
    t.untold = true;
    assert_int_equal(acknowledge(), EVENTS);
    ms_until_restart(1);
    look(); /* after the time between two */
    assert_int_equal(t.restarts, 1);
    assert_int_equal(acknowledge(), EVENTS);
}

static void test_a_restart_that_has_not_been_is_done_again(void **state)
{
    (void)state;
    t.failing = 1;
    assert_int_equal(acknowledge(), EVENTS);
    ms_until_restart(1);
    assert_true(ms_until_restart(2) >= APART_MS - 20);
    assert_int_equal(t.restarts, 2);
    assert_int_equal(acknowledge(), EVENTS);
}

static void test_a_bus_that_is_away_is_asked_again(void **state)
{
    (void)state;
    assert_int_equal(acknowledge(), EVENTS);
    bus_mem_set_away(t.world.bus, true);
    for (int i = 0; i < 100; i++) {
        assert_true(restart_tend(&t.restart));
        assert_true(t.restart.step == RESTART_ASK);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    bus_mem_set_away(t.world.bus, false);
    ms_until_restart(1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_what_is_not_acknowledged_may_be_open),
        test(test_what_is_acknowledged_may_not),
        test(test_it_takes_its_word_from_a_table_that_knows_all_there_was),
        test(test_an_event_that_is_lost_itself_is_past_help),
        test(test_restarts_are_ever_further_apart),
        test(test_a_group_that_is_beyond_the_event_log_begins_anew),
        test(test_what_others_have_ended_ends_here),
        test(test_a_restart_that_may_have_been_is_looked_at_again),
        test(test_a_restart_that_has_not_been_is_done_again),
        test(test_a_bus_that_is_away_is_asked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
