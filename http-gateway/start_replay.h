/* Begins a replay: gives it its id, asks a processor, answers.
 */
#ifndef TIDINGS_GATEWAY_START_REPLAY_H
#define TIDINGS_GATEWAY_START_REPLAY_H

#include "common/event_replay.h"
#include "http-gateway/gateway.h"

/* What is asked for, by whichever call; event_ids without a source get the default one. The
 * replay_id is that of the Idempotency-Key (a UUID as it is, else the UUIDv5 of source and key, as
 * for events), or the request's own, or a new one; a dry run has none. So a request whose outcome
 * is unknown can be sent again without a second replay: the answer to any failure of ours (5xx)
 * names the id.
 *
 * 202 with the replay and its Location; 200 with the counts of a dry run. ERR_MALFORMED: the
 * Idempotency-Key. ERR_INVALID: also a replay_id and a key that differ. What replay_call returns.
 */
must_check enum err start_replay(struct gateway *g, const struct http_request *request,
                                 struct replay_request *asked, struct http_response *response,
                                 struct err_detail *detail);

#endif
