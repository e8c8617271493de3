/* Streams: made where missing, checked where they exist, and asked about. */
#include "common/bus_nats.h"

#include "common/log.h"
#include "common/mem.h"

#include <nats/nats.h>
#include <stdio.h>

enum {
    ASK_TIMEOUT_MS = 2000,
    RECHECK_BROKEN_MS = 2000, /* an operator may have mended it */
    RECHECK_SOUND_MS = 5000,  /* an operator may have deleted it */
};

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

/* ---- is the stream what the promises need? ---- */

/* Does the pattern take every subject that `subject`, itself perhaps a pattern, stands for? */
static bool covers(const char *pattern, const char *subject)
{
    for (;;) {
        size_t p = strcspn(pattern, ".");
        size_t s = strcspn(subject, ".");
        if (*pattern == '>')
            return true;
        if (*subject == '>')
            return false;
        if (*pattern != '*' && (p != s || memcmp(pattern, subject, p) != 0))
            return false;
        pattern += p;
        subject += s;
        if (*pattern == '\0' || *subject == '\0')
            return *pattern == *subject;
        ++pattern;
        ++subject;
    }
}

static bool takes_subject(const jsStreamConfig *config, const char *subject)
{
    for (int i = 0; i < config->SubjectsLen; ++i)
        if (covers(config->Subjects[i], subject))
            return true;
    return false;
}

struct rule {
    bool broken;
    const char *what; /* the setting, and the promise that it breaks */
    const char *mend; /* a flag of `nats stream edit`; NULL: it cannot be edited */
};

static void describe(const struct nats_log *log, const struct rule *rule, struct err_detail *detail)
{
    if (rule->mend)
        (void)err_set(detail, ERR_INVALID, "stream %s: %s; mend it: nats stream edit %s %s",
                      log->name, rule->what, log->name, rule->mend);
    else
        (void)err_set(detail, ERR_INVALID,
                      "stream %s: %s; back it up and make it anew with file storage "
                      "(nats stream backup, nats stream rm %s)",
                      log->name, rule->what, log->name);
}

/* False: the detail says what is wrong and how to mend it. */
static bool is_sound(const struct nats_log *log, const jsStreamConfig *c, struct err_detail *detail)
{
    char replicas[32];
    char subjects[1200];
    snprintf(replicas, sizeof replicas, "--replicas=%u", log->spec.replicas);
    snprintf(subjects, sizeof subjects, "--subjects=%s", log->subject);
    const struct rule rules[] = {
        {c->Storage != js_FileStorage, "it is in memory, so a restart loses what was accepted",
         NULL},
        {c->Retention != js_LimitsPolicy,
         "its retention isn't limits, so acknowledged events vanish", "--retention=limits"},
        {c->Discard != js_DiscardNew, "it discards old messages when full, so events get lost",
         "--discard=new"},
        {c->MaxMsgsPerSubject > 0, "it limits messages per subject, so events get lost",
         "--max-msgs-per-subject=-1"},
        {!c->DenyDelete, "messages may be deleted, so accepted events can vanish", "--deny-delete"},
        {!c->DenyPurge, "it may be purged, so accepted events can vanish", "--deny-purge"},
        {c->NoAck, "it doesn't acknowledge, so nothing is known to be stored", "--ack"},
        {c->Replicas < (int64_t)log->spec.replicas,
         "it has fewer replicas than --stream-replicas asks", replicas},
        {c->MaxAge > 0 && c->Duplicates > c->MaxAge,
         "its duplicate window is longer than its messages live", "--dupe-window=DURATION"},
        {!takes_subject(c, log->subject), "it doesn't take all of the log's subjects", subjects},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; ++i) {
        if (!rules[i].broken)
            continue;
        describe(log, &rules[i], detail);
        return false;
    }
    return true;
}

/* ---- making and checking ---- */

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
    config.Retention = js_LimitsPolicy;
    config.Discard = js_DiscardNew;
    config.DenyDelete = true;
    config.DenyPurge = true;
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

static bool is_passing(jsErrCode code)
{
    return code == 0 || code == JSClusterNotAvailErr || code == JSClusterNotActiveErr ||
           code == JSClusterNotLeaderErr || code == JSClusterNotAssignedErr ||
           code == JSNotEnabledErr || code == JSStreamOfflineErr || code == JSStreamNameExistErr;
}

static enum nats_log_state check(struct nats_log *log, jsCtx *js, struct err_detail *detail)
{
    jsOptions options;
    jsErrCode code = 0;
    jsStreamInfo *info = NULL;
    jsOptions_Init(&options);
    options.Wait = ASK_TIMEOUT_MS;
    natsStatus s = js_GetStreamInfo(&info, js, log->name, &options, &code);
    if (nats_err_of(s, code) == ERR_NOT_FOUND)
        s = make_stream(log, js, &options, &info, &code);
    if (s != NATS_OK) {
        (void)err_set(detail, ERR_UNAVAILABLE, "stream %s: %s", log->name, nats_words(s, code));
        return is_passing(code) ? NATS_LOG_UNCHECKED : NATS_LOG_BROKEN;
    }
    bool sound = is_sound(log, info->Config, detail);
    atomic_store(&log->direct, info->Config->AllowDirect);
    jsStreamInfo_Destroy(info);
    return sound ? NATS_LOG_SOUND : NATS_LOG_BROKEN;
}

static bool is_due(const struct nats_log *log, uint64_t round)
{
    int64_t age_ms = nats_now_ms() - log->checked_ms;
    if (log->state == NATS_LOG_BROKEN)
        return age_ms >= RECHECK_BROKEN_MS;
    return atomic_load(&log->sound_round) != round || age_ms >= RECHECK_SOUND_MS;
}

static void tend(struct nats_bus *bus, struct nats_log *log, struct nats_session *session)
{
    uint64_t round = atomic_load(&bus->round);
    struct err_detail detail = {""};
    pthread_mutex_lock(&bus->lock);
    bool due = round > 0 && is_due(log, round);
    enum nats_log_state before = log->state;
    pthread_mutex_unlock(&bus->lock);
    if (!due)
        return;
    enum nats_log_state state = check(log, nats_js(session), &detail);
    if (state == NATS_LOG_BROKEN && before != NATS_LOG_BROKEN)
        log_error("log is broken", LOG_TEXT("detail", detail.text));
    pthread_mutex_lock(&bus->lock);
    log->state = state;
    log->detail = detail;
    log->checked_ms = nats_now_ms();
    pthread_mutex_unlock(&bus->lock);
    atomic_store(&log->sound_round, state == NATS_LOG_SOUND ? round : 0);
}

/* Logs are only ever added, at the list's head, and live as long as the bus. */
static struct nats_log *first_log(struct nats_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    struct nats_log *log = bus->logs;
    pthread_mutex_unlock(&bus->lock);
    return log;
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

/* ---- opening ---- */

static void log_free(struct nats_log *log)
{
    mem_free(log->name);
    mem_free(log->subject);
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
    if (!log->name || !log->subject) {
        log_free(log);
        return ERR_MEMORY;
    }
    log->spec.name = log->name;
    log->spec.subject = log->subject;
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

/* Any replica may answer a direct get, also one that lags: only the leader's "not found" counts. */
static enum err ask_anyone(struct nats_log *log, struct nats_session *session, uint64_t position,
                           int64_t timeout_ms, natsMsg **ret)
{
    jsOptions options;
    jsDirectGetMsgOptions which;
    jsOptions_Init(&options);
    options.Wait = timeout_ms > 0 ? timeout_ms : 1;
    jsDirectGetMsgOptions_Init(&which);
    which.Sequence = position;
    if (atomic_load(&log->direct)) {
        natsStatus s = js_DirectGetMsg(ret, nats_js(session), log->name, &options, &which);
        if (s == NATS_OK || s == NATS_TIMEOUT)
            return nats_err_of(s, 0);
    }
    return ask_leader(log, session, position, timeout_ms, ret);
}

enum err nats_log_read(struct bus_log *base, uint64_t position, int64_t timeout_ms,
                       struct bus_record **ret)
{
    struct nats_session *session = nats_link_hold(&nats_bus_of(base)->service);
    if (!session)
        return ERR_UNAVAILABLE;
    natsMsg *msg = NULL;
    struct nats_record *record = mem_zero(1, sizeof *record);
    enum err e = ERR_MEMORY;
    if (record)
        e = ask_anyone((struct nats_log *)base, session, position, timeout_ms, &msg);
    nats_session_release(session);
    if (e != ERR_NONE) {
        mem_free(record);
        return e;
    }
    struct nats_origin origin = {.position = natsMsg_GetSequence(msg),
                                 .time_ns = natsMsg_GetTime(msg)};
    nats_record_fill(record, msg, &origin);
    record->raw = false;
    *ret = &record->box.record;
    return ERR_NONE;
}
