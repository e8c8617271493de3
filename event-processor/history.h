/* An event's history, read backwards from the status log: from its last change to the one before,
 * and so on.
 *
 * Only changes that won are part of it; those that lost stay in the log but change nothing.
 */
#ifndef TIDINGS_HISTORY_H
#define TIDINGS_HISTORY_H

#include "common/bus.h"
#include "common/event_status.h"
#include "event-processor/status_table.h"

#define HISTORY_MAX 256 /* changes; the latest ones of a longer history */

struct history {
    struct event_status_change changes[HISTORY_MAX]; /* oldest first; texts belong to it */
    size_t count;
};

/* Reads the changes of the event that `entry` describes. Changes that the log no longer has are
 * left out. ERR_UNAVAILABLE, ERR_DEADLINE, ERR_MEMORY: nothing to free. Blocks up to timeout_ms for
 * each record. */
must_check enum err history_read(struct bus_log *status_log, const struct status_entry *entry,
                                 int64_t timeout_ms, struct history *ret);
void history_free(struct history *history);

#endif
