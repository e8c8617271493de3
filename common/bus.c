#include "common/bus_driver.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    DEFAULT_MAX_IN_FLIGHT = 8192,
    LARGEST_MAX_IN_FLIGHT = 1 << 20,
    DEFAULT_PUBLISH_TIMEOUT_MS = 5000,
    STREAM_NAME_MAX = 128,
    SUBJECT_MAX = 1024,
};

/* Drivers add these to times, and multiply them. */
static const int64_t LONGEST_TIMEOUT_MS = INT64_C(24) * 3600 * 1000;
static const int64_t LONGEST_DELAY_MS = INT64_C(365) * 24 * 3600 * 1000;

static int64_t bounded(int64_t ms, int64_t max)
{
    return ms < 0 ? 0 : ms < max ? ms : max;
}

/* ---- arguments ---- */

static bool is_name(const char *text)
{
    size_t len = text ? strlen(text) : 0;
    return len > 0 && len <= STREAM_NAME_MAX &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

/* Non-empty tokens of printable ASCII, separated by dots; '*' as a whole token and '>' as the
 * last one only where wildcards are allowed. */
static bool is_subject(const char *subject, bool wildcards)
{
    if (!subject || strlen(subject) > SUBJECT_MAX)
        return false;
    for (const char *token = subject;; ++token) {
        size_t len = strcspn(token, ".");
        bool wild = memchr(token, '*', len) || memchr(token, '>', len);
        if (len == 0 || (wild && (!wildcards || len != 1)))
            return false;
        if (*token == '>' && token[len] != '\0')
            return false;
        for (size_t i = 0; i < len; ++i)
            if (token[i] <= ' ' || token[i] > '~')
                return false;
        token += len;
        if (*token == '\0')
            return true;
    }
}

static bool is_header_value(struct view value)
{
    for (size_t i = 0; i < value.len; ++i)
        if (value.data[i] == '\r' || value.data[i] == '\n' || value.data[i] == '\0')
            return false;
    return true;
}

static bool is_header_name(const char *name)
{
    if (!name || !*name)
        return false;
    for (; *name; ++name)
        if (*name <= ' ' || *name > '~' || *name == ':')
            return false;
    return true;
}

static bool is_message(const struct bus_message *message)
{
    if (!is_subject(message->subject, false))
        return false;
    if (message->message_id &&
        (!*message->message_id || !is_header_value(view_of(message->message_id))))
        return false;
    for (size_t i = 0; i < message->header_count; ++i)
        if (!is_header_name(message->headers[i].name) ||
            !is_header_value(message->headers[i].value))
            return false;
    return true;
}

static bool is_log_spec(const struct bus_log_spec *spec)
{
    bool replicas = spec->replicas == 1 || spec->replicas == 3 || spec->replicas == 5;
    return is_name(spec->name) && is_subject(spec->subject, true) && replicas &&
           spec->max_bytes <= INT64_MAX && spec->max_age_ms >= 0 && spec->duplicate_window_ms > 0 &&
           (spec->max_age_ms == 0 || spec->duplicate_window_ms <= spec->max_age_ms);
}

/* ---- connection ---- */

static const struct bus_driver *driver_of(const char *url)
{
    static const struct {
        const char *scheme;
        const struct bus_driver *driver;
    } table[] = {
        {"nats://", &bus_nats_driver},
        {"mem://", &bus_mem_driver},
    };
    for (size_t i = 0; url && i < sizeof table / sizeof *table; ++i)
        if (strncmp(url, table[i].scheme, strlen(table[i].scheme)) == 0)
            return table[i].driver;
    return NULL;
}

enum err bus_open(const struct bus_options *options, struct bus **ret, struct err_detail *detail)
{
    struct bus_options filled = *options;
    const struct bus_driver *driver = driver_of(options->url);
    if (!driver)
        return err_set(detail, ERR_INVALID,
                       "the bus is \"%s\"; it must start with nats:// or mem://",
                       options->url ? options->url : "");
    if (filled.max_in_flight == 0)
        filled.max_in_flight = DEFAULT_MAX_IN_FLIGHT;
    if (filled.max_in_flight > LARGEST_MAX_IN_FLIGHT)
        return err_set(detail, ERR_INVALID, "%u publishes in flight; at most %d are allowed",
                       filled.max_in_flight, LARGEST_MAX_IN_FLIGHT);
    if (filled.publish_timeout_ms <= 0)
        filled.publish_timeout_ms = DEFAULT_PUBLISH_TIMEOUT_MS;
    filled.publish_timeout_ms = bounded(filled.publish_timeout_ms, LONGEST_TIMEOUT_MS);
    if (!filled.clock)
        filled.clock = &clock_system;
    return driver->open(&filled, ret, detail);
}

void bus_close(struct bus *bus)
{
    if (bus)
        bus->driver->close(bus);
}

enum bus_state bus_state(struct bus *bus, struct err_detail *detail)
{
    return bus->driver->state(bus, detail);
}

bool bus_is_connected(struct bus *bus, struct err_detail *detail)
{
    return bus->driver->is_connected(bus, detail);
}

enum err bus_wait_ready(struct bus *bus, int64_t timeout_ms, struct err_detail *detail)
{
    return bus->driver->wait_ready(bus, bounded(timeout_ms, LONGEST_TIMEOUT_MS), detail);
}

uint32_t bus_in_flight(struct bus *bus)
{
    return bus->driver->in_flight(bus);
}

uint64_t bus_max_payload(struct bus *bus)
{
    return bus->driver->max_payload(bus);
}

/* ---- logs ---- */

enum err bus_log_open(struct bus *bus, const struct bus_log_spec *spec, struct bus_log **ret)
{
    return is_log_spec(spec) ? bus->driver->log_open(bus, spec, ret) : ERR_INVALID;
}

enum err bus_log_end(struct bus_log *log, int64_t timeout_ms, struct bus_log_end *ret)
{
    return log->bus->driver->log_end(log, bounded(timeout_ms, LONGEST_TIMEOUT_MS), ret);
}

enum err bus_log_read(struct bus_log *log, uint64_t position, int64_t timeout_ms,
                      struct bus_record **ret)
{
    if (position == 0)
        return ERR_NOT_FOUND;
    return log->bus->driver->log_read(log, position, bounded(timeout_ms, LONGEST_TIMEOUT_MS), ret);
}

struct view bus_record_header(const struct bus_record *record, const char *name)
{
    return bus_record_box_of(record)->driver->record_header(record, name);
}

size_t bus_record_headers(const struct bus_record *record, struct bus_header_view *ret, size_t max)
{
    return bus_record_box_of(record)->driver->record_headers(record, ret, max);
}

void bus_record_free(struct bus_record *record)
{
    if (record)
        bus_record_box_of(record)->driver->record_free(record);
}

/* ---- publishing ---- */

enum err bus_publish(struct bus_log *log, const struct bus_message *message, bus_published_fn done,
                     void *ctx)
{
    if (!is_message(message))
        return ERR_INVALID;
    return log->bus->driver->publish(log, message, done, ctx);
}

/* Somebody waiting for an outcome, on that thread's stack. `state` is a futex, so that completing
 * one who hasn't gone to sleep yet costs no system call. */
enum { WAITING, SLEEPING, COMPLETED };
struct waiter {
    _Atomic uint32_t state;
    struct bus_receipt *receipt;
};

static void complete_waiter(void *ctx, const struct bus_receipt *receipt)
{
    struct waiter *waiter = ctx;
    _Atomic uint32_t *state = &waiter->state;
    waiter->receipt->outcome = receipt->outcome;
    waiter->receipt->position = receipt->position;
    waiter->receipt->why = receipt->why;
    memcpy(waiter->receipt->detail.text, receipt->detail.text, strlen(receipt->detail.text) + 1);
    /* From here on the waiter may be gone; waking an address that nobody sleeps on is harmless. */
    if (atomic_exchange(state, COMPLETED) == SLEEPING)
        syscall(SYS_futex, state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

enum err bus_publish_wait(struct bus_log *log, const struct bus_message *message,
                          struct bus_receipt *ret)
{
    struct bus_receipt receipt;
    struct waiter waiter = {.receipt = &receipt};
    enum err e = bus_publish(log, message, complete_waiter, &waiter);
    if (e != ERR_NONE)
        return e;
    uint32_t expected = WAITING;
    if (atomic_compare_exchange_strong(&waiter.state, &expected, SLEEPING))
        while (atomic_load(&waiter.state) == SLEEPING)
            syscall(SYS_futex, &waiter.state, FUTEX_WAIT_PRIVATE, SLEEPING, NULL, NULL, 0);
    *ret = receipt;
    return ERR_NONE;
}

/* ---- following a log ---- */

enum err bus_reader_open(struct bus_log *log, uint64_t from, bool headers_only,
                         struct bus_reader **ret)
{
    return log->bus->driver->reader_open(log, from ? from : 1, headers_only, ret);
}

void bus_reader_close(struct bus_reader *reader)
{
    if (reader)
        reader->log->bus->driver->reader_close(reader);
}

enum err bus_reader_next(struct bus_reader *reader, int64_t timeout_ms, struct bus_record **ret,
                         size_t max, size_t *ret_count)
{
    if (max == 0)
        return ERR_INVALID;
    return reader->log->bus->driver->reader_next(reader, bounded(timeout_ms, LONGEST_TIMEOUT_MS),
                                                 ret, max, ret_count);
}

/* ---- sharing the work ---- */

enum err bus_consumer_open(struct bus_log *log, const struct bus_consumer_spec *spec,
                           struct bus_consumer **ret)
{
    if (!is_name(spec->group) || spec->ack_wait_ms <= 0 || spec->ack_wait_ms > LONGEST_DELAY_MS)
        return ERR_INVALID;
    return log->bus->driver->consumer_open(log, spec, ret);
}

void bus_consumer_close(struct bus_consumer *consumer)
{
    if (consumer)
        consumer->log->bus->driver->consumer_close(consumer);
}

enum err bus_consumer_restart(struct bus_consumer *consumer, int64_t timeout_ms)
{
    return consumer->log->bus->driver->consumer_restart(consumer,
                                                        bounded(timeout_ms, LONGEST_TIMEOUT_MS));
}

enum err bus_consumer_floor(struct bus_consumer *consumer, int64_t timeout_ms,
                            uint64_t *ret_position)
{
    return consumer->log->bus->driver->consumer_floor(
        consumer, bounded(timeout_ms, LONGEST_TIMEOUT_MS), ret_position);
}

enum err bus_fetch(struct bus_consumer *consumer, int64_t timeout_ms, struct bus_delivery **ret,
                   size_t max, size_t *ret_count)
{
    if (max == 0)
        return ERR_INVALID;
    return consumer->log->bus->driver->fetch(consumer, bounded(timeout_ms, LONGEST_TIMEOUT_MS), ret,
                                             max, ret_count);
}

void bus_settle(struct bus_delivery *delivery, enum bus_settlement how, int64_t delay_ms)
{
    bus_record_box_of(delivery->record)
        ->driver->settle(delivery, how, bounded(delay_ms, LONGEST_DELAY_MS));
}

void bus_progress(struct bus_delivery *delivery)
{
    bus_record_box_of(delivery->record)->driver->progress(delivery);
}
