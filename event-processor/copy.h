/* A later copy of an event against the first one: is it the same event sent again, or another one
 * that uses its id? Thread-safe.
 */
#ifndef TIDINGS_COPY_H
#define TIDINGS_COPY_H

#include "common/bus.h"
#include "event-processor/status_table.h"

struct copy {
    const struct bus_record *record; /* at record->position of the event log */
    struct event_id id;              /* that both came with */
    uint32_t delivered;              /* how often the bus has brought it */
    uint64_t first_position;         /* of the first, before it in the log */
};

enum copy_verdict {
    COPY_EQUAL,     /* by the digests of their content */
    COPY_DIFFERENT, /* also if one of them is no event */
    COPY_BEREFT,  /* the first is lost (a damaged file has left a hole): nothing to compare with */
    COPY_UNKNOWN, /* now: the first cannot be read, or is being dropped from the log's head */
};

struct copy_options {
    struct bus_log *event_log;
    const char *event_stream; /* its name */
    const char *ns;
};
/* Reads the first from the log; blocks some seconds at most. That it is lost counts only once the
 * copy has been delivered several times: a replica of the log may be behind. */
enum copy_verdict copy_compare(const struct copy_options *options, const struct copy *copy);

/* What the record of a first's death says: why, and where its letter is. Blocks some seconds at
 * most. ERR_NOT_FOUND: it isn't kept. */
must_check enum err copy_read_death(struct bus_log *status_log, const struct status_entry *first,
                                    struct err_detail *ret_error, uint64_t *ret_letter);

#endif
