#include "event-processor/letters.h"

#include "common/log.h"
#include "common/mem.h"
#include "event-processor/copy.h"
#include "event-processor/held_queue.h"
#include "event-processor/wait.h"

#include <stdio.h>

enum {
    THREADS = 2,
    PUT_OFF_MS = 1000,  /* until a delivery that was given back comes again */
    AGAIN_MS = 1000,    /* until a letter is tried again */
    SILENCE_MS = 10000, /* between two warnings */
};

struct letters {
    struct letters_options use;
    struct metric *stored[LETTER_REASONS];
    struct metric *found[LETTER_REASONS]; /* NULL: whoever finds them counts them */
    struct metric *failed;
    struct wait wait; /* guards the following; woken when there is something to do */
    struct held_queue next;
    struct held_queue later; /* their letters are tried again, by held->again_at */
    bool turn;               /* of `later`, if something is due */
    bool stopping; /* nothing is taken any more but what has failed for the last time, ... */
    bool ending;   /* ... nor that */
    struct timespec silent_until;
    size_t started;
    pthread_t threads[THREADS];
};

/* With the lock held. */
static bool takes(const struct letters *letters, const struct held *held)
{
    return !letters->ending && (!letters->stopping || held->burial >= 0);
}

/* Keeps an event whose last attempt has failed, until its letter is tried again. False: not any
 * longer. */
static bool hold(struct letters *letters, struct held *held)
{
    if (held->burial < 0 || !in_hand_set_aside(held->hand, held))
        return false;
    outcomes_end_alone(letters->use.outcomes, held);
    wait_lock(&letters->wait);
    if (held->again_at.tv_sec == 0)
        held->hold_until = wait_until(LETTERS_HOLD_MS);
    bool holds = takes(letters, held) && wait_left_ms(held->hold_until) > 0;
    if (holds) {
        held->again_at = wait_until(AGAIN_MS);
        held_queue_add(&letters->later, held);
        wait_wake_all(&letters->wait);
    }
    wait_unlock(&letters->wait);
    return holds;
}

/* ---- writing a letter ---- */

static enum err publish(struct letters *letters, const struct letter *letter, enum letter_size size,
                        struct bus_receipt *ret)
{
    struct letter_message *message;
    enum err e = letter_write(letter, size, &message);
    if (e)
        return e;
    e = bus_publish_wait(letters->use.dead_log, letter_message(message), ret);
    letter_message_free(message);
    if (e)
        return e;
    if (ret->outcome == BUS_STORED || ret->outcome == BUS_DUPLICATE)
        return ERR_NONE;
    if (ret->outcome == BUS_UNKNOWN)
        return ERR_UNKNOWN_OUTCOME;
    return ret->why ? ret->why : ERR_INTERNAL;
}

static void warn_of_failure(struct letters *letters, const struct letter *letter, enum err e,
                            const struct bus_receipt *receipt)
{
    metric_add(letters->failed, 1);
    wait_lock(&letters->wait);
    bool silent = wait_left_ms(letters->silent_until) > 0;
    if (!silent)
        letters->silent_until = wait_until(SILENCE_MS);
    wait_unlock(&letters->wait);
    if (!silent)
        log_warn("cannot store a dead letter now", LOG_U64("position", letter->record->position),
                 LOG_TEXT("error", err_title(e)), LOG_TEXT("detail", receipt->detail.text));
}

enum err letters_store(struct letters *letters, const struct letter *letter, uint64_t *ret_position)
{
    struct bus_receipt receipt = {0};
    int size = LETTER_WHOLE;
    enum err e = publish(letters, letter, LETTER_WHOLE, &receipt);
    while (e == ERR_TOO_LARGE && ++size < LETTER_SIZES)
        e = publish(letters, letter, (enum letter_size)size, &receipt);
    if (e) {
        warn_of_failure(letters, letter, e, &receipt);
        return e;
    }
    if (size != LETTER_WHOLE)
        log_warn("a dead letter is too large for the bus; its payload is only in the event log",
                 LOG_U64("position", letter->record->position),
                 LOG_U64("payload_bytes", letter->record->payload.len));
    if (letters->found[letter->reason])
        metric_add(letters->found[letter->reason], 1);
    if (receipt.outcome == BUS_STORED)
        metric_add(letters->stored[letter->reason], 1);
    *ret_position = receipt.position;
    return ERR_NONE;
}

/* Ends a delivery with a letter; held->error says why. `first`, where there is one, has the id that
 * it came with. */
static void bury(struct letters *letters, struct held *held, enum letter_reason reason,
                 const struct status_entry *first, uint32_t generation)
{
    struct outcomes_death death = {0};
    struct letter letter = {
        .record = held->record,
        .event_stream = letters->use.event_stream,
        .ns = letters->use.ns,
        .group = letters->use.group,
        .reason = reason,
        .error = view_of(held->error.text),
        .id = held->id,
        .generation = generation,
        .attempts = held->burial >= 0 ? held->run.attempt : 0,
    };
    if (first) {
        id_of_position(view_of(letters->use.event_stream), held->run.position, &letter.id);
        letter.conflict_id = held->id;
        letter.conflict_position = first->event_position;
    }
    if (letters_store(letters, &letter, &death.letter_position)) {
        if (!hold(letters, held))
            outcomes_return(letters->use.outcomes, held, PUT_OFF_MS);
        return;
    }
    log_warn("dead letter stored", LOG_U64("position", held->run.position),
             LOG_TEXT("reason", letter_reason_word(reason)), LOG_TEXT("error", held->error.text),
             LOG_U64("letter", death.letter_position));
    death.id = letter.id;
    death.conflict_id = letter.conflict_id;
    death.conflict_position = letter.conflict_position;
    outcomes_dead(letters->use.outcomes, held, &death);
}

/* ---- one delivery ---- */

static void bury_conflict(struct letters *letters, struct held *held,
                          const struct status_entry *first)
{
    char id[ID_TEXT_SIZE];
    id_format(&held->id, id);
    err_set(&held->error, ERR_ID_REUSED,
            "id_conflict: it came with the id %s of another event, which is at position %llu and "
            "has other content",
            id, (unsigned long long)first->event_position);
    bury(letters, held, LETTER_ID_CONFLICT, first, 0);
}

static void bury_malformed(struct letters *letters, struct held *held,
                           const struct status_entry *first, uint32_t generation)
{
    struct err_detail why = {""};
    if (!event_of_record(held->record, letters->use.ns, &held->text, &held->run.event, &why))
        err_set(&why, ERR_MALFORMED, "it has no identity");
    err_set(&held->error, ERR_MALFORMED, "malformed: %s", why.text);
    bury(letters, held, LETTER_MALFORMED, first, generation);
}

/* The day may come when the first has left the event log, and this copy is the event: then it is
 * what the first was. */
static void end_copy(struct letters *letters, struct held *held, const struct status_entry *first)
{
    uint64_t letter = 0;
    enum err e = ERR_NONE;
    if (first->state.status == STATUS_DEAD)
        e = copy_read_death(letters->use.status_records, first, &held->error, &letter);
    if (e == ERR_NOT_FOUND)
        err_set(&held->error, ERR_NOT_FOUND, "it is a copy of an event that was dead");
    if (e && e != ERR_NOT_FOUND)
        outcomes_return(letters->use.outcomes, held, PUT_OFF_MS);
    else if (first->state.status == STATUS_DEAD)
        outcomes_copy_dead(letters->use.outcomes, held, letter);
    else
        outcomes_copy(letters->use.outcomes, held);
}

static void examine_copy(struct letters *letters, struct held *held,
                         const struct status_entry *first)
{
    struct copy_options options = {.event_log = letters->use.event_log,
                                   .event_stream = letters->use.event_stream,
                                   .ns = letters->use.ns};
    struct copy copy = {.record = held->record,
                        .id = held->id,
                        .delivered = held->delivery->delivered,
                        .first_position = first->event_position};
    enum copy_verdict verdict = copy_compare(&options, &copy);
    /* While the first has not ended it may expire, or turn out to be a conflict itself: then this
     * copy is the event, and must be run. */
    bool settled = verdict == COPY_EQUAL && status_ended(first->state.status);
    if (verdict == COPY_DIFFERENT)
        bury_conflict(letters, held, first);
    else if (settled)
        end_copy(letters, held, first);
    else if (verdict == COPY_BEREFT)
        outcomes_copy(letters->use.outcomes, held);
    else
        outcomes_return(letters->use.outcomes, held, PUT_OFF_MS);
}

/* The table may have changed since it was asked: then the delivery comes again, for another
 * decision. */
static void examine(struct letters *letters, struct held *held)
{
    if (held->burial >= 0) {
        bury(letters, held, (enum letter_reason)held->burial, NULL, held->generation);
        return;
    }
    struct status_entry cell;
    struct status_entry first;
    struct status_reflects reflects;
    bool known = status_table_at(letters->use.table, held->run.position, &cell, &reflects) &&
                 reflects.epoch == held->epoch && id_equal(&cell.id, &held->id);
    bool copy = known && cell.state.status == STATUS_NONE;
    bool has_first = copy && status_table_find(letters->use.table, &held->id, &first, &reflects) &&
                     reflects.epoch == held->epoch && !first.conflict &&
                     first.event_position < held->run.position;
    if (known && held->malformed && copy == has_first)
        bury_malformed(letters, held, copy ? &first : NULL, cell.state.generation);
    else if (has_first)
        examine_copy(letters, held, &first);
    else
        outcomes_return(letters->use.outcomes, held, PUT_OFF_MS);
}

/* ---- threads ---- */

/* With the lock held; NULL: nothing can be done now. By turns, since each may take some seconds:
 * what is tried again must not keep copies waiting, which fill the places in hand. */
static struct held *take_now(struct letters *letters)
{
    const struct held *later = letters->later.first;
    bool due = later && wait_left_ms(later->again_at) == 0;
    letters->turn = !letters->turn;
    return held_queue_take(due && (letters->turn || !letters->next.first) ? &letters->later
                                                                          : &letters->next);
}

/* NULL: it ends. */
static struct held *take_next(struct letters *letters)
{
    struct held *held;
    wait_lock(&letters->wait);
    while ((held = take_now(letters)) == NULL && !letters->ending) {
        if (letters->later.first)
            (void)wait_on_until(&letters->wait, letters->later.first->again_at);
        else
            wait_on(&letters->wait);
    }
    wait_unlock(&letters->wait);
    return held;
}

static void *run_letters(void *arg)
{
    struct letters *letters = arg;
    struct held *held;
    while ((held = take_next(letters)) != NULL)
        examine(letters, held);
    return NULL;
}

void letters_add(struct letters *letters, struct held *held)
{
    wait_lock(&letters->wait);
    bool taken = takes(letters, held);
    if (taken) {
        held_queue_add(&letters->next, held);
        wait_wake_all(&letters->wait);
    }
    wait_unlock(&letters->wait);
    if (!taken)
        outcomes_return(letters->use.outcomes, held, 0);
}

/* With the lock held: moves those out of a queue that are not taken any more. */
static void sift(struct letters *letters, struct held_queue *queue, struct held_queue *late)
{
    struct held_queue all = *queue;
    struct held *held;
    *queue = (struct held_queue){0};
    while ((held = held_queue_take(&all)) != NULL)
        held_queue_add(takes(letters, held) ? queue : late, held);
}

/* With the lock held, which it lets go of. */
static void return_late(struct letters *letters)
{
    struct held_queue late = {0};
    struct held *held;
    sift(letters, &letters->next, &late);
    sift(letters, &letters->later, &late);
    wait_wake_all(&letters->wait);
    wait_unlock(&letters->wait);
    while ((held = held_queue_take(&late)) != NULL)
        outcomes_return(letters->use.outcomes, held, 0);
}

/* ---- life ---- */

static void register_metrics(struct letters *letters)
{
    struct metrics *m = letters->use.metrics;
    for (int i = 0; i < LETTER_REASONS; i++) {
        char labels[48];
        snprintf(labels, sizeof labels, "reason=\"%s\"", letter_reason_word((enum letter_reason)i));
        letters->stored[i] =
            metrics_counter(m, "tidings_letters_total", labels, "Dead letters stored, by reason");
    }
    letters->found[LETTER_ID_CONFLICT] =
        metrics_counter(m, "tidings_id_conflicts_total", NULL,
                        "Events that came with the id of another event of other content");
    letters->found[LETTER_EXHAUSTED] = metrics_counter(m, "tidings_events_exhausted_total", NULL,
                                                       "Events whose last attempt has failed");
    letters->found[LETTER_NEVER_AGAIN] =
        metrics_counter(m, "tidings_events_given_up_total", NULL,
                        "Events whose handler has said that no attempt could succeed");
    letters->found[LETTER_MALFORMED] = metrics_counter(
        m, "tidings_events_malformed_total", NULL, "Messages in the event log that are no events");
    letters->failed = metrics_counter(m, "tidings_letters_failed_total", NULL,
                                      "Times that a dead letter could not be stored");
}

enum err letters_start(const struct letters_options *options, struct letters **ret)
{
    struct letters *letters = mem_zero(1, sizeof *letters);
    if (!letters)
        return ERR_MEMORY;
    if (wait_init(&letters->wait)) {
        mem_free(letters);
        return ERR_MEMORY;
    }
    letters->use = *options;
    register_metrics(letters);
    while (letters->started < THREADS &&
           pthread_create(&letters->threads[letters->started], NULL, run_letters, letters) == 0)
        letters->started++;
    if (letters->started < THREADS) {
        letters_end(letters);
        letters_free(letters);
        return ERR_MEMORY;
    }
    *ret = letters;
    return ERR_NONE;
}

void letters_stop(struct letters *letters)
{
    wait_lock(&letters->wait);
    letters->stopping = true;
    return_late(letters);
}

void letters_end(struct letters *letters)
{
    wait_lock(&letters->wait);
    letters->ending = true;
    return_late(letters);
}

void letters_free(struct letters *letters)
{
    if (!letters)
        return;
    for (size_t i = 0; i < letters->started; i++)
        pthread_join(letters->threads[i], NULL);
    wait_destroy(&letters->wait);
    mem_free(letters);
}
