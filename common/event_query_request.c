/* The requests of event_query.h. */
#include "common/event_query.h"

#include "common/event.h"
#include "common/event_status_row.h"
#include "common/proto_value.h"

#define TEXT_MAX EVENT_TEXT_MAX
/* What a BatchGetEventStatusRequest can have at most: */
#define BATCH_MAX (EVENT_BATCH_MAX * (EVENT_PRODUCER_ID_MAX + 4) + TEXT_MAX)

typedef Google__Protobuf__Timestamp Timestamp;
typedef Events__EventStatus__Status Status;

static enum err append(struct proto_arena *arena, const ProtobufCMessage *message, struct buf *out)
{
    enum err e = arena->failed ? ERR_MEMORY : proto_append(message, out);
    proto_arena_free(arena);
    return e;
}

static bool text_is_whole(struct view message, uint32_t field, const char *text)
{
    return view_is_utf8(view_of(text)) && !proto_text_has_nul(message, field);
}

/* ---- statuses ---- */

static size_t statuses_write(unsigned statuses, Status list[STATUS_COUNT])
{
    size_t count = 0;
    for (int s = STATUS_NONE + 1; s < STATUS_COUNT; s++) {
        if (statuses & 1u << s)
            list[count++] = (Status)s; /* the same numbers: event_status.c */
    }
    return count;
}

static bool statuses_read(const Status *list, size_t count, unsigned *ret)
{
    unsigned statuses = 0;
    for (size_t i = 0; i < count; i++) {
        int number = (int)list[i];
        if (number <= STATUS_NONE || number >= STATUS_COUNT)
            return false;
        statuses |= 1u << number;
    }
    *ret = statuses;
    return true;
}

/* ---- BatchGetEventStatusRequest ---- */

enum { BATCH_IDS_FIELD = 1, BATCH_SOURCE_FIELD = 2 };

enum err event_batch_request_write(const struct event_batch_request *request, struct buf *out)
{
    struct proto_arena arena;
    proto_arena_init(&arena, NULL, 0, 16384);
    Events__BatchGetEventStatusRequest m;
    events__batch_get_event_status_request__init(&m);
    m.event_ids = proto_arena_alloc(&arena, request->event_id_count, sizeof *m.event_ids);
    for (size_t i = 0; i < request->event_id_count && !arena.failed; i++)
        m.event_ids[i] = proto_arena_text(&arena, request->event_ids[i], TEXT_MAX);
    m.n_event_ids = request->event_id_count;
    m.source = proto_arena_text(&arena, request->source, TEXT_MAX);
    m.min_position = request->min_position;
    return append(&arena, &m.base, out);
}

static bool batch_read(struct view bytes, const Events__BatchGetEventStatusRequest *m,
                       struct proto_arena *arena, struct event_batch_request *ret)
{
    struct view *ids = proto_arena_alloc(arena, m->n_event_ids, sizeof *ids);
    if (!ids || proto_text_has_nul(bytes, BATCH_IDS_FIELD) ||
        !text_is_whole(bytes, BATCH_SOURCE_FIELD, m->source))
        return false;
    for (size_t i = 0; i < m->n_event_ids; i++) {
        ids[i] = view_of(m->event_ids[i]);
        if (!view_is_utf8(ids[i]))
            return false;
    }
    *ret = (struct event_batch_request){.event_ids = ids,
                                        .event_id_count = m->n_event_ids,
                                        .source = view_of(m->source),
                                        .min_position = m->min_position};
    return true;
}

enum err event_batch_request_read(struct view bytes, struct event_status_holder **holder,
                                  struct event_batch_request *ret)
{
    /* Unpacking takes many times an empty id's two bytes. */
    if (bytes.len > BATCH_MAX || proto_count(bytes, BATCH_IDS_FIELD) > EVENT_BATCH_MAX)
        return ERR_INVALID;
    struct event_status_holder *h = event_status_holder_new(bytes.len + 1024);
    if (!h)
        return ERR_MEMORY;
    Events__BatchGetEventStatusRequest *m = events__batch_get_event_status_request__unpack(
        &h->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    if (!m || !batch_read(bytes, m, &h->arena, ret))
        return event_status_refuse(h);
    *holder = h;
    return ERR_NONE;
}

/* ---- ListEventsRequest ---- */

enum { LIST_NAME_FIELD = 2, LIST_TOKEN_FIELD = 6 };

enum err event_list_request_write(const struct event_list_request *request, struct buf *out)
{
    _Alignas(max_align_t) char stack[1024];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, 4096);
    Timestamp since, until;
    Status statuses[STATUS_COUNT];
    Events__ListEventsRequest m;
    events__list_events_request__init(&m);
    m.statuses = statuses;
    m.n_statuses = statuses_write(request->statuses, statuses);
    m.name = proto_arena_text(&arena, request->name, TEXT_MAX);
    if (request->accepted_since_ms) {
        proto_time_write(request->accepted_since_ms, &since);
        m.accepted_since = &since;
    }
    if (request->accepted_until_ms) {
        proto_time_write(request->accepted_until_ms, &until);
        m.accepted_until = &until;
    }
    m.page_size = request->page_size;
    m.page_token = proto_arena_text(&arena, request->page_token, TEXT_MAX);
    m.min_position = request->min_position;
    return append(&arena, &m.base, out);
}

static bool list_read(struct view bytes, const Events__ListEventsRequest *m,
                      struct event_list_request *ret)
{
    struct event_list_request request = {.name = view_of(m->name),
                                         .page_size = m->page_size,
                                         .page_token = view_of(m->page_token),
                                         .min_position = m->min_position};
    if (!statuses_read(m->statuses, m->n_statuses, &request.statuses) ||
        !proto_time_read(m->accepted_since, &request.accepted_since_ms) ||
        !proto_time_read(m->accepted_until, &request.accepted_until_ms) ||
        !text_is_whole(bytes, LIST_NAME_FIELD, m->name) ||
        !text_is_whole(bytes, LIST_TOKEN_FIELD, m->page_token))
        return false;
    /* Nothing was stored then, and 0 would be no bound. */
    if (m->accepted_until && request.accepted_until_ms == 0)
        request.accepted_until_ms = 1;
    *ret = request;
    return true;
}

enum err event_list_request_read(struct view bytes, struct event_status_holder **holder,
                                 struct event_list_request *ret)
{
    struct event_status_holder *h = event_status_holder_new(bytes.len + 512);
    if (!h)
        return ERR_MEMORY;
    Events__ListEventsRequest *m = events__list_events_request__unpack(
        &h->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    if (!m || !list_read(bytes, m, ret))
        return event_status_refuse(h);
    *holder = h;
    return ERR_NONE;
}

/* ---- WatchEventRequest ---- */

enum { WATCH_ID_FIELD = 1, WATCH_SOURCE_FIELD = 2 };

enum err event_watch_request_write(const struct event_status_request *request, struct buf *out)
{
    _Alignas(max_align_t) char stack[512];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, sizeof stack);
    Events__WatchEventRequest m;
    events__watch_event_request__init(&m);
    m.event_id = proto_arena_text(&arena, request->event_id, TEXT_MAX);
    m.source = proto_arena_text(&arena, request->source, TEXT_MAX);
    m.min_position = request->min_position;
    return append(&arena, &m.base, out);
}

enum err event_watch_request_read(struct view bytes, struct event_status_holder **holder,
                                  struct event_status_request *ret)
{
    struct event_status_holder *h = event_status_holder_new(bytes.len + 256);
    if (!h)
        return ERR_MEMORY;
    Events__WatchEventRequest *m = events__watch_event_request__unpack(
        &h->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    if (!m || !text_is_whole(bytes, WATCH_ID_FIELD, m->event_id) ||
        !text_is_whole(bytes, WATCH_SOURCE_FIELD, m->source))
        return event_status_refuse(h);
    *ret = (struct event_status_request){.event_id = view_of(m->event_id),
                                         .source = view_of(m->source),
                                         .min_position = m->min_position};
    *holder = h;
    return ERR_NONE;
}

/* ---- WatchEventsRequest ---- */

enum { CHANGES_NAME_FIELD = 2 };

enum err event_changes_request_write(const struct event_changes_request *request, struct buf *out)
{
    _Alignas(max_align_t) char stack[512];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, sizeof stack);
    Status statuses[STATUS_COUNT];
    Events__WatchEventsRequest m;
    events__watch_events_request__init(&m);
    m.statuses = statuses;
    m.n_statuses = statuses_write(request->statuses, statuses);
    m.name = proto_arena_text(&arena, request->name, TEXT_MAX);
    if (request->has_after) {
        m.start_case = EVENTS__WATCH_EVENTS_REQUEST__START_AFTER_POSITION;
        m.after_position = request->after_position;
    }
    return append(&arena, &m.base, out);
}

enum err event_changes_request_read(struct view bytes, struct event_status_holder **holder,
                                    struct event_changes_request *ret)
{
    struct event_status_holder *h = event_status_holder_new(bytes.len + 256);
    if (!h)
        return ERR_MEMORY;
    Events__WatchEventsRequest *m = events__watch_events_request__unpack(
        &h->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    unsigned statuses;
    if (!m || !statuses_read(m->statuses, m->n_statuses, &statuses) ||
        !text_is_whole(bytes, CHANGES_NAME_FIELD, m->name))
        return event_status_refuse(h);
    bool has_after = m->start_case == EVENTS__WATCH_EVENTS_REQUEST__START_AFTER_POSITION;
    *ret = (struct event_changes_request){.statuses = statuses,
                                          .name = view_of(m->name),
                                          .has_after = has_after,
                                          .after_position = has_after ? m->after_position : 0};
    *holder = h;
    return ERR_NONE;
}
