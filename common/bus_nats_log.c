/* Streams as logs: opening them, asking for their end, reading by position. */
#include "common/bus_nats.h"

#include "common/mem.h"

#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>

static const int64_t NS_PER_MS = 1000000;

enum err nats_err_of(natsStatus status, jsErrCode code)
{
    if (code == JSStreamNotFoundErr || code == JSNoMessageFoundErr)
        return ERR_NOT_FOUND;
    switch (status) {
    case NATS_OK:
        return ERR_NONE;
    case NATS_NO_MEMORY:
        return ERR_MEMORY;
    case NATS_MAX_PAYLOAD:
        return ERR_TOO_LARGE;
    case NATS_NOT_FOUND:
        return ERR_NOT_FOUND;
    case NATS_TIMEOUT:
        return ERR_DEADLINE;
    default:
        return ERR_UNAVAILABLE;
    }
}

/* What the server said, without nats.c's "(jsm.c:1033): ". */
const char *nats_words(natsStatus status, jsErrCode code)
{
    if (code == JSNotEnabledErr)
        return "the server has no JetStream (nats-server -js, or jetstream {} in its "
               "configuration)";
    const char *text = code ? nats_GetLastError(NULL) : natsStatus_GetText(status);
    const char *words = text && *text == '(' ? strstr(text, "): ") : NULL;
    return words ? words + strlen("): ") : text ? text : "";
}

/* ---- opening ---- */

static void log_free(struct nats_log *log)
{
    mem_free(log->name);
    mem_free(log->subject);
    mem_free(log->about);
    mem_free(log);
}

void nats_logs_free(struct nats_bus *bus)
{
    while (bus->logs) {
        struct nats_log *next = bus->logs->next;
        log_free(bus->logs);
        bus->logs = next;
    }
}

enum err nats_log_open(struct bus *base, const struct bus_log_spec *spec, struct bus_log **ret)
{
    struct nats_bus *bus = (struct nats_bus *)base;
    struct nats_log *log = mem_zero(1, sizeof *log);
    if (!log)
        return ERR_MEMORY;
    log->base.bus = base;
    log->spec = *spec;
    log->name = mem_copy_text(spec->name, strlen(spec->name));
    log->subject = mem_copy_text(spec->subject, strlen(spec->subject));
    if (spec->about)
        log->about = mem_copy_text(spec->about, strlen(spec->about));
    if (!log->name || !log->subject || (spec->about && !log->about)) {
        log_free(log);
        return ERR_MEMORY;
    }
    log->spec.name = log->name;
    log->spec.subject = log->subject;
    log->spec.about = log->about;
    pthread_mutex_lock(&bus->lock);
    log->next = bus->logs;
    bus->logs = log;
    pthread_mutex_unlock(&bus->lock);
    nats_link_poke(&bus->service);
    *ret = &log->base;
    return ERR_NONE;
}

/* ---- asking ---- */

enum err nats_log_ask_end(struct nats_log *log, struct nats_session *session, int64_t timeout_ms,
                          struct bus_log_end *ret)
{
    jsOptions options;
    jsErrCode code = 0;
    jsStreamInfo *info = NULL;
    jsOptions_Init(&options);
    options.Wait = timeout_ms > 0 ? timeout_ms : 1;
    natsStatus s = js_GetStreamInfo(&info, nats_js(session), log->name, &options, &code);
    if (s != NATS_OK)
        return s == NATS_TIMEOUT ? ERR_DEADLINE : ERR_UNAVAILABLE;
    /* A new stream says first 0, an emptied one first = last + 1. */
    ret->last = info->State.LastSeq;
    ret->first = info->State.Msgs > 0 ? info->State.FirstSeq : ret->last + 1;
    ret->created_ns = info->Created;
    ret->last_time_ms = info->State.Msgs > 0 ? info->State.LastTime / 1000000 : 0;
    ret->count = info->State.Msgs;
    ret->max_age_ms = info->Config ? info->Config->MaxAge / 1000000 : 0;
    jsStreamInfo_Destroy(info);
    return ERR_NONE;
}

enum err nats_log_end(struct bus_log *base, int64_t timeout_ms, struct bus_log_end *ret)
{
    struct nats_session *session = nats_link_hold(&nats_bus_of(base)->service);
    if (!session)
        return ERR_UNAVAILABLE;
    enum err e = nats_log_ask_end((struct nats_log *)base, session, timeout_ms, ret);
    nats_session_release(session);
    return e;
}

static enum err ask_leader(struct nats_log *log, struct nats_session *session, uint64_t position,
                           int64_t timeout_ms, natsMsg **ret)
{
    jsOptions options;
    jsErrCode code = 0;
    jsOptions_Init(&options);
    options.Wait = timeout_ms > 0 ? timeout_ms : 1;
    natsStatus s = js_GetMsg(ret, nats_js(session), log->name, position, &options, &code);
    return code == JSStreamNotFoundErr ? ERR_UNAVAILABLE : nats_err_of(s, code);
}

enum err nats_log_ask_time(struct nats_log *log, struct nats_session *session, uint64_t position,
                           int64_t timeout_ms, int64_t *ret_ns)
{
    natsMsg *msg = NULL;
    enum err e = ask_leader(log, session, position, timeout_ms, &msg);
    if (e == ERR_NONE)
        *ret_ns = natsMsg_GetTime(msg);
    natsMsg_Destroy(msg);
    return e;
}

/* Takes the message out of the answer to a direct get, which says in headers what it is (ADR-31).
 * False: it is none. */
static bool take_direct(natsMsg *msg, uint64_t wanted, struct nats_origin *origin,
                        char **ret_subject)
{
    struct view subject = nats_raw_header(msg, "Nats-Subject");
    struct view position = nats_raw_header(msg, "Nats-Sequence");
    struct view time = nats_raw_header(msg, "Nats-Time-Stamp");
    int64_t ms = 0;
    if (nats_status_of(msg) != 0 || subject.len == 0 ||
        !view_parse_u64(position, &origin->position) || origin->position != wanted ||
        !clock_parse(time.data, time.len, &ms))
        return false;
    origin->time_ns = ms * NS_PER_MS;
    *ret_subject = mem_copy_text(subject.data, subject.len);
    return *ret_subject != NULL;
}

/* Not js_DirectGetMsg: that makes nats.c build its table of headers, which may take one for another
 * (see add_headers in bus_nats_publish.c). */
static natsStatus ask_directly(struct nats_log *log, struct nats_session *session,
                               uint64_t position, int64_t timeout_ms, natsMsg **ret)
{
    char subject[128];
    char body[32];
    snprintf(subject, sizeof subject, "$JS.API.DIRECT.GET.%s", log->name);
    int length = snprintf(body, sizeof body, "{\"seq\":%" PRIu64 "}", position);
    return natsConnection_Request(ret, session->nc, subject, body, length,
                                  timeout_ms > 0 ? timeout_ms : 1);
}

static enum err fill_from_leader(struct nats_log *log, struct nats_session *session,
                                 uint64_t position, int64_t timeout_ms, struct nats_record *record)
{
    natsMsg *msg = NULL;
    enum err e = ask_leader(log, session, position, timeout_ms, &msg);
    if (e != ERR_NONE)
        return e;
    struct nats_origin origin = {.position = natsMsg_GetSequence(msg),
                                 .time_ns = natsMsg_GetTime(msg)};
    nats_record_fill(record, msg, &origin);
    return ERR_NONE;
}

/* Any replica may answer a direct get, also one that lags: only the leader's "not found" counts. */
static enum err fill_record(struct nats_log *log, struct nats_session *session, uint64_t position,
                            int64_t timeout_ms, struct nats_record *record)
{
    natsMsg *msg = NULL;
    struct nats_origin origin = {0};
    char *subject = NULL;
    if (!atomic_load(&log->direct))
        return fill_from_leader(log, session, position, timeout_ms, record);
    natsStatus s = ask_directly(log, session, position, timeout_ms, &msg);
    if (s == NATS_TIMEOUT)
        return ERR_DEADLINE;
    if (s != NATS_OK || !take_direct(msg, position, &origin, &subject)) {
        natsMsg_Destroy(msg);
        return fill_from_leader(log, session, position, timeout_ms, record);
    }
    nats_record_fill(record, msg, &origin);
    record->subject = subject;
    record->box.record.subject = subject;
    return ERR_NONE;
}

enum err nats_log_read(struct bus_log *base, uint64_t position, int64_t timeout_ms,
                       struct bus_record **ret)
{
    struct nats_session *session = nats_link_hold(&nats_bus_of(base)->service);
    if (!session)
        return ERR_UNAVAILABLE;
    struct nats_record *record = mem_zero(1, sizeof *record);
    enum err e = ERR_MEMORY;
    if (record)
        e = fill_record((struct nats_log *)base, session, position, timeout_ms, record);
    nats_session_release(session);
    if (e != ERR_NONE) {
        mem_free(record);
        return e;
    }
    *ret = &record->box.record;
    return ERR_NONE;
}
