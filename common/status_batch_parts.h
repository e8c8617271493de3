/* The inside of batches. Private to status_batch*.c.
 */
#ifndef TIDINGS_STATUS_BATCH_PARTS_H
#define TIDINGS_STATUS_BATCH_PARTS_H

#include "common/proto_arena.h"
#include "common/status_batch.h"

#include "status_log.pb-c.h"

#define STATUS_BATCH_PROCESSOR_MAX 256 /* bytes of a processor's name */

struct status_batch {
    struct proto_arena arena;
    const Tidings__Log__StatusBatch *message;
};

/* Whether they may be written. */
bool status_batch_replays_allowed(const struct replay_change *replays, size_t count);
/* False: no memory. */
bool status_batch_add_replays(Tidings__Log__StatusBatch *m, struct proto_arena *arena,
                              const struct replay_change *replays, size_t count);
/* Whether those that were read could have been written. */
bool status_batch_replays_sound(const Tidings__Log__StatusBatch *m);

#endif
