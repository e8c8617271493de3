#include "event-processor/consumer.h"

#include "common/log.h"
#include "common/mem.h"
#include "event-processor/evidence.h"
#include "event-processor/letters.h"
#include "event-processor/restart.h"
#include "event-processor/runner.h"

enum {
    HELD_PER_RUN = 4, /* deliveries in hand for each run at once, at most ... */
    HELD_BEYOND = 64, /* ... but so many beside those that run where that is more */
    HELD_BYTES = 64 << 20,
    WAIT_MS = 200, /* also how long a stop may take to be noticed */
    RETRY_MS = 100,
    PUT_OFF_MS = 1000, /* what cannot be decided here comes to a processor again so soon */
};

struct consumer {
    struct consumer_options use;
    struct bus_consumer *bus;
    struct in_hand *hand;
    struct outcomes *outcomes;
    struct letters *letters;
    struct runner *runner;
    struct restart restart; /* the fetcher's */
    struct barrier barrier;
    struct evidence evidence;
    size_t limit; /* deliveries in hand */
    struct wait_flag stop;
    struct wait wait; /* guards the flags of the threads; woken when one changes */
    pthread_t fetcher, reporter;
    bool started;             /* the fetcher */
    bool fetching, reporting; /* until they have ended, or shall end */
    struct metric *fetched, *redelivered, *batches;
};

/* ---- fetching ---- */

static void take(struct consumer *consumer, struct bus_delivery *delivery, struct batch *batch)
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
    batch_add(batch, held);
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

static bool fetch(struct consumer *consumer, struct batch *batch)
{
    struct bus_delivery *deliveries[BATCH_MAX];
    size_t count = 0;
    size_t room = wait_for_room(consumer);
    if (room == 0)
        return false;
    size_t max = room < BATCH_MAX ? room : BATCH_MAX;
    enum err e = bus_fetch(consumer->bus, WAIT_MS, deliveries, max, &count);
    if (e && e != ERR_DEADLINE) {
        log_debug("cannot fetch", LOG_TEXT("error", err_title(e)));
        wait_flag_pause(&consumer->stop, RETRY_MS);
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

/* ---- handing on ---- */

static void hand_on(struct consumer *consumer, struct batch *batch, uint64_t epoch)
{
    struct held *list = NULL;
    struct held **end = &list;
    for (size_t i = 0; i < batch->count; i++) {
        struct held *held = batch->held[i];
        held->epoch = epoch;
        switch (outcomes_decide(consumer->outcomes, held)) {
        case OUTCOMES_RUN:
            *end = held;
            end = &held->next;
            break;
        case OUTCOMES_EXAMINE:
            letters_add(consumer->letters, held);
            break;
        case OUTCOMES_DONE:
            break;
        }
    }
    runner_add(consumer->runner, list);
}

static void give_back(struct consumer *consumer, struct batch *batch, int64_t delay_ms)
{
    for (size_t i = 0; i < batch->count; i++)
        outcomes_return(consumer->outcomes, batch->held[i], delay_ms);
}

static void process(struct consumer *consumer, struct batch *batch)
{
    uint64_t epoch = 0;
    switch (barrier_pass(&consumer->barrier, batch, &epoch)) {
    case BARRIER_PASSED:
        evidence_sift(&consumer->evidence, batch, epoch);
        hand_on(consumer, batch, epoch);
        break;
    case BARRIER_STOPPED:
        give_back(consumer, batch, 0);
        break;
    case BARRIER_TOO_LONG:
        give_back(consumer, batch, PUT_OFF_MS);
        break;
    }
}

static void *run_fetcher(void *arg)
{
    struct consumer *consumer = arg;
    struct follower_target nothing = {0};
    struct batch batch;
    while (!wait_flag_is_set(&consumer->stop)) {
        if (follower_wait(consumer->use.follower, &nothing, WAIT_MS, NULL))
            continue;
        if (!barrier_is_open(&consumer->barrier) || !restart_tend(&consumer->restart))
            wait_flag_pause(&consumer->stop, RETRY_MS);
        else if (fetch(consumer, &batch))
            process(consumer, &batch);
    }
    wait_lock(&consumer->wait);
    consumer->fetching = false;
    wait_wake_all(&consumer->wait);
    wait_unlock(&consumer->wait);
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
    consumer->barrier.passed =
        metrics_latency(m, "tidings_barrier_seconds", NULL,
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
                                                    .event_stream = use->event_stream,
                                                    .clock = use->clock,
                                                    .metrics = use->metrics},
                         &consumer->outcomes);
    if (!e)
        e = letters_start(&(struct letters_options){.event_log = use->event_log,
                                                    .event_stream = use->event_stream,
                                                    .dead_log = use->dead_log,
                                                    .ns = use->ns,
                                                    .group = use->group,
                                                    .table = use->table,
                                                    .outcomes = consumer->outcomes,
                                                    .metrics = use->metrics},
                          &consumer->letters);
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
    restart_init(&consumer->restart, &(struct restart_options){.event_log = consumer->use.event_log,
                                                               .consumer = consumer->bus,
                                                               .follower = consumer->use.follower,
                                                               .table = consumer->use.table,
                                                               .metrics = consumer->use.metrics});
    consumer->barrier.follower = consumer->use.follower;
    consumer->barrier.table = consumer->use.table;
    consumer->barrier.outcomes = consumer->outcomes;
    consumer->barrier.patience_ms = consumer->use.ack_wait_ms;
    consumer->barrier.stop = &consumer->stop;
    consumer->evidence = (struct evidence){.event_log = consumer->use.event_log,
                                           .status_log = consumer->use.status_records,
                                           .follower = consumer->use.follower,
                                           .table = consumer->use.table,
                                           .outcomes = consumer->outcomes};
    consumer->reporting = true;
    if (pthread_create(&consumer->reporter, NULL, run_reporter, consumer) != 0) {
        consumer->reporting = false;
        return ERR_MEMORY;
    }
    consumer->fetching = true;
    consumer->started = pthread_create(&consumer->fetcher, NULL, run_fetcher, consumer) == 0;
    if (consumer->started)
        return ERR_NONE;
    consumer->fetching = false;
    return ERR_MEMORY;
}

static struct consumer *make_consumer(void)
{
    struct consumer *consumer = mem_zero(1, sizeof *consumer);
    if (!consumer || wait_init(&consumer->wait)) {
        mem_free(consumer);
        return NULL;
    }
    if (wait_flag_init(&consumer->stop)) {
        wait_destroy(&consumer->wait);
        mem_free(consumer);
        return NULL;
    }
    return consumer;
}

enum err consumer_start(const struct consumer_options *options, struct consumer **ret)
{
    struct consumer *consumer = make_consumer();
    if (!consumer)
        return ERR_MEMORY;
    consumer->use = *options;
    enum err e = start_parts(consumer);
    if (!e) {
        register_metrics(consumer);
        e = start_threads(consumer);
    }
    if (e) {
        if (consumer->runner)
            (void)consumer_drain(consumer, 0);
        else if (consumer->letters)
            letters_stop(consumer->letters);
        consumer_free(consumer);
        return e;
    }
    *ret = consumer;
    return ERR_NONE;
}

bool consumer_drain(struct consumer *consumer, int64_t timeout_ms)
{
    struct timespec until = wait_until(timeout_ms);
    wait_flag_set(&consumer->stop);
    /* It may be waiting for the bus, and for longer than there is time. */
    wait_lock(&consumer->wait);
    while (consumer->fetching && wait_on_until(&consumer->wait, until))
        ;
    wait_unlock(&consumer->wait);
    runner_stop(consumer->runner);
    letters_stop(consumer->letters);
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
    if (consumer->started)
        pthread_join(consumer->fetcher, NULL);
    letters_free(consumer->letters);
    in_hand_free(consumer->hand);
    bus_consumer_close(consumer->bus);
    runner_free(consumer->runner);
    outcomes_free(consumer->outcomes);
    wait_flag_destroy(&consumer->stop);
    wait_destroy(&consumer->wait);
    mem_free(consumer);
}
