/* Full views: what the logs hold of an event. */
#include "event-processor/query.h"

#include "event-processor/status_names.h"
#include "tests/lib/asked.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

#define test(function) cmocka_unit_test_setup_teardown(function, asked_begin, asked_end)

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};

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

/* A record that comes late knows of none before, and is in one batch with a record of the next
 * attempt that does. */
static void test_a_late_record_hides_no_attempt(void **state)
{
    struct asked *asked = *state;
    struct answer answer;
    struct event_id id = {{0}};
    uint64_t at = mem_world_event(&asked->world, "n", "", &id);
    struct status_state retrying = {.status = STATUS_RETRYING, .attempt = 1};
    uint64_t failed = mem_world_change(&asked->world, &id, at, retrying, 0, "no answer");
    struct status_change changes[] = {
        {.id = id, .event_position = at, .state = {STATUS_PROCESSING, false, 0, 1}},
        {.id = id,
         .event_position = at,
         .state = {STATUS_PROCESSING, false, 0, 2},
         .previous_position = failed},
    };
    uint64_t claim = mem_world_batch(&asked->world, changes, 2);
    struct status_state processed_later = {.status = STATUS_PROCESSED, .attempt = 2};
    uint64_t last = mem_world_change(&asked->world, &id, at, processed_later, claim, "");
    ask_and_wait(asked, &id, true, last, &answer);
    assert_string_equal(answer.words, "accepted retrying processing processed");
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
                                  .done = asked_on_answer,
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_a_full_view_has_what_was_sent_and_what_happened),
        test(test_a_history_within_one_batch),
        test(test_a_late_record_hides_no_attempt),
        test(test_a_broken_chain_shows_what_is_left),
        test(test_a_conflicting_copy_can_be_looked_at),
        test(test_a_full_view_has_extensions_too),
        test(test_what_is_no_event_can_be_looked_at),
        test(test_a_full_view_too_late_is_unavailable_and_one_for_nobody_cancelled),
        test(test_a_full_view_has_the_name_that_the_table_has_no_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
