#include "common/log.h"
#include "common/retry_item.h"
#include "event-processor/sweep_parts.h"

enum {
    PATIENCE_MS = 10000, /* with the table; then the bus is asked again */
    IN_FLIGHT = 64,
    BUSY_MS = 100,     /* until what the bus did not take is tried again */
    STEP_CELLS = 1024, /* in one step of the walk */
    ITEM_BYTES = 128,
    LEAST = 64,      /* events that a walk looks into, however many items the retry log holds */
    LOOK_MS = 10000, /* between two looks for what the group has passed by */
    RESTART_TIMEOUT_MS = 2000,
    PATIENT = 10, /* times as long as usual, where it seems to hold them all */
};
static const unsigned unended = 1u << STATUS_RETRYING | 1u << STATUS_PROCESSING;

/* ---- what must be known before the walk ---- */

static int64_t ask_again(struct sweep *sweep, int64_t in_ms)
{
    sweep->items.step = SWEEP_ASK;
    sweep->items.next_ms = sweep_now_ms(sweep) + in_ms;
    return in_ms;
}

/* The floor first: what is acknowledged after that does not count. */
static int64_t ask(struct sweep *sweep)
{
    struct sweep_items *items = &sweep->items;
    struct bus_log_end end;
    enum err e = bus_consumer_floor(items->consumer, SWEEP_ASK_MS, &items->floor);
    if (!e)
        e = bus_log_end(sweep->use.retry_log, SWEEP_ASK_MS, &end);
    if (!e)
        e = follower_ends(sweep->use.follower, SWEEP_ASK_MS, &items->target);
    if (e) {
        log_debug("cannot look for events that are stuck yet", LOG_TEXT("error", err_title(e)));
        return ask_again(sweep, SWEEP_RETRY_MS);
    }
    items->kept = end.count;
    items->until_ms = sweep_now_ms(sweep) + PATIENCE_MS;
    items->step = SWEEP_AWAIT;
    return 0;
}

/* An item is there until the next one is, or the event has ended. So where the retry log holds as
 * many as there are events that need one, none should be lost: events wait, because an endpoint is
 * down for hours, say, and has more of them than can be tried again in time; these must not get
 * all of their items once more with each walk. (Yet some items may be of events that have ended, so
 * they are looked into all the same, but late and few.) */
static void begin_walk(struct sweep *sweep)
{
    struct sweep_items *items = &sweep->items;
    uint64_t events = status_table_count_of(sweep->use.table, unended, items->floor);
    items->left = events > items->kept + LEAST ? events - items->kept : LEAST;
    items->unchanged_ms = sweep->use.unchanged_ms * (events > items->kept ? 1 : PATIENT);
    if (items->begin > items->floor)
        items->begin = 1;
    items->from = items->begin;
    items->to = items->floor;
    items->wrapped = false;
    items->published = 0;
    wait_lock(&sweep->wait);
    sweep->failed = 0;
    wait_unlock(&sweep->wait);
    items->step = SWEEP_WALK;
}

static int64_t await_table(struct sweep *sweep)
{
    uint64_t epoch;
    if (!follower_wait(sweep->use.follower, &sweep->items.target, 0, &epoch)) {
        begin_walk(sweep);
        return 0;
    }
    if (sweep_now_ms(sweep) >= sweep->items.until_ms)
        return ask_again(sweep, 0);
    return BUSY_MS;
}

/* ---- an event ---- */

static void forget_batch(struct sweep_items *items)
{
    status_batch_free(items->batch);
    items->batch = NULL;
    items->batch_position = 0;
}

/* What the event's last record says. Of one that is not kept: nothing. Events that fail together
 * are in one batch, so that is kept for the next. */
static enum err look_up(struct sweep *sweep, const struct status_entry *entry,
                        struct status_change *ret)
{
    struct sweep_items *items = &sweep->items;
    *ret = (struct status_change){.due_ms = 0};
    if (items->batch_position != entry->change_position) {
        struct bus_record *record;
        forget_batch(items);
        enum err e =
            bus_log_read(sweep->use.status_records, entry->change_position, SWEEP_ASK_MS, &record);
        if (!e) {
            e = status_batch_read(record->payload, &items->batch);
            bus_record_free(record);
        }
        if (e && e != ERR_NOT_FOUND && e != ERR_MALFORMED)
            return e;
        items->batch_position = entry->change_position;
    }
    if (items->batch && entry->change_place < status_batch_count(items->batch))
        *ret = status_batch_get(items->batch, entry->change_place);
    return ERR_NONE;
}

static void on_published(void *ctx, const struct bus_receipt *receipt)
{
    struct sweep *sweep = ctx;
    wait_lock(&sweep->wait);
    sweep->publishing--;
    sweep->failed += receipt->outcome != BUS_STORED;
    wait_wake_all(&sweep->wait);
    wait_unlock(&sweep->wait);
}

/* False: they are too many still. */
static bool wait_for_room(struct sweep *sweep)
{
    struct timespec until = wait_until(SWEEP_POLL_MS);
    wait_lock(&sweep->wait);
    while (sweep->publishing >= IN_FLIGHT && wait_on_until(&sweep->wait, until))
        ;
    bool room = sweep->publishing < IN_FLIGHT;
    sweep->publishing += room;
    wait_unlock(&sweep->wait);
    return room;
}

static enum err publish(struct sweep *sweep, const struct retry_item *item)
{
    struct buf bytes;
    buf_init(&bytes, ITEM_BYTES);
    if (!wait_for_room(sweep)) {
        buf_free(&bytes);
        return ERR_BUSY;
    }
    enum err e = retry_item_write(item, &bytes);
    if (!e)
        e = bus_publish(
            sweep->use.retry_log,
            &(struct bus_message){.subject = sweep->use.retry_subject, .payload = buf_view(&bytes)},
            on_published, sweep);
    buf_free(&bytes);
    if (!e)
        return ERR_NONE;
    wait_lock(&sweep->wait);
    sweep->publishing--;
    wait_unlock(&sweep->wait);
    return e;
}

/* Whether it has not changed for long. Clocks may differ: one that is far ahead counts too. */
static bool is_unchanged(const struct sweep *sweep, const struct status_entry *entry)
{
    int64_t ms = clock_wall_ms(sweep->use.clock) - entry->updated_ms;
    return (ms < 0 ? -ms : ms) > sweep->items.unchanged_ms;
}

/* Publishes the event's item if it should have been delivered by now. */
static enum err sweep_one(struct sweep *sweep, const struct status_entry *entry)
{
    struct status_change change;
    bool failed = entry->state.status == STATUS_RETRYING;
    enum err e = look_up(sweep, entry, &change);
    if (e)
        return e;
    struct retry_item item = {.id = entry->id,
                              .event_position = entry->event_position,
                              .generation = entry->state.generation,
                              .attempt = entry->state.attempt + failed,
                              .due_ms = change.due_ms};
    if (!failed)
        item.instead_of = change.delivery;
    if (item.due_ms > clock_wall_ms(sweep->use.clock))
        return ERR_NONE;
    e = publish(sweep, &item);
    if (e == ERR_INVALID) /* no attempt of this number is possible */
        return ERR_NONE;
    sweep->items.published += !e;
    return e;
}

/* ---- the walk ---- */

static int64_t end_walk(struct sweep *sweep, uint64_t begin)
{
    struct sweep_items *items = &sweep->items;
    items->begin = begin;
    forget_batch(items);
    metric_add(items->swept, items->published);
    metric_add(items->walks, 1);
    if (items->published > 0)
        log_warn("events have not changed for long: the attempts that should have come are stored "
                 "once more",
                 LOG_U64("events", items->published), LOG_U64("retry_log_holds", items->kept),
                 LOG_I64("unchanged_ms", items->unchanged_ms));
    wait_lock(&sweep->wait);
    bool failed = sweep->failed > 0;
    wait_unlock(&sweep->wait);
    return ask_again(sweep, failed ? SWEEP_RETRY_MS : sweep->use.every_ms);
}

/* The part that an earlier walk has come through may have something, too. */
static bool wrap(struct sweep_items *items)
{
    if (items->wrapped || items->begin <= 1)
        return false;
    items->wrapped = true;
    items->from = 1;
    items->to = items->begin - 1;
    return true;
}

static int64_t walk(struct sweep *sweep)
{
    struct sweep_items *items = &sweep->items;
    struct status_reflects reflects;
    struct status_entry entry;
    for (int i = 0; i < STEP_CELLS && !wait_flag_is_set(&sweep->stop); i++) {
        bool found = status_table_first_of(sweep->use.table, unended, items->from, items->to,
                                           &entry, &reflects);
        if (reflects.epoch != items->epoch)
            return 0; /* the next step begins anew */
        if (!found && !wrap(items))
            return end_walk(sweep, 1);
        if (!found)
            continue;
        if (is_unchanged(sweep, &entry)) {
            if (items->left == 0)
                return end_walk(sweep, entry.event_position);
            if (sweep_one(sweep, &entry))
                return BUSY_MS;
            items->left--;
        }
        items->from = entry.event_position + 1;
    }
    return 0;
}

/* ---- items that the group has passed by ---- */

/* The floor first, here too. */
static enum err look_for_passed_by(struct sweep *sweep)
{
    struct sweep_items *items = &sweep->items;
    struct bus_log_end end;
    uint64_t floor;
    enum err e = bus_consumer_floor(items->retries, SWEEP_ASK_MS, &floor);
    if (!e)
        e = bus_log_end(sweep->use.retry_log, SWEEP_ASK_MS, &end);
    if (e)
        return e;
    uint64_t passed_by = end.count > 0 && end.first <= floor ? end.first : 0;
    bool again = passed_by != 0 && passed_by == items->passed_by;
    items->passed_by = passed_by;
    if (!again)
        return ERR_NONE;
    e = bus_consumer_restart(items->retries, RESTART_TIMEOUT_MS);
    if (e)
        return e;
    log_warn("the retry log keeps attempts to come that the group has passed by: it begins anew",
             LOG_U64("position", passed_by), LOG_U64("acknowledged", floor));
    metric_add(items->restarts, 1);
    items->passed_by = 0;
    return ERR_NONE;
}

static void look(struct sweep *sweep)
{
    struct sweep_items *items = &sweep->items;
    if (sweep_now_ms(sweep) < items->look_ms)
        return;
    enum err e = look_for_passed_by(sweep);
    if (e)
        log_debug("cannot look for attempts that were passed by yet",
                  LOG_TEXT("error", err_title(e)));
    items->look_ms = sweep_now_ms(sweep) + (e ? SWEEP_RETRY_MS : LOOK_MS);
}

int64_t sweep_items_step(struct sweep *sweep)
{
    struct sweep_items *items = &sweep->items;
    uint64_t epoch = follower_ready(sweep->use.follower);
    if (epoch == 0)
        return SWEEP_POLL_MS;
    if (epoch != items->epoch) {
        items->epoch = epoch;
        items->begin = 1;
        forget_batch(items);
        (void)ask_again(sweep, 0);
    }
    look(sweep);
    int64_t left_ms = items->next_ms - sweep_now_ms(sweep);
    switch (items->step) {
    case SWEEP_ASK:
        return left_ms > 0 ? left_ms : ask(sweep);
    case SWEEP_AWAIT:
        return await_table(sweep);
    case SWEEP_WALK:
        return walk(sweep);
    }
    return 0;
}

enum err sweep_items_open(struct sweep *sweep)
{
    struct bus_consumer_spec spec = {.group = sweep->use.group,
                                     .ack_wait_ms = sweep->use.ack_wait_ms};
    sweep->items.begin = 1;
    sweep->items.walks = metrics_counter(sweep->use.metrics, "tidings_sweeps_total", NULL,
                                         "Walks through the events whose next attempt may be lost");
    sweep->items.swept = metrics_counter(
        sweep->use.metrics, "tidings_attempts_swept_total", NULL,
        "Attempts to come that were stored once more, since their events had not changed for long");
    sweep->items.restarts = metrics_counter(
        sweep->use.metrics, "tidings_group_restarts_total", "log=\"retry\"",
        "Times that this processor had the group begin anew, by the log that had lost records");
    enum err e = bus_consumer_open(sweep->use.event_log, &spec, &sweep->items.consumer);
    return e ? e : bus_consumer_open(sweep->use.retry_log, &spec, &sweep->items.retries);
}

void sweep_items_close(struct sweep *sweep)
{
    forget_batch(&sweep->items);
    if (sweep->items.retries)
        bus_consumer_close(sweep->items.retries);
    if (sweep->items.consumer)
        bus_consumer_close(sweep->items.consumer);
}
