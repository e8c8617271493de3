/* A bus in memory with the logs of a processor, and what puts records into them.
 */
#ifndef TESTS_MEM_WORLD_H
#define TESTS_MEM_WORLD_H

#include "common/bus_mem.h"
#include "common/event.h"
#include "common/metrics.h"
#include "common/retry_item.h"
#include "common/status_batch.h"
#include "event-processor/processor.h"

#define MEM_WORLD_NS "test"
#define MEM_WORLD_STREAM "TEST_EVENTS"

struct mem_world {
    struct bus *bus;
    const struct clock *clock; /* the bus's and the processors' */
    struct bus_log *events, *statuses, *dead;
    struct processor_settings settings; /* of this world's namespace, with short times */
    int64_t replay_silent_ms;           /* of the processors that are started; 0: the usual */
};

/* All of them fail the test if something goes wrong. */
void mem_world_open(struct mem_world *world);
/* On a bus whose time is the clock's, where events leave the event log at that age (0: never). */
void mem_world_open_at(struct mem_world *world, const struct clock *clock, int64_t max_age_ms);
void mem_world_close(struct mem_world *world);

/* Stores an event with an id of its own, or that of `id` if it isn't zero; returns its position. */
uint64_t mem_world_event(struct mem_world *world, const char *name, const char *payload,
                         struct event_id *id);
/* Stores an event of which nothing is given but these. */
uint64_t mem_world_event_of(struct mem_world *world, const struct event *event);
/* Stores something that is no event under the event log's subjects. */
uint64_t mem_world_junk(struct mem_world *world, const char *payload);
/* The id that what has none of its own gets at this position of the event log. */
struct event_id mem_world_own_id(uint64_t position);
/* The log's last position. */
uint64_t mem_world_last(struct bus_log *log);
/* Stores a batch of changes in the status log. */
uint64_t mem_world_batch(struct mem_world *world, const struct status_change *changes,
                         size_t count);
/* Stores one change of a replay. */
uint64_t mem_world_replay(struct mem_world *world, const struct replay_change *change);
/* Stores one change of an event. */
uint64_t mem_world_change(struct mem_world *world, const struct event_id *id,
                          uint64_t event_position, struct status_state state, uint64_t previous,
                          const char *error);
/* Stores something that is no batch in the status log. */
uint64_t mem_world_junk_batch(struct mem_world *world);

/* While closed, other threads that ask a log for its end wait at the gate. */
void mem_world_close_gate(struct mem_world *world);
/* The same for the calling thread too, but the time of each call ends: as if the bus had frozen. */
void mem_world_lock_gate(struct mem_world *world);
void mem_world_open_gate(struct mem_world *world);

/* What the log's readers (NULL: all readers) get from now on instead of records; ERR_NONE:
 * records. */
void mem_world_set_readers(struct mem_world *world, struct bus_log *log, enum err e);

/* Publishes to that log (NULL: none) are refused from now on, as if it had no leader. */
void mem_world_refuse(struct mem_world *world, struct bus_log *log);

/* The consumer that is opened after `others` more (-1: none) cannot be, and only when somebody has
 * fetched, or would have: 100 ms later. Whether somebody had. */
void mem_world_fail_open(struct mem_world *world, int others);
bool mem_world_was_fetched(struct mem_world *world);

/* The group's retry log, and an attempt to come there; returns its position. */
struct bus_log *mem_world_retries(struct mem_world *world);
uint64_t mem_world_item(struct mem_world *world, struct bus_log *log,
                        const struct retry_item *item);

/* The value of a rendered series, e.g. `tidings_looks_total`; 0 if it isn't there. */
double mem_world_metric(const struct metrics *metrics, const char *series);
/* The position up to which the group has acknowledged all events. */
uint64_t mem_world_floor(struct mem_world *world);

#endif
