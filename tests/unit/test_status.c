#include "common/status.h"

#include "tests/lib/unit.h"

#include <stdlib.h>
#include <string.h>

/* The moves by another account: per pair of statuses within one attempt, as drawn in status.h.
 * Columns: what it changes to; A is processing alone. */
static const char columns[] = "naPAROD";
static const struct {
    char from;
    const char *to; /* '+' where the change wins */
} same_attempt[] = {
    {'n', "......."}, {'a', "..+++++"}, {'P', "...++++"}, {'A', "....+++"},
    {'R', ".....++"}, {'O', "......."}, {'D', "......."},
};

static const struct status_state states[] = {
    {STATUS_NONE, false, 0, 0},       {STATUS_ACCEPTED, false, 0, 0},
    {STATUS_PROCESSING, false, 0, 0}, {STATUS_PROCESSING, true, 0, 0},
    {STATUS_RETRYING, false, 0, 0},   {STATUS_PROCESSED, false, 0, 0},
    {STATUS_DEAD, false, 0, 0},
};
#define STATES (sizeof states / sizeof states[0])

static bool oracle(size_t from, size_t to, int later_generation, int later_attempt)
{
    bool nothing = columns[from] == 'n', ended = columns[from] == 'O' || columns[from] == 'D';
    bool record = columns[to] != 'n' && columns[to] != 'a'; /* only these are ever written */

    if (nothing || !record || later_generation < 0)
        return false;
    if (later_generation > 0)
        return true;
    if (ended || later_attempt < 0)
        return false;
    return later_attempt > 0 || same_attempt[from].to[to] == '+';
}

static int sign(uint32_t a, uint32_t b)
{
    return a > b ? 1 : a < b ? -1 : 0;
}

static void check(struct status_state cell, size_t from, struct status_state change, size_t to)
{
    struct status_state untouched = {STATUS_DEAD, true, 77, 77}, next = untouched;
    bool expected = oracle(from, to, sign(change.generation, cell.generation),
                           sign(change.attempt, cell.attempt));

    if (status_move(cell, change, &next) != expected)
        fail_msg("%c %u/%u <- %c %u/%u: expected %d", columns[from], cell.generation, cell.attempt,
                 columns[to], change.generation, change.attempt, expected);
    if (!expected)
        change = untouched;
    assert_int_equal(next.status, change.status);
    assert_int_equal(next.alone, change.alone);
    assert_int_equal(next.generation, change.generation);
    assert_int_equal(next.attempt, change.attempt);
}

static void every_move_is_as_the_oracle_says(void **state)
{
    static const uint32_t numbers[] = {0, 1, 2, 1022, 1023};
    size_t n = sizeof numbers / sizeof numbers[0];

    (void)state;
    for (size_t i = 0; i < STATES * STATES * n * n * n * n; i++) {
        size_t rest = i;
        size_t from = rest % STATES, to = (rest /= STATES) % STATES;
        struct status_state cell = states[from], change = states[to];

        rest /= STATES;
        cell.generation = numbers[rest % n];
        cell.attempt = numbers[(rest /= n) % n];
        change.generation = numbers[(rest /= n) % n];
        change.attempt = numbers[rest / n % n];
        check(cell, from, change, to);
    }
}

static void numbers_that_fit_no_cell_change_nothing(void **state)
{
    struct status_state fresh = {STATUS_ACCEPTED, false, 0, 0}, next;
    struct status_state good = {STATUS_PROCESSED, false, 1023, 1023};
    struct status_state generation = {STATUS_PROCESSED, false, 1024, 1};
    struct status_state attempt = {STATUS_PROCESSED, false, 0, 1024};

    (void)state;
    assert_true(status_move(fresh, good, &next));
    assert_false(status_move(fresh, generation, &next));
    assert_false(status_move(fresh, attempt, &next));
}

static void an_unknown_status_changes_nothing(void **state)
{
    struct status_state fresh = {STATUS_ACCEPTED, false, 0, 0}, next;

    (void)state;
    for (int s = STATUS_COUNT; s < STATUS_COUNT + 10; s++)
        assert_false(status_move(fresh, (struct status_state){(enum status)s, false, 1, 1}, &next));
}

static void alone_is_said_of_processing_only(void **state)
{
    struct status_state fresh = {STATUS_ACCEPTED, false, 0, 0}, next;

    (void)state;
    assert_true(status_move(fresh, (struct status_state){STATUS_RETRYING, true, 0, 1}, &next));
    assert_false(next.alone);
    assert_true(status_move(fresh, (struct status_state){STATUS_PROCESSING, true, 0, 1}, &next));
    assert_true(next.alone);
}

/* An append that was sent again folds twice. */
static void folding_a_log_again_changes_nothing(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct status_state log[12], cell = states[1], next;

        for (size_t i = 0; i < 12; i++) {
            log[i] = states[(size_t)rand_r(&seed) % STATES];
            log[i].generation = (uint32_t)rand_r(&seed) % 3;
            log[i].attempt = (uint32_t)rand_r(&seed) % 4;
            if (status_move(cell, log[i], &next))
                cell = next;
        }
        for (size_t i = 0; i < 12; i++)
            assert_false(status_move(cell, log[i], &next));
    }
}

static void words_and_ends(void **state)
{
    (void)state;
    assert_string_equal(status_word(STATUS_NONE), "none");
    assert_string_equal(status_word(STATUS_RETRYING), "retrying");
    assert_string_equal(status_word(STATUS_DEAD), "dead");
    assert_string_equal(status_word(STATUS_COUNT), "unknown");
    assert_string_equal(status_word((enum status) - 1), "unknown");
    for (int s = 0; s < STATUS_COUNT; s++)
        assert_int_equal(status_ended((enum status)s), s == STATUS_PROCESSED || s == STATUS_DEAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_move_is_as_the_oracle_says),
        cmocka_unit_test(numbers_that_fit_no_cell_change_nothing),
        cmocka_unit_test(an_unknown_status_changes_nothing),
        cmocka_unit_test(alone_is_said_of_processing_only),
        cmocka_unit_test(folding_a_log_again_changes_nothing),
        cmocka_unit_test(words_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
