#include "common/event_json.h"

#include "common/mem.h"
#include "common/text.h"

#include <cjson/cJSON.h>
#include <pthread.h>

/* Each byte of a text may come as an escape of six. */
#define RAW_MAX(bytes) (6 * (size_t)(bytes))
#define MEMBER_NAME_MAX 64
#define HOLDER_MAX RAW_MAX(EVENT_NAME_MAX + EVENT_KEY_MAX + EVENT_TIME_MAX + MEMBER_NAME_MAX)

struct reader {
    struct event_json *holder;
    struct event event;
    struct err_detail *detail;
};

/* ---- texts with escapes: cJSON ---- */

static _Thread_local bool memory_is_short;

static void *cjson_alloc(size_t size)
{
    void *block = mem_alloc(size);

    if (!block)
        memory_is_short = true;
    return block;
}

static void set_hooks(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = cjson_alloc, .free_fn = mem_free});
}

/* Decodes a JSON string (with its quotes) that the scanner has accepted. */
static enum err unescape(struct reader *r, struct view raw, struct view *ret)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct buf *text = &r->holder->text;
    size_t start = text->len;
    cJSON *item;

    pthread_once(&once, set_hooks);
    /* all that will ever be needed at once, so that earlier texts don't move */
    if (!buf_reserve(text, HOLDER_MAX - text->len))
        return err_set(r->detail, ERR_MEMORY, "no memory to read the event");
    memory_is_short = false;
    item = cJSON_ParseWithLengthOpts(raw.data, raw.len, NULL, 0);
    if (!item && memory_is_short)
        return err_set(r->detail, ERR_MEMORY, "no memory to read the event");
    if (!item || !cJSON_IsString(item)) {
        cJSON_Delete(item);
        return err_set(r->detail, ERR_MALFORMED, "not a JSON string");
    }
    buf_add_text(text, item->valuestring);
    cJSON_Delete(item);
    *ret = (struct view){text->data + start, text->len - start};
    return ERR_NONE;
}

/* `raw` is what stands between the quotes in the body. */
static enum err text_of(struct reader *r, struct view raw, struct view *ret)
{
    if (raw.len == 0 || !memchr(raw.data, '\\', raw.len)) {
        *ret = raw;
        return ERR_NONE;
    }
    return unescape(r, (struct view){raw.data - 1, raw.len + 2}, ret);
}

static enum err take_text(struct reader *r, const struct json_member *member, const char *what,
                          size_t max, struct view *ret)
{
    struct view raw = {member->value.data + 1, member->value.len - 2}, text = {0};
    enum err e;

    if (member->kind != JSON_STRING)
        return err_set(r->detail, ERR_INVALID, "%s must be a string", what);
    if (raw.len > RAW_MAX(max))
        return err_set(r->detail, ERR_INVALID, "%s is too long; at most %zu bytes are allowed",
                       what, max);
    e = text_of(r, raw, &text);
    if (e)
        return e;
    if (text.len > max)
        return err_set(r->detail, ERR_INVALID, "%s has %zu bytes; at most %zu are allowed", what,
                       text.len, max);
    *ret = text;
    return ERR_NONE;
}

/* ---- members ---- */

static enum err take_name(struct reader *r, const struct json_member *member)
{
    enum err e = take_text(r, member, "name", EVENT_NAME_MAX, &r->event.name);

    return e ? e : event_name_check(r->event.name, r->detail);
}

static enum err take_key(struct reader *r, const struct json_member *member)
{
    enum err e = take_text(r, member, "key", EVENT_KEY_MAX, &r->event.key);

    if (e)
        return e;
    if (r->event.key.len == 0)
        return err_set(r->detail, ERR_INVALID, "key is empty; leave it out if there is none");
    for (size_t i = 0, length; i < r->event.key.len; i += length) {
        length = text_utf8_length(r->event.key.data + i, r->event.key.len - i);
        if (text_is_control(r->event.key.data + i, length))
            return err_set(r->detail, ERR_INVALID, "key must not hold control characters");
    }
    return ERR_NONE;
}

static enum err take_time(struct reader *r, const struct json_member *member)
{
    enum err e = take_text(r, member, "time", EVENT_TIME_MAX, &r->event.time);
    int64_t ms;

    if (e)
        return e;
    if (!clock_parse(r->event.time.data, r->event.time.len, &ms))
        return err_set(r->detail, ERR_INVALID,
                       "time is not an RFC 3339 date-time such as 2026-01-02T03:04:05.678Z");
    return ERR_NONE;
}

static enum err take_payload(struct reader *r, const struct json_member *member)
{
    r->event.payload = member->value;
    r->event.content_type = VIEW("application/json");
    return ERR_NONE;
}

static enum err refuse_identity(struct reader *r, const struct json_member *member)
{
    return err_set(r->detail, ERR_INVALID,
                   "%.*s is not supported yet: this version makes the ids of events itself and "
                   "sets their source",
                   (int)member->name.len, member->name.data);
}

static const struct rule {
    struct view name;
    enum err (*take)(struct reader *r, const struct json_member *member);
} rules[] = {
    {{"name", 4}, take_name}, {{"payload", 7}, take_payload}, {{"key", 3}, take_key},
    {{"time", 4}, take_time}, {{"id", 2}, refuse_identity},   {{"source", 6}, refuse_identity},
};
#define RULES (sizeof rules / sizeof rules[0])
/* One more than there are names: then one is unknown or comes twice. */
#define MEMBERS_KEPT (RULES + 1)

static enum err find_rule(struct reader *r, const struct json_member *member,
                          const struct rule **ret)
{
    struct view name = member->name;
    enum err e = name.len > RAW_MAX(MEMBER_NAME_MAX) ? ERR_NONE : text_of(r, name, &name);

    if (e)
        return e;
    for (size_t i = 0; i < RULES; i++) {
        if (!view_equal(name, rules[i].name))
            continue;
        *ret = &rules[i];
        return ERR_NONE;
    }
    return err_set(r->detail, ERR_INVALID,
                   "unknown member \"%.*s\"; allowed are name, payload, key and time",
                   (int)(name.len < MEMBER_NAME_MAX ? name.len : MEMBER_NAME_MAX), name.data);
}

static enum err take_members(struct reader *r, const struct json_member *members, size_t count)
{
    bool seen[RULES] = {false};

    for (size_t i = 0; i < count; i++) {
        const struct rule *rule = NULL;
        enum err e = find_rule(r, &members[i], &rule);

        if (e)
            return e;
        if (seen[rule - rules])
            return err_set(r->detail, ERR_MALFORMED, "the member %s comes twice", rule->name.data);
        seen[rule - rules] = true;
        e = rule->take(r, &members[i]);
        if (e)
            return e;
    }
    if (!seen[0])
        return err_set(r->detail, ERR_INVALID,
                       "name is missing; an example is {\"name\":\"order.created\"}");
    return ERR_NONE;
}

void event_json_init(struct event_json *holder)
{
    buf_init(&holder->text, HOLDER_MAX);
}

void event_json_free(struct event_json *holder)
{
    buf_free(&holder->text);
}

enum err event_json_read(struct event_json *holder, struct view body, struct event *ret,
                         struct err_detail *detail)
{
    struct json_member members[MEMBERS_KEPT];
    struct json_text text = {.members = members, .capacity = MEMBERS_KEPT};
    struct reader r = {.holder = holder, .event = *ret, .detail = detail};
    enum err e = json_scan(body, &text, detail);

    if (e)
        return e;
    if (text.kind != JSON_OBJECT)
        return err_set(detail, ERR_INVALID,
                       "an event is a JSON object such as {\"name\":\"order.created\"}");
    buf_clear(&holder->text);
    r.event.key = r.event.payload = r.event.content_type = (struct view){0};
    e = take_members(&r, members, text.count < MEMBERS_KEPT ? text.count : MEMBERS_KEPT);
    if (e)
        return e;
    *ret = r.event;
    return ERR_NONE;
}
