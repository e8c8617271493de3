/* Replays in whole processors on a bus in memory: what is replayed, how fast, by whom. */
#include "tests/lib/replays_asked.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

enum { EVENTS = 40, SILENT_MS = 300 };

static struct mem_world world;
static struct one ones[4];
static size_t started, drained;
static struct event_id ids[EVENTS];

static int begin(void **state)
{
    (void)state;
    mem_world_open(&world);
    world.replay_silent_ms = SILENT_MS;
    started = drained = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (; drained < started; drained++)
        assert_true(one_drain(&ones[drained], DRAIN_MS));
    ones_finish(ones, started);
    return 0;
}
#define test(function) cmocka_unit_test_setup_teardown(function, begin, end)

/* A processor whose handler fails always or never, after one attempt. */
static struct one *start(double failure_rate)
{
    static char all[] = ">", simulate[] = "simulate";
    char name[8];
    struct config_handler handler = {
        .match = all, .kind = simulate, .failure_rate = failure_rate, .max_attempts = 1};
    snprintf(name, sizeof name, "p%zu", started + 1);
    one_start_with(&world, &ones[started], name, &handler, 1);
    return &ones[started++];
}

static void drain_next(void)
{
    assert_true(one_drain(&ones[drained], DRAIN_MS));
    drained++;
}

static void publish(const char *name, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++) {
        ids[i] = (struct event_id){{0}};
        mem_world_event(&world, name, "x", &ids[i]);
    }
}

static uint64_t count_of(struct one *one, enum status status)
{
    return one_stats(one).counts[status];
}

/* Events, all of them dead; and a processor whose handler would have done. */
static struct one *start_with_dead(size_t count)
{
    struct one *failing = start(1);
    publish("order.created", 0, count / 2);
    publish("invoice.sent", count / 2, count - count / 2);
    assert_until(count_of(failing, STATUS_DEAD) == count);
    drain_next();
    struct one *healthy = start(0);
    assert_until(count_of(healthy, STATUS_DEAD) == count);
    return healthy;
}

static bool has_ended(struct one *one, const char *id, struct replay_answer *answer)
{
    replay_get(one, id, answer);
    assert_int_equal(answer->e, ERR_NONE);
    return answer->state != REPLAY_RUNNING;
}

static void until_ended(struct one *one, const char *id, struct replay_answer *answer)
{
    assert_until(has_ended(one, id, answer));
}

static bool has_begun(struct one *one, const char *id, struct replay_answer *answer)
{
    replay_get(one, id, answer);
    assert_int_equal(answer->e, ERR_NONE);
    return answer->replayed > 0;
}

static uint32_t generation(struct one *one, const struct event_id *id)
{
    struct status_entry entry;
    assert_true(status_table_find(one->processor.table, id, &entry, NULL));
    return entry.state.generation;
}

static const struct replay_request all_dead = {.statuses = 1u << STATUS_DEAD};

/* ---- what is replayed ---- */

static void test_all_that_is_dead_is_processed_in_its_next_life(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *one = start_with_dead(EVENTS);
    replay_start(one, &all_dead, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_true(answer.has_id);
    assert_string_equal(answer.processor, one->name);
    until_ended(one, answer.id_text, &answer);
    assert_int_equal(answer.state, REPLAY_DONE);
    assert_int_equal(answer.replayed, EVENTS);
    assert_int_equal(answer.skipped, 0);
    assert_int_equal(answer.event_position, EVENTS);
    assert_until(count_of(one, STATUS_PROCESSED) == EVENTS);
    for (size_t i = 0; i < EVENTS; i++)
        assert_int_equal(generation(one, &ids[i]), 1);
    assert_until(mem_world_metric(one->metrics, "tidings_events_replayed_total") == EVENTS);
    assert_until(mem_world_metric(one->metrics, "tidings_replays_running") == 0);
}

static void test_only_what_matches_is_replayed(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *one = start_with_dead(EVENTS);
    struct replay_request request = {.name = VIEW("order.*"), .from_position = 3, .to_position = 7};
    replay_start(one, &request, &answer);
    until_ended(one, answer.id_text, &answer);
    assert_int_equal(answer.replayed, 5);
    assert_int_equal(answer.statuses, 1u << STATUS_DEAD);
    assert_string_equal(answer.name, "order.*");
    assert_until(count_of(one, STATUS_PROCESSED) == 5);
    for (size_t i = 0; i < EVENTS; i++)
        assert_int_equal(generation(one, &ids[i]), i >= 2 && i < 7);
}

static void test_ids_are_replayed_whatever_they_ended_with(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *one = start_with_dead(4);
    char text[3][ID_TEXT_SIZE];
    struct view views[3];
    publish("order.created", 4, 1);
    assert_until(one_status(one, &ids[4]) == STATUS_PROCESSED);
    for (size_t i = 0; i < 3; i++) {
        id_format(&ids[i < 2 ? i : 4], text[i]);
        views[i] = view_of(text[i]);
    }
    struct replay_request request = {.event_ids = views, .event_id_count = 3};
    replay_start(one, &request, &answer);
    assert_int_equal(answer.event_id_count, 3);
    until_ended(one, answer.id_text, &answer);
    assert_int_equal(answer.replayed, 3);
    assert_until(generation(one, &ids[4]) == 1 && generation(one, &ids[0]) == 1);
    assert_int_equal(generation(one, &ids[2]), 0);
}

static void test_times_select_what_was_stored_between(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *failing = start(1);
    publish("a", 0, 3);
    int64_t between_ms = 0;
    struct bus_record *record;
    assert_int_equal(bus_log_read(world.events, 3, 1000, &record), ERR_NONE);
    between_ms = record->time_ms + 1;
    bus_record_free(record);
    assert_until(clock_wall_ms(&clock_system) > between_ms);
    publish("a", 3, 3);
    assert_until(count_of(failing, STATUS_DEAD) == 6);
    struct replay_request request = {.accepted_since_ms = between_ms, .dry_run = true};
    replay_start(failing, &request, &answer);
    assert_int_equal(answer.replayed, 3);
    request = (struct replay_request){.accepted_until_ms = between_ms, .dry_run = true};
    replay_start(failing, &request, &answer);
    assert_int_equal(answer.replayed, 3);
    assert_int_equal(answer.event_position, 3);
    request = (struct replay_request){.accepted_since_ms = clock_wall_ms(&clock_system) + 100000,
                                      .dry_run = true};
    replay_start(failing, &request, &answer);
    assert_int_equal(answer.replayed, 0);
    request = (struct replay_request){.accepted_until_ms = 1000, .dry_run = true};
    replay_start(failing, &request, &answer);
    assert_int_equal(answer.replayed, 0);
}

static void test_a_dry_run_counts_and_changes_nothing(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *one = start_with_dead(EVENTS);
    mem_world_junk(&world, "junk"); /* dead, but there is nothing to run */
    assert_until(count_of(one, STATUS_DEAD) == EVENTS + 1);
    uint64_t last = mem_world_last(world.statuses);
    struct replay_request request = all_dead;
    request.dry_run = true;
    replay_start(one, &request, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_false(answer.has_id);
    assert_int_equal(answer.state, REPLAY_DONE);
    assert_int_equal(answer.replayed, EVENTS);
    assert_int_equal(answer.skipped, 1);
    assert_int_equal(mem_world_last(world.statuses), last);
    assert_int_equal(count_of(one, STATUS_DEAD), EVENTS + 1);
    replay_start(one, &all_dead, &answer);
    until_ended(one, answer.id_text, &answer);
    assert_int_equal(answer.replayed, EVENTS);
    assert_int_equal(answer.skipped, 1);
}

static void test_a_request_sent_twice_is_one_replay(void **state)
{
    (void)state;
    static const char id[] = "0190a1b2-0000-7000-8000-000000000001";
    struct replay_answer answer;
    struct one *one = start_with_dead(EVENTS);
    struct replay_request request = all_dead;
    request.replay_id = view_of(id);
    replay_start(one, &request, &answer);
    assert_string_equal(answer.id_text, id);
    until_ended(one, id, &answer);
    assert_until(count_of(one, STATUS_PROCESSED) == EVENTS);
    replay_start(one, &request, &answer);
    assert_int_equal(answer.state, REPLAY_DONE);
    assert_int_equal(answer.replayed, EVENTS);
    assert_int_equal(replays_running(one->processor.replays), 0);
    for (size_t i = 0; i < EVENTS; i++)
        assert_int_equal(generation(one, &ids[i]), 1);
}

static void test_of_two_replays_at_once_one_gets_each_event(void **state)
{
    (void)state;
    struct replay_answer answers[2];
    (void)start_with_dead(EVENTS);
    struct one *other = start(0);
    for (int i = 0; i < 2; i++)
        replay_ask(&ones[1 + i], REPLAY_START, &all_dead, "", &answers[i]);
    for (int i = 0; i < 2; i++) {
        assert_until(atomic_load(&answers[i].come));
        assert_int_equal(answers[i].e, ERR_NONE);
        until_ended(other, answers[i].id_text, &answers[i]);
    }
    assert_until(count_of(other, STATUS_PROCESSED) == EVENTS);
    for (size_t i = 0; i < EVENTS; i++)
        assert_int_equal(generation(other, &ids[i]), 1);
}

/* ---- how fast, and how long ---- */

static void test_a_rate_is_kept(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *one = start_with_dead(EVENTS);
    struct replay_request request = all_dead;
    request.rate = 80;
    int64_t before_ms = clock_monotonic_ms(&clock_system);
    replay_start(one, &request, &answer);
    until_ended(one, answer.id_text, &answer);
    assert_int_equal(answer.replayed, EVENTS);
    /* The last step of 8 events needs no time after it. */
    assert_true(clock_monotonic_ms(&clock_system) - before_ms >= (EVENTS - 8) * 1000 / 80);
}

static void test_a_cancelled_replay_goes_no_further(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *one = start_with_dead(EVENTS);
    struct replay_request request = all_dead;
    request.rate = 5;
    replay_start(one, &request, &answer);
    assert_until(has_begun(one, answer.id_text, &answer));
    struct one *other = start(0);
    replay_cancel(other, answer.id_text, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_int_equal(answer.state, REPLAY_CANCELLED);
    assert_until(mem_world_metric(one->metrics, "tidings_replays_running") == 0);
    replay_get(one, answer.id_text, &answer);
    assert_int_equal(answer.state, REPLAY_CANCELLED);
    assert_true(answer.replayed >= 1 && answer.replayed < EVENTS);
    assert_until(count_of(one, STATUS_PROCESSED) == answer.replayed);
    assert_int_equal(count_of(one, STATUS_DEAD), EVENTS - answer.replayed);
    replay_cancel(one, answer.id_text, &answer); /* it has ended already */
    assert_int_equal(answer.state, REPLAY_CANCELLED);
}

/* ---- by whom ---- */

static void test_another_processor_goes_on_where_one_has_stopped(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *first = start_with_dead(EVENTS);
    struct replay_request request = all_dead;
    request.rate = 20;
    struct one *second = start(0);
    replay_start(first, &request, &answer);
    assert_until(has_begun(second, answer.id_text, &answer));
    assert_string_equal(answer.processor, first->name);
    drain_next(); /* takes part no more; the replay stays running */
    replay_get(second, answer.id_text, &answer);
    assert_int_equal(answer.state, REPLAY_RUNNING);
    until_ended(second, answer.id_text, &answer);
    assert_int_equal(answer.state, REPLAY_DONE);
    assert_int_equal(answer.replayed, EVENTS);
    assert_int_equal(answer.skipped, 0);
    assert_string_equal(answer.processor, second->name);
    assert_true(mem_world_metric(second->metrics, "tidings_replays_taken_over_total") >= 1);
    assert_until(count_of(second, STATUS_PROCESSED) == EVENTS);
    for (size_t i = 0; i < EVENTS; i++)
        assert_int_equal(generation(second, &ids[i]), 1);
}

static void test_a_new_processor_learns_of_replays_from_the_log(void **state)
{
    (void)state;
    struct replay_answer answer, again;
    struct one *one = start_with_dead(EVENTS);
    replay_start(one, &all_dead, &answer);
    until_ended(one, answer.id_text, &answer);
    struct one *other = start(0);
    replay_get(other, answer.id_text, &again);
    assert_int_equal(again.e, ERR_NONE);
    assert_int_equal(again.state, REPLAY_DONE);
    assert_int_equal(again.replayed, EVENTS);
    assert_string_equal(again.processor, one->name);
    assert_true(again.position >= answer.position);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_all_that_is_dead_is_processed_in_its_next_life),
        test(test_only_what_matches_is_replayed),
        test(test_ids_are_replayed_whatever_they_ended_with),
        test(test_times_select_what_was_stored_between),
        test(test_a_dry_run_counts_and_changes_nothing),
        test(test_a_request_sent_twice_is_one_replay),
        test(test_of_two_replays_at_once_one_gets_each_event),
        test(test_a_rate_is_kept),
        test(test_a_cancelled_replay_goes_no_further),
        test(test_another_processor_goes_on_where_one_has_stopped),
        test(test_a_new_processor_learns_of_replays_from_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
