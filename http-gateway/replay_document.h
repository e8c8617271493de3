/* A replay as JSON: docs/http-api.md, "Replaying events".
 */
#ifndef TIDINGS_GATEWAY_REPLAY_DOCUMENT_H
#define TIDINGS_GATEWAY_REPLAY_DOCUMENT_H

#include "common/event_replay.h"

/* Appends to `out`; without a line's end. A dry run (it has no id) has "dry_run" in place of id,
 * state and times. */
void replay_document_write(const struct replay_progress *replay, struct buf *out);

#endif
