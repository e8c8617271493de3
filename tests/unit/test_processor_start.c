/* Processors that cannot start: what they hold is freed, and nothing is in anybody's hands. */
#include "common/mem.h"
#include "tests/lib/mem_processor.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

enum { EVENTS = 20, CONSUMERS = 3 /* of both logs, and the sweep's */ };

/* Each test opens a world of its own, and ones_finish closes it. */
static struct mem_world world;
static struct one one;

static int begin(void **state)
{
    (void)state;
    mem_world_open(&world);
    return 0;
}

static enum err try_to_start(int fail_after)
{
    struct config_handlers none = {.count = 0};
    struct metrics *metrics;
    struct processor processor;
    struct err_detail detail;
    assert_int_equal(metrics_new(&metrics), ERR_NONE);
    (void)mem_fail_after(fail_after);
    enum err e = processor_start(&(struct processor_options){.bus = world.bus,
                                                             .settings = &world.settings,
                                                             .handlers = &none,
                                                             .name = "first",
                                                             .metrics = metrics,
                                                             .clock = world.clock},
                                 &processor, &detail);
    (void)mem_fail_after(-1);
    if (!e) {
        assert_true(processor_drain(&processor, DRAIN_MS));
        processor_stop(&processor);
    }
    processor_free(&processor);
    metrics_free(metrics);
    return e;
}

/* Each thread runs by then that would fetch. */
static void test_one_that_fails_half_way_has_fetched_nothing(void **state)
{
    (void)state;
    mem_processor_publish(&world, EVENTS);
    for (int i = 0; i < CONSUMERS; i++) {
        mem_world_fail_open(&world, i);
        assert_int_equal(try_to_start(-1), ERR_UNAVAILABLE);
        assert_false(mem_world_was_fetched(&world));
    }
    one_start_simulating(&world, &one, "second", 0);
    assert_until(one_deliveries(&one, "processed") == EVENTS);
    assert_int_equal(one_redeliveries(&one), 0);
    assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
}

static void test_one_without_memory_has_fetched_nothing(void **state)
{
    (void)state;
    mem_processor_publish(&world, EVENTS);
    int round = 0;
    enum err e;
    while ((e = try_to_start(round++)) == ERR_MEMORY)
        assert_false(mem_world_was_fetched(&world));
    assert_int_equal(e, ERR_NONE);
    assert_true(round > 20);
    mem_world_close(&world);
}

#define test(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_one_that_fails_half_way_has_fetched_nothing),
        test(test_one_without_memory_has_fetched_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
