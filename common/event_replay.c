#include "common/event_replay.h"

#include "common/event.h"
#include "common/mem.h"
#include "common/proto_arena.h"
#include "common/proto_value.h"

#include "events.pb-c.h"

#define TEXT_MAX (64u * 1024) /* bytes of one string; longer ones are cut */
/* Of ReplayEventsRequest, and what it can have at most: */
#define REQUEST_MAX (REPLAY_IDS_MAX * (EVENT_PRODUCER_ID_MAX + 4) + TEXT_MAX)
#define EVENT_IDS_FIELD 1
#define SOURCE_FIELD 2
#define NAME_FIELD 4
#define REPLAY_ID_FIELD 12
/* Of GetReplayRequest and CancelReplayRequest: */
#define ID_FIELD 1

typedef Google__Protobuf__Timestamp Timestamp;
typedef Events__EventStatus__Status Status;

struct event_replay_holder {
    struct proto_arena arena;
};

const char *replay_state_word(enum replay_state state)
{
    static const char *const words[REPLAY_STATES] = {"none", "running", "done", "cancelled"};
    return words[state];
}
_Static_assert((int)EVENTS__REPLAY_PROGRESS__STATE__RUNNING == REPLAY_RUNNING, "");
_Static_assert((int)EVENTS__REPLAY_PROGRESS__STATE__DONE == REPLAY_DONE, "");
_Static_assert((int)EVENTS__REPLAY_PROGRESS__STATE__CANCELLED == REPLAY_CANCELLED, "");

static struct event_replay_holder *holder_new(size_t block_size)
{
    struct event_replay_holder *holder = mem_alloc(sizeof *holder);
    if (holder)
        proto_arena_init(&holder->arena, NULL, 0, block_size);
    return holder;
}

void event_replay_holder_free(struct event_replay_holder *holder)
{
    if (!holder)
        return;
    proto_arena_free(&holder->arena);
    mem_free(holder);
}

/* What a failed decoding was: the message's fault or ours. Frees the holder. */
static enum err refuse(struct event_replay_holder *holder)
{
    enum err e = holder->arena.failed ? ERR_MEMORY : ERR_MALFORMED;
    event_replay_holder_free(holder);
    return e;
}

static bool text_is_whole(struct view message, uint32_t field, const char *text)
{
    return view_is_utf8(view_of(text)) && !proto_text_has_nul(message, field);
}

/* ---- ReplayEventsRequest ---- */

/* The message and what it points to, side by side. */
struct request_row {
    Events__ReplayEventsRequest message;
    Timestamp since, until;
    Status statuses[STATUS_COUNT];
};

static void ids_to_message(const struct replay_request *request, struct proto_arena *arena,
                           Events__ReplayEventsRequest *m)
{
    if (request->event_id_count == 0)
        return;
    m->event_ids = proto_arena_alloc(arena, request->event_id_count, sizeof *m->event_ids);
    if (arena->failed)
        return;
    for (size_t i = 0; i < request->event_id_count; i++)
        m->event_ids[i] = proto_arena_text(arena, request->event_ids[i], TEXT_MAX);
    m->n_event_ids = request->event_id_count;
}

static void request_to_message(const struct replay_request *request, struct proto_arena *arena,
                               struct request_row *row)
{
    Events__ReplayEventsRequest *m = &row->message;
    events__replay_events_request__init(m);
    ids_to_message(request, arena, m);
    m->source = proto_arena_text(arena, request->source, TEXT_MAX);
    m->statuses = row->statuses;
    for (int s = STATUS_NONE + 1; s < STATUS_COUNT; s++) {
        if (request->statuses & 1u << s)
            row->statuses[m->n_statuses++] = (Status)s; /* the same numbers: event_status.c */
    }
    m->name = proto_arena_text(arena, request->name, TEXT_MAX);
    m->from_position = request->from_position;
    m->to_position = request->to_position;
    if (request->accepted_since_ms) {
        proto_time_write(request->accepted_since_ms, &row->since);
        m->accepted_since = &row->since;
    }
    if (request->accepted_until_ms) {
        proto_time_write(request->accepted_until_ms, &row->until);
        m->accepted_until = &row->until;
    }
    m->dry_run = request->dry_run;
    m->rate = request->rate;
    m->detach = request->detach;
    m->replay_id = proto_arena_text(arena, request->replay_id, TEXT_MAX);
}

enum err replay_request_write(const struct replay_request *request, struct buf *out)
{
    _Alignas(max_align_t) char stack[1024];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, 4096);
    struct request_row row;
    request_to_message(request, &arena, &row);
    enum err e = arena.failed ? ERR_MEMORY : proto_append(&row.message.base, out);
    proto_arena_free(&arena);
    return e;
}

static bool ids_from_message(const Events__ReplayEventsRequest *m, struct proto_arena *arena,
                             struct replay_request *ret)
{
    if (m->n_event_ids == 0)
        return true;
    struct view *ids = proto_arena_alloc(arena, m->n_event_ids, sizeof *ids);
    if (!ids)
        return false;
    for (size_t i = 0; i < m->n_event_ids; i++) {
        ids[i] = view_of(m->event_ids[i]);
        if (!view_is_utf8(ids[i]))
            return false;
    }
    ret->event_ids = ids;
    ret->event_id_count = m->n_event_ids;
    return true;
}

static bool statuses_from_message(const Events__ReplayEventsRequest *m, struct replay_request *ret)
{
    for (size_t i = 0; i < m->n_statuses; i++) {
        int number = (int)m->statuses[i];
        if (number <= STATUS_NONE || number >= STATUS_COUNT)
            return false;
        ret->statuses |= 1u << number;
    }
    return true;
}

static bool request_from_message(const Events__ReplayEventsRequest *m, struct proto_arena *arena,
                                 struct replay_request *ret)
{
    *ret = (struct replay_request){
        .source = view_of(m->source),
        .name = view_of(m->name),
        .from_position = m->from_position,
        .to_position = m->to_position,
        .dry_run = m->dry_run,
        .rate = m->rate,
        .detach = m->detach,
        .replay_id = view_of(m->replay_id),
    };
    if (!proto_time_read(m->accepted_since, &ret->accepted_since_ms) ||
        !proto_time_read(m->accepted_until, &ret->accepted_until_ms))
        return false;
    /* Nothing was stored then, and 0 would be no bound. */
    if (m->accepted_until && ret->accepted_until_ms == 0)
        ret->accepted_until_ms = 1;
    return ids_from_message(m, arena, ret) && statuses_from_message(m, ret);
}

enum err replay_request_read(struct view bytes, struct event_replay_holder **holder,
                             struct replay_request *ret)
{
    /* Unpacking takes many times an empty id's two bytes. */
    if (bytes.len > REQUEST_MAX || proto_count(bytes, EVENT_IDS_FIELD) > REPLAY_IDS_MAX)
        return ERR_INVALID;
    struct event_replay_holder *h = holder_new(bytes.len + 512);
    if (!h)
        return ERR_MEMORY;
    struct replay_request request;
    Events__ReplayEventsRequest *m = events__replay_events_request__unpack(
        &h->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    if (!m || !request_from_message(m, &h->arena, &request) ||
        proto_text_has_nul(bytes, EVENT_IDS_FIELD) ||
        !text_is_whole(bytes, SOURCE_FIELD, m->source) ||
        !text_is_whole(bytes, NAME_FIELD, m->name) ||
        !text_is_whole(bytes, REPLAY_ID_FIELD, m->replay_id))
        return refuse(h);
    *ret = request;
    *holder = h;
    return ERR_NONE;
}

/* ---- ReplayProgress ---- */

struct progress_row {
    Events__ReplayProgress message;
    char id[ID_TEXT_SIZE];
    Timestamp started, updated;
    struct request_row request;
};

static void progress_to_message(const struct replay_progress *progress, struct proto_arena *arena,
                                struct progress_row *row)
{
    Events__ReplayProgress *m = &row->message;
    events__replay_progress__init(m);
    if (progress->has_id) {
        id_format(&progress->id, row->id);
        m->replay_id = row->id;
    }
    m->state = (Events__ReplayProgress__State)progress->state;
    m->matched = progress->replayed + progress->skipped;
    m->replayed = progress->replayed;
    m->skipped = progress->skipped;
    if (progress->started_ms) {
        proto_time_write(progress->started_ms, &row->started);
        m->started_at = &row->started;
    }
    if (progress->updated_ms) {
        proto_time_write(progress->updated_ms, &row->updated);
        m->updated_at = &row->updated;
    }
    m->processor = proto_arena_text(arena, progress->processor, TEXT_MAX);
    m->event_position = progress->event_position;
    m->position = progress->position;
    request_to_message(&progress->request, arena, &row->request);
    m->request = &row->request.message;
}

enum err replay_progress_write(const struct replay_progress *progress, struct buf *out)
{
    _Alignas(max_align_t) char stack[1024];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, 4096);
    struct progress_row row;
    progress_to_message(progress, &arena, &row);
    enum err e = arena.failed ? ERR_MEMORY : proto_append(&row.message.base, out);
    proto_arena_free(&arena);
    return e;
}

/* Only a dry run has neither an id nor, perhaps, a state. */
static bool progress_from_message(const Events__ReplayProgress *m, struct proto_arena *arena,
                                  struct replay_progress *ret)
{
    int state = (int)m->state;
    *ret = (struct replay_progress){
        .has_id = m->replay_id[0] != '\0',
        .state = (enum replay_state)state,
        .replayed = m->replayed,
        .skipped = m->skipped,
        .processor = view_of(m->processor),
        .event_position = m->event_position,
        .position = m->position,
    };
    if (state < REPLAY_NONE || state >= REPLAY_STATES || (ret->has_id && state == REPLAY_NONE) ||
        (ret->has_id && !id_parse(view_of(m->replay_id), &ret->id)))
        return false;
    return proto_time_read(m->started_at, &ret->started_ms) &&
           proto_time_read(m->updated_at, &ret->updated_ms) &&
           (!m->request || request_from_message(m->request, arena, &ret->request));
}

enum err replay_progress_read(struct view bytes, struct event_replay_holder **holder,
                              struct replay_progress *ret)
{
    struct event_replay_holder *h = holder_new(bytes.len + 1024);
    if (!h)
        return ERR_MEMORY;
    struct replay_progress progress;
    Events__ReplayProgress *m = events__replay_progress__unpack(&h->arena.allocator, bytes.len,
                                                                (const uint8_t *)bytes.data);
    if (!m || !progress_from_message(m, &h->arena, &progress))
        return refuse(h);
    *ret = progress;
    *holder = h;
    return ERR_NONE;
}

/* ---- GetReplayRequest and CancelReplayRequest, which are the same ---- */

enum err replay_id_write(struct view replay_id, struct buf *out)
{
    _Alignas(max_align_t) char stack[256];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, sizeof stack);
    Events__GetReplayRequest m;
    events__get_replay_request__init(&m);
    m.replay_id = proto_arena_text(&arena, replay_id, TEXT_MAX);
    enum err e = arena.failed ? ERR_MEMORY : proto_append(&m.base, out);
    proto_arena_free(&arena);
    return e;
}

enum err replay_id_read(struct view bytes, struct event_replay_holder **holder, struct view *ret)
{
    struct event_replay_holder *h = holder_new(bytes.len + 256);
    if (!h)
        return ERR_MEMORY;
    Events__GetReplayRequest *m = events__get_replay_request__unpack(&h->arena.allocator, bytes.len,
                                                                     (const uint8_t *)bytes.data);
    if (!m || !text_is_whole(bytes, ID_FIELD, m->replay_id))
        return refuse(h);
    *ret = view_of(m->replay_id);
    *holder = h;
    return ERR_NONE;
}

/* ---- ListReplays ---- */

enum err replay_list_request_write(uint32_t page_size, struct buf *out)
{
    Events__ListReplaysRequest m;
    events__list_replays_request__init(&m);
    m.page_size = page_size;
    return proto_append(&m.base, out);
}

enum err replay_list_request_read(struct view bytes, uint32_t *ret_page_size)
{
    _Alignas(max_align_t) char stack[512];
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, bytes.len + 256);
    Events__ListReplaysRequest *m = events__list_replays_request__unpack(
        &arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    enum err e = m ? ERR_NONE : arena.failed ? ERR_MEMORY : ERR_MALFORMED;
    if (m)
        *ret_page_size = m->page_size;
    proto_arena_free(&arena);
    return e;
}

static void list_to_message(const struct replay_progress *replays, size_t count,
                            struct proto_arena *arena, Events__ListReplaysResponse *m)
{
    if (count == 0)
        return;
    struct progress_row *rows = proto_arena_alloc(arena, count, sizeof *rows);
    m->replays = proto_arena_alloc(arena, count, sizeof *m->replays);
    if (arena->failed)
        return;
    for (size_t i = 0; i < count; i++) {
        progress_to_message(&replays[i], arena, &rows[i]);
        m->replays[i] = &rows[i].message;
    }
    m->n_replays = count;
}

enum err replay_list_write(const struct replay_progress *replays, size_t count, struct buf *out)
{
    struct proto_arena arena;
    proto_arena_init(&arena, NULL, 0, 16384);
    Events__ListReplaysResponse m;
    events__list_replays_response__init(&m);
    list_to_message(replays, count, &arena, &m);
    enum err e = arena.failed ? ERR_MEMORY : proto_append(&m.base, out);
    proto_arena_free(&arena);
    return e;
}

enum err replay_list_read(struct view bytes, struct event_replay_holder **holder,
                          const struct replay_progress **ret, size_t *ret_count)
{
    struct event_replay_holder *h = holder_new(bytes.len + 4096);
    if (!h)
        return ERR_MEMORY;
    Events__ListReplaysResponse *m = events__list_replays_response__unpack(
        &h->arena.allocator, bytes.len, (const uint8_t *)bytes.data);
    if (!m)
        return refuse(h);
    struct replay_progress *replays = proto_arena_alloc(&h->arena, m->n_replays, sizeof *replays);
    if (!replays)
        return refuse(h);
    for (size_t i = 0; i < m->n_replays; i++) {
        if (!progress_from_message(m->replays[i], &h->arena, &replays[i]))
            return refuse(h);
    }
    *ret = replays;
    *ret_count = m->n_replays;
    *holder = h;
    return ERR_NONE;
}
