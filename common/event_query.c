/* The answers of event_query.h. */
#include "common/event_query.h"

#include "common/event_status_row.h"

#define TEXT_MAX EVENT_TEXT_MAX
#define BLOCK_SIZE 65536

static enum err append(struct proto_arena *arena, const ProtobufCMessage *message, struct buf *out)
{
    enum err e = arena->failed ? ERR_MEMORY : proto_append(message, out);
    proto_arena_free(arena);
    return e;
}

/* ---- lists of statuses ---- */

static Events__EventStatus **statuses_write(const struct event_status *statuses, size_t count,
                                            struct proto_arena *arena)
{
    struct event_status_row *rows = proto_arena_alloc(arena, count, sizeof *rows);
    Events__EventStatus **list = proto_arena_alloc(arena, count, sizeof *list);
    for (size_t i = 0; i < count && !arena->failed; i++) {
        event_status_to_row(&statuses[i], arena, &rows[i]);
        list[i] = &rows[i].message;
    }
    return list;
}

static bool statuses_read(Events__EventStatus **list, size_t count, struct proto_arena *arena,
                          const struct event_status **ret)
{
    struct event_status *statuses = proto_arena_alloc(arena, count, sizeof *statuses);
    if (!statuses)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!event_status_from_message(list[i], arena, &statuses[i]))
            return false;
    }
    *ret = statuses;
    return true;
}

/* ---- BatchGetEventStatusResponse ---- */

typedef Events__BatchGetEventStatusResponse__Result Result;
typedef Events__BatchGetEventStatusResponse__Error Error;

struct result_row {
    Result message;
    Error error;
    struct event_status_row status;
};

static void result_write(const struct event_batch_result *result, struct proto_arena *arena,
                         struct result_row *row)
{
    Result *m = &row->message;
    events__batch_get_event_status_response__result__init(m);
    m->event_id = proto_arena_text(arena, result->event_id, TEXT_MAX);
    if (result->e) {
        events__batch_get_event_status_response__error__init(&row->error);
        row->error.code = err_grpc_status(result->e);
        row->error.message = proto_arena_text(arena, result->message, TEXT_MAX);
        m->error = &row->error;
        m->result_case = EVENTS__BATCH_GET_EVENT_STATUS_RESPONSE__RESULT__RESULT_ERROR;
    } else {
        event_status_to_row(&result->status, arena, &row->status);
        m->status = &row->status.message;
        m->result_case = EVENTS__BATCH_GET_EVENT_STATUS_RESPONSE__RESULT__RESULT_STATUS;
    }
}

enum err event_batch_write(const struct event_batch_result *results, size_t count, struct buf *out)
{
    struct proto_arena arena;
    proto_arena_init(&arena, NULL, 0, BLOCK_SIZE);
    Events__BatchGetEventStatusResponse m;
    events__batch_get_event_status_response__init(&m);
    struct result_row *rows = proto_arena_alloc(&arena, count, sizeof *rows);
    m.results = proto_arena_alloc(&arena, count, sizeof *m.results);
    for (size_t i = 0; i < count && !arena.failed; i++) {
        result_write(&results[i], &arena, &rows[i]);
        m.results[i] = &rows[i].message;
    }
    m.n_results = count;
    return append(&arena, &m.base, out);
}

static enum err error_of(int32_t grpc_status)
{
    static const enum err known[] = {ERR_NOT_FOUND, ERR_INVALID, ERR_UNAVAILABLE};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (err_grpc_status(known[i]) == grpc_status)
            return known[i];
    return ERR_INTERNAL;
}

static bool result_read(const Result *m, struct proto_arena *arena, struct event_batch_result *ret)
{
    *ret = (struct event_batch_result){.event_id = view_of(m->event_id)};
    switch (m->result_case) {
    case EVENTS__BATCH_GET_EVENT_STATUS_RESPONSE__RESULT__RESULT_STATUS:
        return event_status_from_message(m->status, arena, &ret->status);
    case EVENTS__BATCH_GET_EVENT_STATUS_RESPONSE__RESULT__RESULT_ERROR:
        ret->e = error_of(m->error->code);
        ret->message = view_of(m->error->message);
        return true;
    default:
        return false;
    }
}

enum err event_batch_read(struct view bytes, struct event_status_holder **holder,
                          const struct event_batch_result **ret, size_t *ret_count)
{
    struct event_status_holder *h = event_status_holder_new(bytes.len + BLOCK_SIZE);
    if (!h)
        return ERR_MEMORY;
    Events__BatchGetEventStatusResponse *m = events__batch_get_event_status_response__unpack(
        &h->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    if (!m)
        return event_status_refuse(h);
    struct event_batch_result *results =
        proto_arena_alloc(&h->arena, m->n_results, sizeof *results);
    if (!results)
        return event_status_refuse(h);
    for (size_t i = 0; i < m->n_results; i++) {
        if (!result_read(m->results[i], &h->arena, &results[i]))
            return event_status_refuse(h);
    }
    *ret = results;
    *ret_count = m->n_results;
    *holder = h;
    return ERR_NONE;
}

/* ---- ListEventsResponse ---- */

enum err event_page_write(const struct event_page *page, struct buf *out)
{
    struct proto_arena arena;
    proto_arena_init(&arena, NULL, 0, BLOCK_SIZE);
    Events__ListEventsResponse m;
    events__list_events_response__init(&m);
    m.events = statuses_write(page->events, page->count, &arena);
    m.n_events = page->count;
    m.next_page_token = proto_arena_text(&arena, page->next_page_token, TEXT_MAX);
    m.position = page->position;
    return append(&arena, &m.base, out);
}

enum err event_page_read(struct view bytes, struct event_status_holder **holder,
                         struct event_page *ret)
{
    struct event_status_holder *h = event_status_holder_new(bytes.len + BLOCK_SIZE);
    if (!h)
        return ERR_MEMORY;
    Events__ListEventsResponse *m = events__list_events_response__unpack(
        &h->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    const struct event_status *events;
    if (!m || !statuses_read(m->events, m->n_events, &h->arena, &events))
        return event_status_refuse(h);
    *ret = (struct event_page){.events = events,
                               .count = m->n_events,
                               .next_page_token = view_of(m->next_page_token),
                               .position = m->position};
    *holder = h;
    return ERR_NONE;
}

/* ---- WatchEventsResponse ---- */

enum err event_changes_write(const struct event_changes *changes, struct buf *out)
{
    struct proto_arena arena;
    proto_arena_init(&arena, NULL, 0, BLOCK_SIZE);
    Events__WatchEventsResponse m;
    events__watch_events_response__init(&m);
    m.changes = statuses_write(changes->changes, changes->count, &arena);
    m.n_changes = changes->count;
    m.position = changes->position;
    return append(&arena, &m.base, out);
}

enum err event_changes_read(struct view bytes, struct event_status_holder **holder,
                            struct event_changes *ret)
{
    struct event_status_holder *h = event_status_holder_new(bytes.len + BLOCK_SIZE);
    if (!h)
        return ERR_MEMORY;
    Events__WatchEventsResponse *m = events__watch_events_response__unpack(
        &h->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    const struct event_status *changes;
    if (!m || !statuses_read(m->changes, m->n_changes, &h->arena, &changes))
        return event_status_refuse(h);
    *ret =
        (struct event_changes){.changes = changes, .count = m->n_changes, .position = m->position};
    *holder = h;
    return ERR_NONE;
}
