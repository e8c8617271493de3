#include "event-processor/consumer.h"

#include "common/log.h"
#include "common/mem.h"
#include "event-processor/runner.h"
#include "event-processor/wait.h"

#include <stdatomic.h>

enum {
    HELD_PER_RUN = 4, /* deliveries in hand for each run at once, at most ... */
    HELD_BEYOND = 64, /* ... but so many beside those that run where that is more */
    HELD_BYTES = 64 << 20,
    FETCH_MAX = 1024,  /* deliveries fetched at once */
    WAIT_MS = 200,     /* also how long a stop may take to be noticed */
    BARRIER_MS = 2000, /* for one try */
    RETRY_MS = 100,
};

struct consumer {
    struct consumer_options use;
    struct bus_consumer *bus;
    struct in_hand *hand;
    struct outcomes *outcomes;
    struct runner *runner;
    struct wait wait; /* guards and wakes for `stopping`, which may be read without */
    _Atomic bool stopping;
    pthread_t fetcher, reporter;
    bool fetching, reporting;
    size_t limit; /* deliveries in hand */
    struct metric *fetched, *redelivered, *batches, *barrier;
};

/* What one fetch has brought. */
struct fetched {
    struct held *held[FETCH_MAX];
    size_t count;
    uint64_t last; /* the highest position */
    bool copies;   /* the table says that some are copies */
};

/* Waits that long, or until stopping. */
static void pause(struct consumer *consumer, int64_t ms)
{
    struct timespec until = wait_until(ms);
    wait_lock(&consumer->wait);
    while (!atomic_load(&consumer->stopping) && wait_on_until(&consumer->wait, until))
        ;
    wait_unlock(&consumer->wait);
}

/* ---- fetching ---- */

static void take(struct consumer *consumer, struct bus_delivery *delivery, struct fetched *batch)
{
    if (delivery->delivered > 1)
        metric_add(consumer->redelivered, 1);
    struct held *held = in_hand_take(consumer->hand, delivery);
    if (!held)
        return;
    struct view name;
    held->malformed = !event_identity(held->record, consumer->use.ns, consumer->use.event_stream,
                                      &held->id, &name);
    held->handler = handlers_find(consumer->use.handlers, name);
    batch->held[batch->count++] = held;
    if (held->run.position > batch->last)
        batch->last = held->run.position;
}

/* As much as is of use here: what is held beyond that is missing elsewhere. What waits for a run
 * lasts until a fetch is worth its while. */
static size_t wait_for_room(struct consumer *consumer)
{
    size_t most = runner_wants(consumer->runner);
    if (most > consumer->limit)
        most = consumer->limit;
    size_t places = (most - consumer->use.concurrency) / 3;
    return in_hand_wait_room(consumer->hand, most, places > 0 ? places : 1, WAIT_MS);
}

static bool fetch(struct consumer *consumer, struct fetched *batch)
{
    struct bus_delivery *deliveries[FETCH_MAX];
    size_t count = 0;
    size_t room = wait_for_room(consumer);
    if (room == 0)
        return false;
    size_t max = room < FETCH_MAX ? room : FETCH_MAX;
    enum err e = bus_fetch(consumer->bus, WAIT_MS, deliveries, max, &count);
    if (e && e != ERR_DEADLINE) {
        log_debug("cannot fetch", LOG_TEXT("error", err_title(e)));
        pause(consumer, RETRY_MS);
    }
    if (e)
        return false;
    batch->count = 0;
    batch->last = 0;
    batch->copies = false;
    metric_add(consumer->batches, 1);
    metric_add(consumer->fetched, count);
    for (size_t i = 0; i < count; i++)
        take(consumer, deliveries[i], batch);
    return batch->count > 0;
}

/* ---- the barrier ---- */

static bool has_copies(struct consumer *consumer, const struct fetched *batch)
{
    struct status_entry cell;
    for (size_t i = 0; i < batch->count; i++)
        if (status_table_at(consumer->use.table, batch->held[i]->run.position, &cell, NULL) &&
            cell.state.status == STATUS_NONE)
            return true;
    return false;
}

/* One try. ERR_DEADLINE: the table has not come so far. For copies the event log is asked for its
 * first position too: the event before them may have expired, and then they are events. */
static enum err pass_once(struct consumer *consumer, struct fetched *batch, uint64_t *ret_epoch)
{
    struct follower *follower = consumer->use.follower;
    struct follower_target target;
    enum err e = batch->copies ? follower_ends(follower, BARRIER_MS, &target)
                               : follower_status_end(follower, BARRIER_MS, &target);
    if (e)
        return e;
    target.event_position = batch->last;
    e = follower_wait(follower, &target, BARRIER_MS, ret_epoch);
    if (e || batch->copies || !has_copies(consumer, batch))
        return e;
    batch->copies = true;
    return pass_once(consumer, batch, ret_epoch);
}

/* Positions beyond the event log's end are not of this log: nothing would ever pass them. */
static void leave_strangers(struct consumer *consumer, struct fetched *batch)
{
    struct follower_target target;
    if (follower_ends(consumer->use.follower, BARRIER_MS, &target))
        return;
    size_t kept = 0;
    batch->last = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct held *held = batch->held[i];
        if (held->run.position > target.event_last) {
            outcomes_leave(consumer->outcomes, held);
            continue;
        }
        batch->held[kept++] = held;
        if (held->run.position > batch->last)
            batch->last = held->run.position;
    }
    batch->count = kept;
}

/* False: stopping. */
static bool pass_barrier(struct consumer *consumer, struct fetched *batch, uint64_t *ret_epoch)
{
    struct timespec began = wait_until(0);
    while (!atomic_load(&consumer->stopping)) {
        enum err e = pass_once(consumer, batch, ret_epoch);
        if (!e) {
            struct timespec now = wait_until(0);
            metric_observe_us(consumer->barrier, (now.tv_sec - began.tv_sec) * 1000000 +
                                                     (now.tv_nsec - began.tv_nsec) / 1000);
            return true;
        }
        log_debug("waiting for the status table", LOG_TEXT("error", err_title(e)));
        if (e == ERR_DEADLINE)
            leave_strangers(consumer, batch);
        else
            pause(consumer, RETRY_MS);
    }
    return false;
}

/* ---- handing on ---- */

static void hand_on(struct consumer *consumer, struct fetched *batch, uint64_t epoch)
{
    struct held *list = NULL;
    struct held **end = &list;
    for (size_t i = 0; i < batch->count; i++) {
        struct held *held = batch->held[i];
        held->epoch = epoch;
        if (!outcomes_decide(consumer->outcomes, held))
            continue;
        *end = held;
        end = &held->next;
    }
    runner_add(consumer->runner, list);
}

static void *run_fetcher(void *arg)
{
    struct consumer *consumer = arg;
    struct follower_target nothing = {0};
    struct fetched batch;
    while (!atomic_load(&consumer->stopping)) {
        if (follower_wait(consumer->use.follower, &nothing, WAIT_MS, NULL))
            continue;
        if (!fetch(consumer, &batch))
            continue;
        uint64_t epoch = 0;
        if (pass_barrier(consumer, &batch, &epoch)) {
            hand_on(consumer, &batch, epoch);
        } else {
            for (size_t i = 0; i < batch.count; i++)
                outcomes_return(consumer->outcomes, batch.held[i]);
        }
    }
    return NULL;
}

static void *run_reporter(void *arg)
{
    struct consumer *consumer = arg;
    int64_t every_ms = consumer->use.ack_wait_ms / 3;
    if (every_ms < 1)
        every_ms = 1;
    bool on = true;
    while (on) {
        struct timespec until = wait_until(every_ms);
        wait_lock(&consumer->wait);
        while (consumer->reporting && wait_on_until(&consumer->wait, until))
            ;
        on = consumer->reporting;
        wait_unlock(&consumer->wait);
        in_hand_report(consumer->hand, every_ms);
    }
    return NULL;
}

/* ---- life ---- */

static double read_in_hand(void *ctx)
{
    struct consumer *consumer = ctx;
    return (double)in_hand_count(consumer->hand);
}

static double read_bytes_in_hand(void *ctx)
{
    struct consumer *consumer = ctx;
    return (double)in_hand_bytes(consumer->hand);
}

static void register_metrics(struct consumer *consumer)
{
    struct metrics *m = consumer->use.metrics;
    consumer->fetched =
        metrics_counter(m, "tidings_deliveries_fetched_total", NULL, "Deliveries fetched");
    consumer->redelivered = metrics_counter(m, "tidings_redeliveries_total", NULL,
                                            "Deliveries that the bus had made before");
    consumer->batches =
        metrics_counter(m, "tidings_fetches_total", NULL, "Fetches that brought deliveries");
    consumer->barrier = metrics_latency(m, "tidings_barrier_seconds", NULL,
                                        "Time until the status table knew enough about a batch");
    metrics_gauge_read(m, "tidings_deliveries_in_hand", NULL,
                       "Deliveries fetched and not settled yet", read_in_hand, consumer);
    metrics_gauge_read(m, "tidings_deliveries_in_hand_bytes", NULL, "What these deliveries take",
                       read_bytes_in_hand, consumer);
}

static enum err start_parts(struct consumer *consumer)
{
    const struct consumer_options *use = &consumer->use;
    size_t runs = use->concurrency;
    size_t beyond = runs * (HELD_PER_RUN - 1);
    consumer->limit = runs + (beyond > HELD_BEYOND ? beyond : HELD_BEYOND);
    enum err e = in_hand_new(consumer->limit, HELD_BYTES, use->clock, &consumer->hand);
    if (!e)
        e = outcomes_new(&(struct outcomes_options){.hand = consumer->hand,
                                                    .follower = use->follower,
                                                    .table = use->table,
                                                    .status_log = use->status_log,
                                                    .ns = use->ns,
                                                    .clock = use->clock,
                                                    .metrics = use->metrics},
                         &consumer->outcomes);
    if (!e)
        e = runner_start(&(struct runner_options){.outcomes = consumer->outcomes,
                                                  .ns = use->ns,
                                                  .concurrency = use->concurrency,
                                                  .metrics = use->metrics},
                         &consumer->runner);
    if (!e)
        e = bus_consumer_open(use->event_log,
                              &(struct bus_consumer_spec){.group = use->group,
                                                          .ack_wait_ms = use->ack_wait_ms,
                                                          .max_ack_pending = use->max_ack_pending},
                              &consumer->bus);
    return e;
}

static enum err start_threads(struct consumer *consumer)
{
    consumer->reporting = true;
    if (pthread_create(&consumer->reporter, NULL, run_reporter, consumer) != 0) {
        consumer->reporting = false;
        return ERR_MEMORY;
    }
    consumer->fetching = pthread_create(&consumer->fetcher, NULL, run_fetcher, consumer) == 0;
    return consumer->fetching ? ERR_NONE : ERR_MEMORY;
}

enum err consumer_start(const struct consumer_options *options, struct consumer **ret)
{
    struct consumer *consumer = mem_zero(1, sizeof *consumer);
    if (!consumer)
        return ERR_MEMORY;
    if (wait_init(&consumer->wait)) {
        mem_free(consumer);
        return ERR_MEMORY;
    }
    consumer->use = *options;
    enum err e = start_parts(consumer);
    if (!e) {
        register_metrics(consumer);
        e = start_threads(consumer);
    }
    if (e) {
        if (consumer->runner)
            (void)consumer_drain(consumer, 0);
        consumer_free(consumer);
        return e;
    }
    *ret = consumer;
    return ERR_NONE;
}

bool consumer_drain(struct consumer *consumer, int64_t timeout_ms)
{
    struct timespec until = wait_until(timeout_ms);
    wait_lock(&consumer->wait);
    atomic_store(&consumer->stopping, true);
    wait_wake_all(&consumer->wait);
    wait_unlock(&consumer->wait);
    if (consumer->fetching)
        pthread_join(consumer->fetcher, NULL);
    consumer->fetching = false;
    runner_stop(consumer->runner);
    return in_hand_wait_empty(consumer->hand, wait_left_ms(until));
}

void consumer_free(struct consumer *consumer)
{
    if (!consumer)
        return;
    wait_lock(&consumer->wait);
    bool reporting = consumer->reporting;
    consumer->reporting = false;
    wait_wake_all(&consumer->wait);
    wait_unlock(&consumer->wait);
    if (reporting)
        pthread_join(consumer->reporter, NULL);
    in_hand_free(consumer->hand);
    bus_consumer_close(consumer->bus);
    runner_free(consumer->runner);
    outcomes_free(consumer->outcomes);
    wait_destroy(&consumer->wait);
    mem_free(consumer);
}
