#include "http-gateway/read_replay.h"

#include "common/attribute.h"
#include "common/config.h"
#include "common/json_object.h"
#include "common/json_string.h"
#include "common/mem.h"

#include <stddef.h>
#include <stdio.h>

#define SHOWN_MAX 60

struct read_replay {
    struct buf text; /* strings that had escapes, decoded */
    struct view ids[REPLAY_IDS_MAX];
};

struct reader {
    struct read_replay *holder;
    struct view body;
    struct replay_request request;
    struct err_detail *detail;
};

enum kind { IDS, SOURCE, STATUSES, NAME, POSITION, TIME, RATE, BOOLEAN, REPLAY_ID };

static const struct rule {
    const char *name;
    enum kind kind;
    size_t member; /* of struct replay_request */
} rules[] = {
    {"event_ids", IDS, offsetof(struct replay_request, event_ids)},
    {"source", SOURCE, offsetof(struct replay_request, source)},
    {"statuses", STATUSES, offsetof(struct replay_request, statuses)},
    {"name", NAME, offsetof(struct replay_request, name)},
    {"from_position", POSITION, offsetof(struct replay_request, from_position)},
    {"to_position", POSITION, offsetof(struct replay_request, to_position)},
    {"accepted_since", TIME, offsetof(struct replay_request, accepted_since_ms)},
    {"accepted_until", TIME, offsetof(struct replay_request, accepted_until_ms)},
    {"rate", RATE, offsetof(struct replay_request, rate)},
    {"dry_run", BOOLEAN, offsetof(struct replay_request, dry_run)},
    {"replay_id", REPLAY_ID, offsetof(struct replay_request, replay_id)},
};
#define RULES (sizeof rules / sizeof rules[0])
static const struct json_object object = {
    .rules = rules,
    .size = sizeof rules[0],
    .count = RULES,
    .allowed = "event_ids, source, statuses, name, from_position, to_position, accepted_since, "
               "accepted_until, rate, dry_run and replay_id",
    .is = "a replay is asked for by a JSON object such as {\"statuses\":[\"dead\"]}",
};

static int shown(struct view v)
{
    return (int)(v.len < SHOWN_MAX ? v.len : SHOWN_MAX);
}

/* ---- strings ---- */

/* `raw` is what stands between the quotes in the body. */
static enum err decode(struct reader *r, struct view raw, struct view *ret)
{
    struct buf *text = &r->holder->text;

    /* all that will ever be needed at once, so that earlier texts don't move */
    if (json_string_has_escapes(raw) && !buf_reserve(text, r->body.len - text->len))
        return err_set(r->detail, ERR_MEMORY, "no memory to read the request");
    return json_string_decode(raw, text, ret, r->detail);
}

static enum err take_text(struct reader *r, const struct rule *rule,
                          const struct json_member *member, struct view *ret)
{
    if (member->kind != JSON_STRING)
        return err_set(r->detail, ERR_INVALID, "%s must be a string", rule->name);
    return decode(r, (struct view){member->value.data + 1, member->value.len - 2}, ret);
}

static enum err take_source(struct reader *r, const struct rule *rule,
                            const struct json_member *member, struct view *ret)
{
    enum err e = take_text(r, rule, member, ret);

    return e ? e : attribute_check(rule->name, *ret, ATTRIBUTE_TEXT, EVENT_SOURCE_MAX, r->detail);
}

static enum err take_name(struct reader *r, const struct rule *rule,
                          const struct json_member *member, struct view *ret)
{
    enum err e = take_text(r, rule, member, ret);

    if (!e && !config_is_pattern(*ret))
        return err_set(r->detail, ERR_INVALID,
                       "name is \"%.*s\"; allowed are words of letters, digits, _ and - with dots "
                       "between, * for any one word, > at the end for the rest",
                       shown(*ret), ret->data);
    return e;
}

static enum err take_replay_id(struct reader *r, const struct rule *rule,
                               const struct json_member *member, struct view *ret)
{
    struct event_id id;
    enum err e = take_text(r, rule, member, ret);

    if (!e && !id_parse(*ret, &id))
        return err_set(r->detail, ERR_INVALID,
                       "replay_id is \"%.*s\"; it must be a UUID in its 36-character form",
                       shown(*ret), ret->data);
    return e;
}

static enum err take_time(struct reader *r, const struct rule *rule,
                          const struct json_member *member, int64_t *ret)
{
    struct view text = {0};
    enum err e = take_text(r, rule, member, &text);

    if (!e)
        e = attribute_check(rule->name, text, ATTRIBUTE_TIME, EVENT_TIME_MAX, r->detail);
    if (!e && !clock_parse(text.data, text.len, ret))
        return err_set(r->detail, ERR_INVALID, "%s is not an RFC 3339 date-time", rule->name);
    if (!e && *ret == 0)
        *ret = 1; /* 0 would be no bound, and nothing was stored then */
    return e;
}

/* ---- numbers ---- */

static enum err take_whole(struct reader *r, const struct rule *rule,
                           const struct json_member *member, uint64_t max, uint64_t *ret)
{
    if (member->kind == JSON_NUMBER && view_parse_u64(member->value, ret) && *ret > 0 &&
        *ret <= max)
        return ERR_NONE;
    return err_set(r->detail, ERR_INVALID, "%s must be a whole number from 1 to %llu", rule->name,
                   (unsigned long long)max);
}

static enum err take_rate(struct reader *r, const struct rule *rule,
                          const struct json_member *member, uint32_t *ret)
{
    uint64_t rate = 0;
    enum err e = take_whole(r, rule, member, UINT32_MAX, &rate);

    if (e)
        return err_set(r->detail, e,
                       "rate must be a whole number from 1 to %u, in events a second; without it "
                       "there is no limit",
                       UINT32_MAX);
    *ret = (uint32_t)rate;
    return ERR_NONE;
}

static enum err take_boolean(struct reader *r, const struct rule *rule,
                             const struct json_member *member, bool *ret)
{
    if (member->kind != JSON_BOOLEAN)
        return err_set(r->detail, ERR_INVALID, "%s must be true or false", rule->name);
    *ret = view_equal(member->value, VIEW("true"));
    return ERR_NONE;
}

/* ---- arrays ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t string_length(struct view v)
{
    size_t at = 1;

    while (v.data[at] != '"')
        at += v.data[at] == '\\' ? 2 : 1;
    return at + 1;
}

/* The next string of an array that the scanner has found valid; *rest begins behind its bracket, or
 * behind what was taken before. *ret is what stands between the quotes. False: the array ends
 * (*ret_strange: its next element is no string). */
static bool next_string(struct view *rest, struct view *ret, bool *ret_strange)
{
    while (is_blank(rest->data[0]) || rest->data[0] == ',')
        *rest = (struct view){rest->data + 1, rest->len - 1};
    if (rest->data[0] != '"') {
        *ret_strange = rest->data[0] != ']';
        return false;
    }
    *ret = (struct view){rest->data + 1, string_length(*rest) - 2};
    *rest = (struct view){rest->data + ret->len + 2, rest->len - ret->len - 2};
    return true;
}

static enum err take_id(struct reader *r, struct view raw, struct view *ret)
{
    char label[32];
    enum err e = decode(r, raw, ret);

    snprintf(label, sizeof label, "event_ids[%zu]", r->request.event_id_count);
    return e ? e : attribute_check(label, *ret, ATTRIBUTE_TEXT, EVENT_PRODUCER_ID_MAX, r->detail);
}

static enum err take_ids(struct reader *r, const struct json_member *member)
{
    static const char rule[] = "event_ids must be an array of 1 to %d strings";
    struct view rest = {member->value.data + 1, member->value.len - 1}, raw;
    struct replay_request *request = &r->request;
    bool strange = member->kind != JSON_ARRAY;

    request->event_ids = r->holder->ids;
    while (!strange && next_string(&rest, &raw, &strange)) {
        enum err e;

        if (request->event_id_count == REPLAY_IDS_MAX)
            return err_set(r->detail, ERR_INVALID, rule, REPLAY_IDS_MAX);
        e = take_id(r, raw, &r->holder->ids[request->event_id_count]);
        if (e)
            return e;
        request->event_id_count++;
    }
    if (strange || request->event_id_count == 0)
        return err_set(r->detail, ERR_INVALID, rule, REPLAY_IDS_MAX);
    return ERR_NONE;
}

static enum err take_statuses(struct reader *r, const struct json_member *member)
{
    struct view rest = {member->value.data + 1, member->value.len - 1}, raw, word = {0};
    bool strange = member->kind != JSON_ARRAY;

    while (!strange && next_string(&rest, &raw, &strange)) {
        enum err e = decode(r, raw, &word);

        if (e)
            return e;
        if (view_equal(word, view_of(status_word(STATUS_DEAD))))
            r->request.statuses |= 1u << STATUS_DEAD;
        else if (view_equal(word, view_of(status_word(STATUS_PROCESSED))))
            r->request.statuses |= 1u << STATUS_PROCESSED;
        else
            strange = true;
    }
    if (strange || !r->request.statuses)
        return err_set(r->detail, ERR_INVALID,
                       "statuses must be an array of \"dead\", \"processed\" or both: only events "
                       "that have ended are replayed");
    return ERR_NONE;
}

/* ---- the object ---- */

static enum err take_member(struct reader *r, const struct rule *rule,
                            const struct json_member *member)
{
    void *to = (char *)&r->request + rule->member;

    switch (rule->kind) {
    case IDS:
        return take_ids(r, member);
    case STATUSES:
        return take_statuses(r, member);
    case SOURCE:
        return take_source(r, rule, member, to);
    case NAME:
        return take_name(r, rule, member, to);
    case REPLAY_ID:
        return take_replay_id(r, rule, member, to);
    case POSITION:
        return take_whole(r, rule, member, UINT64_MAX, to);
    case TIME:
        return take_time(r, rule, member, to);
    case RATE:
        return take_rate(r, rule, member, to);
    default:
        return take_boolean(r, rule, member, to);
    }
}

static enum err take_members(struct reader *r, const struct json_member *members)
{
    enum err e = ERR_NONE;

    for (size_t i = 0; i < RULES && !e; i++)
        if (members[i].value.len > 0)
            e = take_member(r, &rules[i], &members[i]);
    return e;
}

enum err read_replay_new(struct read_replay **ret)
{
    struct read_replay *holder = mem_alloc(sizeof *holder);

    if (!holder)
        return ERR_MEMORY;
    buf_init(&holder->text, SIZE_MAX);
    *ret = holder;
    return ERR_NONE;
}

void read_replay_free(struct read_replay *holder)
{
    if (!holder)
        return;
    buf_free(&holder->text);
    mem_free(holder);
}

enum err read_replay(struct read_replay *holder, struct view body, struct replay_request *ret,
                     struct err_detail *detail)
{
    struct json_member members[RULES];
    struct reader r = {.holder = holder, .body = body, .detail = detail};
    enum err e = json_object_read(body, &object, members, detail);

    buf_clear(&holder->text);
    if (!e)
        e = take_members(&r, members);
    if (!e)
        e = replay_request_check_whole(&r.request, detail);
    if (!e)
        *ret = r.request;
    return e;
}
