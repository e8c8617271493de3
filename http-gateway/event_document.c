#include "http-gateway/event_document.h"

#include "common/base64.h"
#include "common/json_scan.h"
#include "common/media_type.h"

static void add_text(struct buf *out, const char *name, struct view value)
{
    buf_add_format(out, ",\"%s\":", name);
    buf_add_json(out, value);
}

static void add_text_if_any(struct buf *out, const char *name, struct view value)
{
    if (value.len > 0)
        add_text(out, name, value);
}

static void add_number(struct buf *out, const char *name, uint64_t value)
{
    buf_add_format(out, ",\"%s\":%llu", name, (unsigned long long)value);
}

static void add_time(struct buf *out, const char *name, int64_t ms)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(ms, text);
    add_text(out, name, view_of(text));
}

static void add_payload(struct buf *out, const struct event_status *s)
{
    struct json_text json = {0};

    if (s->payload.len == 0)
        return;
    if (media_type_is_json(s->content_type) && !json_scan(s->payload, &json, NULL)) {
        buf_add_text(out, ",\"payload\":");
        buf_add_view(out, s->payload);
        return;
    }
    buf_add_text(out, ",\"payload_base64\":\"");
    base64_encode(out, s->payload);
    buf_add_text(out, "\"");
}

static void add_change(struct buf *out, const struct event_status_change *c)
{
    buf_add_text(out, "{\"status\":");
    buf_add_json(out, view_of(status_word(c->state.status)));
    add_number(out, "attempt", c->state.attempt);
    add_number(out, "generation", c->state.generation);
    add_time(out, "time", c->time_ms);
    add_number(out, "position", c->position);
    add_text_if_any(out, "processor", c->processor);
    add_text_if_any(out, "error", c->error);
    buf_add_text(out, "}");
}

static void add_extensions(struct buf *out, const struct event_status *s)
{
    if (s->extension_count == 0)
        return;
    buf_add_text(out, ",\"extensions\":{");
    for (size_t i = 0; i < s->extension_count; i++) {
        buf_add_text(out, i > 0 ? "," : "");
        buf_add_json(out, s->extensions[i].name);
        buf_add_text(out, ":");
        buf_add_json(out, s->extensions[i].value);
    }
    buf_add_text(out, "}");
}

static void add_full(struct buf *out, const struct event_status *s)
{
    add_text(out, "id", s->producer_id);
    add_text(out, "source", s->source);
    add_text_if_any(out, "key", s->key);
    add_text_if_any(out, "subject", s->subject);
    if (s->has_time)
        add_time(out, "time", s->time_ms);
    add_text_if_any(out, "content_type", s->content_type);
    add_text_if_any(out, "dataschema", s->dataschema);
    add_extensions(out, s);
    add_payload(out, s);
    buf_add_text(out, ",\"history\":[");
    for (size_t i = 0; i < s->history_count; i++) {
        buf_add_text(out, i > 0 ? "," : "");
        add_change(out, &s->history[i]);
    }
    buf_add_text(out, "]");
    if (s->history_count > 0)
        add_text_if_any(out, "error", s->history[s->history_count - 1].error);
}

void event_document_write(const struct event_status *s, struct buf *out)
{
    char id[ID_TEXT_SIZE];

    id_format(&s->id, id);
    buf_add_format(out, "{\"event_id\":\"%s\"", id);
    add_text(out, "status", view_of(status_word(s->state.status)));
    add_text(out, "name", s->name);
    add_number(out, "attempt", s->state.attempt);
    add_number(out, "generation", s->state.generation);
    add_time(out, "updated_at", s->updated_ms);
    add_number(out, "event_position", s->event_position);
    add_number(out, "position", s->position);
    if (s->full)
        add_full(out, s);
    buf_add_text(out, "}");
}
