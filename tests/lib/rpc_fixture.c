#include "tests/lib/rpc_fixture.h"

#include "common/clock.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEPT_MAX 4096

bool rpc_fixture_gather;
int64_t rpc_fixture_age_ms;
atomic_int rpc_fixture_falter;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct rpc_call *kept[KEPT_MAX];
    unsigned kept_count;
    unsigned opened, closed;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct timespec limit(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += RPC_WAIT_MS / 1000;
    return t;
}

/* ---- methods ---- */

static void echo(struct rpc_call *call, struct view request, void *ctx)
{
    (void)ctx;
    rpc_reply(call, request);
}

static void fail(struct rpc_call *call, struct view request, void *ctx)
{
    uint64_t number = 0;
    (void)ctx;
    if (!view_parse_u64(request, &number))
        number = ERR_MALFORMED;
    rpc_fail(call, (enum err)number, "as you wish: \xC3\xA4\n%");
}

static void falter(struct rpc_call *call, struct view request, void *ctx)
{
    (void)ctx;
    if (atomic_fetch_sub(&rpc_fixture_falter, 1) > 0)
        rpc_fail(call, ERR_UNAVAILABLE, "not now");
    else
        rpc_reply(call, request);
}

static void keep(struct rpc_call *call, struct view request, void *ctx)
{
    (void)request;
    (void)ctx;
    pthread_mutex_lock(&state.lock);
    if (state.kept_count == KEPT_MAX)
        abort();
    state.kept[state.kept_count++] = call;
    pthread_cond_broadcast(&state.changed);
    pthread_mutex_unlock(&state.lock);
}

struct rpc_call *rpc_fixture_kept(void)
{
    struct timespec until = limit();
    struct rpc_call *call = NULL;
    pthread_mutex_lock(&state.lock);
    while (!state.kept_count)
        if (pthread_cond_timedwait(&state.changed, &state.lock, &until) != 0)
            break;
    if (state.kept_count)
        call = state.kept[--state.kept_count];
    pthread_mutex_unlock(&state.lock);
    if (!call)
        abort();
    return call;
}

/* ---- streams ---- */

static void note(unsigned *counter)
{
    pthread_mutex_lock(&state.lock);
    ++*counter;
    pthread_cond_broadcast(&state.changed);
    pthread_mutex_unlock(&state.lock);
}

struct counting {
    uint64_t next, last;
};

static void send_number(struct rpc_call *call, struct counting *counting)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)counting->next++);
    rpc_send(call, (struct view){text, (size_t)len});
    if (counting->next > counting->last)
        rpc_end(call);
}

static void count(struct rpc_call *call, struct view request, void *ctx)
{
    struct counting *counting = calloc(1, sizeof *counting);
    (void)ctx;
    counting->next = 1;
    if (!view_parse_u64(request, &counting->last))
        abort();
    rpc_set_user(call, counting);
    note(&state.opened);
    if (counting->last)
        send_number(call, counting);
    else
        rpc_end(call);
}

static void count_on(struct rpc_call *call, void *ctx)
{
    struct counting *counting = rpc_user(call);
    (void)ctx;
    if (counting->next <= counting->last)
        send_number(call, counting);
}

static void open_stream(struct rpc_call *call, struct view request, void *ctx)
{
    (void)call;
    (void)request;
    (void)ctx;
    note(&state.opened);
}

static void send_twice(struct rpc_call *call, struct view request, void *ctx)
{
    (void)ctx;
    rpc_send(call, request);
    rpc_send(call, request);
    rpc_reply(call, request); /* ignored: it has ended */
}

static void talk(struct rpc_call *call, struct view request, void *ctx)
{
    (void)ctx;
    rpc_send(call, request);
}

static void closed(struct rpc_call *call, void *ctx)
{
    (void)ctx;
    free(rpc_user(call));
    note(&state.closed);
}

static unsigned read_count(const unsigned *counter)
{
    pthread_mutex_lock(&state.lock);
    unsigned count = *counter;
    pthread_mutex_unlock(&state.lock);
    return count;
}

static bool wait_for(const unsigned *counter, unsigned expected)
{
    struct timespec until = limit();
    pthread_mutex_lock(&state.lock);
    while (*counter < expected)
        if (pthread_cond_timedwait(&state.changed, &state.lock, &until) != 0)
            break;
    bool reached = *counter == expected;
    pthread_mutex_unlock(&state.lock);
    return reached;
}

bool rpc_fixture_opened(unsigned expected)
{
    return wait_for(&state.opened, expected);
}

bool rpc_fixture_closed(unsigned expected)
{
    return wait_for(&state.closed, expected);
}

unsigned rpc_fixture_opened_count(void)
{
    return read_count(&state.opened);
}

unsigned rpc_fixture_closed_count(void)
{
    return read_count(&state.closed);
}

static const struct rpc_method methods[] = {
    {.path = "/test.Service/Echo", .kind = RPC_UNARY, .on_request = echo},
    {.path = "/test.Service/Fail", .kind = RPC_UNARY, .on_request = fail},
    {.path = "/test.Service/Falter", .kind = RPC_UNARY, .on_request = falter},
    {.path = "/test.Service/Keep", .kind = RPC_UNARY, .on_request = keep},
    {.path = "/test.Service/Hold", .kind = RPC_SERVER_STREAM, .on_request = keep},
    {.path = "/test.Service/Hasty", .kind = RPC_SERVER_STREAM, .on_request = send_twice},
    {.path = "/test.Service/Count",
     .kind = RPC_SERVER_STREAM,
     .on_request = count,
     .on_writable = count_on,
     .on_closed = closed},
    {.path = "/test.Service/Open",
     .kind = RPC_SERVER_STREAM,
     .on_request = open_stream,
     .on_closed = closed},
    {.path = "/test.Service/Talk", .kind = RPC_BIDI, .on_request = talk, .on_closed = closed},
    {.path = NULL},
};

/* ---- the server ---- */

void rpc_fixture_start_on(struct rpc_fixture *f, uint16_t port)
{
    char address[32];
    struct err_detail detail;
    state.opened = state.closed = 0;
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)port);
    if (metrics_new(&f->metrics) != ERR_NONE)
        abort();
    struct rpc_options options = {.listen = address,
                                  .threads = 2,
                                  .methods = methods,
                                  .metrics = f->metrics,
                                  .gather_writes = rpc_fixture_gather,
                                  .max_connection_age_ms = rpc_fixture_age_ms};
    if (rpc_start(&options, &f->server, &detail) != ERR_NONE) {
        fprintf(stderr, "%s\n", detail.text);
        abort();
    }
    f->port = rpc_port(f->server);
    if (rpc_gathers(f->server) != rpc_fixture_gather)
        abort();
}

void rpc_fixture_start(struct rpc_fixture *f)
{
    rpc_fixture_start_on(f, 0);
}

void rpc_fixture_stop(struct rpc_fixture *f, int64_t grace_ms)
{
    rpc_stop(f->server, grace_ms);
    metrics_free(f->metrics);
}

struct rpc_channel *rpc_fixture_channel(const struct rpc_fixture *f)
{
    struct rpc_channel *channel;
    char target[64];
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", (unsigned)f->port);
    if (rpc_channel_open(target, &channel, NULL) != ERR_NONE)
        abort();
    return channel;
}

int rpc_fixture_setup(void **state_ret)
{
    static struct rpc_fixture f;
    rpc_fixture_start(&f);
    *state_ret = &f;
    return 0;
}

int rpc_fixture_teardown(void **state_ret)
{
    rpc_fixture_stop(*state_ret, RPC_WAIT_MS);
    return 0;
}

/* ---- calls ---- */

enum err rpc_fixture_call(const struct rpc_fixture *f, const char *path, struct view request,
                          struct buf *reply, struct err_detail *detail)
{
    struct rpc_channel *channel = rpc_fixture_channel(f);
    enum err e = rpc_call_unary(channel, path, request, RPC_WAIT_MS, reply, detail);
    rpc_channel_close(channel);
    return e;
}

bool rpc_fixture_echoes(const struct rpc_fixture *f, struct view message)
{
    struct buf reply;
    buf_init(&reply, 16 << 20);
    buf_add_text(&reply, "what was in it before");
    enum err e = rpc_fixture_call(f, "/test.Service/Echo", message, &reply, NULL);
    bool same = e == ERR_NONE && view_equal(buf_view(&reply), message);
    buf_free(&reply);
    return same;
}

int rpc_fixture_connect(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

uint64_t rpc_fixture_count(const struct rpc_fixture *f, const char *method, const char *code)
{
    char labels[256];
    snprintf(labels, sizeof labels, "method=\"%s\",code=\"%s\"", method, code);
    return metric_value(metrics_counter(f->metrics, "tidings_grpc_requests_total", labels,
                                        "gRPC calls that have ended, by status."));
}

bool rpc_wait_until(bool (*check)(void *ctx), void *ctx)
{
    int64_t until = clock_monotonic_ms(&clock_system) + RPC_WAIT_MS;
    while (!check(ctx)) {
        if (clock_monotonic_ms(&clock_system) > until)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}
