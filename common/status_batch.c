#include "common/status_batch_parts.h"

#include "common/mem.h"

#define VERSION 1
#define ALONE 16u /* added to a status in its column */
#define ID_SIZE sizeof((struct event_id){0}.bytes)

/* ---- writing ---- */

static uint32_t column_of(struct status_state state)
{
    return (uint32_t)state.status | (state.alone ? ALONE : 0);
}

static bool add_columns(Tidings__Log__StatusBatch *m, struct proto_arena *arena, size_t count)
{
    m->event_ids.len = count * ID_SIZE;
    m->event_ids.data = proto_arena_alloc(arena, count, ID_SIZE);
    m->event_positions = proto_arena_alloc(arena, count, sizeof *m->event_positions);
    m->statuses = proto_arena_alloc(arena, count, sizeof *m->statuses);
    m->attempts = proto_arena_alloc(arena, count, sizeof *m->attempts);
    m->generations = proto_arena_alloc(arena, count, sizeof *m->generations);
    m->times_ms = proto_arena_alloc(arena, count, sizeof *m->times_ms);
    m->previous_positions = proto_arena_alloc(arena, count, sizeof *m->previous_positions);
    m->n_event_positions = m->n_statuses = m->n_attempts = m->n_generations = m->n_times_ms =
        m->n_previous_positions = count;
    return !arena->failed;
}

static void fill_columns(Tidings__Log__StatusBatch *m, const struct status_change *changes,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct status_change *change = &changes[i];
        memcpy(m->event_ids.data + i * ID_SIZE, change->id.bytes, ID_SIZE);
        m->event_positions[i] = change->event_position;
        m->statuses[i] = column_of(change->state);
        m->attempts[i] = change->state.attempt;
        m->generations[i] = change->state.generation;
        m->times_ms[i] = change->time_ms;
        m->previous_positions[i] = change->previous_position;
    }
}

static bool add_errors(Tidings__Log__StatusBatch *m, struct proto_arena *arena,
                       const struct status_change *changes, size_t count)
{
    size_t errors = 0;
    for (size_t i = 0; i < count; i++)
        errors += changes[i].error.len != 0;
    if (!errors)
        return true;
    m->error_rows = proto_arena_alloc(arena, errors, sizeof *m->error_rows);
    m->error_texts = proto_arena_alloc(arena, errors, sizeof *m->error_texts);
    if (arena->failed)
        return false;
    size_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (!changes[i].error.len)
            continue;
        m->error_rows[next] = (uint32_t)i;
        m->error_texts[next++] = proto_arena_text(arena, changes[i].error, STATUS_ERROR_MAX);
    }
    m->n_error_rows = m->n_error_texts = errors;
    return !arena->failed;
}

static bool add_letters(Tidings__Log__StatusBatch *m, struct proto_arena *arena,
                        const struct status_change *changes, size_t count)
{
    size_t letters = 0;
    for (size_t i = 0; i < count; i++)
        letters += changes[i].letter_position != 0;
    if (!letters)
        return true;
    m->letter_rows = proto_arena_alloc(arena, letters, sizeof *m->letter_rows);
    m->letter_positions = proto_arena_alloc(arena, letters, sizeof *m->letter_positions);
    if (arena->failed)
        return false;
    size_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (!changes[i].letter_position)
            continue;
        m->letter_rows[next] = (uint32_t)i;
        m->letter_positions[next++] = changes[i].letter_position;
    }
    m->n_letter_rows = m->n_letter_positions = letters;
    return true;
}

static bool add_conflicts(Tidings__Log__StatusBatch *m, struct proto_arena *arena,
                          const struct status_change *changes, size_t count)
{
    size_t conflicts = 0;
    for (size_t i = 0; i < count; i++)
        conflicts += changes[i].conflict_position != 0;
    if (!conflicts)
        return true;
    m->conflict_rows = proto_arena_alloc(arena, conflicts, sizeof *m->conflict_rows);
    m->conflict_ids.data = proto_arena_alloc(arena, conflicts, ID_SIZE);
    m->conflict_positions = proto_arena_alloc(arena, conflicts, sizeof *m->conflict_positions);
    if (arena->failed)
        return false;
    size_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (!changes[i].conflict_position)
            continue;
        memcpy(m->conflict_ids.data + next * ID_SIZE, changes[i].conflict_id.bytes, ID_SIZE);
        m->conflict_rows[next] = (uint32_t)i;
        m->conflict_positions[next++] = changes[i].conflict_position;
    }
    m->n_conflict_rows = m->n_conflict_positions = conflicts;
    m->conflict_ids.len = conflicts * ID_SIZE;
    return true;
}

static bool add_dues(Tidings__Log__StatusBatch *m, struct proto_arena *arena,
                     const struct status_change *changes, size_t count)
{
    size_t dues = 0;
    for (size_t i = 0; i < count; i++)
        dues += changes[i].due_ms != 0;
    if (!dues)
        return true;
    m->due_rows = proto_arena_alloc(arena, dues, sizeof *m->due_rows);
    m->due_times_ms = proto_arena_alloc(arena, dues, sizeof *m->due_times_ms);
    if (arena->failed)
        return false;
    size_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (!changes[i].due_ms)
            continue;
        m->due_rows[next] = (uint32_t)i;
        m->due_times_ms[next++] = changes[i].due_ms;
    }
    m->n_due_rows = m->n_due_times_ms = dues;
    return true;
}

static bool add_deliveries(Tidings__Log__StatusBatch *m, struct proto_arena *arena,
                           const struct status_change *changes, size_t count)
{
    size_t deliveries = 0;
    for (size_t i = 0; i < count; i++)
        deliveries += changes[i].delivery.position != 0;
    if (!deliveries)
        return true;
    m->delivery_rows = proto_arena_alloc(arena, deliveries, sizeof *m->delivery_rows);
    m->delivery_logs = proto_arena_alloc(arena, deliveries, sizeof *m->delivery_logs);
    m->delivery_positions = proto_arena_alloc(arena, deliveries, sizeof *m->delivery_positions);
    if (arena->failed)
        return false;
    size_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (!changes[i].delivery.position)
            continue;
        m->delivery_rows[next] = (uint32_t)i;
        m->delivery_logs[next] = (uint32_t)changes[i].delivery.log;
        m->delivery_positions[next++] = changes[i].delivery.position;
    }
    m->n_delivery_rows = m->n_delivery_logs = m->n_delivery_positions = deliveries;
    return true;
}

static bool delivery_is_known(uint32_t log, uint64_t position)
{
    return position != 0 && (log == STATUS_DELIVERY_EVENT || log == STATUS_DELIVERY_RETRY);
}

static bool is_allowed(const struct status_change *change)
{
    enum status status = change->state.status;
    struct status_delivery delivery = change->delivery;
    bool named = delivery.position != 0 || delivery.log != STATUS_DELIVERY_NONE;
    return (change->conflict_position == 0 || status == STATUS_DEAD) &&
           (change->due_ms == 0 || (status == STATUS_RETRYING && change->due_ms > 0)) &&
           (!named || (status == STATUS_PROCESSING &&
                       delivery_is_known((uint32_t)delivery.log, delivery.position)));
}

static bool are_allowed(const struct status_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!is_allowed(&changes[i]))
            return false;
    return count <= STATUS_BATCH_MAX;
}

enum err status_batch_write(const struct status_change *changes, size_t count,
                            struct view processor, struct buf *out)
{
    return status_batch_write_all(changes, count, NULL, 0, processor, out);
}

static bool add_all(Tidings__Log__StatusBatch *m, struct proto_arena *arena,
                    const struct status_change *changes, size_t count)
{
    if (count == 0)
        return true;
    if (!add_columns(m, arena, count))
        return false;
    fill_columns(m, changes, count);
    return add_errors(m, arena, changes, count) && add_letters(m, arena, changes, count) &&
           add_conflicts(m, arena, changes, count) && add_dues(m, arena, changes, count) &&
           add_deliveries(m, arena, changes, count);
}

enum err status_batch_write_all(const struct status_change *changes, size_t count,
                                const struct replay_change *replays, size_t replay_count,
                                struct view processor, struct buf *out)
{
    if (count + replay_count == 0 || !are_allowed(changes, count) ||
        !status_batch_replays_allowed(replays, replay_count))
        return ERR_INVALID;
    _Alignas(max_align_t) char stack[4096]; /* a small batch allocates nothing */
    size_t row = ID_SIZE + 3 * sizeof(uint64_t) + 3 * sizeof(uint32_t);
    struct proto_arena arena;
    proto_arena_init(&arena, stack, sizeof stack, count * row + STATUS_BATCH_PROCESSOR_MAX + 256);

    Tidings__Log__StatusBatch m;
    tidings__log__status_batch__init(&m);
    m.version = VERSION;
    m.processor = proto_arena_text(&arena, processor, STATUS_BATCH_PROCESSOR_MAX);
    enum err e = ERR_MEMORY;
    if (m.processor && add_all(&m, &arena, changes, count) &&
        status_batch_add_replays(&m, &arena, replays, replay_count))
        e = proto_append(&m.base, out);
    proto_arena_free(&arena);
    return e;
}

/* ---- reading ---- */

static bool columns_agree(const Tidings__Log__StatusBatch *m)
{
    size_t count = m->n_statuses;
    return count + m->n_replays >= 1 && count <= STATUS_BATCH_MAX &&
           m->event_ids.len == count * ID_SIZE && m->n_event_positions == count &&
           m->n_attempts == count && m->n_generations == count && m->n_times_ms == count &&
           m->n_previous_positions == count && m->n_error_rows == m->n_error_texts &&
           m->n_letter_rows == m->n_letter_positions &&
           m->n_conflict_rows == m->n_conflict_positions &&
           m->conflict_ids.len == m->n_conflict_rows * ID_SIZE &&
           m->n_due_rows == m->n_due_times_ms && m->n_delivery_rows == m->n_delivery_logs &&
           m->n_delivery_rows == m->n_delivery_positions;
}

static bool state_is_known(uint32_t column, uint32_t generation, uint32_t attempt)
{
    uint32_t status = column & ~ALONE;
    return status > STATUS_NONE && status < STATUS_COUNT &&
           (!(column & ALONE) || status == STATUS_PROCESSING) &&
           generation <= STATUS_GENERATION_MAX && attempt <= STATUS_ATTEMPT_MAX;
}

/* The rows of a sparse column: they ascend, and there are such changes. */
static bool rows_are_sound(const uint32_t *rows, size_t count, size_t changes)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i] >= changes || (i > 0 && rows[i] <= rows[i - 1]))
            return false;
    return true;
}

static bool errors_are_sound(const Tidings__Log__StatusBatch *m)
{
    if (!rows_are_sound(m->error_rows, m->n_error_rows, m->n_statuses))
        return false;
    for (size_t i = 0; i < m->n_error_rows; i++) {
        struct view text = view_of(m->error_texts[i]);
        if (text.len > STATUS_ERROR_MAX || !view_is_utf8(text))
            return false;
    }
    return true;
}

static bool letters_are_sound(const Tidings__Log__StatusBatch *m)
{
    if (!rows_are_sound(m->letter_rows, m->n_letter_rows, m->n_statuses))
        return false;
    for (size_t i = 0; i < m->n_letter_rows; i++)
        if (m->letter_positions[i] == 0)
            return false;
    return true;
}

static bool conflicts_are_sound(const Tidings__Log__StatusBatch *m)
{
    if (!rows_are_sound(m->conflict_rows, m->n_conflict_rows, m->n_statuses))
        return false;
    for (size_t i = 0; i < m->n_conflict_rows; i++)
        if (m->conflict_positions[i] == 0 || m->statuses[m->conflict_rows[i]] != STATUS_DEAD)
            return false;
    return true;
}

static bool dues_are_sound(const Tidings__Log__StatusBatch *m)
{
    if (!rows_are_sound(m->due_rows, m->n_due_rows, m->n_statuses))
        return false;
    for (size_t i = 0; i < m->n_due_rows; i++)
        if (m->due_times_ms[i] <= 0 || m->statuses[m->due_rows[i]] != STATUS_RETRYING)
            return false;
    return true;
}

static bool deliveries_are_sound(const Tidings__Log__StatusBatch *m)
{
    if (!rows_are_sound(m->delivery_rows, m->n_delivery_rows, m->n_statuses))
        return false;
    for (size_t i = 0; i < m->n_delivery_rows; i++)
        if (!delivery_is_known(m->delivery_logs[i], m->delivery_positions[i]) ||
            (m->statuses[m->delivery_rows[i]] & ~ALONE) != STATUS_PROCESSING)
            return false;
    return true;
}

static bool message_is_sound(const Tidings__Log__StatusBatch *m)
{
    if (m->version != VERSION || !columns_agree(m) || !errors_are_sound(m) ||
        !letters_are_sound(m) || !conflicts_are_sound(m) || !dues_are_sound(m) ||
        !deliveries_are_sound(m) || !status_batch_replays_sound(m))
        return false;
    for (size_t i = 0; i < m->n_statuses; i++) {
        if (!state_is_known(m->statuses[i], m->generations[i], m->attempts[i]))
            return false;
    }
    return true;
}

enum err status_batch_read(struct view bytes, struct status_batch **ret)
{
    struct status_batch *batch = mem_alloc(sizeof *batch);
    if (!batch)
        return ERR_MEMORY;
    /* Columns of varints grow when decoded: 3 bytes of position become 8. */
    proto_arena_init(&batch->arena, NULL, 0, bytes.len * 3 + 1024);
    batch->message = tidings__log__status_batch__unpack(&batch->arena.allocator, bytes.len,
                                                        (const uint8_t *)bytes.data);
    if (batch->message && message_is_sound(batch->message)) {
        *ret = batch;
        return ERR_NONE;
    }
    enum err e = batch->arena.failed ? ERR_MEMORY : ERR_MALFORMED;
    status_batch_free(batch);
    return e;
}

void status_batch_free(struct status_batch *batch)
{
    if (!batch)
        return;
    proto_arena_free(&batch->arena);
    mem_free(batch);
}

size_t status_batch_count(const struct status_batch *batch)
{
    return batch->message->n_statuses;
}

/* Where the row is in a sparse column; false: it has nothing there. Such rows are few, and
 * ascend. */
static bool find_row(const uint32_t *rows, size_t count, size_t row, size_t *ret)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    *ret = low;
    return low < count && rows[low] == row;
}

/* What the sparse columns have for the row. */
static void get_sparse(const Tidings__Log__StatusBatch *m, size_t row, struct status_change *change)
{
    size_t i;
    if (find_row(m->error_rows, m->n_error_rows, row, &i))
        change->error = view_of(m->error_texts[i]);
    if (find_row(m->letter_rows, m->n_letter_rows, row, &i))
        change->letter_position = m->letter_positions[i];
    if (find_row(m->conflict_rows, m->n_conflict_rows, row, &i)) {
        change->conflict_position = m->conflict_positions[i];
        memcpy(change->conflict_id.bytes, m->conflict_ids.data + i * ID_SIZE, ID_SIZE);
    }
    if (find_row(m->due_rows, m->n_due_rows, row, &i))
        change->due_ms = m->due_times_ms[i];
    if (find_row(m->delivery_rows, m->n_delivery_rows, row, &i)) {
        change->delivery.log = (enum status_delivery_log)m->delivery_logs[i];
        change->delivery.position = m->delivery_positions[i];
    }
}

struct status_change status_batch_get(const struct status_batch *batch, size_t index)
{
    const Tidings__Log__StatusBatch *m = batch->message;
    struct status_change change = {
        .event_position = m->event_positions[index],
        .state = {.status = (enum status)(m->statuses[index] & ~ALONE),
                  .alone = (m->statuses[index] & ALONE) != 0,
                  .generation = m->generations[index],
                  .attempt = m->attempts[index]},
        .time_ms = m->times_ms[index],
        .previous_position = m->previous_positions[index],
        .error = {"", 0},
    };
    memcpy(change.id.bytes, m->event_ids.data + index * ID_SIZE, ID_SIZE);
    get_sparse(m, index, &change);
    return change;
}

struct view status_batch_processor(const struct status_batch *batch)
{
    return view_of(batch->message->processor);
}
