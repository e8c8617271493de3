/* The fold of replays: what a record changes, which replays are kept, who is told. */
#include "event-processor/replays.h"

#include "event-processor/wait.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <stdio.h>

static struct event_id id_of(uint32_t n)
{
    struct event_id id = {{1}};
    memcpy(id.bytes + 4, &n, sizeof n);
    return id;
}

static struct replay_change beginning(uint32_t n)
{
    static const struct event_id ids[2] = {{{5}}, {{6}}};
    static const uint64_t letters[1] = {8};
    return (struct replay_change){.id = id_of(n),
                                  .state = REPLAY_RUNNING,
                                  .time_ms = 1000,
                                  .has_filter = true,
                                  .filter = {.event_ids = ids,
                                             .event_id_count = 2,
                                             .letters = letters,
                                             .letter_count = 1,
                                             .statuses = 1u << STATUS_DEAD,
                                             .name = VIEW("order.*"),
                                             .rate = 7},
                                  .runner = VIEW("first")};
}

static struct replay_change later(uint32_t n, enum replay_state state, uint64_t cursor,
                                  uint64_t replayed, const char *runner)
{
    return (struct replay_change){.id = id_of(n),
                                  .state = state,
                                  .time_ms = 2000,
                                  .cursor = cursor,
                                  .replayed = replayed,
                                  .skipped = 1,
                                  .runner = view_of(runner)};
}

/* ---- what a record changes ---- */

static void test_a_replay_begins_with_a_record_that_has_a_filter(void **state)
{
    (void)state;
    struct replay replay = {.state = REPLAY_NONE};
    struct replay_change change = later(1, REPLAY_RUNNING, 5, 5, "x");
    assert_false(replay_move(&replay, &change, 3));
    change = beginning(1);
    change.state = REPLAY_DONE;
    assert_false(replay_move(&replay, &change, 3));
    assert_int_equal(replay.state, REPLAY_NONE);
    change = beginning(1);
    assert_true(replay_move(&replay, &change, 3));
    assert_int_equal(replay.state, REPLAY_RUNNING);
    assert_int_equal(replay.begin_position, 3);
    assert_true(replay.started_ms == 1000 && replay.updated_ms == 1000);
    assert_string_equal(replay.runner, "first");
    assert_true(replay_move(&replay, &change, 9)); /* stored twice: it began with the first */
    assert_int_equal(replay.begin_position, 3);
}

static void test_counts_go_with_the_highest_cursor(void **state)
{
    (void)state;
    struct replay replay = {.state = REPLAY_NONE};
    struct replay_change change = beginning(1);
    assert_true(replay_move(&replay, &change, 1));
    change = later(1, REPLAY_RUNNING, 50, 40, "");
    assert_true(replay_move(&replay, &change, 2));
    change = later(1, REPLAY_RUNNING, 50, 9, "");
    assert_true(replay_move(&replay, &change, 3)); /* a sign of life */
    change = later(1, REPLAY_RUNNING, 20, 15, "");
    assert_true(replay_move(&replay, &change, 4));
    assert_true(replay.cursor == 50 && replay.replayed == 40 && replay.skipped == 1);
    assert_string_equal(replay.runner, "first");
    change = later(1, REPLAY_RUNNING, 50, 40, "second");
    assert_true(replay_move(&replay, &change, 5));
    assert_string_equal(replay.runner, "second");
}

static void test_letters_come_behind_the_last_event(void **state)
{
    (void)state;
    struct replay replay = {.state = REPLAY_NONE};
    struct replay_change change = beginning(1);
    assert_true(replay_move(&replay, &change, 1));
    change = later(1, REPLAY_RUNNING, 50, 40, "");
    assert_true(replay_move(&replay, &change, 2));
    change.letter_cursor = 7;
    change.replayed = 41;
    assert_true(replay_move(&replay, &change, 3));
    assert_true(replay.cursor == 50 && replay.letter_cursor == 7 && replay.replayed == 41);
    change = later(1, REPLAY_RUNNING, 40, 99, ""); /* a former runner's */
    change.letter_cursor = 9;
    assert_true(replay_move(&replay, &change, 4));
    change = later(1, REPLAY_RUNNING, 50, 98, "");
    change.letter_cursor = 6;
    assert_true(replay_move(&replay, &change, 5));
    assert_true(replay.cursor == 50 && replay.letter_cursor == 7 && replay.replayed == 41);
    change = later(1, REPLAY_RUNNING, 51, 42, "");
    assert_true(replay_move(&replay, &change, 6));
    assert_true(replay.cursor == 51 && replay.letter_cursor == 0 && replay.replayed == 42);
}

static void test_the_first_end_counts_and_what_comes_after_only_counts(void **state)
{
    (void)state;
    struct replay replay = {.state = REPLAY_NONE};
    struct replay_change change = beginning(1);
    assert_true(replay_move(&replay, &change, 1));
    change = later(1, REPLAY_CANCELLED, 0, 0, "");
    assert_true(replay_move(&replay, &change, 2));
    change = later(1, REPLAY_DONE, 0, 0, "other");
    assert_false(replay_move(&replay, &change, 3));
    change = later(1, REPLAY_RUNNING, 70, 60, "other");
    change.time_ms = 9000;
    assert_true(replay_move(&replay, &change, 4));
    assert_int_equal(replay.state, REPLAY_CANCELLED);
    assert_true(replay.cursor == 70 && replay.replayed == 60 && replay.updated_ms == 2000);
    assert_string_equal(replay.runner, "first");
}

/* ---- which are kept ---- */

static struct replays *open_replays(void)
{
    struct replays *replays;
    assert_int_equal(replays_new(&replays), ERR_NONE);
    return replays;
}

static void apply(struct replays *replays, struct replay_change change, uint64_t position)
{
    assert_int_equal(replays_apply(replays, &change, position), ERR_NONE);
}

static bool knows(struct replays *replays, uint32_t n)
{
    struct event_id id = id_of(n);
    struct replay replay;
    bool found = replays_find(replays, &id, &replay);
    if (found)
        replay_release(&replay);
    return found;
}

static void test_what_runs_is_kept_and_the_last_that_ended(void **state)
{
    (void)state;
    struct replays *replays = open_replays();
    for (uint32_t n = 0; n < REPLAYS_KEPT + 5; n++)
        apply(replays, beginning(n), n + 1);
    for (uint32_t n = REPLAYS_KEPT + 4; n > 1; n--) /* the last begun ends first; two run on */
        apply(replays, later(n, REPLAY_DONE, 1, 1, ""), 5000 - n);
    assert_int_equal(replays_running(replays), 2);
    assert_true(knows(replays, 0) && knows(replays, 1) && knows(replays, 2));
    assert_false(knows(replays, REPLAYS_KEPT + 4));
    assert_false(knows(replays, REPLAYS_KEPT + 2));
    assert_true(knows(replays, REPLAYS_KEPT + 1));
    struct replay list[3];
    assert_int_equal(replays_list(replays, true, list, 3), 2);
    struct event_id second = id_of(1);
    assert_true(id_equal(&list[0].id, &second));
    replay_release(&list[0]);
    replay_release(&list[1]);
    assert_int_equal(replays_list(replays, false, list, 3), 3);
    struct event_id latest = id_of(REPLAYS_KEPT + 1);
    assert_true(id_equal(&list[0].id, &latest));
    for (int i = 0; i < 3; i++)
        replay_release(&list[i]);
    replays_free(replays);
}

static void test_a_copy_outlives_what_is_forgotten(void **state)
{
    (void)state;
    struct replays *replays = open_replays();
    struct event_id id = id_of(1);
    struct replay replay;
    apply(replays, beginning(1), 10);
    apply(replays, beginning(2), 20);
    assert_true(replays_find(replays, &id, &replay));
    replays_forget(replays, 11);
    assert_int_equal(replays_first(replays), 11);
    assert_true(!knows(replays, 1) && knows(replays, 2));
    assert_int_equal(replays_running(replays), 1);
    const struct replay_filter *filter = replay_plan_filter(replay.plan);
    assert_true(filter->letter_count == 1 && filter->letters[0] == 8);
    assert_int_equal(filter->event_id_count, 2);
    assert_int_equal(filter->event_ids[1].bytes[0], 6);
    assert_true(view_equal(filter->name, VIEW("order.*")));
    replay_release(&replay);
    replays_reset(replays);
    assert_false(knows(replays, 2));
    assert_int_equal(replays_first(replays), 0);
    apply(replays, beginning(2), 2);
    assert_true(knows(replays, 2));
    replays_free(replays);
}

static void test_short_memory_changes_nothing(void **state)
{
    (void)state;
    struct replays *replays = open_replays();
    uint32_t n = 0;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f); n++) {
        struct replay_change change = beginning(n);
        enum err e = replays_apply(replays, &change, n + 1);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        assert_int_equal(knows(replays, n), !failed);
    }
    replays_free(replays);
}

/* ---- who is told ---- */

static void test_waiters_are_told_of_changes(void **state)
{
    (void)state;
    struct replays *replays = open_replays();
    uint64_t turn = replays_wait(replays, 0, wait_until(0));
    replays_announce(replays); /* nothing has changed */
    assert_int_equal(replays_wait(replays, turn, wait_until(0)), turn);
    apply(replays, beginning(1), 1);
    replays_announce(replays);
    uint64_t next = replays_wait(replays, turn, wait_until(10000));
    assert_true(next != turn);
    replays_wake(replays);
    assert_true(replays_wait(replays, next, wait_until(10000)) != next);
    replays_free(replays);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_replay_begins_with_a_record_that_has_a_filter),
        cmocka_unit_test(test_counts_go_with_the_highest_cursor),
        cmocka_unit_test(test_letters_come_behind_the_last_event),
        cmocka_unit_test(test_the_first_end_counts_and_what_comes_after_only_counts),
        cmocka_unit_test(test_what_runs_is_kept_and_the_last_that_ended),
        cmocka_unit_test(test_a_copy_outlives_what_is_forgotten),
        cmocka_unit_test(test_short_memory_changes_nothing),
        cmocka_unit_test(test_waiters_are_told_of_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
