#include "common/event_status_row.h"

#include "common/mem.h"
#include "common/proto_value.h"

#define TEXT_MAX EVENT_TEXT_MAX
/* Of GetEventStatusRequest: */
#define EVENT_ID_FIELD 1
#define SOURCE_FIELD 4

typedef Google__Protobuf__Timestamp Timestamp;

struct event_status_holder *event_status_holder_new(size_t block_size)
{
    struct event_status_holder *holder = mem_alloc(sizeof *holder);
    if (holder)
        proto_arena_init(&holder->arena, NULL, 0, block_size);
    return holder;
}

void event_status_holder_free(struct event_status_holder *holder)
{
    if (!holder)
        return;
    proto_arena_free(&holder->arena);
    mem_free(holder);
}

enum err event_status_refuse(struct event_status_holder *holder)
{
    enum err e = holder->arena.failed ? ERR_MEMORY : ERR_MALFORMED;
    event_status_holder_free(holder);
    return e;
}

/* ---- states ---- */

static bool state_read(Events__EventStatus__Status status, uint32_t generation, uint32_t attempt,
                       struct status_state *ret)
{
    int number = (int)status;
    if (number <= STATUS_NONE || number >= STATUS_COUNT || generation > STATUS_GENERATION_MAX ||
        attempt > STATUS_ATTEMPT_MAX)
        return false;
    *ret = (struct status_state){
        .status = (enum status)number, .generation = generation, .attempt = attempt};
    return true;
}

static Events__EventStatus__Status state_number(struct status_state state)
{
    return (Events__EventStatus__Status)state.status; /* the same numbers, see the asserts */
}
_Static_assert((int)EVENTS__EVENT_STATUS__STATUS__ACCEPTED == STATUS_ACCEPTED, "");
_Static_assert((int)EVENTS__EVENT_STATUS__STATUS__PROCESSING == STATUS_PROCESSING, "");
_Static_assert((int)EVENTS__EVENT_STATUS__STATUS__RETRYING == STATUS_RETRYING, "");
_Static_assert((int)EVENTS__EVENT_STATUS__STATUS__PROCESSED == STATUS_PROCESSED, "");
_Static_assert((int)EVENTS__EVENT_STATUS__STATUS__DEAD == STATUS_DEAD, "");

/* ---- GetEventStatus: the request ---- */

enum err event_status_request_write(const struct event_status_request *request, struct buf *out)
{
    _Alignas(max_align_t) char stack[512];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, sizeof stack);
    Events__GetEventStatusRequest m;
    events__get_event_status_request__init(&m);
    m.event_id = proto_arena_text(&arena, request->event_id, TEXT_MAX);
    m.view = request->full ? EVENTS__EVENT_VIEW__FULL : EVENTS__EVENT_VIEW__BASIC;
    m.min_position = request->min_position;
    m.source = proto_arena_text(&arena, request->source, TEXT_MAX);
    enum err e = arena.failed ? ERR_MEMORY : proto_append(&m.base, out);
    proto_arena_free(&arena);
    return e;
}

enum err event_status_request_read(struct view bytes, struct event_status_holder **holder,
                                   struct event_status_request *ret)
{
    struct event_status_holder *h = event_status_holder_new(bytes.len + 256);
    if (!h)
        return ERR_MEMORY;
    Events__GetEventStatusRequest *m = events__get_event_status_request__unpack(
        &h->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    if (!m || (int)m->view < EVENTS__EVENT_VIEW__EVENT_VIEW_UNSPECIFIED ||
        (int)m->view > EVENTS__EVENT_VIEW__FULL || !view_is_utf8(view_of(m->event_id)) ||
        !view_is_utf8(view_of(m->source)) || proto_text_has_nul(bytes, EVENT_ID_FIELD) ||
        proto_text_has_nul(bytes, SOURCE_FIELD))
        return event_status_refuse(h);
    *ret = (struct event_status_request){
        .event_id = view_of(m->event_id),
        .source = view_of(m->source),
        .full = m->view == EVENTS__EVENT_VIEW__FULL,
        .min_position = m->min_position,
    };
    *holder = h;
    return ERR_NONE;
}

/* ---- GetEventStatus: the answer ---- */

/* One change and its time, side by side, so that a history is two allocations. */
struct change_row {
    Events__StatusChange message;
    Timestamp time;
};

static void change_write(const struct event_status_change *change, struct proto_arena *arena,
                         struct change_row *row)
{
    events__status_change__init(&row->message);
    row->message.status = state_number(change->state);
    row->message.attempt = change->state.attempt;
    row->message.generation = change->state.generation;
    row->message.position = change->position;
    row->message.processor = proto_arena_text(arena, change->processor, TEXT_MAX);
    row->message.error = proto_arena_text(arena, change->error, TEXT_MAX);
    if (change->time_ms) {
        proto_time_write(change->time_ms, &row->time);
        row->message.time = &row->time;
    }
}

static void history_write(const struct event_status *status, struct proto_arena *arena,
                          Events__EventStatus *m)
{
    size_t count = status->history_count;
    if (!count)
        return;
    struct change_row *rows = proto_arena_alloc(arena, count, sizeof *rows);
    m->history = proto_arena_alloc(arena, count, sizeof *m->history);
    if (arena->failed)
        return;
    for (size_t i = 0; i < count; i++) {
        change_write(&status->history[i], arena, &rows[i]);
        m->history[i] = &rows[i].message;
    }
    m->n_history = count;
    m->error = rows[count - 1].message.error;
}

typedef Events__EventStatus__ExtensionsEntry Entry;

static void extensions_write(const struct event_status *status, struct proto_arena *arena,
                             Events__EventStatus *m)
{
    size_t count = status->extension_count;
    if (!count)
        return;
    Entry *entries = proto_arena_alloc(arena, count, sizeof *entries);
    m->extensions = proto_arena_alloc(arena, count, sizeof *m->extensions);
    if (arena->failed)
        return;
    for (size_t i = 0; i < count; i++) {
        events__event_status__extensions_entry__init(&entries[i]);
        entries[i].key = proto_arena_text(arena, status->extensions[i].name, TEXT_MAX);
        entries[i].value = proto_arena_text(arena, status->extensions[i].value, TEXT_MAX);
        m->extensions[i] = &entries[i];
    }
    m->n_extensions = count;
}

static void full_write(const struct event_status *status, struct proto_arena *arena,
                       Timestamp *time, Events__EventStatus *m)
{
    m->id = proto_arena_text(arena, status->producer_id, TEXT_MAX);
    m->source = proto_arena_text(arena, status->source, TEXT_MAX);
    m->key = proto_arena_text(arena, status->key, TEXT_MAX);
    m->content_type = proto_arena_text(arena, status->content_type, TEXT_MAX);
    m->subject = proto_arena_text(arena, status->subject, TEXT_MAX);
    m->dataschema = proto_arena_text(arena, status->dataschema, TEXT_MAX);
    m->payload.data = (uint8_t *)status->payload.data; /* only read by the encoder */
    m->payload.len = status->payload.len;
    if (status->has_time) {
        proto_time_write(status->time_ms, time);
        m->time = time;
    }
    extensions_write(status, arena, m);
    history_write(status, arena, m);
}

void event_status_to_row(const struct event_status *status, struct proto_arena *arena,
                         struct event_status_row *row)
{
    Events__EventStatus *m = &row->message;
    events__event_status__init(m);
    id_format(&status->id, row->id);
    m->event_id = row->id;
    m->status = state_number(status->state);
    m->attempt = status->state.attempt;
    m->generation = status->state.generation;
    m->name = proto_arena_text(arena, status->name, TEXT_MAX);
    m->event_position = status->event_position;
    m->position = status->position;
    if (status->updated_ms) {
        proto_time_write(status->updated_ms, &row->updated_at);
        m->updated_at = &row->updated_at;
    }
}

enum err event_status_write(const struct event_status *status, struct buf *out)
{
    _Alignas(max_align_t) char stack[1024]; /* a BASIC answer allocates nothing */
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, 4096);
    struct event_status_row row;
    Timestamp time;
    event_status_to_row(status, &arena, &row);
    if (status->full)
        full_write(status, &arena, &time, &row.message);
    enum err e = arena.failed ? ERR_MEMORY : proto_append(&row.message.base, out);
    proto_arena_free(&arena);
    return e;
}

static bool history_read(const Events__EventStatus *m, struct proto_arena *arena,
                         struct event_status *ret)
{
    struct event_status_change *history = proto_arena_alloc(arena, m->n_history, sizeof *history);
    if (!history)
        return false;
    for (size_t i = 0; i < m->n_history; i++) {
        const Events__StatusChange *from = m->history[i];
        history[i] = (struct event_status_change){
            .position = from->position,
            .processor = view_of(from->processor),
            .error = view_of(from->error),
        };
        if (!state_read(from->status, from->generation, from->attempt, &history[i].state) ||
            !proto_time_read(from->time, &history[i].time_ms))
            return false;
    }
    ret->history = history;
    ret->history_count = m->n_history;
    return true;
}

static bool extensions_read(const Events__EventStatus *m, struct proto_arena *arena,
                            struct event_status *ret)
{
    if (!m->n_extensions)
        return true;
    struct event_extension *extensions =
        proto_arena_alloc(arena, m->n_extensions, sizeof *extensions);
    if (!extensions)
        return false;
    for (size_t i = 0; i < m->n_extensions; i++)
        extensions[i] = (struct event_extension){view_of(m->extensions[i]->key),
                                                 view_of(m->extensions[i]->value)};
    ret->extensions = extensions;
    ret->extension_count = m->n_extensions;
    return true;
}

bool event_status_from_message(const Events__EventStatus *m, struct proto_arena *arena,
                               struct event_status *ret)
{
    *ret = (struct event_status){
        .name = view_of(m->name),
        .event_position = m->event_position,
        .position = m->position,
        .full = m->id[0] != '\0' || m->n_history != 0,
        .producer_id = view_of(m->id),
        .source = view_of(m->source),
        .key = view_of(m->key),
        .content_type = view_of(m->content_type),
        .subject = view_of(m->subject),
        .dataschema = view_of(m->dataschema),
        .has_time = m->time != NULL,
        .payload = {(const char *)m->payload.data, m->payload.len},
    };
    return id_parse(view_of(m->event_id), &ret->id) &&
           state_read(m->status, m->generation, m->attempt, &ret->state) &&
           proto_time_read(m->updated_at, &ret->updated_ms) &&
           proto_time_read(m->time, &ret->time_ms) && extensions_read(m, arena, ret) &&
           history_read(m, arena, ret);
}

enum err event_status_read(struct view bytes, struct event_status_holder **holder,
                           struct event_status *ret)
{
    struct event_status_holder *h = event_status_holder_new(bytes.len + 1024);
    if (!h)
        return ERR_MEMORY;
    struct event_status status;
    Events__EventStatus *m =
        events__event_status__unpack(&h->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    if (!m || !event_status_from_message(m, &h->arena, &status))
        return event_status_refuse(h);
    *ret = status;
    *holder = h;
    return ERR_NONE;
}

/* ---- GetStats ---- */

enum err event_stats_request_read(struct view bytes, uint64_t *ret_floor_position)
{
    _Alignas(max_align_t) char stack[512];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, bytes.len + 256);
    Events__GetStatsRequest *m =
        events__get_stats_request__unpack(&arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    enum err e = m ? ERR_NONE : arena.failed ? ERR_MEMORY : ERR_MALFORMED;
    if (m)
        *ret_floor_position = m->floor_position;
    proto_arena_free(&arena);
    return e;
}

enum err event_stats_write(const struct event_stats *stats, struct buf *out)
{
    _Alignas(max_align_t) char stack[1024];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, 4096);

    Events__GetStatsResponse__Counts counts;
    events__get_stats_response__counts__init(&counts);
    counts.accepted = stats->counts[STATUS_ACCEPTED];
    counts.processing = stats->counts[STATUS_PROCESSING];
    counts.retrying = stats->counts[STATUS_RETRYING];
    counts.processed = stats->counts[STATUS_PROCESSED];
    counts.dead = stats->counts[STATUS_DEAD];

    Events__GetStatsResponse__Work work;
    events__get_stats_response__work__init(&work);
    work.processed = stats->processed;
    work.retried = stats->retried;
    work.dead = stats->dead;

    Timestamp started_at;
    proto_time_write(stats->started_ms, &started_at);

    Events__GetStatsResponse m;
    events__get_stats_response__init(&m);
    m.processor = proto_arena_text(&arena, stats->processor, TEXT_MAX);
    m.group = proto_arena_text(&arena, stats->group, TEXT_MAX);
    m.event_position = stats->event_position;
    m.status_position = stats->status_position;
    m.first_event_position = stats->first_event_position;
    m.counts = &counts;
    m.digest = stats->digest;
    m.events = stats->events;
    m.table_bytes = stats->table_bytes;
    m.version = proto_arena_text(&arena, stats->version, TEXT_MAX);
    m.started_at = &started_at;
    m.uptime_seconds = stats->uptime_s;
    m.ready = stats->ready;
    m.event_log_end = stats->event_log_end;
    m.status_log_end = stats->status_log_end;
    m.handlers_running = stats->handlers_running;
    m.handlers_max = stats->handlers_max;
    m.event_watchers = stats->event_watchers;
    m.watchers = stats->watchers;
    m.work = &work;
    enum err e = arena.failed ? ERR_MEMORY : proto_append(&m.base, out);
    proto_arena_free(&arena);
    return e;
}
