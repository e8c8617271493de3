/* What follows an event log that was emptied: positions go on behind what nobody has any more. */
#include "event-processor/follower.h"

#include "tests/lib/replica.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

/* Returns up to where the table has come on a log that holds nothing. */
static uint64_t passed(struct replica *r)
{
    struct status_table_stats stats = replica_caught_up(r);
    assert_int_equal(stats.events, 0);
    return stats.reflects.event_position;
}

static uint64_t start_on_emptied_log(struct replica *r)
{
    replica_publish(REPLICA_EVENTS);
    bus_mem_purge(replica_world.events);
    replica_start_in(r, NULL, 0);
    return passed(r);
}

/* It has folded events, and some were gone before it read them. */
static uint64_t empty_followed_log(struct replica *r)
{
    replica_start_in(r, NULL, 0);
    replica_publish(REPLICA_EVENTS);
    assert_int_equal(replica_caught_up(r).events, REPLICA_EVENTS);
    mem_world_set_readers(&replica_world, replica_world.events, ERR_DEADLINE);
    replica_publish(3);
    bus_mem_purge(replica_world.events);
    uint64_t position = passed(r);
    mem_world_set_readers(&replica_world, NULL, ERR_NONE);
    return position;
}

static void go_on(uint64_t (*start)(struct replica *r))
{
    struct replica r;
    uint64_t position = start(&r);
    replica_publish(5);
    struct status_table_stats stats = replica_caught_up(&r);
    assert_int_equal(stats.events, 5);
    assert_int_equal(stats.reflects.event_position, position + 5);
    assert_true(replica_rebuilds(&r) == 0);
    replica_stop(&r);
}

static void test_positions_go_on(void **state)
{
    (void)state;
    go_on(start_on_emptied_log);
    bus_mem_renew(replica_world.events);
    go_on(empty_followed_log);
}

/* Its end is lost too, so that its positions begin again. When it is noticed, so many have been
 * stored more than the table has passed. */
static void begin_again(uint64_t (*start)(struct replica *r), int more)
{
    struct replica r;
    uint64_t position = start(&r);
    bus_mem_lose_tail(replica_world.events, 0);
    size_t events = (size_t)((int64_t)position + more);
    replica_publish(events);
    assert_int_equal(replica_caught_up(&r).events, events);
    assert_true(replica_rebuilds(&r) == 1);
    replica_stop(&r);
}

static void test_a_lost_end_is_noticed(void **state)
{
    (void)state;
    begin_again(start_on_emptied_log, -15);
    bus_mem_renew(replica_world.events);
    begin_again(empty_followed_log, -15);
}

static void test_a_lost_end_is_noticed_although_it_is_as_far_again(void **state)
{
    (void)state;
    begin_again(start_on_emptied_log, 0);
    bus_mem_renew(replica_world.events);
    begin_again(empty_followed_log, 0);
}

static void test_a_lost_end_is_noticed_although_it_is_farther(void **state)
{
    (void)state;
    begin_again(start_on_emptied_log, 5);
    bus_mem_renew(replica_world.events);
    begin_again(empty_followed_log, 5);
}

#define test(name) cmocka_unit_test_setup_teardown(name, replica_begin, replica_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_positions_go_on),
        test(test_a_lost_end_is_noticed),
        test(test_a_lost_end_is_noticed_although_it_is_as_far_again),
        test(test_a_lost_end_is_noticed_although_it_is_farther),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
