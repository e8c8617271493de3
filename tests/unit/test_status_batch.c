#include "common/status_batch.h"

#include "common/mem.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <stdlib.h>

#define MAX (16u << 20)

/* A change with a value of its own in every member. */
static struct status_change change_of(size_t i)
{
    static const enum status statuses[] = {STATUS_PROCESSED, STATUS_PROCESSING, STATUS_RETRYING,
                                           STATUS_DEAD, STATUS_ACCEPTED};
    struct status_change change = {
        .event_position = 1 + i * 1000003,
        .state = {.status = statuses[i % 5],
                  .generation = (uint32_t)(i % (STATUS_GENERATION_MAX + 1)),
                  .attempt = (uint32_t)((i * 7) % (STATUS_ATTEMPT_MAX + 1))},
        .time_ms = 1700000000000 + (int64_t)i * 17,
        .previous_position = i % 3 ? i * 31 : 0,
    };
    for (size_t k = 0; k < sizeof change.id.bytes; k++)
        change.id.bytes[k] = (uint8_t)(i * 31 + k);
    change.state.alone = change.state.status == STATUS_PROCESSING && i % 2;
    if (change.state.status == STATUS_DEAD)
        change.letter_position = i % 2 ? 5000 + i : 0;
    if (change.state.status == STATUS_DEAD && i % 3 == 0) {
        change.conflict_position = 1 + i * 77;
        memset(change.conflict_id.bytes, (int)(i % 251) + 1, sizeof change.conflict_id.bytes);
    }
    if (change.state.status == STATUS_RETRYING && i % 2)
        change.due_ms = 1700000000000 + (int64_t)i;
    if (change.state.status == STATUS_PROCESSING && i % 3)
        change.delivery = (struct status_delivery){
            i % 2 ? STATUS_DELIVERY_EVENT : STATUS_DELIVERY_RETRY, 1 + i * 1000};
    return change;
}

static struct status_batch *read_ok(const struct buf *b)
{
    struct status_batch *batch = NULL;
    assert_int_equal(status_batch_read(buf_view(b), &batch), ERR_NONE);
    return batch;
}

static void check_change(const struct status_change *got, const struct status_change *expected)
{
    assert_true(id_equal(&got->id, &expected->id));
    assert_true(got->event_position == expected->event_position);
    assert_int_equal(got->state.status, expected->state.status);
    assert_int_equal(got->state.alone, expected->state.alone);
    assert_int_equal(got->state.generation, expected->state.generation);
    assert_int_equal(got->state.attempt, expected->state.attempt);
    assert_true(got->time_ms == expected->time_ms);
    assert_true(got->previous_position == expected->previous_position);
    assert_true(view_equal(got->error, expected->error));
    assert_true(got->letter_position == expected->letter_position);
    assert_true(id_equal(&got->conflict_id, &expected->conflict_id));
    assert_true(got->conflict_position == expected->conflict_position);
    assert_true(got->due_ms == expected->due_ms);
    assert_int_equal(got->delivery.log, expected->delivery.log);
    assert_true(got->delivery.position == expected->delivery.position);
}

static void check_round_trip(const struct status_change *changes, size_t count)
{
    struct buf b;
    buf_init(&b, MAX);
    assert_int_equal(status_batch_write(changes, count, VIEW("host-1"), &b), ERR_NONE);
    struct status_batch *batch = read_ok(&b);
    assert_int_equal(status_batch_count(batch), count);
    assert_true(view_equal(status_batch_processor(batch), VIEW("host-1")));
    for (size_t i = 0; i < count; i++) {
        struct status_change got = status_batch_get(batch, i);
        check_change(&got, &changes[i]);
    }
    status_batch_free(batch);
    buf_free(&b);
}

static void batches_of_any_size_come_back_as_they_were(void **state)
{
    static const size_t sizes[] = {1, 2, 63, 64, 1000, STATUS_BATCH_MAX};
    static struct status_change changes[STATUS_BATCH_MAX];
    (void)state;
    for (size_t i = 0; i < STATUS_BATCH_MAX; i++) {
        changes[i] = change_of(i);
        if (i % 7 == 3)
            changes[i].error = VIEW("connection refused");
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_round_trip(changes, sizes[i]);
}

static void extreme_values_come_back_as_they_were(void **state)
{
    struct status_change changes[2] = {change_of(0), change_of(1)};
    (void)state;
    changes[0].event_position = changes[0].previous_position = UINT64_MAX;
    changes[0].time_ms = INT64_MIN;
    changes[1].time_ms = INT64_MAX;
    changes[0].state.status = STATUS_DEAD;
    changes[0].letter_position = changes[0].conflict_position = UINT64_MAX;
    changes[0].conflict_id = (struct event_id){{0}};
    changes[1].state =
        (struct status_state){STATUS_PROCESSING, true, STATUS_GENERATION_MAX, STATUS_ATTEMPT_MAX};
    check_round_trip(changes, 2);
}

static enum err write_one(const struct status_change *change)
{
    struct buf b;
    buf_init(&b, MAX);
    enum err e = status_batch_write(change, 1, VIEW("p"), &b);
    assert_int_equal(b.len == 0, e != ERR_NONE);
    buf_free(&b);
    return e;
}

static void
only_what_is_to_be_retried_is_due_and_only_what_is_processing_names_a_delivery(void **state)
{
    (void)state;
    for (int status = STATUS_ACCEPTED; status < STATUS_COUNT; status++) {
        struct status_change due = {.event_position = 1, .state.status = (enum status)status};
        struct status_change named = due;
        due.due_ms = 1;
        named.delivery = (struct status_delivery){STATUS_DELIVERY_RETRY, 1};
        assert_int_equal(write_one(&due), status == STATUS_RETRYING ? ERR_NONE : ERR_INVALID);
        assert_int_equal(write_one(&named), status == STATUS_PROCESSING ? ERR_NONE : ERR_INVALID);
        due.due_ms = -1;
        assert_int_equal(write_one(&due), ERR_INVALID);
        named.delivery.position = 0;
        assert_int_equal(write_one(&named), ERR_INVALID);
        named.delivery = (struct status_delivery){STATUS_DELIVERY_NONE, 1};
        assert_int_equal(write_one(&named), ERR_INVALID);
    }
}

static void only_what_is_dead_may_be_a_conflict(void **state)
{
    (void)state;
    for (int status = STATUS_ACCEPTED; status < STATUS_COUNT; status++) {
        struct status_change changes[2] = {change_of(0), change_of(0)};
        struct buf b;
        changes[1].state.status = (enum status)status;
        changes[1].conflict_position = 7;
        buf_init(&b, MAX);
        assert_int_equal(status_batch_write(changes, 2, VIEW("p"), &b),
                         status == STATUS_DEAD ? ERR_NONE : ERR_INVALID);
        if (status != STATUS_DEAD)
            assert_int_equal(b.len, 0);
        buf_free(&b);
    }
}

static void a_batch_is_appended(void **state)
{
    struct status_change change = change_of(1);
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    buf_add_text(&b, "before");
    assert_int_equal(status_batch_write(&change, 1, VIEW("p"), &b), ERR_NONE);
    assert_memory_equal(b.data, "before", 6);
    assert_true(b.data[b.len] == '\0');
    struct status_batch *batch = NULL;
    assert_int_equal(status_batch_read((struct view){b.data + 6, b.len - 6}, &batch), ERR_NONE);
    status_batch_free(batch);
    buf_free(&b);
}

static void no_change_and_too_many_are_refused(void **state)
{
    static struct status_change changes[STATUS_BATCH_MAX + 1];
    struct buf b;
    (void)state;
    for (size_t i = 0; i <= STATUS_BATCH_MAX; i++)
        changes[i] = change_of(i);
    buf_init(&b, MAX);
    assert_int_equal(status_batch_write(changes, 0, VIEW("p"), &b), ERR_INVALID);
    assert_int_equal(status_batch_write(changes, STATUS_BATCH_MAX + 1, VIEW("p"), &b), ERR_INVALID);
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

/* Writes one change with this error text; what comes back must be `expected`. */
static void check_error_text(struct view text, struct view expected)
{
    struct status_change change = change_of(3);
    struct buf b;
    change.error = text;
    buf_init(&b, MAX);
    assert_int_equal(status_batch_write(&change, 1, VIEW("p"), &b), ERR_NONE);
    struct status_batch *batch = read_ok(&b);
    struct view got = status_batch_get(batch, 0).error;
    assert_int_equal(got.len, expected.len);
    assert_memory_equal(got.data, expected.data, expected.len);
    status_batch_free(batch);
    buf_free(&b);
}

static void error_texts_are_made_utf8_and_cut_between_characters(void **state)
{
    char whole[STATUS_ERROR_MAX + 2];
    (void)state;
    check_error_text(VIEW("gr\xC3\xBC\xC3\x9F"), VIEW("gr\xC3\xBC\xC3\x9F"));
    check_error_text(VIEW("bad \xFF byte"), VIEW("bad \xEF\xBF\xBD byte"));
    check_error_text(VIEW("half \xC3"), VIEW("half \xEF\xBF\xBD"));
    check_error_text(VIEW("surrogate \xED\xA0\x80"),
                     VIEW("surrogate \xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"));
    check_error_text((struct view){"a\0b", 3}, VIEW("a\xEF\xBF\xBD"
                                                    "b"));
    memset(whole, 'x', sizeof whole);
    check_error_text((struct view){whole, STATUS_ERROR_MAX},
                     (struct view){whole, STATUS_ERROR_MAX});
    check_error_text((struct view){whole, STATUS_ERROR_MAX + 1},
                     (struct view){whole, STATUS_ERROR_MAX});
    memcpy(whole + STATUS_ERROR_MAX - 1, "\xC3\xBC", 2); /* a character across the limit */
    check_error_text((struct view){whole, STATUS_ERROR_MAX + 1},
                     (struct view){whole, STATUS_ERROR_MAX - 1});
}

/* ---- a part of one ---- */

static void a_batch_cut_anywhere_is_refused_or_sound(void **state)
{
    struct status_change changes[3] = {change_of(1), change_of(2), change_of(3)};
    struct buf b;
    (void)state;
    changes[1].error = VIEW("text");
    changes[2].conflict_position = 5;
    changes[2].letter_position = 6;
    assert_int_equal(changes[2].state.status, STATUS_DEAD);
    buf_init(&b, MAX);
    assert_int_equal(status_batch_write(changes, 3, VIEW("p"), &b), ERR_NONE);
    for (size_t len = 0; len < b.len; len++) {
        struct status_batch *batch = NULL;
        char *copy = malloc(len + 1); /* of this very size, so that a sanitizer sees its end */
        memcpy(copy, b.data, len);
        enum err e = status_batch_read((struct view){copy, len}, &batch);
        free(copy);
        if (e == ERR_NONE) /* only the sparse columns at the end may be missing */
            assert_int_equal(status_batch_count(batch), 3);
        else
            assert_int_equal(e, ERR_MALFORMED);
        status_batch_free(batch);
    }
    buf_free(&b);
}

/* ---- replays ---- */

static const struct event_id some_ids[REPLAY_IDS_MAX] = {{{1}}, {{2}}, {{3}}};

static const uint64_t some_letters[] = {4, 900, UINT64_MAX};

static struct replay_change replay_of(void)
{
    return (struct replay_change){.id = {{7, 8, 9}},
                                  .state = REPLAY_RUNNING,
                                  .time_ms = 1700000000123,
                                  .cursor = UINT64_MAX,
                                  .letter_cursor = 900,
                                  .replayed = 5,
                                  .skipped = 6,
                                  .has_filter = true,
                                  .filter = {.event_ids = some_ids,
                                             .event_id_count = 3,
                                             .statuses = 1u << STATUS_DEAD,
                                             .name = VIEW("order.*"),
                                             .from_position = 3,
                                             .to_position = 9,
                                             .accepted_since_ms = -1,
                                             .accepted_until_ms = 1700000000000,
                                             .rate = 11,
                                             .last_position = 12,
                                             .letters = some_letters,
                                             .letter_count = 3},
                                  .runner = VIEW("host-2")};
}

static enum err write_replays(const struct replay_change *replays, size_t count, struct buf *b)
{
    buf_init(b, MAX);
    return status_batch_write_all(NULL, 0, replays, count, VIEW("host-1"), b);
}

static void replays_come_back_as_they_were_with_changes_and_alone(void **state)
{
    struct status_change change = change_of(1);
    struct replay_change replays[2] = {replay_of(), {.id = {{1}}, .state = REPLAY_CANCELLED}};
    (void)state;
    for (size_t count = 0; count < 2; count++) {
        struct buf b;
        buf_init(&b, MAX);
        assert_int_equal(status_batch_write_all(&change, count, replays, 2, VIEW("host-1"), &b),
                         ERR_NONE);
        struct status_batch *batch = read_ok(&b);
        assert_int_equal(status_batch_count(batch), count);
        assert_int_equal(status_batch_replay_count(batch), 2);
        struct replay_change got = status_batch_replay(batch, 0);
        const struct replay_filter *filter = &got.filter;
        assert_true(id_equal(&got.id, &replays[0].id));
        assert_int_equal(got.state, REPLAY_RUNNING);
        assert_true(got.time_ms == 1700000000123 && got.cursor == UINT64_MAX);
        assert_true(got.replayed == 5 && got.skipped == 6 && got.has_filter);
        assert_true(view_equal(got.runner, VIEW("host-2")));
        assert_int_equal(filter->event_id_count, 3);
        assert_memory_equal(filter->event_ids, some_ids, 3 * sizeof *some_ids);
        assert_int_equal(filter->statuses, 1u << STATUS_DEAD);
        assert_true(view_equal(filter->name, VIEW("order.*")));
        assert_true(filter->from_position == 3 && filter->to_position == 9);
        assert_true(filter->accepted_since_ms == -1);
        assert_true(filter->accepted_until_ms == 1700000000000);
        assert_true(filter->rate == 11 && filter->last_position == 12);
        assert_true(got.letter_cursor == 900 && filter->letter_count == 3);
        assert_memory_equal(filter->letters, some_letters, sizeof some_letters);
        got = status_batch_replay(batch, 1);
        assert_int_equal(got.state, REPLAY_CANCELLED);
        assert_false(got.has_filter);
        assert_int_equal(got.runner.len, 0);
        status_batch_free(batch);
        buf_free(&b);
    }
}

static void replays_that_cannot_be_are_refused(void **state)
{
    static const uint64_t none[] = {0}, twice[] = {7, 7};
    struct replay_change bad[12], many[STATUS_BATCH_REPLAYS_MAX + 1];
    struct buf b;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        bad[i] = replay_of();
    bad[0].id = (struct event_id){{0}};
    bad[1].state = REPLAY_NONE;
    bad[2].state = REPLAY_STATES;
    bad[3].filter.statuses = 0;
    bad[4].filter.statuses = 1u << STATUS_RETRYING;
    bad[5].filter.from_position = 10;
    bad[6].filter.accepted_until_ms = -1;
    bad[7].filter.name = VIEW("order..x");
    bad[8].filter.event_id_count = REPLAY_IDS_MAX + 1;
    bad[9].filter.event_id_count = 2; /* fewer than letters */
    bad[10].filter.letters = none;
    bad[10].filter.letter_count = 1;
    bad[11].filter.letters = twice;
    bad[11].filter.letter_count = 2;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(write_replays(&bad[i], 1, &b), ERR_INVALID);
        assert_int_equal(b.len, 0);
    }
    for (size_t i = 0; i < sizeof many / sizeof *many; i++)
        many[i] = replay_of();
    assert_int_equal(write_replays(many, STATUS_BATCH_REPLAYS_MAX + 1, &b), ERR_INVALID);
    assert_int_equal(write_replays(many, STATUS_BATCH_REPLAYS_MAX, &b), ERR_NONE);
    buf_free(&b);
}

/* Damages one byte of a sound batch after the other: it is refused, or could be written. */
static void a_damaged_replay_is_refused_or_sound(void **state)
{
    struct replay_change change = replay_of();
    struct buf b, again;
    size_t refused = 0;
    (void)state;
    assert_int_equal(write_replays(&change, 1, &b), ERR_NONE);
    for (size_t i = 0; i < b.len; i++) {
        struct status_batch *batch = NULL;
        b.data[i] = (char)(b.data[i] ^ 0x41);
        if (status_batch_read(buf_view(&b), &batch) == ERR_NONE &&
            status_batch_replay_count(batch) > 0) {
            struct replay_change got = status_batch_replay(batch, 0);
            assert_int_equal(write_replays(&got, 1, &again), ERR_NONE);
            buf_free(&again);
        } else {
            refused++;
        }
        status_batch_free(batch);
        b.data[i] = (char)(b.data[i] ^ 0x41);
    }
    assert_true(refused > 10);
    buf_free(&b);
}

/* ---- memory ---- */

static void short_memory_is_told_and_nothing_leaks(void **state)
{
    static struct status_change changes[200];
    struct buf sound;
    (void)state;
    for (size_t i = 0; i < 200; i++) {
        changes[i] = change_of(i);
        changes[i].error = VIEW("why it failed");
        changes[i].letter_position = i + 1; /* all sparse columns are there */
        changes[i].state.alone = false;
        changes[i].state.status = i < 70    ? STATUS_DEAD
                                  : i < 140 ? STATUS_RETRYING
                                            : STATUS_PROCESSING;
        changes[i].conflict_position = i < 70 ? i + 1 : 0;
        changes[i].due_ms = i >= 70 && i < 140 ? 5 : 0;
        changes[i].delivery = (struct status_delivery){
            i < 140 ? STATUS_DELIVERY_NONE : STATUS_DELIVERY_RETRY, i < 140 ? 0 : i};
    }
    struct replay_change replay = replay_of();
    replay.filter.event_id_count = REPLAY_IDS_MAX;
    buf_init(&sound, MAX);
    assert_int_equal(status_batch_write_all(changes, 200, &replay, 1, VIEW("p"), &sound), ERR_NONE);
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct buf b;
        buf_init(&b, MAX);
        enum err e = status_batch_write_all(changes, 200, &replay, 1, VIEW("p"), &b);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        buf_free(&b);
    }
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct status_batch *batch = NULL;
        enum err e = status_batch_read(buf_view(&sound), &batch);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        status_batch_free(batch);
    }
    buf_free(&sound);
}

static void a_big_batch_costs_a_few_allocations(void **state)
{
    static struct status_change changes[STATUS_BATCH_MAX];
    struct buf b;
    (void)state;
    for (size_t i = 0; i < STATUS_BATCH_MAX; i++)
        changes[i] = change_of(i);
    buf_init(&b, MAX);
    assert_int_equal(status_batch_write(changes, STATUS_BATCH_MAX, VIEW("p"), &b), ERR_NONE);
    buf_clear(&b);
    uint64_t before = mem_allocations();
    assert_int_equal(status_batch_write(changes, STATUS_BATCH_MAX, VIEW("p"), &b), ERR_NONE);
    assert_true(mem_allocations() - before <= 2);
    before = mem_allocations();
    struct status_batch *batch = read_ok(&b);
    assert_true(mem_allocations() - before <= 4);
    status_batch_free(batch);
    buf_clear(&b);
    before = mem_allocations();
    assert_int_equal(status_batch_write(changes, 8, VIEW("p"), &b), ERR_NONE);
    assert_true(mem_allocations() == before);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_of_any_size_come_back_as_they_were),
        cmocka_unit_test(extreme_values_come_back_as_they_were),
        cmocka_unit_test(only_what_is_dead_may_be_a_conflict),
        cmocka_unit_test(
            only_what_is_to_be_retried_is_due_and_only_what_is_processing_names_a_delivery),
        cmocka_unit_test(a_batch_is_appended),
        cmocka_unit_test(no_change_and_too_many_are_refused),
        cmocka_unit_test(error_texts_are_made_utf8_and_cut_between_characters),
        cmocka_unit_test(a_batch_cut_anywhere_is_refused_or_sound),
        cmocka_unit_test(replays_come_back_as_they_were_with_changes_and_alone),
        cmocka_unit_test(replays_that_cannot_be_are_refused),
        cmocka_unit_test(a_damaged_replay_is_refused_or_sound),
        cmocka_unit_test(short_memory_is_told_and_nothing_leaks),
        cmocka_unit_test(a_big_batch_costs_a_few_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
