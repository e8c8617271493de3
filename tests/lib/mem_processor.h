/* Processors on a bus in memory, and what they tell of themselves.
 */
#ifndef TESTS_MEM_PROCESSOR_H
#define TESTS_MEM_PROCESSOR_H

#include "tests/lib/mem_world.h"

enum { DRAIN_MS = 5000 };

struct one {
    struct mem_world *world;
    char name[16];
    struct config_handler handlers[2];
    struct config_handlers config;
    struct metrics *metrics;
    struct processor processor;
};

/* All of them fail the test if something goes wrong. At most two
 * handlers; none: those by default. */
void one_start_with(struct mem_world *world, struct one *one, const char *name,
                    const struct config_handler *handlers, size_t count);
void one_start_simulating(struct mem_world *world, struct one *one, const char *name,
                          int64_t delay_ms);
bool one_drain(struct one *one, int64_t timeout_ms);
/* The end of a test: all of its processors, drained before, and its bus. */
void ones_finish(struct one *ones, size_t count);

struct status_table_stats one_stats(struct one *one);
/* What its table has for the id; STATUS_NONE: nothing. */
enum status one_status(struct one *one, const struct event_id *id);
uint64_t one_deliveries(struct one *one, const char *outcome);
uint64_t one_redeliveries(struct one *one);
uint64_t one_in_hand(struct one *one);
/* Stores events, each with an id of its own. */
void mem_processor_publish(struct mem_world *world, size_t count);

#endif
