/* The reader of CloudEvents in JSON: what it takes keeps to the specification's rules, and is read
 * the same when it is written anew.
 */
#include "common/attribute.h"
#include "common/cloud_event_json.h"
#include "common/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void check_value(struct view value, size_t max)
{
    if (value.len > 0)
        demand(attribute_check("value", value, ATTRIBUTE_TEXT, max, NULL) == ERR_NONE);
}

static void check_extensions(const struct event *event)
{
    size_t bytes = 0;

    demand(event->extension_count <= EVENT_EXTENSIONS_MAX);
    for (size_t i = 0; i < event->extension_count; i++) {
        struct view name = event->extensions[i].name;

        demand(name.len > 0 && name.len <= EVENT_EXTENSION_NAME_MAX);
        for (size_t c = 0; c < name.len; c++)
            demand((name.data[c] >= 'a' && name.data[c] <= 'z') ||
                   (name.data[c] >= '0' && name.data[c] <= '9'));
        check_value(event->extensions[i].value, EVENT_EXTENSIONS_BYTES);
        bytes += name.len + event->extensions[i].value.len;
        if (i > 0) {
            struct view before = event->extensions[i - 1].name;
            size_t shorter = before.len < name.len ? before.len : name.len;
            int order = memcmp(before.data, name.data, shorter);

            demand(order < 0 || (order == 0 && before.len < name.len));
        }
    }
    demand(bytes <= EVENT_EXTENSIONS_BYTES);
}

static void check(const struct event *event)
{
    struct json_text json = {0};

    demand(event_name_check(event->name, NULL) == ERR_NONE);
    demand(event->producer_id.len > 0 && event->source.len > 0);
    check_value(event->producer_id, EVENT_PRODUCER_ID_MAX);
    check_value(event->source, EVENT_SOURCE_MAX);
    check_value(event->key, EVENT_KEY_MAX);
    check_value(event->time, EVENT_TIME_MAX);
    check_value(event->content_type, EVENT_CONTENT_TYPE_MAX);
    check_value(event->traceparent, 128);
    check_value(event->tracestate, EVENT_TRACESTATE_MAX);
    check_value(event->subject, EVENT_SUBJECT_MAX);
    check_value(event->dataschema, EVENT_DATASCHEMA_MAX);
    check_extensions(event);
    (void)json_scan(event->payload, &json, NULL); /* Base64 may hold anything: only read it all */
}

/* ---- written anew ---- */

static void add(struct buf *out, struct view name, struct view value)
{
    if (value.len == 0)
        return;
    buf_add_text(out, ",");
    buf_add_json(out, name);
    buf_add_text(out, ":");
    buf_add_json(out, value);
}

static void add_base64(struct buf *out, struct view bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    buf_add_text(out, ",\"data_base64\":\"");
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t count = bytes.len - i < 3 ? bytes.len - i : 3;
        unsigned bits = 0;

        for (size_t j = 0; j < 3; j++)
            bits = bits << 8 | (j < count ? (unsigned char)bytes.data[i + j] : 0);
        for (size_t j = 0; j < 4; j++)
            buf_add(out, j <= count ? &digits[bits >> (18 - 6 * j) & 63] : "=", 1);
    }
    buf_add_text(out, "\"");
}

static void write_event(struct buf *out, const struct event *event)
{
    buf_add_text(out, "{\"specversion\":\"1.0\"");
    add(out, VIEW("id"), event->producer_id);
    add(out, VIEW("source"), event->source);
    add(out, VIEW("type"), event->name);
    add(out, VIEW("time"), event->time);
    add(out, VIEW("datacontenttype"), event->content_type);
    add(out, VIEW("partitionkey"), event->key);
    add(out, VIEW("traceparent"), event->traceparent);
    add(out, VIEW("tracestate"), event->tracestate);
    add(out, VIEW("subject"), event->subject);
    add(out, VIEW("dataschema"), event->dataschema);
    for (size_t i = event->extension_count; i > 0; i--)
        add(out, event->extensions[i - 1].name, event->extensions[i - 1].value);
    add_base64(out, event->payload);
    buf_add_text(out, "}");
    demand(!buf_failed(out));
}

static void demand_same(const struct event *a, const struct event *b)
{
    demand(view_equal(a->producer_id, b->producer_id) && view_equal(a->source, b->source));
    demand(view_equal(a->name, b->name) && view_equal(a->time, b->time));
    demand(view_equal(a->content_type, b->content_type) && view_equal(a->key, b->key));
    demand(view_equal(a->traceparent, b->traceparent) && view_equal(a->tracestate, b->tracestate));
    demand(view_equal(a->subject, b->subject) && view_equal(a->dataschema, b->dataschema));
    demand(view_equal(a->payload, b->payload) && a->extension_count == b->extension_count);
    for (size_t i = 0; i < a->extension_count; i++)
        demand(view_equal(a->extensions[i].name, b->extensions[i].name) &&
               view_equal(a->extensions[i].value, b->extensions[i].value));
}

static void check_again(const struct event *event)
{
    struct cloud_event_json holder;
    struct event again = {0};
    struct buf text;

    cloud_event_json_init(&holder);
    buf_init(&text, SIZE_MAX);
    write_event(&text, event);
    demand(cloud_event_json_read(&holder, buf_view(&text), &again, NULL) == ERR_NONE);
    demand_same(event, &again);
    buf_free(&text);
    cloud_event_json_free(&holder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view body = {(const char *)data, size};
    struct cloud_event_json holder;
    struct event event = {0};
    struct err_detail detail = {""};
    enum err e;

    cloud_event_json_init(&holder);
    e = cloud_event_json_read(&holder, body, &event, &detail);
    if (e)
        demand(detail.text[0] && (e == ERR_MALFORMED || e == ERR_INVALID));
    if (!e) {
        check(&event);
        check_again(&event);
    }
    cloud_event_json_free(&holder);
    return 0;
}
