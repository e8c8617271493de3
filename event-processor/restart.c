#include "event-processor/restart.h"

#include "common/log.h"

enum {
    LOOK_MS = 10000,
    APART_FIRST_MS = 10000,
    APART_LAST_MS = 3600 * 1000,
    ASK_TIMEOUT_MS = 500,
    RETRY_MS = 1000,
    PATIENCE_MS = 10000, /* with the table; then the bus is asked again */
    RESTART_TIMEOUT_MS = 2000,
};

void restart_init(struct restart *restart, const struct restart_options *options)
{
    static const char name[] = "tidings_group_restarts_total";
    static const char help[] = "Times that this processor had the group begin anew, by the log "
                               "that had lost records";
    *restart = (struct restart){.use = *options};
    if (restart->use.look_ms == 0)
        restart->use.look_ms = LOOK_MS;
    if (restart->use.apart_ms == 0)
        restart->use.apart_ms = APART_FIRST_MS;
    restart->apart_ms = restart->use.apart_ms;
    restart->event_log_restarts = metrics_counter(options->metrics, name, "log=\"events\"", help);
    restart->status_log_restarts = metrics_counter(options->metrics, name, "log=\"status\"", help);
}

/* ---- the event log ---- */

static bool event_log_restart(struct restart *restart)
{
    if (bus_consumer_restart(restart->use.consumer, RESTART_TIMEOUT_MS))
        return false;
    log_warn("the group begins anew, since the event log is not the one it was");
    metric_add(restart->event_log_restarts, 1);
    return true;
}

/* False: not yet. */
static bool after_event_log_loss(struct restart *restart)
{
    uint64_t losses = follower_event_log_losses(restart->use.follower);
    if (losses == restart->event_log_losses)
        return true;
    if (!event_log_restart(restart))
        return false;
    restart->event_log_losses = losses;
    return true;
}

/* ---- the status log ---- */

static void ask_again(struct restart *restart, int64_t in_ms)
{
    restart->step = RESTART_ASK;
    restart->ask_at = wait_until(in_ms);
}

/* The floor first: what is acknowledged after that does not count. */
static void ask(struct restart *restart)
{
    enum err e = bus_consumer_floor(restart->use.consumer, ASK_TIMEOUT_MS, &restart->floor);
    if (!e)
        e = follower_ends(restart->use.follower, ASK_TIMEOUT_MS, &restart->target);
    if (e) {
        log_debug("cannot look for events without outcome yet", LOG_TEXT("error", err_title(e)));
        ask_again(restart, RETRY_MS);
        return;
    }
    if (restart->floor > restart->target.event_last) { /* lost while nobody followed it */
        (void)event_log_restart(restart);
        ask_again(restart, RETRY_MS);
        return;
    }
    restart->step = RESTART_AWAIT;
    restart->until = wait_until(PATIENCE_MS);
}

static void await_table(struct restart *restart)
{
    uint64_t epoch;
    if (!follower_wait(restart->use.follower, &restart->target, 0, &epoch)) {
        restart->step = RESTART_SEARCH;
        restart->from = 1;
    } else if (wait_left_ms(restart->until) == 0) {
        ask_again(restart, 0);
    }
}

/* Nothing is open that should not be. Only once all has been acknowledged again does that say
 * anything about the last restart. */
static void note_well(struct restart *restart)
{
    uint64_t all = restart->restarted_floor;
    if (all > restart->target.event_last)
        all = restart->target.event_last;
    if (restart->floor >= all)
        restart->apart_ms = restart->use.apart_ms;
    ask_again(restart, restart->use.look_ms);
}

static void begin_anew(struct restart *restart, uint64_t position)
{
    int64_t left_ms = wait_left_ms(restart->apart_until);
    if (left_ms > 0) {
        ask_again(restart, left_ms);
        return;
    }
    restart->apart_until = wait_until(restart->apart_ms);
    if (position == restart->open && restart->floor >= restart->restarted_floor) {
        restart->open = 0;
        follower_rebuild(restart->use.follower, restart->epoch,
                         "others have ended what is open here");
        ask_again(restart, 0);
        return;
    }
    log_warn("the status log has lost outcomes of events: the group begins anew, and what is open "
             "is run again",
             LOG_U64("open", position), LOG_U64("acknowledged", restart->floor),
             LOG_U64("status_position", restart->target.status_position));
    int64_t apart_ms = restart->apart_ms;
    restart->apart_ms = apart_ms * 2 < APART_LAST_MS ? apart_ms * 2 : APART_LAST_MS;
    restart->restarted_floor = restart->floor;
    metric_add(restart->status_log_restarts, 1);
    enum err e = bus_consumer_restart(restart->use.consumer, RESTART_TIMEOUT_MS);
    restart->open = e ? 0 : position;
    if (e) /* perhaps it did, so it takes another look */
        log_warn("the group may not have begun anew", LOG_TEXT("error", err_title(e)));
    ask_again(restart, e ? apart_ms : restart->use.look_ms);
}

/* One event in each step: there may be many that the event log has lost. */
static void search(struct restart *restart)
{
    struct status_reflects reflects;
    struct bus_record *record;
    struct status_entry entry;
    bool found = status_table_first_of(restart->use.table, 1u << STATUS_ACCEPTED, restart->from,
                                       restart->floor, &entry, &reflects);
    if (reflects.epoch != restart->epoch)
        return; /* the next step begins anew */
    if (!found) {
        note_well(restart);
        return;
    }
    uint64_t position = entry.event_position;
    enum err e = bus_log_read(restart->use.event_log, position, ASK_TIMEOUT_MS, &record);
    if (e == ERR_NOT_FOUND) {
        restart->from = position + 1;
    } else if (e) {
        ask_again(restart, RETRY_MS);
    } else {
        bus_record_free(record);
        begin_anew(restart, position);
    }
}

bool restart_tend(struct restart *restart)
{
    if (!after_event_log_loss(restart))
        return false;
    uint64_t losses = follower_losses(restart->use.follower);
    uint64_t epoch = follower_ready(restart->use.follower);
    if (epoch == 0)
        return true;
    if (epoch != restart->epoch || losses != restart->losses) {
        restart->epoch = epoch;
        restart->losses = losses;
        ask_again(restart, 0);
    }
    switch (restart->step) {
    case RESTART_ASK:
        if (wait_left_ms(restart->ask_at) == 0)
            ask(restart);
        break;
    case RESTART_AWAIT:
        await_table(restart);
        break;
    case RESTART_SEARCH:
        search(restart);
        break;
    }
    return true;
}
