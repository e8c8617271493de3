/* What the status table does not know of events, and the event log does: when they were stored, and
 * those names that the table has no room for. Each question takes some round trips, of at most two
 * seconds each. Thread-safe.
 */
#ifndef TIDINGS_EVENT_FIND_H
#define TIDINGS_EVENT_FIND_H

#include "common/bus.h"
#include "event-processor/status_table.h"

struct event_find {
    struct bus_log *event_log;
    const char *event_stream;
    const char *ns;
    struct status_table *table;
};

/* The first position from `low` on at which what was stored at that time or later may be; last + 1:
 * nothing was up to `last`. ERR_UNAVAILABLE, ERR_DEADLINE: not now. ERR_MEMORY. */
must_check enum err event_find_time(const struct event_find *find, int64_t time_ms, uint64_t low,
                                    uint64_t last, uint64_t *ret);
/* Whether the table knows the event's name; false: only the event log does. */
bool event_find_knows_name(const struct status_entry *entry);
/* Whether the event's name matches a pattern ("": any does). The event log is read only for a name
 * that the table does not know. The same errors. */
must_check enum err event_find_name(const struct event_find *find, const char *pattern,
                                    const struct status_entry *entry, bool *ret);

#endif
