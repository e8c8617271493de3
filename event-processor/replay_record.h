/* Records of replays, appended to the status log. For one thread, which waits.
 */
#ifndef TIDINGS_REPLAY_RECORD_H
#define TIDINGS_REPLAY_RECORD_H

#include "common/bus.h"
#include "common/status_batch.h"
#include "event-processor/wait.h"

struct replay_recorder_options {
    struct bus_log *log;
    const char *subject;
    const char *processor;  /* who appends */
    struct wait_flag *stop; /* ends the waiting */
};

struct replay_recorder {
    struct replay_recorder_options use;
    char start_id[ID_TEXT_SIZE]; /* random: its message ids begin with it */
    uint64_t number;
    struct buf bytes;
};
void replay_recorder_init(struct replay_recorder *recorder,
                          const struct replay_recorder_options *options);
void replay_recorder_free(struct replay_recorder *recorder);
/* Appends one batch: the changes, and the replay's. Sent again as it is, with the same message id,
 * until it is stored, or the time is over, or all ends: then it may be stored all the same. *ret:
 * its position. ERR_TOO_LARGE: it is not stored. ERR_MEMORY: nor is it. */
must_check enum err replay_record(struct replay_recorder *recorder,
                                  const struct status_change *changes, size_t count,
                                  const struct replay_change *replay, int64_t timeout_ms,
                                  uint64_t *ret);

#endif
