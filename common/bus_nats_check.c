/* Streams are made where missing, and checked where they exist: at each new connection, then now
 * and then. */
#include "common/bus_nats.h"

#include "common/log.h"

#include <nats/nats.h>
#include <stdio.h>

enum {
    ASK_TIMEOUT_MS = 2000,
    RECHECK_SOUND_MS = 5000, /* an operator may have deleted it, */
    RECHECK_SOON_MS = 2000,  /* or mended it */
};

static const int64_t NS_PER_MS = 1000000;

/* Logs are only ever added, at the list's head, and live as long as the bus. */
static struct nats_log *first_log(struct nats_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    struct nats_log *log = bus->logs;
    pthread_mutex_unlock(&bus->lock);
    return log;
}

/* ---- making and checking ---- */

static natsStatus make_stream(const struct nats_log *log, jsCtx *js, jsOptions *options,
                              jsStreamInfo **ret, jsErrCode *ret_code)
{
    const struct bus_log_spec *spec = &log->spec;
    const char *subjects[] = {log->subject};
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = log->name;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    bool queue = spec->kind == BUS_LOG_WORK_QUEUE;
    config.Retention = queue ? js_WorkQueuePolicy : js_LimitsPolicy;
    config.Discard = js_DiscardNew;
    config.DenyDelete = true;
    config.DenyPurge = !queue;
    config.AllowDirect = true;
    config.Replicas = spec->replicas;
    config.MaxBytes = spec->max_bytes ? (int64_t)spec->max_bytes : -1;
    config.MaxAge = spec->max_age_ms * NS_PER_MS;
    config.Duplicates = spec->duplicate_window_ms * NS_PER_MS;
    natsStatus s = js_AddStream(ret, js, &config, options, ret_code);
    if (s == NATS_OK)
        log_info("log made", LOG_TEXT("stream", log->name), LOG_TEXT("subject", log->subject));
    return s;
}

/* Only an operator can mend these. Anything else may pass: a cluster that is not complete yet, an
 * account that is not enabled yet, a limit that is raised. */
static bool is_hopeless(jsErrCode code)
{
    return code == JSStreamInvalidConfig || code == JSStreamSubjectOverlapErr ||
           code == JSStreamReplicasNotSupportedErr;
}

/* How long the log that this one's records are about keeps its own, in ns; 0: for ever. A stream
 * that isn't there yet is made with the age that it was opened with. */
static natsStatus ask_age(struct nats_bus *bus, const char *name, jsCtx *js, jsOptions *options,
                          int64_t *ret_ns, jsErrCode *ret_code)
{
    jsStreamInfo *info = NULL;
    natsStatus s = js_GetStreamInfo(&info, js, name, options, ret_code);
    if (s == NATS_OK)
        *ret_ns = info->Config->MaxAge;
    jsStreamInfo_Destroy(info);
    if (nats_err_of(s, *ret_code) != ERR_NOT_FOUND)
        return s;
    for (const struct nats_log *log = first_log(bus); log; log = log->next)
        if (strcmp(log->name, name) == 0)
            *ret_ns = log->spec.max_age_ms * NS_PER_MS;
    return NATS_OK;
}

/* Asks for what nats.c doesn't tell: settings that are newer than it. */
static natsStatus ask_newer(const struct nats_log *log, struct nats_session *session,
                            struct nats_stream *ret)
{
    char subject[128];
    natsMsg *msg = NULL;
    snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", log->name);
    natsStatus s = natsConnection_RequestString(&msg, session->nc, subject, "{}", ASK_TIMEOUT_MS);
    if (s == NATS_OK &&
        !nats_stream_read_newer(
            (struct view){natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)}, ret))
        s = NATS_PROTOCOL_ERROR;
    natsMsg_Destroy(msg);
    return s;
}

static natsStatus examine(struct nats_bus *bus, struct nats_log *log, struct nats_session *session,
                          jsOptions *options, const jsStreamConfig *config, bool *ret_sound,
                          struct err_detail *detail)
{
    struct nats_stream stream = {.config = config};
    jsErrCode code = 0;
    natsStatus s = ask_newer(log, session, &stream);
    if (s == NATS_OK && log->about)
        s = ask_age(bus, log->about, nats_js(session), options, &stream.age_about_ns, &code);
    if (s == NATS_OK)
        *ret_sound = nats_stream_is_sound(log, &stream, detail);
    else
        (void)err_set(detail, ERR_UNAVAILABLE, "stream %s: %s", log->name, nats_words(s, code));
    return s;
}

/* One that was just there is being deleted: the server answers for it before its files are gone,
 * and would remove those of one that is made meanwhile. */
static enum nats_log_state check(struct nats_bus *bus, struct nats_log *log, bool was_there,
                                 struct nats_session *session, struct err_detail *detail)
{
    enum nats_log_state state = NATS_LOG_UNCHECKED;
    jsOptions options;
    jsErrCode code = 0;
    jsStreamInfo *info = NULL;
    bool sound = false;
    jsOptions_Init(&options);
    options.Wait = ASK_TIMEOUT_MS;
    natsStatus s = js_GetStreamInfo(&info, nats_js(session), log->name, &options, &code);
    if (nats_err_of(s, code) == ERR_NOT_FOUND && was_there) {
        (void)err_set(detail, ERR_UNAVAILABLE, "stream %s was deleted", log->name);
        return NATS_LOG_DELETED;
    }
    if (nats_err_of(s, code) == ERR_NOT_FOUND) {
        s = make_stream(log, nats_js(session), &options, &info, &code);
        state = is_hopeless(code) ? NATS_LOG_BROKEN : NATS_LOG_MISSING;
    }
    if (s != NATS_OK) {
        (void)err_set(detail, ERR_UNAVAILABLE, "stream %s: %s", log->name, nats_words(s, code));
        return state;
    }
    s = examine(bus, log, session, &options, info->Config, &sound, detail);
    atomic_store(&log->direct, info->Config->AllowDirect);
    jsStreamInfo_Destroy(info);
    if (s != NATS_OK)
        return NATS_LOG_UNCHECKED;
    return sound ? NATS_LOG_SOUND : NATS_LOG_BROKEN;
}

static bool is_due(const struct nats_log *log, uint64_t round)
{
    bool known = log->state == NATS_LOG_BROKEN || log->state == NATS_LOG_DELETED ||
                 atomic_load(&log->sound_round) == round;
    return !known || nats_now_ms() >= log->due_ms;
}

static void report(const struct nats_log *log, enum nats_log_state state, const char *detail)
{
    if (state == NATS_LOG_SOUND || (state == log->state && strcmp(detail, log->detail.text) == 0))
        return; /* said before */
    if (state == NATS_LOG_BROKEN)
        log_error("log is broken", LOG_TEXT("detail", detail));
    else
        log_warn("log not ready", LOG_TEXT("detail", detail));
}

/* A question that was not answered takes nothing away from what is known in this round: publishing
 * may work all the same. */
static void note(struct nats_bus *bus, struct nats_log *log, uint64_t round,
                 enum nats_log_state state, const struct err_detail *detail)
{
    bool stays = state == NATS_LOG_UNCHECKED && atomic_load(&log->sound_round) == round;
    pthread_mutex_lock(&bus->lock);
    report(log, state, detail->text);
    log->due_ms = nats_now_ms() + (state == NATS_LOG_SOUND ? RECHECK_SOUND_MS : RECHECK_SOON_MS);
    log->detail = *detail;
    if (!stays)
        log->state = state;
    pthread_mutex_unlock(&bus->lock);
    if (!stays)
        atomic_store(&log->sound_round, state == NATS_LOG_SOUND ? round : 0);
}

static void tend(struct nats_bus *bus, struct nats_log *log, struct nats_session *session)
{
    uint64_t round = atomic_load(&bus->round);
    struct err_detail detail = {""};
    pthread_mutex_lock(&bus->lock);
    bool due = round > 0 && is_due(log, round);
    bool was_there = log->state == NATS_LOG_SOUND;
    pthread_mutex_unlock(&bus->lock);
    if (!due)
        return;
    enum nats_log_state state = check(bus, log, was_there, session, &detail);
    if (!natsConnection_IsClosed(session->nc)) /* else nothing was found out */
        note(bus, log, round, state, &detail);
}

void nats_logs_tend(struct nats_bus *bus, struct nats_session *session)
{
    for (struct nats_log *log = first_log(bus); log; log = log->next)
        tend(bus, log, session);
    nats_bus_changed(bus);
}

bool nats_logs_sound(struct nats_bus *bus, struct err_detail *detail)
{
    uint64_t round = atomic_load(&bus->round);
    for (struct nats_log *log = first_log(bus); log; log = log->next) {
        if (atomic_load(&log->sound_round) == round)
            continue;
        pthread_mutex_lock(&bus->lock);
        if (detail && log->detail.text[0])
            *detail = log->detail;
        else
            (void)err_set(detail, ERR_UNAVAILABLE, "stream %s is not checked yet", log->name);
        pthread_mutex_unlock(&bus->lock);
        return false;
    }
    return true;
}

bool nats_logs_broken(struct nats_bus *bus, struct err_detail *detail)
{
    bool broken = false;
    pthread_mutex_lock(&bus->lock);
    for (struct nats_log *log = bus->logs; log && !broken; log = log->next) {
        broken = log->state == NATS_LOG_BROKEN;
        if (broken && detail)
            *detail = log->detail;
    }
    pthread_mutex_unlock(&bus->lock);
    return broken;
}
