/* Following a log: an ephemeral push consumer with flow control and heartbeats, made anew
 * whenever anything is doubtful.
 *
 *     no inbox --- subscribe: verify, then make the consumer ---> following
 *         ^                                                          |
 *         '--- heartbeats or a delivery missing, connection gone ----'
 *
 * Every subscribing verifies that the log is the one followed so far: its creation time, its end,
 * and the time at which the last message read was stored (after a power loss a server may use
 * positions again). */
#include "common/bus_nats.h"

#include "common/log.h"
#include "common/mem.h"

#include <nats/nats.h>
#include <stdio.h>

enum {
    ASK_TIMEOUT_MS = 2000,
    HEARTBEAT_MS = 500,
    HEARTBEATS_MISSED_MS = 1600,
    RETRY_MS = 100,
    FORGET_MS = 5000, /* the server drops the consumer when nobody listens for so long */
};

static const int64_t NS_PER_MS = 1000000;

struct nats_reader {
    struct bus_reader base;
    bool headers_only;
    uint64_t next;      /* position to read next */
    int64_t created_ns; /* the life that is followed; 0: none seen yet */
    uint64_t last;      /* position last read; 0: none */
    int64_t last_ns;    /* when it was stored */
    bool stale;         /* for good */
    bool passed_hole;   /* and said so: one is news, others would be noise */

    struct nats_inbox *inbox; /* NULL: not following */
    struct nats_session *session;
    uint64_t delivery; /* of this consumer, the last one taken */

    struct nats_record *records; /* handed out until the next call */
    size_t record_count;
    size_t record_capacity;
};

enum err nats_reader_open(struct bus_log *log, uint64_t from, bool headers_only,
                          struct bus_reader **ret)
{
    struct nats_reader *reader = mem_zero(1, sizeof *reader);
    if (!reader)
        return ERR_MEMORY;
    reader->base.log = log;
    reader->next = from;
    reader->headers_only = headers_only;
    *ret = &reader->base;
    return ERR_NONE;
}

static void unsubscribe(struct nats_reader *reader)
{
    nats_inbox_close(reader->inbox);
    reader->inbox = NULL;
    nats_session_release(reader->session);
    reader->session = NULL;
}

static void take_back(struct nats_reader *reader)
{
    for (size_t i = 0; i < reader->record_count; ++i)
        natsMsg_Destroy(reader->records[i].msg);
    reader->record_count = 0;
}

void nats_reader_close(struct bus_reader *base)
{
    struct nats_reader *reader = (struct nats_reader *)base;
    take_back(reader);
    unsubscribe(reader);
    mem_free(reader->records);
    mem_free(reader);
}

/* ---- subscribing ---- */

/* Is it still the log that was followed? */
static enum err verify(struct nats_reader *reader, struct nats_session *session)
{
    struct nats_log *log = (struct nats_log *)reader->base.log;
    struct bus_log_end end;
    int64_t stored_ns = 0;
    enum err e = nats_log_ask_end(log, session, ASK_TIMEOUT_MS, &end);
    if (e != ERR_NONE)
        return e;
    if (reader->created_ns != 0 && reader->created_ns != end.created_ns)
        return ERR_STALE;
    if (reader->next > end.last + 1)
        return ERR_STALE;
    if (reader->last >= end.first && reader->last > 0) {
        e = nats_log_ask_time(log, session, reader->last, ASK_TIMEOUT_MS, &stored_ns);
        if (e == ERR_NOT_FOUND || (e == ERR_NONE && stored_ns != reader->last_ns))
            return ERR_STALE;
    }
    if (e == ERR_NONE)
        reader->created_ns = end.created_ns;
    return e;
}

static enum err make_consumer(struct nats_reader *reader, struct nats_session *session,
                              const char *inbox)
{
    struct nats_log *log = (struct nats_log *)reader->base.log;
    jsConsumerConfig config;
    jsOptions options;
    jsErrCode code = 0;
    jsOptions_Init(&options);
    options.Wait = ASK_TIMEOUT_MS;
    jsConsumerConfig_Init(&config);
    config.DeliverSubject = inbox;
    config.DeliverPolicy = js_DeliverByStartSequence;
    config.OptStartSeq = reader->next;
    config.AckPolicy = js_AckNone;
    config.ReplayPolicy = js_ReplayInstant;
    config.HeadersOnly = reader->headers_only;
    config.FlowControl = true;
    config.Heartbeat = HEARTBEAT_MS * NS_PER_MS;
    config.InactiveThreshold = FORGET_MS * NS_PER_MS;
    config.MemoryStorage = true;
    config.Replicas = 1;
    natsStatus s = js_AddConsumer(NULL, nats_js(session), log->name, &config, &options, &code);
    if (s != NATS_OK)
        log_debug("reader not made", LOG_TEXT("stream", log->name),
                  LOG_TEXT("reason", natsStatus_GetText(s)), LOG_I64("code", code));
    return s == NATS_TIMEOUT ? ERR_DEADLINE : s == NATS_OK ? ERR_NONE : ERR_UNAVAILABLE;
}

static enum err subscribe(struct nats_reader *reader, struct nats_session *session)
{
    struct nats_inbox *inbox = NULL;
    enum err e = verify(reader, session);
    if (e == ERR_NONE)
        e = nats_inbox_open(session, false, &inbox);
    if (e == ERR_NONE)
        e = make_consumer(reader, session, nats_inbox_subject(inbox));
    if (e != ERR_NONE) {
        nats_inbox_close(inbox);
        return e;
    }
    atomic_fetch_add(&session->refs, 1);
    reader->session = session;
    reader->inbox = inbox;
    reader->delivery = 0;
    return ERR_NONE;
}

/* When the heartbeats are to be missed, if no message comes before. */
static int64_t silent_at(const struct nats_reader *reader)
{
    return nats_inbox_heard_ms(reader->inbox) + HEARTBEATS_MISSED_MS;
}

/* Sees to it that the reader follows on the connection of now. ERR_STALE; ERR_UNAVAILABLE: not by
 * the deadline. */
static enum err follow(struct nats_reader *reader, int64_t deadline)
{
    if (reader->inbox && nats_now_ms() < silent_at(reader))
        return ERR_NONE;
    unsubscribe(reader);
    struct nats_session *session =
        nats_link_await(&nats_bus_of(reader->base.log)->service, deadline);
    if (!session)
        return ERR_UNAVAILABLE;
    enum err e = subscribe(reader, session);
    nats_session_release(session);
    return e;
}

/* ---- taking messages ---- */

/* Positions are missing before this one, and no delivery is: the server has nothing there. The
 * log's head may have been dropped; else it lost, or was told to delete, something in its middle,
 * and reading on is all that can be done. */
static enum err pass_hole(struct nats_reader *reader, uint64_t position)
{
    struct nats_log *log = (struct nats_log *)reader->base.log;
    struct bus_log_end end;
    enum err e = nats_log_ask_end(log, reader->session, ASK_TIMEOUT_MS, &end);
    if (e == ERR_NONE && end.created_ns != reader->created_ns)
        e = ERR_STALE;
    if (e == ERR_NONE && end.first < position && !reader->passed_hole) {
        log_warn("log has a hole", LOG_TEXT("stream", log->name), LOG_U64("from", reader->next),
                 LOG_U64("to", position - 1));
        reader->passed_hole = true;
    }
    return e;
}

static enum err take_record(struct nats_reader *reader, natsMsg *msg,
                            const struct nats_origin *origin)
{
    enum err e = ERR_NONE;
    if (origin->delivery != reader->delivery + 1 || origin->position < reader->next)
        return ERR_UNAVAILABLE; /* a delivery got lost on the way */
    if (origin->position > reader->next)
        e = pass_hole(reader, origin->position);
    if (e != ERR_NONE)
        return e;
    reader->delivery = origin->delivery;
    reader->next = origin->position + 1;
    reader->last = origin->position;
    reader->last_ns = origin->time_ns;
    nats_record_fill(&reader->records[reader->record_count++], msg, origin);
    return ERR_NONE;
}

/* Flow control asks for an answer when everything before it has been taken; heartbeats say how
 * far the consumer has got. */
static enum err take_control(struct nats_reader *reader, natsMsg *msg)
{
    natsConnection *nc = reader->session->nc;
    const char *reply = natsMsg_GetReply(msg);
    struct view stalled = nats_raw_header(msg, "Nats-Consumer-Stalled");
    struct view last = nats_raw_header(msg, "Nats-Last-Consumer");
    char subject[256];
    uint64_t delivery = reader->delivery;
    if (last.len > 0 && (!view_parse_u64(last, &delivery) || delivery != reader->delivery))
        return ERR_UNAVAILABLE;
    if (!reply && stalled.len > 0) {
        snprintf(subject, sizeof subject, "%.*s", (int)stalled.len, stalled.data);
        reply = subject;
    }
    if (reply && natsConnection_Publish(nc, reply, NULL, 0) != NATS_OK)
        return ERR_UNAVAILABLE;
    return ERR_NONE;
}

/* What the server says about the consumer comes on the inbox itself; anything else there is
 * nobody's. */
static enum err take_status(struct nats_reader *reader, natsMsg *msg)
{
    bool ours = strcmp(natsMsg_GetSubject(msg), nats_inbox_subject(reader->inbox)) == 0;
    int status = ours ? nats_status_of(msg) : 0;
    if (status == 0)
        return ERR_NONE;
    return status == 100 ? take_control(reader, msg) : ERR_UNAVAILABLE;
}

/* A delivery is known by where it comes from: its headers are a publisher's, and may look like a
 * status of the server's. */
static enum err take(struct nats_reader *reader, natsMsg *msg)
{
    struct nats_origin origin;
    bool delivery = nats_origin_parse(natsMsg_GetReply(msg), &origin);
    enum err e = delivery ? take_record(reader, msg, &origin) : take_status(reader, msg);
    if (!delivery || e != ERR_NONE)
        natsMsg_Destroy(msg);
    return e;
}

static enum err take_next(struct nats_reader *reader, int64_t until)
{
    natsMsg *msg = NULL;
    enum err e = nats_inbox_next(reader->inbox, until, &msg);
    return e == ERR_NONE ? take(reader, msg) : e;
}

/* Waits for a record until the deadline, or until the heartbeats have stopped. */
static enum err take_first(struct nats_reader *reader, int64_t deadline)
{
    enum err e = ERR_NONE;
    while (e == ERR_NONE && reader->record_count == 0) {
        int64_t silent = silent_at(reader);
        e = take_next(reader, deadline < silent ? deadline : silent);
    }
    return e;
}

/* Whatever goes wrong behind the first record is for the next call to find out, or to say. */
static void take_rest(struct nats_reader *reader, size_t max)
{
    enum err e = ERR_NONE;
    while (e == ERR_NONE && reader->record_count < max)
        e = take_next(reader, 0);
    reader->stale = e == ERR_STALE;
    if (e != ERR_NONE && e != ERR_DEADLINE)
        unsubscribe(reader);
}

static enum err wait_for_first(struct nats_reader *reader, int64_t deadline)
{
    for (;;) {
        enum err e = follow(reader, deadline);
        bool following = e == ERR_NONE;
        if (following)
            e = take_first(reader, deadline);
        if (e == ERR_NONE)
            return ERR_NONE;
        if (!following || e != ERR_DEADLINE)
            unsubscribe(reader);
        if (e == ERR_STALE || e == ERR_MEMORY)
            return e;
        if (nats_now_ms() >= deadline)
            return following && e == ERR_DEADLINE ? ERR_DEADLINE : ERR_UNAVAILABLE;
        if (!following)
            nats_link_pause(&nats_bus_of(reader->base.log)->service, RETRY_MS);
    }
}

static bool make_room(struct nats_reader *reader, size_t max)
{
    if (max <= reader->record_capacity)
        return true;
    struct nats_record *grown = mem_grow(reader->records, max, sizeof *grown);
    if (!grown)
        return false;
    reader->records = grown;
    reader->record_capacity = max;
    return true;
}

enum err nats_reader_next(struct bus_reader *base, int64_t timeout_ms, struct bus_record **ret,
                          size_t max, size_t *ret_count)
{
    struct nats_reader *reader = (struct nats_reader *)base;
    take_back(reader);
    if (!make_room(reader, max))
        return ERR_MEMORY;
    enum err e = ERR_STALE;
    if (!reader->stale)
        e = wait_for_first(reader, nats_now_ms() + timeout_ms);
    reader->stale = e == ERR_STALE;
    if (e != ERR_NONE)
        return e;
    take_rest(reader, max);
    for (size_t i = 0; i < reader->record_count; ++i)
        ret[i] = &reader->records[i].box.record;
    *ret_count = reader->record_count;
    return ERR_NONE;
}
