#include "common/rpc_health.h"

#include "common/log.h"
#include "common/mem.h"
#include "common/proto_arena.h"

#include "grpc/health/v1/health.pb-c.h"

#include <pthread.h>

#define NAME_MAX_BYTES 256 /* of a service; a watch keeps it */

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus Status;
#define UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN
#define SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING

/* One open Watch. Freed when its call is closed. */
struct watcher {
    struct watcher *next, **at; /* in the service's list; at: what points here */
    struct service *service;
    struct rpc_call *call;
    Status told;
    bool sending; /* the last message has not left yet; the next is sent when it has */
};

/* A name that is known, or that someone watches. */
struct service {
    struct service *next;
    char *name;
    Status status; /* UNKNOWN: only watched */
    struct watcher *watchers;
};

struct rpc_health {
    pthread_mutex_t lock; /* owns all below; held while watchers are sent to, so that none closes */
    struct service *services;
    bool stopped;
};

/* ---- services ---- */

static struct service **place_of(struct rpc_health *health, struct view name)
{
    struct service **at = &health->services;
    while (*at && !view_equal(view_of((*at)->name), name))
        at = &(*at)->next;
    return at;
}

/* Finds the service or adds it as UNKNOWN; NULL: memory is short. */
static struct service *add_service(struct rpc_health *health, struct view name)
{
    struct service **at = place_of(health, name);
    if (*at)
        return *at;
    struct service *service = mem_zero(1, sizeof *service);
    char *copy = mem_copy_text(name.data, name.len);
    if (!service || !copy) {
        mem_free(service);
        mem_free(copy);
        return NULL;
    }
    service->name = copy;
    service->status = UNKNOWN;
    *at = service;
    return service;
}

static void drop_if_unused(struct rpc_health *health, struct service *service)
{
    if (service->status != UNKNOWN || service->watchers)
        return;
    *place_of(health, view_of(service->name)) = service->next;
    mem_free(service->name);
    mem_free(service);
}

static bool set_known(struct rpc_health *health, struct view name)
{
    struct service *service = add_service(health, name);
    if (service)
        service->status = NOT_SERVING;
    return service != NULL;
}

enum err rpc_health_new(const struct rpc_method *methods, struct rpc_health **ret)
{
    struct rpc_health *health = mem_zero(1, sizeof *health);
    if (!health)
        return ERR_MEMORY;
    pthread_mutex_init(&health->lock, NULL);
    bool complete = set_known(health, VIEW(""));
    for (; complete && methods->path; methods++) {
        const char *name = methods->path + 1; /* "/service/Method" */
        complete = set_known(health, (struct view){name, strcspn(name, "/")});
    }
    if (!complete) {
        rpc_health_free(health);
        return ERR_MEMORY;
    }
    *ret = health;
    return ERR_NONE;
}

void rpc_health_free(struct rpc_health *health)
{
    if (!health)
        return;
    while (health->services) {
        struct service *service = health->services;
        health->services = service->next;
        mem_free(service->name);
        mem_free(service);
    }
    pthread_mutex_destroy(&health->lock);
    mem_free(health);
}

/* ---- messages ---- */

/* Two bytes: the field's tag and the status. */
static struct view status_encode(Status status, char room[8])
{
    Grpc__Health__V1__HealthCheckResponse m;
    grpc__health__v1__health_check_response__init(&m);
    m.status = status;
    _Static_assert(UNKNOWN < 128, "a status is one byte");
    return (struct view){room, grpc__health__v1__health_check_response__pack(&m, (uint8_t *)room)};
}

/* Calls `use` with the service's name, or fails the call. */
static void with_name(struct rpc_call *call, struct view request, struct rpc_health *health,
                      void (*use)(struct rpc_health *, struct rpc_call *, struct view name))
{
    _Alignas(max_align_t) char stack[1024];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, 4096);
    Grpc__Health__V1__HealthCheckRequest *m = grpc__health__v1__health_check_request__unpack(
        &arena.allocator, request.len, (const uint8_t *)request.data);
    if (!m)
        rpc_fail(call, arena.failed ? ERR_MEMORY : ERR_MALFORMED, "not a HealthCheckRequest");
    else if (strlen(m->service) > NAME_MAX_BYTES)
        rpc_fail(call, ERR_INVALID, "the service's name is too long");
    else
        use(health, call, view_of(m->service));
    proto_arena_free(&arena);
}

/* ---- Check ---- */

static void check(struct rpc_health *health, struct rpc_call *call, struct view name)
{
    pthread_mutex_lock(&health->lock);
    struct service *service = *place_of(health, name);
    Status status = service ? service->status : UNKNOWN;
    pthread_mutex_unlock(&health->lock);

    char room[8];
    struct err_detail detail;
    if (status != UNKNOWN)
        rpc_reply(call, status_encode(status, room));
    else
        rpc_fail(call,
                 err_set(&detail, ERR_NOT_FOUND, "there is no service %.*s here", (int)name.len,
                         name.data),
                 detail.text);
}

static void on_check(struct rpc_call *call, struct view request, void *ctx)
{
    with_name(call, request, ctx, check);
}

/* ---- Watch ---- */

/* Under the lock. */
static void tell(struct watcher *watcher, Status status)
{
    char room[8];
    if (watcher->sending || watcher->told == status)
        return;
    watcher->sending = true;
    watcher->told = status;
    rpc_send(watcher->call, status_encode(status, room));
}

static void link_watcher(struct watcher *watcher)
{
    struct service *service = watcher->service;
    watcher->next = service->watchers;
    watcher->at = &service->watchers;
    if (watcher->next)
        watcher->next->at = &watcher->next;
    service->watchers = watcher;
}

static void unlink_watcher(struct watcher *watcher)
{
    *watcher->at = watcher->next;
    if (watcher->next)
        watcher->next->at = watcher->at;
}

static void watch(struct rpc_health *health, struct rpc_call *call, struct view name)
{
    struct watcher *watcher = mem_zero(1, sizeof *watcher);
    pthread_mutex_lock(&health->lock);
    struct service *service = watcher ? add_service(health, name) : NULL;
    if (!service) {
        mem_free(watcher);
        rpc_fail(call, ERR_MEMORY, NULL);
    } else {
        *watcher = (struct watcher){.service = service, .call = call, .told = (Status)-1};
        link_watcher(watcher);
        rpc_set_user(call, watcher);
        tell(watcher, service->status);
    }
    pthread_mutex_unlock(&health->lock);
}

static void on_watch(struct rpc_call *call, struct view request, void *ctx)
{
    with_name(call, request, ctx, watch);
}

static void on_watch_writable(struct rpc_call *call, void *ctx)
{
    struct rpc_health *health = ctx;
    struct watcher *watcher = rpc_user(call);
    pthread_mutex_lock(&health->lock);
    watcher->sending = false;
    tell(watcher, watcher->service->status);
    pthread_mutex_unlock(&health->lock);
}

static void on_watch_closed(struct rpc_call *call, void *ctx)
{
    struct rpc_health *health = ctx;
    struct watcher *watcher = rpc_user(call);
    if (!watcher)
        return; /* was refused */
    pthread_mutex_lock(&health->lock);
    unlink_watcher(watcher);
    drop_if_unused(health, watcher->service);
    pthread_mutex_unlock(&health->lock);
    mem_free(watcher);
}

/* ---- changes ---- */

static void change(struct service *service, Status status)
{
    service->status = status;
    for (struct watcher *w = service->watchers; w; w = w->next)
        tell(w, status);
}

void rpc_health_change(struct rpc_health *health, const char *service_name, bool serving)
{
    pthread_mutex_lock(&health->lock);
    struct service *service = add_service(health, view_of(service_name));
    if (service)
        change(service, serving && !health->stopped ? SERVING : NOT_SERVING);
    else
        log_error("a service's health is not set: out of memory",
                  LOG_TEXT("service", service_name));
    pthread_mutex_unlock(&health->lock);
}

void rpc_health_stop(struct rpc_health *health)
{
    pthread_mutex_lock(&health->lock);
    health->stopped = true;
    for (struct service *s = health->services; s; s = s->next) {
        if (s->status != UNKNOWN)
            change(s, NOT_SERVING);
    }
    pthread_mutex_unlock(&health->lock);
}

const struct rpc_method rpc_health_methods[] = {
    {.path = "/grpc.health.v1.Health/Check", .kind = RPC_UNARY, .on_request = on_check},
    {.path = "/grpc.health.v1.Health/Watch",
     .kind = RPC_SERVER_STREAM,
     .on_request = on_watch,
     .on_writable = on_watch_writable,
     .on_closed = on_watch_closed},
    {.path = NULL},
};
