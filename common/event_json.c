#include "common/event_json.h"

#include "common/attribute.h"
#include "common/json_object.h"
#include "common/json_string.h"

#include <stddef.h>

#define HOLDER_MAX                                                                  \
    JSON_STRING_RAW_MAX(EVENT_NAME_MAX + EVENT_PRODUCER_ID_MAX + EVENT_SOURCE_MAX + \
                        EVENT_KEY_MAX + EVENT_TIME_MAX)

struct reader {
    struct event_json *holder;
    struct event event;
    struct err_detail *detail;
};

static const struct rule {
    const char *name;
    size_t member; /* of struct event */
    enum attribute_rule rule;
    size_t max; /* bytes; 0: any JSON value */
} rules[] = {
    {"name", offsetof(struct event, name), ATTRIBUTE_NAME, EVENT_NAME_MAX},
    {"payload", offsetof(struct event, payload), ATTRIBUTE_TEXT, 0},
    {"key", offsetof(struct event, key), ATTRIBUTE_TEXT, EVENT_KEY_MAX},
    {"time", offsetof(struct event, time), ATTRIBUTE_TIME, EVENT_TIME_MAX},
    {"id", offsetof(struct event, producer_id), ATTRIBUTE_TEXT, EVENT_PRODUCER_ID_MAX},
    {"source", offsetof(struct event, source), ATTRIBUTE_URI, EVENT_SOURCE_MAX},
};
#define RULES (sizeof rules / sizeof rules[0])
static const struct json_object object = {
    .rules = rules,
    .size = sizeof rules[0],
    .count = RULES,
    .allowed = "name, payload, key, time, id and source",
    .is = "an event is a JSON object such as {\"name\":\"order.created\"}",
};

/* `raw` is what stands between the quotes in the body. */
static enum err decode(struct reader *r, struct view raw, struct view *ret)
{
    struct buf *text = &r->holder->text;

    /* all that will ever be needed at once, so that earlier texts don't move */
    if (json_string_has_escapes(raw) && !buf_reserve(text, HOLDER_MAX - text->len))
        return err_set(r->detail, ERR_MEMORY, "no memory to read the event");
    return json_string_decode(raw, text, ret, r->detail);
}

static enum err take_text(struct reader *r, const struct rule *rule,
                          const struct json_member *member, struct view *ret)
{
    struct view raw = {member->value.data + 1, member->value.len - 2}, text = {0};
    enum err e;

    if (member->kind != JSON_STRING)
        return err_set(r->detail, ERR_INVALID, "%s must be a string", rule->name);
    if (raw.len > JSON_STRING_RAW_MAX(rule->max))
        return err_set(r->detail, ERR_INVALID, "%s is too long; at most %zu bytes are allowed",
                       rule->name, rule->max);
    e = decode(r, raw, &text);
    if (!e && rule->rule == ATTRIBUTE_NAME)
        e = event_name_check(text, r->detail);
    else if (!e)
        e = attribute_check(rule->name, text, rule->rule, rule->max, r->detail);
    if (!e)
        *ret = text;
    return e;
}

static enum err take_member(struct reader *r, const struct rule *rule,
                            const struct json_member *member)
{
    if (rule->max > 0)
        return take_text(r, rule, member, (struct view *)((char *)&r->event + rule->member));
    r->event.payload = member->value;
    r->event.content_type = VIEW("application/json");
    return ERR_NONE;
}

static enum err take_members(struct reader *r, const struct json_member *members)
{
    for (size_t i = 0; i < RULES; i++) {
        enum err e = members[i].value.len > 0 ? take_member(r, &rules[i], &members[i]) : ERR_NONE;

        if (e)
            return e;
    }
    if (members[0].value.len == 0)
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
    struct json_member members[RULES];
    struct reader r = {
        .holder = holder,
        .event = {.id = ret->id, .digest = ret->digest},
        .detail = detail,
    };
    enum err e = json_object_read(body, &object, members, detail);

    buf_clear(&holder->text);
    if (!e)
        e = take_members(&r, members);
    if (!e)
        *ret = r.event;
    return e;
}
