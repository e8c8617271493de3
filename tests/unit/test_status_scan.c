/* Walks down the status table, against a table that is looked at cell by cell. */
#include "event-processor/status_table.h"

#include "tests/lib/unit.h"

#include <stdio.h>

enum { EVENTS = 20000, KEPT = 5000 };

static const char *const names[] = {"order.created", "order.paid", "mail.sent"};

struct world {
    struct status_table *table;
    enum status statuses[EVENTS + 1]; /* by position; STATUS_NONE: nothing or a copy */
};

static struct event_id id_of(uint64_t number)
{
    struct event_id id = {{1}};
    for (int i = 8; i < 16; i++)
        id.bytes[i] = (uint8_t)(number >> 8 * (15 - i));
    return id;
}

/* Every 1,000th position is left out, every 777th is a copy; few are dead, a third is processed. */
static void add(struct world *world, uint64_t position)
{
    bool copy = position % 777 == 0;
    struct event_id id = id_of(copy ? position - 1 : position);
    if (position % 1000 == 0)
        return;
    assert_int_equal(
        status_table_add(world->table, position, &id, view_of(names[position % 3]), 1700000000000),
        ERR_NONE);
    if (copy)
        return;
    world->statuses[position] = STATUS_ACCEPTED;
    enum status status = position % 4099 == 7 ? STATUS_DEAD : STATUS_PROCESSED;
    if (status != STATUS_DEAD && position % 3 != 1)
        return;
    world->statuses[position] = status;
    assert_true(
        status_table_apply(world->table,
                           &(struct status_change){.id = id,
                                                   .event_position = position,
                                                   .state = {.status = status, .attempt = 1},
                                                   .time_ms = 1700000001000},
                           position, 0));
}

static int begin(void **state)
{
    static struct world world;
    memset(&world, 0, sizeof world);
    assert_int_equal(status_table_new(&world.table), ERR_NONE);
    status_table_write_begin(world.table);
    for (uint64_t position = 1; position <= EVENTS; position++)
        add(&world, position);
    status_table_passed_event(world.table, EVENTS);
    status_table_write_end(world.table);
    *state = &world;
    return 0;
}

static int end(void **state)
{
    struct world *world = *state;
    status_table_free(world->table);
    return 0;
}

static bool is_name(void *ctx, struct view name)
{
    return view_equal(name, view_of(ctx));
}

/* All that a scan finds, in pieces, is what is there. */
static void check(struct world *world, unsigned statuses, const char *name, uint64_t from,
                  uint64_t to, size_t max, uint64_t cells_max)
{
    static struct status_entry entries[EVENTS];
    struct status_scan scan = {.statuses = statuses,
                               .matches = name ? is_name : NULL,
                               .ctx = (void *)name,
                               .next = from,
                               .last = to};
    struct status_reflects reflects;
    uint64_t expected = from;
    while (scan.next >= scan.last) {
        uint64_t cells = 0;
        size_t count =
            status_table_scan(world->table, &scan, cells_max, entries, max, &cells, &reflects);
        assert_true(count <= max && cells > 0 && cells <= cells_max + 1);
        for (size_t i = 0; i < count; i++) {
            uint64_t position = entries[i].event_position;
            for (; expected > position; expected--)
                assert_false((statuses >> world->statuses[expected] & 1) != 0 &&
                             (!name || view_equal(view_of(names[expected % 3]), view_of(name))));
            assert_int_equal(entries[i].state.status, world->statuses[position]);
            assert_true((statuses >> entries[i].state.status & 1) != 0);
            assert_true(view_equal(entries[i].name, view_of(names[position % 3])));
            expected--;
        }
        assert_true(scan.next <= expected);
    }
    for (; expected >= to; expected--)
        assert_false((statuses >> world->statuses[expected] & 1) != 0 &&
                     (!name || view_equal(view_of(names[expected % 3]), view_of(name))));
    assert_true(reflects.event_position == EVENTS);
}

#define ALL (~1u)
#define DEAD (1u << STATUS_DEAD)
#define OPEN (1u << STATUS_ACCEPTED)

static void all_of_a_status_are_found(void **state)
{
    const unsigned masks[] = {ALL, DEAD, OPEN, DEAD | OPEN, 1u << STATUS_RETRYING};
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        check(*state, masks[i], NULL, EVENTS, 1, EVENTS, 1 << 20);
        check(*state, masks[i], NULL, EVENTS, 1, 7, 1 << 20);
        check(*state, masks[i], NULL, EVENTS, 1, EVENTS, 100);
    }
}

static void bounds_are_kept_to(void **state)
{
    const uint64_t bounds[] = {1, 2, 999, 1000, 4095, 4096, 4097, 8191, 8192, 12288, EVENTS};
    enum { COUNT = sizeof bounds / sizeof *bounds };
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j <= i; j++) {
            check(*state, ALL, NULL, bounds[i], bounds[j], 1000, 1 << 20);
            check(*state, DEAD, NULL, bounds[i], bounds[j], 1000, 50);
        }
}

static void names_are_matched(void **state)
{
    for (size_t i = 0; i < 3; i++) {
        check(*state, ALL, names[i], EVENTS, 1, 100, 1 << 20);
        check(*state, DEAD, names[i], EVENTS, 1, 100, 1000);
    }
    check(*state, ALL, "none", EVENTS, 1, 100, 1 << 20);
}

static void few_among_many_cost_few_cells(void **state)
{
    struct world *world = *state;
    struct status_scan scan = {.statuses = 1u << STATUS_RETRYING, .next = EVENTS, .last = 1};
    struct status_reflects reflects;
    struct status_entry entry;
    uint64_t cells = 0;
    assert_int_equal(status_table_scan(world->table, &scan, 1 << 20, &entry, 1, &cells, &reflects),
                     0);
    assert_true(cells <= EVENTS / 4096 + 1);
    assert_true(scan.next < scan.last);
}

static void what_is_forgotten_is_not_found(void **state)
{
    struct world *world = *state;
    status_table_write_begin(world->table);
    assert_int_equal(status_table_forget(world->table, EVENTS - KEPT + 1), ERR_NONE);
    status_table_write_end(world->table);
    memset(world->statuses, 0, (EVENTS - KEPT + 1) * sizeof *world->statuses);
    check(world, ALL, NULL, EVENTS, 1, 1000, 1 << 20);
    check(world, DEAD, NULL, EVENTS, 1, 1000, 10);
    check(world, ALL, NULL, EVENTS - KEPT, 1, 1000, 1 << 20);
}

static void what_is_to_come_is_not_found(void **state)
{
    struct world *world = *state;
    struct status_scan scan = {.statuses = ALL, .next = EVENTS + 100000, .last = EVENTS + 1};
    struct status_reflects reflects;
    struct status_entry entry;
    uint64_t cells = 0;
    assert_int_equal(status_table_scan(world->table, &scan, 1 << 20, &entry, 1, &cells, &reflects),
                     0);
    assert_true(scan.next < scan.last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_of_a_status_are_found, begin, end),
        cmocka_unit_test_setup_teardown(bounds_are_kept_to, begin, end),
        cmocka_unit_test_setup_teardown(names_are_matched, begin, end),
        cmocka_unit_test_setup_teardown(few_among_many_cost_few_cells, begin, end),
        cmocka_unit_test_setup_teardown(what_is_forgotten_is_not_found, begin, end),
        cmocka_unit_test_setup_teardown(what_is_to_come_is_not_found, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
