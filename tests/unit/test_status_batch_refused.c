/* What is no batch of status changes is refused as a whole. */
#include "common/status_batch.h"
#include "tests/lib/unit.h"

#include "status_log.pb-c.h"

static uint64_t two_positions[2] = {1, 2};
static uint32_t two_statuses[2] = {STATUS_PROCESSED, STATUS_DEAD};
static uint32_t two_attempts[2] = {1, 1};
static uint32_t two_generations[2] = {0, 0};
static int64_t two_times[2] = {1, 2};
static uint32_t two_rows[2] = {0, 1};
static char *two_texts[2] = {"a", "b"};
static uint8_t two_ids[32] = {1};
static uint32_t second_row[1] = {1}; /* the one that is dead */

static Tidings__Log__StatusBatch sound_message(void)
{
    Tidings__Log__StatusBatch m;
    tidings__log__status_batch__init(&m);
    m.version = 1;
    m.processor = "p";
    m.event_ids = (ProtobufCBinaryData){32, two_ids};
    m.n_event_positions = m.n_statuses = m.n_attempts = m.n_generations = m.n_times_ms = 2;
    m.n_previous_positions = m.n_error_rows = m.n_error_texts = 2;
    m.event_positions = m.previous_positions = two_positions;
    m.statuses = two_statuses;
    m.attempts = two_attempts;
    m.generations = two_generations;
    m.times_ms = two_times;
    m.error_rows = two_rows;
    m.error_texts = two_texts;
    m.n_letter_rows = m.n_letter_positions = m.n_conflict_rows = m.n_conflict_positions = 1;
    m.letter_rows = m.conflict_rows = second_row;
    m.letter_positions = m.conflict_positions = two_positions;
    m.conflict_ids = (ProtobufCBinaryData){16, two_ids};
    return m;
}

static enum err read_message(const Tidings__Log__StatusBatch *m)
{
    uint8_t bytes[1024];
    struct status_batch *batch = NULL;
    assert_true(tidings__log__status_batch__get_packed_size(m) <= sizeof bytes);
    size_t len = tidings__log__status_batch__pack(m, bytes);
    enum err e = status_batch_read((struct view){(const char *)bytes, len}, &batch);
    if (e == ERR_NONE)
        status_batch_free(batch);
    else
        assert_null(batch);
    return e;
}

static void check_refused(void (*spoil)(Tidings__Log__StatusBatch *m))
{
    Tidings__Log__StatusBatch m = sound_message();
    spoil(&m);
    assert_int_equal(read_message(&m), ERR_MALFORMED);
}

#define SPOIL(name, ...)                           \
    static void name(Tidings__Log__StatusBatch *m) \
    {                                              \
        __VA_ARGS__;                               \
    }
/* clang-format off */
SPOIL(other_version, m->version = 2)
SPOIL(no_version, m->version = 0)
SPOIL(short_ids, m->event_ids.len = 31)
SPOIL(short_positions, m->n_event_positions = 1)
SPOIL(short_statuses, m->n_statuses = 1)
SPOIL(short_attempts, m->n_attempts = 1)
SPOIL(short_generations, m->n_generations = 1)
SPOIL(short_times, m->n_times_ms = 1)
SPOIL(short_previous, m->n_previous_positions = 1)
SPOIL(short_texts, m->n_error_texts = 1)
SPOIL(row_beyond, static uint32_t rows[2] = {0, 2}; m->error_rows = rows)
SPOIL(rows_descend, static uint32_t rows[2] = {1, 0}; m->error_rows = rows)
SPOIL(row_twice, static uint32_t rows[2] = {1, 1}; m->error_rows = rows)
SPOIL(text_not_utf8, static char *texts[2] = {"a", "\xFF"}; m->error_texts = texts)
SPOIL(short_letters, m->n_letter_positions = 0)
SPOIL(letter_beyond, static uint32_t rows[1] = {2}; m->letter_rows = rows)
static void letters_descend(Tidings__Log__StatusBatch *m)
{
    static uint32_t rows[2] = {1, 0};
    m->letter_rows = rows;
    m->letter_positions = two_positions;
    m->n_letter_rows = m->n_letter_positions = 2;
}
SPOIL(letter_nowhere, static uint64_t positions[1] = {0}; m->letter_positions = positions)
SPOIL(short_conflict_ids, m->conflict_ids.len = 15)
SPOIL(short_conflict_positions, m->n_conflict_positions = 0)
SPOIL(conflict_beyond, static uint32_t rows[1] = {2}; m->conflict_rows = rows)
static void conflict_twice(Tidings__Log__StatusBatch *m)
{
    static uint32_t rows[2] = {1, 1};
    m->conflict_rows = rows;
    m->conflict_positions = two_positions;
    m->n_conflict_rows = m->n_conflict_positions = 2;
    m->conflict_ids.len = 32;
}
SPOIL(conflict_nowhere, static uint64_t positions[1] = {0}; m->conflict_positions = positions)
SPOIL(conflict_of_what_is_not_dead, static uint32_t rows[1] = {0}; m->conflict_rows = rows)
static uint32_t first_row[1] = {0};
static int64_t a_time[1] = {5};
static uint32_t a_log[1] = {STATUS_DELIVERY_EVENT};
static uint32_t due_statuses[2] = {STATUS_RETRYING, STATUS_DEAD};
static uint32_t running_statuses[2] = {STATUS_PROCESSING, STATUS_DEAD};

static void add_due(Tidings__Log__StatusBatch *m)
{
    m->statuses = due_statuses;
    m->n_due_rows = m->n_due_times_ms = 1;
    m->due_rows = first_row;
    m->due_times_ms = a_time;
}
static void add_delivery(Tidings__Log__StatusBatch *m)
{
    m->statuses = running_statuses;
    m->n_delivery_rows = m->n_delivery_logs = m->n_delivery_positions = 1;
    m->delivery_rows = first_row;
    m->delivery_logs = a_log;
    m->delivery_positions = two_positions;
}
SPOIL(short_dues, add_due(m); m->n_due_times_ms = 0)
SPOIL(due_never, static int64_t times[1] = {0}; add_due(m); m->due_times_ms = times)
SPOIL(due_beyond, static uint32_t rows[1] = {2}; add_due(m); m->due_rows = rows)
SPOIL(due_when_dead, add_due(m); m->due_rows = second_row)
SPOIL(short_delivery_logs, add_delivery(m); m->n_delivery_logs = 0)
SPOIL(short_delivery_positions, add_delivery(m); m->n_delivery_positions = 0)
SPOIL(delivery_of_no_log, static uint32_t logs[1] = {3}; add_delivery(m); m->delivery_logs = logs)
SPOIL(delivery_nowhere, static uint64_t positions[1] = {0}; add_delivery(m);
      m->delivery_positions = positions)
SPOIL(delivery_when_dead, add_delivery(m); m->delivery_rows = second_row)
SPOIL(status_none, static uint32_t statuses[2] = {STATUS_PROCESSED, STATUS_NONE};
      m->statuses = statuses)
SPOIL(status_beyond, static uint32_t statuses[2] = {STATUS_PROCESSED, STATUS_COUNT};
      m->statuses = statuses)
SPOIL(status_huge, static uint32_t statuses[2] = {STATUS_PROCESSED, UINT32_MAX};
      m->statuses = statuses)
SPOIL(alone_when_processed,
      static uint32_t statuses[2] = {STATUS_PROCESSED, STATUS_PROCESSED + 16};
      m->statuses = statuses)
SPOIL(generation_beyond, static uint32_t generations[2] = {0, STATUS_GENERATION_MAX + 1};
      m->generations = generations)
SPOIL(attempt_beyond, static uint32_t attempts[2] = {0, STATUS_ATTEMPT_MAX + 1};
      m->attempts = attempts)
SPOIL(empty, tidings__log__status_batch__init(m); m->version = 1)
/* clang-format on */

static void due_columns_are_read(void **state)
{
    Tidings__Log__StatusBatch m = sound_message();
    (void)state;
    add_due(&m);
    assert_int_equal(read_message(&m), ERR_NONE);
    m = sound_message();
    add_delivery(&m);
    assert_int_equal(read_message(&m), ERR_NONE);
}

static void what_is_not_a_batch_is_refused(void **state)
{
    static void (*const spoilers[])(Tidings__Log__StatusBatch *) = {other_version,
                                                                    no_version,
                                                                    short_ids,
                                                                    short_positions,
                                                                    short_statuses,
                                                                    short_attempts,
                                                                    short_generations,
                                                                    short_times,
                                                                    short_previous,
                                                                    short_texts,
                                                                    row_beyond,
                                                                    rows_descend,
                                                                    row_twice,
                                                                    text_not_utf8,
                                                                    status_none,
                                                                    status_beyond,
                                                                    status_huge,
                                                                    alone_when_processed,
                                                                    generation_beyond,
                                                                    attempt_beyond,
                                                                    short_letters,
                                                                    short_dues,
                                                                    due_never,
                                                                    due_beyond,
                                                                    due_when_dead,
                                                                    short_delivery_logs,
                                                                    short_delivery_positions,
                                                                    delivery_of_no_log,
                                                                    delivery_nowhere,
                                                                    delivery_when_dead,
                                                                    letter_beyond,
                                                                    letters_descend,
                                                                    letter_nowhere,
                                                                    short_conflict_ids,
                                                                    short_conflict_positions,
                                                                    conflict_beyond,
                                                                    conflict_twice,
                                                                    conflict_nowhere,
                                                                    conflict_of_what_is_not_dead,
                                                                    empty};
    (void)state;
    Tidings__Log__StatusBatch m = sound_message();
    assert_int_equal(read_message(&m), ERR_NONE);
    for (size_t i = 0; i < sizeof spoilers / sizeof spoilers[0]; i++)
        check_refused(spoilers[i]);
}

static void bytes_that_are_no_message_are_refused(void **state)
{
    struct status_batch *batch = NULL;
    (void)state;
    assert_int_equal(status_batch_read(VIEW(""), &batch), ERR_MALFORMED);
    assert_int_equal(status_batch_read(VIEW("\xFF\xFF\xFF\xFF"), &batch), ERR_MALFORMED);
    assert_int_equal(status_batch_read(VIEW("{\"version\":1}"), &batch), ERR_MALFORMED);
    assert_null(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(due_columns_are_read),
        cmocka_unit_test(what_is_not_a_batch_is_refused),
        cmocka_unit_test(bytes_that_are_no_message_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
