/* The runner: starts handlers, and ends the attempts that take too long. What waits does so in a
 * lane of its handler's (lanes.h).
 *
 * One thread of its own, on which all handlers are started and cancelled; run_done and run_failed
 * may come from any thread.
 */
#ifndef TIDINGS_RUNNER_H
#define TIDINGS_RUNNER_H

#include "event-processor/lanes.h"
#include "event-processor/outcomes.h"

struct runner;

struct runner_options {
    struct outcomes *outcomes;
    const struct handlers *handlers;
    const char *ns;
    uint32_t concurrency;
    size_t bytes; /* that deliveries may take, of all lanes */
    struct metrics *metrics;
};

must_check enum err runner_start(const struct runner_options *options, struct runner **ret);
/* Hands deliveries on, a list linked by `next`; each with its handler, and claimed if there is need
 * once it may start: then it comes here again. Those that don't fit into their lanes are put off,
 * those that come after runner_stop are returned. What was claimed is neither before runner_end:
 * the next one to get it would think that its runner has vanished. Thread-safe. */
void runner_add(struct runner *runner, struct held *list);
/* It won't come again: the place that it may have kept is free. Thread-safe. */
void runner_let_go(struct runner *runner, struct held *held);
/* Whether an item that is not in hand yet would be put off; then in how long it should come back.
 * Thread-safe. */
bool runner_puts_off_item(struct runner *runner, const struct handler *handler,
                          int64_t *ret_delay_ms);
/* Starts no more handlers and returns what waits, but for what was claimed and what is about to
 * start. Runs in progress go on, until their time limits. Does not wait. */
void runner_stop(struct runner *runner);
/* Nothing is started any more, and no time limits hold. After runner_stop. */
void runner_end(struct runner *runner);
/* A delivery that was run alone is about to be settled: now others may run again. Before, one of
 * them could crash, and it would look as if this one had, since its outcome was not recorded.
 * Thread-safe. */
void runner_end_alone(struct runner *runner, const struct held *held);
/* What should be fetched now. Thread-safe. */
struct lanes_want runner_wants(struct runner *runner);
size_t runner_running(struct runner *runner); /* handlers that run now */
void runner_free(struct runner *runner);      /* after runner_end, when no run is in progress */

#endif
