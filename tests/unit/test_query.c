#include "event-processor/query.h"

#include "event-processor/status_names.h"
#include "tests/lib/mem_world.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { PATIENCE_MS = 8000 };

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};

/* ---- a replica that is asked ---- */

struct asked {
    struct mem_world world;
    struct metrics *metrics;
    struct status_table *table;
    struct follower *follower;
    struct query *query;
};

static void start(struct asked *asked)
{
    assert_int_equal(metrics_new(&asked->metrics), ERR_NONE);
    assert_int_equal(status_table_new(&asked->table), ERR_NONE);
    assert_int_equal(follower_start(&(struct follower_options){.event_log = asked->world.events,
                                                               .event_stream = MEM_WORLD_STREAM,
                                                               .ns = MEM_WORLD_NS,
                                                               .status_log = asked->world.statuses,
                                                               .table = asked->table,
                                                               .metrics = asked->metrics},
                                    &asked->follower),
                     ERR_NONE);
    assert_int_equal(query_start(&(struct query_options){.event_log = asked->world.events,
                                                         .event_stream = MEM_WORLD_STREAM,
                                                         .ns = MEM_WORLD_NS,
                                                         .source = "/test",
                                                         .status_log = asked->world.statuses,
                                                         .follower = asked->follower,
                                                         .table = asked->table,
                                                         .metrics = asked->metrics},
                                 &asked->query),
                     ERR_NONE);
}

static int begin(void **state)
{
    static struct asked asked;
    mem_world_open(&asked.world);
    start(&asked);
    *state = &asked;
    return 0;
}

static int end(void **state)
{
    struct asked *asked = *state;
    mem_world_open_gate(&asked->world);
    follower_stop(asked->follower);
    query_stop(asked->query);
    follower_free(asked->follower);
    status_table_free(asked->table);
    metrics_free(asked->metrics);
    mem_world_close(&asked->world);
    return 0;
}

static void until_ready(struct asked *asked)
{
    assert_until(follower_ready(asked->follower) != 0);
}

/* ---- one answer ---- */

struct answer {
    atomic_bool come;
    bool synchronous; /* before query_ask returned */
    enum err e;
    char message[300];
    struct status_state state;
    uint64_t event_position, position;
    char name[64], payload[64], error[128], words[256]; /* words: the history's statuses */
    char more[128];                                     /* subject, dataschema, extensions */
    size_t history_count;
    int64_t time_ms;
};

static void on_answer(void *ctx, enum err e, const char *message, const struct event_status *status)
{
    struct answer *answer = ctx;
    answer->e = e;
    snprintf(answer->message, sizeof answer->message, "%s", message);
    if (!e) {
        answer->state = status->state;
        answer->event_position = status->event_position;
        answer->position = status->position;
        answer->history_count = status->history_count;
        answer->time_ms = status->time_ms;
        snprintf(answer->name, sizeof answer->name, "%.*s", (int)status->name.len,
                 status->name.data);
        snprintf(answer->payload, sizeof answer->payload, "%.*s", (int)status->payload.len,
                 status->payload.data ? status->payload.data : "");
        int used =
            snprintf(answer->more, sizeof answer->more, "%.*s, %.*s, ", (int)status->subject.len,
                     status->subject.data, (int)status->dataschema.len, status->dataschema.data);
        for (size_t i = 0; i < status->extension_count; i++)
            used +=
                snprintf(answer->more + used, sizeof answer->more - (size_t)used, "%.*s=%.*s ",
                         (int)status->extensions[i].name.len, status->extensions[i].name.data,
                         (int)status->extensions[i].value.len, status->extensions[i].value.data);
        for (size_t i = 0; i < status->history_count; i++) {
            const struct event_status_change *change = &status->history[i];
            size_t len = strlen(answer->words);
            snprintf(answer->words + len, sizeof answer->words - len, "%s%s", i ? " " : "",
                     status_word(change->state.status));
            snprintf(answer->error, sizeof answer->error, "%.*s", (int)change->error.len,
                     change->error.data ? change->error.data : "");
        }
    }
    atomic_store(&answer->come, true);
}

static void ask_for(struct asked *asked, const struct event_status_request *request,
                    int64_t timeout_ms, struct answer *answer)
{
    *answer = (struct answer){.e = ERR_NONE};
    query_ask(asked->query,
              &(struct query_ask){
                  .request = *request, .timeout_ms = timeout_ms, .done = on_answer, .ctx = answer});
    answer->synchronous = atomic_load(&answer->come);
}

static void ask(struct asked *asked, const char *id, bool full, uint64_t min_position,
                int64_t timeout_ms, struct answer *answer)
{
    ask_for(asked,
            &(struct event_status_request){
                .event_id = view_of(id), .full = full, .min_position = min_position},
            timeout_ms, answer);
}

/* A producer's id, and its source; the texts are gone while the answer is waited for. */
static void ask_producer(struct asked *asked, const char *id, const char *source, bool full,
                         struct answer *answer)
{
    char texts[2][EVENT_SOURCE_MAX + 2];
    snprintf(texts[0], sizeof texts[0], "%s", id);
    snprintf(texts[1], sizeof texts[1], "%s", source);
    ask_for(asked,
            &(struct event_status_request){
                .event_id = view_of(texts[0]), .source = view_of(texts[1]), .full = full},
            PATIENCE_MS, answer);
    memset(texts, '!', sizeof texts);
    assert_until(atomic_load(&answer->come));
}

static void ask_and_wait(struct asked *asked, const struct event_id *id, bool full,
                         uint64_t min_position, struct answer *answer)
{
    char text[ID_TEXT_SIZE];
    id_format(id, text);
    ask(asked, text, full, min_position, PATIENCE_MS, answer);
    assert_until(atomic_load(&answer->come));
}

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
    end(state);
    for (int i = 0; i < 20; i++) {
        assert_true(atomic_load(&answers[i].come));
        assert_true(answers[i].e == ERR_UNAVAILABLE || answers[i].e == ERR_NOT_FOUND);
    }
    begin(state);
}

/* ---- full views ---- */

static void test_a_full_view_has_what_was_sent_and_what_happened(void **state)
{
    struct asked *asked = *state;
    struct mem_world *world = &asked->world;
    struct answer answer;
    struct event_id id = {{0}};
    uint64_t at = mem_world_event(world, "n", "hello", &id);
    ask_and_wait(asked, &id, true, 0, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_string_equal(answer.payload, "hello");
    assert_string_equal(answer.words, "accepted");
    assert_int_equal(answer.time_ms, 1767323045678);

    struct status_state running = {.status = STATUS_PROCESSING, .attempt = 1};
    struct status_state retrying = {.status = STATUS_RETRYING, .attempt = 1};
    struct status_state dead = {.status = STATUS_DEAD, .attempt = 2};
    uint64_t one = mem_world_change(world, &id, at, running, 0, "");
    /* Another processor's, appended before it knew of the first: it loses. */
    uint64_t lost = mem_world_change(world, &id, at, running, one, "lost");
    uint64_t two = mem_world_change(world, &id, at, retrying, lost, "no answer");
    uint64_t three = mem_world_change(world, &id, at, dead, two, "refused");
    mem_world_change(world, &id, at, processed, three, ""); /* too late: it loses, too */
    ask_and_wait(asked, &id, true, three + 1, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_int_equal(answer.state.status, STATUS_DEAD);
    assert_string_equal(answer.words, "accepted processing retrying dead");
    assert_string_equal(answer.error, "refused");
}

static void test_a_history_within_one_batch(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id id = {{0}}, other = {{0}};
    uint64_t at = mem_world_event(&asked->world, "n", "", &id);
    uint64_t other_at = mem_world_event(&asked->world, "n", "", &other);
    struct status_change changes[] = {
        {.id = id, .event_position = at, .state = {STATUS_PROCESSING, false, 0, 1}},
        {.id = other, .event_position = other_at, .state = processed},
        {.id = id, .event_position = at, .state = {STATUS_RETRYING, false, 0, 1}},
        {.id = id, .event_position = at, .state = {STATUS_PROCESSED, false, 0, 2}},
        {.id = id, .event_position = at, .state = {STATUS_DEAD, false, 0, 3}}, /* loses */
    };
    uint64_t batch = mem_world_batch(&asked->world, changes, 5);
    ask_and_wait(asked, &id, true, batch, &answer);
    assert_string_equal(answer.words, "accepted processing retrying processed");
    ask_and_wait(asked, &other, true, batch, &answer);
    assert_string_equal(answer.words, "accepted processed");
}

static void test_a_broken_chain_shows_what_is_left(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id id = {{0}};
    uint64_t at = mem_world_event(&asked->world, "n", "", &id);
    uint64_t junk = mem_world_junk_batch(&asked->world);
    uint64_t change = mem_world_change(&asked->world, &id, at, processed, junk, "");
    ask_and_wait(asked, &id, true, change, &answer);
    assert_string_equal(answer.words, "accepted processed");
    /* A chain that points to itself or ahead ends as well. */
    struct event_id loop = {{0}};
    at = mem_world_event(&asked->world, "n", "", &loop);
    change = mem_world_change(&asked->world, &loop, at, processed, change + 1, "");
    ask_and_wait(asked, &loop, true, change, &answer);
    assert_string_equal(answer.words, "accepted processed");
}

/* A copy at `at` of the event at `first`, with other content, and the record of that. */
static void record_conflict(struct asked *asked, const struct event_id *id, uint64_t first,
                            uint64_t at, struct event_id *ret_own)
{
    id_of_position(VIEW(MEM_WORLD_STREAM), at, ret_own);
    struct status_change change = {.id = *ret_own,
                                   .event_position = at,
                                   .state = {.status = STATUS_DEAD},
                                   .time_ms = 1700000000000,
                                   .error = VIEW("id_conflict: why"),
                                   .letter_position = 9,
                                   .conflict_id = *id,
                                   .conflict_position = first};
    (void)mem_world_batch(&asked->world, &change, 1);
}

static void test_a_conflicting_copy_can_be_looked_at(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id id = {{0}}, own;
    uint64_t first = mem_world_event(&asked->world, "n", "first", &id);
    uint64_t second = mem_world_event(&asked->world, "other", "second", &id);
    record_conflict(asked, &id, first, second, &own);
    ask_and_wait(asked, &own, true, 0, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_int_equal(answer.event_position, second);
    assert_int_equal(answer.state.status, STATUS_DEAD);
    assert_string_equal(answer.payload, "second");
    assert_string_equal(answer.name, "other");
    assert_string_equal(answer.words, "accepted dead");
    assert_string_equal(answer.error, "id_conflict: why");
    ask_and_wait(asked, &id, true, 0, &answer);
    assert_int_equal(answer.event_position, first);
    assert_int_equal(answer.state.status, STATUS_ACCEPTED);
    assert_string_equal(answer.payload, "first");
}

static void test_a_full_view_has_extensions_too(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id id = {{7}};
    char text[ID_TEXT_SIZE];
    id_format(&id, text);
    struct event_extension extensions[] = {{VIEW("region"), VIEW("eu")},
                                           {VIEW("tenant"), VIEW("a b")}};
    struct event event = {.id = id,
                          .producer_id = view_of(text),
                          .source = VIEW("/test"),
                          .name = VIEW("n"),
                          .time = VIEW("2026-01-02T03:04:05.678Z"),
                          .subject = VIEW("order 7"),
                          .dataschema = VIEW("https://example.com/schema"),
                          .extensions = extensions,
                          .extension_count = 2};
    static struct event_message message;
    struct bus_receipt receipt;
    event_to_message(&event, MEM_WORLD_NS, &message);
    assert_int_equal(bus_publish_wait(asked->world.events, &message.message, &receipt), ERR_NONE);
    ask_and_wait(asked, &id, true, 0, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_string_equal(answer.more, "order 7, https://example.com/schema, region=eu tenant=a b ");
}

static void test_what_is_no_event_can_be_looked_at(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id id;
    uint64_t at = mem_world_junk(&asked->world, "junk");
    id_of_position(VIEW(MEM_WORLD_STREAM), at, &id);
    ask_and_wait(asked, &id, true, 0, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_string_equal(answer.payload, "junk");
    assert_string_equal(answer.name, "(malformed)");
}

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

static void test_a_full_view_too_late_is_unavailable_and_one_for_nobody_cancelled(void **state)
{
    struct asked *asked = *state;
    static struct answer answer, last;
    struct event_id id = {{0}};
    char text[ID_TEXT_SIZE];
    mem_world_event(&asked->world, "n", "", &id);
    ask_and_wait(asked, &id, false, 0, &answer); /* from now on it is known */
    id_format(&id, text);
    ask(asked, text, true, 0, 0, &answer);
    assert_until(atomic_load(&answer.come));
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    assert_non_null(strstr(answer.message, "in time"));
    query_ask(asked->query,
              &(struct query_ask){.request = {.event_id = view_of(text), .full = true},
                                  .timeout_ms = PATIENCE_MS,
                                  .done = on_answer,
                                  .gone = always,
                                  .ctx = &last});
    assert_until(atomic_load(&last.come));
    assert_int_equal(last.e, ERR_CANCELLED);
}

static void test_a_full_view_has_the_name_that_the_table_has_no_room_for(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id id = {{0}};
    char name[32];
    for (int i = 0; i <= STATUS_NAMES_MAX; i++) {
        snprintf(name, sizeof name, "name.%d", i);
        id = (struct event_id){{0}};
        mem_world_event(&asked->world, name, "", &id);
    }
    ask_and_wait(asked, &id, false, 0, &answer);
    assert_string_equal(answer.name, "(other)");
    ask_and_wait(asked, &id, true, 0, &answer);
    assert_string_equal(answer.name, name);
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

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
        test(test_no_rebuild_makes_a_status_go_backwards),
        test(test_the_end_answers_those_who_wait),
        test(test_a_full_view_has_what_was_sent_and_what_happened),
        test(test_a_history_within_one_batch),
        test(test_a_broken_chain_shows_what_is_left),
        test(test_a_conflicting_copy_can_be_looked_at),
        test(test_a_full_view_has_extensions_too),
        test(test_what_is_no_event_can_be_looked_at),
        test(test_a_full_view_too_late_is_unavailable_and_one_for_nobody_cancelled),
        test(test_a_full_view_has_the_name_that_the_table_has_no_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
