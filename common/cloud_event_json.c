#include "common/cloud_event_json.h"

#include "common/base64.h"
#include "common/json_scan.h"
#include "common/json_string.h"
#include "common/media_type.h"

/* More than any event may have; null members, which count as absent, use up what is left. */
#define RAW_NAME_MAX JSON_STRING_RAW_MAX(EVENT_EXTENSION_NAME_MAX)

struct reader {
    struct cloud_event_json *holder;
    struct json_member
        members[CLOUD_EVENT_MEMBERS_MAX]; /* names decoded, values as they are in the body */
    size_t count;
    const struct json_member *data, *data_base64; /* NULL: absent */
    struct err_detail *detail;
};

void cloud_event_json_init(struct cloud_event_json *holder)
{
    buf_init(&holder->text, SIZE_MAX);
}

void cloud_event_json_free(struct cloud_event_json *holder)
{
    buf_free(&holder->text);
}

/* ---- texts ---- */

static struct view between_quotes(struct view value)
{
    return (struct view){value.data + 1, value.len - 2};
}

/* What decoding the member may take. */
static size_t room_for(const struct json_member *m)
{
    bool escaped = json_string_has_escapes(m->name);
    size_t room = escaped ? m->name.len : 0;

    if (m->kind == JSON_STRING &&
        (escaped || json_string_has_escapes(m->value) || view_equal(m->name, VIEW("data_base64"))))
        room += m->value.len;
    return room;
}

/* All of it at once, so that earlier texts don't move. */
static enum err reserve(struct reader *r)
{
    size_t room = 0;

    for (size_t i = 0; i < r->count; i++)
        room += room_for(&r->members[i]);
    buf_clear(&r->holder->text);
    if (room > 0 && !buf_reserve(&r->holder->text, room))
        return err_set(r->detail, ERR_MEMORY, "no memory to read the event");
    return ERR_NONE;
}

static enum err decode(struct reader *r, struct view raw, struct view *ret)
{
    return json_string_decode(raw, &r->holder->text, ret, r->detail);
}

/* ---- members ---- */

/* A name that is too long stays as it is, and is refused as an attribute's. */
static enum err decode_names(struct reader *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct view *name = &r->members[i].name;
        enum err e = name->len > RAW_NAME_MAX ? ERR_NONE : decode(r, *name, name);

        if (e)
            return e;
        for (size_t j = 0; j < i; j++)
            if (view_equal(*name, r->members[j].name))
                return err_set(r->detail, ERR_MALFORMED, "the member \"%.*s\" comes twice",
                               (int)(name->len < 64 ? name->len : 64), name->data);
    }
    return ERR_NONE;
}

static enum err scan(struct reader *r, struct view body)
{
    struct json_text text = {.members = r->members, .capacity = CLOUD_EVENT_MEMBERS_MAX};
    enum err e = json_scan(body, &text, r->detail);

    if (e)
        return e;
    if (text.kind != JSON_OBJECT)
        return err_set(r->detail, ERR_INVALID, "a CloudEvent in JSON is an object");
    if (text.count > CLOUD_EVENT_MEMBERS_MAX)
        return err_set(r->detail, ERR_INVALID, "the event has %zu members; at most %d are allowed",
                       text.count, CLOUD_EVENT_MEMBERS_MAX);
    r->count = text.count;
    return ERR_NONE;
}

/* ---- attributes ---- */

/* CloudEvents type system: a whole number of 32 bits with its sign, and nothing else. */
static bool parse_integer(struct view text, struct view *ret)
{
    bool negative = text.data[0] == '-';
    struct view digits = {text.data + negative, text.len - negative};
    uint64_t value;

    if (!view_parse_u64(digits, &value) || value > (uint64_t)INT32_MAX + (negative ? 1 : 0))
        return false;
    *ret = value == 0 ? digits : text;
    return true;
}

/* The value's string form. */
static enum err take_value(struct reader *r, const struct json_member *m, const char *label,
                           struct view *ret)
{
    *ret = m->value;
    switch (m->kind) {
    case JSON_STRING:
        return decode(r, between_quotes(m->value), ret);
    case JSON_BOOLEAN:
        if (cloud_event_is_extension(m->name))
            return ERR_NONE;
        break;
    case JSON_NUMBER:
        if (!cloud_event_is_extension(m->name))
            break;
        if (parse_integer(m->value, ret))
            return ERR_NONE;
        return err_set(r->detail, ERR_INVALID,
                       "%s is a number that CloudEvents does not know: it must be whole, from "
                       "-2147483648 to 2147483647, without fraction and exponent",
                       label);
    default:
        if (cloud_event_is_extension(m->name))
            return err_set(r->detail, ERR_INVALID,
                           "%s must be a string, a boolean or a whole number; what has structure "
                           "belongs into data",
                           label);
        break;
    }
    return err_set(r->detail, ERR_INVALID, "%s must be a string", label);
}

static enum err take_attribute(struct reader *r, const struct json_member *m)
{
    struct cloud_event *attributes = &r->holder->attributes;
    char label[CLOUD_EVENT_LABEL_SIZE];
    struct view value;
    enum err e = cloud_event_check_name(attributes, m->name, r->detail);

    if (e || m->kind == JSON_NULL)
        return e;
    e = take_value(r, m, cloud_event_label(attributes, m->name, label), &value);
    return e ? e : cloud_event_add(attributes, m->name, value, r->detail);
}

static enum err take_members(struct reader *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct json_member *m = &r->members[i];
        enum err e = ERR_NONE;

        if (view_equal(m->name, VIEW("data")))
            r->data = m;
        else if (!view_equal(m->name, VIEW("data_base64")))
            e = take_attribute(r, m);
        else if (m->kind != JSON_NULL)
            r->data_base64 = m;
        if (e)
            return e;
    }
    return cloud_event_check(&r->holder->attributes, r->detail);
}

/* ---- data ---- */

static enum err take_base64(struct reader *r, struct view *ret)
{
    struct buf *out = &r->holder->text;
    size_t start = out->len, len;
    struct view text = {0};
    char *to;
    enum err e;

    if (r->data_base64->kind != JSON_STRING)
        return err_set(r->detail, ERR_INVALID, "data_base64 must be a string");
    e = decode(r, between_quotes(r->data_base64->value), &text);
    if (e)
        return e;
    /* where the decoded text stands, if it had escapes (as \/); reserve() has made room */
    to = out->data + start;
    if (!base64_decode(text, to, &len))
        return err_set(r->detail, ERR_MALFORMED,
                       "data_base64 is not Base64 as RFC 4648 has it in section 4: A-Z a-z 0-9 + / "
                       "in groups of four, padded with =, and nothing else");
    buf_cut(out, start + len);
    *ret = (struct view){out->data + start, len};
    return ERR_NONE;
}

/* Text becomes UTF-8 here, and must not be called anything else. */
static enum err check_charset(struct reader *r, struct view content_type)
{
    struct view rest = media_type_parameters(content_type);
    struct media_type_parameter p;

    while (media_type_next_parameter(&rest, &p)) {
        if (!view_equal_nocase(p.name, VIEW("charset")) ||
            view_equal_nocase(p.value, VIEW("utf-8")) ||
            view_equal_nocase(p.value, VIEW("us-ascii")))
            continue;
        return err_set(r->detail, ERR_INVALID,
                       "datacontenttype has the charset %.*s, but a text in data is UTF-8; send "
                       "other encodings in data_base64",
                       (int)(p.value.len < 40 ? p.value.len : 40), p.value.data);
    }
    return ERR_NONE;
}

static enum err take_text(struct reader *r, struct event *event)
{
    struct view type = media_type_essence(event->content_type);
    enum err e;

    if (r->data->kind == JSON_NULL) /* what isn't JSON has no null: there are no data */
        return ERR_NONE;
    if (r->data->kind != JSON_STRING)
        return err_set(r->detail, ERR_INVALID,
                       "data must be a string where datacontenttype is not JSON (it is %.*s); "
                       "bytes that are no text belong into data_base64",
                       (int)(type.len < 80 ? type.len : 80), type.data);
    e = check_charset(r, event->content_type);
    return e ? e : decode(r, between_quotes(r->data->value), &event->payload);
}

static enum err take_data(struct reader *r, struct event *event)
{
    if (r->data && r->data_base64)
        return err_set(r->detail, ERR_INVALID,
                       "data and data_base64 are both there; an event has at most one of them");
    if (r->data_base64)
        return take_base64(r, &event->payload);
    if (!r->data)
        return ERR_NONE;
    if (event->content_type.len == 0)
        event->content_type = VIEW("application/json");
    if (!media_type_is_json(event->content_type))
        return take_text(r, event);
    event->payload = r->data->value;
    return ERR_NONE;
}

enum err cloud_event_json_read(struct cloud_event_json *holder, struct view body, struct event *ret,
                               struct err_detail *detail)
{
    struct reader r = {.holder = holder, .detail = detail};
    struct event event;
    enum err e = scan(&r, body);

    if (!e)
        e = reserve(&r);
    if (!e)
        e = decode_names(&r);
    if (e)
        return e;
    cloud_event_begin(&holder->attributes, false);
    e = take_members(&r);
    if (e)
        return e;
    event = holder->attributes.event;
    e = take_data(&r, &event);
    if (e)
        return e;
    event.id = ret->id;
    event.digest = ret->digest;
    *ret = event;
    return ERR_NONE;
}
