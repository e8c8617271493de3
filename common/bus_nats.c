#include "common/bus_nats.h"

#include "common/mem.h"

/* ---- the service link: requests, readers, consumers ---- */

static natsStatus service_begin(void *ctx, struct nats_session *session)
{
    (void)ctx;
    jsCtx *js = NULL;
    natsStatus s = natsConnection_JetStream(&js, session->nc, NULL);
    session->own = js;
    return s;
}

static void service_tend(void *ctx, struct nats_session *session)
{
    nats_logs_tend(ctx, session);
}

static void service_turn(void *ctx, struct nats_session *session)
{
    (void)ctx;
    (void)session;
}

static void service_down(void *ctx, struct nats_session *session)
{
    (void)ctx;
    (void)session;
}

static void service_end(void *ctx, struct nats_session *session)
{
    (void)ctx;
    jsCtx_Destroy(session->own);
}

static const struct nats_link_owner service_owner = {service_begin, service_tend, service_turn,
                                                     service_down, service_end};

/* ---- readiness ---- */

void nats_bus_changed(struct nats_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
}

static bool is_silent(struct nats_bus *bus, struct err_detail *detail)
{
    int64_t ms = nats_link_silence_ms(&bus->publisher.link);
    if (ms > NATS_SILENT_MS)
        (void)err_set(detail, ERR_UNAVAILABLE, "the bus has not answered for %lld ms",
                      (long long)ms);
    return ms > NATS_SILENT_MS;
}

static bool nats_is_connected(struct bus *base, struct err_detail *detail)
{
    struct nats_bus *bus = (struct nats_bus *)base;
    return nats_link_is_up(&bus->publisher.link, detail) &&
           nats_link_is_up(&bus->service, detail) && !is_silent(bus, detail);
}

static enum bus_state nats_state(struct bus *base, struct err_detail *detail)
{
    struct nats_bus *bus = (struct nats_bus *)base;
    if (detail)
        detail->text[0] = '\0';
    if (nats_logs_broken(bus, detail))
        return BUS_BROKEN;
    if (nats_is_connected(base, detail) && nats_logs_sound(bus, detail)) {
        atomic_store(&bus->was_ready, true);
        return BUS_READY;
    }
    return atomic_load(&bus->was_ready) ? BUS_AWAY : BUS_CONNECTING;
}

static enum err nats_wait_ready(struct bus *base, int64_t timeout_ms, struct err_detail *detail)
{
    enum { GLANCE_MS = 50 }; /* silence ends without anybody saying so */
    struct nats_bus *bus = (struct nats_bus *)base;
    int64_t deadline = nats_now_ms() + timeout_ms;
    for (;;) {
        enum bus_state state = nats_state(base, detail);
        int64_t now = nats_now_ms();
        if (state == BUS_READY)
            return ERR_NONE;
        if (state == BUS_BROKEN)
            return ERR_INVALID;
        if (now >= deadline)
            return ERR_DEADLINE;
        pthread_mutex_lock(&bus->lock);
        nats_cond_wait_until(&bus->changed, &bus->lock,
                             now + GLANCE_MS < deadline ? now + GLANCE_MS : deadline);
        pthread_mutex_unlock(&bus->lock);
    }
}

static uint32_t nats_in_flight(struct bus *base)
{
    struct nats_publisher *p = &((struct nats_bus *)base)->publisher;
    pthread_mutex_lock(&p->lock);
    uint32_t count = p->in_flight;
    pthread_mutex_unlock(&p->lock);
    return count;
}

static uint64_t nats_max_payload(struct bus *base)
{
    struct nats_publisher *p = &((struct nats_bus *)base)->publisher;
    pthread_mutex_lock(&p->lock);
    uint64_t bytes = p->max_payload;
    pthread_mutex_unlock(&p->lock);
    return bytes;
}

/* ---- opening and closing ---- */

static void bus_free(struct nats_bus *bus)
{
    nats_logs_free(bus);
    pthread_cond_destroy(&bus->changed);
    pthread_mutex_destroy(&bus->lock);
    mem_free(bus->url);
    mem_free(bus->name);
    mem_free(bus);
}

static struct nats_bus *bus_make(const struct bus_options *options)
{
    const char *name = options->name ? options->name : "tidings";
    struct nats_bus *bus = mem_zero(1, sizeof *bus);
    if (!bus)
        return NULL;
    bus->base.driver = &bus_nats_driver;
    bus->options = *options;
    bus->url = mem_copy_text(options->url, strlen(options->url));
    bus->name = mem_copy_text(name, strlen(name));
    pthread_mutex_init(&bus->lock, NULL);
    nats_cond_init(&bus->changed);
    if (bus->url && bus->name)
        return bus;
    bus_free(bus);
    return NULL;
}

static enum err nats_open(const struct bus_options *options, struct bus **ret,
                          struct err_detail *detail)
{
    /* Its locks are held while it writes to a socket: nothing to spin for. */
    if (nats_Open(0) != NATS_OK)
        return err_set(detail, ERR_INTERNAL, "the NATS library cannot be started");
    struct nats_bus *bus = bus_make(options);
    if (!bus)
        return err_set(detail, ERR_MEMORY, "no memory for the bus");
    enum err e = nats_link_start(&bus->service, bus, "service", &service_owner, bus);
    if (e == ERR_NONE) {
        e = nats_publisher_start(&bus->publisher, bus);
        if (e != ERR_NONE)
            nats_link_stop(&bus->service);
    }
    if (e != ERR_NONE) {
        bus_free(bus);
        return err_set(detail, e, "the bus's threads cannot be started");
    }
    *ret = &bus->base;
    return ERR_NONE;
}

static void nats_close(struct bus *base)
{
    struct nats_bus *bus = (struct nats_bus *)base;
    nats_link_end(&bus->publisher.link); /* both, so that they end side by side */
    nats_link_end(&bus->service);
    nats_publisher_stop(&bus->publisher);
    nats_link_stop(&bus->service);
    bus_free(bus);
}

const struct bus_driver bus_nats_driver = {
    .open = nats_open,
    .close = nats_close,
    .state = nats_state,
    .is_connected = nats_is_connected,
    .wait_ready = nats_wait_ready,
    .in_flight = nats_in_flight,
    .max_payload = nats_max_payload,
    .log_open = nats_log_open,
    .log_end = nats_log_end,
    .log_read = nats_log_read,
    .record_header = nats_record_header,
    .record_headers = nats_record_headers,
    .record_free = nats_record_free,
    .publish = nats_publish,
    .reader_open = nats_reader_open,
    .reader_close = nats_reader_close,
    .reader_next = nats_reader_next,
    .consumer_open = nats_consumer_open,
    .consumer_close = nats_consumer_close,
    .consumer_restart = nats_consumer_restart,
    .consumer_floor = nats_consumer_floor,
    .fetch = nats_fetch,
    .settle = nats_settle,
    .progress = nats_progress,
};
