#include "event-processor/replay_record.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>

enum { RETRY_MS = 100 };

void replay_recorder_init(struct replay_recorder *recorder,
                          const struct replay_recorder_options *options)
{
    struct event_id id;
    *recorder = (struct replay_recorder){.use = *options};
    id_make(&clock_system, &id);
    id_format(&id, recorder->start_id);
    buf_init(&recorder->bytes, SIZE_MAX / 2);
}

void replay_recorder_free(struct replay_recorder *recorder)
{
    buf_free(&recorder->bytes);
}

static enum err publish(struct replay_recorder *recorder, const struct bus_message *message,
                        uint64_t *ret)
{
    struct bus_receipt receipt;
    enum err e = bus_publish_wait(recorder->use.log, message, &receipt);
    if (e)
        return e;
    if (receipt.outcome == BUS_STORED || receipt.outcome == BUS_DUPLICATE) {
        *ret = receipt.position;
        return ERR_NONE;
    }
    log_debug("a replay's record is not stored yet", LOG_TEXT("detail", receipt.detail.text));
    return receipt.why ? receipt.why : ERR_UNKNOWN_OUTCOME;
}

enum err replay_record(struct replay_recorder *recorder, const struct status_change *changes,
                       size_t count, const struct replay_change *replay, int64_t timeout_ms,
                       uint64_t *ret)
{
    char message_id[ID_TEXT_SIZE + 24];
    struct timespec until = wait_until(timeout_ms);
    snprintf(message_id, sizeof message_id, "%s-%" PRIu64, recorder->start_id, ++recorder->number);
    buf_clear(&recorder->bytes);
    enum err e = status_batch_write_all(changes, count, replay, 1, view_of(recorder->use.processor),
                                        &recorder->bytes);
    if (e)
        return e;
    struct bus_message message = {.subject = recorder->use.subject,
                                  .payload = buf_view(&recorder->bytes),
                                  .message_id = message_id};
    while ((e = publish(recorder, &message, ret)) != ERR_NONE && e != ERR_TOO_LARGE) {
        if (wait_flag_is_set(recorder->use.stop) || wait_left_ms(until) == 0)
            break;
        wait_flag_pause(recorder->use.stop, RETRY_MS);
    }
    return e;
}
