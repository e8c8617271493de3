/* Which settings of a stream break a promise, and the `nats` command that mends each. The flags are
 * those of github.com/nats-io/natscli (cli/stream_command.go); what the server lets nobody edit is
 * in its configUpdateCheck (server/stream.go). */
#include "common/bus_nats.h"

#include "common/json_scan.h"

#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>

static const int64_t NS_PER_MS = 1000000;

/* ---- subjects ---- */

/* Compares two patterns token by token. Covers: the first takes every subject that the second
 * stands for. Collide: there is a subject that both stand for. */
static bool match(const char *pattern, const char *other, bool collide)
{
    for (;;) {
        size_t p = strcspn(pattern, ".");
        size_t o = strcspn(other, ".");
        bool any = *pattern == '*' || (collide && *other == '*');
        if (*pattern == '>')
            return true;
        if (*other == '>')
            return collide;
        if (!any && (p != o || memcmp(pattern, other, p) != 0))
            return false;
        pattern += p;
        other += o;
        if (*pattern == '\0' || *other == '\0')
            return *pattern == *other;
        ++pattern;
        ++other;
    }
}

static bool takes_subject(const jsStreamConfig *config, const char *subject)
{
    for (int i = 0; i < config->SubjectsLen; ++i)
        if (match(config->Subjects[i], subject, false))
            return true;
    return false;
}

/* The log's subject and the stream's others: the server refuses overlapping ones. */
static void mend_subjects(const jsStreamConfig *config, const char *subject, char *ret, size_t size)
{
    size_t used = (size_t)snprintf(ret, size, "--subjects='%s", subject);
    for (int i = 0; i < config->SubjectsLen; ++i)
        if (!match(config->Subjects[i], subject, true) &&
            used + strlen(config->Subjects[i]) + sizeof ",'" < size)
            used += (size_t)snprintf(ret + used, size - used, ",%s", config->Subjects[i]);
    if (used + 1 < size)
        memcpy(ret + used, "'", sizeof "'");
}

/* ---- settings that nats.c doesn't know ---- */

enum { MEMBERS_MAX = 64 };

static struct view member(struct view object, const char *name)
{
    struct json_member members[MEMBERS_MAX];
    struct json_text text = {.members = members, .capacity = MEMBERS_MAX};
    if (json_scan(object, &text, NULL) != ERR_NONE || text.kind != JSON_OBJECT)
        return (struct view){NULL, 0};
    for (size_t i = 0; i < text.count && i < MEMBERS_MAX; ++i)
        if (view_equal(members[i].name, view_of(name)))
            return members[i].value;
    return (struct view){NULL, 0};
}

static bool is_true(struct view config, const char *name)
{
    return view_equal(member(config, name), VIEW("true"));
}

bool nats_stream_read_newer(struct view answer, struct nats_stream *ret)
{
    struct view config = member(answer, "config");
    struct view transform = member(config, "subject_transform");
    if (config.len == 0)
        return false;
    ret->transforms = transform.len > 0 && !view_equal(transform, VIEW("null"));
    ret->expires = is_true(config, "allow_msg_ttl");
    ret->counts = is_true(config, "allow_msg_counter");
    ret->schedules = is_true(config, "allow_msg_schedules");
    ret->writes_late = view_equal(member(config, "persist_mode"), VIEW("\"async\""));
    return true;
}

/* ---- rules ---- */

struct rule {
    bool broken;
    const char *what; /* the setting, and the promise that it breaks */
    const char *mend; /* a flag of `nats stream edit`; NULL: it cannot be edited */
};

static bool keep_rules(const struct nats_log *log, const struct rule *rules, size_t count,
                       struct err_detail *detail)
{
    for (size_t i = 0; i < count; ++i) {
        if (!rules[i].broken)
            continue;
        if (rules[i].mend)
            (void)err_set(detail, ERR_INVALID, "stream %s: %s; mend it: nats stream edit %s %s",
                          log->name, rules[i].what, log->name, rules[i].mend);
        else
            (void)err_set(detail, ERR_INVALID,
                          "stream %s: %s; that cannot be edited: when its messages are not needed "
                          "here any more, nats stream rm %s, and it is made as it should be",
                          log->name, rules[i].what, log->name);
        return false;
    }
    return true;
}

/* First, because the server refuses other changes while some of these are set. */
static bool is_worth_editing(const struct nats_log *log, const struct nats_stream *stream,
                             struct err_detail *detail)
{
    const jsStreamConfig *c = stream->config;
    bool queue = log->spec.kind == BUS_LOG_WORK_QUEUE;
    const struct rule rules[] = {
        {c->Mirror != NULL, "it is a mirror of another stream, so nothing can be published to it",
         NULL},
        {c->Sealed, "it is sealed, so nothing can be stored in it", NULL},
        {c->Storage != js_FileStorage,
         "its storage is memory, so a restart loses what was accepted", NULL},
        {stream->writes_late,
         "its persist_mode is async, so what is acknowledged may not be written yet", NULL},
        {!queue && c->Retention == js_WorkQueuePolicy,
         "its retention isn't limits (workqueue), so acknowledged events vanish", NULL},
        {queue && c->Retention != js_WorkQueuePolicy,
         "its retention isn't workqueue, so what is done stays in it for ever", NULL},
        {stream->expires,
         "allow_msg_ttl lets messages carry an end of their own, so accepted events can vanish",
         NULL},
        {stream->counts, "allow_msg_counter makes it a counter, so no event can be stored in it",
         NULL},
        {stream->schedules,
         "allow_msg_schedules lets messages purge others, so accepted events can vanish", NULL},
        {c->MaxConsumers > 0,
         "max_consumers limits who reads it, so a processor more, or one that comes back, knows "
         "nothing",
         NULL},
    };
    return keep_rules(log, rules, sizeof rules / sizeof *rules, detail);
}

static bool keeps_what_it_took(const struct nats_log *log, const jsStreamConfig *c,
                               struct err_detail *detail)
{
    bool queue = log->spec.kind == BUS_LOG_WORK_QUEUE;
    char replicas[32];
    snprintf(replicas, sizeof replicas, "--replicas=%u", log->spec.replicas);
    const struct rule rules[] = {
        {!queue && c->Retention != js_LimitsPolicy,
         "its retention isn't limits (interest), so events that nobody reads vanish",
         "--retention=limits (from nats-server 2.10 on)"},
        {c->Discard != js_DiscardNew, "it discards old messages when full, so events get lost",
         "--discard=new"},
        {c->MaxMsgsPerSubject > 0 && !c->DiscardNewPerSubject,
         "max_msgs_per_subject removes old messages, so events get lost",
         "--max-msgs-per-subject=-1"},
        {c->AllowRollup,
         "allow_rollup_hdrs lets a message purge all before it, so accepted events can vanish",
         "--no-allow-rollup --deny-purge"}, /* the server takes them together only */
        {!c->DenyDelete, "messages may be deleted, so accepted events can vanish", "--deny-delete"},
        {!queue && !c->DenyPurge, "it may be purged, so accepted events can vanish",
         "--deny-purge"},
        {c->Replicas < (int64_t)log->spec.replicas,
         "it has fewer replicas than --stream-replicas asks, so the loss of a server can lose "
         "events",
         replicas},
    };
    return keep_rules(log, rules, sizeof rules / sizeof *rules, detail);
}

static bool takes_what_comes(const struct nats_log *log, const struct nats_stream *stream,
                             struct err_detail *detail)
{
    const jsStreamConfig *c = stream->config;
    char subjects[1200];
    char window[64];
    mend_subjects(c, log->subject, subjects, sizeof subjects);
    snprintf(window, sizeof window, "--dupe-window=%" PRId64 "ms", log->spec.duplicate_window_ms);
    const struct rule rules[] = {
        {c->NoAck, "it doesn't acknowledge (no_ack), so nothing is known to be stored", "--ack"},
        {stream->transforms,
         "subject_transform stores events under other subjects, so nobody finds them",
         "--no-transform"},
        {!takes_subject(c, log->subject),
         "it doesn't take all of the log's subjects, so events cannot be stored", subjects},
        {c->Duplicates <= 0, "it has no duplicate_window, so events sent again are stored again",
         window},
        {c->MaxAge > 0 && c->Duplicates > c->MaxAge,
         "its duplicate_window is longer than its messages live, so copies of what is gone are "
         "taken for stored",
         "--dupe-window=DURATION, at most its max_age"},
    };
    return keep_rules(log, rules, sizeof rules / sizeof *rules, detail);
}

/* Of a work queue: what waits in it may have to do so for long. */
static bool has_time(const struct nats_log *log, const struct nats_stream *stream,
                     struct err_detail *detail)
{
    bool queue = log->spec.kind == BUS_LOG_WORK_QUEUE;
    const struct rule rules[] = {
        {queue && stream->config->MaxAge > 0 && log->spec.max_age_ms == 0,
         "its max_age drops attempts that are still to come, so events would never end",
         "--max-age=0"},
    };
    return keep_rules(log, rules, sizeof rules / sizeof *rules, detail);
}

/* Of a log whose records are about those of another. */
static bool goes_with_the_other(const struct nats_log *log, const struct nats_stream *stream,
                                struct err_detail *detail)
{
    const jsStreamConfig *c = stream->config;
    int64_t other_ns = stream->age_about_ns;
    char shorter[160];
    char age[64];
    snprintf(shorter, sizeof shorter,
             "its max_age is shorter than that of %s, so outcomes are forgotten before their "
             "events",
             log->about);
    snprintf(age, sizeof age, "--max-age=%" PRId64 "ms", (other_ns + NS_PER_MS - 1) / NS_PER_MS);
    const struct rule rules[] = {
        {c->MaxAge > 0 && (other_ns == 0 || c->MaxAge < other_ns), shorter, age},
        {c->MaxMsgSize > 0, "max_msg_size limits its messages, so an outcome may not fit",
         "--max-msg-size=-1"},
        {c->SourcesLen > 0,
         "it takes in other streams (sources), whose outcomes are of other events",
         "--interactive, and take out its sources"},
    };
    return keep_rules(log, rules, sizeof rules / sizeof *rules, detail);
}

bool nats_stream_is_sound(const struct nats_log *log, const struct nats_stream *stream,
                          struct err_detail *detail)
{
    return is_worth_editing(log, stream, detail) &&
           keeps_what_it_took(log, stream->config, detail) &&
           takes_what_comes(log, stream, detail) && has_time(log, stream, detail) &&
           (!log->about || goes_with_the_other(log, stream, detail));
}
