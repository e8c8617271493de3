/* The files of snapshots: whose they are, when they are written, and when they cannot be. */
#include "tests/lib/replica.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- files ---- */

static void test_a_damaged_snapshot_is_ignored(void **state)
{
    (void)state;
    struct replica r;
    replica_leave_snapshot();
    replica_damage_file(0);
    replica_start(&r);
    assert_int_equal(replica_caught_up(&r).events, REPLICA_EVENTS);
    assert_false(replica_loaded(&r));
    replica_finish(&r); /* and overwritten */
    replica_start(&r);
    assert_int_equal(replica_caught_up(&r).events, REPLICA_EVENTS);
    assert_true(replica_loaded(&r));
    replica_stop(&r);
}

static void test_processors_share_a_folder(void **state)
{
    (void)state;
    struct replica a, b, c;
    replica_publish(REPLICA_EVENTS);
    replica_start(&a);
    replica_start(&b);
    (void)replica_caught_up(&a);
    replica_finish(&a);
    replica_pass_a_millisecond();
    replica_publish(REPLICA_EVENTS);
    (void)replica_caught_up(&b);
    replica_finish(&b);
    assert_true(replica_file_exists(0, "snapshot") && replica_file_exists(1, "snapshot"));
    /* The youngest is everybody's, ... */
    bus_mem_delete(replica_world.events, REPLICA_EVENTS + 1);
    replica_start(&a);
    replica_start(&c);
    assert_int_equal(replica_caught_up(&a).events, 2 * REPLICA_EVENTS);
    assert_int_equal(replica_caught_up(&c).events, 2 * REPLICA_EVENTS);
    replica_stop(&a);
    replica_stop(&c);
    replica_damage_file(1);
    replica_start(&a); /* ... and if that is damaged the next one */
    assert_int_equal(replica_caught_up(&a).events, 2 * REPLICA_EVENTS - 1);
    assert_true(replica_loaded(&a) && replica_rebuilds(&a) == 0);
    replica_stop(&a);
}

static void test_a_folder_that_cannot_be_used(void **state)
{
    (void)state;
    struct replica r;
    replica_publish(REPLICA_EVENTS);
    replica_start_in(&r, "/dev/null/folder", 1);
    assert_int_equal(replica_caught_up(&r).events, REPLICA_EVENTS);
    assert_true(replica_taken(&r, "written") == 0);
    replica_finish(&r);
}

static void test_folders_are_made(void **state)
{
    (void)state;
    char path[128];
    struct replica r;
    snprintf(path, sizeof path, "%s/one/two", replica_folder);
    replica_start_in(&r, path, REPLICA_NEVER_MS);
    (void)replica_caught_up(&r);
    replica_finish(&r);
    snprintf(path, sizeof path, "%s/one/two/TEST_STATUS.0.snapshot", replica_folder);
    assert_int_equal(access(path, F_OK), 0);
}

static void test_a_disk_without_room(void **state)
{
    (void)state;
    struct rlimit before, none;
    struct replica r;
    replica_leave_snapshot();
    replica_start(&r);
    replica_publish(REPLICA_EVENTS);
    (void)replica_caught_up(&r);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = (struct rlimit){.rlim_cur = 100, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    snapshots_finish(r.snapshots, REPLICA_PATIENCE_MS);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(replica_taken(&r, "failed") == 1);
    assert_false(replica_file_exists(0, "new"));
    replica_stop(&r);
    replica_start(&r); /* the last good one is there still */
    assert_int_equal(replica_caught_up(&r).events, 2 * REPLICA_EVENTS);
    assert_true(replica_loaded(&r));
    replica_stop(&r);
}

/* ---- times ---- */

static void test_they_are_taken_at_intervals_while_there_is_something_new(void **state)
{
    (void)state;
    struct replica r;
    replica_start_in(&r, replica_folder, 1);
    assert_until(replica_taken(&r, "written") == 1); /* of nothing */
    replica_publish(1);
    (void)replica_caught_up(&r);
    assert_until(replica_taken(&r, "written") >= 2);
    replica_publish(2);
    (void)replica_caught_up(&r);
    double before = replica_taken(&r, "written");
    replica_finish(&r);
    replica_start_in(&r, replica_folder, 1);
    assert_int_equal(replica_caught_up(&r).events, 3);
    snapshots_finish(r.snapshots, REPLICA_PATIENCE_MS);
    assert_true(before >= 2 && replica_taken(&r, "written") == 0); /* it has this one */
    replica_stop(&r);
}

static void test_there_is_no_time_for_a_last_one(void **state)
{
    (void)state;
    struct replica r;
    replica_publish(REPLICA_EVENTS);
    replica_start(&r);
    (void)replica_caught_up(&r);
    snapshots_finish(r.snapshots, 0);
    assert_true(replica_taken(&r, "failed") == 1);
    assert_false(replica_file_exists(0, "snapshot") || replica_file_exists(0, "new"));
    replica_stop(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, replica_begin, replica_end)
    const struct CMUnitTest tests[] = {
        TEST(test_a_damaged_snapshot_is_ignored),
        TEST(test_processors_share_a_folder),
        TEST(test_a_folder_that_cannot_be_used),
        TEST(test_folders_are_made),
        TEST(test_a_disk_without_room),
        TEST(test_they_are_taken_at_intervals_while_there_is_something_new),
        TEST(test_there_is_no_time_for_a_last_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
