/* Asks a processor about replays, and tells a client what its failure means.
 */
#ifndef TIDINGS_GATEWAY_REPLAY_CALL_H
#define TIDINGS_GATEWAY_REPLAY_CALL_H

#include "common/event_replay.h"
#include "http-gateway/gateway.h"

#define REPLAY_CALL_MS 5000   /* for an answer */
#define REPLAY_START_MS 15000 /* the same, where a replay begins or a dry run counts */

/* Whether the call changes something. If so it may have done that although its answer is lost:
 * what would be ERR_UNAVAILABLE or ERR_MEMORY of one that only asks is ERR_UNKNOWN_OUTCOME then. */
enum replay_call_kind { REPLAY_ASKS, REPLAY_ACTS };

/* One answer of a method of common/event_replay.h; waits for it. `answer` must be empty. The
 * processor's own words for ERR_NOT_FOUND, ERR_NOT_ENDED, ERR_INVALID and ERR_BUSY;
 * ERR_UNAVAILABLE also where it is stopping; ERR_UNKNOWN_OUTCOME; ERR_DEADLINE; ERR_MEMORY;
 * ERR_INTERNAL. */
must_check enum err replay_call(struct gateway *g, const char *method, enum replay_call_kind kind,
                                struct view request, int64_t timeout_ms, struct buf *answer,
                                struct err_detail *detail);

/* Reads an answer that is one replay, and writes its document with a line's end. `ret_id` (may be
 * NULL) gets its id, "" for a dry run. */
must_check enum err replay_call_write(struct view answer, enum replay_call_kind kind,
                                      struct http_response *response, char ret_id[ID_TEXT_SIZE],
                                      struct err_detail *detail);

#endif
