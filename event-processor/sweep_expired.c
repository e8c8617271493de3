#include "common/config.h"
#include "common/event.h"
#include "common/log.h"
#include "event-processor/sweep_parts.h"

enum {
    WARN_AT = 60, /* per cent of the event log's age */
    DEAD_AT = 80,
    LOOKS = 20, /* in the time of that age, ... */
    LOOK_LEAST_MS = 50,
    LOOK_MOST_MS = 10 * 60 * 1000,
    NO_AGE_MS = 10 * 1000, /* until it is asked again whether there is an age */
    FOLD_MS = 2000,
    HOLES = 16, /* in the event log, that are passed one by one */
    SILENCE_MS = 10 * 60 * 1000,
};
static const unsigned unended =
    1u << STATUS_ACCEPTED | 1u << STATUS_RETRYING | 1u << STATUS_PROCESSING;

/* One look at the event log. */
struct look {
    int64_t age_ms; /* of the log: at that age events leave it */
    uint64_t last;
    uint64_t epoch;
};

static int64_t stored_before_ms(const struct sweep *sweep, const struct look *look, int percent)
{
    return clock_wall_ms(sweep->use.clock) - look->age_ms / 100 * percent -
           look->age_ms % 100 * percent / 100;
}

/* The first event at `from` or later that has not ended and is still kept, with its record.
 * ERR_NOT_FOUND: none; ERR_STALE: the table is another one. */
static enum err next_unended(struct sweep *sweep, const struct look *look, uint64_t from,
                             struct status_entry *ret, struct bus_record **ret_record)
{
    struct status_reflects reflects;
    enum err e = ERR_NOT_FOUND;
    while (e == ERR_NOT_FOUND && !wait_flag_is_set(&sweep->stop)) {
        bool found = status_table_first_of(sweep->use.table, unended, from,
                                           STATUS_TABLE_POSITION_MAX, ret, &reflects);
        if (reflects.epoch != look->epoch)
            return ERR_STALE;
        if (!found)
            return ERR_NOT_FOUND;
        e = bus_log_read(sweep->use.event_log, ret->event_position, SWEEP_ASK_MS, ret_record);
        from = ret->event_position + 1;
    }
    return e == ERR_NOT_FOUND ? ERR_STALE : e;
}

/* ---- the warning ---- */

/* The last position from `low` on whose record was stored by then; that at `low` was. */
static enum err find_last_before(struct sweep *sweep, const struct look *look, uint64_t low,
                                 int64_t time_ms, uint64_t *ret)
{
    uint64_t high = look->last;
    while (low < high) {
        uint64_t middle = low + (high - low + 1) / 2;
        uint64_t at = middle;
        struct bus_record *record;
        enum err e = ERR_NOT_FOUND;
        for (; e == ERR_NOT_FOUND && at <= high && at < middle + HOLES; at++)
            e = bus_log_read(sweep->use.event_log, at, SWEEP_ASK_MS, &record);
        if (e && e != ERR_NOT_FOUND)
            return e;
        bool before = !e && record->time_ms <= time_ms;
        if (!e)
            bus_record_free(record);
        if (before)
            low = at - 1;
        else
            high = middle - 1;
    }
    *ret = low;
    return ERR_NONE;
}

static void say_expiring(struct sweep *sweep, const struct look *look, uint64_t count)
{
    struct sweep_expired *expired = &sweep->expired;
    char age[CONFIG_DURATION_SIZE];
    metric_set(expired->expiring, (int64_t)count);
    if (count == 0 || sweep_now_ms(sweep) < expired->silent_until_ms)
        return;
    expired->silent_until_ms = sweep_now_ms(sweep) + SILENCE_MS;
    config_duration_text(look->age_ms, age);
    log_warn("events that have not ended come close to the age at which the event log drops them; "
             "at 80 % of it they become dead letters",
             LOG_U64("events", count), LOG_TEXT("max_age", age));
}

/* `oldest` has not ended. */
static enum err count_expiring(struct sweep *sweep, const struct look *look,
                               const struct bus_record *oldest)
{
    int64_t time_ms = stored_before_ms(sweep, look, WARN_AT);
    uint64_t position;
    if (oldest->time_ms > time_ms) {
        say_expiring(sweep, look, 0);
        return ERR_NONE;
    }
    enum err e = find_last_before(sweep, look, oldest->position, time_ms, &position);
    if (!e)
        say_expiring(sweep, look, status_table_count_of(sweep->use.table, unended, position));
    return e;
}

/* ---- the letters ---- */

static void on_appended(struct status_append *append, bool stored)
{
    struct sweep_letter *letter = (struct sweep_letter *)append;
    struct sweep *sweep = letter->sweep;
    letter->stored = stored;
    wait_lock(&sweep->wait);
    sweep->appending--;
    wait_wake_all(&sweep->wait);
    wait_unlock(&sweep->wait);
}

static void append_dead(struct sweep *sweep, const struct status_entry *entry,
                        struct sweep_letter *letter, uint64_t letter_position)
{
    letter->append =
        (struct status_append){.change = {.id = entry->id,
                                          .event_position = entry->event_position,
                                          .state = {.status = STATUS_DEAD,
                                                    .generation = entry->state.generation,
                                                    .attempt = entry->state.attempt},
                                          .time_ms = clock_wall_ms(sweep->use.clock),
                                          .previous_position = entry->change_position,
                                          .error = view_of(letter->error.text),
                                          .letter_position = letter_position},
                               .done = on_appended};
    wait_lock(&sweep->wait);
    sweep->appending++;
    wait_unlock(&sweep->wait);
    status_log_append(sweep->use.status_log, &letter->append);
}

/* Unless what is stored there is another event: then the table is about to learn that. A conflict
 * came with the id of one. */
static enum err bury(struct sweep *sweep, const struct look *look, const struct status_entry *entry,
                     const struct bus_record *record)
{
    struct sweep_letter *letter = &sweep->expired.letters[sweep->expired.count];
    char after[CONFIG_DURATION_SIZE], age[CONFIG_DURATION_SIZE];
    struct event_id id;
    struct view name;
    uint64_t position;
    (void)event_identity(record, sweep->use.ns, sweep->use.event_stream, &id, &name);
    if (!entry->conflict && !id_equal(&id, &entry->id))
        return ERR_NONE;
    config_duration_text(clock_wall_ms(sweep->use.clock) - record->time_ms, after);
    config_duration_text(look->age_ms, age);
    *letter = (struct sweep_letter){.sweep = sweep};
    (void)err_set(&letter->error, ERR_DEADLINE,
                  "expired: it had not ended %s after it was stored, and the event log drops it "
                  "after %s",
                  after, age);
    struct letter text = {.record = record,
                          .event_stream = sweep->use.event_stream,
                          .ns = sweep->use.ns,
                          .group = sweep->use.group,
                          .reason = LETTER_EXPIRED,
                          .error = view_of(letter->error.text),
                          .id = entry->id,
                          .generation = entry->state.generation,
                          .attempts = entry->state.attempt};
    enum err e = letters_store(sweep->use.letters, &text, &position);
    if (e)
        return e;
    sweep->expired.count++;
    append_dead(sweep, entry, letter, position);
    return ERR_NONE;
}

/* Oldest first, until one is too young. */
static enum err bury_old(struct sweep *sweep, const struct look *look, uint64_t from)
{
    int64_t time_ms = stored_before_ms(sweep, look, DEAD_AT);
    struct status_entry entry;
    struct bus_record *record;
    enum err e = ERR_NONE;
    bool old = true;
    while (!e && old && sweep->expired.count < SWEEP_CHUNK) {
        e = next_unended(sweep, look, from, &entry, &record);
        if (e)
            break;
        old = record->time_ms <= time_ms;
        if (old)
            e = bury(sweep, look, &entry, record);
        bus_record_free(record);
        from = entry.event_position + 1;
    }
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}

/* Of what has been appended: until it is folded, so that the next look finds it ended. */
static void await_fold(struct sweep *sweep)
{
    struct sweep_expired *expired = &sweep->expired;
    struct follower_target target = {0};
    enum err e = ERR_DEADLINE;
    wait_lock(&sweep->wait);
    while (sweep->appending > 0)
        wait_on(&sweep->wait);
    wait_unlock(&sweep->wait);
    for (size_t i = 0; i < expired->count; i++)
        if (expired->letters[i].stored &&
            expired->letters[i].append.position > target.status_position)
            target.status_position = expired->letters[i].append.position;
    for (int64_t until_ms = sweep_now_ms(sweep) + FOLD_MS;
         e == ERR_DEADLINE && sweep_now_ms(sweep) < until_ms && !wait_flag_is_set(&sweep->stop);)
        e = follower_wait(sweep->use.follower, &target, SWEEP_POLL_MS, NULL);
}

/* Those whose `dead` counts: of each event one, whoever has appended it. */
static void count_expired(struct sweep *sweep)
{
    struct sweep_expired *expired = &sweep->expired;
    struct status_entry entry;
    uint64_t count = 0;
    for (size_t i = 0; i < expired->count; i++) {
        const struct status_append *append = &expired->letters[i].append;
        count += expired->letters[i].stored &&
                 status_table_at(sweep->use.table, append->change.event_position, &entry, NULL) &&
                 entry.change_position == append->position && entry.change_place == append->place;
    }
    metric_add(expired->expired, count);
    if (count > 0)
        log_warn("events have not ended in time and are dead letters now", LOG_U64("events", count),
                 LOG_U64("first", expired->letters[0].append.change.event_position),
                 LOG_TEXT("error", expired->letters[0].error.text));
}

/* Only what the table says when it knows all that was recorded by now counts. */
static enum err expire(struct sweep *sweep, const struct look *look, uint64_t oldest)
{
    struct follower_target target;
    enum err e = follower_ends(sweep->use.follower, SWEEP_ASK_MS, &target);
    if (!e)
        e = follower_wait(sweep->use.follower, &target, SWEEP_ASK_MS, NULL);
    if (e)
        return e;
    sweep->expired.count = 0;
    e = bury_old(sweep, look, oldest);
    if (sweep->expired.count > 0) {
        await_fold(sweep);
        count_expired(sweep);
    }
    return e;
}

/* ---- looks ---- */

static enum err look_at(struct sweep *sweep, const struct look *look)
{
    struct status_entry entry;
    struct bus_record *oldest;
    sweep->expired.count = 0;
    enum err e = next_unended(sweep, look, 1, &entry, &oldest);
    if (e == ERR_NOT_FOUND) {
        say_expiring(sweep, look, 0);
        return ERR_NONE;
    }
    if (e)
        return e;
    e = count_expiring(sweep, look, oldest);
    if (!e && oldest->time_ms <= stored_before_ms(sweep, look, DEAD_AT))
        e = expire(sweep, look, oldest->position);
    bus_record_free(oldest);
    return e;
}

static int64_t again_in(struct sweep *sweep, int64_t ms)
{
    sweep->expired.next_ms = sweep_now_ms(sweep) + ms;
    return ms;
}

static int64_t look_ms(int64_t age_ms)
{
    int64_t ms = age_ms / LOOKS;
    if (ms < LOOK_LEAST_MS)
        return LOOK_LEAST_MS;
    return ms < LOOK_MOST_MS ? ms : LOOK_MOST_MS;
}

int64_t sweep_expired_step(struct sweep *sweep)
{
    int64_t left_ms = sweep->expired.next_ms - sweep_now_ms(sweep);
    struct look look = {.epoch = follower_ready(sweep->use.follower)};
    struct bus_log_end end;
    if (left_ms > 0 || look.epoch == 0)
        return left_ms > SWEEP_POLL_MS ? left_ms : SWEEP_POLL_MS;
    enum err e = bus_log_end(sweep->use.event_log, SWEEP_ASK_MS, &end);
    if (!e && end.max_age_ms == 0) {
        metric_set(sweep->expired.expiring, 0);
        return again_in(sweep, NO_AGE_MS);
    }
    if (e)
        return again_in(sweep, SWEEP_RETRY_MS);
    look.age_ms = end.max_age_ms;
    look.last = end.last;
    e = look_at(sweep, &look);
    if (!e && sweep->expired.count == SWEEP_CHUNK) /* there may be more */
        return again_in(sweep, 0);
    int64_t ms = look_ms(look.age_ms);
    return again_in(sweep, e && ms > SWEEP_RETRY_MS ? SWEEP_RETRY_MS : ms);
}

void sweep_expired_open(struct sweep *sweep)
{
    sweep->expired.expiring = metrics_gauge(
        sweep->use.metrics, "tidings_events_expiring", NULL,
        "Events that have not ended and are older than 60 % of the age of the event log");
    sweep->expired.expired = metrics_counter(
        sweep->use.metrics, "tidings_events_expired_total", NULL,
        "Events that had not ended at 80 % of the age of the event log and became dead letters");
}
