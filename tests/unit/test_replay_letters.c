/* Replays of events that have left the event log, from their letters, in whole processors on a bus
 * in memory. */
#include "tests/lib/replays_asked.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

enum { HOUR_MS = 3600 * 1000, PERCENT_MS = HOUR_MS / 100, EVENTS = 6, SILENT_MS = 300 };

static struct mem_world world;
static struct clock_manual clock_;
static struct one ones[3];
static size_t started, drained;
static struct event_id ids[EVENTS];
static char texts[EVENTS][ID_TEXT_SIZE];
static struct view views[EVENTS];

static int begin(void **state)
{
    (void)state;
    clock_manual_init(&clock_, 1700000000000);
    mem_world_open_at(&world, &clock_.base, HOUR_MS);
    world.settings.ack_wait_ms = HOUR_MS / 2;
    world.replay_silent_ms = SILENT_MS;
    started = drained = 0;
    return 0;
}

static void drain_next(void)
{
    assert_true(one_drain(&ones[drained], DRAIN_MS));
    drained++;
}

static int end(void **state)
{
    (void)state;
    while (drained < started)
        drain_next();
    ones_finish(ones, started);
    return 0;
}
#define test(function) cmocka_unit_test_setup_teardown(function, begin, end)

/* The next attempt comes at random up to then: not before the event has expired. */
#define LATER_MS (8000 * INT64_C(3600000))

/* A processor whose handler fails always or never. After the last of its attempts an event is
 * dead, before that it expires. */
static struct one *start(double failure_rate, uint32_t max_attempts)
{
    static char all[] = ">", simulate[] = "simulate";
    char name[8];
    struct config_handler handler = {.match = all,
                                     .kind = simulate,
                                     .failure_rate = failure_rate,
                                     .max_attempts = max_attempts,
                                     .backoff_ms = LATER_MS,
                                     .backoff_max_ms = LATER_MS};
    snprintf(name, sizeof name, "p%zu", started + 1);
    one_start_with(&world, &ones[started], name, &handler, 1);
    return &ones[started++];
}

static uint64_t count_of(struct one *one, enum status status)
{
    return one_stats(one).counts[status];
}

static void publish(size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++) {
        ids[i] = (struct event_id){{0}};
        mem_world_event(&world, i % 2 ? "invoice.sent" : "order.created", "x", &ids[i]);
        id_format(&ids[i], texts[i]);
        views[i] = view_of(texts[i]);
    }
}

static bool has_left(uint64_t position)
{
    struct bus_log_end log_end;
    assert_int_equal(bus_log_end(world.events, 1000, &log_end), ERR_NONE);
    return log_end.first > position;
}

/* Events that have left the event log, dead, and a processor whose handler would have done. */
static struct one *start_with_letters(size_t count)
{
    struct one *failing = start(1, 1);
    publish(0, count);
    assert_until(count_of(failing, STATUS_DEAD) == count);
    drain_next();
    clock_manual_advance(&clock_, HOUR_MS + PERCENT_MS);
    assert_true(has_left(count));
    assert_int_equal(mem_world_last(world.dead), count);
    return start(0, 1);
}

static void until_done(struct one *one, struct replay_answer *answer)
{
    char id[ID_TEXT_SIZE];
    snprintf(id, sizeof id, "%s", answer->id_text);
    do
        replay_get(one, id, answer);
    while (answer->e == ERR_NONE && answer->state == REPLAY_RUNNING);
    assert_int_equal(answer->e, ERR_NONE);
    assert_int_equal(answer->state, REPLAY_DONE);
}

static struct replay_request of_ids(size_t count)
{
    return (struct replay_request){.event_ids = views, .event_id_count = count};
}

static struct bus_record *read_event(uint64_t position)
{
    struct bus_record *record;
    assert_int_equal(bus_log_read(world.events, position, 1000, &record), ERR_NONE);
    return record;
}

/* All headers that are an event's, in their order, and the payload. */
static void write_down(uint64_t position, char *text, size_t size)
{
    struct bus_header_view headers[64];
    struct bus_record *record = read_event(position);
    size_t count = bus_record_headers(record, headers, 64), used = 0;
    assert_true(count > 6 && count <= 64);
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, size - used, "%.*s: %.*s\n", (int)headers[i].name.len,
                                 headers[i].name.data, (int)headers[i].value.len,
                                 headers[i].value.data);
    snprintf(text + used, size - used, "%s %.*s", record->subject, (int)record->payload.len,
             record->payload.data);
    assert_true(used < size);
    bus_record_free(record);
}

/* ---- what comes back ---- */

static void test_an_expired_event_comes_back_as_it_was(void **state)
{
    (void)state;
    struct replay_answer answer;
    char before[4096], after[4096];
    struct one *failing = start(1, 3);
    publish(0, 1);
    write_down(1, before, sizeof before);
    assert_until(count_of(failing, STATUS_RETRYING) == 1);
    clock_manual_advance(&clock_, 85 * PERCENT_MS);
    assert_until(count_of(failing, STATUS_DEAD) == 1); /* expired */
    drain_next();
    clock_manual_advance(&clock_, 16 * PERCENT_MS);
    assert_true(has_left(1));
    struct one *one = start(0, 1);
    struct replay_request request = of_ids(1);
    replay_start(one, &request, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    until_done(one, &answer);
    assert_int_equal(answer.replayed, 1);
    assert_int_equal(answer.skipped, 0);
    assert_until(one_status(one, &ids[0]) == STATUS_PROCESSED);
    write_down(2, after, sizeof after);
    assert_string_equal(before, after);
    assert_until(mem_world_metric(one->metrics, "tidings_events_replayed_total") == 1);
    /* Known again: its next replay is one like any other. */
    replay_start(one, &request, &answer);
    until_done(one, &answer);
    assert_int_equal(answer.replayed, 1);
    assert_int_equal(mem_world_last(world.events), 2);
}

static void test_beside_events_that_are_still_there(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *one = start_with_letters(3);
    publish(3, 1);
    assert_until(count_of(one, STATUS_PROCESSED) == 1);
    struct replay_request request = of_ids(4);
    request.rate = 20; /* steps of two */
    replay_start(one, &request, &answer);
    until_done(one, &answer);
    assert_int_equal(answer.replayed, 4);
    assert_until(count_of(one, STATUS_PROCESSED) == 4);
    assert_int_equal(mem_world_last(world.events), 4 + 3);
    assert_int_equal(one_stats(one).copies, 0);
}

static void test_of_several_lives_the_last_letter_is_taken(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *failing = start(1, 1);
    publish(0, 1);
    assert_until(count_of(failing, STATUS_DEAD) == 1);
    struct replay_request request = of_ids(1);
    replay_start(failing, &request, &answer); /* its second life ends as the first did */
    until_done(failing, &answer);
    assert_until(mem_world_last(world.dead) == 2 && count_of(failing, STATUS_DEAD) == 1);
    drain_next();
    clock_manual_advance(&clock_, HOUR_MS + PERCENT_MS);
    struct one *one = start(0, 1);
    replay_start(one, &request, &answer);
    until_done(one, &answer);
    assert_int_equal(answer.replayed, 1);
    assert_int_equal(answer.skipped, 0);
    assert_int_equal(mem_world_last(world.events), 2);
    assert_until(count_of(one, STATUS_PROCESSED) == 1);
}

static void test_a_dry_run_counts_letters_and_changes_nothing(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *one = start_with_letters(3);
    uint64_t last = mem_world_last(world.statuses);
    struct replay_request request = of_ids(3);
    request.dry_run = true;
    request.name = VIEW("order.*");
    replay_start(one, &request, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_int_equal(answer.replayed, 2);
    assert_int_equal(mem_world_last(world.statuses), last);
    assert_int_equal(mem_world_last(world.events), 3);
}

/* ---- what does not ---- */

/* Without its payload, as one that was too large for the bus. */
static void store_bare_letter(const char *subject, const char *id)
{
    struct bus_receipt receipt;
    const struct bus_header headers[] = {{"Tidings-Event-Id", view_of(id)},
                                         {"Tidings-Reason", VIEW("expired")},
                                         {"Tidings-Position", VIEW("1")},
                                         {"Tidings-Payload-In", VIEW(MEM_WORLD_STREAM)}};
    struct bus_message message = {.subject = subject, .headers = headers, .header_count = 4};
    assert_int_equal(bus_publish_wait(world.dead, &message, &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_STORED);
}

static void test_what_no_letter_matches_is_refused(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct event_id stranger = {{9, 9}};
    char text[ID_TEXT_SIZE];
    struct one *one = start_with_letters(1);
    struct replay_request request = of_ids(1);
    request.name = VIEW("other.>");
    replay_start(one, &request, &answer);
    assert_int_equal(answer.e, ERR_NOT_ENDED);
    request = of_ids(1);
    request.from_position = 2;
    replay_start(one, &request, &answer);
    assert_int_equal(answer.e, ERR_NOT_ENDED);
    request = of_ids(1);
    request.statuses = 1u << STATUS_PROCESSED;
    replay_start(one, &request, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    request = of_ids(1);
    request.accepted_since_ms = 1;
    replay_start(one, &request, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    id_format(&stranger, text);
    views[1] = view_of(text);
    request = of_ids(2);
    replay_start(one, &request, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    assert_non_null(strstr(answer.message, text));
    store_bare_letter(MEM_WORLD_NS ".dead.other.order.created", text); /* of another group */
    replay_start(one, &request, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    store_bare_letter(MEM_WORLD_NS ".dead.default.order.created", text);
    views[0] = views[1];
    request = of_ids(1);
    replay_start(one, &request, &answer);
    assert_int_equal(answer.e, ERR_NOT_ENDED);
    assert_non_null(strstr(answer.message, "without its payload"));
    assert_int_equal(mem_world_last(world.events), 1);
}

static void test_what_was_no_event_stays_a_letter(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *one = start(0, 1);
    char text[2][ID_TEXT_SIZE];
    publish(0, 1);
    mem_world_event(&world, "order.created", "another content", &ids[0]);
    mem_world_junk(&world, "junk");
    assert_until(mem_world_last(world.dead) == 2);
    assert_until(count_of(one, STATUS_DEAD) == 2);
    clock_manual_advance(&clock_, HOUR_MS + PERCENT_MS);
    assert_true(has_left(3));
    for (uint64_t i = 0; i < 2; i++) {
        struct event_id id = mem_world_own_id(2 + i);
        id_format(&id, text[i]);
        views[0] = view_of(text[i]);
        struct replay_request request = of_ids(1);
        replay_start(one, &request, &answer);
        assert_int_equal(answer.e, ERR_NOT_FOUND);
    }
}

/* A letter stays, whatever became of its event later. */
static void test_only_ids_are_looked_for(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct one *one = start_with_letters(2);
    struct replay_request request = {.statuses = 1u << STATUS_DEAD};
    replay_start(one, &request, &answer);
    until_done(one, &answer);
    assert_int_equal(answer.replayed, 0);
    assert_int_equal(mem_world_last(world.events), 2);
}

/* ---- by whom ---- */

/* A replay by a processor that died when it had published the first letter's event, but not
 * recorded it. */
static void test_whoever_goes_on_publishes_nothing_twice(void **state)
{
    (void)state;
    static const uint64_t letters[] = {1, 2, 3};
    struct replay_answer answer;
    struct buf bytes;
    struct one *one = start_with_letters(3);
    mem_world_event(&world, "order.created", "x", &ids[0]);
    struct replay_change change = {.id = {{5, 5}},
                                   .state = REPLAY_RUNNING,
                                   .time_ms = 1,
                                   .has_filter = true,
                                   .filter = {.event_ids = ids,
                                              .event_id_count = 3,
                                              .statuses = 1u << STATUS_DEAD,
                                              .last_position = 3,
                                              .letters = letters,
                                              .letter_count = 3},
                                   .runner = VIEW("gone")};
    buf_init(&bytes, 4096);
    assert_int_equal(status_batch_write_all(NULL, 0, &change, 1, VIEW("gone"), &bytes), ERR_NONE);
    struct bus_receipt receipt;
    assert_int_equal(
        bus_publish_wait(world.statuses,
                         &(struct bus_message){.subject = MEM_WORLD_NS ".status.default",
                                               .payload = buf_view(&bytes)},
                         &receipt),
        ERR_NONE);
    buf_free(&bytes);
    id_format(&change.id, answer.id_text);
    until_done(one, &answer);
    assert_string_equal(answer.processor, one->name);
    assert_int_equal(answer.replayed, 2);
    assert_int_equal(answer.skipped, 1);
    assert_int_equal(mem_world_last(world.events), 3 + 1 + 2);
    assert_until(count_of(one, STATUS_PROCESSED) == 3);
    assert_int_equal(one_stats(one).copies, 0);
}

/* A copy of what has not ended yet is put off for a second. */
static bool all_are_acknowledged(void)
{
    clock_manual_advance(&clock_, 10);
    return mem_world_floor(&world) == mem_world_last(world.events);
}

/* Each may have found the id unknown: then one of the two is a copy. */
static void test_two_replays_at_once_run_each_event_once(void **state)
{
    (void)state;
    struct replay_answer answers[2];
    uint64_t replayed = 0;
    struct one *one = start_with_letters(EVENTS);
    struct one *other = start(0, 1);
    struct replay_request request = of_ids(EVENTS);
    request.statuses = 1u << STATUS_DEAD;
    replay_ask(one, REPLAY_START, &request, "", &answers[0]);
    replay_ask(other, REPLAY_START, &request, "", &answers[1]);
    for (int i = 0; i < 2; i++) {
        assert_until(atomic_load(&answers[i].come));
        if (answers[i].e == ERR_NOT_ENDED) /* the other one was that fast */
            continue;
        assert_int_equal(answers[i].e, ERR_NONE);
        until_done(i ? other : one, &answers[i]);
        replayed += answers[i].replayed;
    }
    assert_true(replayed >= EVENTS);
    assert_until(count_of(one, STATUS_PROCESSED) == EVENTS);
    assert_until(all_are_acknowledged());
    assert_int_equal(one_deliveries(one, "processed") + one_deliveries(other, "processed"), EVENTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_an_expired_event_comes_back_as_it_was),
        test(test_beside_events_that_are_still_there),
        test(test_of_several_lives_the_last_letter_is_taken),
        test(test_a_dry_run_counts_letters_and_changes_nothing),
        test(test_what_no_letter_matches_is_refused),
        test(test_what_was_no_event_stays_a_letter),
        test(test_only_ids_are_looked_for),
        test(test_whoever_goes_on_publishes_nothing_twice),
        test(test_two_replays_at_once_run_each_event_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
