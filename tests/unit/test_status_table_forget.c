/* What the status table does when the event log drops its head. */
#include "event-processor/status_table.h"

#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};

static struct event_id id_of(uint64_t number)
{
    struct event_id id = {{1}};
    memcpy(id.bytes + 8, &number, sizeof number);
    return id;
}

static struct status_table *new_table(void)
{
    struct status_table *table;
    assert_int_equal(status_table_new(&table), ERR_NONE);
    return table;
}

static enum err add(struct status_table *table, uint64_t position, uint64_t number)
{
    struct event_id id = id_of(number);
    status_table_write_begin(table);
    enum err e = status_table_add(table, position, &id, VIEW("n"), 1700000000000);
    status_table_write_end(table);
    return e;
}

static void add_all(struct status_table *table, uint64_t position, uint64_t number)
{
    assert_int_equal(add(table, position, number), ERR_NONE);
}

static void apply(struct status_table *table, uint64_t event_position, uint64_t number,
                  struct status_state state, uint64_t position)
{
    struct status_change change = {
        .id = id_of(number), .event_position = event_position, .state = state};
    status_table_write_begin(table);
    (void)status_table_apply(table, &change, position, 0);
    status_table_write_end(table);
}

static enum err forget(struct status_table *table, uint64_t first)
{
    status_table_write_begin(table);
    enum err e = status_table_forget(table, first);
    status_table_write_end(table);
    return e;
}

static struct status_table_stats stats_of(struct status_table *table)
{
    struct status_table_stats stats;
    status_table_stats(table, 0, &stats);
    return stats;
}

/* Where the table finds the id; 0: nowhere. */
static uint64_t position_of(struct status_table *table, uint64_t number)
{
    struct event_id id = id_of(number);
    struct status_entry entry;
    return status_table_find(table, &id, &entry, NULL) ? entry.event_position : 0;
}

static enum status status_at(struct status_table *table, uint64_t position)
{
    struct status_entry entry;
    assert_true(status_table_at(table, position, &entry, NULL));
    return entry.state.status;
}

/* ---- events ---- */

static void test_what_is_forgotten_is_not_there(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    struct status_entry entry;
    for (uint64_t i = 1; i <= 10000; i++)
        add_all(table, i, i);
    apply(table, 5000, 5000, processed, 1);
    apply(table, 7000, 7000, processed, 2);
    assert_int_equal(forget(table, 6000), ERR_NONE);
    struct status_table_stats stats = stats_of(table);
    assert_int_equal(stats.events, 4001);
    assert_int_equal(stats.counts[STATUS_PROCESSED], 1);
    assert_int_equal(stats.reflects.first_event_position, 6000);
    assert_int_equal(position_of(table, 5999), 0);
    assert_false(status_table_at(table, 5999, &entry, NULL));
    assert_false(status_table_at(table, 1, &entry, NULL));
    assert_int_equal(position_of(table, 6000), 6000);
    apply(table, 5998, 5998, processed, 3); /* too late */
    assert_int_equal(stats_of(table).digest, stats.digest);
    assert_int_equal(forget(table, 10), ERR_NONE); /* never back */
    assert_int_equal(stats_of(table).digest, stats.digest);
    assert_int_equal(stats_of(table).reflects.first_event_position, 6000);
    status_table_free(table);
}

static void test_all_may_be_forgotten_and_more_come(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    assert_int_equal(forget(table, 1), ERR_NONE);
    for (uint64_t i = 1; i <= 5000; i++)
        add_all(table, i, i);
    assert_int_equal(forget(table, 9001), ERR_NONE);
    assert_int_equal(stats_of(table).events, 0);
    assert_int_equal(stats_of(table).digest, 0);
    assert_int_equal(stats_of(table).reflects.event_position,
                     9000);  /* there is nothing to wait for */
    add_all(table, 8999, 7); /* read before the log dropped it */
    assert_int_equal(stats_of(table).events, 0);
    add_all(table, 9001, 7);
    assert_int_equal(position_of(table, 7), 9001);
    status_table_free(table);
}

static void test_positions_may_go_on_for_ever(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    uint64_t position = 1;
    add_all(table, position, 1);
    for (int i = 0; i < 20; i++) {
        position += UINT32_MAX / 2;
        assert_int_equal(forget(table, position), ERR_NONE);
        add_all(table, position, 2);
        add_all(table, position + 5, 1); /* slots of both are there, from before */
        assert_int_equal(position_of(table, 1), position + 5);
        assert_int_equal(position_of(table, 2), position);
        assert_int_equal(stats_of(table).events, 2);
    }
    /* A slot from before that means a copy of today. */
    uint64_t wrapped = position + UINT32_MAX;
    assert_int_equal(forget(table, wrapped), ERR_NONE);
    add_all(table, wrapped, 2);
    add_all(table, wrapped + 1, 2);
    assert_int_equal(position_of(table, 2), wrapped);
    assert_int_equal(add(table, wrapped + UINT32_MAX, 3), ERR_NONE);
    assert_int_equal(add(table, wrapped + UINT32_MAX + 1, 4), ERR_FULL);
    status_table_free(table);
}

/* ---- copies ---- */

static void test_a_copy_of_what_is_forgotten_is_an_event(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    add_all(table, 1, 1);
    apply(table, 1, 1, processed, 1);
    assert_int_equal(forget(table, 2), ERR_NONE);
    add_all(table, 2, 1);
    assert_int_equal(status_at(table, 2), STATUS_ACCEPTED);
    assert_int_equal(position_of(table, 1), 2);
    status_table_free(table);
}

static void test_the_next_copy_is_the_event_with_what_its_changes_say(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    for (uint64_t i = 1; i <= 4; i++)
        add_all(table, i, 1);
    apply(table, 1, 1, processed, 1);
    apply(table, 2, 1, (struct status_state){.status = STATUS_DEAD, .attempt = 2}, 2);
    assert_int_equal(status_at(table, 2), STATUS_NONE);
    assert_int_equal(stats_of(table).copies, 3);
    assert_int_equal(forget(table, 2), ERR_NONE);
    assert_int_equal(position_of(table, 1), 2);
    assert_int_equal(status_at(table, 2), STATUS_DEAD);
    assert_int_equal(status_at(table, 3), STATUS_NONE);
    assert_int_equal(forget(table, 4), ERR_NONE); /* two at once */
    assert_int_equal(position_of(table, 1), 4);
    assert_int_equal(status_at(table, 4), STATUS_ACCEPTED);
    assert_int_equal(stats_of(table).copies, 0);
    assert_int_equal(stats_of(table).events, 1);
    status_table_free(table);
}

/* ---- whenever it is told ---- */

enum { POSITIONS = 30000, IDS = 4000 };

/* The logs: what is at each position, and the changes in their order. */
struct story {
    uint64_t number[POSITIONS + 1];
    struct {
        uint64_t position;
        struct status_state state;
    } changes[POSITIONS];
    uint64_t change_count;
};

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1du;
}

static void tell(struct story *story, uint64_t *seed)
{
    for (uint64_t i = 1; i <= POSITIONS;
         i++) /* some ids many times, some ever again, others once */
        story->number[i] = next_random(seed) % 3 ? IDS + i : next_random(seed) % IDS >> i % 12;
    story->change_count = POSITIONS;
    for (uint64_t i = 0; i < POSITIONS; i++) {
        uint64_t r = next_random(seed);
        story->changes[i].position = 1 + r % POSITIONS;
        story->changes[i].state =
            (struct status_state){.status = (enum status)(STATUS_PROCESSING + (r >> 32) % 4),
                                  .attempt = (uint32_t)(r >> 40) % 3};
    }
}

/* Folds the story, forgetting up to `floor`: each `step` positions, some behind; 0: at once. */
static struct status_table *fold(const struct story *story, uint64_t floor, uint64_t step)
{
    enum { BEHIND = 3000 };
    struct status_table *table = new_table();
    if (step == 0)
        assert_int_equal(forget(table, floor), ERR_NONE);
    for (uint64_t i = 1; i <= POSITIONS; i++) {
        add_all(table, i, story->number[i]);
        uint64_t first = i > BEHIND ? i - BEHIND : 1;
        if (step && i % step == 0)
            assert_int_equal(forget(table, first < floor ? first : floor), ERR_NONE);
    }
    for (uint64_t i = 0; i < story->change_count; i++)
        apply(table, story->changes[i].position, story->number[story->changes[i].position],
              story->changes[i].state, i + 1);
    assert_int_equal(forget(table, floor), ERR_NONE);
    return table;
}

static void test_tables_agree_whenever_they_forgot(void **state)
{
    (void)state;
    static struct story story;
    uint64_t seed = 42;
    tell(&story, &seed);
    static const uint64_t floors[] = {1, 2, 4095, 4096, 4097, 20000, POSITIONS, POSITIONS + 1};
    for (size_t i = 0; i < sizeof floors / sizeof *floors; i++) {
        struct status_table *fresh = fold(&story, floors[i], 0);
        static const uint64_t steps[] = {1, 777, 5000, POSITIONS * 2};
        struct status_table_stats expected = stats_of(fresh);
        for (size_t j = 0; j < sizeof steps / sizeof *steps; j++) {
            struct status_table *table = fold(&story, floors[i], steps[j]);
            struct status_table_stats stats = stats_of(table);
            assert_int_equal(stats.digest, expected.digest);
            assert_memory_equal(stats.counts, expected.counts, sizeof stats.counts);
            for (uint64_t p = 1; p <= POSITIONS; p += 7)
                assert_int_equal(position_of(table, story.number[p]),
                                 position_of(fresh, story.number[p]));
            status_table_free(table);
        }
        status_table_free(fresh);
    }
}

/* ---- memory ---- */

static void test_memory_is_bounded_where_the_log_is(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    enum { KEPT = 50000 };
    uint64_t most = 0;
    for (uint64_t i = 1; i <= 40 * KEPT; i++) {
        add_all(table, i, i % 3 ? i : i - 1); /* copies too */
        if (i > KEPT && i % 1000 == 0)
            assert_int_equal(forget(table, i - KEPT), ERR_NONE);
        uint64_t bytes = i % 1000 == 0 && i > 2 * KEPT ? stats_of(table).bytes : 0;
        most = bytes > most ? bytes : most;
    }
    print_message("bytes an event kept: %.1f\n", (double)most / KEPT);
    assert_true(most < KEPT * 100);
    status_table_free(table);
}

static void test_each_failing_allocation_may_be_made_good(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        int before = mem_fail_after(-1); /* not in the preparation */
        struct status_table *table = new_table();
        for (uint64_t i = 1; i <= 400; i++)
            add_all(table, i, (i - 1) % 200);
        (void)mem_fail_after(before);
        enum err e = forget(table, 201); /* all copies become events: the index grows */
        bool failed = each_failure_end(&f);
        if (!failed)
            assert_int_equal(e, ERR_NONE);
        assert_int_equal(forget(table, 201), ERR_NONE);
        assert_int_equal(stats_of(table).events, 200);
        assert_int_equal(stats_of(table).copies, 0);
        for (uint64_t i = 0; i < 200; i++)
            assert_int_equal(position_of(table, i), 201 + i);
        status_table_free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_forgotten_is_not_there),
        cmocka_unit_test(test_all_may_be_forgotten_and_more_come),
        cmocka_unit_test(test_positions_may_go_on_for_ever),
        cmocka_unit_test(test_a_copy_of_what_is_forgotten_is_an_event),
        cmocka_unit_test(test_the_next_copy_is_the_event_with_what_its_changes_say),
        cmocka_unit_test(test_tables_agree_whenever_they_forgot),
        cmocka_unit_test(test_memory_is_bounded_where_the_log_is),
        cmocka_unit_test(test_each_failing_allocation_may_be_made_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
