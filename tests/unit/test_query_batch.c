#include "event-processor/query.h"

#include "tests/lib/asked.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>
#include <stdlib.h>

#define test(function) cmocka_unit_test_setup_teardown(function, asked_begin, asked_end)

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};

/* What a batch was answered; at most so many results are kept. */
struct answers {
    atomic_bool come;
    bool synchronous;
    enum err e;
    char message[300];
    size_t count;
    struct {
        enum err e;
        char id[64], message[300];
        struct status_state state;
        uint64_t event_position, position;
    } results[8];
};

static void on_results(void *ctx, enum err e, const char *message,
                       const struct event_batch_result *results, size_t count)
{
    struct answers *answers = ctx;
    answers->e = e;
    answers->count = count;
    snprintf(answers->message, sizeof answers->message, "%s", message);
    for (size_t i = 0; i < count && i < 8; i++) {
        const struct event_batch_result *from = &results[i];
        answers->results[i].e = from->e;
        answers->results[i].state = from->status.state;
        answers->results[i].event_position = from->status.event_position;
        answers->results[i].position = from->status.position;
        snprintf(answers->results[i].id, sizeof answers->results[i].id, "%.*s",
                 (int)from->event_id.len, from->event_id.data);
        snprintf(answers->results[i].message, sizeof answers->results[i].message, "%.*s",
                 (int)from->message.len, from->message.data ? from->message.data : "");
    }
    atomic_store(&answers->come, true);
}

static void ask_batch(struct asked *asked, const struct view *ids, size_t count, const char *source,
                      uint64_t min_position, int64_t timeout_ms, struct answers *answers)
{
    memset(answers, 0, sizeof *answers);
    query_batch(asked->query, &(struct query_batch_ask){.request = {.event_ids = ids,
                                                                    .event_id_count = count,
                                                                    .source = view_of(source),
                                                                    .min_position = min_position},
                                                        .timeout_ms = timeout_ms,
                                                        .done = on_results,
                                                        .ctx = answers});
    answers->synchronous = atomic_load(&answers->come);
}

static void ask_batch_and_wait(struct asked *asked, const struct view *ids, size_t count,
                               uint64_t min_position, struct answers *answers)
{
    ask_batch(asked, ids, count, "", min_position, PATIENCE_MS, answers);
    assert_until(atomic_load(&answers->come));
}

/* Two events: "a" of /test, processed; "b" of /test, accepted. Returns the last change. */
static uint64_t two_events(struct asked *asked)
{
    struct event_id a, b;
    id_of_producer(VIEW("/test"), VIEW("a"), &a);
    id_of_producer(VIEW("/test"), VIEW("b"), &b);
    uint64_t position = mem_world_event(&asked->world, "n", "", &a);
    mem_world_event(&asked->world, "n", "", &b);
    return mem_world_change(&asked->world, &a, position, processed, 0, "");
}

static void test_each_id_is_answered_in_its_place(void **state)
{
    struct asked *asked = *state;
    static struct answers answers;
    const struct view ids[] = {VIEW("b"), VIEW("missing"), VIEW("a"),
                               VIEW(""),  VIEW("x\ty"),    VIEW("b")};
    uint64_t change = two_events(asked);
    ask_batch_and_wait(asked, ids, 6, change, &answers);
    assert_int_equal(answers.e, ERR_NONE);
    assert_int_equal(answers.count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_memory_equal(answers.results[i].id, ids[i].data, ids[i].len);
    assert_int_equal(answers.results[0].state.status, STATUS_ACCEPTED);
    assert_int_equal(answers.results[0].event_position, 2);
    assert_int_equal(answers.results[1].e, ERR_NOT_FOUND);
    assert_non_null(strstr(answers.results[1].message, "'missing' of source '/test'"));
    assert_int_equal(answers.results[2].state.status, STATUS_PROCESSED);
    assert_true(answers.results[2].position >= change);
    assert_int_equal(answers.results[3].e, ERR_INVALID);
    assert_non_null(strstr(answers.results[3].message, "event_id is empty"));
    assert_int_equal(answers.results[4].e, ERR_INVALID);
    assert_non_null(strstr(answers.results[4].message, "control characters"));
    assert_int_equal(answers.results[5].event_position, 2);
    assert_true(mem_world_metric(asked->metrics, "tidings_lookups_total{result=\"not_found\"}") ==
                1);
    assert_true(mem_world_metric(asked->metrics, "tidings_lookups_total{result=\"invalid\"}") == 2);
}

static void test_what_is_known_needs_no_look(void **state)
{
    struct asked *asked = *state;
    static struct answers answers;
    const struct view ids[] = {VIEW("a"), VIEW("x\ty")};
    uint64_t change = two_events(asked);
    ask_batch_and_wait(asked, ids, 2, change, &answers); /* from now on it is known */
    mem_world_close_gate(&asked->world);
    ask_batch(asked, ids, 2, "", change, PATIENCE_MS, &answers);
    assert_true(answers.synchronous);
    assert_int_equal(answers.results[0].state.status, STATUS_PROCESSED);
}

static void test_the_source_is_of_all_ids(void **state)
{
    struct asked *asked = *state;
    static struct answers answers;
    const struct view ids[] = {VIEW("a")};
    two_events(asked);
    ask_batch(asked, ids, 1, "/other", 0, PATIENCE_MS, &answers);
    assert_until(atomic_load(&answers.come));
    assert_int_equal(answers.results[0].e, ERR_NOT_FOUND);
    assert_non_null(strstr(answers.results[0].message, "of source '/other'"));
    ask_batch(asked, ids, 1, "/o\n", 0, PATIENCE_MS, &answers);
    assert_true(answers.synchronous);
    assert_int_equal(answers.results[0].e, ERR_INVALID);
    assert_non_null(strstr(answers.results[0].message, "source"));
}

static void test_a_thousand_unknown_ids_share_one_look(void **state)
{
    struct asked *asked = *state;
    static char texts[EVENT_BATCH_MAX][8];
    static struct view ids[EVENT_BATCH_MAX + 1];
    static struct answers answers;
    until_ready(asked);
    double before = mem_world_metric(asked->metrics, "tidings_looks_total");
    for (size_t i = 0; i < EVENT_BATCH_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "u%zu", i);
        ids[i] = view_of(texts[i]);
    }
    ids[EVENT_BATCH_MAX] = VIEW("one too many");
    ask_batch_and_wait(asked, ids, EVENT_BATCH_MAX, 0, &answers);
    assert_int_equal(answers.e, ERR_NONE);
    assert_int_equal(answers.count, EVENT_BATCH_MAX);
    assert_int_equal(answers.results[7].e, ERR_NOT_FOUND);
    assert_true(mem_world_metric(asked->metrics, "tidings_looks_total") == before + 1);
    ask_batch(asked, ids, EVENT_BATCH_MAX + 1, "", 0, PATIENCE_MS, &answers);
    assert_true(answers.synchronous);
    assert_int_equal(answers.e, ERR_INVALID);
    assert_non_null(strstr(answers.message, "1001 ids; at most 1000"));
    ask_batch(asked, ids, 0, "", 0, PATIENCE_MS, &answers);
    assert_int_equal(answers.e, ERR_INVALID);
    assert_non_null(strstr(answers.message, "event_ids is empty"));
}

static void test_a_position_beyond_the_end_is_out_of_range(void **state)
{
    struct asked *asked = *state;
    static struct answers answers;
    const struct view ids[] = {VIEW("a")};
    uint64_t change = two_events(asked);
    ask_batch_and_wait(asked, ids, 1, change + 1, &answers);
    assert_int_equal(answers.e, ERR_OUT_OF_RANGE);
    assert_non_null(strstr(answers.message, "beyond"));
}

static void test_without_the_bus_the_unknown_stays_unknown(void **state)
{
    struct asked *asked = *state;
    static struct answers answers;
    const struct view ids[] = {VIEW("a"), VIEW("missing"), VIEW("")};
    uint64_t change = two_events(asked);
    ask_batch_and_wait(asked, ids, 1, change, &answers);
    bus_mem_set_away(asked->world.bus, true);
    ask_batch_and_wait(asked, ids, 3, change, &answers);
    assert_int_equal(answers.e, ERR_NONE);
    assert_int_equal(answers.results[0].state.status, STATUS_PROCESSED);
    assert_int_equal(answers.results[1].e, ERR_UNAVAILABLE);
    assert_non_null(strstr(answers.results[1].message, "the bus does not answer"));
    assert_int_equal(answers.results[2].e, ERR_INVALID);
    ask_batch_and_wait(asked, ids, 3, change + 9, &answers); /* none is new enough */
    assert_int_equal(answers.e, ERR_UNAVAILABLE);
}

static void test_a_table_being_read_is_not_taken_at_its_word(void **state)
{
    struct asked *asked = *state;
    static struct answers late, hurried;
    const struct view ids[] = {VIEW("a")};
    two_events(asked);
    until_ready(asked);
    mem_world_close_gate(&asked->world);
    follower_rebuild(asked->follower, 1, "test"); /* cannot catch up: the gate is closed */
    ask_batch(asked, ids, 1, "", 0, PATIENCE_MS, &late);
    ask_batch(asked, ids, 1, "", 0, 1, &hurried);
    assert_false(late.synchronous);
    mem_world_open_gate(&asked->world);
    assert_until(atomic_load(&late.come) && atomic_load(&hurried.come));
    assert_int_equal(late.e, ERR_NONE);
    assert_int_equal(late.results[0].state.status, STATUS_PROCESSED);
    assert_true(hurried.e == ERR_UNAVAILABLE ||
                hurried.results[0].state.status == STATUS_PROCESSED);
}

static void test_too_many_that_wait_are_refused(void **state)
{
    struct asked *asked = *state;
    enum { BATCHES = 25 }; /* ten may wait, and ten more be with the look at the gate */
    static struct answers answers[BATCHES];
    static struct view ids[EVENT_BATCH_MAX];
    size_t refused = 0;
    until_ready(asked);
    for (size_t i = 0; i < EVENT_BATCH_MAX; i++)
        ids[i] = VIEW("missing");
    mem_world_close_gate(&asked->world);
    for (size_t i = 0; i < BATCHES; i++)
        ask_batch(asked, ids, EVENT_BATCH_MAX, "", 0, PATIENCE_MS, &answers[i]);
    mem_world_open_gate(&asked->world);
    for (size_t i = 0; i < BATCHES; i++) {
        assert_until(atomic_load(&answers[i].come));
        refused += answers[i].e == ERR_BUSY;
        assert_true(answers[i].e == ERR_BUSY || answers[i].results[0].e == ERR_NOT_FOUND);
    }
    assert_true(refused >= 1 && refused < BATCHES);
}

static void test_the_end_answers_those_who_wait(void **state)
{
    struct asked *asked = *state;
    static struct answers answers;
    const struct view ids[] = {VIEW("missing")};
    until_ready(asked);
    mem_world_close_gate(&asked->world);
    ask_batch(asked, ids, 1, "", 0, PATIENCE_MS, &answers);
    mem_world_open_gate(&asked->world);
    asked_end(state);
    assert_true(atomic_load(&answers.come));
    assert_true(answers.e == ERR_UNAVAILABLE || answers.results[0].e == ERR_UNAVAILABLE ||
                answers.results[0].e == ERR_NOT_FOUND);
    asked_begin(state);
}

static void test_without_memory_nothing_is_answered(void **state)
{
    struct asked *asked = *state;
    static struct answers answers;
    const struct view ids[] = {VIEW("a"), VIEW("")};
    uint64_t change = two_events(asked);
    ask_batch_and_wait(asked, ids, 2, change, &answers);
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        ask_batch(asked, ids, 2, "", 0, PATIENCE_MS, &answers);
        bool failed = each_failure_end(&f);
        assert_true(answers.synchronous);
        assert_int_equal(answers.e, failed ? ERR_MEMORY : ERR_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_each_id_is_answered_in_its_place),
        test(test_what_is_known_needs_no_look),
        test(test_the_source_is_of_all_ids),
        test(test_a_thousand_unknown_ids_share_one_look),
        test(test_a_position_beyond_the_end_is_out_of_range),
        test(test_without_the_bus_the_unknown_stays_unknown),
        test(test_a_table_being_read_is_not_taken_at_its_word),
        test(test_too_many_that_wait_are_refused),
        test(test_the_end_answers_those_who_wait),
        test(test_without_memory_nothing_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
