#include "event-processor/status_table.h"

#include "event-processor/status_names.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- helpers ---- */

static struct event_id id_of(uint64_t number)
{
    struct event_id id = {{0}};
    for (size_t i = 0; i < 8; i++)
        id.bytes[15 - i] = (uint8_t)(number >> (8 * i));
    id.bytes[0] = 1;
    return id;
}

/* xorshift64*: the same numbers in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

static struct status_table *new_table(void)
{
    struct status_table *table;
    assert_int_equal(status_table_new(&table), ERR_NONE);
    return table;
}

static void add(struct status_table *table, uint64_t position, uint64_t number)
{
    struct event_id id = id_of(number);
    status_table_write_begin(table);
    assert_int_equal(status_table_add(table, position, &id, VIEW("order.created"), 1700000000123),
                     ERR_NONE);
    status_table_passed_event(table, position);
    status_table_write_end(table);
}

static bool apply(struct status_table *table, uint64_t event_position, uint64_t number,
                  struct status_state state, uint64_t position, uint32_t place)
{
    struct status_change change = {.id = id_of(number),
                                   .event_position = event_position,
                                   .state = state,
                                   .time_ms = 1700000001999};
    status_table_write_begin(table);
    bool won = status_table_apply(table, &change, position, place);
    status_table_passed_status(table, position);
    status_table_write_end(table);
    return won;
}

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};

static struct status_table_stats stats_of(struct status_table *table, uint64_t floor)
{
    struct status_table_stats stats;
    status_table_stats(table, floor, &stats);
    return stats;
}

/* ---- one event ---- */

static void test_an_event_is_accepted_then_what_its_changes_say(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    struct event_id id = id_of(7);
    struct status_entry entry;
    struct status_reflects reflects;

    assert_false(status_table_find(table, &id, &entry, &reflects));
    assert_int_equal(reflects.epoch, 1);
    add(table, 41, 7);
    assert_true(status_table_find(table, &id, &entry, &reflects));
    assert_int_equal(entry.state.status, STATUS_ACCEPTED);
    assert_int_equal(entry.event_position, 41);
    assert_int_equal(entry.change_position, 0);
    assert_int_equal(entry.updated_ms, 1700000000000);
    assert_true(view_equal(entry.name, VIEW("order.created")));
    assert_int_equal(reflects.event_position, 41);

    struct status_state running = {
        .status = STATUS_PROCESSING, .alone = true, .attempt = 1023, .generation = 1023};
    assert_true(apply(table, 41, 7, running, UINT64_C(0xffffffffff), 4095));
    assert_true(status_table_at(table, 41, &entry, &reflects));
    assert_int_equal(entry.state.status, STATUS_PROCESSING);
    assert_true(entry.state.alone);
    assert_int_equal(entry.state.attempt, 1023);
    assert_int_equal(entry.state.generation, 1023);
    assert_int_equal(entry.change_position, UINT64_C(0xffffffffff));
    assert_int_equal(entry.change_place, 4095);
    assert_int_equal(entry.updated_ms, 1700000001000);
    assert_int_equal(reflects.status_position, UINT64_C(0xffffffffff));
    status_table_free(table);
}

static void test_a_change_of_another_event_or_place_loses(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    add(table, 5, 1);
    assert_false(apply(table, 5, 2, processed, 1, 0));    /* another id */
    assert_false(apply(table, 6, 1, processed, 2, 0));    /* nothing there */
    assert_false(apply(table, 9999, 1, processed, 3, 0)); /* nor there */
    assert_true(apply(table, 5, 1, processed, 4, 0));
    assert_false(apply(table, 5, 1, processed, 5, 0)); /* ended */
    struct status_entry entry;
    assert_true(status_table_at(table, 5, &entry, NULL));
    assert_int_equal(entry.change_position, 4);
    status_table_free(table);
}

static void test_a_later_copy_is_no_event(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    struct event_id id = id_of(1);
    struct status_entry entry;
    add(table, 1, 1);
    add(table, 2, 1);
    assert_true(status_table_at(table, 2, &entry, NULL));
    assert_int_equal(entry.state.status, STATUS_NONE);
    assert_true(id_equal(&entry.id, &id));
    assert_false(apply(table, 2, 1, processed, 1, 0));
    assert_true(apply(table, 1, 1, processed, 1, 1));
    assert_true(status_table_find(table, &id, &entry, NULL));
    assert_int_equal(entry.event_position, 1);
    struct status_table_stats stats = stats_of(table, 0);
    assert_int_equal(stats.events, 1);
    assert_int_equal(stats.copies, 1);
    assert_int_equal(stats.counts[STATUS_PROCESSED], 1);
    status_table_free(table);
}

static void test_positions_at_or_before_the_last_change_nothing(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    add(table, 10, 1);
    add(table, 10, 2);
    add(table, 3, 3);
    struct status_table_stats stats = stats_of(table, 0);
    assert_int_equal(stats.events, 1);
    assert_int_equal(stats.reflects.first_event_position, 10);
    status_table_free(table);
}

static void test_absent_segments_take_no_memory(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    add(table, 1000000000, 1);
    uint64_t one = stats_of(table, 0).bytes;
    add(table, 1000000000 + 4096 * 50000, 2);
    assert_true(stats_of(table, 0).bytes - one < 200 * 1000);
    struct status_entry entry;
    struct event_id id = id_of(1);
    assert_true(status_table_find(table, &id, &entry, NULL));
    assert_int_equal(entry.event_position, 1000000000);
    assert_false(status_table_at(table, 1000000000 + 4096 * 25000, &entry, NULL));
    status_table_free(table);
}

static void test_too_wide_a_span_is_refused(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    struct event_id id = id_of(2);
    uint64_t first = UINT32_MAX - 1; /* so that low bits wrap around */
    add(table, first, 1);
    add(table, first + UINT32_MAX, 2);
    struct status_entry entry;
    assert_true(status_table_find(table, &id, &entry, NULL));
    assert_int_equal(entry.event_position, first + UINT32_MAX);
    id = id_of(3);
    status_table_write_begin(table);
    assert_int_equal(status_table_add(table, first + UINT32_MAX + 1, &id, VIEW("a"), 0), ERR_FULL);
    status_table_write_end(table);
    status_table_free(table);
}

static void test_a_reset_begins_another_epoch(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    add(table, 1, 1);
    apply(table, 1, 1, processed, 1, 0);
    status_table_write_begin(table);
    status_table_reset(table);
    assert_int_equal(status_table_epoch(table), 2);
    status_table_write_end(table);
    struct status_table_stats stats = stats_of(table, 0);
    assert_int_equal(stats.events, 0);
    assert_int_equal(stats.digest, 0);
    assert_int_equal(stats.reflects.event_position, 0);
    assert_int_equal(stats.reflects.status_position, 0);
    struct event_id id = id_of(1);
    struct status_entry entry;
    assert_false(status_table_find(table, &id, &entry, NULL));
    add(table, 1, 9);
    assert_int_equal(stats_of(table, 0).events, 1);
    status_table_free(table);
}

/* ---- against a simple oracle ---- */

enum { POSITIONS = 12000, IDS = 9000, OPERATIONS = 40000 };

struct model {
    uint64_t number[POSITIONS + 1]; /* id at a position; 0: nothing */
    bool copy[POSITIONS + 1];
    struct status_state state[POSITIONS + 1];
    uint64_t first_of[IDS + 1]; /* position of an id; 0: none */
    uint64_t last;
};

static void model_add(struct model *m, uint64_t position, uint64_t number)
{
    m->number[position] = number;
    m->copy[position] = m->first_of[number] != 0;
    m->last = position;
    if (m->copy[position])
        return;
    m->first_of[number] = position;
    m->state[position] = (struct status_state){.status = STATUS_ACCEPTED};
}

static bool model_apply(struct model *m, uint64_t position, uint64_t number,
                        struct status_state change)
{
    if (position > m->last || m->number[position] != number || m->copy[position])
        return false;
    return status_move(m->state[position], change, &m->state[position]);
}

static struct status_state random_state(uint64_t *seed)
{
    uint64_t r = next_random(seed);
    enum status status = (enum status)(STATUS_PROCESSING + r % 4);
    return (struct status_state){.status = status,
                                 .alone = status == STATUS_PROCESSING && (r >> 8 & 1),
                                 .attempt = (uint32_t)(r >> 16 & 3),
                                 .generation = (r >> 24 & 15) == 0};
}

static void compare(struct status_table *table, const struct model *m)
{
    uint64_t counts[STATUS_COUNT] = {0};
    for (uint64_t position = 1; position <= m->last; position++) {
        struct status_entry entry;
        bool there = status_table_at(table, position, &entry, NULL);
        assert_int_equal(there, m->number[position] != 0);
        if (!there)
            continue;
        counts[m->state[position].status]++;
        assert_int_equal(entry.state.status, m->state[position].status);
        assert_int_equal(entry.state.attempt, m->state[position].attempt);
        assert_int_equal(entry.state.generation, m->state[position].generation);
        assert_int_equal(entry.state.alone, m->state[position].alone);
    }
    for (uint64_t number = 1; number <= IDS; number++) {
        struct event_id id = id_of(number);
        struct status_entry entry;
        bool there = status_table_find(table, &id, &entry, NULL);
        assert_int_equal(there, m->first_of[number] != 0);
        if (there)
            assert_int_equal(entry.event_position, m->first_of[number]);
    }
    struct status_table_stats stats = stats_of(table, 0);
    for (int i = 0; i < STATUS_COUNT; i++)
        assert_int_equal(stats.counts[i], counts[i]);
}

static void test_random_operations_agree_with_a_model(void **state)
{
    (void)state;
    static struct model m;
    struct status_table *table = new_table();
    uint64_t seed = 42;
    for (int i = 0; i < OPERATIONS; i++) {
        uint64_t r = next_random(&seed);
        if (r % 4 == 0 && m.last + 3 < POSITIONS) {
            uint64_t position = m.last + 1 + (r >> 8) % 3 / 2; /* gaps now and then */
            uint64_t number = 1 + (r >> 16) % IDS;
            add(table, position, number);
            model_add(&m, position, number);
        } else if (m.last > 0) {
            uint64_t position = 1 + (r >> 8) % (m.last + 2);
            uint64_t number = (r >> 40) % 10 == 0 ? 1 + (r >> 44) % IDS : m.number[position];
            struct status_state change = random_state(&seed);
            bool won = apply(table, position, number, change, (uint64_t)i + 1, 0);
            assert_int_equal(won, model_apply(&m, position, number, change));
        }
    }
    assert_true(m.last > 8192); /* some segments */
    compare(table, &m);
    status_table_free(table);
}

/* ---- digest ---- */

static void test_digests_tell_tables_apart_and_add_up(void **state)
{
    (void)state;
    struct status_table *one = new_table();
    struct status_table *other = new_table();
    for (uint64_t i = 1; i <= 10000; i++)
        add(one, i, i);
    for (uint64_t i = 5000; i <= 10000; i++)
        add(other, i, i);
    /* The same from a floor on, in the middle of a segment or at its border. */
    assert_int_not_equal(stats_of(one, 0).digest, stats_of(other, 0).digest);
    static const uint64_t floors[] = {5000, 5001, 8191, 8192, 8193, 10000, 10001, 1000000};
    for (size_t i = 0; i < sizeof floors / sizeof *floors; i++)
        assert_int_equal(stats_of(one, floors[i]).digest, stats_of(other, floors[i]).digest);
    assert_int_equal(stats_of(one, 10001).digest, 0);

    /* Each property of a change shows. */
    uint64_t before = stats_of(one, 5000).digest;
    assert_true(apply(one, 6000, 6000, processed, 3, 1));
    uint64_t after = stats_of(one, 5000).digest;
    assert_int_not_equal(before, after);
    static const struct {
        struct status_state state;
        uint64_t position;
        uint32_t place;
    } others[] = {
        {{.status = STATUS_DEAD, .attempt = 1}, 3, 1},
        {{.status = STATUS_PROCESSED, .attempt = 2}, 3, 1},
        {{.status = STATUS_PROCESSED, .attempt = 1, .generation = 1}, 3, 1},
        {{.status = STATUS_PROCESSED, .attempt = 1}, 4, 1},
        {{.status = STATUS_PROCESSED, .attempt = 1}, 3, 2},
        {{.status = STATUS_PROCESSED, .attempt = 1}, 3, 1},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct status_table *table = new_table();
        for (uint64_t p = 5000; p <= 10000; p++)
            add(table, p, p);
        assert_true(apply(table, 6000, 6000, others[i].state, others[i].position, others[i].place));
        bool same = i + 1 == sizeof others / sizeof *others;
        assert_int_equal(stats_of(table, 5000).digest == after, same);
        status_table_free(table);
    }
    status_table_free(one);
    status_table_free(other);
}

/* ---- size ---- */

static void test_an_event_takes_at_most_48_bytes(void **state)
{
    (void)state;
    struct status_table *table = new_table();
    double worst = 0;
    for (uint64_t i = 1; i <= 1000000; i++) {
        add(table, i, i);
        if (i >= 100000 && i % 997 == 0) {
            double bytes = (double)stats_of(table, UINT64_MAX).bytes / (double)i;
            worst = bytes > worst ? bytes : worst;
        }
    }
    print_message("bytes an event at worst: %.1f\n", worst);
    assert_true(worst <= 48);
    status_table_free(table);
}

/* ---- names ---- */

static void test_names_beyond_the_bound_share_one(void **state)
{
    (void)state;
    struct status_names *names;
    char text[16];
    assert_int_equal(status_names_new(&names), ERR_NONE);
    for (uint32_t i = 1; i < STATUS_NAMES_MAX; i++) {
        snprintf(text, sizeof text, "name.%u", i);
        assert_int_equal(status_names_intern(names, view_of(text)), i);
    }
    assert_int_equal(status_names_intern(names, VIEW("name.7")), 7);
    assert_int_equal(status_names_intern(names, VIEW("one.too.many")), 0);
    assert_true(view_equal(status_names_get(names, 0), VIEW("(other)")));
    assert_true(view_equal(status_names_get(names, 65535), VIEW("name.65535")));
    status_names_free(names);
}

/* ---- memory ---- */

static void test_each_failing_allocation_changes_nothing(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct status_table *table = NULL;
        enum err e = status_table_new(&table);
        struct event_id id = id_of(1);
        if (!e) {
            status_table_write_begin(table);
            e = status_table_add(table, 1, &id, VIEW("a"), 0);
            status_table_write_end(table);
        }
        bool failed = each_failure_end(&f);
        struct status_entry entry;
        if (e) {
            assert_true(failed);
            if (table) {
                assert_false(status_table_find(table, &id, &entry, NULL));
                add(table, 1, 1); /* trying again works */
            }
        }
        if (table) {
            assert_true(status_table_find(table, &id, &entry, NULL));
            assert_int_equal(stats_of(table, 0).events, 1);
        }
        status_table_free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_event_is_accepted_then_what_its_changes_say),
        cmocka_unit_test(test_a_change_of_another_event_or_place_loses),
        cmocka_unit_test(test_a_later_copy_is_no_event),
        cmocka_unit_test(test_positions_at_or_before_the_last_change_nothing),
        cmocka_unit_test(test_absent_segments_take_no_memory),
        cmocka_unit_test(test_too_wide_a_span_is_refused),
        cmocka_unit_test(test_a_reset_begins_another_epoch),
        cmocka_unit_test(test_random_operations_agree_with_a_model),
        cmocka_unit_test(test_digests_tell_tables_apart_and_add_up),
        cmocka_unit_test(test_an_event_takes_at_most_48_bytes),
        cmocka_unit_test(test_names_beyond_the_bound_share_one),
        cmocka_unit_test(test_each_failing_allocation_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
