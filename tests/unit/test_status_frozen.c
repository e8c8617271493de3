/* The status table as it was at one moment, while it goes on changing. */
#include "tests/lib/snapshot_bytes.h"
#include "tests/lib/snapshot_case.h"

#include "common/mem.h"

static void test_what_changes_while_it_is_read_is_not_in_it(void **state)
{
    (void)state;
    struct status_table *table = snap_table(), *then = snap_table(), *again = snap_table();
    struct snapshot_head head;
    struct buf bytes;
    bool more = true;
    snap_fill(table, 0);
    snap_fill(then, 0);
    head = snap_head(table);
    buf_init(&bytes, 64u << 20);
    struct frozen_page *page = mem_alloc(sizeof *page);
    assert_non_null(page);
    snap_freeze(table);
    assert_int_equal(status_table_frozen_next(table, page, &more), ERR_NONE);
    assert_true(more && page->number == 0);
    status_table_thaw(table);
    /* Changed before the first page is read, and again before it is written. */
    snap_freeze(table);
    for (uint64_t at = 1; at <= SNAP_LAST; at += 5) {
        struct status_state next = {
            .status = STATUS_RETRYING, .generation = STATUS_GENERATION_MAX, .attempt = 3};
        snap_apply(table, at, at, next, 500000 + at);
        next.attempt = 4;
        snap_apply(table, at, at, next, 600000 + at);
    }
    snap_conflict(table, SNAP_LAST - 1, SNAP_LAST - 1, 1, 700000);
    snap_fill(table, 1);
    assert_int_equal(snap_write_with(table, &head, NULL, &bytes), ERR_NONE);
    status_table_thaw(table);
    assert_int_equal(snap_read_as(buf_view(&bytes), &snap_streams, again, NULL, &head), ERR_NONE);
    assert_same_table(then, again, SNAP_LAST);
    mem_free(page);
    buf_free(&bytes);
    status_table_free(table);
    status_table_free(then);
    status_table_free(again);
}

/* Takes a page, then does something, and takes the rest. */
struct interrupted {
    struct buf *bytes;
    struct status_table *table;
    size_t blocks;
    void (*meanwhile)(struct status_table *table);
};

static enum err add_interrupted(void *ctx, const void *bytes, size_t len)
{
    struct interrupted *i = ctx;
    if (len > FROZEN_PAGE_CELLS && i->blocks++ == 0)
        i->meanwhile(i->table);
    return snapshot_bytes_add(i->bytes, bytes, len);
}

static enum err write_interrupted(struct status_table *table, struct buf *out,
                                  void (*meanwhile)(struct status_table *))
{
    struct snapshot_head head = snap_head(table);
    struct interrupted interrupted = {.bytes = out, .table = table, .meanwhile = meanwhile};
    struct snapshot_sink sink = {.write = add_interrupted, .ctx = &interrupted};
    struct replays_saved none = {0};
    buf_init(out, 64u << 20);
    snap_freeze(table);
    enum err e = snapshot_write(&sink, &snap_streams, &head, table, &none);
    status_table_thaw(table);
    assert_true(interrupted.blocks > 1 || e);
    return e;
}

static void change_all(struct status_table *table)
{
    for (uint64_t at = 1; at <= SNAP_LAST; at++)
        for (unsigned attempt = 1; attempt <= 2; attempt++)
            snap_apply(table, at, at,
                       (struct status_state){.status = STATUS_RETRYING,
                                             .generation = STATUS_GENERATION_MAX,
                                             .attempt = attempt},
                       500000 + at);
}

static void test_a_page_that_was_read_may_change(void **state)
{
    (void)state;
    struct status_table *table = snap_table(), *then = snap_table(), *again = snap_table();
    struct buf bytes;
    snap_fill(table, 0);
    snap_fill(then, 0);
    assert_int_equal(write_interrupted(table, &bytes, change_all), ERR_NONE);
    assert_int_equal(snap_read(&bytes, again), ERR_NONE);
    assert_same_table(then, again, SNAP_LAST);
    change_all(again);
    assert_same_table(table, again, SNAP_LAST);
    buf_free(&bytes);
    status_table_free(table);
    status_table_free(then);
    status_table_free(again);
}

static void forget_two_pages(struct status_table *table)
{
    snap_forget(table, 2 * FROZEN_PAGE_CELLS + 100);
}

static void test_what_is_forgotten_meanwhile_is_forgotten(void **state)
{
    (void)state;
    struct status_table *table = snap_table(), *again = snap_table();
    struct buf bytes;
    snap_fill(table, 0);
    assert_int_equal(write_interrupted(table, &bytes, forget_two_pages), ERR_NONE);
    assert_int_equal(snap_read(&bytes, again), ERR_NONE);
    assert_same_table(table, again, SNAP_LAST);
    buf_free(&bytes);
    status_table_free(table);
    status_table_free(again);
}

static void reset(struct status_table *table)
{
    status_table_write_begin(table);
    status_table_reset(table);
    status_table_write_end(table);
    snap_fill(table, 0);
}

static void test_a_rebuild_ends_the_reading(void **state)
{
    (void)state;
    struct status_table *table = snap_table();
    struct buf bytes;
    snap_fill(table, 0);
    assert_int_equal(write_interrupted(table, &bytes, reset), ERR_CANCELLED);
    buf_free(&bytes);
    status_table_free(table);
}

static void change_too_much(struct status_table *table)
{
    uint64_t at = 3 * FROZEN_PAGE_CELLS - 1; /* not read yet */
    uint32_t changes = 0;
    for (unsigned generation = 0; generation <= STATUS_GENERATION_MAX; generation++)
        for (unsigned attempt = 1; attempt <= STATUS_ATTEMPT_MAX; attempt++)
            for (int alone = 0; alone < 2 && changes <= FROZEN_KEPT_MAX; alone++, changes++)
                snap_apply(table, at, at,
                           (struct status_state){.status = STATUS_PROCESSING,
                                                 .generation = generation,
                                                 .alone = alone,
                                                 .attempt = attempt},
                           changes + 1);
    assert_true(changes > FROZEN_KEPT_MAX);
}

static void test_too_many_changes_end_the_reading(void **state)
{
    (void)state;
    struct status_table *table = snap_table();
    struct buf bytes;
    for (uint64_t at = 1; at <= SNAP_LAST; at++)
        snap_add(table, at, at);
    assert_int_equal(write_interrupted(table, &bytes, change_too_much), ERR_CANCELLED);
    buf_free(&bytes);
    snap_write(table, NULL, &bytes); /* the next one is good */
    buf_free(&bytes);
    status_table_free(table);
}

static void test_a_table_is_frozen_once(void **state)
{
    (void)state;
    struct status_table *table = snap_table();
    snap_freeze(table);
    status_table_write_begin(table);
    assert_int_equal(status_table_freeze(table), ERR_BUSY);
    status_table_write_end(table);
    status_table_thaw(table);
    snap_freeze(table);
    status_table_free(table); /* which may be frozen */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_changes_while_it_is_read_is_not_in_it),
        cmocka_unit_test(test_a_page_that_was_read_may_change),
        cmocka_unit_test(test_what_is_forgotten_meanwhile_is_forgotten),
        cmocka_unit_test(test_a_rebuild_ends_the_reading),
        cmocka_unit_test(test_too_many_changes_end_the_reading),
        cmocka_unit_test(test_a_table_is_frozen_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
