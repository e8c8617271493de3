/* What replays may be asked for, and what is answered. */
#include "tests/lib/replays_asked.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

static struct mem_world world;
static struct one one;
static bool drained;

static int begin(void **state)
{
    static char all[] = ">", simulate[] = "simulate";
    struct config_handler handler = {.match = all, .kind = simulate};
    (void)state;
    mem_world_open(&world);
    one_start_with(&world, &one, "p1", &handler, 1);
    drained = false;
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (!drained)
        assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
    return 0;
}
#define test(function) cmocka_unit_test_setup_teardown(function, begin, end)

static struct event_id processed_event(void)
{
    struct event_id id = {{0}};
    mem_world_event(&world, "order.created", "x", &id);
    assert_until(one_status(&one, &id) == STATUS_PROCESSED);
    return id;
}

/* ---- errors ---- */

static void test_requests_that_make_no_sense_name_what_is_wrong(void **state)
{
    (void)state;
    static struct view many[REPLAY_IDS_MAX + 1];
    static char endless[EVENT_PRODUCER_ID_MAX + 2];
    const struct view bad[] = {VIEW("a\tb")}, empty[] = {VIEW("")}, good[] = {VIEW("1")};
    memset(endless, 'a', sizeof endless - 1);
    const struct view large[] = {view_of(endless)};
    for (size_t i = 0; i < REPLAY_IDS_MAX + 1; i++)
        many[i] = VIEW("1");
    const unsigned dead = 1u << STATUS_DEAD;
    const struct {
        struct replay_request request;
        const char *complaint;
    } rows[] = {
        {{.rate = 1}, "nothing says which events"},
        {{.source = VIEW("/s"), .statuses = dead}, "source is that of event_ids"},
        {{.event_ids = many, .event_id_count = REPLAY_IDS_MAX + 1}, "at most 1000"},
        {{.event_ids = bad, .event_id_count = 1}, "control characters"},
        {{.event_ids = empty, .event_id_count = 1}, "event_ids[0] is empty"},
        {{.event_ids = large, .event_id_count = 1}, "event_ids"},
        {{.event_ids = good, .event_id_count = 1, .source = VIEW("/s\x7f")}, "source"},
        {{.statuses = 1u << STATUS_RETRYING | dead}, "DEAD and PROCESSED"},
        {{.statuses = 1}, "DEAD and PROCESSED"},
        {{.name = VIEW("a..b")}, "'a..b' is no pattern"},
        {{.name = VIEW("a.>.b")}, "no pattern"},
        {{.from_position = 3, .to_position = 2}, "from_position 3 is beyond to_position 2"},
        {{.accepted_since_ms = 5, .accepted_until_ms = 5}, "before accepted_until"},
        {{.statuses = dead, .replay_id = VIEW("17")}, "replay_id '17' is no UUID"},
    };
    bus_mem_set_away(world.bus, true); /* they need nobody's word */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct replay_answer answer;
        replay_start(&one, &rows[i].request, &answer);
        assert_int_equal(answer.e, ERR_INVALID);
        if (!strstr(answer.message, rows[i].complaint))
            fail_msg("row %zu: %s", i, answer.message);
    }
    struct replay_answer answer;
    replay_get(&one, "x", &answer);
    assert_int_equal(answer.e, ERR_INVALID);
    replay_cancel(&one, "", &answer);
    assert_non_null(strstr(answer.message, "replay_id is empty"));
    bus_mem_set_away(world.bus, false);
}

static void test_ids_must_be_known_and_one_must_have_ended(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct event_id id = processed_event();
    char text[ID_TEXT_SIZE];
    id_format(&id, text);
    const struct view views[] = {view_of(text), VIEW("of nobody")};
    struct replay_request request = {.event_ids = views, .event_id_count = 2};
    replay_start(&one, &request, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    assert_non_null(strstr(answer.message, "'of nobody' (event_ids[1])"));
    request = (struct replay_request){
        .event_ids = views, .event_id_count = 1, .statuses = 1u << STATUS_DEAD};
    replay_start(&one, &request, &answer);
    assert_int_equal(answer.e, ERR_NOT_ENDED);
    assert_string_equal(answer.message, "the event cannot be replayed: it is processed, and only "
                                        "what is dead was asked for");
    assert_int_equal(replays_running(one.processor.replays), 0);
}

/* No processor says so before it has asked the bus. */
static void test_an_event_of_a_moment_ago_is_known(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct replay_answer answer;
        struct event_id id = {{0}};
        char text[ID_TEXT_SIZE];
        mem_world_event(&world, "order.created", "x", &id);
        id_format(&id, text);
        const struct view views[] = {view_of(text)};
        struct replay_request request = {.event_ids = views, .event_id_count = 1, .dry_run = true};
        replay_start(&one, &request, &answer);
        assert_true(answer.e == ERR_NONE || answer.e == ERR_NOT_ENDED);
    }
}

static void test_nothing_is_said_while_the_bus_is_away(void **state)
{
    (void)state;
    static const char unknown[] = "0190a1b2-0000-7000-8000-000000000009";
    struct replay_answer answer;
    (void)processed_event();
    struct replay_request request = {.statuses = 1u << STATUS_DEAD};
    replay_start(&one, &request, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    char known[ID_TEXT_SIZE];
    memcpy(known, answer.id_text, sizeof known);
    bus_mem_set_away(world.bus, true);
    replay_start(&one, &request, &answer);
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    replay_get(&one, unknown, &answer);
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    replay_cancel(&one, unknown, &answer);
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    replay_get(&one, known, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    bus_mem_set_away(world.bus, false);
    replay_get(&one, unknown, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    assert_non_null(strstr(answer.message, unknown));
}

/* ---- what is stored ---- */

/* The caller would start a second one otherwise. */
static void test_what_is_stored_and_not_seen_is_named(void **state)
{
    (void)state;
    static const char before[] = "replay_id ";
    struct replay_answer answer;
    char id[ID_TEXT_SIZE];
    (void)processed_event();
    mem_world_set_readers(&world, NULL, ERR_UNAVAILABLE);
    replay_ask_with(&one,
                    (struct replay_ask){.wish = REPLAY_START,
                                        .request = {.statuses = 1u << STATUS_PROCESSED},
                                        .timeout_ms = 1500},
                    &answer);
    assert_until(atomic_load(&answer.come));
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    const char *at = strstr(answer.message, before);
    if (!at || !strstr(answer.message, "is stored"))
        fail_msg("%s", answer.message);
    snprintf(id, sizeof id, "%s", at + sizeof before - 1);
    mem_world_set_readers(&world, NULL, ERR_NONE);
    replay_get(&one, id, &answer);
    assert_int_equal(answer.e, ERR_NONE);
}

static void test_an_id_belongs_to_the_request_that_came_first(void **state)
{
    (void)state;
    static const char id[] = "0190a1b2-0000-7000-8000-000000000009";
    struct event_id event = processed_event();
    char text[ID_TEXT_SIZE];
    id_format(&event, text);
    const struct view ids[] = {view_of(text)};
    struct replay_answer answer;
    const struct replay_request first = {.event_ids = ids,
                                         .event_id_count = 1,
                                         .statuses = 1u << STATUS_PROCESSED,
                                         .name = VIEW("order.*"),
                                         .from_position = 1,
                                         .to_position = 9,
                                         .accepted_since_ms = 1,
                                         .accepted_until_ms = INT64_MAX / 2,
                                         .rate = 7,
                                         .replay_id = view_of(id)};
    struct replay_request others[9];
    for (size_t i = 0; i < 9; i++)
        others[i] = first;
    others[0].event_id_count = 0;
    others[1].statuses |= 1u << STATUS_DEAD;
    others[2].name = VIEW("order.>");
    others[3].from_position = 2;
    others[4].to_position = 8;
    others[5].accepted_since_ms = 2;
    others[6].accepted_until_ms--;
    others[7].rate = 0;
    others[8].event_ids = (const struct view[]){VIEW("another")};
    replay_start(&one, &first, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    for (size_t i = 0; i < 9; i++) {
        replay_start(&one, &others[i], &answer);
        if (answer.e != ERR_INVALID || !strstr(answer.message, id) ||
            !strstr(answer.message, "another request"))
            fail_msg("%zu: %d %s", i, (int)answer.e, answer.message);
    }
    others[0].dry_run = true; /* it has no id */
    replay_start(&one, &others[0], &answer);
    assert_int_equal(answer.e, ERR_NONE);
    replay_start(&one, &first, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_string_equal(answer.id_text, id);
    struct replay_request again = first;
    again.detach = true;
    again.event_ids = (const struct view[]){VIEW("no such event")};
    replay_start(&one, &again, &answer);
    assert_int_equal(answer.e, ERR_INVALID);
}

/* ---- turns ---- */

/* It would not run here, and be taken over elsewhere after some time only. */
static void test_nothing_is_started_while_the_processor_drains(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct event_id id = processed_event();
    char text[ID_TEXT_SIZE];
    id_format(&id, text);
    drained = true;
    assert_true(one_drain(&one, DRAIN_MS));
    struct replay_request request = {.statuses = 1u << STATUS_PROCESSED};
    replay_start(&one, &request, &answer);
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    assert_non_null(strstr(answer.message, "ask another one"));
    request.dry_run = true; /* counts */
    replay_start(&one, &request, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_int_equal(answer.replayed, 1);
    replay_get(&one, text, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    assert_int_equal(replays_running(one.processor.replays), 0);
}

static atomic_bool reached, open_;

/* What takes long. */
static bool is_long(void *ctx)
{
    (void)ctx;
    atomic_store(&reached, true);
    assert_until(atomic_load(&open_));
    return false;
}

static void test_what_is_short_does_not_wait_behind_what_is_long(void **state)
{
    (void)state;
    static const char unknown[] = "0190a1b2-0000-7000-8000-000000000009";
    struct replay_answer running, long_, behind, answer;
    atomic_store(&reached, false);
    atomic_store(&open_, false);
    (void)processed_event();
    struct replay_request request = {.statuses = 1u << STATUS_PROCESSED, .rate = 1};
    replay_start(&one, &request, &running);
    replay_ask_with(&one,
                    (struct replay_ask){.wish = REPLAY_START,
                                        .request = {.statuses = 1u << STATUS_DEAD},
                                        .timeout_ms = 60000,
                                        .gone = is_long},
                    &long_);
    assert_until(atomic_load(&reached));
    replay_ask(&one, REPLAY_START, &request, "", &behind);
    replay_get(&one, unknown, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    replay_cancel(&one, running.id_text, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    assert_false(atomic_load(&long_.come) || atomic_load(&behind.come));
    atomic_store(&open_, true);
    assert_until(atomic_load(&long_.come) && atomic_load(&behind.come));
    assert_int_equal(long_.e, ERR_NONE);
    assert_int_equal(behind.e, ERR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_requests_that_make_no_sense_name_what_is_wrong),
        test(test_ids_must_be_known_and_one_must_have_ended),
        test(test_an_event_of_a_moment_ago_is_known),
        test(test_nothing_is_said_while_the_bus_is_away),
        test(test_what_is_stored_and_not_seen_is_named),
        test(test_an_id_belongs_to_the_request_that_came_first),
        test(test_nothing_is_started_while_the_processor_drains),
        test(test_what_is_short_does_not_wait_behind_what_is_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
