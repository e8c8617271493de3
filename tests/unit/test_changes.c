#include "event-processor/changes.h"

#include "event-processor/wait.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <pthread.h>

enum { CAPACITY = 2 * STATUS_BATCH_MAX };

static struct status_entry entries[CAPACITY];

static struct changes *new_changes(void)
{
    struct changes *changes;
    assert_int_equal(changes_new(CAPACITY, &changes), ERR_NONE);
    return changes;
}

/* A batch of so many changes at this position. */
static void add(struct changes *changes, uint64_t position, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        changes_add(changes, &(struct status_entry){.event_position = position * 10000 + i,
                                                    .change_position = position,
                                                    .change_place = i});
}

static void add_and_pass(struct changes *changes, uint64_t position, uint32_t count)
{
    add(changes, position, count);
    changes_pass(changes, position);
}

/* Reads on; how many there were. */
static size_t read_on(struct changes *changes, struct changes_cursor *cursor, size_t max,
                      uint64_t *ret_position, bool *ret_more)
{
    size_t count;
    assert_int_equal(changes_read(changes, cursor, entries, max, &count, ret_position, ret_more),
                     CHANGES_READ);
    return count;
}

static void what_is_passed_is_read_in_order(void **state)
{
    struct changes *changes = new_changes();
    struct changes_cursor cursor;
    uint64_t position;
    bool more;
    (void)state;
    assert_true(changes_now(changes, &cursor) == 0);
    add(changes, 3, 2);
    assert_int_equal(read_on(changes, &cursor, CAPACITY, &position, &more), 0); /* not passed */
    assert_true(position == 0 && !more);
    changes_pass(changes, 3);
    changes_pass(changes, 4); /* of nothing that shows */
    add_and_pass(changes, 7, 1);
    assert_int_equal(read_on(changes, &cursor, CAPACITY, &position, &more), 3);
    assert_true(position == 7 && !more);
    assert_true(entries[0].event_position == 30000 && entries[1].event_position == 30001);
    assert_true(entries[2].change_position == 7);
    assert_int_equal(read_on(changes, &cursor, CAPACITY, &position, &more), 0);
    changes_free(changes);
}

static void a_batch_is_not_divided(void **state)
{
    struct changes *changes = new_changes();
    struct changes_cursor cursor;
    uint64_t position;
    bool more;
    (void)state;
    changes_now(changes, &cursor);
    add_and_pass(changes, 1, STATUS_BATCH_MAX - 1);
    add_and_pass(changes, 2, 2);
    assert_int_equal(read_on(changes, &cursor, STATUS_BATCH_MAX, &position, &more),
                     STATUS_BATCH_MAX - 1);
    assert_true(position == 1 && more);
    assert_int_equal(read_on(changes, &cursor, STATUS_BATCH_MAX, &position, &more), 2);
    assert_true(position == 2 && !more);
    changes_free(changes);
}

static void a_cursor_is_found_by_a_position(void **state)
{
    struct changes *changes = new_changes();
    struct changes_cursor cursor;
    uint64_t position;
    bool more;
    (void)state;
    for (uint64_t at = 2; at <= 20; at += 2)
        add_and_pass(changes, at, 1);
    changes_pass(changes, 25);
    for (uint64_t after = 0; after <= 25; after++) {
        assert_true(changes_after(changes, after, &cursor));
        size_t expected = after >= 20 ? 0 : 10 - (size_t)after / 2;
        assert_int_equal(read_on(changes, &cursor, CAPACITY, &position, &more), expected);
        assert_true(position == 25);
    }
    assert_false(changes_after(changes, 26, &cursor)); /* not passed */
    changes_free(changes);
}

static void the_oldest_are_lost(void **state)
{
    struct changes *changes = new_changes();
    struct changes_cursor slow, quick;
    uint64_t position;
    bool more;
    size_t count;
    (void)state;
    changes_now(changes, &slow);
    for (uint64_t at = 1; at <= 3; at++) {
        changes_now(changes, &quick);
        add_and_pass(changes, at, STATUS_BATCH_MAX);
        assert_int_equal(read_on(changes, &quick, STATUS_BATCH_MAX, &position, &more),
                         STATUS_BATCH_MAX);
        assert_int_equal(entries[STATUS_BATCH_MAX - 1].change_place, STATUS_BATCH_MAX - 1);
    }
    assert_int_equal(
        changes_read(changes, &slow, entries, STATUS_BATCH_MAX, &count, &position, &more),
        CHANGES_LOST);
    assert_int_equal(changes_look(changes, &slow), CHANGES_LOST);
    assert_int_equal(changes_look(changes, &quick), CHANGES_READ);
    assert_false(changes_after(changes, 0, &slow));
    assert_true(changes_after(changes, 1, &slow));
    assert_int_equal(read_on(changes, &slow, STATUS_BATCH_MAX, &position, &more), STATUS_BATCH_MAX);
    assert_true(position == 2 && more);
    changes_free(changes);
}

static void a_log_may_begin_late(void **state)
{
    struct changes *changes = new_changes();
    struct changes_cursor cursor;
    uint64_t position;
    bool more;
    (void)state;
    changes_begin(changes, 100);
    assert_false(changes_after(changes, 99, &cursor));
    assert_true(changes_after(changes, 100, &cursor));
    add_and_pass(changes, 101, 1);
    changes_begin(changes, 100); /* known */
    assert_int_equal(read_on(changes, &cursor, CAPACITY, &position, &more), 1);
    struct changes_cursor all_read = cursor;
    changes_begin(changes, 200); /* what was between has expired before it was read */
    assert_int_equal(changes_look(changes, &all_read), CHANGES_LOST);
    assert_false(changes_after(changes, 101, &cursor));
    assert_int_equal(changes_look(changes, &cursor), CHANGES_LOST);
    assert_true(changes_now(changes, &cursor) == 200);
    add_and_pass(changes, 201, 1);
    assert_int_equal(read_on(changes, &cursor, CAPACITY, &position, &more), 1);
    changes_free(changes);
}

static void a_reset_voids_cursors(void **state)
{
    struct changes *changes = new_changes();
    struct changes_cursor cursor;
    uint64_t position;
    bool more;
    size_t count;
    (void)state;
    add_and_pass(changes, 9, 1);
    changes_now(changes, &cursor);
    changes_reset(changes);
    assert_int_equal(changes_read(changes, &cursor, entries, CAPACITY, &count, &position, &more),
                     CHANGES_RESET);
    assert_int_equal(changes_look(changes, &cursor), CHANGES_RESET);
    assert_true(changes_now(changes, &cursor) == 0);
    assert_true(changes_after(changes, 0, &cursor));
    add_and_pass(changes, 1, 1);
    assert_int_equal(read_on(changes, &cursor, CAPACITY, &position, &more), 1);
    changes_free(changes);
}

static void *pass_one(void *changes)
{
    add_and_pass(changes, 1, 1);
    return NULL;
}

static void waiting_ends_with_a_change(void **state)
{
    struct changes *changes = new_changes();
    pthread_t thread;
    (void)state;
    uint64_t turn = changes_wait(changes, 0, wait_until(0));
    assert_int_equal(pthread_create(&thread, NULL, pass_one, changes), 0);
    assert_true(changes_wait(changes, turn, wait_until(60000)) == turn + 1);
    pthread_join(thread, NULL);
    changes_wake(changes);
    assert_true(changes_wait(changes, turn + 1, wait_until(60000)) == turn + 2);
    changes_free(changes);
}

static void without_memory_there_is_no_ring(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct changes *changes = NULL;
        enum err e = changes_new(CAPACITY, &changes);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        changes_free(changes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_passed_is_read_in_order),
        cmocka_unit_test(a_batch_is_not_divided),
        cmocka_unit_test(a_cursor_is_found_by_a_position),
        cmocka_unit_test(the_oldest_are_lost),
        cmocka_unit_test(a_log_may_begin_late),
        cmocka_unit_test(a_reset_voids_cursors),
        cmocka_unit_test(waiting_ends_with_a_change),
        cmocka_unit_test(without_memory_there_is_no_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
