/* The consumer: shares the group's work. Fetches events and the attempts to come, has them handled,
 * and acknowledges them once their outcome is stored.
 *
 *     bus_fetch -> barrier -> decide -> runner -> handler -> status log -> acknowledge
 *                               |  '--> letters (copies, what is no event, and what has --^
 *                               '--> retries --^   failed for the last time)
 *
 * Beside all that: sweep.h, for attempts to come that are lost and events that expire.
 *
 * The barrier: the status table has folded all that the status log held after the batch was
 * fetched, and the batch's events. In hand are a delivery for each run and what these runs get
 * through in 200 ms, so that one processor's queue isn't another's want; never more than
 * 4 x concurrency (or 64 more than concurrency) and about 32 MiB of each log, so fewer runs at once
 * where payloads are large. Those in hand for long are reported as in progress, so that work that
 * takes longer than ack_wait isn't given to others too.
 */
#ifndef TIDINGS_CONSUMER_H
#define TIDINGS_CONSUMER_H

#include "event-processor/follower.h"
#include "event-processor/handlers.h"
#include "event-processor/status_log.h"

struct consumer;

struct consumer_options {
    struct bus_log *event_log;
    const char *event_stream;
    struct bus_log *status_records; /* the status log */
    struct bus_log *retry_log;
    const char *retry_subject;
    struct bus_log *dead_log;
    const char *ns;
    const char *group;
    int64_t ack_wait_ms;
    uint32_t max_ack_pending;
    uint32_t concurrency;
    struct follower *follower;
    struct status_table *table;
    struct status_log *status_log;
    struct view processor; /* its name; must live on */
    const struct handlers *handlers;
    const struct clock *clock;
    struct metrics *metrics;
};

/* Begins to fetch as soon as the follower is ready. */
must_check enum err consumer_start(const struct consumer_options *options, struct consumer **ret);
/* What it does now, and has done since it was started; see outcomes_work. Thread-safe. */
struct consumer_work {
    size_t running; /* handlers */
    uint64_t processed, retried, dead;
};
struct consumer_work consumer_work(struct consumer *consumer);
/* Fetches no more, starts no more handlers but for what was claimed, gives the rest of what waits
 * to other processors at once, and waits for what is in progress. False: the time is over, some
 * still is. Takes no longer than that, even if the bus has frozen. */
bool consumer_drain(struct consumer *consumer, int64_t timeout_ms);
/* After consumer_drain, when no handler is running any more and the status log has stopped. Leaves
 * what is still in hand. May wait some seconds for a request to a frozen bus. */
void consumer_free(struct consumer *consumer);

#endif
