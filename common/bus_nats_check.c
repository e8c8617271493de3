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
                      "stream %s: %s; that cannot be edited: when its messages are not needed "
                      "here any more, nats stream rm %s, and it is made as it should be",
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
        {c->Storage != js_FileStorage,
         "its storage is memory, so a restart loses what was accepted", NULL},
        {c->Retention != js_LimitsPolicy,
         "its retention isn't limits, so acknowledged events vanish", NULL},
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

/* Only an operator can mend these. Anything else may pass: a cluster that is not complete yet, an
 * account that is not enabled yet, a limit that is raised. */
static bool is_hopeless(jsErrCode code)
{
    return code == JSStreamInvalidConfig || code == JSStreamSubjectOverlapErr ||
           code == JSStreamReplicasNotSupportedErr;
}

static enum nats_log_state check(struct nats_log *log, jsCtx *js, struct err_detail *detail)
{
    enum nats_log_state state = NATS_LOG_UNCHECKED;
    jsOptions options;
    jsErrCode code = 0;
    jsStreamInfo *info = NULL;
    jsOptions_Init(&options);
    options.Wait = ASK_TIMEOUT_MS;
    natsStatus s = js_GetStreamInfo(&info, js, log->name, &options, &code);
    if (nats_err_of(s, code) == ERR_NOT_FOUND) {
        s = make_stream(log, js, &options, &info, &code);
        state = is_hopeless(code) ? NATS_LOG_BROKEN : NATS_LOG_MISSING;
    }
    if (s != NATS_OK) {
        (void)err_set(detail, ERR_UNAVAILABLE, "stream %s: %s", log->name, nats_words(s, code));
        return state;
    }
    bool sound = is_sound(log, info->Config, detail);
    atomic_store(&log->direct, info->Config->AllowDirect);
    jsStreamInfo_Destroy(info);
    return sound ? NATS_LOG_SOUND : NATS_LOG_BROKEN;
}

static bool is_due(const struct nats_log *log, uint64_t round)
{
    bool known = log->state == NATS_LOG_BROKEN || atomic_load(&log->sound_round) == round;
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
    pthread_mutex_unlock(&bus->lock);
    if (!due)
        return;
    enum nats_log_state state = check(log, nats_js(session), &detail);
    if (!natsConnection_IsClosed(session->nc)) /* else nothing was found out */
        note(bus, log, round, state, &detail);
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
