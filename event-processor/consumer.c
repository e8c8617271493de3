#include "event-processor/consumer.h"

#include "common/mem.h"
#include "event-processor/fetcher.h"
#include "event-processor/letters.h"
#include "event-processor/retries.h"
#include "event-processor/sweep.h"

enum {
    HELD_BYTES = 64 << 20,
    NOTICE_EVERY_MS = 250, /* long runs are looked for */
};

enum { EVENTS, RETRIES, FETCHERS };

struct consumer {
    struct consumer_options use;
    struct outcomes *outcomes;
    struct letters *letters;
    struct retries *retries;
    struct runner *runner;
    struct fetcher *fetchers[FETCHERS];
    struct sweep *sweep;
    struct wait wait; /* guards `reporting`; woken when it changes */
    bool reporting;   /* until the thread shall end */
    pthread_t reporter;
};

/* ---- where deliveries go on ---- */

static void to_letters(void *ctx, struct held *held)
{
    struct consumer *consumer = ctx;
    runner_let_go(consumer->runner, held); /* it may wait for long */
    letters_add(consumer->letters, held);
}

static void to_retries(void *ctx, struct held *held)
{
    struct consumer *consumer = ctx;
    retries_add(consumer->retries, held);
}

static void to_runner(void *ctx, struct held *held)
{
    struct consumer *consumer = ctx;
    held->next = NULL;
    runner_add(consumer->runner, held);
}

static void let_go(void *ctx, struct held *held)
{
    struct consumer *consumer = ctx;
    runner_let_go(consumer->runner, held);
}

static void end_alone(void *ctx, const struct held *held)
{
    struct consumer *consumer = ctx;
    runner_end_alone(consumer->runner, held);
}

/* ---- signs of life ---- */

/* Waits that long; false: all ends. */
static bool reporter_pause(struct consumer *consumer, int64_t ms)
{
    struct timespec until = wait_until(ms);
    wait_lock(&consumer->wait);
    while (consumer->reporting && wait_on_until(&consumer->wait, until))
        ;
    bool on = consumer->reporting;
    wait_unlock(&consumer->wait);
    return on;
}

static void *run_reporter(void *arg)
{
    struct consumer *consumer = arg;
    int64_t every_ms = consumer->use.ack_wait_ms / 3;
    if (every_ms < 1)
        every_ms = 1;
    while (reporter_pause(consumer, every_ms < NOTICE_EVERY_MS ? every_ms : NOTICE_EVERY_MS)) {
        for (int i = 0; i < FETCHERS; i++) {
            struct in_hand *hand = fetcher_hand(consumer->fetchers[i]);
            in_hand_report(hand, every_ms);
            outcomes_note_long_runs(consumer->outcomes, hand);
        }
    }
    return NULL;
}

struct consumer_work consumer_work(struct consumer *consumer)
{
    struct outcomes_work work = outcomes_work(consumer->outcomes);
    return (struct consumer_work){.running = runner_running(consumer->runner),
                                  .processed = work.processed,
                                  .retried = work.retried,
                                  .dead = work.dead};
}

/* ---- life ---- */

static enum err start_letters(struct consumer *consumer)
{
    const struct consumer_options *use = &consumer->use;
    return letters_start(&(struct letters_options){.event_log = use->event_log,
                                                   .event_stream = use->event_stream,
                                                   .status_records = use->status_records,
                                                   .dead_log = use->dead_log,
                                                   .ns = use->ns,
                                                   .group = use->group,
                                                   .table = use->table,
                                                   .outcomes = consumer->outcomes,
                                                   .metrics = use->metrics},
                         &consumer->letters);
}

static enum err start_parts(struct consumer *consumer)
{
    const struct consumer_options *use = &consumer->use;
    enum err e = outcomes_new(&(struct outcomes_options){.follower = use->follower,
                                                         .table = use->table,
                                                         .status_log = use->status_log,
                                                         .event_stream = use->event_stream,
                                                         .retry_log = use->retry_log,
                                                         .retry_subject = use->retry_subject,
                                                         .group = use->group,
                                                         .clock = use->clock,
                                                         .metrics = use->metrics,
                                                         .to_letters = to_letters,
                                                         .to_retries = to_retries,
                                                         .to_runner = to_runner,
                                                         .let_go = let_go,
                                                         .end_alone = end_alone,
                                                         .ctx = consumer},
                              &consumer->outcomes);
    if (!e)
        e = start_letters(consumer);
    if (!e)
        e = retries_start(&(struct retries_options){.status_log = use->status_records,
                                                    .outcomes = consumer->outcomes,
                                                    .processor = use->processor,
                                                    .to_runner = to_runner,
                                                    .ctx = consumer},
                          &consumer->retries);
    if (!e)
        e = runner_start(&(struct runner_options){.outcomes = consumer->outcomes,
                                                  .handlers = use->handlers,
                                                  .ns = use->ns,
                                                  .concurrency = use->concurrency,
                                                  .bytes = HELD_BYTES / FETCHERS,
                                                  .metrics = use->metrics},
                         &consumer->runner);
    return e;
}

static enum err make_fetchers(struct consumer *consumer)
{
    struct fetcher_options options = {
        .use = &consumer->use,
        .log = STATUS_DELIVERY_EVENT,
        .limit = lanes_places(handlers_count(consumer->use.handlers), consumer->use.concurrency),
        .bytes_limit = HELD_BYTES / FETCHERS,
        .outcomes = consumer->outcomes,
        .runner = consumer->runner};
    enum err e = fetcher_new(&options, &consumer->fetchers[EVENTS]);
    options.log = STATUS_DELIVERY_RETRY;
    return e ? e : fetcher_new(&options, &consumer->fetchers[RETRIES]);
}

static enum err start_sweep(struct consumer *consumer)
{
    const struct consumer_options *use = &consumer->use;
    return sweep_start(&(struct sweep_options){.event_log = use->event_log,
                                               .event_stream = use->event_stream,
                                               .status_records = use->status_records,
                                               .retry_log = use->retry_log,
                                               .retry_subject = use->retry_subject,
                                               .ns = use->ns,
                                               .group = use->group,
                                               .ack_wait_ms = use->ack_wait_ms,
                                               .follower = use->follower,
                                               .table = use->table,
                                               .status_log = use->status_log,
                                               .letters = consumer->letters,
                                               .handlers = use->handlers,
                                               .clock = use->clock,
                                               .metrics = use->metrics},
                       &consumer->sweep);
}

static enum err start_threads(struct consumer *consumer)
{
    consumer->reporting = true;
    if (pthread_create(&consumer->reporter, NULL, run_reporter, consumer) != 0) {
        consumer->reporting = false;
        return ERR_MEMORY;
    }
    enum err e = fetcher_start(consumer->fetchers[EVENTS]);
    if (!e)
        e = fetcher_start(consumer->fetchers[RETRIES]);
    if (!e)
        e = start_sweep(consumer);
    for (int i = 0; i < FETCHERS && !e; i++)
        fetcher_go(consumer->fetchers[i]);
    return e;
}

enum err consumer_start(const struct consumer_options *options, struct consumer **ret)
{
    struct consumer *consumer = mem_zero(1, sizeof *consumer);
    if (!consumer || wait_init(&consumer->wait)) {
        mem_free(consumer);
        return ERR_MEMORY;
    }
    consumer->use = *options;
    enum err e = start_parts(consumer);
    if (!e)
        e = make_fetchers(consumer);
    if (!e)
        e = start_threads(consumer);
    if (e) {
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
    bool empty = true;
    if (consumer->sweep)
        sweep_stop(consumer->sweep);
    for (int i = 0; i < FETCHERS; i++)
        if (consumer->fetchers[i])
            fetcher_stop(consumer->fetchers[i]);
    if (consumer->outcomes)
        outcomes_stop(consumer->outcomes, until);
    /* They may be waiting for the bus, and for longer than there is time. */
    for (int i = 0; i < FETCHERS; i++)
        if (consumer->fetchers[i])
            (void)!fetcher_wait_end(consumer->fetchers[i], until);
    if (consumer->runner)
        runner_stop(consumer->runner);
    if (consumer->retries)
        retries_stop(consumer->retries);
    if (consumer->letters)
        letters_stop(consumer->letters);
    for (int i = 0; i < FETCHERS; i++)
        if (consumer->fetchers[i])
            empty = in_hand_wait_empty(fetcher_hand(consumer->fetchers[i]), wait_left_ms(until)) &&
                    empty;
    if (consumer->letters)
        letters_end(consumer->letters);
    if (consumer->runner)
        runner_end(consumer->runner);
    return empty;
}

static void stop_reporter(struct consumer *consumer)
{
    wait_lock(&consumer->wait);
    bool reporting = consumer->reporting;
    consumer->reporting = false;
    wait_wake_all(&consumer->wait);
    wait_unlock(&consumer->wait);
    if (reporting)
        pthread_join(consumer->reporter, NULL);
}

void consumer_free(struct consumer *consumer)
{
    if (!consumer)
        return;
    stop_reporter(consumer);
    for (int i = 0; i < FETCHERS; i++)
        if (consumer->fetchers[i])
            fetcher_join(consumer->fetchers[i]);
    sweep_free(consumer->sweep);
    retries_free(consumer->retries);
    letters_free(consumer->letters);
    if (consumer->outcomes)
        outcomes_wait_published(consumer->outcomes);
    for (int i = 0; i < FETCHERS; i++)
        fetcher_free(consumer->fetchers[i]);
    runner_free(consumer->runner);
    outcomes_free(consumer->outcomes);
    wait_destroy(&consumer->wait);
    mem_free(consumer);
}
