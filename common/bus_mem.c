#include "common/bus_mem.h"
#include "common/bus_mem_log.h"
#include "common/mem.h"

enum { MAX_PAYLOAD = 1024 * 1024 };

struct mem_held {
    bus_published_fn done;
    void *ctx;
    struct bus_receipt receipt;
    struct mem_held *next;
};

/* ---- the bus ---- */

static enum err mem_open(const struct bus_options *options, struct bus **ret,
                         struct err_detail *detail)
{
    struct mem_bus *bus = mem_zero(1, sizeof *bus);
    if (!bus)
        return err_set(detail, ERR_MEMORY, "no memory for the bus");
    bus->base.driver = &bus_mem_driver;
    bus->options = *options;
    bus->held_end = &bus->oldest_held;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&bus->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&bus->lock, NULL);
    *ret = &bus->base;
    return ERR_NONE;
}

/* Completes what is held; as BUS_UNKNOWN if the connection is what was lost. */
static void complete_held(struct mem_bus *bus, bool unknown)
{
    pthread_mutex_lock(&bus->lock);
    struct mem_held *held = bus->oldest_held;
    bus->oldest_held = NULL;
    bus->held_end = &bus->oldest_held;
    pthread_mutex_unlock(&bus->lock);
    while (held) {
        struct mem_held *next = held->next;
        if (unknown)
            held->receipt = (struct bus_receipt){.outcome = BUS_UNKNOWN};
        pthread_mutex_lock(&bus->lock);
        --bus->in_flight;
        pthread_mutex_unlock(&bus->lock);
        held->done(held->ctx, &held->receipt);
        mem_free(held);
        held = next;
    }
}

static void log_free(struct mem_log *log)
{
    mem_groups_free(log);
    mem_log_clear(log);
    mem_free(log->records);
    mem_free(log->name);
    mem_free(log->subject);
    mem_free(log);
}

static void mem_close(struct bus *base)
{
    struct mem_bus *bus = (struct mem_bus *)base;
    complete_held(bus, true);
    while (bus->logs) {
        struct mem_log *next = bus->logs->next;
        log_free(bus->logs);
        bus->logs = next;
    }
    pthread_cond_destroy(&bus->changed);
    pthread_mutex_destroy(&bus->lock);
    mem_free(bus);
}

static bool is_away(struct mem_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    bool away = bus->away;
    pthread_mutex_unlock(&bus->lock);
    return away;
}

static bool mem_is_connected(struct bus *base, struct err_detail *detail)
{
    struct mem_bus *bus = (struct mem_bus *)base;
    pthread_mutex_lock(&bus->lock);
    bool connected = !bus->away || bus->logless;
    pthread_mutex_unlock(&bus->lock);
    if (!connected)
        (void)err_set(detail, ERR_UNAVAILABLE, "the bus in memory was told to be away");
    return connected;
}

static enum bus_state mem_state(struct bus *base, struct err_detail *detail)
{
    bool away = is_away((struct mem_bus *)base);
    if (away)
        (void)err_set(detail, ERR_UNAVAILABLE, "the bus in memory was told to be away");
    else if (detail)
        detail->text[0] = '\0';
    return away ? BUS_AWAY : BUS_READY;
}

static enum err mem_wait_ready(struct bus *base, int64_t timeout_ms, struct err_detail *detail)
{
    struct mem_bus *bus = (struct mem_bus *)base;
    int64_t deadline = mem_deadline(timeout_ms);
    pthread_mutex_lock(&bus->lock);
    while (bus->away && mem_wait(bus, deadline))
        ;
    pthread_mutex_unlock(&bus->lock);
    return mem_state(base, detail) == BUS_READY ? ERR_NONE : ERR_DEADLINE;
}

static uint32_t mem_in_flight(struct bus *base)
{
    struct mem_bus *bus = (struct mem_bus *)base;
    pthread_mutex_lock(&bus->lock);
    uint32_t count = bus->in_flight;
    pthread_mutex_unlock(&bus->lock);
    return count;
}

static uint64_t mem_max_payload(struct bus *bus)
{
    (void)bus;
    return MAX_PAYLOAD;
}

/* ---- what tests do to it ---- */

static void set_away(struct bus *base, bool away, bool logless)
{
    struct mem_bus *bus = (struct mem_bus *)base;
    pthread_mutex_lock(&bus->lock);
    bus->away = away;
    bus->logless = logless;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
    if (away)
        complete_held(bus, true);
}

void bus_mem_set_away(struct bus *base, bool away)
{
    set_away(base, away, false);
}

void bus_mem_set_logless(struct bus *base, bool logless)
{
    set_away(base, logless, logless);
}

void bus_mem_set_held(struct bus *base, bool held)
{
    struct mem_bus *bus = (struct mem_bus *)base;
    pthread_mutex_lock(&bus->lock);
    bus->held = held;
    pthread_mutex_unlock(&bus->lock);
    if (!held)
        complete_held(bus, false);
}

/* Another life, later than the one before, even if the clock stands still. */
static void start_life(struct mem_log *log)
{
    int64_t now = clock_wall_ms(mem_bus_of(log)->options.clock) * 1000000;
    log->created_ns = now > log->created_ns ? now : log->created_ns + 1;
    mem_log_clear(log);
}

void bus_mem_renew(struct bus_log *base)
{
    struct mem_log *log = (struct mem_log *)base;
    pthread_mutex_lock(&mem_bus_of(log)->lock);
    start_life(log);
    mem_groups_free(log);
    pthread_cond_broadcast(&mem_bus_of(log)->changed);
    pthread_mutex_unlock(&mem_bus_of(log)->lock);
}

void bus_mem_lose_tail(struct bus_log *base, uint64_t last)
{
    struct mem_log *log = (struct mem_log *)base;
    pthread_mutex_lock(&mem_bus_of(log)->lock);
    mem_log_cut(log, last);
    pthread_cond_broadcast(&mem_bus_of(log)->changed);
    pthread_mutex_unlock(&mem_bus_of(log)->lock);
}

void bus_mem_purge(struct bus_log *base)
{
    struct mem_log *log = (struct mem_log *)base;
    pthread_mutex_lock(&mem_bus_of(log)->lock);
    mem_log_purge(log);
    pthread_mutex_unlock(&mem_bus_of(log)->lock);
}

void bus_mem_set_unreadable(struct bus *base, enum err e)
{
    struct mem_bus *bus = (struct mem_bus *)base;
    pthread_mutex_lock(&bus->lock);
    bus->unreadable = e;
    pthread_mutex_unlock(&bus->lock);
}

void bus_mem_delete(struct bus_log *base, uint64_t position)
{
    struct mem_log *log = (struct mem_log *)base;
    pthread_mutex_lock(&mem_bus_of(log)->lock);
    mem_log_delete(log, position);
    pthread_mutex_unlock(&mem_bus_of(log)->lock);
}

/* ---- logs ---- */

static struct mem_log *find_log(struct mem_bus *bus, const char *name)
{
    struct mem_log *log = bus->logs;
    while (log && strcmp(log->name, name) != 0)
        log = log->next;
    return log;
}

static enum err mem_log_open(struct bus *base, const struct bus_log_spec *spec,
                             struct bus_log **ret)
{
    struct mem_bus *bus = (struct mem_bus *)base;
    struct mem_log *log = mem_zero(1, sizeof *log);
    char *name = mem_copy_text(spec->name, strlen(spec->name));
    char *subject = mem_copy_text(spec->subject, strlen(spec->subject));
    if (!log || !name || !subject) {
        mem_free(log);
        mem_free(name);
        mem_free(subject);
        return ERR_MEMORY;
    }
    log->base.bus = base;
    log->name = name;
    log->subject = subject;
    log->spec = *spec;
    pthread_mutex_lock(&bus->lock);
    struct mem_log *known = find_log(bus, spec->name);
    if (!known) {
        start_life(log);
        log->next = bus->logs;
        bus->logs = log;
    }
    pthread_mutex_unlock(&bus->lock);
    if (known)
        log_free(log);
    *ret = known ? &known->base : &log->base;
    return ERR_NONE;
}

static enum err mem_log_end(struct bus_log *base, int64_t timeout_ms, struct bus_log_end *ret)
{
    (void)timeout_ms;
    struct mem_log *log = (struct mem_log *)base;
    struct mem_bus *bus = mem_bus_of(log);
    pthread_mutex_lock(&bus->lock);
    bool away = bus->away;
    if (!away) {
        mem_expire(log);
        const struct mem_record *last = mem_record_at(log, log->last);
        *ret = (struct bus_log_end){.first = log->first,
                                    .last = log->last,
                                    .created_ns = log->created_ns,
                                    .last_time_ms = last ? last->time_ms : 0,
                                    .count = mem_log_count(log),
                                    .max_age_ms = log->spec.max_age_ms};
    }
    pthread_mutex_unlock(&bus->lock);
    return away ? ERR_UNAVAILABLE : ERR_NONE;
}

static enum err mem_log_read(struct bus_log *base, uint64_t position, int64_t timeout_ms,
                             struct bus_record **ret)
{
    (void)timeout_ms;
    struct mem_log *log = (struct mem_log *)base;
    struct mem_bus *bus = mem_bus_of(log);
    struct mem_handout *handout = mem_alloc(sizeof *handout);
    if (!handout)
        return ERR_MEMORY;
    pthread_mutex_lock(&bus->lock);
    mem_expire(log);
    enum err e = bus->away ? ERR_UNAVAILABLE : bus->unreadable;
    struct mem_record *record = e == ERR_NONE ? mem_record_at(log, position) : NULL;
    if (record)
        mem_hand_out(record, false, handout);
    pthread_mutex_unlock(&bus->lock);
    if (!record) {
        mem_free(handout);
        return e == ERR_NONE ? ERR_NOT_FOUND : e;
    }
    *ret = &handout->box.record;
    return ERR_NONE;
}

static void mem_record_free(struct bus_record *record)
{
    struct mem_handout *handout = mem_handout_of(record);
    mem_record_release(handout->record);
    mem_free(handout);
}

/* ---- publishing ---- */

/* Does the log take this subject? Patterns as NATS has them. */
static bool subject_matches(const char *pattern, const char *subject)
{
    for (;;) {
        size_t p = strcspn(pattern, ".");
        size_t s = strcspn(subject, ".");
        if (*pattern == '>')
            return true;
        if (*pattern != '*' && (p != s || memcmp(pattern, subject, p) != 0))
            return false;
        pattern += p;
        subject += s;
        if (*pattern == '\0' || *subject == '\0')
            return *pattern == *subject;
        ++pattern;
        ++subject;
    }
}

static void store(struct mem_log *log, const struct bus_message *message, struct bus_receipt *ret)
{
    mem_expire(log);
    struct mem_record *known = NULL;
    if (message->message_id)
        known = mem_find_message_id(log, message->message_id);
    if (known) {
        *ret = (struct bus_receipt){.outcome = BUS_DUPLICATE, .position = known->position};
        return;
    }
    if (!subject_matches(log->subject, message->subject)) {
        *ret = (struct bus_receipt){.outcome = BUS_REFUSED, .why = ERR_UNAVAILABLE};
        (void)err_set(&ret->detail, ERR_UNAVAILABLE, "no log takes the subject");
        return;
    }
    ret->why = mem_append(log, message, &ret->position);
    ret->outcome = ret->why == ERR_NONE ? BUS_STORED : BUS_REFUSED;
    if (ret->why == ERR_FULL)
        (void)err_set(&ret->detail, ERR_FULL, "maximum bytes exceeded");
}

static enum err may_publish(const struct mem_bus *bus, const struct bus_message *message)
{
    if (bus->away)
        return ERR_UNAVAILABLE;
    if (mem_message_bytes(message) - strlen(message->subject) > MAX_PAYLOAD)
        return ERR_TOO_LARGE;
    return bus->in_flight >= bus->options.max_in_flight ? ERR_BUSY : ERR_NONE;
}

static enum err mem_publish(struct bus_log *base, const struct bus_message *message,
                            bus_published_fn done, void *ctx)
{
    struct mem_log *log = (struct mem_log *)base;
    struct mem_bus *bus = mem_bus_of(log);
    struct bus_receipt receipt = {.position = 0};
    struct mem_held *held = NULL;
    pthread_mutex_lock(&bus->lock);
    enum err e = may_publish(bus, message);
    if (e == ERR_NONE && bus->held && !(held = mem_zero(1, sizeof *held)))
        e = ERR_MEMORY;
    if (e == ERR_NONE) {
        store(log, message, held ? &held->receipt : &receipt);
        pthread_cond_broadcast(&bus->changed);
    }
    if (held) {
        held->done = done;
        held->ctx = ctx;
        *bus->held_end = held;
        bus->held_end = &held->next;
        ++bus->in_flight;
    }
    pthread_mutex_unlock(&bus->lock);
    if (e == ERR_NONE && !held)
        done(ctx, &receipt);
    return e;
}

const struct bus_driver bus_mem_driver = {
    .open = mem_open,
    .close = mem_close,
    .state = mem_state,
    .is_connected = mem_is_connected,
    .wait_ready = mem_wait_ready,
    .in_flight = mem_in_flight,
    .max_payload = mem_max_payload,
    .log_open = mem_log_open,
    .log_end = mem_log_end,
    .log_read = mem_log_read,
    .record_header = mem_record_header,
    .record_headers = mem_record_headers,
    .record_free = mem_record_free,
    .publish = mem_publish,
    .reader_open = mem_reader_open,
    .reader_close = mem_reader_close,
    .reader_next = mem_reader_next,
    .consumer_open = mem_consumer_open,
    .consumer_close = mem_consumer_close,
    .consumer_restart = mem_consumer_restart,
    .consumer_floor = mem_consumer_floor,
    .fetch = mem_fetch,
    .settle = mem_settle,
    .progress = mem_progress,
};
