/* Replays' changes in a batch of the status log. */
#include "common/config.h"
#include "common/event.h"
#include "common/status_batch_parts.h"

#define ID_SIZE sizeof(struct event_id)
#define ENDED (1u << STATUS_PROCESSED | 1u << STATUS_DEAD)

_Static_assert(sizeof(struct event_id) == 16, "ids lie in a column as they are");

/* ---- what may be ---- */

static bool letters_allowed(const struct replay_filter *filter)
{
    for (size_t i = 0; i < filter->letter_count; i++)
        if (filter->letters[i] <= (i > 0 ? filter->letters[i - 1] : 0))
            return false;
    return filter->letter_count <= filter->event_id_count;
}

static bool filter_allowed(const struct replay_filter *filter)
{
    bool positions = filter->from_position == 0 || filter->to_position == 0 ||
                     filter->from_position <= filter->to_position;
    bool times = filter->accepted_since_ms == 0 || filter->accepted_until_ms == 0 ||
                 filter->accepted_since_ms < filter->accepted_until_ms;
    return positions && times && letters_allowed(filter) &&
           filter->event_id_count <= REPLAY_IDS_MAX && filter->statuses != 0 &&
           (filter->statuses & ~ENDED) == 0 &&
           (filter->name.len == 0 || config_is_pattern(filter->name));
}

static bool change_allowed(const struct replay_change *change)
{
    return !id_is_zero(&change->id) && change->state > REPLAY_NONE &&
           change->state < REPLAY_STATES && change->runner.len <= STATUS_BATCH_PROCESSOR_MAX &&
           (!change->has_filter || filter_allowed(&change->filter));
}

bool status_batch_replays_allowed(const struct replay_change *replays, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!change_allowed(&replays[i]))
            return false;
    return count <= STATUS_BATCH_REPLAYS_MAX;
}

/* ---- writing ---- */

static Tidings__Log__ReplayFilter *new_filter(struct proto_arena *arena,
                                              const struct replay_filter *from)
{
    Tidings__Log__ReplayFilter *m = proto_arena_alloc(arena, 1, sizeof *m);
    if (!m)
        return NULL;
    tidings__log__replay_filter__init(m);
    m->event_ids.len = from->event_id_count * ID_SIZE;
    m->event_ids.data = (uint8_t *)from->event_ids; /* only read */
    m->statuses = proto_arena_alloc(arena, STATUS_COUNT, sizeof *m->statuses);
    m->name = proto_arena_text(arena, from->name, EVENT_NAME_MAX);
    if (!m->statuses || !m->name)
        return NULL;
    for (uint32_t status = 0; status < STATUS_COUNT; status++)
        if ((from->statuses >> status & 1) != 0)
            m->statuses[m->n_statuses++] = status;
    m->from_position = from->from_position;
    m->to_position = from->to_position;
    m->accepted_since_ms = from->accepted_since_ms;
    m->accepted_until_ms = from->accepted_until_ms;
    m->rate = from->rate;
    m->last_position = from->last_position;
    m->n_letters = from->letter_count;
    m->letters = (uint64_t *)from->letters; /* only read */
    return m;
}

static Tidings__Log__ReplayChange *new_change(struct proto_arena *arena,
                                              const struct replay_change *from)
{
    Tidings__Log__ReplayChange *m = proto_arena_alloc(arena, 1, sizeof *m);
    if (!m)
        return NULL;
    tidings__log__replay_change__init(m);
    m->replay_id.len = ID_SIZE;
    m->replay_id.data = (uint8_t *)from->id.bytes; /* only read */
    m->state = (uint32_t)from->state;
    m->time_ms = from->time_ms;
    m->cursor = from->cursor;
    m->letter_cursor = from->letter_cursor;
    m->replayed = from->replayed;
    m->skipped = from->skipped;
    m->runner = proto_arena_text(arena, from->runner, STATUS_BATCH_PROCESSOR_MAX);
    if (from->has_filter)
        m->filter = new_filter(arena, &from->filter);
    return m->runner && (m->filter || !from->has_filter) ? m : NULL;
}

bool status_batch_add_replays(Tidings__Log__StatusBatch *m, struct proto_arena *arena,
                              const struct replay_change *replays, size_t count)
{
    if (count == 0)
        return true;
    m->replays = proto_arena_alloc(arena, count, sizeof *m->replays);
    if (!m->replays)
        return false;
    for (size_t i = 0; i < count; i++) {
        m->replays[i] = new_change(arena, &replays[i]);
        if (!m->replays[i])
            return false;
    }
    m->n_replays = count;
    return true;
}

/* ---- reading ---- */

/* False: a status that does not exist, or one twice. */
static bool statuses_of(const Tidings__Log__ReplayFilter *m, unsigned *ret)
{
    *ret = 0;
    for (size_t i = 0; i < m->n_statuses; i++) {
        if (m->statuses[i] >= STATUS_COUNT || (*ret >> m->statuses[i] & 1) != 0)
            return false;
        *ret |= 1u << m->statuses[i];
    }
    return true;
}

static struct replay_filter filter_of(const Tidings__Log__ReplayFilter *m)
{
    struct replay_filter filter = {
        .event_ids = (const struct event_id *)m->event_ids.data,
        .event_id_count = m->event_ids.len / ID_SIZE,
        .name = view_of(m->name),
        .from_position = m->from_position,
        .to_position = m->to_position,
        .accepted_since_ms = m->accepted_since_ms,
        .accepted_until_ms = m->accepted_until_ms,
        .rate = m->rate,
        .last_position = m->last_position,
        .letters = m->letters,
        .letter_count = m->n_letters,
    };
    if (!statuses_of(m, &filter.statuses))
        filter.statuses = 0; /* which is not allowed */
    return filter;
}

static struct replay_change change_of(const Tidings__Log__ReplayChange *m)
{
    struct replay_change change = {
        .state = m->state < REPLAY_STATES ? (enum replay_state)m->state : REPLAY_NONE,
        .time_ms = m->time_ms,
        .cursor = m->cursor,
        .letter_cursor = m->letter_cursor,
        .replayed = m->replayed,
        .skipped = m->skipped,
        .has_filter = m->filter != NULL,
        .runner = view_of(m->runner),
    };
    if (m->replay_id.len == ID_SIZE)
        memcpy(change.id.bytes, m->replay_id.data, ID_SIZE);
    if (m->filter)
        change.filter = filter_of(m->filter);
    return change;
}

bool status_batch_replays_sound(const Tidings__Log__StatusBatch *m)
{
    if (m->n_replays > STATUS_BATCH_REPLAYS_MAX)
        return false;
    for (size_t i = 0; i < m->n_replays; i++) {
        const Tidings__Log__ReplayFilter *filter = m->replays[i]->filter;
        struct replay_change change = change_of(m->replays[i]);
        if (!change_allowed(&change) || !view_is_utf8(change.runner) ||
            (filter && filter->event_ids.len % ID_SIZE != 0))
            return false;
    }
    return true;
}

size_t status_batch_replay_count(const struct status_batch *batch)
{
    return batch->message->n_replays;
}

struct replay_change status_batch_replay(const struct status_batch *batch, size_t index)
{
    return change_of(batch->message->replays[index]);
}
