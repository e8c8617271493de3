/* The event-processor: boot order, waiting, stopping. */
#include "common/rpc.h"
#include "common/version.h"
#include "event-processor/admin.h"
#include "event-processor/processor.h"
#include "event-processor/rpc_events.h"
#include "event-processor/wait.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    MONITOR_MS = 100,
    SLOW_START_MS = 3000, /* whoever isn't ready by then says why */
    RPC_GRACE_MS = 2000,
    NAME_SIZE = 96,
};

struct service {
    struct processor_settings settings;
    struct config_handlers handlers;
    char name[NAME_SIZE];
    struct metrics *metrics;
    struct bus *bus;
    struct processor processor;
    bool processor_running;
    struct replay_watch *watch;
    struct event_watch *event_watch;
    struct changes_watch *changes_watch;
    struct rpc_events events;
    struct rpc_server *rpc;
    struct admin admin;
    struct http_server *http;
    sigset_t signals;
};

/* ---- start ---- */

static void block_signals(struct service *s)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&s->signals);
    sigaddset(&s->signals, SIGTERM);
    sigaddset(&s->signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &s->signals, NULL);
}

/* Host and process id: distinct among all processors. */
static void make_name(struct service *s)
{
    char host[64];
    if (gethostname(host, sizeof host) != 0)
        snprintf(host, sizeof host, "unknown");
    host[sizeof host - 1] = '\0';
    snprintf(s->name, sizeof s->name, "%s-%ld", host, (long)getpid());
}

static enum err start_bus(struct service *s, struct err_detail *detail)
{
    enum err e = metrics_new(&s->metrics);
    if (e)
        return err_set(detail, e, "out of memory");
    metrics_process(s->metrics, TIDINGS_VERSION);
    struct bus_options options = {
        .url = s->settings.shared.bus, .name = s->name, .clock = &clock_system};
    return bus_open(&options, &s->bus, detail);
}

static enum err start_processor(struct service *s, struct err_detail *detail)
{
    struct processor_options options = {
        .bus = s->bus,
        .settings = &s->settings,
        .handlers = &s->handlers,
        .name = s->name,
        .metrics = s->metrics,
        .clock = &clock_system,
    };
    enum err e = processor_start(&options, &s->processor, detail);
    s->processor_running = !e;
    return e;
}

static enum err start_watching(struct service *s)
{
    const struct processor *p = &s->processor;
    enum err e = replay_watch_new(p->desk, &s->watch);
    if (!e)
        e = event_watch_start(&(struct event_watch_options){.query = p->query,
                                                            .follower = p->follower,
                                                            .table = p->table,
                                                            .changes = p->changes,
                                                            .metrics = s->metrics},
                              &s->event_watch);
    if (!e)
        e = changes_watch_start(&(struct changes_watch_options){.query = p->query,
                                                                .table = p->table,
                                                                .changes = p->changes,
                                                                .status_log = p->status_records,
                                                                .metrics = s->metrics},
                                &s->changes_watch);
    return e;
}

static enum err start_rpc(struct service *s, struct err_detail *detail)
{
    enum err e = start_watching(s);
    if (e)
        return err_set(detail, e, "out of memory");
    s->events = (struct rpc_events){
        .query = s->processor.query,
        .event_watch = s->event_watch,
        .changes_watch = s->changes_watch,
        .desk = s->processor.desk,
        .watch = s->watch,
        .table = s->processor.table,
        .processor = view_of(s->name),
        .group = view_of(s->settings.group),
        .follower = s->processor.follower,
        .consumer = s->processor.consumer,
        .concurrency = (uint32_t)s->settings.concurrency,
        .started_ms = clock_wall_ms(&clock_system),
        .started_at = wait_until(0),
    };
    struct rpc_options options = {
        .listen = s->settings.listen,
        .threads = (uint32_t)s->settings.grpc_threads,
        .methods = rpc_events_methods,
        .ctx = &s->events,
        .metrics = s->metrics,
        .gather_writes = s->settings.gather_writes == GATHER_ON,
        .request_max = RPC_EVENTS_REQUEST_MAX,
    };
    e = rpc_start(&options, &s->rpc, detail);
    if (!e)
        log_info("listening", LOG_TEXT("listener", "listen"),
                 LOG_TEXT("address", s->settings.listen), LOG_U64("port", rpc_port(s->rpc)));
    return e;
}

/* Last, when all metrics are registered. */
static enum err start_admin(struct service *s, struct err_detail *detail)
{
    s->admin.bus = s->bus;
    s->admin.follower = s->processor.follower;
    s->admin.table = s->processor.table;
    s->admin.metrics = s->metrics;
    enum err e = admin_start(&s->admin, s->settings.admin, &s->http, detail);
    if (!e)
        log_info("listening", LOG_TEXT("listener", "admin"), LOG_TEXT("address", s->settings.admin),
                 LOG_U64("port", http_port(s->http)));
    return e;
}

static enum err start(struct service *s, struct err_detail *detail)
{
    enum err e = start_bus(s, detail);
    if (!e)
        e = start_processor(s, detail);
    if (!e)
        e = start_rpc(s, detail);
    if (!e)
        e = start_admin(s, detail);
    return e;
}

/* ---- wait ---- */

static void set_serving(struct service *s, bool serving)
{
    rpc_health_set(s->rpc, "", serving);
    rpc_health_set(s->rpc, RPC_EVENTS_SERVICE, serving);
}

static void say_serving(struct service *s, bool serving, const struct err_detail *detail)
{
    struct status_table_stats stats;
    if (!serving) {
        log_warn("not ready", LOG_TEXT("detail", detail->text));
        return;
    }
    status_table_stats(s->processor.table, 0, &stats);
    log_info("ready", LOG_TEXT("processor", s->name), LOG_TEXT("group", s->settings.group),
             LOG_U64("events", stats.events), LOG_U64("table_bytes", stats.bytes));
}

/* Watches over health until a signal comes. ERR_INVALID: an operator must mend the bus. */
static enum err wait_for_signal(struct service *s, struct err_detail *detail)
{
    const struct timespec pause = {.tv_nsec = MONITOR_MS * 1000000};
    bool serving = false;
    set_serving(s, false);
    for (uint64_t turn = 1; sigtimedwait(&s->signals, NULL, &pause) < 0; turn++) {
        if (bus_state(s->bus, detail) == BUS_BROKEN)
            return ERR_INVALID;
        bool ready = admin_ready(&s->admin, detail);
        if (ready != serving)
            set_serving(s, ready);
        if (ready != serving || (!ready && turn == SLOW_START_MS / MONITOR_MS))
            say_serving(s, ready, detail);
        serving = ready;
    }
    return ERR_NONE;
}

/* ---- stop ---- */

/* From now on a signal ends the process at once. */
static void unblock_signals(struct service *s)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &s->signals, NULL);
}

static void stop(struct service *s, int64_t drain_ms)
{
    struct timespec until = wait_until(drain_ms + RPC_GRACE_MS);
    atomic_store(&s->admin.draining, true);
    if (s->rpc)
        set_serving(s, false);
    if (s->processor_running && !processor_drain(&s->processor, drain_ms))
        log_warn("left unfinished work to other processors", LOG_I64("drain_timeout_ms", drain_ms));
    if (s->processor_running && bus_state(s->bus, NULL) != BUS_READY)
        processor_give_up(&s->processor);
    if (s->watch)
        replay_watch_end(s->watch);
    if (s->processor_running)
        replay_desk_end(s->processor.desk); /* rpc_stop waits for its answers */
    if (s->event_watch)
        event_watch_end(s->event_watch);
    if (s->changes_watch)
        changes_watch_end(s->changes_watch);
    int64_t left_ms = wait_left_ms(until);
    if (s->rpc)
        rpc_stop(s->rpc, left_ms < RPC_GRACE_MS ? left_ms : RPC_GRACE_MS);
    if (s->http)
        http_stop(s->http);
    if (s->processor_running)
        processor_stop(&s->processor);
    replay_watch_free(s->watch);
    event_watch_free(s->event_watch);
    changes_watch_free(s->changes_watch);
    bus_close(s->bus);
    processor_free(&s->processor);
    metrics_free(s->metrics);
}

int main(int argc, char **argv)
{
    static struct service service; /* large, and zeroed */
    struct service *s = &service;
    struct err_detail detail = {""};
    enum config_verdict verdict =
        config_load(&processor_program, argc, argv, environ, &s->settings, &s->handlers);
    if (verdict != CONFIG_RUN)
        return verdict == CONFIG_EXIT_OK ? EXIT_SUCCESS : 2;
    log_init(processor_program.name, (enum log_level)s->settings.shared.log_level,
             (enum log_format)s->settings.shared.log_format);
    block_signals(s);
    make_name(s);
    log_info("starting", LOG_TEXT("version", TIDINGS_VERSION), LOG_TEXT("processor", s->name),
             LOG_TEXT("group", s->settings.group));
    enum err e = start(s, &detail);
    if (!e)
        e = wait_for_signal(s, &detail);
    unblock_signals(s);
    if (e)
        log_error("cannot go on", LOG_TEXT("detail", detail.text[0] ? detail.text : err_title(e)));
    else
        log_info("draining", LOG_I64("drain_timeout_ms", s->settings.drain_timeout_ms));
    stop(s, e ? 0 : s->settings.drain_timeout_ms);
    log_info("stopped");
    config_free(&processor_program, &s->settings, &s->handlers);
    return e ? EXIT_FAILURE : EXIT_SUCCESS;
}
