/* Attempts that fail, and those that come after them. */
#include "common/log.h"
#include "event-processor/backoff.h"
#include "event-processor/letter.h"
#include "event-processor/outcomes_parts.h"
#include "event-processor/retry_message_id.h"

#include <stdio.h>

enum {
    PUT_OFF_MS = 1000, /* until what could not be published now is tried again */
    ITEM_BYTES = 128,
};

/* ---- the next attempt ---- */

static void end_publishing(struct outcomes *outcomes)
{
    wait_lock(&outcomes->wait);
    if (--outcomes->publishing == 0)
        wait_wake_all(&outcomes->wait);
    wait_unlock(&outcomes->wait);
}

void outcomes_wait_published(struct outcomes *outcomes)
{
    wait_lock(&outcomes->wait);
    while (outcomes->publishing > 0)
        wait_on(&outcomes->wait);
    wait_unlock(&outcomes->wait);
}

/* If it isn't stored the delivery comes again, and the table says that its item is missing. */
static void end_item(struct held *held, bool stored)
{
    struct outcomes *outcomes = held->outcomes;
    bool other = held->decision == DECIDE_NEXT; /* somebody else has recorded the failure */
    if (stored)
        outcomes_settle(outcomes, held,
                        other                    ? SUPERSEDED
                        : held->run.attempt == 0 ? PUT_OFF
                                                 : RETRIED,
                        0);
    else
        outcomes_settle(outcomes, held, RETURNED, PUT_OFF_MS);
}

static void on_published(void *ctx, const struct bus_receipt *receipt)
{
    struct held *held = ctx;
    struct outcomes *outcomes = held->outcomes;
    bool stored = receipt->outcome == BUS_STORED || receipt->outcome == BUS_DUPLICATE;
    if (!stored)
        log_warn("the next attempt is not stored yet", LOG_U64("position", held->run.position),
                 LOG_TEXT("detail", receipt->detail.text));
    end_item(held, stored);
    end_publishing(outcomes);
}

static enum err publish(struct outcomes *outcomes, struct held *held, const struct retry_item *item)
{
    char message_id[RETRY_MESSAGE_ID_SIZE];
    struct buf bytes;
    buf_init(&bytes, ITEM_BYTES);
    retry_message_id(outcomes->use.group, item, message_id);
    enum err e = retry_item_write(item, &bytes);
    if (!e)
        e = bus_publish(outcomes->use.retry_log,
                        &(struct bus_message){.subject = outcomes->use.retry_subject,
                                              .payload = buf_view(&bytes),
                                              .message_id = message_id},
                        on_published, held);
    buf_free(&bytes);
    return e;
}

static void publish_item(struct outcomes *outcomes, struct held *held,
                         const struct retry_item *item)
{
    held->outcomes = outcomes;
    wait_lock(&outcomes->wait);
    outcomes->publishing++;
    wait_unlock(&outcomes->wait);
    enum err e = publish(outcomes, held, item);
    if (!e)
        return;
    log_debug("cannot publish the next attempt", LOG_TEXT("error", err_title(e)));
    end_item(held, false);
    end_publishing(outcomes);
}

void outcomes_next_item(struct outcomes *outcomes, struct held *held)
{
    struct retry_item item = {.id = held->id,
                              .event_position = held->run.position,
                              .generation = held->cell.state.generation,
                              .attempt = held->cell.state.attempt + 1,
                              .due_ms = held->due_ms};
    publish_item(outcomes, held, &item);
}

/* ---- the failure ---- */

static void on_retrying(struct status_append *append, bool stored)
{
    struct held *held = outcomes_held_of(append);
    if (!stored) {
        outcomes_settle(held->outcomes, held, LEFT, 0);
        return;
    }
    struct retry_item item = {.id = held->id,
                              .event_position = held->run.position,
                              .generation = held->generation,
                              .attempt = held->run.attempt + 1,
                              .due_ms = append->change.due_ms};
    publish_item(held->outcomes, held, &item);
}

/* held->run.attempt has failed; 0: none was made. */
static void retry(struct outcomes *outcomes, struct held *held, int64_t delay_ms)
{
    int64_t due_ms = clock_wall_ms(outcomes->use.clock) + delay_ms;
    outcomes_record(outcomes, held,
                    (struct status_change){.id = held->id,
                                           .state = {.status = STATUS_RETRYING,
                                                     .generation = held->generation,
                                                     .attempt = held->run.attempt},
                                           .error = view_of(held->error.text),
                                           .due_ms = due_ms > 0 ? due_ms : 1},
                    on_retrying);
}

void outcomes_put_off(struct outcomes *outcomes, struct held *held, int64_t delay_ms)
{
    held->run.attempt = 0;
    retry(outcomes, held, delay_ms);
}

static void fail_and_retry(struct outcomes *outcomes, struct held *held, int64_t delay_ms)
{
    log_info("an attempt has failed; another one will follow",
             LOG_U64("position", held->run.position), LOG_U64("attempt", held->run.attempt),
             LOG_I64("delay_ms", delay_ms), LOG_TEXT("error", held->error.text));
    retry(outcomes, held, delay_ms);
}

void outcomes_failed(struct outcomes *outcomes, struct held *held,
                     const struct run_failure *failure)
{
    const struct retry_policy *policy = held->handler->retry;
    bool last = held->run.attempt >= policy->max_attempts;
    metric_add(outcomes->failures, 1);
    int len = failure->error.len < STATUS_ERROR_MAX ? (int)failure->error.len : STATUS_ERROR_MAX;
    snprintf(held->error.text, sizeof held->error.text, "%.*s", len,
             failure->error.data ? failure->error.data : "");
    if (failure->never_again || last || held->run.attempt >= STATUS_ATTEMPT_MAX) {
        held->burial = failure->never_again ? LETTER_NEVER_AGAIN : LETTER_EXHAUSTED;
        outcomes->use.to_letters(outcomes->use.ctx, held);
        return;
    }
    fail_and_retry(outcomes, held,
                   failure->delay_ms >= 0 ? failure->delay_ms
                                          : backoff_ms(policy, held->run.attempt));
}
