/* Processors that start from snapshots: what they read on from, and when they do not. */
#include "tests/lib/replica.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

/* ---- starting ---- */

static void test_a_start_reads_on_from_the_snapshot(void **state)
{
    (void)state;
    struct replica r, all;
    replica_leave_snapshot();
    replica_start_in(&all, NULL, 0);
    struct status_table_stats before = replica_caught_up(&all);
    bus_mem_delete(replica_world.events, 3); /* whoever reads it all again misses them */
    bus_mem_delete(replica_world.statuses, 2);
    replica_publish(5);
    struct status_table_stats after = replica_caught_up(&all);
    replica_start(&r);
    struct status_table_stats stats = replica_caught_up(&r);
    assert_true(replica_loaded(&r));
    assert_int_equal(stats.events, before.events + 5);
    assert_int_equal(stats.digest, after.digest);
    assert_memory_equal(stats.counts, after.counts, sizeof stats.counts);
    assert_true(replica_rebuilds(&r) == 0);
    replica_stop(&r);
    replica_stop(&all);
}

static void test_who_watches_reads_on_behind_the_snapshot(void **state)
{
    (void)state;
    struct replica r;
    struct changes_cursor cursor;
    replica_leave_snapshot();
    replica_start(&r);
    (void)replica_caught_up(&r);
    uint64_t position = changes_now(r.changes, &cursor);
    assert_int_equal(position, REPLICA_EVENTS / 2);
    assert_true(changes_after(r.changes, position, &cursor));
    assert_false(changes_after(r.changes, position - 1, &cursor));
    replica_stop(&r);
}

static void test_replays_are_in_it(void **state)
{
    (void)state;
    struct replica r;
    struct replay found;
    struct replay_change begin_it = {.id = {{7}},
                                     .state = REPLAY_RUNNING,
                                     .has_filter = true,
                                     .filter = {.statuses = 1u << STATUS_DEAD},
                                     .runner = VIEW("one")};
    replica_publish(2);
    uint64_t position = mem_world_replay(&replica_world, &begin_it);
    replica_leave_snapshot();
    bus_mem_delete(replica_world.statuses, position);
    replica_start(&r);
    (void)replica_caught_up(&r);
    assert_true(replays_find(r.replays, &begin_it.id, &found));
    assert_int_equal(found.begin_position, position);
    replay_release(&found);
    replica_stop(&r);
}

static void test_nothing_counts_before_the_log_has_shown_it(void **state)
{
    (void)state;
    struct bus_log *logs[] = {replica_world.events, replica_world.statuses};
    replica_leave_snapshot();
    for (size_t i = 0; i < 2; i++) {
        struct replica r;
        struct follower_target target;
        mem_world_set_readers(&replica_world, logs[i], ERR_UNAVAILABLE);
        replica_start(&r);
        assert_until(replica_loaded(&r));
        assert_until(follower_ends(r.follower, REPLICA_PATIENCE_MS, &target) == ERR_NONE);
        assert_int_equal(follower_wait(r.follower, &target, 50, NULL), ERR_DEADLINE);
        assert_int_equal(follower_ready(r.follower), 0);
        mem_world_set_readers(&replica_world, NULL, ERR_NONE);
        (void)replica_caught_up(&r);
        assert_true(replica_rebuilds(&r) == 0);
        replica_stop(&r);
    }
}

/* ---- logs that are not what they were ---- */

/* All is read again, its table is that of one who never had a snapshot, and the void one goes. */
static void assert_rebuilt(bool loss)
{
    struct replica r, all;
    replica_start(&r);
    assert_until(replica_rebuilds(&r) == 1);
    replica_publish(2);
    replica_start_in(&all, NULL, 0);
    struct status_table_stats stats = replica_caught_up(&r);
    struct status_table_stats right = replica_caught_up(&all);
    assert_int_equal(stats.digest, right.digest);
    assert_memory_equal(stats.counts, right.counts, sizeof stats.counts);
    assert_true(replica_rebuilds(&r) == 1);
    assert_int_equal(follower_losses(r.follower) > 0, loss);
    assert_until(!replica_file_exists(0, "snapshot"));
    replica_stop(&r);
    replica_stop(&all);
}

static void test_a_log_that_was_made_anew(void **state)
{
    (void)state;
    replica_leave_snapshot();
    bus_mem_renew(replica_world.events);
    assert_rebuilt(false);
    replica_leave_snapshot();
    bus_mem_renew(replica_world.statuses);
    replica_publish(2 * REPLICA_EVENTS);
    assert_rebuilt(false);
}

static void test_a_log_that_lost_its_tail(void **state)
{
    (void)state;
    replica_leave_snapshot();
    bus_mem_lose_tail(replica_world.events, REPLICA_EVENTS - 2);
    assert_rebuilt(true);
    replica_leave_snapshot();
    bus_mem_lose_tail(replica_world.statuses, REPLICA_EVENTS / 2);
    assert_rebuilt(true);
}

static void test_a_log_that_lost_its_tail_and_has_grown_again(void **state)
{
    (void)state;
    replica_leave_snapshot();
    replica_pass_a_millisecond();
    bus_mem_lose_tail(replica_world.events, REPLICA_EVENTS - 2);
    replica_publish(REPLICA_EVENTS);
    assert_rebuilt(true);
    replica_leave_snapshot();
    replica_pass_a_millisecond();
    bus_mem_lose_tail(replica_world.statuses, REPLICA_EVENTS / 2);
    replica_publish(REPLICA_EVENTS);
    assert_rebuilt(true);
}

static void test_a_log_that_was_emptied(void **state)
{
    (void)state;
    replica_leave_snapshot();
    bus_mem_purge(replica_world.events);
    assert_rebuilt(false);
    replica_leave_snapshot();
    bus_mem_purge(replica_world.statuses);
    replica_publish(1);
    assert_rebuilt(false);
}

static void test_a_log_without_the_snapshots_last_record(void **state)
{
    (void)state;
    replica_leave_snapshot();
    bus_mem_delete(replica_world.events, REPLICA_EVENTS);
    replica_publish(REPLICA_EVENTS);
    assert_rebuilt(false);
    replica_leave_snapshot();
    bus_mem_delete(replica_world.statuses, mem_world_last(replica_world.statuses));
    assert_rebuilt(false);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, replica_begin, replica_end)
    const struct CMUnitTest tests[] = {
        TEST(test_a_start_reads_on_from_the_snapshot),
        TEST(test_who_watches_reads_on_behind_the_snapshot),
        TEST(test_replays_are_in_it),
        TEST(test_nothing_counts_before_the_log_has_shown_it),
        TEST(test_a_log_that_was_made_anew),
        TEST(test_a_log_that_lost_its_tail),
        TEST(test_a_log_that_lost_its_tail_and_has_grown_again),
        TEST(test_a_log_that_was_emptied),
        TEST(test_a_log_without_the_snapshots_last_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
