/* `processing` records: they name the delivery that is being run. */
#include "common/log.h"
#include "event-processor/outcomes_parts.h"

enum { FOLD_MS = 200 /* also how long a stop may take to be noticed */ };
static const int64_t NOTICE_NS = 1000000000; /* processing_notice */

static struct status_change processing(const struct held *held, uint32_t attempt)
{
    return (struct status_change){.id = held->id,
                                  .state = {.status = STATUS_PROCESSING,
                                            .alone = held->alone,
                                            .generation = held->generation,
                                            .attempt = attempt},
                                  .delivery = held->source};
}

static void note_claim(struct held *held, const struct status_append *append)
{
    held->claim_position = append->position;
    held->claim_place = append->place;
}

/* ---- beside others ---- */

static void on_claimed(struct status_append *append, bool stored)
{
    struct held *held = outcomes_held_of(append);
    struct outcomes *outcomes = held->outcomes;
    if (!stored) {
        outcomes_settle(outcomes, held, LEFT, 0);
        return;
    }
    note_claim(held, append);
    outcomes->use.to_retries(outcomes->use.ctx, held);
}

void outcomes_claim(struct outcomes *outcomes, struct held *held)
{
    held->cleared = true;
    outcomes_record(outcomes, held, processing(held, held->attempt), on_claimed);
}

bool outcomes_wait_fold(struct outcomes *outcomes, struct held *held)
{
    struct follower_target target = {.status_position = held->claim_position};
    uint64_t epoch = 0;
    enum err e = ERR_DEADLINE;
    while (e == ERR_DEADLINE && !outcomes_is_over(outcomes)) {
        e = follower_wait(outcomes->use.follower, &target, FOLD_MS, &epoch);
        if (e == ERR_DEADLINE && follower_ready(outcomes->use.follower) != held->epoch)
            break;
    }
    return !e && epoch == held->epoch;
}

/* ---- alone ---- */

enum { CLAIM_NONE, CLAIM_APPENDING, CLAIM_STORED, CLAIM_LOST, CLAIM_ABANDONED };

static void on_claimed_alone(struct status_append *append, bool stored)
{
    struct held *held = outcomes_held_of(append);
    struct outcomes *outcomes = held->outcomes;
    note_claim(held, append);
    wait_lock(&outcomes->wait);
    bool abandoned = held->claim == CLAIM_ABANDONED;
    held->claim = stored ? CLAIM_STORED : CLAIM_LOST;
    wait_wake_all(&outcomes->wait);
    wait_unlock(&outcomes->wait);
    if (abandoned)
        outcomes_settle(outcomes, held, LEFT, 0);
}

/* False: it isn't stored in time, or of no use. */
static bool append_alone(struct outcomes *outcomes, struct held *held)
{
    struct status_change change = processing(held, held->cell.state.attempt);
    held->cleared = true;
    held->claim = CLAIM_LOST;
    if (!outcomes_fill(outcomes, held, &change))
        return false;
    held->outcomes = outcomes;
    held->claim = CLAIM_APPENDING;
    held->append = (struct status_append){.change = change, .done = on_claimed_alone};
    status_log_append(outcomes->use.status_log, &held->append);
    wait_lock(&outcomes->wait);
    while (held->claim == CLAIM_APPENDING &&
           (!outcomes->stopping || wait_left_ms(outcomes->stop_at) > 0)) {
        if (outcomes->stopping)
            (void)wait_on_until(&outcomes->wait, outcomes->stop_at);
        else
            wait_on(&outcomes->wait);
    }
    bool stored = held->claim == CLAIM_STORED;
    wait_unlock(&outcomes->wait);
    return stored;
}

bool outcomes_end_claim(struct outcomes *outcomes, struct held *held)
{
    if (held->claim == CLAIM_NONE)
        return false;
    wait_lock(&outcomes->wait);
    bool appending = held->claim == CLAIM_APPENDING;
    if (appending)
        held->claim = CLAIM_ABANDONED; /* its end settles it */
    wait_unlock(&outcomes->wait);
    if (!appending)
        outcomes_settle(outcomes, held, LEFT, 0);
    return true;
}

/* Nothing else runs then, and nothing else may start: so the runner's thread can as well wait. */
bool outcomes_clear(struct outcomes *outcomes, struct held *held)
{
    bool run = outcomes_decide(outcomes, held);
    if (run || !held->alone || held->decision != DECIDE_CLAIM_ALONE)
        return run;
    return append_alone(outcomes, held) && outcomes_wait_fold(outcomes, held) &&
           outcomes_decide(outcomes, held);
}

/* ---- the end ---- */

void outcomes_stop(struct outcomes *outcomes, struct timespec until)
{
    wait_lock(&outcomes->wait);
    outcomes->stopping = true;
    outcomes->stop_at = until;
    wait_wake_all(&outcomes->wait);
    wait_unlock(&outcomes->wait);
}

bool outcomes_is_over(struct outcomes *outcomes)
{
    wait_lock(&outcomes->wait);
    bool over = outcomes->stopping && wait_left_ms(outcomes->stop_at) == 0;
    wait_unlock(&outcomes->wait);
    return over;
}

/* ---- runs that take long ---- */

static struct held *held_of_notice(struct status_append *append)
{
    return (struct held *)((char *)append - offsetof(struct held, notice));
}

static void on_noted(struct status_append *append, bool stored)
{
    struct held *held = held_of_notice(append);
    (void)stored; /* it is for people only */
    in_hand_noted(held->hand, held);
}

void outcomes_note_long_runs(struct outcomes *outcomes, struct in_hand *hand)
{
    struct timespec now = wait_until(0);
    int64_t now_ns = now.tv_sec * 1000000000 + now.tv_nsec;
    struct held *held;
    while ((held = in_hand_long_run(hand, now_ns, NOTICE_NS)) != NULL) {
        struct status_change change = processing(held, held->run.attempt);
        if (held->claim_position != 0 || !outcomes_fill(outcomes, held, &change)) {
            in_hand_noted(hand, held);
            continue;
        }
        held->notice = (struct status_append){.change = change, .done = on_noted};
        status_log_append(outcomes->use.status_log, &held->notice);
    }
}
