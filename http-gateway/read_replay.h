/* Reads the JSON that asks for a replay: an object of event_ids, source, statuses, name,
 * from_position, to_position, accepted_since, accepted_until, rate, dry_run and replay_id.
 */
#ifndef TIDINGS_GATEWAY_READ_REPLAY_H
#define TIDINGS_GATEWAY_READ_REPLAY_H

#include "common/event_replay.h"

struct read_replay; /* holds what a request's views point to besides the body */

must_check enum err read_replay_new(struct read_replay **ret);
void read_replay_free(struct read_replay *holder);

/* Sets all members of *ret but detach. The views live as long as body and holder, until the
 * holder's next use. ERR_MALFORMED: not JSON (json_scan.h), a member twice. ERR_INVALID: not an
 * object, an unknown member (the allowed ones are named), a wrong type, a value out of its bounds,
 * bounds that leave nothing between them, no filter at all; the detail names the member and what
 * is allowed. ERR_MEMORY. */
must_check enum err read_replay(struct read_replay *holder, struct view body,
                                struct replay_request *ret, struct err_detail *detail);

#endif
