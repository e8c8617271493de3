/* What becomes of copies when their first cannot be read, is lost, or expires: on a bus in memory.
 */
#include "tests/lib/mem_processor.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

/* Each test opens a world of its own, and `finish` closes it. */
static struct mem_world world;
static struct clock_manual clock_;

enum { MAX_AGE_MS = 10000, HELD_MS = 3600 * 1000 };

static int begin(void **state)
{
    (void)state;
    mem_world_open(&world);
    return 0;
}

/* A world in which events expire, and whoever holds a delivery may hold it for long. */
static int begin_ageing(void **state)
{
    (void)state;
    clock_manual_init(&clock_, 1700000000000);
    mem_world_open_at(&world, &clock_.base, MAX_AGE_MS);
    world.settings.ack_wait_ms = HELD_MS;
    return 0;
}

static void finish(struct one *one)
{
    assert_true(one_drain(one, DRAIN_MS));
    ones_finish(one, 1);
}

/* ---- a first that is not there ---- */

static void test_a_first_that_cannot_be_read_is_tried_again(void **state)
{
    (void)state;
    static struct one one;
    struct event_id id = {{0}};
    one_start_simulating(&world, &one, "one", 0);
    mem_world_event(&world, "n", "a", &id);
    assert_until(one_deliveries(&one, "processed") == 1);
    bus_mem_set_unreadable(world.bus, ERR_DEADLINE);
    mem_world_event(&world, "n", "a", &id);
    uint64_t other = mem_world_event(&world, "n", "b", &id);
    assert_until(one_deliveries(&one, "returned") >= 2);
    assert_int_equal(one_deliveries(&one, "copy") + one_deliveries(&one, "dead"), 0);
    bus_mem_set_unreadable(world.bus, ERR_NONE);
    struct event_id own = mem_world_own_id(other);
    assert_until(one_status(&one, &own) == STATUS_DEAD);
    assert_until(one_deliveries(&one, "copy") == 1);
    finish(&one);
}

static void test_a_copy_of_what_is_lost_counts_as_equal_in_the_end(void **state)
{
    (void)state;
    static struct one one;
    struct event_id id = {{0}};
    one_start_simulating(&world, &one, "one", 0);
    mem_processor_publish(&world, 1);
    uint64_t first = mem_world_event(&world, "n", "a", &id);
    mem_processor_publish(&world, 1); /* a hole has two sides */
    assert_until(one_deliveries(&one, "processed") == 3);
    bus_mem_delete(world.events, first);
    mem_world_event(&world, "n", "b", &id);
    assert_until(one_deliveries(&one, "copy") == 1);
    assert_true(one_deliveries(&one, "returned") >= 2); /* not at once */
    assert_int_equal(mem_world_last(world.dead), 0);
    finish(&one);
}

/* ---- a first that expires, or with its log ---- */

static void test_a_copy_of_what_has_expired_is_the_event(void **state)
{
    (void)state;
    static struct one one;
    struct event_id id = {{0}};
    one_start_simulating(&world, &one, "one", 0);
    mem_world_event(&world, "n", "a", &id);
    assert_until(one_deliveries(&one, "processed") == 1);
    clock_manual_advance(&clock_, MAX_AGE_MS - 1000);
    mem_world_event(&world, "n", "a", &id);
    uint64_t other = mem_world_event(&world, "n", "b", &id);
    struct event_id own = mem_world_own_id(other);
    assert_until(one_status(&one, &own) == STATUS_DEAD && one_deliveries(&one, "copy") == 1);
    clock_manual_advance(&clock_, 1500);
    assert_until(one_stats(&one).reflects.first_event_position == 2);
    assert_until(one_status(&one, &id) == STATUS_PROCESSED);
    mem_world_event(&world, "n", "b", &id); /* other than that one, too */
    assert_until(one_stats(&one).counts[STATUS_DEAD] == 2);
    assert_int_equal(mem_world_last(world.dead), 2);
    assert_int_equal(one_deliveries(&one, "processed"), 1); /* it needed no run */
    finish(&one);
}

/* It would be called processed, too, although nobody has ever processed it. */
static void test_a_copy_of_what_is_dead_is_dead_when_that_has_expired(void **state)
{
    (void)state;
    static struct one one;
    struct status_entry entry;
    struct bus_record *record;
    struct status_batch *batch;
    struct event_id id = {{0}};
    one_start_simulating(&world, &one, "one", 0);
    mem_world_event(&world, "n", "{\"simulate\":[\"never:no use\"]}", &id);
    assert_until(one_deliveries(&one, "dead") == 1);
    clock_manual_advance(&clock_, MAX_AGE_MS * 7 / 10);
    mem_world_event(&world, "n", "{\"simulate\":[\"never:no use\"]}", &id);
    assert_until(one_deliveries(&one, "copy") == 1);
    assert_int_equal(one_stats(&one).counts[STATUS_DEAD], 1);
    clock_manual_advance(&clock_, MAX_AGE_MS * 4 / 10);
    assert_until(one_stats(&one).reflects.first_event_position == 2);
    assert_true(status_table_find(one.processor.table, &id, &entry, NULL));
    assert_int_equal(entry.event_position, 2);
    assert_int_equal(entry.state.status, STATUS_DEAD);
    assert_int_equal(bus_log_read(world.statuses, entry.change_position, 1000, &record), ERR_NONE);
    assert_int_equal(status_batch_read(record->payload, &batch), ERR_NONE);
    struct status_change change = status_batch_get(batch, entry.change_place);
    assert_int_equal(change.letter_position, 1);
    assert_true(view_equal(change.error, VIEW("no use")));
    status_batch_free(batch);
    bus_record_free(record);
    assert_int_equal(mem_world_last(world.dead), 1);
    finish(&one);
}

/* Another processor, which takes one delivery and does nothing with it. */
static struct bus_delivery *hold_one(struct bus_consumer **ret)
{
    struct bus_delivery *delivery;
    size_t count;
    assert_int_equal(bus_consumer_open(world.events,
                                       &(struct bus_consumer_spec){.group = "default",
                                                                   .ack_wait_ms = HELD_MS,
                                                                   .max_ack_pending = 20000},
                                       ret),
                     ERR_NONE);
    assert_int_equal(bus_fetch(*ret, 1000, &delivery, 1, &count), ERR_NONE);
    return delivery;
}

static enum status status_at(struct one *one, uint64_t position)
{
    struct status_entry entry;
    return status_table_at(one->processor.table, position, &entry, NULL) ? entry.state.status
                                                                         : STATUS_NONE;
}

/* Not faster than time goes: events expire. */
static bool turn_clock(bool done)
{
    if (!done)
        clock_manual_advance(&clock_, 1);
    return done;
}

/* Else it would be called processed, and nobody would ever have run it. (The clock is turned so far
 * that no look finds the first about to expire.) */
static void test_a_copy_is_run_if_its_first_expires_before_it_has_ended(void **state)
{
    (void)state;
    static struct one one;
    struct bus_consumer *other;
    struct event_id id = {{0}};
    mem_world_event(&world, "n", "a", &id);
    struct bus_delivery *held = hold_one(&other);
    clock_manual_advance(&clock_, MAX_AGE_MS * 7 / 10);
    uint64_t copy = mem_world_event(&world, "n", "a", &id);
    one_start_simulating(&world, &one, "one", 0);
    assert_until(one_deliveries(&one, "returned") >= 1 || one_deliveries(&one, "copy") >= 1);
    assert_int_equal(one_deliveries(&one, "copy"), 0);
    clock_manual_advance(&clock_, MAX_AGE_MS * 4 / 10);
    assert_until(one_stats(&one).reflects.first_event_position == copy);
    assert_until(turn_clock(one_deliveries(&one, "processed") == 1));
    assert_until(status_at(&one, copy) == STATUS_PROCESSED);
    assert_int_equal(one_deliveries(&one, "copy"), 0);
    bus_settle(held, BUS_LEAVE, 0);
    bus_consumer_close(other);
    finish(&one);
}

/* The bus knows the letter that came from this position before by its id. */
static void test_a_letter_is_stored_although_its_position_had_one_in_an_earlier_life(void **state)
{
    (void)state;
    static struct one one;
    struct bus_record *letter;
    struct event_id ids[2] = {{{0}}};
    const char *const contents[2] = {"b", "c"};
    one_start_simulating(&world, &one, "one", 0);
    for (size_t life = 0; life < 2; life++) {
        mem_world_event(&world, "n", "a", &ids[life]);
        uint64_t copy = mem_world_event(&world, "n", contents[life], &ids[life]);
        assert_int_equal(copy, 2);
        assert_until(turn_clock(one_deliveries(&one, "dead") == life + 1));
        assert_int_equal(mem_world_last(world.dead), life + 1);
        assert_int_equal(bus_log_read(world.dead, life + 1, 1000, &letter), ERR_NONE);
        assert_true(view_equal(letter->payload, view_of(contents[life])));
        bus_record_free(letter);
        clock_manual_advance(&clock_, 10);
        bus_mem_renew(world.events);
    }
    finish(&one);
}

#define test(name, setup) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_a_first_that_cannot_be_read_is_tried_again, begin),
        test(test_a_copy_of_what_is_lost_counts_as_equal_in_the_end, begin),
        test(test_a_copy_of_what_has_expired_is_the_event, begin_ageing),
        test(test_a_copy_of_what_is_dead_is_dead_when_that_has_expired, begin_ageing),
        test(test_a_copy_is_run_if_its_first_expires_before_it_has_ended, begin_ageing),
        test(test_a_letter_is_stored_although_its_position_had_one_in_an_earlier_life,
             begin_ageing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
