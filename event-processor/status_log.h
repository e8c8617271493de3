/* The status log's writer: gathers changes and appends them in batches, one append at a time.
 *
 * Self-clocked: while one append is in flight the next batch fills, so batches grow by themselves
 * under load and a lone change waits for nothing. A batch whose outcome is unknown, or that could
 * not be stored now, is sent again byte for byte with the same message id until it is stored: the
 * bus drops the second copy, and folding one twice would change nothing. A change is reported as
 * stored only when the bus has acknowledged its batch.
 *
 * Thread-safe. One thread of its own, which also calls the functions below.
 */
#ifndef TIDINGS_STATUS_LOG_H
#define TIDINGS_STATUS_LOG_H

#include "common/bus.h"
#include "common/metrics.h"
#include "common/status_batch.h"

struct status_log;

struct status_log_options {
    struct bus *bus;
    struct bus_log *log;
    const char *subject;
    struct view processor; /* who appends, as history shows it; must live on */
    struct metrics *metrics;
};

/* A change to be appended. The caller's; it and what it points to must live until `done`. */
struct status_append {
    struct status_change change;
    /* Called exactly once, on the status log's thread or on the one that stops it. Must not block.
     * stored = false: given up at the stop; the change may be stored nevertheless. */
    void (*done)(struct status_append *append, bool stored);
    uint64_t position;          /* for `done`, if stored: of the batch with it, ... */
    uint32_t place;             /* ... and where in that */
    struct status_append *next; /* the status log's */
};

must_check enum err status_log_start(const struct status_log_options *options,
                                     struct status_log **ret);
/* Never waits. After status_log_stop it is given up at once. */
void status_log_append(struct status_log *log, struct status_append *append);
/* Goes on until all changes are stored or the time is over, then gives up the rest. */
void status_log_stop(struct status_log *log, int64_t timeout_ms);
/* After status_log_stop and bus_close: an append given up may be in flight until then. */
void status_log_free(struct status_log *log);

#endif
