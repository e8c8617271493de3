/* Replicas that start from snapshots in a folder of the test's own, over logs in memory. All of
 * them fail the test if something goes wrong.
 */
#ifndef TESTS_REPLICA_H
#define TESTS_REPLICA_H

#include "event-processor/snapshots.h"
#include "tests/lib/mem_world.h"

enum { REPLICA_PATIENCE_MS = 10000, REPLICA_NEVER_MS = 3600 * 1000, REPLICA_EVENTS = 20 };

extern struct mem_world replica_world;
extern char replica_folder[64];

/* Before and after each test. */
int replica_begin(void **state);
int replica_end(void **state);

/* A replica: what follows the logs for it, and its snapshots. */
struct replica {
    struct metrics *metrics;
    struct status_table *table;
    struct replays *replays;
    struct changes *changes;
    struct snapshots *snapshots;
    struct follower *follower;
};

/* In a folder (NULL: without snapshots), in that of the test with no intervals. */
void replica_start_in(struct replica *r, const char *path, int64_t interval_ms);
void replica_start(struct replica *r);
void replica_stop(struct replica *r);
/* The same, with a last snapshot. */
void replica_finish(struct replica *r);
/* Waits until it knows all that is stored now; returns what it knows. */
struct status_table_stats replica_caught_up(struct replica *r);

double replica_rebuilds(struct replica *r);
/* Snapshots with that outcome. */
double replica_taken(struct replica *r, const char *outcome);
bool replica_loaded(struct replica *r);

/* Stores events, of which every second one is processed. */
void replica_publish(size_t events);
/* Stores REPLICA_EVENTS; a replica has known all, and its snapshot is there. */
void replica_leave_snapshot(void);
void replica_pass_a_millisecond(void);

bool replica_file_exists(int place, const char *suffix);
void replica_damage_file(int place);

#endif
