#include "http-gateway/replay_document.h"

static void add_name(struct buf *out, const char *name)
{
    bool first = out->len > 0 && out->data[out->len - 1] == '{';

    buf_add_format(out, "%s\"%s\":", first ? "" : ",", name);
}

static void add_text(struct buf *out, const char *name, struct view value)
{
    add_name(out, name);
    buf_add_json(out, value);
}

static void add_number(struct buf *out, const char *name, uint64_t value)
{
    add_name(out, name);
    buf_add_format(out, "%llu", (unsigned long long)value);
}

static void add_time(struct buf *out, const char *name, int64_t ms)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(ms, text);
    add_text(out, name, view_of(text));
}

static void add_ids(struct buf *out, const struct replay_request *r)
{
    add_name(out, "event_ids");
    for (size_t i = 0; i < r->event_id_count; i++) {
        buf_add_text(out, i > 0 ? "," : "[");
        buf_add_json(out, r->event_ids[i]);
    }
    buf_add_text(out, "]");
}

static void add_statuses(struct buf *out, unsigned statuses)
{
    const char *before = "[";

    add_name(out, "statuses");
    for (int s = STATUS_NONE + 1; s < STATUS_COUNT; s++) {
        if (!(statuses & 1u << s))
            continue;
        buf_add_text(out, before);
        buf_add_json(out, view_of(status_word((enum status)s)));
        before = ",";
    }
    buf_add_text(out, "]");
}

/* Only what was given. */
static void add_filter(struct buf *out, const struct replay_request *r)
{
    add_name(out, "filter");
    buf_add_text(out, "{");
    if (r->event_id_count > 0)
        add_ids(out, r);
    if (r->statuses)
        add_statuses(out, r->statuses);
    if (r->name.len > 0)
        add_text(out, "name", r->name);
    if (r->from_position > 0)
        add_number(out, "from_position", r->from_position);
    if (r->to_position > 0)
        add_number(out, "to_position", r->to_position);
    if (r->accepted_since_ms)
        add_time(out, "accepted_since", r->accepted_since_ms);
    if (r->accepted_until_ms)
        add_time(out, "accepted_until", r->accepted_until_ms);
    if (r->rate > 0)
        add_number(out, "rate", r->rate);
    buf_add_text(out, "}");
}

static void add_identity(struct buf *out, const struct replay_progress *replay)
{
    char id[ID_TEXT_SIZE];

    if (!replay->has_id) {
        add_name(out, "dry_run");
        buf_add_text(out, "true");
        return;
    }
    id_format(&replay->id, id);
    add_text(out, "replay_id", view_of(id));
    add_text(out, "state", view_of(replay_state_word(replay->state)));
}

void replay_document_write(const struct replay_progress *replay, struct buf *out)
{
    buf_add_text(out, "{");
    add_identity(out, replay);
    add_number(out, "matched", replay->replayed + replay->skipped);
    add_number(out, "replayed", replay->replayed);
    add_number(out, "skipped", replay->skipped);
    if (replay->has_id) {
        add_time(out, "started_at", replay->started_ms);
        add_time(out, "updated_at", replay->updated_ms);
    }
    add_text(out, "processor", replay->processor);
    add_number(out, "event_position", replay->event_position);
    add_number(out, "position", replay->position);
    add_filter(out, &replay->request);
    buf_add_text(out, "}");
}
