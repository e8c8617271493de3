#include "common/http.h"

#include "common/http_internal.h"
#include "common/http_socket.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/port_owner.h"

#include <civetweb.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define MEMBERS_MAX 4096
#define QUEUE "64" /* accepted connections that wait for a thread */
#define QUEUE_SIZE 64
#define OTHER_FILES 64 /* the bus, processors, what the libraries open */

int64_t http_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t http_now_ms(void)
{
    return http_now_us() / 1000;
}

/* ---- civetweb's callbacks ---- */

static struct http_server *server_of(const struct mg_connection *conn)
{
    return mg_get_user_data(mg_get_context(conn));
}

static void *on_thread(const struct mg_context *context, int type)
{
    struct http_server *server = mg_get_user_data(context);
    uint32_t index;

    if (type != 1) /* not a connection's */
        return NULL;
    if (server->options.batch_scheduling) {
        struct sched_param none = {0};
        sched_setscheduler(0, SCHED_BATCH, &none); /* refused: works all the same */
    }
    index = atomic_fetch_add(&server->workers_started, 1);
    return index < server->worker_count ? &server->workers[index] : NULL;
}

static int on_connection(const struct mg_connection *conn, void **data)
{
    struct http_worker *worker = mg_get_thread_pointer(conn);

    (void)data;
    worker->refused = false;
    http_meters_accepted(worker->server);
    http_watch_open(worker);
    return 0;
}

static void on_connection_end(const struct mg_connection *conn)
{
    http_serve_dropped((struct mg_connection *)conn);
    http_watch_close(mg_get_thread_pointer(conn));
}

static int on_message(const struct mg_connection *conn, const char *message)
{
    struct http_server *server = server_of(conn);

    if (strstr(message, "Cannot start worker thread"))
        atomic_store(&server->threads_missing, true);
    if (atomic_load(&server->starting))
        snprintf(server->start_error, sizeof server->start_error, "%s", message);
    else
        log_warn("civetweb", LOG_TEXT("detail", message));
    return 1; /* not into its own log */
}

/* ---- start ---- */

static void worker_init(struct http_worker *worker, struct http_server *server)
{
    worker->server = server;
    buf_init(&worker->response.body, SIZE_MAX);
    buf_init(&worker->response.headers, HTTP_HEADER_MAX);
    buf_init(&worker->response.members, MEMBERS_MAX);
    buf_init(&worker->body, server->options.max_body);
    buf_init(&worker->decoded, (size_t)2 * HTTP_HEADER_MAX);
    buf_init(&worker->out, SIZE_MAX);
}

static void worker_free(struct http_worker *worker)
{
    buf_free(&worker->response.body);
    buf_free(&worker->response.headers);
    buf_free(&worker->response.members);
    buf_free(&worker->body);
    buf_free(&worker->decoded);
    buf_free(&worker->out);
}

static void server_free(struct http_server *server)
{
    http_watch_stop(server);
    http_meters_free(server);
    for (uint32_t i = 0; server->workers && i < server->worker_count; i++)
        worker_free(&server->workers[i]);
    if (server->stand_in >= 0)
        close(server->stand_in);
    mem_free(server->workers);
    mem_free(server);
}

static enum err check_options(const struct http_options *o, struct err_detail *detail)
{
    size_t routes = 0;

    while (o->routes[routes].method)
        routes++;
    if (routes > HTTP_ROUTES_MAX)
        return err_set(detail, ERR_INVALID, "%zu routes; at most %d are allowed", routes,
                       HTTP_ROUTES_MAX);
    if (o->connections < 1 || o->connections > 4096 || o->reserve < 1 || o->reserve > 4096)
        return err_set(detail, ERR_INVALID, "connections and reserve must be 1 to 4096 each");
    if (o->request_timeout_ms < 1 || o->idle_timeout_ms < 1)
        return err_set(detail, ERR_INVALID, "time-outs must be at least 1 ms");
    if (o->listen[0] == '[' && !mg_check_feature(MG_FEATURES_IPV6))
        return err_set(detail, ERR_UNAVAILABLE,
                       "cannot listen on %s: this machine's civetweb is built without IPv6",
                       o->listen);
    return ERR_NONE;
}

/* What a server holds beside its memory. */
static enum err acquire(struct http_server *server, struct err_detail *detail)
{
    server->stand_in = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->stand_in < 0)
        return err_set(detail, ERR_UNAVAILABLE, "no event descriptor: %s", strerrordesc_np(errno));
    return http_watch_init(server, detail);
}

static enum err fail_memory(struct err_detail *detail)
{
    err_set(detail, ERR_MEMORY, "no memory for the HTTP server");
    return ERR_MEMORY;
}

static enum err server_new(const struct http_options *options, struct http_server **ret,
                           struct err_detail *detail)
{
    struct http_server *server = mem_zero(1, sizeof *server);
    enum err e;

    if (!server)
        return fail_memory(detail);
    server->stand_in = -1;
    server->options = *options;
    server->streams_end_ms = INT64_MAX;
    server->worker_count = options->connections + options->reserve;
    server->starting = true;
    server->workers = mem_zero(server->worker_count, sizeof *server->workers);
    for (uint32_t i = 0; server->workers && i < server->worker_count; i++)
        worker_init(&server->workers[i], server);
    e = server->workers ? acquire(server, detail) : fail_memory(detail);
    if (!e && http_meters_new(server))
        e = fail_memory(detail);
    if (e) {
        server_free(server);
        return e;
    }
    *ret = server;
    return ERR_NONE;
}

static struct mg_context *start_civetweb(struct http_server *server)
{
    const struct http_options *o = &server->options;
    char threads[16], request_timeout[24], idle_timeout[24], buffer[16];
    const char *settings[] = {
        "listening_ports",
        o->listen,
        "num_threads",
        threads,
        "request_timeout_ms",
        request_timeout,
        "keep_alive_timeout_ms",
        idle_timeout,
        "max_request_size",
        buffer,
        "enable_keep_alive",
        "yes",
        "tcp_nodelay",
        "1",
        "listen_backlog",
        "1024",
        "connection_queue",
        QUEUE,
        "decode_url",
        "no", /* segments are decoded one by one, after matching */
        "enable_auth_domain_check",
        "no", /* else more absolute targets are left to http_serve_dropped */
        "enable_directory_listing",
        "no",
        NULL,
    };
    struct mg_callbacks callbacks = {
        .begin_request = http_serve, /* answers everything: nothing of civetweb's own is reached */
        .http_error = http_serve_error,
        .init_thread = on_thread,
        .init_connection = on_connection,
        .connection_close = on_connection_end,
        .log_message = on_message,
    };

    snprintf(threads, sizeof threads, "%u", server->worker_count);
    snprintf(buffer, sizeof buffer, "%d", HTTP_BUFFER_SIZE);
    snprintf(request_timeout, sizeof request_timeout, "%lld", (long long)o->request_timeout_ms);
    snprintf(idle_timeout, sizeof idle_timeout, "%lld", (long long)o->idle_timeout_ms);
    return mg_start(&callbacks, server, settings);
}

static enum err explain_failure(const struct http_server *server, struct err_detail *detail)
{
    if (strstr(server->start_error, "server ports"))
        return port_owner_explain(server->options.listen, detail);
    return err_set(detail, ERR_UNAVAILABLE, "the HTTP server cannot start: %s",
                   server->start_error);
}

enum err http_start(const struct http_options *options, struct http_server **ret,
                    struct err_detail *detail)
{
    struct http_server *server = NULL;
    struct mg_server_port port;
    enum err e = check_options(options, detail);

    if (!e)
        e = http_descriptors_allow(
            (uint64_t)options->connections + options->reserve + QUEUE_SIZE + OTHER_FILES, detail);
    if (!e)
        e = server_new(options, &server, detail);
    if (e)
        return e;
    mg_init_library(MG_FEATURES_DEFAULT);
    server->civetweb = start_civetweb(server);
    if (!server->civetweb) {
        e = explain_failure(server, detail);
        mg_exit_library();
        server_free(server);
        return e;
    }
    server->starting = false;
    mg_get_server_ports(server->civetweb, 1, &port);
    server->port = (uint16_t)port.port;
    if (http_watch_start(server) || atomic_load(&server->threads_missing)) {
        e = err_set(detail, ERR_UNAVAILABLE,
                    "the system does not allow %u threads for connections (%s)",
                    server->worker_count, server->start_error);
        http_stop(server);
        return e;
    }
    *ret = server;
    return ERR_NONE;
}

uint16_t http_port(const struct http_server *server)
{
    return server->port;
}

/* ---- stop ---- */

void http_drain(struct http_server *server)
{
    atomic_store(&server->draining, true);
}

bool http_stop_within(struct http_server *server, int64_t drain_ms)
{
    int64_t now = http_now_ms();
    bool drained;

    if (drain_ms < INT64_MAX - now)
        atomic_store(&server->streams_end_ms, now + drain_ms - drain_ms / 4);
    http_drain(server);
    drained = http_drain_connections(server, drain_ms);
    mg_stop(server->civetweb);
    mg_exit_library();
    server_free(server);
    return drained;
}

void http_stop(struct http_server *server)
{
    (void)http_stop_within(server, INT64_MAX);
}
