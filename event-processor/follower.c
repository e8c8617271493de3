#include "event-processor/follower_side.h"

#include "common/log.h"
#include "common/mem.h"

enum {
    READ_TIMEOUT_MS = 200, /* also how long a stop may take to be noticed */
    END_TIMEOUT_MS = 2000,
    RETRY_MS = 200,
    STILL_MS = 10000,
    PAUSE_FIRST_MS = 250,
    PAUSE_LAST_MS = 5000,
    CALM_MS = 30000, /* after so long without a rebuild the next one begins at once again */
};

/* ---- positions ---- */

bool side_current(struct side *side)
{
    struct status_reflects reflects;
    status_table_reflects(side->follower->table, &reflects);
    return reflects.epoch == side->epoch && !atomic_load(&side->follower->stopping);
}

void follower_announce(struct follower *follower)
{
    struct status_reflects reflects;
    wait_lock(&follower->wait);
    status_table_reflects(follower->table, &reflects);
    bool ready = true;
    for (size_t i = 0; i < FOLLOWER_SIDES; i++) {
        struct side *side = &follower->sides[i];
        if (side->epoch == reflects.epoch)
            follower_note_progress(side, &reflects);
        ready = ready && side->epoch == reflects.epoch && side->proven &&
                side_position(side, &reflects) >= side->catch_up;
    }
    atomic_store(&follower->ready_epoch, ready ? reflects.epoch : 0);
    wait_wake_all(&follower->wait);
    wait_unlock(&follower->wait);
    if (follower->replays)
        replays_announce(follower->replays);
}

bool follower_pause(struct follower *follower, int64_t ms)
{
    struct timespec until = wait_until(ms);
    wait_lock(&follower->wait);
    while (!atomic_load(&follower->stopping) && wait_on_until(&follower->wait, until))
        ;
    wait_unlock(&follower->wait);
    return !atomic_load(&follower->stopping);
}

uint64_t follower_ready(struct follower *follower)
{
    return atomic_load(&follower->ready_epoch);
}

/* With the lock held. A rebuild that follows another one soon waits: whatever is wrong with the
 * logs may be wrong for long, and every replica meets it. */
static void pace_rebuild(struct follower *follower)
{
    int64_t longer =
        follower->pause_ms * 2 < PAUSE_LAST_MS ? follower->pause_ms * 2 : PAUSE_LAST_MS;
    if (follower->pause_ms == 0)
        longer = PAUSE_FIRST_MS;
    follower->pause_ms = wait_left_ms(follower->calm_at) > 0 ? longer : 0;
    follower->resume_at = wait_until(follower->pause_ms);
    follower->calm_at = wait_until(follower->pause_ms + CALM_MS);
}

void follower_rebuild(struct follower *follower, uint64_t epoch, const char *why)
{
    wait_lock(&follower->wait);
    status_table_write_begin(follower->table);
    bool begins = status_table_epoch(follower->table) == epoch;
    if (begins)
        status_table_reset(follower->table);
    if (begins && follower->replays)
        replays_reset(follower->replays);
    if (begins && follower->changes)
        changes_reset(follower->changes);
    status_table_write_end(follower->table);
    if (begins)
        pace_rebuild(follower);
    int64_t pause_ms = follower->pause_ms;
    wait_unlock(&follower->wait);
    if (!begins)
        return;
    log_warn("rebuilding the status table", LOG_TEXT("reason", why), LOG_U64("epoch", epoch + 1),
             LOG_I64("pause_ms", pause_ms));
    metric_add(follower->rebuilds, 1);
    follower_announce(follower);
}

void side_note_loss(struct side *side)
{
    atomic_fetch_add(
        &side->follower->losses[side->is_event_log ? FOLLOWER_EVENTS : FOLLOWER_STATUSES], 1);
}

void side_lost(struct side *side, uint64_t epoch)
{
    side_note_loss(side);
    follower_rebuild(side->follower, epoch, side->stale);
}

uint64_t follower_event_log_losses(struct follower *follower)
{
    return atomic_load(&follower->losses[FOLLOWER_EVENTS]);
}

uint64_t follower_losses(struct follower *follower)
{
    return atomic_load(&follower->losses[FOLLOWER_EVENTS]) +
           atomic_load(&follower->losses[FOLLOWER_STATUSES]);
}

/* ---- following ---- */

/* Begins an epoch on this side: where the log ends now is where it has caught up. */
static void begin_epoch(struct side *side, uint64_t epoch, const struct bus_log_end *end)
{
    struct follower *follower = side->follower;
    bool loaded = side_is_loaded(side, epoch);
    wait_lock(&follower->wait);
    side->epoch = epoch;
    side->created_ns = end->created_ns;
    side->catch_up = end->last;
    side->folded = loaded ? side->loaded.position : 0;
    side->folded_ms = side->loaded.time_ms;
    side->proven = side->folded == 0;
    side->behind = false;
    side->end = *end;
    side->end_at = wait_until(0);
    side->moved_at = side->end_at;
    wait_unlock(&follower->wait);
    side->event_last = 0;
    (void)!follower_drop_head(side, epoch, end); /* else when the end is asked for next */
    follower_announce(follower);
}

static void wait_to_resume(struct follower *follower)
{
    wait_lock(&follower->wait);
    while (!atomic_load(&follower->stopping) && wait_left_ms(follower->resume_at) > 0)
        (void)wait_on_until(&follower->wait, follower->resume_at);
    wait_unlock(&follower->wait);
}

/* Waits for the bus as long as it takes. NULL: stopped. */
static struct bus_reader *open_reader(struct side *side)
{
    wait_to_resume(side->follower);
    while (!atomic_load(&side->follower->stopping)) {
        struct status_reflects reflects;
        struct bus_reader *reader;
        struct bus_log_end end;
        status_table_reflects(side->follower->table, &reflects);
        enum err e = bus_log_end(side->log, END_TIMEOUT_MS, &end);
        if (!e)
            e = side_compare(side, reflects.epoch, &end);
        uint64_t from = side_is_loaded(side, reflects.epoch) ? side->loaded.position : 0;
        if (!e)
            e = bus_reader_open(side->log, from, side->is_event_log, &reader);
        if (!e) {
            begin_epoch(side, reflects.epoch, &end);
            return reader;
        }
        log_debug("cannot follow yet", LOG_TEXT("log", side->what),
                  LOG_TEXT("error", err_title(e)));
        if (!follower_pause(side->follower, RETRY_MS))
            break;
    }
    return NULL;
}

static void note_folded(struct side *side, const struct bus_record *last)
{
    wait_lock(&side->follower->wait);
    side->folded = last->position;
    side->folded_ms = last->time_ms;
    wait_unlock(&side->follower->wait);
}

/* Where nothing was folded, or the table has passed the record folded last since the log had
 * dropped all up to there, no record tells whether it is still the same. If it keeps now what
 * should have been read before this record, it was empty, has lost even its end, and begins again.
 */
static bool is_of_another_life(struct side *side, const struct bus_record *record)
{
    struct status_reflects reflects;
    struct bus_log_end end;
    status_table_reflects(side->follower->table, &reflects);
    bool unproven =
        side->folded == 0 ? record->position > 1 : side->folded < side_position(side, &reflects);
    while (unproven && side_current(side)) {
        if (!bus_log_end(side->log, END_TIMEOUT_MS, &end))
            return end.first < record->position;
        if (!follower_pause(side->follower, RETRY_MS))
            break;
    }
    return false;
}

static void fold(struct side *side, struct bus_record **records, size_t count)
{
    if (!side_prove(side, &records, &count) || count == 0)
        return;
    if (is_of_another_life(side, records[0])) {
        side_lost(side, side->epoch);
        return;
    }
    note_folded(side, records[count - 1]); /* before anybody can see the position */
    side->fold(side, records, count);
}

static void follow(struct side *side, struct bus_reader *reader)
{
    struct bus_record *records[FOLLOWER_READ_MAX];
    size_t count;
    while (side_current(side)) {
        enum err e = bus_reader_next(reader, READ_TIMEOUT_MS, records, FOLLOWER_READ_MAX, &count);
        if (e == ERR_NONE) {
            fold(side, records, count);
        } else if (e == ERR_STALE) {
            side_lost(side, side->epoch);
        } else if (e == ERR_DEADLINE) {
            side_prove_without(side);
        } else if (e != ERR_UNAVAILABLE) {
            log_error("cannot read", LOG_TEXT("log", side->what), LOG_TEXT("error", err_title(e)));
            if (!follower_pause(side->follower, RETRY_MS))
                return;
        }
        follower_check_end(side);
    }
}

static void *run_side(void *arg)
{
    struct side *side = arg;
    struct bus_reader *reader;
    follower_load(side);
    while ((reader = open_reader(side)) != NULL) {
        follow(side, reader);
        bus_reader_close(reader);
    }
    return NULL;
}

/* ---- waiting ---- */

enum err follower_wait(struct follower *follower, const struct follower_target *target,
                       int64_t timeout_ms, uint64_t *ret_epoch)
{
    struct timespec until = wait_until(timeout_ms);
    struct status_reflects reflects;
    enum err e = ERR_NONE;
    wait_lock(&follower->wait);
    for (;;) {
        status_table_reflects(follower->table, &reflects);
        if (atomic_load(&follower->ready_epoch) == reflects.epoch &&
            reflects.event_position >= target->event_position &&
            reflects.status_position >= target->status_position)
            break;
        if (atomic_load(&follower->stopping))
            e = ERR_UNAVAILABLE;
        else if (e == ERR_NONE && !wait_on_until(&follower->wait, until))
            e = ERR_DEADLINE;
        if (e)
            break;
    }
    wait_unlock(&follower->wait);
    if (!e && ret_epoch)
        *ret_epoch = reflects.epoch;
    return e;
}

/* ---- metrics ---- */

static double read_position(void *ctx)
{
    struct side *side = ctx;
    struct status_reflects reflects;
    status_table_reflects(side->follower->table, &reflects);
    return (double)side_position(side, &reflects);
}

static double read_lag(void *ctx)
{
    return follower_lag(ctx);
}

static void register_side(struct side *side, struct metrics *metrics)
{
    const char *labels = side->is_event_log ? "log=\"events\"" : "log=\"status\"";
    metrics_gauge_read(metrics, "tidings_follower_position", labels,
                       "Position up to which the log has been folded", read_position, side);
    metrics_gauge_read(metrics, "tidings_follower_lag_records", labels,
                       "Records of the log not folded yet, by its end when last asked; NaN where "
                       "that is some seconds ago",
                       read_lag, side);
}

/* ---- life ---- */

static enum err forget_events(struct follower *follower, uint64_t first)
{
    return status_table_forget(follower->table, first);
}

static enum err pass_statuses(struct follower *follower, uint64_t first)
{
    status_table_passed_status(follower->table, first - 1);
    if (follower->changes)
        changes_begin(follower->changes, first - 1);
    return ERR_NONE;
}

static void init_sides(struct follower *follower, const struct follower_options *options)
{
    follower->sides[FOLLOWER_EVENTS] = (struct side){
        .follower = follower,
        .what = "event log",
        .stale = "the event log is not the one that was followed",
        .log = options->event_log,
        .is_event_log = true,
        .fold = follower_fold_events,
        .drop_head = forget_events,
    };
    follower->sides[FOLLOWER_STATUSES] = (struct side){
        .follower = follower,
        .what = "status log",
        .stale = "the status log is not the one that was followed",
        .log = options->status_log,
        .fold = follower_fold_statuses,
        .drop_head = pass_statuses,
    };
}

enum err follower_start(const struct follower_options *options, struct follower **ret)
{
    struct follower *follower = mem_zero(1, sizeof *follower);
    if (!follower)
        return ERR_MEMORY;
    if (wait_init(&follower->wait)) {
        mem_free(follower);
        return ERR_MEMORY;
    }
    follower->table = options->table;
    follower->replays = options->replays;
    follower->changes = options->changes;
    follower->event_stream = options->event_stream;
    follower->load = options->load;
    follower->load_ctx = options->load_ctx;
    follower->ns = options->ns;
    follower->still_ms = options->still_ms ? options->still_ms : STILL_MS;
    init_sides(follower, options);
    follower->rebuilds =
        metrics_counter(options->metrics, "tidings_follower_rebuilds_total", NULL,
                        "Times that the status table was emptied and read again from the logs");
    follower->broken = metrics_counter(options->metrics, "tidings_status_batches_malformed_total",
                                       NULL, "Records of the status log that are no batches");
    for (size_t i = 0; i < FOLLOWER_SIDES; i++) {
        struct side *side = &follower->sides[i];
        register_side(side, options->metrics);
        side->started = pthread_create(&side->thread, NULL, run_side, side) == 0;
        if (!side->started) {
            follower_stop(follower);
            follower_free(follower);
            return ERR_MEMORY;
        }
    }
    *ret = follower;
    return ERR_NONE;
}

void follower_stop(struct follower *follower)
{
    wait_lock(&follower->wait);
    atomic_store(&follower->stopping, true);
    wait_wake_all(&follower->wait);
    wait_unlock(&follower->wait);
}

void follower_free(struct follower *follower)
{
    if (!follower)
        return;
    for (size_t i = 0; i < FOLLOWER_SIDES; i++)
        if (follower->sides[i].started)
            pthread_join(follower->sides[i].thread, NULL);
    wait_destroy(&follower->wait);
    mem_free(follower);
}
