#include "common/mem.h"

#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <string.h>

static void blocks_of_no_size_are_blocks(void **state)
{
    void *a = mem_alloc(0), *b = mem_zero(0, 8), *c = mem_grow(NULL, 0, 8);

    (void)state;
    assert_true(a && b && c && a != b && b != c);
    c = mem_grow(c, 8, 0);
    assert_non_null(c);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(NULL);
}

static void zeroed_memory_is_zero(void **state)
{
    static const char zeros[300];
    char *block = mem_zero(100, 3);

    (void)state;
    assert_non_null(block);
    assert_memory_equal(block, zeros, 300);
    mem_free(block);
}

static void sizes_that_overflow_fail(void **state)
{
    char *block = mem_alloc(4);

    (void)state;
    assert_non_null(block);
    memcpy(block, "abc", 4);
    assert_null(mem_zero(SIZE_MAX / 2, 3));
    assert_null(mem_grow(block, SIZE_MAX / 2, 3));
    assert_string_equal(block, "abc");
    assert_null(mem_copy_text("", SIZE_MAX));
    mem_free(block);
}

static void a_copied_text_ends_with_a_nul(void **state)
{
    char *copy = mem_copy_text("ab\0c|d", 4), *empty = mem_copy_text(NULL, 0);

    (void)state;
    assert_memory_equal(copy, "ab\0c\0", 5);
    assert_string_equal(empty, "");
    mem_free(copy);
    mem_free(empty);
}

static void the_chosen_allocation_fails_once(void **state)
{
    void *a, *b;

    (void)state;
    assert_int_equal(mem_fail_after(1), -1);
    a = mem_alloc(1);
    assert_non_null(a);
    assert_null(mem_alloc(1));
    b = mem_alloc(1);
    assert_non_null(b);
    assert_int_equal(mem_fail_after(5), -1);
    assert_int_equal(mem_fail_after(-1), 5);
    mem_free(a);
    mem_free(b);
}

static void each_kind_of_allocation_can_fail(void **state)
{
    char *block = mem_copy_text("abc", 3);

    (void)state;
    mem_fail_after(0);
    assert_null(mem_zero(1, 1));
    mem_fail_after(0);
    assert_null(mem_grow(block, 100, 1));
    mem_fail_after(0);
    assert_null(mem_copy_text("x", 1));
    assert_string_equal(block, "abc");
    mem_free(block);
}

static void every_allocation_is_counted(void **state)
{
    uint64_t before = mem_allocations();
    void *a = mem_alloc(1), *b = mem_zero(1, 1);

    (void)state;
    b = mem_grow(b, 2, 1);
    assert_non_null(b);
    assert_int_equal(mem_allocations() - before, 3);
    mem_free(a);
    mem_free(b);
}

/* The tests of the other modules lean on it. */
static void each_failure_visits_every_allocation_and_one_round_more(void **state)
{
    int rounds = 0, failed_at[4] = {0};

    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f); rounds++) {
        void *blocks[3];
        for (int i = 0; i < 3; i++) {
            blocks[i] = mem_alloc(1);
            failed_at[i] += blocks[i] == NULL;
            mem_free(blocks[i]);
        }
        assert_int_equal(each_failure_end(&f), rounds < 3);
    }
    assert_int_equal(rounds, 4);
    for (int i = 0; i < 3; i++)
        assert_int_equal(failed_at[i], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_no_size_are_blocks),
        cmocka_unit_test(zeroed_memory_is_zero),
        cmocka_unit_test(sizes_that_overflow_fail),
        cmocka_unit_test(a_copied_text_ends_with_a_nul),
        cmocka_unit_test(the_chosen_allocation_fails_once),
        cmocka_unit_test(each_kind_of_allocation_can_fail),
        cmocka_unit_test(every_allocation_is_counted),
        cmocka_unit_test(each_failure_visits_every_allocation_and_one_round_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
