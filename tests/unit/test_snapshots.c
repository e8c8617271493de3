/* Processors that start from snapshots: what they read on from, and when they do not. */
#include "event-processor/snapshots.h"

#include "tests/lib/mem_world.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000, NEVER_MS = 3600 * 1000, EVENTS = 20 };

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};
static struct mem_world world;
static char folder[64];

/* A replica: what follows the logs for it, and its snapshots. */
struct replica {
    struct metrics *metrics;
    struct status_table *table;
    struct replays *replays;
    struct changes *changes;
    struct snapshots *snapshots;
    struct follower *follower;
};

static void start_in(struct replica *r, const char *path, int64_t interval_ms)
{
    *r = (struct replica){0};
    assert_int_equal(metrics_new(&r->metrics), ERR_NONE);
    assert_int_equal(status_table_new(&r->table), ERR_NONE);
    assert_int_equal(replays_new(&r->replays), ERR_NONE);
    assert_int_equal(changes_new(CHANGES_KEPT, &r->changes), ERR_NONE);
    if (path)
        assert_int_equal(snapshots_new(&(struct snapshots_options){.folder = path,
                                                                   .event_stream = MEM_WORLD_STREAM,
                                                                   .status_stream = "TEST_STATUS",
                                                                   .table = r->table,
                                                                   .replays = r->replays,
                                                                   .clock = &clock_system,
                                                                   .metrics = r->metrics,
                                                                   .interval_ms = interval_ms},
                                       &r->snapshots),
                         ERR_NONE);
    assert_int_equal(follower_start(&(struct follower_options){.event_log = world.events,
                                                               .event_stream = MEM_WORLD_STREAM,
                                                               .ns = MEM_WORLD_NS,
                                                               .status_log = world.statuses,
                                                               .table = r->table,
                                                               .replays = r->replays,
                                                               .changes = r->changes,
                                                               .metrics = r->metrics,
                                                               .load = path ? snapshots_load : NULL,
                                                               .load_ctx = r->snapshots},
                                    &r->follower),
                     ERR_NONE);
    assert_int_equal(snapshots_start(r->snapshots, r->follower), ERR_NONE);
}

static void start(struct replica *r)
{
    start_in(r, folder, NEVER_MS);
}

static void stop(struct replica *r)
{
    snapshots_stop(r->snapshots);
    follower_stop(r->follower);
    follower_free(r->follower);
    snapshots_free(r->snapshots);
    changes_free(r->changes);
    replays_free(r->replays);
    status_table_free(r->table);
    metrics_free(r->metrics);
}

/* Waits until it knows all that is stored now; returns what it knows. */
static struct status_table_stats caught_up(struct replica *r)
{
    struct follower_target target;
    struct status_table_stats stats;
    enum err e = ERR_DEADLINE;
    for (int i = 0; e && i < 100; i++) {
        assert_until(follower_ends(r->follower, PATIENCE_MS, &target) == ERR_NONE);
        e = follower_wait(r->follower, &target, 100, NULL);
    }
    assert_int_equal(e, ERR_NONE);
    status_table_stats(r->table, 0, &stats);
    return stats;
}

static double rebuilds(struct replica *r)
{
    return mem_world_metric(r->metrics, "tidings_follower_rebuilds_total");
}

static double taken(struct replica *r, const char *outcome)
{
    char series[64];
    snprintf(series, sizeof series, "tidings_snapshots_total{outcome=\"%s\"}", outcome);
    return mem_world_metric(r->metrics, series);
}

static bool loaded(struct replica *r)
{
    return mem_world_metric(r->metrics, "tidings_snapshot_timestamp_seconds") > 0;
}

static void finish(struct replica *r)
{
    snapshots_finish(r->snapshots, PATIENCE_MS);
    stop(r);
}

/* Every second event is processed; `first` is the last one's position before. */
static void publish(size_t events)
{
    for (size_t i = 0; i < events; i++) {
        struct event_id id = {{0}};
        uint64_t position = mem_world_event(&world, i % 3 ? "n" : "m", "", &id);
        if (i % 2)
            mem_world_change(&world, &id, position, processed, 0, "");
    }
}

/* A replica has known all that is stored, and its snapshot is there. */
static void leave_snapshot(void)
{
    struct replica r;
    publish(EVENTS);
    start(&r);
    (void)caught_up(&r);
    finish(&r);
}

static bool exists(int place, const char *suffix)
{
    char path[128];
    snprintf(path, sizeof path, "%s/TEST_STATUS.%d.%s", folder, place, suffix);
    return access(path, F_OK) == 0;
}

static void damage_file(int place)
{
    char path[128];
    snprintf(path, sizeof path, "%s/TEST_STATUS.%d.snapshot", folder, place);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, -30, SEEK_END), 0);
    assert_int_equal(fputc('!', file), '!');
    assert_int_equal(fclose(file), 0);
}

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tidings-snapshots-XXXXXX");
    assert_non_null(mkdtemp(folder));
    mem_world_open(&world);
    return 0;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static int end(void **state)
{
    (void)state;
    mem_world_close(&world);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- starting ---- */

static void test_a_start_reads_on_from_the_snapshot(void **state)
{
    (void)state;
    struct replica r, all;
    leave_snapshot();
    start_in(&all, NULL, 0);
    struct status_table_stats before = caught_up(&all);
    bus_mem_delete(world.events, 3); /* whoever reads it all again misses them */
    bus_mem_delete(world.statuses, 2);
    publish(5);
    struct status_table_stats after = caught_up(&all);
    start(&r);
    struct status_table_stats stats = caught_up(&r);
    assert_true(loaded(&r));
    assert_int_equal(stats.events, before.events + 5);
    assert_int_equal(stats.digest, after.digest);
    assert_memory_equal(stats.counts, after.counts, sizeof stats.counts);
    assert_true(rebuilds(&r) == 0);
    stop(&r);
    stop(&all);
}

static void test_who_watches_reads_on_behind_the_snapshot(void **state)
{
    (void)state;
    struct replica r;
    struct changes_cursor cursor;
    leave_snapshot();
    start(&r);
    (void)caught_up(&r);
    uint64_t position = changes_now(r.changes, &cursor);
    assert_int_equal(position, EVENTS / 2);
    assert_true(changes_after(r.changes, position, &cursor));
    assert_false(changes_after(r.changes, position - 1, &cursor));
    stop(&r);
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
    publish(2);
    uint64_t position = mem_world_replay(&world, &begin_it);
    leave_snapshot();
    bus_mem_delete(world.statuses, position);
    start(&r);
    (void)caught_up(&r);
    assert_true(replays_find(r.replays, &begin_it.id, &found));
    assert_int_equal(found.begin_position, position);
    replay_release(&found);
    stop(&r);
}

static void test_nothing_counts_before_the_log_has_shown_it(void **state)
{
    (void)state;
    struct bus_log *logs[] = {world.events, world.statuses};
    leave_snapshot();
    for (size_t i = 0; i < 2; i++) {
        struct replica r;
        struct follower_target target;
        mem_world_set_readers(&world, logs[i], ERR_UNAVAILABLE);
        start(&r);
        assert_until(loaded(&r));
        assert_until(follower_ends(r.follower, PATIENCE_MS, &target) == ERR_NONE);
        assert_int_equal(follower_wait(r.follower, &target, 50, NULL), ERR_DEADLINE);
        assert_int_equal(follower_ready(r.follower), 0);
        mem_world_set_readers(&world, NULL, ERR_NONE);
        (void)caught_up(&r);
        assert_true(rebuilds(&r) == 0);
        stop(&r);
    }
}

/* ---- logs that are not what they were ---- */

static void pass_a_millisecond(void)
{
    int64_t now_ms = clock_wall_ms(&clock_system);
    assert_until(clock_wall_ms(&clock_system) > now_ms + 1);
}

/* All is read again, its table is that of one who never had a snapshot, and the void one goes. */
static void assert_rebuilt(bool loss)
{
    struct replica r, all;
    start(&r);
    assert_until(rebuilds(&r) == 1);
    publish(2);
    start_in(&all, NULL, 0);
    struct status_table_stats stats = caught_up(&r);
    struct status_table_stats right = caught_up(&all);
    assert_int_equal(stats.digest, right.digest);
    assert_memory_equal(stats.counts, right.counts, sizeof stats.counts);
    assert_true(rebuilds(&r) == 1);
    assert_int_equal(follower_losses(r.follower) > 0, loss);
    assert_until(!exists(0, "snapshot"));
    stop(&r);
    stop(&all);
}

static void test_a_log_that_was_made_anew(void **state)
{
    (void)state;
    leave_snapshot();
    bus_mem_renew(world.events);
    assert_rebuilt(false);
    leave_snapshot();
    bus_mem_renew(world.statuses);
    publish(2 * EVENTS);
    assert_rebuilt(false);
}

static void test_a_log_that_lost_its_tail(void **state)
{
    (void)state;
    leave_snapshot();
    bus_mem_lose_tail(world.events, EVENTS - 2);
    assert_rebuilt(true);
    leave_snapshot();
    bus_mem_lose_tail(world.statuses, EVENTS / 2);
    assert_rebuilt(true);
}

static void test_a_log_that_lost_its_tail_and_has_grown_again(void **state)
{
    (void)state;
    leave_snapshot();
    pass_a_millisecond();
    bus_mem_lose_tail(world.events, EVENTS - 2);
    publish(EVENTS);
    assert_rebuilt(true);
    leave_snapshot();
    pass_a_millisecond();
    bus_mem_lose_tail(world.statuses, EVENTS / 2);
    publish(EVENTS);
    assert_rebuilt(true);
}

static void test_a_log_that_was_emptied(void **state)
{
    (void)state;
    leave_snapshot();
    bus_mem_purge(world.events);
    assert_rebuilt(false);
    leave_snapshot();
    bus_mem_purge(world.statuses);
    publish(1);
    assert_rebuilt(false);
}

static void test_a_log_without_the_snapshots_last_record(void **state)
{
    (void)state;
    leave_snapshot();
    bus_mem_delete(world.events, EVENTS);
    publish(EVENTS);
    assert_rebuilt(false);
    leave_snapshot();
    bus_mem_delete(world.statuses, mem_world_last(world.statuses));
    assert_rebuilt(false);
}

/* ---- files ---- */

static void test_a_damaged_snapshot_is_ignored(void **state)
{
    (void)state;
    struct replica r;
    leave_snapshot();
    damage_file(0);
    start(&r);
    assert_int_equal(caught_up(&r).events, EVENTS);
    assert_false(loaded(&r));
    finish(&r); /* and overwritten */
    start(&r);
    assert_int_equal(caught_up(&r).events, EVENTS);
    assert_true(loaded(&r));
    stop(&r);
}

static void test_processors_share_a_folder(void **state)
{
    (void)state;
    struct replica a, b, c;
    publish(EVENTS);
    start(&a);
    start(&b);
    (void)caught_up(&a);
    finish(&a);
    pass_a_millisecond();
    publish(EVENTS);
    (void)caught_up(&b);
    finish(&b);
    assert_true(exists(0, "snapshot") && exists(1, "snapshot"));
    /* The youngest is everybody's, ... */
    bus_mem_delete(world.events, EVENTS + 1);
    start(&a);
    start(&c);
    assert_int_equal(caught_up(&a).events, 2 * EVENTS);
    assert_int_equal(caught_up(&c).events, 2 * EVENTS);
    stop(&a);
    stop(&c);
    damage_file(1);
    start(&a); /* ... and if that is damaged the next one */
    assert_int_equal(caught_up(&a).events, 2 * EVENTS - 1);
    assert_true(loaded(&a) && rebuilds(&a) == 0);
    stop(&a);
}

static void test_a_folder_that_cannot_be_used(void **state)
{
    (void)state;
    struct replica r;
    publish(EVENTS);
    start_in(&r, "/dev/null/folder", 1);
    assert_int_equal(caught_up(&r).events, EVENTS);
    assert_true(taken(&r, "written") == 0);
    finish(&r);
}

static void test_folders_are_made(void **state)
{
    (void)state;
    char path[128];
    struct replica r;
    snprintf(path, sizeof path, "%s/one/two", folder);
    start_in(&r, path, NEVER_MS);
    (void)caught_up(&r);
    finish(&r);
    snprintf(path, sizeof path, "%s/one/two/TEST_STATUS.0.snapshot", folder);
    assert_int_equal(access(path, F_OK), 0);
}

static void test_a_disk_without_room(void **state)
{
    (void)state;
    struct rlimit before, none;
    struct replica r;
    leave_snapshot();
    start(&r);
    publish(EVENTS);
    (void)caught_up(&r);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = (struct rlimit){.rlim_cur = 100, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    snapshots_finish(r.snapshots, PATIENCE_MS);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(taken(&r, "failed") == 1);
    assert_false(exists(0, "new"));
    stop(&r);
    start(&r); /* the last good one is there still */
    assert_int_equal(caught_up(&r).events, 2 * EVENTS);
    assert_true(loaded(&r));
    stop(&r);
}

/* ---- times ---- */

static void test_they_are_taken_at_intervals_while_there_is_something_new(void **state)
{
    (void)state;
    struct replica r;
    start_in(&r, folder, 1);
    assert_until(taken(&r, "written") == 1); /* of nothing */
    publish(1);
    (void)caught_up(&r);
    assert_until(taken(&r, "written") >= 2);
    publish(2);
    (void)caught_up(&r);
    double before = taken(&r, "written");
    finish(&r);
    start_in(&r, folder, 1);
    assert_int_equal(caught_up(&r).events, 3);
    snapshots_finish(r.snapshots, PATIENCE_MS);
    assert_true(before >= 2 && taken(&r, "written") == 0); /* it has this one */
    stop(&r);
}

static void test_there_is_no_time_for_a_last_one(void **state)
{
    (void)state;
    struct replica r;
    publish(EVENTS);
    start(&r);
    (void)caught_up(&r);
    snapshots_finish(r.snapshots, 0);
    assert_true(taken(&r, "failed") == 1);
    assert_false(exists(0, "snapshot") || exists(0, "new"));
    stop(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
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
