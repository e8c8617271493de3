/* The messages of events.EventService (proto/events.proto) as plain structs, and their encoding.
 */
#ifndef TIDINGS_EVENT_STATUS_H
#define TIDINGS_EVENT_STATUS_H

#include "common/event.h"
#include "common/status.h"

struct event_status_request {
    struct view event_id; /* as the caller wrote it: an event_id or a producer's id */
    struct view source;   /* of the producer's id; empty: the default source */
    bool full;
    uint64_t min_position;
};

struct event_status_change {
    struct status_state state;
    int64_t time_ms;
    uint64_t position;
    struct view processor;
    struct view error;
};

struct event_status {
    struct event_id id;
    struct status_state state;
    struct view name;
    int64_t updated_ms;
    uint64_t event_position;
    uint64_t position;
    /* FULL view only */
    bool full;
    struct view producer_id, source, key, content_type, subject, dataschema, payload;
    const struct event_extension *extensions;
    size_t extension_count;
    bool has_time; /* and it is: */
    int64_t time_ms;
    const struct event_status_change *history;
    size_t history_count;
};

struct event_stats {
    struct view processor, group;
    uint64_t event_position, status_position, first_event_position, events, table_bytes, digest;
    uint64_t counts[STATUS_COUNT];
    struct view version;
    int64_t started_ms; /* wall clock */
    uint64_t uptime_s;
    bool ready;
    uint64_t event_log_end, status_log_end; /* 0: not known */
    uint32_t handlers_running, handlers_max, event_watchers, watchers;
    uint64_t processed, retried, dead; /* by this processor, since its start */
};

#define EVENT_STATUS_METHOD "/events.EventService/GetEventStatus"
#define EVENT_STATS_METHOD "/events.EventService/GetStats"

/* Encoders append to `out` (ERR_MEMORY). Text that isn't UTF-8 is repaired with U+FFFD, and cut at
 * 64 KiB. Decoders: ERR_MALFORMED (not this message, or a status, view, time or id that does not
 * exist), ERR_MEMORY. Decoded structs hold views into a holder that the caller frees; all of their
 * memory is the holder's. A decoded status is `full` if it carries the producer's id or a history;
 * `alone` does not travel. */
struct event_status_holder; /* owns what a decoded message's views point to */
void event_status_holder_free(struct event_status_holder *holder);

must_check enum err event_status_request_write(const struct event_status_request *request,
                                               struct buf *out);
must_check enum err event_status_request_read(struct view bytes,
                                              struct event_status_holder **holder,
                                              struct event_status_request *ret);
must_check enum err event_status_write(const struct event_status *status, struct buf *out);
must_check enum err event_status_read(struct view bytes, struct event_status_holder **holder,
                                      struct event_status *ret);
must_check enum err event_stats_request_read(struct view bytes, uint64_t *ret_floor_position);
must_check enum err event_stats_write(const struct event_stats *stats, struct buf *out);

#endif
