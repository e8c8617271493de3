#include "event-processor/status_log.h"

#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "event-processor/wait.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_LAST_MS = 2000,
    CHANGE_BYTES = 64, /* of an encoded change without its error text, at most */
    ERROR_BYTES = STATUS_ERROR_MAX + 8,
    FRAME_BYTES = 4096, /* of what surrounds the changes: subject, headers, processor, lengths */
    PAYLOAD_FALLBACK = 256 * 1024, /* while the bus has not said what it takes */
};

struct status_log {
    struct bus *bus;
    struct bus_log *log;
    const char *subject;
    struct view processor;
    char start_id[ID_TEXT_SIZE]; /* random: message ids of this start begin with it */

    struct wait wait; /* guards the following; woken when any of it changes */
    struct status_append *first, *last;
    bool stopping;
    struct timespec stop_at; /* set with `stopping` */
    bool stopped;
    bool in_flight;
    struct bus_receipt receipt; /* of the last append, once it isn't in flight any more */

    /* The thread's. */
    pthread_t thread;
    bool started;
    uint64_t number; /* of the batch */
    size_t limit;    /* changes in a batch; less than the most while the bus refuses large ones */
    size_t count;
    struct status_append *appends[STATUS_BATCH_MAX];
    struct status_change changes[STATUS_BATCH_MAX];
    struct buf bytes;

    struct metric *stored, *failed, *batches, *latency;
};

/* ---- taking a batch ---- */

static size_t room_for_changes(struct status_log *log)
{
    uint64_t payload = bus_max_payload(log->bus);
    if (payload == 0)
        payload = PAYLOAD_FALLBACK;
    return payload > FRAME_BYTES ? (size_t)(payload - FRAME_BYTES) : 0;
}

/* With the lock held: moves what fits one message, at least one change, into the batch. */
static void take_batch(struct status_log *log, size_t room)
{
    log->count = 0;
    while (log->first && log->count < log->limit) {
        struct status_append *append = log->first;
        size_t bytes = CHANGE_BYTES + (append->change.error.len ? ERROR_BYTES : 0);
        if (bytes > room && log->count > 0)
            break;
        room -= bytes < room ? bytes : room;
        log->first = append->next;
        log->appends[log->count] = append;
        log->changes[log->count++] = append->change;
    }
}

/* Waits for changes. False: there is nothing more to do. */
static bool next_batch(struct status_log *log)
{
    size_t room = room_for_changes(log);
    wait_lock(&log->wait);
    while (!log->first && !log->stopping)
        wait_on(&log->wait);
    bool over = log->stopping && wait_left_ms(log->stop_at) == 0;
    log->count = 0;
    if (!over)
        take_batch(log, room);
    wait_unlock(&log->wait);
    return log->count > 0;
}

/* The bus takes less than it used to: puts the batch back and makes smaller ones. */
static void split_batch(struct status_log *log)
{
    log_warn("splitting a status batch that is too large for the bus",
             LOG_U64("changes", log->count), LOG_U64("bytes", log->bytes.len));
    log->limit = log->count / 2;
    wait_lock(&log->wait);
    for (size_t i = log->count; i-- > 0;) {
        log->appends[i]->next = log->first;
        if (!log->first)
            log->last = log->appends[i];
        log->first = log->appends[i];
    }
    wait_unlock(&log->wait);
}

static void end_batch(struct status_log *log, bool stored)
{
    log->limit = log->limit * 2 < STATUS_BATCH_MAX ? log->limit * 2 : STATUS_BATCH_MAX;
    metric_add(stored ? log->stored : log->failed, log->count);
    for (size_t i = 0; i < log->count; i++) {
        log->appends[i]->position = log->receipt.position;
        log->appends[i]->place = (uint32_t)i;
        log->appends[i]->done(log->appends[i], stored);
    }
}

/* ---- appending it ---- */

static void on_receipt(void *ctx, const struct bus_receipt *receipt)
{
    struct status_log *log = ctx;
    wait_lock(&log->wait);
    log->receipt = *receipt;
    log->in_flight = false;
    wait_wake_all(&log->wait);
    wait_unlock(&log->wait);
}

/* With the lock held: waits for a wake-up. False: the time to stop is over. */
static bool wait_or_stop(struct status_log *log)
{
    if (log->stopping)
        return wait_on_until(&log->wait, log->stop_at);
    wait_on(&log->wait);
    return true;
}

/* Publishes the batch and waits for what becomes of it. ERR_NONE: stored. ERR_CANCELLED: the time
 * to stop is over. */
static enum err append_once(struct status_log *log, const struct bus_message *message)
{
    wait_lock(&log->wait);
    log->in_flight = true;
    log->receipt = (struct bus_receipt){0};
    wait_unlock(&log->wait);
    struct timespec before;
    clock_gettime(CLOCK_MONOTONIC, &before);
    enum err e = bus_publish(log->log, message, on_receipt, log);
    struct bus_receipt receipt = {0};
    wait_lock(&log->wait);
    if (e)
        log->in_flight = false;
    while (log->in_flight && wait_or_stop(log))
        ;
    if (log->in_flight)
        e = ERR_CANCELLED;
    else if (!e)
        receipt = log->receipt;
    wait_unlock(&log->wait);
    if (e)
        return e;
    if (receipt.outcome == BUS_UNKNOWN)
        return ERR_UNKNOWN_OUTCOME;
    if (receipt.outcome == BUS_REFUSED)
        return receipt.why ? receipt.why : ERR_INTERNAL;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    metric_observe_us(log->latency, (now.tv_sec - before.tv_sec) * 1000000 +
                                        (now.tv_nsec - before.tv_nsec) / 1000);
    metric_add(log->batches, 1);
    return ERR_NONE;
}

/* False: the time to stop is over. */
static bool back_off(struct status_log *log, int64_t *backoff_ms)
{
    struct timespec until = wait_until(*backoff_ms);
    *backoff_ms = *backoff_ms * 2 < BACKOFF_LAST_MS ? *backoff_ms * 2 : BACKOFF_LAST_MS;
    bool over = false;
    wait_lock(&log->wait);
    while (wait_left_ms(until) > 0 && !over) {
        over = log->stopping && wait_left_ms(log->stop_at) == 0;
        bool stop_first = log->stopping && wait_left_ms(log->stop_at) < wait_left_ms(until);
        if (!over)
            (void)wait_on_until(&log->wait, stop_first ? log->stop_at : until);
    }
    wait_unlock(&log->wait);
    return !over;
}

static enum err encode(struct status_log *log)
{
    buf_clear(&log->bytes);
    return status_batch_write(log->changes, log->count, log->processor, &log->bytes);
}

static void append_batch(struct status_log *log)
{
    int64_t backoff_ms = BACKOFF_FIRST_MS;
    char message_id[ID_TEXT_SIZE + 24];
    snprintf(message_id, sizeof message_id, "%s-%" PRIu64, log->start_id, ++log->number);
    enum err e = encode(log);
    for (bool warned = false;; warned = true) {
        if (!e)
            e = append_once(log, &(struct bus_message){.subject = log->subject,
                                                       .payload = buf_view(&log->bytes),
                                                       .message_id = message_id});
        if (!e && warned)
            log_info("status batch stored after all", LOG_U64("changes", log->count));
        if (!e || e == ERR_CANCELLED)
            break;
        if (e == ERR_TOO_LARGE && log->count > 1) {
            split_batch(log);
            return;
        }
        if (!warned)
            log_warn("cannot append to the status log; trying again",
                     LOG_TEXT("error", err_title(e)), LOG_TEXT("detail", log->receipt.detail.text),
                     LOG_U64("changes", log->count));
        if (!back_off(log, &backoff_ms))
            break;
        e = log->bytes.len == 0 ? encode(log) : ERR_NONE;
    }
    end_batch(log, !e);
}

static void *run_status_log(void *arg)
{
    struct status_log *log = arg;
    while (next_batch(log))
        append_batch(log);
    return NULL;
}

/* ---- life ---- */

enum err status_log_start(const struct status_log_options *options, struct status_log **ret)
{
    struct status_log *log = mem_zero(1, sizeof *log);
    if (!log)
        return ERR_MEMORY;
    if (wait_init(&log->wait)) {
        mem_free(log);
        return ERR_MEMORY;
    }
    log->bus = options->bus;
    log->log = options->log;
    log->subject = options->subject;
    log->processor = options->processor;
    log->limit = STATUS_BATCH_MAX;
    struct event_id id;
    id_make(&clock_system, &id);
    id_format(&id, log->start_id);
    buf_init(&log->bytes, SIZE_MAX / 2);
    log->stored = metrics_counter(options->metrics, "tidings_status_changes_total",
                                  "outcome=\"stored\"", "Status changes appended");
    log->failed = metrics_counter(options->metrics, "tidings_status_changes_total",
                                  "outcome=\"given_up\"", "Status changes appended");
    log->batches = metrics_counter(options->metrics, "tidings_status_batches_total", NULL,
                                   "Batches of status changes stored");
    log->latency = metrics_latency(options->metrics, "tidings_status_append_seconds", NULL,
                                   "Time from an append to its acknowledgement");
    if (pthread_create(&log->thread, NULL, run_status_log, log) != 0) {
        log->stopped = true;
        status_log_free(log);
        return ERR_MEMORY;
    }
    log->started = true;
    *ret = log;
    return ERR_NONE;
}

void status_log_append(struct status_log *log, struct status_append *append)
{
    append->next = NULL;
    wait_lock(&log->wait);
    bool given_up = log->stopped;
    bool was_empty = !log->first;
    if (!given_up) {
        if (log->first)
            log->last->next = append;
        else
            log->first = append;
        log->last = append;
    }
    if (!given_up && was_empty)
        wait_wake_all(&log->wait);
    wait_unlock(&log->wait);
    if (given_up)
        append->done(append, false);
}

void status_log_stop(struct status_log *log, int64_t timeout_ms)
{
    wait_lock(&log->wait);
    log->stopping = true;
    log->stop_at = wait_until(timeout_ms);
    wait_wake_all(&log->wait);
    wait_unlock(&log->wait);
    if (log->started)
        pthread_join(log->thread, NULL);
    log->started = false;
    wait_lock(&log->wait);
    log->stopped = true;
    struct status_append *rest = log->first;
    log->first = NULL;
    wait_unlock(&log->wait);
    while (rest) {
        struct status_append *next = rest->next;
        metric_add(log->failed, 1);
        rest->done(rest, false);
        rest = next;
    }
}

void status_log_free(struct status_log *log)
{
    if (!log)
        return;
    buf_free(&log->bytes);
    wait_destroy(&log->wait);
    mem_free(log);
}
