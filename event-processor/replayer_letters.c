/* A replay's letters: their events are published anew. */
#include "common/log.h"
#include "event-processor/replayer_parts.h"

enum {
    STEP_MS = 1000, /* then it is time for a sign of life */
    READ_MS = 2000,
    PUBLISH_MS = 3000,
    AGAIN_MS = 100,
};

enum step { STEP_AGAIN, STEP_REPLAYED, STEP_SKIPPED };

/* Whether the table knows the id, now that it knows all that the event log held. */
static enum err ask_table(struct replayer *replayer, const struct event_id *id, bool *ret_known)
{
    struct follower_target target;
    struct status_entry entry;
    struct status_reflects reflects;
    uint64_t epoch;
    enum err e = follower_ends(replayer->use.follower, REPLAYER_BUS_MS, &target);
    if (!e)
        e = follower_wait(replayer->use.follower, &target, REPLAYER_FOLD_MS, &epoch);
    if (e)
        return e;
    *ret_known = status_table_find(replayer->use.walk.table, id, &entry, &reflects);
    return reflects.epoch == epoch ? ERR_NONE : ERR_UNAVAILABLE;
}

static enum step skip_large(const struct bus_message *message)
{
    log_warn("an event is too large to be published anew of its letter",
             LOG_TEXT("subject", message->subject), LOG_U64("bytes", message->payload.len));
    return STEP_SKIPPED;
}

/* *tried: it may have been stored by a publish of unknown outcome. */
static enum step publish_once(struct replayer *replayer, const struct event_id *id,
                              const struct bus_message *message, bool *tried)
{
    struct bus_receipt receipt;
    bool known;
    if (ask_table(replayer, id, &known))
        return STEP_AGAIN;
    if (known)
        return *tried ? STEP_REPLAYED : STEP_SKIPPED;
    enum err e = bus_publish_wait(replayer->use.walk.event_log, message, &receipt);
    if (!e && receipt.outcome == BUS_STORED)
        return STEP_REPLAYED;
    if (e == ERR_TOO_LARGE ||
        (!e && receipt.outcome == BUS_REFUSED && receipt.why == ERR_TOO_LARGE))
        return skip_large(message);
    *tried = *tried || (!e && receipt.outcome == BUS_UNKNOWN);
    return STEP_AGAIN;
}

static enum step publish(struct replayer *replayer, const struct event_id *id,
                         const struct bus_message *message)
{
    struct timespec until = wait_until(PUBLISH_MS);
    enum step step;
    bool tried = false;
    while ((step = publish_once(replayer, id, message, &tried)) == STEP_AGAIN) {
        if (wait_left_ms(until) == 0 || wait_flag_is_set(&replayer->stop))
            break;
        wait_flag_pause(&replayer->stop, AGAIN_MS);
    }
    return step;
}

static enum step revive(struct replayer *replayer, const struct bus_record *record)
{
    const struct replay_letters_options *use = &replayer->use.letters;
    struct letter_event event;
    struct letter_message *message;
    if (!letter_read(record, use->ns, use->group, &event) || !event.whole)
        return STEP_SKIPPED;
    if (letter_revive(record, &event, use->ns, &message))
        return STEP_AGAIN;
    enum step step = publish(replayer, &event.id, letter_message(message));
    letter_message_free(message);
    return step;
}

static enum step run_letter(struct replayer *replayer, uint64_t position)
{
    struct bus_record *record;
    enum err e = bus_log_read(replayer->use.letters.log, position, READ_MS, &record);
    if (e)
        return e == ERR_NOT_FOUND ? STEP_SKIPPED : STEP_AGAIN;
    enum step step = revive(replayer, record);
    bus_record_free(record);
    return step;
}

bool replayer_has_letters(const struct replay_filter *filter, uint64_t letter_cursor)
{
    return filter->letter_count > 0 && filter->letters[filter->letter_count - 1] > letter_cursor;
}

bool replayer_run_letters(struct replayer *replayer, const struct replay_filter *filter, size_t max,
                          struct replay_change *change)
{
    struct timespec until = wait_until(STEP_MS);
    size_t done = 0;
    for (size_t i = 0; i < filter->letter_count && done < max; i++) {
        if (filter->letters[i] <= change->letter_cursor)
            continue;
        if (done > 0 && (wait_left_ms(until) == 0 || wait_flag_is_set(&replayer->stop)))
            break;
        enum step step = run_letter(replayer, filter->letters[i]);
        if (step == STEP_AGAIN)
            break;
        change->letter_cursor = filter->letters[i];
        change->replayed += step == STEP_REPLAYED;
        change->skipped += step == STEP_SKIPPED;
        done++;
    }
    if (!replayer_has_letters(filter, change->letter_cursor))
        change->state = REPLAY_DONE;
    return done > 0;
}
