#include "tests/lib/replica.h"

#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};
struct mem_world replica_world;
char replica_folder[64];

void replica_start_in(struct replica *r, const char *path, int64_t interval_ms)
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
    assert_int_equal(follower_start(&(struct follower_options){.event_log = replica_world.events,
                                                               .event_stream = MEM_WORLD_STREAM,
                                                               .ns = MEM_WORLD_NS,
                                                               .status_log = replica_world.statuses,
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

void replica_start(struct replica *r)
{
    replica_start_in(r, replica_folder, REPLICA_NEVER_MS);
}

void replica_stop(struct replica *r)
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
struct status_table_stats replica_caught_up(struct replica *r)
{
    struct follower_target target;
    struct status_table_stats stats;
    enum err e = ERR_DEADLINE;
    for (int i = 0; e && i < 100; i++) {
        assert_until(follower_ends(r->follower, REPLICA_PATIENCE_MS, &target) == ERR_NONE);
        e = follower_wait(r->follower, &target, 100, NULL);
    }
    assert_int_equal(e, ERR_NONE);
    status_table_stats(r->table, 0, &stats);
    return stats;
}

double replica_rebuilds(struct replica *r)
{
    return mem_world_metric(r->metrics, "tidings_follower_rebuilds_total");
}

double replica_taken(struct replica *r, const char *outcome)
{
    char series[64];
    snprintf(series, sizeof series, "tidings_snapshots_total{outcome=\"%s\"}", outcome);
    return mem_world_metric(r->metrics, series);
}

bool replica_loaded(struct replica *r)
{
    return mem_world_metric(r->metrics, "tidings_snapshot_timestamp_seconds") > 0;
}

void replica_finish(struct replica *r)
{
    snapshots_finish(r->snapshots, REPLICA_PATIENCE_MS);
    replica_stop(r);
}

/* Every second event is processed; `first` is the last one's position before. */
void replica_publish(size_t events)
{
    for (size_t i = 0; i < events; i++) {
        struct event_id id = {{0}};
        uint64_t position = mem_world_event(&replica_world, i % 3 ? "n" : "m", "", &id);
        if (i % 2)
            mem_world_change(&replica_world, &id, position, processed, 0, "");
    }
}

/* A replica has known all that is stored, and its snapshot is there. */
void replica_leave_snapshot(void)
{
    struct replica r;
    replica_publish(REPLICA_EVENTS);
    replica_start(&r);
    (void)replica_caught_up(&r);
    replica_finish(&r);
}

bool replica_file_exists(int place, const char *suffix)
{
    char path[128];
    snprintf(path, sizeof path, "%s/TEST_STATUS.%d.%s", replica_folder, place, suffix);
    return access(path, F_OK) == 0;
}

void replica_damage_file(int place)
{
    char path[128];
    snprintf(path, sizeof path, "%s/TEST_STATUS.%d.snapshot", replica_folder, place);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, -30, SEEK_END), 0);
    assert_int_equal(fputc('!', file), '!');
    assert_int_equal(fclose(file), 0);
}

int replica_begin(void **state)
{
    (void)state;
    snprintf(replica_folder, sizeof replica_folder, "/tmp/tidings-snapshots-XXXXXX");
    assert_non_null(mkdtemp(replica_folder));
    mem_world_open(&replica_world);
    return 0;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat;
    (void)kind;
    (void)ftw;
    return remove(path);
}

int replica_end(void **state)
{
    (void)state;
    mem_world_close(&replica_world);
    return nftw(replica_folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void replica_pass_a_millisecond(void)
{
    int64_t now_ms = clock_wall_ms(&clock_system);
    assert_until(clock_wall_ms(&clock_system) > now_ms + 1);
}
