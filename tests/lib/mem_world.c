#include "tests/lib/mem_world.h"

#include "common/bus_driver.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static char ns[] = MEM_WORLD_NS;
static char source[] = "/test";
static char group[] = "default";
static char url[] = "mem://";

/* ---- the gate ---- */

static struct bus_driver gated; /* the driver in memory, but for what is below */
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_closed, gate_locked;
static pthread_t gatekeeper; /* who closed it: passes all the same, unless it is locked */

static enum err gated_log_end(struct bus_log *log, int64_t timeout_ms, struct bus_log_end *ret)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000 + 1;
    int over = 0;
    pthread_mutex_lock(&gate_lock);
    while (gate_closed && !gate_locked && !pthread_equal(gatekeeper, pthread_self()))
        pthread_cond_wait(&gate_moved, &gate_lock);
    while (gate_locked && !over)
        over = pthread_cond_timedwait(&gate_moved, &gate_lock, &until);
    pthread_mutex_unlock(&gate_lock);
    if (over)
        return ERR_DEADLINE;
    return bus_mem_driver.log_end(log, timeout_ms, ret);
}

static void move_gate(bool closed, bool locked)
{
    pthread_mutex_lock(&gate_lock);
    gate_closed = closed;
    gate_locked = locked;
    gatekeeper = pthread_self();
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate_lock);
}

void mem_world_close_gate(struct mem_world *world)
{
    (void)world;
    move_gate(true, false);
}

void mem_world_lock_gate(struct mem_world *world)
{
    (void)world;
    move_gate(true, true);
}

void mem_world_open_gate(struct mem_world *world)
{
    (void)world;
    move_gate(false, false);
}

/* ---- readers ---- */

static _Atomic(enum err) readers_get;
static struct bus_log *_Atomic read_log; /* NULL: all */
static struct bus_log *_Atomic event_log;
static _Atomic int reading[2]; /* readers that get records: of other logs, of the event log */

static enum err told_reader_next(struct bus_reader *reader, int64_t timeout_ms,
                                 struct bus_record **ret, size_t max, size_t *ret_count)
{
    _Atomic int *count = &reading[reader->log == atomic_load(&event_log)];
    atomic_fetch_add(count, 1);
    struct bus_log *log = atomic_load(&read_log);
    enum err e = atomic_load(&readers_get);
    bool told = e != ERR_NONE && (!log || log == reader->log);
    if (!told)
        e = bus_mem_driver.reader_next(reader, timeout_ms, ret, max, ret_count);
    atomic_fetch_sub(count, 1);
    if (told && e != ERR_STALE) /* else it would be asked too often */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return e;
}

void mem_world_set_readers(struct mem_world *world, struct bus_log *log, enum err e)
{
    atomic_store(&readers_get, ERR_NONE);
    atomic_store(&read_log, log);
    atomic_store(&readers_get, e);
    if (e != ERR_NONE && log != world->events)
        assert_until(atomic_load(&reading[0]) == 0);
    if (e != ERR_NONE && (!log || log == world->events))
        assert_until(atomic_load(&reading[1]) == 0);
}

/* ---- consumers ---- */

static _Atomic int opens_left; /* until one fails; below 0: none does */
static _Atomic bool fetched;

static enum err gated_fetch(struct bus_consumer *consumer, int64_t timeout_ms,
                            struct bus_delivery **ret, size_t max, size_t *ret_count)
{
    atomic_store(&fetched, true);
    return bus_mem_driver.fetch(consumer, timeout_ms, ret, max, ret_count);
}

static enum err gated_consumer_open(struct bus_log *log, const struct bus_consumer_spec *spec,
                                    struct bus_consumer **ret)
{
    if (atomic_fetch_sub(&opens_left, 1) != 0)
        return bus_mem_driver.consumer_open(log, spec, ret);
    for (int ms = 0; ms < 100 && !atomic_load(&fetched); ms++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return ERR_UNAVAILABLE;
}

void mem_world_fail_open(struct mem_world *world, int others)
{
    (void)world;
    atomic_store(&fetched, false);
    atomic_store(&opens_left, others);
}

bool mem_world_was_fetched(struct mem_world *world)
{
    (void)world;
    return atomic_load(&fetched);
}

/* ---- publishing ---- */

static struct bus_log *_Atomic refusing_log;

static enum err gated_publish(struct bus_log *log, const struct bus_message *message,
                              bus_published_fn done, void *ctx)
{
    static const struct bus_receipt refused = {.outcome = BUS_REFUSED, .why = ERR_UNAVAILABLE};
    if (log != atomic_load(&refusing_log))
        return bus_mem_driver.publish(log, message, done, ctx);
    done(ctx, &refused);
    return ERR_NONE;
}

void mem_world_refuse(struct mem_world *world, struct bus_log *log)
{
    (void)world;
    atomic_store(&refusing_log, log);
}

/* ---- life ---- */

void mem_world_open(struct mem_world *world)
{
    mem_world_open_at(world, &clock_system, 0);
}

void mem_world_open_at(struct mem_world *world, const struct clock *clock, int64_t max_age_ms)
{
    struct log_names names;
    struct bus_log_spec spec;
    *world = (struct mem_world){
        .clock = clock,
        .settings = {.shared = {.bus = url,
                                .ns = ns,
                                .source = source,
                                .stream_replicas = 1,
                                .events_max_age_ms = max_age_ms,
                                .duplicate_window_ms = max_age_ms ? 1000 : 60000},
                     .group = group,
                     .ack_wait_ms = 600,
                     .max_ack_pending = 20000,
                     .concurrency = 16,
                     .drain_timeout_ms = 5000}};
    assert_int_equal(bus_open(&(struct bus_options){.url = url, .clock = clock}, &world->bus, NULL),
                     ERR_NONE);
    gated = bus_mem_driver;
    gated.log_end = gated_log_end;
    gated.reader_next = told_reader_next;
    gated.publish = gated_publish;
    gated.fetch = gated_fetch;
    gated.consumer_open = gated_consumer_open;
    mem_world_fail_open(world, -1);
    mem_world_refuse(world, NULL);
    mem_world_set_readers(world, NULL, ERR_NONE);
    world->bus->driver = &gated;
    settings_event_log(&world->settings.shared, &names, &spec);
    assert_int_equal(bus_log_open(world->bus, &spec, &world->events), ERR_NONE);
    atomic_store(&event_log, world->events);
    settings_status_log(&world->settings.shared, group, &names, &spec);
    assert_int_equal(bus_log_open(world->bus, &spec, &world->statuses), ERR_NONE);
    settings_dead_log(&world->settings.shared, &names, &spec);
    assert_int_equal(bus_log_open(world->bus, &spec, &world->dead), ERR_NONE);
    assert_int_equal(bus_wait_ready(world->bus, 5000, NULL), ERR_NONE);
}

void mem_world_close(struct mem_world *world)
{
    move_gate(false, false);
    bus_close(world->bus);
}

/* ---- records ---- */

static uint64_t store(struct bus_log *log, const struct bus_message *message)
{
    struct bus_receipt receipt;
    assert_int_equal(bus_publish_wait(log, message, &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_STORED);
    return receipt.position;
}

uint64_t mem_world_event_of(struct mem_world *world, const struct event *event)
{
    struct event_message message;
    event_to_message(event, ns, &message);
    return store(world->events, &message.message);
}

uint64_t mem_world_event(struct mem_world *world, const char *name, const char *payload,
                         struct event_id *id)
{
    char text[ID_TEXT_SIZE];
    if (id_is_zero(id))
        id_make(&clock_system, id);
    id_format(id, text);
    struct event event = {
        .id = *id,
        .producer_id = view_of(text),
        .source = VIEW("/test"),
        .name = view_of(name),
        .key = VIEW("k1"),
        .time = VIEW("2026-01-02T03:04:05.678Z"),
        .content_type = VIEW("text/plain"),
        .payload = view_of(payload),
    };
    return mem_world_event_of(world, &event);
}

uint64_t mem_world_junk(struct mem_world *world, const char *payload)
{
    return store(world->events, &(struct bus_message){.subject = MEM_WORLD_NS ".events.junk",
                                                      .payload = view_of(payload)});
}

struct event_id mem_world_own_id(uint64_t position)
{
    struct event_id id;
    id_of_position(VIEW(MEM_WORLD_STREAM), position, &id);
    return id;
}

uint64_t mem_world_last(struct bus_log *log)
{
    struct bus_log_end end;
    assert_int_equal(bus_log_end(log, 1000, &end), ERR_NONE);
    return end.last;
}

static uint64_t store_batch(struct mem_world *world, const struct status_change *changes,
                            size_t count, const struct replay_change *replays, size_t replay_count)
{
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    assert_int_equal(
        status_batch_write_all(changes, count, replays, replay_count, VIEW("tester"), &bytes),
        ERR_NONE);
    uint64_t position =
        store(world->statuses, &(struct bus_message){.subject = MEM_WORLD_NS ".status.default",
                                                     .payload = buf_view(&bytes)});
    buf_free(&bytes);
    return position;
}

uint64_t mem_world_batch(struct mem_world *world, const struct status_change *changes, size_t count)
{
    return store_batch(world, changes, count, NULL, 0);
}

uint64_t mem_world_replay(struct mem_world *world, const struct replay_change *change)
{
    return store_batch(world, NULL, 0, change, 1);
}

uint64_t mem_world_change(struct mem_world *world, const struct event_id *id,
                          uint64_t event_position, struct status_state state, uint64_t previous,
                          const char *error)
{
    struct status_change change = {.id = *id,
                                   .event_position = event_position,
                                   .state = state,
                                   .time_ms = clock_wall_ms(world->clock),
                                   .previous_position = previous,
                                   .error = view_of(error)};
    return mem_world_batch(world, &change, 1);
}

uint64_t mem_world_junk_batch(struct mem_world *world)
{
    return store(world->statuses, &(struct bus_message){.subject = MEM_WORLD_NS ".status.default",
                                                        .payload = VIEW("junk")});
}

/* ---- attempts to come ---- */

struct bus_log *mem_world_retries(struct mem_world *world)
{
    struct log_names names;
    struct bus_log_spec spec;
    struct bus_log *log;
    settings_retry_log(&world->settings.shared, world->settings.group, &names, &spec);
    assert_int_equal(bus_log_open(world->bus, &spec, &log), ERR_NONE);
    return log;
}

uint64_t mem_world_item(struct mem_world *world, struct bus_log *log, const struct retry_item *item)
{
    struct log_names names;
    struct bus_log_spec spec;
    struct buf bytes;
    settings_retry_log(&world->settings.shared, world->settings.group, &names, &spec);
    buf_init(&bytes, 128);
    assert_int_equal(retry_item_write(item, &bytes), ERR_NONE);
    uint64_t position =
        store(log, &(struct bus_message){.subject = names.subject, .payload = buf_view(&bytes)});
    buf_free(&bytes);
    return position;
}

/* ---- metrics ---- */

double mem_world_metric(const struct metrics *metrics, const char *series)
{
    struct buf out;
    double value = 0;
    buf_init(&out, 1 << 20);
    assert_int_equal(metrics_render(metrics, &out), ERR_NONE);
    size_t len = strlen(series);
    for (const char *line = out.data; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, series, len) == 0 && line[len] == ' ')
            value = strtod(line + len, NULL);
    }
    buf_free(&out);
    return value;
}

uint64_t mem_world_floor(struct mem_world *world)
{
    struct bus_consumer *consumer;
    uint64_t position;
    assert_int_equal(bus_consumer_open(world->events,
                                       &(struct bus_consumer_spec){.group = world->settings.group,
                                                                   .ack_wait_ms = 1000,
                                                                   .max_ack_pending = 1},
                                       &consumer),
                     ERR_NONE);
    assert_int_equal(bus_consumer_floor(consumer, 1000, &position), ERR_NONE);
    bus_consumer_close(consumer);
    return position;
}
