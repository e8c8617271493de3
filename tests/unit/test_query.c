#include "event-processor/query.h"

#include "tests/lib/asked.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define test(function) cmocka_unit_test_setup_teardown(function, asked_begin, asked_end)

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};

/* ---- ids ---- */

static void test_an_id_that_cannot_exist_needs_no_look(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    char endless[EVENT_PRODUCER_ID_MAX + 2] = {0};
    memset(endless, 'a', sizeof endless - 1);
    const struct {
        const char *id, *source, *complaint;
    } rows[] = {
        {"", "", "event_id is empty"},
        {endless, "", "event_id"},
        {"a\tb", "", "control characters"},
        {"a\nb", "/s", "control characters"},
        {"a\xff", "", "UTF-8"},
        {"123", "/s\x7f", "source must not"},
        {"00000000-0000-0000-0000-0000000000ff", "/s\n", "source must not"},
    };
    bus_mem_set_away(asked->world.bus, true);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ask_producer(asked, rows[i].id, rows[i].source, false, &answer);
        assert_true(answer.synchronous);
        assert_int_equal(answer.e, ERR_INVALID);
        assert_non_null(strstr(answer.message, rows[i].complaint));
    }
}

static void test_a_producers_id_is_looked_up_with_its_source(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id of_test, of_other;
    id_of_producer(VIEW("/test"), VIEW("123"), &of_test);
    id_of_producer(VIEW("/other"), VIEW("123"), &of_other);
    uint64_t first = mem_world_event(&asked->world, "n", "x", &of_test);
    uint64_t second = mem_world_event(&asked->world, "n", "y", &of_other);
    ask_producer(asked, "123", "", false, &answer); /* the default source */
    assert_int_equal(answer.e, ERR_NONE);
    assert_int_equal(answer.event_position, first);
    ask_producer(asked, "123", "/test", false, &answer);
    assert_int_equal(answer.event_position, first);
    ask_producer(asked, "123", "/other", true, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_int_equal(answer.event_position, second);
    assert_string_equal(answer.payload, "y");
}

static void test_an_unknown_producers_id_is_not_found_after_a_look(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    char endless[EVENT_PRODUCER_ID_MAX + 1] = {0};
    memset(endless, 'a', sizeof endless - 1);
    ask_producer(asked, "123", "", false, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    assert_non_null(strstr(answer.message, "'123' of source '/test'"));
    assert_non_null(strstr(answer.message, "event_id of the 202"));
    ask_producer(asked, endless, endless, false, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    assert_true(strlen(answer.message) < 250);
    assert_true(mem_world_metric(asked->metrics, "tidings_looks_total") >= 2);
    bus_mem_set_away(asked->world.bus, true);
    ask_producer(asked, "124", "", false, &answer); /* it cannot be known */
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
}

static void test_an_unknown_id_is_not_found_after_a_look(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id id = {{1}};
    ask_and_wait(asked, &id, false, 0, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    assert_non_null(strstr(answer.message, "01000000-0000-0000-0000-000000000000"));
    assert_true(mem_world_metric(asked->metrics, "tidings_looks_total") >= 1);
    assert_true(mem_world_metric(asked->metrics, "tidings_lookups_total{result=\"not_found\"}") ==
                1);
}

static void test_an_event_stored_a_moment_ago_is_found(void **state)
{
    struct asked *asked = *state;
    for (int i = 0; i < 500; i++) {
        struct event_id id = {{0}};
        struct answer answer;
        uint64_t position = mem_world_event(&asked->world, "order.created", "", &id);
        ask_and_wait(asked, &id, false, 0, &answer);
        assert_int_equal(answer.e, ERR_NONE);
        assert_int_equal(answer.event_position, position);
        assert_string_equal(answer.name, "order.created");
    }
}

static void test_what_the_table_knows_is_answered_at_once(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id id = {{0}};
    char text[ID_TEXT_SIZE];
    uint64_t position = mem_world_event(&asked->world, "n", "", &id);
    uint64_t change = mem_world_change(&asked->world, &id, position, processed, 0, "");
    ask_and_wait(asked, &id, false, change, &answer);
    id_format(&id, text);
    mem_world_close_gate(&asked->world);
    ask(asked, text, false, change, PATIENCE_MS, &answer);
    assert_true(answer.synchronous);
    assert_int_equal(answer.state.status, STATUS_PROCESSED);
    assert_int_equal(answer.state.attempt, 1);
    assert_int_equal(answer.position, change);
}

static void test_misses_at_the_same_time_share_one_look(void **state)
{
    struct asked *asked = *state;
    enum { MISSES = 50 };
    static struct answer first, answers[MISSES];
    until_ready(asked);
    mem_world_close_gate(&asked->world);
    ask(asked, "00000000-0000-0000-0000-0000000000ff", false, 0, PATIENCE_MS, &first);
    assert_until(mem_world_metric(asked->metrics, "tidings_looks_total") == 1);
    for (int i = 0; i < MISSES; i++)
        ask(asked, "00000000-0000-0000-0000-0000000000fe", false, 0, PATIENCE_MS, &answers[i]);
    mem_world_open_gate(&asked->world);
    for (int i = 0; i < MISSES; i++) {
        assert_until(atomic_load(&answers[i].come));
        assert_int_equal(answers[i].e, ERR_NOT_FOUND);
    }
    assert_until(atomic_load(&first.come));
    assert_true(mem_world_metric(asked->metrics, "tidings_looks_total") == 2);
}

/* ---- positions ---- */

static void test_min_position_is_waited_for_or_out_of_range(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id id = {{0}};
    uint64_t position = mem_world_event(&asked->world, "n", "", &id);
    uint64_t change = mem_world_change(&asked->world, &id, position, processed, 0, "");
    ask_and_wait(asked, &id, false, change, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_int_equal(answer.state.status, STATUS_PROCESSED);
    assert_true(answer.position >= change);
    ask_and_wait(asked, &id, false, change + 1, &answer);
    assert_int_equal(answer.e, ERR_OUT_OF_RANGE);
    assert_non_null(strstr(answer.message, "beyond"));
}

/* ---- when it cannot be known ---- */

static void test_without_the_bus_only_what_is_known_is_answered(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id known = {{0}}, unknown = {{7}};
    mem_world_event(&asked->world, "n", "", &known);
    ask_and_wait(asked, &known, false, 0, &answer);
    bus_mem_set_away(asked->world.bus, true);
    ask_and_wait(asked, &known, false, 0, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    ask_and_wait(asked, &unknown, false, 0, &answer);
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    ask_and_wait(asked, &known, false, 99, &answer);
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    ask_and_wait(asked, &known, true, 0, &answer);
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    bus_mem_set_away(asked->world.bus, false);
    ask_and_wait(asked, &unknown, false, 0, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
}

static void test_a_table_being_read_is_not_taken_at_its_word(void **state)
{
    struct asked *asked = *state;
    struct answer late, hurried;
    struct event_id id = {{0}};
    char text[ID_TEXT_SIZE];
    uint64_t position = mem_world_event(&asked->world, "n", "", &id);
    mem_world_change(&asked->world, &id, position, processed, 0, "");
    until_ready(asked);
    mem_world_close_gate(&asked->world);
    follower_rebuild(asked->follower, 1, "test"); /* cannot catch up: the gate is closed */
    id_format(&id, text);
    ask(asked, text, false, 0, PATIENCE_MS, &late);
    ask(asked, text, false, 0, 1, &hurried);
    assert_false(late.synchronous);
    assert_false(hurried.synchronous);
    mem_world_open_gate(&asked->world);
    assert_until(atomic_load(&late.come));
    assert_int_equal(late.e, ERR_NONE);
    assert_int_equal(late.state.status, STATUS_PROCESSED);
    assert_until(atomic_load(&hurried.come));
    assert_true(hurried.e == ERR_UNAVAILABLE || hurried.state.status == STATUS_PROCESSED);
}

static void test_a_table_that_is_read_for_long_leaves_it_to_others(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id id = {{0}};
    char text[ID_TEXT_SIZE];
    mem_world_event(&asked->world, "n", "", &id);
    until_ready(asked);
    mem_world_set_readers(&asked->world, NULL, ERR_DEADLINE); /* it cannot catch up */
    follower_rebuild(asked->follower, 1, "test");
    id_format(&id, text);
    int64_t before = clock_monotonic_ms(&clock_system);
    ask(asked, text, false, 0, INT32_MAX, &answer);
    assert_until(atomic_load(&answer.come));
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    assert_in_range(clock_monotonic_ms(&clock_system) - before, 500, 5000);
    mem_world_set_readers(&asked->world, NULL, ERR_NONE);
}

static void *ask_all_the_time(void *arg)
{
    struct asked *asked = arg;
    static const char id[] = "0a000000-0000-0000-0000-000000000000";
    for (int i = 0; i < 300; i++) {
        static struct answer answer;
        ask(asked, id, false, 0, PATIENCE_MS, &answer);
        while (!atomic_load(&answer.come))
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        bool known = !answer.e && answer.state.status == STATUS_PROCESSED;
        if (!known && answer.e != ERR_UNAVAILABLE)
            return "not what it was";
    }
    return NULL;
}

static void test_no_rebuild_makes_a_status_go_backwards(void **state)
{
    struct asked *asked = *state;
    struct event_id id = {{10}};
    uint64_t position = mem_world_event(&asked->world, "n", "", &id);
    for (int i = 0; i < 2000; i++) {
        struct event_id other = {{0}};
        mem_world_event(&asked->world, "n", "", &other);
    }
    uint64_t change = mem_world_change(&asked->world, &id, position, processed, 0, "");
    struct answer answer;
    ask_and_wait(asked, &id, false, change, &answer); /* from now on it is known */
    pthread_t thread;
    void *failed;
    assert_int_equal(pthread_create(&thread, NULL, ask_all_the_time, asked), 0);
    for (uint64_t epoch = 1; epoch < 6; epoch++) {
        assert_until(follower_ready(asked->follower) == epoch);
        follower_rebuild(asked->follower, epoch, "test");
    }
    pthread_join(thread, &failed);
    if (failed)
        fail_msg("%s", (char *)failed);
}

static void test_the_end_answers_those_who_wait(void **state)
{
    struct asked *asked = *state;
    static struct answer answers[20];
    until_ready(asked);
    mem_world_close_gate(&asked->world);
    for (int i = 0; i < 20; i++)
        ask(asked, "00000000-0000-0000-0000-0000000000ff", false, 0, PATIENCE_MS, &answers[i]);
    mem_world_open_gate(&asked->world);
    asked_end(state);
    for (int i = 0; i < 20; i++) {
        assert_true(atomic_load(&answers[i].come));
        assert_true(answers[i].e == ERR_UNAVAILABLE || answers[i].e == ERR_NOT_FOUND);
    }
    asked_begin(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_an_id_that_cannot_exist_needs_no_look),
        test(test_a_producers_id_is_looked_up_with_its_source),
        test(test_an_unknown_producers_id_is_not_found_after_a_look),
        test(test_an_unknown_id_is_not_found_after_a_look),
        test(test_an_event_stored_a_moment_ago_is_found),
        test(test_what_the_table_knows_is_answered_at_once),
        test(test_misses_at_the_same_time_share_one_look),
        test(test_min_position_is_waited_for_or_out_of_range),
        test(test_without_the_bus_only_what_is_known_is_answered),
        test(test_a_table_being_read_is_not_taken_at_its_word),
        test(test_a_table_that_is_read_for_long_leaves_it_to_others),
        test(test_no_rebuild_makes_a_status_go_backwards),
        test(test_the_end_answers_those_who_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
