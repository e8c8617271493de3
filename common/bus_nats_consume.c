/* Sharing a log's work: one durable pull consumer a group, made where missing at each new
 * connection.
 *
 * A fetch asks for what is there (`no_wait`), and only if that is nothing for one message to
 * come, so it never waits for a batch to be full. Almost nothing stays asked for when a fetch
 * returns, so that no message lies here, its ack_wait running, while nobody fetches: a request is
 * over when it is filled, when its last message says that nothing is pending, or with a status.
 * One thing ends it with neither, max_ack_pending, so it also is over when its messages stop
 * coming, and the server forgets it soon after (`expires`); what comes in between is the next
 * fetch's.
 */
#include "common/bus_nats.h"

#include "common/log.h"
#include "common/mem.h"

#include <nats/nats.h>
#include <stdio.h>

enum {
    ASK_TIMEOUT_MS = 2000,
    NO_WAIT_EXPIRES_MS = 50,
    LONGEST_WAIT_MS = 5000, /* of one request; a lost one is noticed by then */
    GRACE_MS = 500,         /* after it expired, for its status to arrive */
    NO_LIMIT = 1 << 30,     /* nats.c doesn't pass on -1, and without any it is 1,000 */
    GAP_MS = 5,             /* without a message, in the middle of a batch: no more will come */
    RETRY_MS = 100,
    FETCH_BYTES = 16 * 1024 * 1024, /* at once: the server drops a connection with 64 MiB queued */
    BEHIND_MS = 2000,               /* a new leader may answer before it has applied all it knows */
};

static const int64_t NS_PER_MS = 1000000;

struct nats_consumer {
    struct bus_consumer base;
    char *group;
    struct bus_consumer_spec spec;
    struct nats_session *session; /* of the inbox */
    struct nats_inbox *inbox;     /* NULL: none */
    bool made;                    /* the server's consumer exists, as far as we know */
    uint64_t request;             /* its number is the last token of the reply subject */
    int64_t fetched_ms;           /* when the last fetch returned */
    jsErrCode complaint;          /* why it could not be made, logged already */
    int64_t behind_ms;            /* since when the log has ended before it; 0: it does not */
};

struct nats_delivery {
    struct bus_delivery delivery;
    struct nats_record record;
    struct nats_bus *bus;
};

/* ---- the consumer ---- */

enum err nats_consumer_open(struct bus_log *log, const struct bus_consumer_spec *spec,
                            struct bus_consumer **ret)
{
    struct nats_consumer *consumer = mem_zero(1, sizeof *consumer);
    char *group = mem_copy_text(spec->group, strlen(spec->group));
    if (!consumer || !group) {
        mem_free(consumer);
        mem_free(group);
        return ERR_MEMORY;
    }
    consumer->base.log = log;
    consumer->group = group;
    consumer->spec = *spec;
    *ret = &consumer->base;
    return ERR_NONE;
}

static void send_answer(struct nats_bus *bus, const char *to, const char *answer)
{
    struct nats_session *session = nats_link_hold(&bus->service);
    if (!session)
        return; /* lost with the connection: it is delivered again */
    nats_link_quiet = true;
    natsStatus s = natsConnection_PublishString(session->nc, to, answer);
    nats_link_quiet = false;
    if (s == NATS_OK)
        nats_link_write_soon(&bus->service);
    nats_session_release(session);
}

static void detach(struct nats_consumer *consumer)
{
    nats_inbox_close(consumer->inbox);
    consumer->inbox = NULL;
    nats_session_release(consumer->session);
    consumer->session = NULL;
    consumer->made = false;
}

/* What came after the last fetch goes back, for others to take. */
static void return_messages(struct nats_consumer *consumer, const char *answer)
{
    struct nats_origin origin;
    natsMsg *msg = NULL;
    while (consumer->inbox && nats_inbox_next(consumer->inbox, 0, &msg) == ERR_NONE) {
        if (answer && nats_origin_parse(natsMsg_GetReply(msg), &origin))
            send_answer(nats_bus_of(consumer->base.log), natsMsg_GetReply(msg), answer);
        natsMsg_Destroy(msg);
    }
}

void nats_consumer_close(struct bus_consumer *base)
{
    struct nats_consumer *consumer = (struct nats_consumer *)base;
    return_messages(consumer, "-NAK");
    detach(consumer);
    mem_free(consumer->group);
    mem_free(consumer);
}

/* Makes it where missing. Returns how far it has got in the log. */
static enum err make_consumer(struct nats_consumer *consumer, struct nats_session *session,
                              uint64_t *ret_delivered)
{
    jsConsumerInfo *info = NULL;
    struct nats_log *log = (struct nats_log *)consumer->base.log;
    jsConsumerConfig config;
    jsOptions options;
    jsErrCode code = 0;
    jsOptions_Init(&options);
    options.Wait = ASK_TIMEOUT_MS;
    jsConsumerConfig_Init(&config);
    config.Durable = consumer->group;
    config.DeliverPolicy = js_DeliverAll;
    config.AckPolicy = js_AckExplicit;
    config.ReplayPolicy = js_ReplayInstant;
    config.AckWait = consumer->spec.ack_wait_ms * NS_PER_MS;
    uint32_t limit = consumer->spec.max_ack_pending;
    config.MaxAckPending = limit != 0 ? (int64_t)limit : NO_LIMIT;
    config.MaxDeliver = -1;
    natsStatus s = js_AddConsumer(&info, nats_js(session), log->name, &config, &options, &code);
    if (code != 0 && code != consumer->complaint)
        log_warn("consumer not made", LOG_TEXT("stream", log->name),
                 LOG_TEXT("group", consumer->group), LOG_TEXT("reason", nats_words(s, code)));
    consumer->complaint = code;
    if (s != NATS_OK)
        return ERR_UNAVAILABLE;
    *ret_delivered = info->Delivered.Stream;
    jsConsumerInfo_Destroy(info);
    return ERR_NONE;
}

static enum err delete_consumer(const struct nats_consumer *consumer, struct nats_session *session,
                                int64_t timeout_ms)
{
    const struct nats_log *log = (const struct nats_log *)consumer->base.log;
    jsOptions options;
    jsErrCode code = 0;
    jsOptions_Init(&options);
    options.Wait = timeout_ms > 0 ? timeout_ms : 1;
    natsStatus s = js_DeleteConsumer(nats_js(session), log->name, consumer->group, &options, &code);
    if (code == JSConsumerNotFoundErr)
        return ERR_NONE;
    return s == NATS_TIMEOUT ? ERR_DEADLINE : s == NATS_OK ? ERR_NONE : ERR_UNAVAILABLE;
}

/* A server that loses its log's tail keeps how far the consumer had got in it, and would never
 * deliver what is stored at these positions anew. */
static enum err check_tail(struct nats_consumer *consumer, struct nats_session *session,
                           uint64_t delivered)
{
    struct nats_log *log = (struct nats_log *)consumer->base.log;
    struct bus_log_end end;
    enum err e = nats_log_ask_end(log, session, ASK_TIMEOUT_MS, &end);
    if (e != ERR_NONE)
        return e;
    bool behind = end.last < delivered;
    if (!behind || consumer->behind_ms == 0)
        consumer->behind_ms = behind ? nats_now_ms() : 0;
    if (!behind)
        return ERR_NONE;
    if (nats_now_ms() - consumer->behind_ms >= BEHIND_MS) {
        log_warn("log lost its tail: consumer made anew", LOG_TEXT("stream", log->name),
                 LOG_TEXT("group", consumer->group), LOG_U64("delivered", delivered),
                 LOG_U64("last", end.last));
        e = delete_consumer(consumer, session, ASK_TIMEOUT_MS);
    }
    return e == ERR_NONE ? ERR_UNAVAILABLE : e; /* to be made again, or looked at again */
}

/* Sees to it that the consumer exists and its messages reach us on the connection of now. */
static enum err attach(struct nats_consumer *consumer, int64_t deadline)
{
    struct nats_bus *bus = nats_bus_of(consumer->base.log);
    if (!consumer->inbox) {
        struct nats_session *session = nats_link_await(&bus->service, deadline);
        if (!session)
            return ERR_UNAVAILABLE;
        enum err e = nats_inbox_open(session, true, &consumer->inbox);
        if (e != ERR_NONE) {
            nats_session_release(session);
            return e;
        }
        consumer->session = session;
    }
    uint64_t delivered = 0;
    if (consumer->made)
        return ERR_NONE;
    if (make_consumer(consumer, consumer->session, &delivered) != ERR_NONE ||
        check_tail(consumer, consumer->session, delivered) != ERR_NONE)
        return ERR_UNAVAILABLE;
    consumer->made = true;
    return ERR_NONE;
}

enum err nats_consumer_restart(struct bus_consumer *base, int64_t timeout_ms)
{
    struct nats_consumer *consumer = (struct nats_consumer *)base;
    int64_t deadline = nats_now_ms() + timeout_ms;
    struct nats_session *session = nats_link_await(&nats_bus_of(base->log)->service, deadline);
    if (!session)
        return ERR_UNAVAILABLE;
    enum err e = delete_consumer(consumer, session, deadline - nats_now_ms());
    nats_session_release(session);
    if (e == ERR_NONE)
        detach(consumer); /* with what lies there, which is delivered again */
    return e;
}

enum err nats_consumer_floor(struct bus_consumer *base, int64_t timeout_ms, uint64_t *ret_position)
{
    const struct nats_consumer *consumer = (const struct nats_consumer *)base;
    const struct nats_log *log = (const struct nats_log *)base->log;
    struct nats_session *session = nats_link_hold(&nats_bus_of(base->log)->service);
    if (!session)
        return ERR_UNAVAILABLE;
    jsConsumerInfo *info = NULL;
    jsOptions options;
    jsErrCode code = 0;
    jsOptions_Init(&options);
    options.Wait = timeout_ms > 0 ? timeout_ms : 1;
    natsStatus s =
        js_GetConsumerInfo(&info, nats_js(session), log->name, consumer->group, &options, &code);
    nats_session_release(session);
    if (s != NATS_OK && code != JSConsumerNotFoundErr)
        return s == NATS_TIMEOUT ? ERR_DEADLINE : ERR_UNAVAILABLE;
    *ret_position = info ? info->AckFloor.Stream : 0;
    jsConsumerInfo_Destroy(info);
    return ERR_NONE;
}

/* ---- requests ---- */

/* The largest message must fit. */
static int64_t bytes_at_once(const struct nats_session *session)
{
    int64_t largest = 2 * natsConnection_GetMaxPayload(session->nc);
    return largest > FETCH_BYTES ? largest : FETCH_BYTES;
}

/* Asks for up to `batch` messages; wait_ms 0: only what is there. */
static enum err ask(struct nats_consumer *consumer, size_t batch, int64_t wait_ms)
{
    const struct nats_log *log = (const struct nats_log *)consumer->base.log;
    char subject[512];
    char reply[128];
    char body[128];
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", log->name,
             consumer->group);
    snprintf(reply, sizeof reply, "%s.%llu", nats_inbox_subject(consumer->inbox),
             (unsigned long long)++consumer->request);
    int64_t expires_ms = wait_ms > 0 ? wait_ms : NO_WAIT_EXPIRES_MS;
    snprintf(body, sizeof body, "{\"batch\":%zu,\"max_bytes\":%lld,\"expires\":%lld%s}", batch,
             (long long)bytes_at_once(consumer->session), (long long)(expires_ms * NS_PER_MS),
             wait_ms > 0 ? "" : ",\"no_wait\":true");
    nats_link_quiet = true;
    natsStatus s = natsConnection_PublishRequestString(consumer->session->nc, subject, reply, body);
    nats_link_quiet = false;
    nats_link_write(&nats_bus_of(consumer->base.log)->service);
    return nats_err_of(s, 0);
}

/* Does this status end the request of now? */
static bool is_mine(const struct nats_consumer *consumer, natsMsg *msg)
{
    const char *subject = natsMsg_GetSubject(msg);
    size_t inbox = strlen(nats_inbox_subject(consumer->inbox));
    uint64_t number = 0;
    return strlen(subject) > inbox && view_parse_u64(view_of(subject + inbox + 1), &number) &&
           number == consumer->request;
}

struct batch {
    struct bus_delivery **deliveries;
    size_t count;
    size_t max;
    int64_t bytes; /* of payloads; once there are FETCH_BYTES, the rest is for the next fetch */
    bool over;     /* the request has ended */
};

static bool is_full(const struct batch *batch)
{
    return batch->count == batch->max || batch->bytes >= FETCH_BYTES;
}

static enum err take_delivery(struct nats_consumer *consumer, natsMsg *msg,
                              const struct nats_origin *origin, struct batch *batch)
{
    struct nats_delivery *d = mem_zero(1, sizeof *d);
    if (!d)
        return ERR_MEMORY;
    nats_record_fill(&d->record, msg, origin);
    d->bus = nats_bus_of(consumer->base.log);
    d->delivery.record = &d->record.box.record;
    d->delivery.delivered = origin->delivered;
    batch->deliveries[batch->count++] = &d->delivery;
    batch->bytes += (int64_t)d->record.box.record.payload.len;
    batch->over = origin->pending == 0;
    return ERR_NONE;
}

/* 404: no messages; 408: time is up; 409: the consumer is gone, or a limit, max_bytes for one;
 * 503: no such consumer. */
static void take_status(struct nats_consumer *consumer, natsMsg *msg, struct batch *batch)
{
    int status = nats_status_of(msg);
    if (status == 0 || !is_mine(consumer, msg))
        return; /* nobody's, or of an earlier request */
    batch->over = true;
    if (status == 503 || nats_status_says(msg, "Consumer Deleted"))
        consumer->made = false;
}

/* Takes one message: a delivery, which is known by where it comes from (its headers are a
 * publisher's), or a status. ERR_UNAVAILABLE: the connection is gone. */
static enum err take(struct nats_consumer *consumer, int64_t until, struct batch *batch)
{
    struct nats_origin origin;
    natsMsg *msg = NULL;
    enum err e = nats_inbox_next(consumer->inbox, until, &msg);
    if (e != ERR_NONE)
        return e;
    bool delivery = nats_origin_parse(natsMsg_GetReply(msg), &origin);
    if (delivery)
        e = take_delivery(consumer, msg, &origin, batch);
    else
        take_status(consumer, msg, batch);
    if (!delivery || e != ERR_NONE)
        natsMsg_Destroy(msg);
    return e;
}

/* Sends a request and takes its messages until it is over. ERR_DEADLINE: nothing is known of it. */
static enum err request(struct nats_consumer *consumer, struct batch *batch, size_t count,
                        int64_t wait_ms)
{
    size_t before = batch->count;
    int64_t expires_ms = wait_ms > 0 ? wait_ms : NO_WAIT_EXPIRES_MS;
    int64_t until = nats_now_ms() + expires_ms + GRACE_MS;
    batch->over = false;
    enum err e = ask(consumer, count, wait_ms);
    while (e == ERR_NONE && batch->count < before + count && !is_full(batch) && !batch->over) {
        e = take(consumer, until, batch);
        if (batch->count > before)
            until = nats_now_ms() + GAP_MS;
    }
    if (e == ERR_DEADLINE && batch->count == before)
        consumer->made = false; /* no answer: it may be gone */
    return e;
}

/* One round: what came late, else what is there, else the first to come. */
static enum err fetch_once(struct nats_consumer *consumer, int64_t deadline, struct batch *batch)
{
    enum err e = attach(consumer, deadline);
    while (e == ERR_NONE && !is_full(batch))
        e = take(consumer, 0, batch);
    if (e == ERR_DEADLINE)
        e = batch->count > 0 ? ERR_NONE : request(consumer, batch, batch->max, 0);
    int64_t left = deadline - nats_now_ms();
    if (e == ERR_NONE && batch->count == 0 && left > 0)
        e = request(consumer, batch, 1, left < LONGEST_WAIT_MS ? left : LONGEST_WAIT_MS);
    return e;
}

static enum err fetch(struct nats_consumer *consumer, int64_t deadline, struct batch *batch)
{
    struct nats_link *link = &nats_bus_of(consumer->base.log)->service;
    for (;;) {
        enum err e = fetch_once(consumer, deadline, batch);
        if (e == ERR_UNAVAILABLE)
            detach(consumer);
        if (batch->count > 0)
            return ERR_NONE;
        if (e == ERR_MEMORY)
            return e;
        if (nats_now_ms() >= deadline)
            return e == ERR_NONE ? ERR_DEADLINE : ERR_UNAVAILABLE;
        if (e != ERR_NONE)
            nats_link_pause(link, RETRY_MS);
    }
}

enum err nats_fetch(struct bus_consumer *base, int64_t timeout_ms, struct bus_delivery **ret,
                    size_t max, size_t *ret_count)
{
    struct nats_consumer *consumer = (struct nats_consumer *)base;
    struct batch batch = {.deliveries = ret, .max = max};
    int64_t now = nats_now_ms();
    /* What lies here for so long has been delivered again by now. */
    if (now - consumer->fetched_ms >= consumer->spec.ack_wait_ms)
        return_messages(consumer, NULL);
    enum err e = fetch(consumer, now + timeout_ms, &batch);
    consumer->fetched_ms = nats_now_ms();
    if (e == ERR_NONE)
        *ret_count = batch.count;
    return e;
}

/* ---- deliveries ---- */

void nats_settle(struct bus_delivery *base, enum bus_settlement how, int64_t delay_ms)
{
    struct nats_delivery *d = (struct nats_delivery *)base;
    const char *to = natsMsg_GetReply(d->record.msg);
    char retry[64];
    if (how == BUS_ACK)
        send_answer(d->bus, to, "+ACK");
    if (how == BUS_RETRY && delay_ms == 0)
        send_answer(d->bus, to, "-NAK");
    if (how == BUS_RETRY && delay_ms > 0) {
        snprintf(retry, sizeof retry, "-NAK {\"delay\": %lld}", (long long)(delay_ms * NS_PER_MS));
        send_answer(d->bus, to, retry);
    }
    natsMsg_Destroy(d->record.msg);
    mem_free(d);
}

void nats_progress(struct bus_delivery *base)
{
    struct nats_delivery *d = (struct nats_delivery *)base;
    send_answer(d->bus, natsMsg_GetReply(d->record.msg), "+WPI");
}
