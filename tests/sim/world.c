#include "tests/sim/world.h"

#include "common/bus_driver.h"
#include "common/log.h"
#include "event-processor/letters.h"
#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    STEP_US = 5000,          /* between two looks at all that must hold */
    TROUBLE_MS = 8000,       /* at most, from the first event on */
    TROUBLE_PERCENT = 85,    /* of the event log's age: then there is time for letters still */
    QUIET_LIMIT_MS = 600000, /* all must have ended so long after the last fault */
    NOTICE_MS = 25000,       /* until processors have noticed a loss: two looks, 10 s apart */
};

static char ns[] = WORLD_NS, source[] = WORLD_SOURCE, group[] = WORLD_GROUP, url[] = "sim://";

/* ---- nodes ---- */

static void start_gateway(struct node *node)
{
    struct world *world = node->world;
    struct log_names names;
    struct bus_log_spec spec;
    struct gateway *g = calloc(1, sizeof *g);
    g->settings.shared = world->settings.shared;
    g->settings.max_in_flight = 1000;
    g->bus = node->bus;
    g->metrics = node->metrics;
    settings_event_log(&world->settings.shared, &names, &spec);
    if (bus_log_open(g->bus, &spec, &g->events))
        sim_fail("no event log");
    gateway_measure(g);
    node->gateway = g;
}

/* As the events' names choose them: plan_handler_of. */
static void configure_handler(const struct plan_handler *plan, size_t index, bool last,
                              struct config_handler *ret)
{
    static char patterns[HANDLERS_MAX][4] = {"a.>", "b.>", "c.>"}, all[] = ">";
    static char simulate[] = "simulate";
    *ret = (struct config_handler){.match = last ? all : patterns[index],
                                   .kind = simulate,
                                   .delay_ms = plan->takes_ms,
                                   .failure_rate = 0.5,
                                   .allow_crash = 1,
                                   .max_attempts = plan->max_attempts,
                                   .backoff_ms = plan->backoff_ms,
                                   .backoff_max_ms = PLAN_BACKOFFS * plan->backoff_ms,
                                   .timeout_ms = plan->timeout_ms,
                                   .concurrency = plan->concurrency};
}

static void start_processor(struct node *node)
{
    struct world *world = node->world;
    const struct plan *plan = &world->plan;
    struct bus_log_end end;
    struct config_handlers *handlers = calloc(1, sizeof *handlers);
    handlers->list = calloc(plan->handler_count, sizeof *handlers->list);
    handlers->count = plan->handler_count;
    for (size_t i = 0; i < handlers->count; i++)
        configure_handler(&plan->handlers[i], i, i + 1 == handlers->count, &handlers->list[i]);
    if (bus_log_end(world->statuses, 1000, &end))
        sim_fail("the status log has no end");
    node->status_end = end.last;
    struct processor *p = calloc(1, sizeof *p);
    struct err_detail detail;
    struct processor_options options = {.bus = node->bus,
                                        .settings = &world->settings,
                                        .handlers = handlers,
                                        .name = node->name,
                                        .metrics = node->metrics,
                                        .clock = &clock_system,
                                        .replay_silent_ms = plan->replay_silent_ms};
    if (processor_start(&options, p, &detail))
        sim_fail("a processor cannot start: %s", detail.text);
    node->processor = p;
}

static void boot(void *arg)
{
    struct node *node = arg;
    node->bus = sim_bus_open(node->world->server, &node->world->network, node->process);
    if (metrics_new(&node->metrics))
        sim_fail("no metrics");
    if (node->is_gateway)
        start_gateway(node);
    else
        start_processor(node);
    node->up = true;
}

/* As a pod's that has another one's place: only its beginning stays. */
static void name(struct node *node)
{
    int place = (int)(node - node->world->nodes);
    snprintf(node->name, sizeof node->name, "%c-%d-%d", node->is_gateway ? 'g' : 'p', place,
             node->process);
}

static void start(struct node *node)
{
    static int processes;
    struct world *world = node->world;
    node->process = ++processes;
    if (!node->name[0] || world->plan.renames)
        name(node);
    node->up = node->stopping = node->crashing = false;
    node->frozen_until_ms = 0;
    node->gateway = NULL;
    node->processor = NULL;
    sim_spawn(node->process, boot, node);
}

static void thaw(struct node *node)
{
    if (node->frozen_until_ms)
        sim_freeze(node->process, false);
    node->frozen_until_ms = 0;
}

static void gone(struct node *node)
{
    node->process = 0;
    node->up = false;
    node->start_at_ms = sim_now_ms() + (int64_t)sim_between(1, 2000);
}

static void kill_node(struct node *node)
{
    thaw(node);
    sim_kill(node->process);
    sim_bus_killed(node->bus);
    gone(node);
}

/* A fiber of its own: who looks at the node may be waiting for a lock that it holds. */
static void thaw_in_time(void *arg)
{
    struct node *node = arg;
    int process = node->process;
    sim_sleep_us((node->frozen_until_ms - sim_now_ms()) * 1000);
    if (node->process == process && sim_now_ms() >= node->frozen_until_ms)
        thaw(node);
}

static void freeze(struct node *node)
{
    sim_freeze(node->process, true);
    node->frozen_until_ms = sim_now_ms() + (int64_t)sim_between(10, 5000);
    sim_spawn(SIM_PROCESS_CLIENT, thaw_in_time, node);
}

/* SIGTERM: as the services' main.c does it. */
static void stop_processor(void *arg)
{
    struct node *node = arg;
    int process = node->process;
    struct processor *p = node->processor;
    struct bus *bus = node->bus;
    if (!processor_drain(p, node->world->plan.drain_ms))
        processor_give_up(p);
    processor_stop(p);
    bus_close(bus);
    processor_free(p);
    if (node->process == process)
        gone(node);
}

static void stop(struct node *node)
{
    if (node->is_gateway)
        return;
    node->stopping = true;
    sim_spawn(node->process, stop_processor, node);
}

/* ---- the director ---- */

static void publish_junk(struct world *world)
{
    struct bus_receipt receipt;
    struct bus_header header = {"Tidings-Event-Id", VIEW("junk")};
    struct bus_message message = {.subject = WORLD_NS ".events.junk",
                                  .headers = &header,
                                  .header_count = sim_random(2),
                                  .payload = VIEW("junk")};
    if (bus_publish_wait(world->events, &message, &receipt))
        sim_fail("cannot publish junk");
}

/* A stream that has no leader for a while, perhaps for longer than a drain; the one of the letters
 * perhaps for longer than anybody holds an event for its letter. */
static void refuse(struct world *world)
{
    struct bus_log *logs[] = {world->events, world->statuses, world->retries, world->letters};
    world->network.refused = logs[sim_random(4)];
    int64_t for_ms = sim_chance(70) ? (int64_t)sim_between(10, 6000) : 2 * world->plan.drain_ms;
    if (world->network.refused == world->letters && !world->plan.max_age_ms && sim_chance(20))
        for_ms = LETTERS_HOLD_MS + (int64_t)sim_random(LETTERS_HOLD_MS);
    world->refused_until_ms = sim_now_ms() + for_ms;
}

static void note_loss(struct world *world)
{
    world->losses++;
    world->lost_at_ms = sim_now_ms();
    check_loss(world);
}

/* Nobody sees what happens next; what they have on their disks is of before. */
static void kill_processors(struct world *world)
{
    for (size_t i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        if (node->up && !node->is_gateway && !node->stopping)
            kill_node(node);
    }
}

static void lose_of(struct world *world, struct bus_log *log, uint64_t kind, uint64_t position)
{
    static const char *const kinds[] = {"tail", "life", "all"};
    if (sim_chance(30))
        kill_processors(world);
    if (kind == 0)
        bus_mem_lose_tail(log, position - 1);
    else if (kind == 1)
        bus_mem_renew(log);
    else
        bus_mem_purge(log);
    log_debug("lost", LOG_TEXT("log", log == world->events ? "events" : "statuses"),
              LOG_TEXT("what", kinds[kind]), LOG_U64("position", position));
    note_loss(world);
}

/* A server that loses what it had not synced, or somebody's hand. */
static void lose(struct world *world)
{
    struct bus_log *log = sim_chance(70) ? world->events : world->statuses;
    struct bus_log_end end;
    if (bus_log_end(log, 1000, &end) || end.last == 0)
        return;
    uint64_t kind = sim_random(3);
    uint64_t position = 1 + sim_random(end.last);
    lose_of(world, log, kind, position);
}

/* As a damaged file of a server's (that of its last would be a lost tail): only who reads the log
 * again notices. */
static void lose_records(struct world *world)
{
    struct node *node = &world->nodes[world->node_count - 1];
    struct bus_log_end end;
    if (bus_log_end(world->statuses, 1000, &end) || end.last < 2)
        return;
    world->hole_first = 1 + sim_random(end.last - 1);
    world->hole_last = world->hole_first + sim_random(end.last - world->hole_first);
    for (uint64_t p = world->hole_first; p <= world->hole_last; p++)
        bus_mem_delete(world->statuses, p);
    log_debug("lost records", LOG_U64("from", world->hole_first), LOG_U64("to", world->hole_last));
    if (node->up && !node->stopping)
        kill_node(node);
    note_loss(world);
}

/* A copy, with other content, of what is at that position. */
static void publish_conflict(struct world *world, uint64_t position)
{
    enum { HEADERS_MAX = 32 };
    struct bus_header_view views[HEADERS_MAX];
    struct bus_header headers[HEADERS_MAX];
    char names[HEADERS_MAX][64];
    struct bus_record *record;
    struct bus_receipt receipt;
    if (bus_log_read(world->events, position, 1000, &record))
        return;
    size_t count = bus_record_headers(record, views, HEADERS_MAX), kept = 0;
    for (size_t i = 0; i < count; i++) {
        snprintf(names[kept], sizeof names[kept], "%.*s", (int)views[i].name.len,
                 views[i].name.data);
        if (strncmp(names[kept], "Nats-", 5) != 0 && strcmp(names[kept], "Tidings-Digest") != 0) {
            headers[kept] = (struct bus_header){names[kept], views[i].value};
            kept++;
        }
    }
    struct bus_message message = {.subject = record->subject,
                                  .headers = headers,
                                  .header_count = kept,
                                  .payload = VIEW("{\"is\":\"late\"}")};
    if (bus_publish_wait(world->events, &message, &receipt))
        sim_fail("cannot publish a conflict");
    bus_record_free(record);
}

/* Attempts to come of events that are lost, beside others, and no event comes any more. */
static void lose_late(struct world *world)
{
    struct bus_log_end end;
    if (bus_log_end(world->events, 1000, &end) || end.last == 0)
        return;
    uint64_t position = 1 + sim_random(end.last);
    lose_of(world, world->events, 0, position);
    /* What is lost and stored again up to the very end is told by nothing. */
    if (world->plan.loses_late == LATE_CONFLICTS && position > 1 && position < end.last)
        publish_conflict(world, 1 + sim_random(position - 1));
}

/* Attempts to come: one, or all of them by somebody's hand or a server that loses its tail. */
static void lose_items(struct world *world)
{
    struct bus_log_end end;
    if (bus_log_end(world->retries, 1000, &end) || end.last == 0)
        return;
    uint64_t kind = sim_random(4);
    uint64_t position = 1 + sim_random(end.last);
    if (kind == 0)
        bus_mem_delete(world->retries, position);
    else if (kind == 1)
        bus_mem_lose_tail(world->retries, position - 1);
    else if (kind == 2)
        bus_mem_renew(world->retries);
    else
        bus_mem_purge(world->retries);
    log_debug("lost attempts to come", LOG_U64("kind", kind), LOG_U64("position", position),
              LOG_U64("items", end.count));
    world->items_lost++;
}

static void make_trouble(struct world *world)
{
    const struct plan *plan = &world->plan;
    struct node *node = &world->nodes[sim_random(world->node_count)];
    if (!node->up || node->stopping)
        return;
    if (sim_chance(plan->kills))
        kill_node(node);
    else if (sim_chance(world->network.refused ? 8 * plan->stops : plan->stops))
        stop(node);
    else if (sim_chance(plan->freezes) && !node->frozen_until_ms)
        freeze(node);
    else if (sim_chance(plan->cuts))
        sim_bus_cut(node->bus, (int64_t)sim_between(1, 3000));
    if (sim_chance(plan->refusals) && !world->network.refused)
        refuse(world);
    if (world->losses < plan->losses && sim_chance(5))
        lose(world);
    if (world->items_lost < plan->lost_items && sim_chance(5))
        lose_items(world);
    if (world->junk < plan->junk && sim_chance(10)) {
        world->junk++;
        publish_junk(world);
    }
}

static void tend(struct world *world)
{
    if (sim_now_ms() >= world->refused_until_ms)
        world->network.refused = NULL;
    for (size_t i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        if (node->process && node->crashing)
            kill_node(node);
        if (world->calm)
            thaw(node);
        if (!node->process && (world->calm || sim_now_ms() >= node->start_at_ms))
            start(node);
    }
}

static void live_through(struct world *world)
{
    const int64_t age_ms = world->plan.max_age_ms;
    uint64_t trouble_ms = age_ms ? (uint64_t)age_ms * TROUBLE_PERCENT / 100 : TROUBLE_MS;
    int64_t trouble_until_ms = sim_now_ms() + (int64_t)sim_between(200, trouble_ms);
    int64_t next_ms = 0;
    while (world->clients_left > 0 || sim_now_ms() < world->refused_until_ms ||
           (age_ms && sim_now_ms() < trouble_until_ms)) {
        sim_sleep_us(STEP_US);
        world->calm = sim_now_ms() >= trouble_until_ms && sim_now_ms() >= world->refused_until_ms;
        if (world->calm)
            world->network = (struct sim_network){0};
        else if (sim_now_ms() >= next_ms) {
            make_trouble(world);
            next_ms = sim_now_ms() + (int64_t)sim_random(100);
        }
        tend(world);
        check_now(world);
    }
    if (world->plan.loses_late == LATE_HOLE)
        lose_records(world);
    else if (world->plan.loses_late)
        lose_late(world);
    world->calm = true;
    world->network = (struct sim_network){0};
}

static void come_to_rest(struct world *world)
{
    int64_t limit_ms = sim_now_ms() + QUIET_LIMIT_MS;
    do {
        if (sim_now_ms() > limit_ms) {
            check_unrest(world);
            sim_fail("not quiet after %d ms", QUIET_LIMIT_MS);
        }
        sim_sleep_us(20 * STEP_US);
        tend(world);
        check_now(world);
    } while (!check_quiet(world) || !check_age_is_over(world) ||
             (world->losses && sim_now_ms() < world->lost_at_ms + NOTICE_MS));
    check_end(world);
}

static void open_world(struct world *world)
{
    const struct plan *plan = &world->plan;
    world->settings = (struct processor_settings){
        .shared = {.bus = url,
                   .ns = ns,
                   .source = source,
                   .stream_replicas = 1,
                   .events_max_age_ms = plan->max_age_ms,
                   .duplicate_window_ms = plan->duplicate_window_ms},
        .group = group,
        .ack_wait_ms = plan->ack_wait_ms,
        .max_ack_pending = plan->max_ack_pending,
        .concurrency = plan->concurrency,
        .drain_timeout_ms = plan->drain_ms,
        .data = disk_path(),
        .snapshot_interval_ms = sim_chance(70) ? (int64_t)sim_between(10, 3000) : 0};
    world->network = plan->network;
    struct bus_options options = {.url = "mem://", .clock = &clock_system};
    struct log_names names;
    struct bus_log_spec spec;
    if (bus_open(&options, &world->server, NULL))
        sim_fail("no server");
    struct bus_consumer_spec group_spec = {.group = group, .ack_wait_ms = plan->ack_wait_ms};
    settings_event_log(&world->settings.shared, &world->event_names, &spec);
    if (bus_log_open(world->server, &spec, &world->events) ||
        bus_consumer_open(world->events, &group_spec, &world->group))
        sim_fail("no event log");
    settings_status_log(&world->settings.shared, group, &names, &spec);
    if (bus_log_open(world->server, &spec, &world->statuses))
        sim_fail("no status log");
    settings_retry_log(&world->settings.shared, group, &names, &spec);
    if (bus_log_open(world->server, &spec, &world->retries))
        sim_fail("no retry log");
    settings_dead_log(&world->settings.shared, &names, &spec);
    if (bus_log_open(world->server, &spec, &world->letters))
        sim_fail("no log of dead letters");
}

static struct world the_world;

void world_run(void *arg)
{
    struct world *world = &the_world;
    hooks_set(world);
    world->plan = *(const struct plan *)arg;
    open_world(world);
    world->node_count = world->plan.gateways + world->plan.processors;
    for (size_t i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        node->world = world;
        node->is_gateway = i < world->plan.gateways;
        start(node);
    }
    clients_start(world);
    operators_start(world);
    live_through(world);
    come_to_rest(world);
}
