#include "event-processor/retries.h"

#include "common/log.h"
#include "common/mem.h"
#include "event-processor/held_queue.h"
#include "event-processor/wait.h"

enum {
    READ_MS = 2000,
    PUT_OFF_MS = 1000, /* until what could not be looked up now comes again */
};

struct retries {
    struct retries_options use;
    struct wait wait; /* guards the following; woken when there is something to do */
    struct held_queue queue;
    bool stopping; /* nothing is taken any more but what was claimed, ... */
    bool ending;   /* ... nor that */
    bool started;
    pthread_t thread;
};

/* Whether a record of this processor's at that place of its batch is the one that was appended for
 * the delivery. A batch that is sent again after longer than the bus knows its message id is stored
 * twice; the first counts, and the receipt tells of the second. */
static bool is_claim(const struct held *held, const struct status_change *change, uint32_t place)
{
    const struct status_change *claim = &held->append.change;
    return held->claim_position != 0 && place == held->claim_place &&
           change->time_ms == claim->time_ms && change->state.status == claim->state.status &&
           change->state.alone == claim->state.alone &&
           change->state.generation == claim->state.generation &&
           change->state.attempt == claim->state.attempt &&
           change->delivery.log == claim->delivery.log &&
           change->delivery.position == claim->delivery.position;
}

/* What the cell's last record says. A record that is not kept names nobody. */
static enum err look_up(struct retries *retries, struct held *held)
{
    struct bus_record *record;
    struct status_batch *batch = NULL;
    uint64_t position = held->cell.change_position;
    uint32_t place = held->cell.change_place;
    enum err e = bus_log_read(retries->use.status_log, position, READ_MS, &record);
    if (!e) {
        e = status_batch_read(record->payload, &batch);
        bus_record_free(record);
    }
    if (e && e != ERR_NOT_FOUND && e != ERR_MALFORMED)
        return e;
    struct status_change change = {.due_ms = 0};
    if (batch && place < status_batch_count(batch))
        change = status_batch_get(batch, place);
    held->named = change.delivery;
    held->looked_own = batch && view_equal(status_batch_processor(batch), retries->use.processor) &&
                       is_claim(held, &change, place);
    held->due_ms = change.due_ms;
    held->looked_position = position;
    held->looked_place = place;
    status_batch_free(batch);
    return ERR_NONE;
}

/* ---- one delivery ---- */

static void fail(struct retries *retries, struct held *held)
{
    static const struct run_failure vanished = {
        .error = {"its processor vanished while it ran alone",
                  sizeof "its processor vanished while it ran alone" - 1},
        .delay_ms = -1};
    held->run.attempt = held->cell.state.attempt;
    outcomes_failed(retries->use.outcomes, held, &vanished);
}

/* Does what was decided. */
static void go_on(struct retries *retries, struct held *held)
{
    struct outcomes *outcomes = retries->use.outcomes;
    enum decision decision = (enum decision)held->decision;
    bool looks = decision == DECIDE_LOOK || decision == DECIDE_NEXT;
    if (looks && look_up(retries, held)) {
        outcomes_return(outcomes, held, PUT_OFF_MS);
        return;
    }
    switch (decision) {
    case DECIDE_NEXT:
        outcomes_next_item(outcomes, held);
        break;
    case DECIDE_LOOK:
        if (outcomes_decide(outcomes, held))
            retries->use.to_runner(retries->use.ctx, held);
        else
            outcomes_go_on(outcomes, held);
        break;
    case DECIDE_CLAIM_ALONE:
        held->alone = true;
        retries->use.to_runner(retries->use.ctx, held);
        break;
    case DECIDE_FAILED:
        fail(retries, held);
        break;
    default:
        outcomes_leave(outcomes, held);
        break;
    }
}

static void take_up(struct retries *retries, struct held *held)
{
    if (held->claim_position == 0 || held->decision != DECIDE_CLAIM) {
        go_on(retries, held);
        return;
    }
    if (!outcomes_wait_fold(retries->use.outcomes, held)) {
        outcomes_return(retries->use.outcomes, held, 0);
        return;
    }
    if (outcomes_decide(retries->use.outcomes, held))
        retries->use.to_runner(retries->use.ctx, held);
    else
        outcomes_go_on(retries->use.outcomes, held);
}

/* ---- the thread ---- */

/* NULL: it ends. */
static struct held *take_next(struct retries *retries)
{
    wait_lock(&retries->wait);
    while (!retries->queue.first && !retries->ending)
        wait_on(&retries->wait);
    struct held *held = held_queue_take(&retries->queue);
    wait_unlock(&retries->wait);
    return held;
}

static void *run_retries(void *arg)
{
    struct retries *retries = arg;
    struct held *held;
    while ((held = take_next(retries)) != NULL)
        take_up(retries, held);
    return NULL;
}

/* With the lock held. */
static bool takes(const struct retries *retries, const struct held *held)
{
    return !retries->ending && (!retries->stopping || held->claim_position != 0);
}

void retries_add(struct retries *retries, struct held *held)
{
    wait_lock(&retries->wait);
    bool taken = takes(retries, held);
    if (taken) {
        held_queue_add(&retries->queue, held);
        wait_wake_all(&retries->wait);
    }
    wait_unlock(&retries->wait);
    if (!taken)
        outcomes_return(retries->use.outcomes, held, 0);
}

/* With the lock held: what is not to be done any more. */
static struct held_queue sift(struct retries *retries)
{
    struct held_queue all = retries->queue, late = {0};
    struct held *held;
    retries->queue = (struct held_queue){0};
    while ((held = held_queue_take(&all)) != NULL)
        held_queue_add(takes(retries, held) ? &retries->queue : &late, held);
    return late;
}

static void return_late(struct retries *retries)
{
    wait_lock(&retries->wait);
    struct held_queue late = sift(retries);
    struct held *held;
    wait_wake_all(&retries->wait);
    wait_unlock(&retries->wait);
    while ((held = held_queue_take(&late)) != NULL)
        outcomes_return(retries->use.outcomes, held, 0);
}

/* ---- life ---- */

enum err retries_start(const struct retries_options *options, struct retries **ret)
{
    struct retries *retries = mem_zero(1, sizeof *retries);
    if (!retries)
        return ERR_MEMORY;
    if (wait_init(&retries->wait)) {
        mem_free(retries);
        return ERR_MEMORY;
    }
    retries->use = *options;
    retries->started = pthread_create(&retries->thread, NULL, run_retries, retries) == 0;
    if (!retries->started) {
        retries_free(retries);
        return ERR_MEMORY;
    }
    *ret = retries;
    return ERR_NONE;
}

void retries_stop(struct retries *retries)
{
    wait_lock(&retries->wait);
    retries->stopping = true;
    wait_unlock(&retries->wait);
    return_late(retries);
}

void retries_free(struct retries *retries)
{
    if (!retries)
        return;
    wait_lock(&retries->wait);
    retries->ending = true;
    wait_unlock(&retries->wait);
    return_late(retries);
    if (retries->started)
        pthread_join(retries->thread, NULL);
    wait_destroy(&retries->wait);
    mem_free(retries);
}
