/* Snapshots: their bytes, and the table that is made of them. */
#include "tests/lib/each_failure.h"
#include "tests/lib/snapshot_bytes.h"
#include "tests/lib/snapshot_case.h"

#include <stdio.h>

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};
/* ---- round trips ---- */

static void test_a_table_of_every_kind_of_cell_comes_back(void **state)
{
    (void)state;
    struct status_table *table = snap_table(), *again = snap_table();
    struct snapshot_head head;
    struct buf bytes;
    snap_fill(table, 0);
    snap_forget(table, 100);
    snap_write(table, NULL, &bytes);
    assert_int_equal(snap_read_as(buf_view(&bytes), &snap_streams, again, NULL, &head), ERR_NONE);
    assert_same_table(table, again, SNAP_LAST);
    struct snapshot_head before = snap_head(table);
    assert_memory_equal(&head, &before, sizeof head);
    /* and goes on as the other does */
    snap_fill(table, 1);
    snap_fill(again, 1);
    snap_forget(table, FROZEN_PAGE_CELLS);
    snap_forget(again, FROZEN_PAGE_CELLS);
    assert_same_table(table, again, 2 * SNAP_LAST);
    buf_free(&bytes);
    status_table_free(table);
    status_table_free(again);
}

/* The reader, and what readers of the table see meanwhile. */
struct watched {
    struct snapshot_bytes bytes;
    struct status_table *table;
    size_t looks;
};

static enum err take_watched(void *ctx, void *bytes, size_t len, size_t *ret_len)
{
    struct watched *watched = ctx;
    struct status_table_stats stats;
    if (watched->bytes.left.len > 0) { /* else the writers' lock is held */
        status_table_stats(watched->table, 0, &stats);
        assert_int_equal(stats.events + stats.copies, 0);
        assert_true(stats.digest == 0 && stats.reflects.event_position == 0);
        watched->looks++;
    }
    return snapshot_bytes_take(&watched->bytes, bytes, len, ret_len);
}

static void test_nothing_counts_before_all_is_loaded(void **state)
{
    (void)state;
    struct status_table *table = snap_table(), *again = snap_table();
    struct snapshot_head head;
    struct err_detail detail;
    struct buf bytes;
    snap_fill(table, 0);
    snap_write(table, NULL, &bytes);
    struct watched watched = {{buf_view(&bytes)}, again, 0};
    struct snapshot_source source = {.read = take_watched, .ctx = &watched};
    assert_int_equal(snapshot_read(&source, &snap_streams, again, NULL, &head, &detail), ERR_NONE);
    assert_true(watched.looks > 10);
    assert_same_table(table, again, SNAP_LAST);
    buf_free(&bytes);
    status_table_free(table);
    status_table_free(again);
}

static void test_an_empty_table_comes_back(void **state)
{
    (void)state;
    struct status_table *table = snap_table(), *again = snap_table();
    struct buf bytes;
    snap_write(table, NULL, &bytes);
    assert_int_equal(snap_read(&bytes, again), ERR_NONE);
    assert_empty_table(again);
    snap_fill(table, 0);
    snap_fill(again, 0);
    assert_same_table(table, again, SNAP_LAST);
    buf_free(&bytes);
    status_table_free(table);
    status_table_free(again);
}

static void test_many_names_come_back_by_other_numbers(void **state)
{
    (void)state;
    enum { NAMES = 3000 };
    struct status_table *table = snap_table(), *again = snap_table();
    struct buf bytes;
    char name[EVENT_NAME_MAX + 1];
    for (int to = 0; to < 2; to++) /* the other one has some of them already, turned round */
        for (uint64_t i = 1; i <= NAMES; i++) {
            struct event_id id = snap_id(i);
            int len = snprintf(name, sizeof name, "%0*u", 100, (unsigned)(to ? NAMES - i : i));
            status_table_write_begin(to ? again : table);
            assert_int_equal(
                status_table_add(to ? again : table, i, &id, (struct view){name, (size_t)len}, 0),
                ERR_NONE);
            status_table_passed_event(to ? again : table, i);
            status_table_write_end(to ? again : table);
        }
    snap_write(table, NULL, &bytes);
    status_table_write_begin(again);
    status_table_reset(again);
    status_table_write_end(again);
    assert_int_equal(snap_read(&bytes, again), ERR_NONE);
    assert_same_table(table, again, NAMES);
    buf_free(&bytes);
    status_table_free(table);
    status_table_free(again);
}

static void assert_same_replay(const struct replay *a, const struct replay *b)
{
    assert_true(id_equal(&a->id, &b->id) && a->state == b->state);
    assert_true(a->begin_position == b->begin_position && a->started_ms == b->started_ms);
    assert_true(a->updated_ms == b->updated_ms && a->cursor == b->cursor);
    assert_true(a->letter_cursor == b->letter_cursor && a->replayed == b->replayed);
    assert_true(a->skipped == b->skipped);
    assert_string_equal(a->runner, b->runner);
    const struct replay_filter *one = replay_plan_filter(a->plan);
    const struct replay_filter *other = replay_plan_filter(b->plan);
    assert_true(one->event_id_count == other->event_id_count && one->rate == other->rate);
    assert_memory_equal(one->event_ids, other->event_ids,
                        one->event_id_count * sizeof *one->event_ids);
    assert_true(one->letter_count == other->letter_count);
    assert_memory_equal(one->letters, other->letters, one->letter_count * sizeof *one->letters);
    assert_true(view_equal(one->name, other->name) && one->to_position == other->to_position);
}

static void assert_same_replays(struct replays *a, struct replays *b)
{
    struct replays_saved one, other;
    assert_int_equal(replays_save(a, &one), ERR_NONE);
    assert_int_equal(replays_save(b, &other), ERR_NONE);
    assert_int_equal(one.count, other.count);
    for (size_t i = 0; i < one.count; i++) {
        assert_same_replay(&one.list[i].replay, &other.list[i].replay);
        assert_int_equal(one.list[i].ended, other.list[i].ended);
    }
    assert_int_equal(replays_running(a), replays_running(b));
    replays_saved_free(&one);
    replays_saved_free(&other);
}

static void end_replay(struct replays *replays, uint32_t n, uint64_t position)
{
    struct replay_change end = {.id = snap_id(n),
                                .state = n % 2 ? REPLAY_DONE : REPLAY_CANCELLED,
                                .time_ms = 5000,
                                .cursor = 77,
                                .letter_cursor = 8,
                                .replayed = n,
                                .skipped = 3,
                                .runner = VIEW("second")};
    snap_change_replay(replays, end, position);
}

static void test_replays_come_back_and_go_on(void **state)
{
    (void)state;
    struct replays *replays, *back;
    struct status_table *table = snap_table(), *again = snap_table();
    struct snapshot_head head;
    struct buf bytes;
    assert_int_equal(replays_new(&replays), ERR_NONE);
    assert_int_equal(replays_new(&back), ERR_NONE);
    snap_apply(table, 1, 1, processed, 100); /* passes that position */
    for (uint32_t n = 1; n <= 6; n++)
        snap_change_replay(replays, snap_replay(n), n);
    end_replay(replays, 4, 20);
    end_replay(replays, 1, 21);
    snap_write(table, replays, &bytes);
    assert_int_equal(snap_read_as(buf_view(&bytes), &snap_streams, again, back, &head), ERR_NONE);
    assert_same_replays(replays, back);
    /* and the first to end is forgotten first, as before */
    for (uint32_t n = 100; n < 100 + REPLAYS_KEPT - 1; n++) {
        snap_change_replay(replays, snap_replay(n), n);
        snap_change_replay(back, snap_replay(n), n);
        end_replay(replays, n, 2 * n);
        end_replay(back, n, 2 * n);
    }
    struct replay found;
    struct event_id gone = snap_id(4);
    assert_false(replays_find(back, &gone, &found));
    assert_same_replays(replays, back);
    buf_free(&bytes);
    replays_free(replays);
    replays_free(back);
    status_table_free(table);
    status_table_free(again);
}

/* ---- damage ---- */

static void write_small(struct buf *bytes)
{
    struct status_table *table = snap_table();
    struct replays *replays;
    assert_int_equal(replays_new(&replays), ERR_NONE);
    for (uint64_t at = 1; at <= 4; at++)
        snap_add(table, at, at == 4 ? 3 : at);
    snap_apply(table, 2, 2, processed, 9);
    snap_conflict(table, 4, 3, 3, 10);
    snap_change_replay(replays, snap_replay(1), 5);
    snap_write(table, replays, bytes);
    replays_free(replays);
    status_table_free(table);
}

static void test_a_snapshot_that_was_cut_is_refused(void **state)
{
    (void)state;
    struct status_table *table = snap_table();
    struct replays *replays;
    struct snapshot_head head;
    struct buf bytes;
    assert_int_equal(replays_new(&replays), ERR_NONE);
    write_small(&bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        assert_int_equal(
            snap_read_as((struct view){bytes.data, len}, &snap_streams, table, replays, &head),
            ERR_MALFORMED);
        assert_empty_table(table);
        assert_int_equal(replays_running(replays), 0);
    }
    buf_add(&bytes, "", 1);
    assert_int_equal(snap_read_as(buf_view(&bytes), &snap_streams, table, replays, &head),
                     ERR_MALFORMED);
    assert_empty_table(table);
    buf_free(&bytes);
    replays_free(replays);
    status_table_free(table);
}

static void test_a_bit_that_flipped_is_noticed(void **state)
{
    (void)state;
    struct status_table *table = snap_table();
    struct buf bytes;
    write_small(&bytes);
    for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
        bytes.data[bit / 8] = (char)(bytes.data[bit / 8] ^ 1 << bit % 8);
        enum err e = snap_read(&bytes, table);
        assert_true(e == ERR_MALFORMED || e == ERR_UNIMPLEMENTED);
        assert_empty_table(table);
        bytes.data[bit / 8] = (char)(bytes.data[bit / 8] ^ 1 << bit % 8);
    }
    assert_int_equal(snap_read(&bytes, table), ERR_NONE);
    buf_free(&bytes);
    status_table_free(table);
}

static void test_another_version_is_refused(void **state)
{
    (void)state;
    struct status_table *table = snap_table();
    struct buf bytes;
    write_small(&bytes);
    bytes.data[SNAPSHOT_MAGIC_SIZE] = SNAPSHOT_VERSION + 1;
    snapshot_bytes_seal(&bytes);
    assert_int_equal(snap_read(&bytes, table), ERR_UNIMPLEMENTED);
    assert_empty_table(table);
    buf_free(&bytes);
    status_table_free(table);
}

static void test_another_stream_is_refused(void **state)
{
    (void)state;
    static const struct snapshot_streams others[] = {
        {.events = {"S_EVENTS", 8}, .statuses = {"S_STATUT", 8}},
        {.events = {"S_EVENTT", 8}, .statuses = {"S_STATUS", 8}},
        {.events = {"S_EVENT", 7}, .statuses = {"S_STATUS", 8}}};
    struct status_table *table = snap_table();
    struct snapshot_head head;
    struct buf bytes;
    write_small(&bytes);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(snap_read_as(buf_view(&bytes), &others[i], table, NULL, &head), ERR_STALE);
        assert_empty_table(table);
    }
    buf_free(&bytes);
    status_table_free(table);
}

/* A number of a block's bytes, all sums right. */
static void assert_refused_with(uint32_t kind, size_t offset, uint8_t value)
{
    struct status_table *table = snap_table();
    struct replays *replays;
    struct snapshot_head head;
    struct buf bytes;
    assert_int_equal(replays_new(&replays), ERR_NONE);
    write_small(&bytes);
    size_t at = SNAPSHOT_MAGIC_SIZE + 4;
    while (snapshot_number(bytes.data + at, 4) != kind)
        at += 12 + snapshot_number(bytes.data + at + 4, 4);
    bytes.data[at + offset] = (char)value;
    snapshot_bytes_seal(&bytes);
    assert_int_equal(snap_read_as(buf_view(&bytes), &snap_streams, table, replays, &head),
                     ERR_MALFORMED);
    assert_empty_table(table);
    assert_int_equal(replays_running(replays), 0);
    buf_free(&bytes);
    replays_free(replays);
    status_table_free(table);
}

static void test_what_cannot_be_is_refused_with_the_right_sums_too(void **state)
{
    (void)state;
    const size_t cells = 8 + 8 + FROZEN_PAGE_CELLS / 8; /* in a page's block */
    assert_refused_with(SNAPSHOT_PAGE, 0, SNAPSHOT_END);
    assert_refused_with(SNAPSHOT_PAGE, 0, 77);
    assert_refused_with(SNAPSHOT_NAMES, 8, 200);         /* longer than its block */
    assert_refused_with(SNAPSHOT_REPLAY, 8, 11);         /* begun after the end */
    assert_refused_with(SNAPSHOT_REPLAY, 8 + 16, 1);     /* ended, but running */
    assert_refused_with(SNAPSHOT_PAGE, 8, 1);            /* beyond the event log's position */
    assert_refused_with(SNAPSHOT_PAGE, 8 + 7, 1);        /* beyond any position */
    assert_refused_with(SNAPSHOT_PAGE, 8 + 8, 0x3e);     /* a cell too many */
    assert_refused_with(SNAPSHOT_PAGE, 8 + 8, 0x0e);     /* a cell too few */
    assert_refused_with(SNAPSHOT_PAGE, cells + 16, 99);  /* a change after the position */
    assert_refused_with(SNAPSHOT_PAGE, cells + 23, 0);   /* no status */
    assert_refused_with(SNAPSHOT_PAGE, cells + 23, 7);   /* a status that does not exist */
    assert_refused_with(SNAPSHOT_PAGE, cells + 30, 250); /* a name that does not exist */
    assert_refused_with(SNAPSHOT_PAGE, cells + 33, 2);   /* an unknown flag */
    assert_refused_with(SNAPSHOT_END, 8, 5);             /* cells that are missing */
    assert_refused_with(SNAPSHOT_END, 8 + 8 + 7, 1);     /* no position at all */
}

/* ---- failures ---- */

static enum err fail_to_write(void *ctx, const void *bytes, size_t len)
{
    size_t *left = ctx;
    (void)bytes;
    if (len > *left)
        return ERR_FULL;
    *left -= len;
    return ERR_NONE;
}

static void test_an_error_of_the_sink_ends_the_writing(void **state)
{
    (void)state;
    struct status_table *table = snap_table();
    struct snapshot_head head;
    struct replays_saved none = {0};
    struct buf bytes;
    snap_fill(table, 0);
    head = snap_head(table);
    snap_write(table, NULL, &bytes);
    for (size_t room = 0; room < bytes.len; room += 1 + bytes.len / 100) {
        size_t left = room;
        struct snapshot_sink sink = {.write = fail_to_write, .ctx = &left};
        snap_freeze(table);
        assert_int_equal(snapshot_write(&sink, &snap_streams, &head, table, &none), ERR_FULL);
        status_table_thaw(table);
    }
    buf_free(&bytes);
    status_table_free(table);
}

static void test_memory_that_is_short_ends_it(void **state)
{
    (void)state;
    struct status_table *table = snap_table();
    struct replays *replays, *back;
    struct snapshot_head head;
    struct buf bytes, copy;
    assert_int_equal(replays_new(&replays), ERR_NONE);
    assert_int_equal(replays_new(&back), ERR_NONE);
    snap_fill(table, 0);
    snap_change_replay(replays, snap_replay(1), 5);
    snap_write(table, replays, &bytes);
    head = snap_head(table);
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        buf_init(&copy, 64u << 20);
        status_table_write_begin(table);
        enum err e = status_table_freeze(table);
        status_table_write_end(table);
        if (!e) {
            e = snap_write_with(table, &head, replays, &copy);
            status_table_thaw(table);
        }
        assert_int_equal(e, each_failure_end(&f) ? ERR_MEMORY : ERR_NONE);
        buf_free(&copy);
    }
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct status_table *again;
        enum err e = status_table_new(&again);
        bool made = !e;
        if (made)
            e = snap_read_as(buf_view(&bytes), &snap_streams, again, back, &head);
        bool failed = each_failure_end(&f);
        /* a name that has no room shares one with others, as ever */
        assert_true(e == ERR_NONE || (failed && e == ERR_MEMORY));
        if (made && e)
            assert_empty_table(again);
        if (made && !e && !failed)
            assert_same_table(table, again, SNAP_LAST);
        if (made)
            status_table_free(again);
        replays_reset(back);
        if (f.round > 60 && failed) /* what follows are segments and shards of the index alike */
            f.round += f.round / 2;
    }
    buf_free(&bytes);
    replays_free(replays);
    replays_free(back);
    status_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_table_of_every_kind_of_cell_comes_back),
        cmocka_unit_test(test_nothing_counts_before_all_is_loaded),
        cmocka_unit_test(test_an_empty_table_comes_back),
        cmocka_unit_test(test_many_names_come_back_by_other_numbers),
        cmocka_unit_test(test_replays_come_back_and_go_on),
        cmocka_unit_test(test_a_snapshot_that_was_cut_is_refused),
        cmocka_unit_test(test_a_bit_that_flipped_is_noticed),
        cmocka_unit_test(test_another_version_is_refused),
        cmocka_unit_test(test_another_stream_is_refused),
        cmocka_unit_test(test_what_cannot_be_is_refused_with_the_right_sums_too),
        cmocka_unit_test(test_an_error_of_the_sink_ends_the_writing),
        cmocka_unit_test(test_memory_that_is_short_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
