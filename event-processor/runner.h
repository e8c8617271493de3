/* The runner: starts handlers, at most `concurrency` runs at once, the others wait in order.
 *
 * One thread of its own, on which all handlers are started; run_done may come from any thread.
 */
#ifndef TIDINGS_RUNNER_H
#define TIDINGS_RUNNER_H

#include "event-processor/outcomes.h"

struct runner;

struct runner_options {
    struct outcomes *outcomes;
    const char *ns;
    uint32_t concurrency;
    struct metrics *metrics;
};

must_check enum err runner_start(const struct runner_options *options, struct runner **ret);
/* Hands deliveries on, a list linked by `next`; each with its handler. Thread-safe. After
 * runner_stop they are returned. */
void runner_add(struct runner *runner, struct held *list);
/* Starts no more handlers and returns those that wait. Runs in progress go on. */
void runner_stop(struct runner *runner);
/* How many deliveries it has use for now: one for each run, and as many more as end within 200 ms
 * if they take as long as those of late; none more while that is unknown. Thread-safe. */
size_t runner_wants(struct runner *runner);
void runner_free(struct runner *runner); /* when no run is in progress */

#endif
