/* The http-gateway: boot order, waiting, stopping. */
#include "common/version.h"
#include "http-gateway/gateway.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MONITOR_MS 100
#define NAME_SIZE 96
#define RESERVE_MIN 4

struct service {
    struct gateway gateway;
    struct log_names event_log_names;
    struct http_server *http;
    sigset_t signals;
};

/* ---- start ---- */

/* Before any thread: all inherit the mask, and only this one takes signals. */
static void block_signals(struct service *s)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&s->signals);
    sigaddset(&s->signals, SIGTERM);
    sigaddset(&s->signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &s->signals, NULL);
}

/* How the bus's monitoring shows us. */
static void make_name(char name[NAME_SIZE])
{
    char host[64];

    if (gethostname(host, sizeof host) != 0)
        snprintf(host, sizeof host, "unknown");
    host[sizeof host - 1] = '\0';
    snprintf(name, NAME_SIZE, "http-gateway-%s-%ld", host, (long)getpid());
}

static enum err start_bus(struct service *s, struct err_detail *detail)
{
    struct gateway *g = &s->gateway;
    struct bus_log_spec spec;
    char name[NAME_SIZE];
    struct bus_options options = {
        .url = g->settings.shared.bus,
        .name = name,
        .max_in_flight = (uint32_t)g->settings.max_in_flight,
        .publish_timeout_ms = g->settings.publish_timeout_ms,
        .clock = &clock_system,
    };
    enum err e;

    make_name(name);
    e = bus_open(&options, &g->bus, detail);
    if (e)
        return e;
    settings_event_log(&g->settings.shared, &s->event_log_names, &spec);
    e = bus_log_open(g->bus, &spec, &g->events);
    return e ? err_set(detail, e, "the event log cannot be opened: %s", err_title(e)) : ERR_NONE;
}

/* At once, before the bus is ready: until then events are answered 503. */
static enum err start_http(struct service *s, struct err_detail *detail)
{
    struct gateway *g = &s->gateway;
    uint32_t connections = (uint32_t)g->settings.max_connections;
    struct http_options options = {
        .listen = g->settings.listen,
        .connections = connections,
        .reserve = connections / 8 > RESERVE_MIN ? connections / 8 : RESERVE_MIN,
        .max_body = g->settings.max_body,
        .request_timeout_ms = g->settings.request_timeout_ms,
        .idle_timeout_ms = g->settings.idle_timeout_ms,
        .cors_origins = g->settings.cors_origins,
        .routes = gateway_routes,
        .ctx = g,
        .metrics = g->metrics,
        .log_errors = g->settings.access_log >= 0,
        .log_share = g->settings.access_log,
        .batch_scheduling = true,
    };
    enum err e = http_start(&options, &s->http, detail);

    if (!e)
        log_info("listening", LOG_TEXT("listener", "listen"),
                 LOG_TEXT("address", g->settings.listen), LOG_U64("port", http_port(s->http)));
    return e;
}

static enum err start(struct service *s, struct err_detail *detail)
{
    struct gateway *g = &s->gateway;
    uint64_t half = g->settings.max_connections / 2;
    enum err e = metrics_new(&g->metrics);

    g->followers_max =
        (uint32_t)(g->settings.max_followers < half ? g->settings.max_followers : half);
    if (e)
        return err_set(detail, e, "no memory for metrics");
    e = start_bus(s, detail);
    if (!e)
        e = rpc_channel_open(g->settings.processor, &g->processor, detail);
    if (!e) {
        gateway_measure(g);
        e = start_http(s, detail);
    }
    return e;
}

/* ---- wait ---- */

static void say_ready(const struct err_detail *why, bool ready)
{
    if (ready)
        log_info("ready: events are accepted");
    else
        log_warn("not ready: events are refused", LOG_TEXT("bus", why->text));
}

/* Watches over the bus until a signal comes. ERR_INVALID: an operator must mend it. */
static enum err wait_for_signal(struct service *s, struct err_detail *detail)
{
    const struct timespec pause = {.tv_nsec = MONITOR_MS * 1000000};
    bool was_ready = false;

    while (sigtimedwait(&s->signals, NULL, &pause) < 0) {
        enum bus_state state = bus_state(s->gateway.bus, detail);

        if (state == BUS_BROKEN)
            return ERR_INVALID;
        if ((state == BUS_READY) != was_ready)
            say_ready(detail, !was_ready);
        was_ready = state == BUS_READY;
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
    struct gateway *g = &s->gateway;

    atomic_store(&g->draining, true);
    if (s->http && !http_stop_within(s->http, drain_ms))
        log_warn("requests were cut off", LOG_I64("drain_timeout_ms", drain_ms));
    if (g->processor)
        rpc_channel_close(g->processor);
    if (g->bus)
        bus_close(g->bus);
    metrics_free(g->metrics);
}

int main(int argc, char **argv)
{
    static struct service service;
    struct service *s = &service;
    struct gateway_settings *settings = &s->gateway.settings;
    struct err_detail detail = {""};
    enum config_verdict verdict =
        config_load(&gateway_program, argc, argv, environ, settings, NULL);
    enum err e;

    if (verdict != CONFIG_RUN)
        return verdict == CONFIG_EXIT_OK ? EXIT_SUCCESS : 2;
    log_init(gateway_program.name, (enum log_level)settings->shared.log_level,
             (enum log_format)settings->shared.log_format);
    block_signals(s);
    log_info("starting", LOG_TEXT("version", TIDINGS_VERSION),
             LOG_TEXT("processor", settings->processor));
    e = start(s, &detail);
    if (!e)
        e = wait_for_signal(s, &detail);
    unblock_signals(s);
    if (e)
        log_error("cannot go on", LOG_TEXT("detail", detail.text));
    else
        log_info("draining", LOG_I64("drain_timeout_ms", settings->drain_timeout_ms));
    stop(s, e ? 0 : settings->drain_timeout_ms);
    log_info("stopped");
    config_free(&gateway_program, settings, NULL);
    return e ? EXIT_FAILURE : EXIT_SUCCESS;
}
