/* The server's life: options -> methods -> core -> address -> workers, and back in reverse. */
#include "common/rpc_core.h"
#include "common/rpc_farewell.h"
#include "common/rpc_gather.h"
#include "common/rpc_health.h"
#include "common/rpc_listen_guard.h"
#include "common/rpc_reflection.h"
#include "common/rpc_server.h"

#include "common/log.h"
#include "common/mem.h"
#include "common/port_owner.h"

#include <grpc/compression.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS_MAX 16
#define AGE_MS 60000     /* of connections */
#define FAREWELL_MS 1000 /* for clients to close their connections; calls may last longer */
/* Requests of one method that wait in core, for each worker. Core looks through all of them at
 * every event, and a call that finds none takes a detour. */
#define OUTSTANDING 2
#define OUTSTANDING_BUSY 32

/* ---- methods ---- */

static uint32_t count_methods(const struct rpc_method *methods)
{
    uint32_t count = 0;
    while (methods[count].path)
        count++;
    return count;
}

static void add_counts(struct rpc_entry *entry, struct metrics *metrics)
{
    /* The codes our errors can become, and what core answers by itself. */
    static const int codes[] = {0, 1, 2, 3, 4, 5, 8, 11, 12, 13, 14};
    static const char *const words[RPC_CODES] = {"OK",
                                                 "CANCELLED",
                                                 "UNKNOWN",
                                                 "INVALID_ARGUMENT",
                                                 "DEADLINE_EXCEEDED",
                                                 "NOT_FOUND",
                                                 "ALREADY_EXISTS",
                                                 "PERMISSION_DENIED",
                                                 "RESOURCE_EXHAUSTED",
                                                 "FAILED_PRECONDITION",
                                                 "ABORTED",
                                                 "OUT_OF_RANGE",
                                                 "UNIMPLEMENTED",
                                                 "INTERNAL",
                                                 "UNAVAILABLE",
                                                 "DATA_LOSS",
                                                 "UNAUTHENTICATED"};
    const char *path = entry->method.path ? entry->method.path + 1 : "unknown";
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        char labels[256];
        snprintf(labels, sizeof labels, "method=\"%s\",code=\"%s\"", path, words[codes[i]]);
        entry->counts[codes[i]] = metrics_counter(metrics, "tidings_grpc_requests_total", labels,
                                                  "gRPC calls that have ended, by status.");
    }
}

static void add_entries(struct rpc_server *server, const struct rpc_method *methods, void *ctx,
                        bool builtin)
{
    for (; methods->path; methods++) {
        struct rpc_entry *entry = &server->entries[server->entry_count];
        entry->method = *methods;
        entry->ctx = ctx;
        entry->builtin = builtin;
        entry->outstanding = methods->busy ? OUTSTANDING_BUSY : OUTSTANDING;
        entry->index = server->entry_count++;
    }
}

static enum err entries_create(struct rpc_server *server, const struct rpc_options *options)
{
    uint32_t count = count_methods(options->methods) + count_methods(rpc_health_methods) +
                     count_methods(rpc_reflection_methods) + 1;
    server->entries = mem_zero(count, sizeof *server->entries);
    if (!server->entries)
        return ERR_MEMORY;
    enum err e = rpc_health_new(options->methods, &server->health);
    if (e == ERR_NONE)
        e = rpc_reflection_new(options->methods, &server->reflection);
    if (e != ERR_NONE)
        return e;
    add_entries(server, options->methods, options->ctx, false);
    add_entries(server, rpc_health_methods, server->health, true);
    add_entries(server, rpc_reflection_methods, server->reflection, true);
    struct rpc_entry *unknown = &server->entries[server->entry_count];
    unknown->outstanding = OUTSTANDING;
    unknown->index = server->entry_count++;
    for (uint32_t i = 0; options->metrics && i < server->entry_count; i++)
        add_counts(&server->entries[i], options->metrics);
    return ERR_NONE;
}

static enum err entries_register(struct rpc_server *server, struct err_detail *detail)
{
    for (uint32_t i = 0; i + 1 < server->entry_count; i++) {
        struct rpc_entry *entry = &server->entries[i];
        entry->handle = grpc_server_register_method(server->core, entry->method.path, NULL,
                                                    entry->method.kind == RPC_BIDI
                                                        ? GRPC_SRM_PAYLOAD_NONE
                                                        : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
                                                    0);
        if (!entry->handle)
            return err_set(detail, ERR_INVALID, "the method %s is there twice", entry->method.path);
    }
    return ERR_NONE;
}

/* ---- core ---- */

static grpc_arg number(const char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

/* Whether core's writes come through rpc_gather.c: gives a server of core's a connection and sees
 * how its first bytes, the server's SETTINGS, leave. */
static bool probe_writes(void)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server *core = grpc_server_create(NULL, NULL);
    grpc_server_register_completion_queue(core, queue, NULL);
    grpc_server_start(core);
    rpc_connection_adopt(ends[0]);
    grpc_server_credentials *insecure = grpc_insecure_server_credentials_create();
    grpc_server_add_channel_from_fd(core, ends[0], insecure);
    grpc_server_credentials_release(insecure);
    bool ours = rpc_gather_wait(ends[1], ends[0]);
    close(ends[1]); /* core finds its end closed and closes it */
    grpc_server_shutdown_and_notify(core, queue, core);
    grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_server_destroy(core);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_destroy(queue);
    return ours;
}

static bool probed;

static void probe(void)
{
    probed = probe_writes();
    if (!probed)
        log_debug("core writes past us: replies are not gathered, clients learn of the end late, "
                  "and old connections cost more");
}

static bool writes_are_ours(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, probe);
    return probed;
}

/* docs/grpc-api.md tells callers of these limits. */
static grpc_server *core_create(const struct rpc_options *options, int core_age_ms)
{
    grpc_arg args[] = {
        number(GRPC_ARG_ALLOW_REUSEPORT, 0), /* else a second server starts silently on our port */
        number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
               options->request_max > 0 ? options->request_max : 4 << 20),
        number(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1000),
        /* Core inflates a message before it looks at its size: a megabyte becomes a gigabyte. */
        number(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE),
        number(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        number(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
        /* What callers may do: a ping every 5 s, also while no call is open. */
        number(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000),
        number(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        /* What we do: find callers that vanished without a word. */
        number(GRPC_ARG_KEEPALIVE_TIME_MS, 60000),
        number(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000),
        number(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        number(GRPC_ARG_MAX_CONNECTION_AGE_MS, core_age_ms),
    };
    return grpc_server_create(&(grpc_channel_args){sizeof args / sizeof args[0], args}, NULL);
}

static enum err bind_address(struct rpc_server *server, const char *listen,
                             struct err_detail *detail)
{
    grpc_server_credentials *insecure = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server->core, listen, insecure);
    grpc_server_credentials_release(insecure);
    if (port <= 0)
        return port_owner_explain(listen, detail);
    server->port = (uint16_t)port;
    return ERR_NONE;
}

static void gather_start(struct rpc_server *server, bool wanted)
{
    if (!server->writes_are_ours || !wanted)
        return;
    if (rpc_gather_start())
        atomic_store(&server->gather, true);
    else
        log_warn("replies are not gathered: no thread for it");
}

static enum err start(struct rpc_server *server, const struct rpc_options *options,
                      struct err_detail *detail)
{
    enum err e = entries_create(server, options);
    if (e != ERR_NONE)
        return err_set(detail, e, "%s", err_title(e));
    int64_t age_ms = options->max_connection_age_ms > 0 ? options->max_connection_age_ms : AGE_MS;
    server->writes_are_ours = writes_are_ours();
    server->core = core_create(options, server->writes_are_ours ? INT_MAX : (int)age_ms);
    e = entries_register(server, detail);
    if (e == ERR_NONE)
        e = rpc_workers_create(server, options->threads);
    if (e == ERR_NONE)
        e = bind_address(server, options->listen, detail);
    if (e != ERR_NONE)
        return e;
    if (server->writes_are_ours)
        rpc_farewell_age(server->port, (uint32_t)age_ms);
    grpc_server_start(server->core);
    e = rpc_workers_start(server);
    if (e != ERR_NONE)
        return err_set(detail, e, "the gRPC server's threads cannot be started");
    gather_start(server, options->gather_writes);
    return ERR_NONE;
}

/* ---- the end ---- */

/* Returns when no call and no connection is left. */
static void shut_down(struct rpc_server *server, int64_t grace_ms)
{
    grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
    grpc_server_shutdown_and_notify(server->core, queue, server);
    gpr_timespec grace = gpr_time_from_millis(grace_ms > 0 ? grace_ms : 0, GPR_TIMESPAN);
    gpr_timespec limit = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), grace);
    if (grpc_completion_queue_pluck(queue, server, limit, NULL).type != GRPC_OP_COMPLETE) {
        grpc_server_cancel_all_calls(server->core);
        grpc_completion_queue_pluck(queue, server, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    }
    rpc_workers_wait(server);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_destroy(queue);
}

static void destroy(struct rpc_server *server, int64_t grace_ms)
{
    bool gathered = atomic_exchange(&server->gather, false);
    if (server->health)
        rpc_health_stop(server->health);
    rpc_stream_end_all(server);
    if (server->writes_are_ours && grace_ms > 0)
        rpc_farewell_begin(server->port, grace_ms < FAREWELL_MS ? grace_ms : FAREWELL_MS);
    if (server->core) {
        shut_down(server, grace_ms);
        rpc_workers_join(server);
        grpc_server_destroy(server->core);
    }
    rpc_farewell_end(server->port);
    rpc_workers_free(server);
    if (gathered)
        rpc_gather_stop();
    rpc_reflection_free(server->reflection);
    rpc_health_free(server->health);
    mem_free(server->entries);
    pthread_mutex_destroy(&server->streams_lock);
    pthread_mutex_destroy(&server->idle_lock);
    pthread_cond_destroy(&server->idle);
    mem_free(server);
    rpc_core_release();
}

enum err rpc_start(const struct rpc_options *options, struct rpc_server **ret,
                   struct err_detail *detail)
{
    if (options->threads < 1 || options->threads > THREADS_MAX)
        return err_set(detail, ERR_INVALID, "%u gRPC threads; 1 to %d are allowed",
                       (unsigned)options->threads, THREADS_MAX);
    struct rpc_server *server = mem_zero(1, sizeof *server);
    if (!server)
        return err_set(detail, ERR_MEMORY, "%s", err_title(ERR_MEMORY));
    pthread_mutex_init(&server->streams_lock, NULL);
    pthread_mutex_init(&server->idle_lock, NULL);
    pthread_cond_init(&server->idle, NULL);
    rpc_core_acquire();
    rpc_listen_guard_prepare();
    enum err e = start(server, options, detail);
    if (e != ERR_NONE) {
        destroy(server, 0);
        return e;
    }
    *ret = server;
    return ERR_NONE;
}

void rpc_stop(struct rpc_server *server, int64_t grace_ms)
{
    if (server)
        destroy(server, grace_ms);
}

uint16_t rpc_port(const struct rpc_server *server)
{
    return server->port;
}

bool rpc_gathers(const struct rpc_server *server)
{
    return server->gather;
}

void rpc_health_set(struct rpc_server *server, const char *service, bool serving)
{
    rpc_health_change(server->health, service, serving);
}
