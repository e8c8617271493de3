/* The messages of a replay in events.EventService (proto/events.proto) as plain structs, and their
 * encoding. Encoders append to `out` (ERR_MEMORY; text that isn't UTF-8 is repaired with U+FFFD).
 * Decoders: ERR_MALFORMED (not this message, a state, status or time that does not exist, an id
 * that is no UUID where we made it, or text that is cut by a NUL), ERR_MEMORY. Decoded structs hold
 * views into a holder that the caller frees. They do not check whether a request makes sense.
 */
#ifndef TIDINGS_EVENT_REPLAY_H
#define TIDINGS_EVENT_REPLAY_H

#include "common/event_status.h"

#define REPLAY_IDS_MAX 1000
#define REPLAYS_KEPT 1000 /* of those that have ended */

struct replay_request {
    const struct view *event_ids; /* as the caller wrote them */
    size_t event_id_count;
    struct view source;                           /* of producers' ids; empty: the default source */
    unsigned statuses;                            /* 1u << a status, added up; 0: none given */
    struct view name;                             /* a pattern; empty: any */
    uint64_t from_position, to_position;          /* both included; 0: no bound */
    int64_t accepted_since_ms, accepted_until_ms; /* wall clock; 0: no bound */
    bool dry_run;
    uint32_t rate; /* events a second; 0: no limit */
    bool detach;
    struct view replay_id; /* as the caller wrote it; empty: none */
};

enum replay_state { REPLAY_NONE, REPLAY_RUNNING, REPLAY_DONE, REPLAY_CANCELLED, REPLAY_STATES };
const char *replay_state_word(enum replay_state state); /* "running", ... */

struct replay_progress {
    bool has_id; /* a dry run has none */
    struct event_id id;
    enum replay_state state;
    uint64_t replayed, skipped;
    int64_t started_ms, updated_ms;
    struct view processor;
    uint64_t event_position, position;
    struct replay_request request;
};

#define REPLAY_START_METHOD "/events.EventService/ReplayEvents"
#define REPLAY_GET_METHOD "/events.EventService/GetReplay"
#define REPLAY_WATCH_METHOD "/events.EventService/WatchReplay"
#define REPLAY_CANCEL_METHOD "/events.EventService/CancelReplay"
#define REPLAY_LIST_METHOD "/events.EventService/ListReplays"

struct event_replay_holder; /* owns what a decoded message's views point to */
void event_replay_holder_free(struct event_replay_holder *holder);

must_check enum err replay_request_write(const struct replay_request *request, struct buf *out);
/* ERR_INVALID: more than REPLAY_IDS_MAX event_ids, or more bytes than so many ids can take. */
must_check enum err replay_request_read(struct view bytes, struct event_replay_holder **holder,
                                        struct replay_request *ret);
/* Whether a request's values, each of which may be, make sense together: ERR_INVALID. Pure. */
must_check enum err replay_request_check_whole(const struct replay_request *request,
                                               struct err_detail *detail);
must_check enum err replay_progress_write(const struct replay_progress *progress, struct buf *out);
must_check enum err replay_progress_read(struct view bytes, struct event_replay_holder **holder,
                                         struct replay_progress *ret);
/* GetReplayRequest and CancelReplayRequest: the id as the caller wrote it. */
must_check enum err replay_id_write(struct view replay_id, struct buf *out);
must_check enum err replay_id_read(struct view bytes, struct event_replay_holder **holder,
                                   struct view *ret);
must_check enum err replay_list_request_write(uint32_t page_size, struct buf *out);
must_check enum err replay_list_request_read(struct view bytes, uint32_t *ret_page_size);
must_check enum err replay_list_write(const struct replay_progress *replays, size_t count,
                                      struct buf *out);
must_check enum err replay_list_read(struct view bytes, struct event_replay_holder **holder,
                                     const struct replay_progress **ret, size_t *ret_count);

#endif
