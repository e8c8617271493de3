/* Events whose last attempt has failed while no letter can be stored: they are held until one can,
 * also in a drain, and neither run nor charged again meanwhile. On a bus in memory. */
#include "tests/lib/mem_processor.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <pthread.h>

enum { SHORT_MS = 200, OTHERS = 100 };

#define NEVER "{\"simulate\":[\"never:no use\"]}"

/* Each test opens a world of its own, in which no letter can be stored at first. */
static struct mem_world world;
static struct one one;

static int begin(void **state)
{
    (void)state;
    mem_world_open(&world);
    mem_world_refuse(&world, world.dead);
    return 0;
}

static uint64_t letters_failed(void)
{
    return (uint64_t)mem_world_metric(one.metrics, "tidings_letters_failed_total");
}

static uint64_t attempts_failed(void)
{
    return (uint64_t)mem_world_metric(one.metrics, "tidings_attempts_failed_total");
}

/* Waits until a letter has been tried for that many more times. */
static void until_tried(uint64_t times)
{
    uint64_t before = letters_failed();
    assert_until(letters_failed() >= before + times);
}

static struct event_id publish(const char *payload)
{
    struct event_id id = {{0}};
    mem_world_event(&world, "n", payload, &id);
    return id;
}

static void assert_buried_once(const struct event_id *id)
{
    assert_int_equal(one_status(&one, id), STATUS_DEAD);
    assert_int_equal(attempts_failed(), 1);
    assert_int_equal(mem_world_last(world.dead), 1);
    assert_int_equal(one_deliveries(&one, "dead"), 1);
    assert_int_equal(one_deliveries(&one, "returned") + one_deliveries(&one, "left"), 0);
}

/* ---- beside drains ---- */

static void test_it_is_held_until_its_letter_is_stored(void **state)
{
    (void)state;
    one_start_simulating(&world, &one, "one", 0);
    struct event_id id = publish(NEVER);
    until_tried(3);
    assert_int_equal(one_in_hand(&one), 1);
    mem_world_refuse(&world, NULL);
    assert_until(one_deliveries(&one, "dead") == 1);
    assert_until(one_status(&one, &id) == STATUS_DEAD);
    assert_buried_once(&id);
    assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
}

/* It was claimed: given back, it would seem that its runner had vanished, and be run alone. */
static void test_the_last_of_several_attempts_is_not_made_again(void **state)
{
    (void)state;
    static char all[] = ">", simulate[] = "simulate";
    struct config_handler handler = {
        .match = all, .kind = simulate, .max_attempts = 2, .backoff_ms = 1, .backoff_max_ms = 1};
    one_start_with(&world, &one, "one", &handler, 1);
    struct event_id id = publish("{\"simulate\":[\"fail\"]}");
    until_tried(3);
    mem_world_refuse(&world, NULL);
    assert_until(one_status(&one, &id) == STATUS_DEAD);
    assert_int_equal(attempts_failed(), 2);
    assert_int_equal(mem_world_last(world.dead), 1);
    assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
}

static void test_others_go_on_meanwhile(void **state)
{
    (void)state;
    world.settings.concurrency = 1;
    one_start_simulating(&world, &one, "one", 0);
    struct event_id id = publish(NEVER);
    until_tried(1);
    mem_processor_publish(&world, OTHERS);
    assert_until(one_deliveries(&one, "processed") == OTHERS);
    assert_until(one_in_hand(&one) == 1);
    mem_world_refuse(&world, NULL);
    assert_until(one_status(&one, &id) == STATUS_DEAD);
    assert_true(one_drain(&one, DRAIN_MS));
    assert_buried_once(&id);
    ones_finish(&one, 1);
}

/* What has run alone keeps others waiting until then, but not for as long as it is held. */
static void test_others_go_on_beside_what_has_run_alone(void **state)
{
    (void)state;
    struct event_id id = publish(NEVER);
    mem_world_change(&world, &id, 1, (struct status_state){STATUS_PROCESSING, .attempt = 1}, 0, "");
    one_start_simulating(&world, &one, "one", 0);
    until_tried(1);
    mem_processor_publish(&world, OTHERS);
    assert_until(one_deliveries(&one, "processed") == OTHERS);
    assert_int_equal(one_in_hand(&one), 1);
    mem_world_refuse(&world, NULL);
    assert_until(one_status(&one, &id) == STATUS_DEAD);
    assert_true(one_drain(&one, DRAIN_MS));
    assert_buried_once(&id);
    ones_finish(&one, 1);
}

/* Else whoever gets it after this one would think that its runner had vanished. */
static void test_it_is_not_said_to_be_run(void **state)
{
    (void)state;
    one_start_simulating(&world, &one, "one", 0);
    struct event_id id = publish(NEVER);
    until_tried(3); /* some seconds: a run that takes so long would be told */
    assert_int_equal(mem_world_last(world.statuses), 0);
    mem_world_refuse(&world, NULL);
    assert_until(one_status(&one, &id) == STATUS_DEAD);
    assert_int_equal(mem_world_last(world.statuses), 1);
    assert_true(one_drain(&one, DRAIN_MS));
    assert_buried_once(&id);
    ones_finish(&one, 1);
}

/* As many as may be held, and more: these are given back. */
static void test_no_more_are_held_than_leave_places(void **state)
{
    (void)state;
    world.settings.concurrency = 1;
    one_start_simulating(&world, &one, "one", 0);
    for (int i = 0; i < OTHERS; i++)
        (void)publish(NEVER);
    assert_until(one_deliveries(&one, "returned") >= 1);
    mem_processor_publish(&world, 1);
    assert_until(one_deliveries(&one, "processed") == 1);
    mem_world_refuse(&world, NULL);
    assert_until(one_stats(&one).counts[STATUS_DEAD] == OTHERS);
    assert_int_equal(mem_world_last(world.dead), OTHERS);
    assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
}

/* ---- in a drain ---- */

static void *drain(void *arg)
{
    bool *drained = arg;
    *drained = one_drain(&one, DRAIN_MS);
    return NULL;
}

static void test_a_drain_waits_for_its_letter(void **state)
{
    (void)state;
    pthread_t thread;
    bool drained = false;
    one_start_simulating(&world, &one, "one", 0);
    struct event_id id = publish(NEVER);
    until_tried(1);
    assert_int_equal(pthread_create(&thread, NULL, drain, &drained), 0);
    until_tried(2);
    mem_world_refuse(&world, NULL);
    pthread_join(thread, NULL);
    assert_true(drained);
    assert_int_equal(attempts_failed(), 1);
    assert_int_equal(mem_world_last(world.dead), 1);
    assert_int_equal(one_deliveries(&one, "dead"), 1);
    assert_until(one_status(&one, &id) == STATUS_DEAD);
    ones_finish(&one, 1);
}

/* The run comes to its end within the drain. */
static void test_a_drain_waits_for_a_letter_to_come(void **state)
{
    (void)state;
    mem_world_refuse(&world, NULL);
    one_start_simulating(&world, &one, "one", SHORT_MS);
    struct event_id id = publish(NEVER);
    assert_until(mem_world_metric(one.metrics, "tidings_runs_in_progress") == 1);
    assert_true(one_drain(&one, DRAIN_MS));
    assert_int_equal(mem_world_last(world.dead), 1);
    assert_until(one_status(&one, &id) == STATUS_DEAD);
    assert_buried_once(&id);
    ones_finish(&one, 1);
}

static void test_without_time_it_is_given_back(void **state)
{
    (void)state;
    static struct one other;
    one_start_simulating(&world, &one, "one", 0);
    struct event_id id = publish(NEVER);
    until_tried(1);
    assert_false(one_drain(&one, SHORT_MS));
    assert_until(one_deliveries(&one, "returned") == 1);
    assert_until(one_in_hand(&one) == 0);
    assert_int_equal(mem_world_last(world.dead), 0);
    mem_world_refuse(&world, NULL);
    one_start_simulating(&world, &other, "other", 0);
    assert_until(one_status(&other, &id) == STATUS_DEAD);
    assert_true(one_drain(&other, DRAIN_MS));
    processor_stop(&one.processor);
    processor_free(&one.processor);
    metrics_free(one.metrics);
    ones_finish(&other, 1);
}

/* Nothing would be charged for it, and another processor may have a way to the bus. */
static void test_what_was_not_run_is_not_waited_for(void **state)
{
    (void)state;
    struct event_id id = {{0}};
    mem_world_event(&world, "n", "a", &id);
    mem_world_event(&world, "n", "b", &id);
    one_start_simulating(&world, &one, "one", 0);
    assert_until(one_deliveries(&one, "returned") >= 1);
    assert_true(one_drain(&one, DRAIN_MS));
    assert_int_equal(mem_world_last(world.dead), 0);
    assert_int_equal(one_deliveries(&one, "dead"), 0);
    ones_finish(&one, 1);
}

#define test(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_it_is_held_until_its_letter_is_stored),
        test(test_the_last_of_several_attempts_is_not_made_again),
        test(test_others_go_on_meanwhile),
        test(test_others_go_on_beside_what_has_run_alone),
        test(test_it_is_not_said_to_be_run),
        test(test_no_more_are_held_than_leave_places),
        test(test_a_drain_waits_for_its_letter),
        test(test_a_drain_waits_for_a_letter_to_come),
        test(test_without_time_it_is_given_back),
        test(test_what_was_not_run_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
