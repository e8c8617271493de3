/* civetweb bounds the time between two reads, not the time of a request, and keeps an idle
 * connection's thread until its timeout. This thread does what is missing: it shuts down the
 * sockets of connections that are over their time, or idle while threads run short. civetweb's
 * read in progress then ends as if the client had gone.
 *
 * A connection's state is one word: its phase and a moment. Its own thread moves it on with
 * exchanges; the watch only ever replaces a state it has judged by HTTP_CUT, with compare and
 * exchange. A connection passes the lock before it ends (http_watch_close); civetweb closes its
 * descriptor after that, so while the watch looks, the number may come to mean something else. What
 * is shut down for its state is safe: the state is then HTTP_FREE, and the exchange fails. A silent
 * connection has no state to go by, so its peer is looked at again right before.
 *
 * A connection is known by its peer, and two may have the same: from one address and port to two
 * addresses of ours; or one that was reset, whose thread has not noticed yet, and the client's next
 * one from the same port. The kernel no longer tells a reset connection's peer, so the only socket
 * found may be the other one's. Of such twins none is known by its socket (has_twin).
 */
#include "common/http_internal.h"
#include "common/http_socket.h"
#include "common/log.h"
#include "common/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define TICK_MS 250
#define DRAIN_TICK_MS 20
#define LOOK_MS 1000 /* between looks for slow headers on kept-alive connections */
#define ARRIVAL_SLACK_MS 50
#define IDLE_MIN_MS 50    /* idle for less than this: between two requests */
#define SILENT_MIN_MS 500 /* a new connection that has sent nothing for this long */

enum verdict {
    VERDICT_END_READING, /* over its time: it still gets its 408 */
    VERDICT_END,         /* over its time while it takes the answer */
    VERDICT_END_IF_IDLE, /* unless a request has begun to arrive */
    VERDICT_LOOK         /* has a request begun to arrive? */
};

struct http_cut {
    struct http_worker *worker;
    uint64_t state;
    uint64_t peer;
    enum verdict verdict;
    int fds[2]; /* sockets of that peer; negative: none (any more) */
};

struct round {
    struct http_server *server;
    int64_t now_ms;
    size_t count;
    size_t to_end;        /* VERDICT_END_IF_IDLE: at most so many */
    size_t silent_to_end; /* new connections that send nothing: as many, or all */
    bool draining;
};

static uint64_t state_of(enum http_phase phase, int64_t moment_ms)
{
    return (uint64_t)moment_ms << 3 | phase;
}

static enum http_phase phase_of(uint64_t state)
{
    return (enum http_phase)(state & 7);
}

static int64_t moment_of(uint64_t state)
{
    return (int64_t)(state >> 3);
}

/* More connections than this: idle ones must go, so that there is room before it is needed. */
static uint32_t comfortable(const struct http_server *server)
{
    return server->options.connections - server->options.connections / 8;
}

/* ---- the connections' side ---- */

static void make_room(struct http_server *server)
{
    pthread_mutex_lock(&server->watch.lock);
    server->watch.make_room = true;
    pthread_cond_signal(&server->watch.wake);
    pthread_mutex_unlock(&server->watch.lock);
}

void http_watch_open(struct http_worker *worker)
{
    struct http_server *server = worker->server;
    int64_t deadline = http_now_ms() + server->options.request_timeout_ms;

    worker->was_cut = false;
    worker->consumed = 0;
    atomic_store_explicit(&worker->peer, 0, memory_order_relaxed);
    atomic_store_explicit(&worker->state, state_of(HTTP_OPENING, deadline), memory_order_release);
    if (atomic_fetch_add(&server->in_use, 1) >= comfortable(server))
        make_room(server);
}

struct own_socket {
    uint64_t peer;
    int fd;
    int count;
};

static bool find_own(int fd, uint64_t peer, void *ctx)
{
    struct own_socket *own = ctx;

    if (peer == own->peer) {
        own->fd = fd;
        own->count++;
    }
    return true;
}

/* Whether another connection has a thread and the same peer. */
static bool has_twin(const struct http_worker *worker)
{
    const struct http_server *server = worker->server;
    uint64_t peer = atomic_load_explicit(&worker->peer, memory_order_relaxed);

    for (uint32_t i = 0; i < server->worker_count; i++) {
        const struct http_worker *other = &server->workers[i];

        if (other != worker && atomic_load_explicit(&other->peer, memory_order_relaxed) == peer &&
            phase_of(atomic_load_explicit(&other->state, memory_order_acquire)) != HTTP_FREE)
            return true;
    }
    return false;
}

int http_watch_socket(struct http_worker *worker)
{
    struct http_server *server = worker->server;
    struct own_socket own = {.peer = atomic_load_explicit(&worker->peer, memory_order_relaxed)};
    bool seen;

    pthread_mutex_lock(&server->watch.lock);
    seen = http_sockets_each(server->watch.descriptors, server->port, find_own, &own);
    pthread_mutex_unlock(&server->watch.lock);
    return seen && own.count == 1 && !has_twin(worker) ? own.fd : -1;
}

void http_watch_identify(struct http_worker *worker, const char *address, int port)
{
    if (atomic_load_explicit(&worker->peer, memory_order_relaxed) == 0)
        atomic_store_explicit(&worker->peer, http_peer_parse(address, port), memory_order_relaxed);
}

bool http_watch_enter(struct http_worker *worker, enum http_phase phase, int64_t moment_ms)
{
    uint64_t before =
        atomic_exchange_explicit(&worker->state, state_of(phase, moment_ms), memory_order_acq_rel);

    worker->was_cut = worker->was_cut || phase_of(before) == HTTP_CUT;
    return !worker->was_cut;
}

int64_t http_watch_moment(const struct http_worker *worker, enum http_phase *ret_phase)
{
    uint64_t state = atomic_load_explicit(&worker->state, memory_order_relaxed);

    *ret_phase = phase_of(state);
    return moment_of(state);
}

void http_watch_close(struct http_worker *worker)
{
    struct http_server *server = worker->server;

    http_watch_enter(worker, HTTP_FREE, 0);
    if (worker->admitted)
        atomic_fetch_sub(&server->admitted, 1);
    worker->admitted = false;
    atomic_fetch_sub(&server->in_use, 1);
    pthread_mutex_lock(&server->watch.lock);
    if (atomic_load_explicit(&server->draining, memory_order_relaxed))
        pthread_cond_broadcast(&server->watch.emptied);
    pthread_mutex_unlock(&server->watch.lock);
}

/* ---- judging, with the lock held ---- */

static size_t connections_too_many(const struct http_server *server)
{
    uint32_t in_use = atomic_load(&server->in_use);

    if (atomic_load(&server->draining))
        return in_use;
    return in_use > comfortable(server) ? in_use - comfortable(server) : 0;
}

/* With all threads taken, any number may be waiting behind them: then all that are silent go. */
static size_t silent_too_many(const struct http_server *server, size_t too_many)
{
    return atomic_load(&server->in_use) >= server->worker_count ? SIZE_MAX : too_many;
}

/* False: nothing is to be done about it. */
static bool judge(const struct round *round, uint64_t state, bool look, enum verdict *ret)
{
    bool late = moment_of(state) <= round->now_ms;
    int64_t age = round->now_ms - moment_of(state);

    switch (phase_of(state)) {
    case HTTP_IDLE:
        *ret = VERDICT_LOOK;
        if (round->to_end == 0 || (!round->draining && age < IDLE_MIN_MS))
            return look && age >= LOOK_MS;
        *ret = VERDICT_END_IF_IDLE;
        return true;
    case HTTP_OPENING:
    case HTTP_ARRIVING:
    case HTTP_READING:
        *ret = VERDICT_END_READING;
        return late;
    case HTTP_WRITING:
        *ret = VERDICT_END;
        return late;
    default:
        return false;
    }
}

static void collect(struct round *round, bool look)
{
    struct http_server *server = round->server;

    for (uint32_t i = 0; i < server->worker_count; i++) {
        struct http_worker *worker = &server->workers[i];
        uint64_t state = atomic_load_explicit(&worker->state, memory_order_acquire);
        struct http_cut cut = {
            .worker = worker,
            .state = state,
            .peer = atomic_load_explicit(&worker->peer, memory_order_relaxed),
            .fds = {-1, -1},
        };

        if (judge(round, state, look, &cut.verdict))
            server->watch.cuts[round->count++] = cut;
    }
}

/* Those that have waited longest first; what isn't up to the number of connections before all. */
static int by_urgency(const void *a, const void *b)
{
    const struct http_cut *x = a, *y = b;
    bool x_idle = x->verdict == VERDICT_END_IF_IDLE, y_idle = y->verdict == VERDICT_END_IF_IDLE;

    if (x_idle != y_idle)
        return x_idle ? 1 : -1;
    return (moment_of(x->state) > moment_of(y->state)) -
           (moment_of(x->state) < moment_of(y->state));
}

static void keep_most_urgent(struct round *round)
{
    struct http_cut *cuts = round->server->watch.cuts;
    size_t others = 0;

    qsort(cuts, round->count, sizeof *cuts, by_urgency);
    while (others < round->count && cuts[others].verdict != VERDICT_END_IF_IDLE)
        others++;
    if (round->count - others > round->to_end)
        round->count = others + round->to_end;
}

/* ---- and executing ---- */

/* False: the connection has moved on since it was judged. */
static bool replace_state(const struct http_cut *c, enum http_phase phase, int64_t moment_ms)
{
    uint64_t expected = c->state;

    return atomic_compare_exchange_strong(&c->worker->state, &expected, state_of(phase, moment_ms));
}

/* Of twins, both: they are one client's. Unless only one of them has a peer any more: the other may
 * be the one that is meant. */
static void cut(const struct http_cut *c, int how)
{
    uint16_t port = c->worker->server->port;

    if ((c->fds[1] < 0 && has_twin(c->worker)) || !replace_state(c, HTTP_CUT, 0))
        return;
    for (int i = 0; i < 2; i++)
        if (c->fds[i] >= 0 && http_socket_peer(c->fds[i], port) == c->peer)
            shutdown(c->fds[i], how);
}

/* Whether bytes of its next request have arrived, and when. */
static bool request_begun(const struct round *round, const struct http_cut *c, int64_t *ret_ms)
{
    struct http_arrival arrival;

    *ret_ms = round->now_ms;
    if (!http_socket_arrival(c->fds[0], &arrival))
        return true;
    *ret_ms -= arrival.silent_ms;
    return arrival.unread > 0 || *ret_ms > moment_of(c->state) + ARRIVAL_SLACK_MS;
}

static void note_arrival(const struct round *round, const struct http_cut *c, int64_t begun_ms)
{
    if (phase_of(c->state) == HTTP_IDLE)
        (void)replace_state(c, HTTP_ARRIVING, begun_ms + round->server->options.request_timeout_ms);
}

static void execute(const struct round *round, const struct http_cut *c)
{
    int64_t begun_ms;

    if (c->fds[0] < 0)
        return;
    if (c->verdict == VERDICT_END_READING)
        cut(c, SHUT_RD);
    else if (c->verdict == VERDICT_END)
        cut(c, SHUT_RDWR);
    else if (request_begun(round, c, &begun_ms))
        note_arrival(round, c, begun_ms);
    else if (c->verdict == VERDICT_END_IF_IDLE) /* its twin may be writing an answer */
        cut(c, c->fds[1] < 0 ? SHUT_RDWR : SHUT_RD);
}

/* A new connection that says nothing is in the way. Its thread is not known before its first
 * request, so it is told from others by its socket. One that was ended already and waits in
 * civetweb's queue for a thread to notice must not count again: the queue may hold more of them
 * than are to be ended in a round. */
static void end_if_silent(struct round *round, int fd, uint64_t peer)
{
    struct http_arrival arrival;

    if (round->silent_to_end == 0 || !http_socket_arrival(fd, &arrival) || !arrival.open ||
        arrival.bytes_arrived > 0 || arrival.silent_ms < SILENT_MIN_MS ||
        http_socket_peer(fd, round->server->port) != peer)
        return;
    shutdown(fd, SHUT_RDWR);
    round->silent_to_end--;
}

static bool on_socket(int fd, uint64_t peer, void *ctx)
{
    struct round *round = ctx;

    end_if_silent(round, fd, peer);
    for (size_t i = 0; i < round->count; i++) {
        struct http_cut *c = &round->server->watch.cuts[i];

        if (c->peer == peer)
            c->fds[c->fds[0] >= 0] = fd;
    }
    return true;
}

static void note_sight(struct http_watch *watch, bool seen)
{
    if (!seen && !watch->blind)
        log_error("connections cannot be looked at: none is ended for being slow or idle",
                  LOG_TEXT("detail", strerrordesc_np(errno)));
    watch->blind = !seen;
}

/* Looks at all connections once. */
static void look_around(struct http_server *server)
{
    struct http_watch *watch = &server->watch;
    struct round round = {
        .server = server,
        .now_ms = http_now_ms(),
        .to_end = connections_too_many(server),
        .draining = atomic_load(&server->draining),
    };
    bool look = round.now_ms >= watch->next_look_ms;

    if (look)
        watch->next_look_ms = round.now_ms + LOOK_MS;
    watch->make_room = false;
    round.silent_to_end = silent_too_many(server, round.to_end);
    collect(&round, look);
    if (round.count == 0 && round.to_end == 0)
        return;
    keep_most_urgent(&round);
    note_sight(watch, http_sockets_each(watch->descriptors, server->port, on_socket, &round));
    for (size_t i = 0; i < round.count; i++)
        execute(&round, &watch->cuts[i]);
}

void http_watch_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(cond, lock, &until);
}

static void *watch_main(void *arg)
{
    struct http_server *server = arg;
    struct http_watch *watch = &server->watch;

    pthread_setname_np(pthread_self(), "http-watch");
    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        if (!watch->make_room)
            http_watch_wait(&watch->wake, &watch->lock,
                            atomic_load(&server->draining) ? DRAIN_TICK_MS : TICK_MS);
        look_around(server);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

enum err http_watch_init(struct http_server *server, struct err_detail *detail)
{
    struct http_watch *watch = &server->watch;
    pthread_condattr_t monotonic;

    watch->descriptors = http_descriptors_open();
    if (!watch->descriptors)
        return err_set(detail, ERR_UNAVAILABLE, "/proc/self/fd cannot be opened: %s",
                       strerrordesc_np(errno));
    watch->cuts = mem_zero(server->worker_count, sizeof *watch->cuts);
    if (!watch->cuts) {
        closedir(watch->descriptors);
        return err_set(detail, ERR_MEMORY, "no memory for the HTTP server");
    }
    pthread_mutex_init(&watch->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->wake, &monotonic);
    pthread_cond_init(&watch->emptied, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return ERR_NONE;
}

enum err http_watch_start(struct http_server *server)
{
    struct http_watch *watch = &server->watch;

    watch->running = pthread_create(&watch->thread, NULL, watch_main, server) == 0;
    return watch->running ? ERR_NONE : ERR_UNAVAILABLE;
}

void http_watch_stop(struct http_server *server)
{
    struct http_watch *watch = &server->watch;

    if (!watch->cuts)
        return;
    if (watch->running) {
        pthread_mutex_lock(&watch->lock);
        watch->stopping = true;
        pthread_cond_signal(&watch->wake);
        pthread_mutex_unlock(&watch->lock);
        pthread_join(watch->thread, NULL);
    }
    pthread_cond_destroy(&watch->emptied);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    closedir(watch->descriptors);
    mem_free(watch->cuts);
}
