/* Processors whose status log loses records: every event ends again, in every replica's table. */
#include "tests/lib/mem_processor.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

enum { ROUNDS = 5, EACH = 8, EVENTS = ROUNDS * EACH };

static struct mem_world world;
static struct one ones[2];

static int begin(void **state)
{
    (void)state;
    mem_world_open(&world);
    return 0;
}

static bool all_ended(struct one *one)
{
    struct status_table_stats stats = one_stats(one);
    return follower_ready(one->processor.follower) == stats.reflects.epoch &&
           stats.counts[STATUS_PROCESSED] == EVENTS && stats.events == EVENTS;
}

static double restarts(size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += mem_world_metric(ones[i].metrics, "tidings_group_restarts_total{log=\"status\"}");
    return sum;
}

/* Several records, each of some events that are acknowledged. */
static void process_all(size_t count)
{
    for (size_t i = 0; i < count; i++)
        one_start_simulating(&world, &ones[i], i ? "b" : "a", 0);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        mem_processor_publish(&world, EACH);
        assert_until(mem_world_floor(&world) == round * EACH);
    }
    for (size_t i = 0; i < count; i++)
        assert_until(all_ended(&ones[i]));
    assert_true(restarts(count) == 0);
}

static void finish_when_all_ended(void)
{
    assert_until(restarts(2) >= 1); /* until then one may not have noticed yet */
    for (size_t i = 0; i < 2; i++)
        assert_until(all_ended(&ones[i]) && mem_world_floor(&world) == EVENTS);
    for (size_t i = 0; i < 2; i++)
        assert_true(one_drain(&ones[i], DRAIN_MS));
    ones_finish(ones, 2);
}

static void lose_tail(void)
{
    bus_mem_lose_tail(world.statuses, 2);
}

static void lose_all(void)
{
    bus_mem_renew(world.statuses);
}

static void purge(void)
{
    bus_mem_purge(world.statuses);
}

static void make_holes(void)
{
    bus_mem_delete(world.statuses, 2);
    bus_mem_delete(world.statuses, 4);
}

/* The first one, which knows what was lost, has stopped working. */
static void lost_while_none_runs(void (*lose)(void))
{
    process_all(1);
    assert_true(one_drain(&ones[0], DRAIN_MS));
    lose();
    one_start_simulating(&world, &ones[1], "b", 0);
    assert_until(all_ended(&ones[1]) && mem_world_floor(&world) == EVENTS);
    assert_true(one_deliveries(&ones[1], "processed") >= 1);
    assert_true(restarts(2) == 1);
    assert_true(one_drain(&ones[1], DRAIN_MS));
    ones_finish(ones, 2);
}

static void until_both_have_rebuilt(void)
{
    for (size_t i = 0; i < 2; i++)
        assert_until(one_stats(&ones[i]).reflects.epoch >= 2);
}

static void test_a_tail_lost_while_processors_run(void **state)
{
    (void)state;
    process_all(2);
    lose_tail();
    until_both_have_rebuilt();
    finish_when_all_ended();
}

static void test_a_log_made_anew_while_processors_run(void **state)
{
    (void)state;
    process_all(2);
    lose_all();
    until_both_have_rebuilt();
    finish_when_all_ended();
}

static void test_a_tail_lost_while_none_runs(void **state)
{
    (void)state;
    lost_while_none_runs(lose_tail);
}

static void test_holes_made_while_none_runs(void **state)
{
    (void)state;
    lost_while_none_runs(make_holes);
}

static void test_a_log_emptied_while_none_runs(void **state)
{
    (void)state;
    lost_while_none_runs(purge);
}

/* The one that goes on has folded what was lost, and would only acknowledge it again. */
static void lost_before_another_starts(void (*lose)(void))
{
    process_all(1);
    lose();
    one_start_simulating(&world, &ones[1], "b", 0);
    finish_when_all_ended();
}

static void test_holes_before_another_starts(void **state)
{
    (void)state;
    lost_before_another_starts(make_holes);
}

static void test_a_log_emptied_before_another_starts(void **state)
{
    (void)state;
    lost_before_another_starts(purge);
}

/* ---- attempts of events that are lost ---- */

/* They are fetched together, and ack_wait is shorter than one of the barrier's tries. */
static void test_an_attempt_beyond_the_end_holds_up_nobody(void **state)
{
    (void)state;
    struct event_id id = {{0}}, lost;
    struct bus_log_end end;
    struct bus_log *retries = mem_world_retries(&world);
    uint64_t position = mem_world_event(&world, "n", "a", &id);
    id_make(&clock_system, &lost);
    mem_world_item(&world, retries,
                   &(struct retry_item){.id = lost, .event_position = position + 50, .attempt = 1});
    mem_world_item(&world, retries,
                   &(struct retry_item){.id = id, .event_position = position, .attempt = 1});
    one_start_simulating(&world, &ones[0], "a", 0);
    assert_until(one_status(&ones[0], &id) == STATUS_PROCESSED);
    assert_until(bus_log_end(retries, 1000, &end) == ERR_NONE && end.count == 1);
    assert_int_equal(end.first, 1);
    assert_true(one_drain(&ones[0], DRAIN_MS));
    ones_finish(ones, 1);
}

/* Its table still has the one that was lost. */
static void test_an_attempt_is_not_made_with_who_is_at_its_position_now(void **state)
{
    (void)state;
    struct event_id lost = {{0}}, other = {{0}}, named;
    struct bus_record *letter;
    struct bus_log *retries = mem_world_retries(&world);
    one_start_simulating(&world, &ones[0], "a", 0);
    mem_world_event(&world, "n", "{\"simulate\":[\"fail:after=1h\"]}", &lost);
    assert_until(one_status(&ones[0], &lost) == STATUS_RETRYING);
    uint64_t epoch = one_stats(&ones[0]).reflects.epoch;
    mem_world_set_readers(&world, world.events, ERR_UNAVAILABLE); /* it hears of that late */
    bus_mem_lose_tail(world.events, 0);
    assert_int_equal(mem_world_event(&world, "n", "{\"simulate\":[\"never\"]}", &other), 1);
    mem_world_item(&world, retries,
                   &(struct retry_item){.id = lost, .event_position = 1, .attempt = 2});
    assert_until(one_deliveries(&ones[0], "returned") == 1 ||
                 one_stats(&ones[0]).reflects.epoch > epoch);
    mem_world_set_readers(&world, world.events, ERR_NONE);
    assert_until(one_status(&ones[0], &other) == STATUS_DEAD);
    assert_until(one_deliveries(&ones[0], "void") == 1);
    assert_int_equal(mem_world_last(world.dead), 1);
    assert_int_equal(bus_log_read(world.dead, 1, 1000, &letter), ERR_NONE);
    assert_true(id_parse(bus_record_header(letter, "Tidings-Event-Id"), &named));
    assert_true(id_equal(&named, &other));
    bus_record_free(letter);
    assert_true(one_drain(&ones[0], DRAIN_MS));
    ones_finish(ones, 1);
}

#define test(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_an_attempt_beyond_the_end_holds_up_nobody),
        test(test_an_attempt_is_not_made_with_who_is_at_its_position_now),
        test(test_a_tail_lost_while_processors_run),
        test(test_a_log_made_anew_while_processors_run),
        test(test_a_tail_lost_while_none_runs),
        test(test_holes_made_while_none_runs),
        test(test_a_log_emptied_while_none_runs),
        test(test_holes_before_another_starts),
        test(test_a_log_emptied_before_another_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
