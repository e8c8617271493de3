/* Which events are open, and where. */
#include "event-processor/status_table.h"
#include "tests/lib/unit.h"

static struct status_table *table;

static int begin(void **state)
{
    (void)state;
    assert_int_equal(status_table_new(&table), ERR_NONE);
    return 0;
}

static int end(void **state)
{
    (void)state;
    status_table_free(table);
    return 0;
}

static struct event_id id_of(uint64_t number)
{
    struct event_id id = {{1}};
    memcpy(id.bytes + 8, &number, sizeof number);
    return id;
}

static void add(uint64_t position, uint64_t number)
{
    struct event_id id = id_of(number);
    status_table_write_begin(table);
    assert_int_equal(status_table_add(table, position, &id, VIEW("n"), 0), ERR_NONE);
    status_table_write_end(table);
}

static void apply(uint64_t position, enum status status)
{
    struct status_change change = {.id = id_of(position),
                                   .event_position = position,
                                   .state = {.status = status, .attempt = 1}};
    status_table_write_begin(table);
    assert_true(status_table_apply(table, &change, position, 0));
    status_table_write_end(table);
}

/* 0: none */
static uint64_t first_open(uint64_t from, uint64_t to)
{
    struct status_reflects reflects;
    struct status_entry entry = {.event_position = 0};
    unsigned open = 1u << STATUS_ACCEPTED | 1u << STATUS_PROCESSING | 1u << STATUS_RETRYING;
    bool found = status_table_first_of(table, open, from, to, &entry, &reflects);
    assert_int_equal(reflects.epoch, 1);
    assert_true(found == (entry.event_position != 0));
    return entry.event_position;
}

static void test_an_empty_table_has_none(void **state)
{
    (void)state;
    assert_int_equal(first_open(0, UINT64_MAX), 0);
}

static void test_what_has_not_ended_is_open(void **state)
{
    (void)state;
    for (uint64_t position = 1; position <= 5; position++)
        add(position, position);
    assert_int_equal(first_open(1, 5), 1);
    apply(1, STATUS_PROCESSED);
    apply(2, STATUS_DEAD);
    assert_int_equal(first_open(1, 2), 0);
    apply(3, STATUS_RETRYING);
    assert_int_equal(first_open(1, 5), 3);
    apply(3, STATUS_PROCESSED);
    apply(4, STATUS_PROCESSING);
    assert_int_equal(first_open(1, 5), 4);
    apply(4, STATUS_PROCESSED);
    assert_int_equal(first_open(1, 5), 5);
    assert_int_equal(first_open(1, 4), 0);
    apply(5, STATUS_PROCESSED);
    assert_int_equal(first_open(1, UINT64_MAX), 0);
}

static void test_a_copy_is_not_open_until_it_is_the_event(void **state)
{
    (void)state;
    add(1, 1);
    add(2, 1);
    apply(1, STATUS_PROCESSED);
    assert_int_equal(first_open(1, 2), 0);
    status_table_write_begin(table);
    assert_int_equal(status_table_forget(table, 2), ERR_NONE);
    status_table_write_end(table);
    assert_int_equal(first_open(1, 2), 2);
}

static void test_both_ends_count_and_segments_do_not_matter(void **state)
{
    (void)state;
    enum { LAST = 20000 };
    static const uint64_t open[] = {7, 4095, 4096, 4097, 8191, 12285, 19999};
    static const size_t count = sizeof open / sizeof *open;
    for (uint64_t position = 1; position <= LAST; position++) {
        bool stays = false;
        if (position > 13000 && position < 17000)
            continue; /* nothing is there */
        add(position, position);
        for (size_t i = 0; i < count; i++)
            stays = stays || position == open[i];
        if (!stays)
            apply(position, STATUS_PROCESSED);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t before = i ? open[i - 1] + 1 : 1;
        assert_int_equal(first_open(before, LAST), open[i]);
        assert_int_equal(first_open(before, open[i]), open[i]);
        assert_int_equal(first_open(open[i], open[i]), open[i]);
        assert_int_equal(first_open(before, open[i] - 1), 0);
    }
    assert_int_equal(first_open(20000, UINT64_MAX), 0);
    assert_int_equal(first_open(5, 4), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_an_empty_table_has_none),
        test(test_what_has_not_ended_is_open),
        test(test_a_copy_is_not_open_until_it_is_the_event),
        test(test_both_ends_count_and_segments_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
