#include "common/event_query.h"

#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include "events.pb-c.h"

#define MAX (16u << 20)

static const struct view ids[] = {{"123", 3}, {"", 0}, {"456", 3}};

static struct event_status status_of(uint8_t number)
{
    return (struct event_status){
        .id = {{number}},
        .state = {.status = (enum status)(number % 5 + 1), .attempt = number, .generation = 1},
        .name = VIEW("order.created"),
        .updated_ms = 1700000000000 + number * 1000,
        .event_position = number,
        .position = 100u + number,
    };
}

static void check_status(const struct event_status *got, const struct event_status *expected)
{
    assert_true(id_equal(&got->id, &expected->id));
    assert_memory_equal(&got->state, &expected->state, sizeof got->state);
    assert_true(view_equal(got->name, expected->name));
    assert_true(got->updated_ms == expected->updated_ms);
    assert_true(got->event_position == expected->event_position);
    assert_true(got->position == expected->position);
    assert_false(got->full);
}

/* ---- requests ---- */

static void a_batch_is_asked_for_as_it_was_written(void **state)
{
    const struct event_batch_request request = {
        .event_ids = ids, .event_id_count = 3, .source = VIEW("/shop"), .min_position = 7};
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct event_status_holder *holder = NULL;
        struct event_batch_request got = {0};
        struct buf b;
        buf_init(&b, MAX);
        enum err e = event_batch_request_write(&request, &b);
        if (!e)
            e = event_batch_request_read(buf_view(&b), &holder, &got);
        buf_free(&b);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        if (e)
            continue;
        assert_int_equal(got.event_id_count, 3);
        for (size_t i = 0; i < 3; i++)
            assert_true(view_equal(got.event_ids[i], ids[i]));
        assert_true(view_equal(got.source, VIEW("/shop")));
        assert_true(got.min_position == 7);
        event_status_holder_free(holder);
    }
}

static void a_page_is_asked_for_as_it_was_written(void **state)
{
    const struct event_list_request request = {.statuses =
                                                   1u << STATUS_DEAD | 1u << STATUS_RETRYING,
                                               .name = VIEW("order.>"),
                                               .accepted_since_ms = 1700000000001,
                                               .accepted_until_ms = 1700000000999,
                                               .page_size = 1000,
                                               .page_token = VIEW("token"),
                                               .min_position = 9};
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct event_status_holder *holder = NULL;
        struct event_list_request got = {0};
        struct buf b;
        buf_init(&b, MAX);
        enum err e = event_list_request_write(&request, &b);
        if (!e)
            e = event_list_request_read(buf_view(&b), &holder, &got);
        buf_free(&b);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        if (e)
            continue;
        assert_int_equal(got.statuses, request.statuses);
        assert_true(view_equal(got.name, request.name));
        assert_true(got.accepted_since_ms == request.accepted_since_ms);
        assert_true(got.accepted_until_ms == request.accepted_until_ms);
        assert_int_equal(got.page_size, 1000);
        assert_true(view_equal(got.page_token, request.page_token));
        assert_true(got.min_position == 9);
        event_status_holder_free(holder);
    }
}

static void nothing_was_stored_before_1970(void **state)
{
    struct event_status_holder *holder = NULL;
    struct event_list_request got = {0};
    (void)state; /* accepted_until: 1970-01-01T00:00:00Z */
    assert_int_equal(event_list_request_read(VIEW("\x22\x00"), &holder, &got), ERR_NONE);
    assert_true(got.accepted_until_ms == 1);
    event_status_holder_free(holder);
}

static void watching_is_asked_for_as_it_was_written(void **state)
{
    const struct event_status_request one = {
        .event_id = VIEW("123"), .source = VIEW("/shop"), .min_position = 5};
    const struct event_changes_request all[] = {
        {0},
        {.has_after = true},
        {.statuses = 1u << STATUS_DEAD,
         .name = VIEW("a.*"),
         .has_after = true,
         .after_position = 8},
    };
    struct event_status_holder *holder = NULL;
    struct event_status_request got_one = {0};
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(event_watch_request_write(&one, &b), ERR_NONE);
    assert_int_equal(event_watch_request_read(buf_view(&b), &holder, &got_one), ERR_NONE);
    assert_true(view_equal(got_one.event_id, one.event_id));
    assert_true(view_equal(got_one.source, one.source));
    assert_true(got_one.min_position == 5 && !got_one.full);
    event_status_holder_free(holder);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct event_changes_request got;
        buf_clear(&b);
        assert_int_equal(event_changes_request_write(&all[i], &b), ERR_NONE);
        assert_int_equal(event_changes_request_read(buf_view(&b), &holder, &got), ERR_NONE);
        assert_int_equal(got.statuses, all[i].statuses);
        assert_true(view_equal(got.name, all[i].name));
        assert_int_equal(got.has_after, all[i].has_after);
        assert_true(got.after_position == all[i].after_position);
        event_status_holder_free(holder);
    }
    buf_free(&b);
}

/* Each takes two bytes of a message, and many of ours. */
static void more_ids_than_are_allowed_are_not_even_unpacked(void **state)
{
    enum { COUNT = 2 << 20 };
    static char bytes[2 * COUNT];
    struct event_status_holder *holder = NULL;
    struct event_batch_request batch;
    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        bytes[2 * i] = '\x0A';
    struct view more = {bytes, 2 * (EVENT_BATCH_MAX + 1)}, most = {bytes, 2 * EVENT_BATCH_MAX};
    uint64_t before = mem_allocations();
    assert_int_equal(event_batch_request_read(more, &holder, &batch), ERR_INVALID);
    assert_true(mem_allocations() == before);
    assert_int_equal(event_batch_request_read(most, &holder, &batch), ERR_NONE);
    assert_int_equal(batch.event_id_count, EVENT_BATCH_MAX);
    event_status_holder_free(holder);
    for (size_t i = 0; i < COUNT; i++)
        bytes[2 * i] = '\x18'; /* a request of that size has too much of anything */
    before = mem_allocations();
    assert_int_equal(event_batch_request_read((struct view){bytes, sizeof bytes}, &holder, &batch),
                     ERR_INVALID);
    assert_true(mem_allocations() == before);
}

static void what_is_no_request_is_refused(void **state)
{
    const struct view broken = VIEW("\x0A\x7F");
    struct event_status_holder *holder = NULL;
    struct event_batch_request batch;
    struct event_list_request list;
    struct event_status_request watch;
    struct event_changes_request changes;
    (void)state;
    assert_int_equal(event_batch_request_read(broken, &holder, &batch), ERR_MALFORMED);
    assert_int_equal(event_batch_request_read(VIEW("\x0A\x02x\0"), &holder, &batch), ERR_MALFORMED);
    assert_int_equal(event_batch_request_read(VIEW("\x0A\x01\xFF"), &holder, &batch),
                     ERR_MALFORMED);
    assert_int_equal(event_batch_request_read(VIEW("\x12\x02/\0"), &holder, &batch), ERR_MALFORMED);
    assert_int_equal(event_list_request_read(broken, &holder, &list), ERR_MALFORMED);
    assert_int_equal(event_list_request_read(VIEW("\x0A\x01\x09"), &holder, &list), ERR_MALFORMED);
    assert_int_equal(event_list_request_read(VIEW("\x0A\x01\x00"), &holder, &list), ERR_MALFORMED);
    assert_int_equal(event_list_request_read(VIEW("\x12\x01\xFF"), &holder, &list), ERR_MALFORMED);
    assert_int_equal(event_list_request_read(VIEW("\x32\x02t\0"), &holder, &list), ERR_MALFORMED);
    assert_int_equal(event_watch_request_read(broken, &holder, &watch), ERR_MALFORMED);
    assert_int_equal(event_watch_request_read(VIEW("\x0A\x02x\0"), &holder, &watch), ERR_MALFORMED);
    assert_int_equal(event_changes_request_read(broken, &holder, &changes), ERR_MALFORMED);
    assert_int_equal(event_changes_request_read(VIEW("\x0A\x01\x07"), &holder, &changes),
                     ERR_MALFORMED);
    assert_int_equal(event_changes_request_read(VIEW("\x12\x02x\0"), &holder, &changes),
                     ERR_MALFORMED);
    assert_null(holder);
}

/* ---- answers ---- */

static void results_keep_their_places(void **state)
{
    const struct event_batch_result results[] = {
        {.event_id = VIEW("123"), .status = status_of(3)},
        {.event_id = VIEW("456"), .e = ERR_NOT_FOUND, .message = VIEW("no event")},
        {.event_id = VIEW(""), .e = ERR_INVALID, .message = VIEW("event_id is empty")},
        {.event_id = VIEW("7"), .e = ERR_UNAVAILABLE, .message = VIEW("the bus is away")},
        {.event_id = VIEW("8"), .e = ERR_STALE, .message = VIEW("?")},
    };
    enum { COUNT = sizeof results / sizeof *results };
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct event_status_holder *holder = NULL;
        const struct event_batch_result *got = NULL;
        size_t count = 0;
        struct buf b;
        buf_init(&b, MAX);
        enum err e = event_batch_write(results, COUNT, &b);
        if (!e)
            e = event_batch_read(buf_view(&b), &holder, &got, &count);
        buf_free(&b);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        if (e)
            continue;
        assert_int_equal(count, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            enum err expected = results[i].e == ERR_STALE ? ERR_INTERNAL : results[i].e;
            assert_true(view_equal(got[i].event_id, results[i].event_id));
            assert_int_equal(got[i].e, expected);
            assert_true(view_equal(got[i].message, results[i].message));
            if (!expected)
                check_status(&got[i].status, &results[i].status);
        }
        event_status_holder_free(holder);
    }
}

static void pages_come_back_as_they_were(void **state)
{
    const struct event_status events[] = {status_of(9), status_of(4)};
    const struct event_page page = {
        .events = events, .count = 2, .next_page_token = VIEW("next"), .position = 77};
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct event_status_holder *holder = NULL;
        struct event_page got;
        struct buf b;
        buf_init(&b, MAX);
        enum err e = event_page_write(&page, &b);
        if (!e)
            e = event_page_read(buf_view(&b), &holder, &got);
        buf_free(&b);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        if (e)
            continue;
        assert_int_equal(got.count, 2);
        check_status(&got.events[0], &events[0]);
        check_status(&got.events[1], &events[1]);
        assert_true(view_equal(got.next_page_token, page.next_page_token));
        assert_true(got.position == 77);
        event_status_holder_free(holder);
    }
}

static void changes_come_back_as_they_were(void **state)
{
    const struct event_status statuses[] = {status_of(4), status_of(9)};
    const struct event_changes changes = {.changes = statuses, .count = 2, .position = 77};
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct event_status_holder *holder = NULL;
        struct event_changes got;
        struct buf b;
        buf_init(&b, MAX);
        enum err e = event_changes_write(&changes, &b);
        if (!e)
            e = event_changes_read(buf_view(&b), &holder, &got);
        buf_free(&b);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        if (e)
            continue;
        assert_int_equal(got.count, 2);
        check_status(&got.changes[0], &statuses[0]);
        check_status(&got.changes[1], &statuses[1]);
        assert_true(got.position == 77);
        event_status_holder_free(holder);
    }
}

static void what_is_no_answer_is_refused(void **state)
{
    /* One result, or one status, with nothing in it: neither a status nor an error; no id. */
    const struct view empty = VIEW("\x0A\x00");
    const struct view broken = VIEW("\x0A\x7F");
    struct event_status_holder *holder = NULL;
    const struct event_batch_result *results;
    struct event_page page;
    struct event_changes changes;
    size_t count;
    (void)state;
    assert_int_equal(event_batch_read(empty, &holder, &results, &count), ERR_MALFORMED);
    assert_int_equal(event_batch_read(broken, &holder, &results, &count), ERR_MALFORMED);
    assert_int_equal(event_page_read(empty, &holder, &page), ERR_MALFORMED);
    assert_int_equal(event_page_read(broken, &holder, &page), ERR_MALFORMED);
    assert_int_equal(event_changes_read(empty, &holder, &changes), ERR_MALFORMED);
    assert_int_equal(event_changes_read(broken, &holder, &changes), ERR_MALFORMED);
    assert_null(holder);
}

static void empty_answers_are_answers(void **state)
{
    struct event_status_holder *holder = NULL;
    const struct event_batch_result *results;
    struct event_page page;
    struct event_changes changes;
    size_t count = 9;
    (void)state;
    assert_int_equal(event_batch_read(VIEW(""), &holder, &results, &count), ERR_NONE);
    assert_int_equal(count, 0);
    event_status_holder_free(holder);
    assert_int_equal(event_page_read(VIEW(""), &holder, &page), ERR_NONE);
    assert_int_equal(page.count + page.next_page_token.len, 0);
    event_status_holder_free(holder);
    assert_int_equal(event_changes_read(VIEW(""), &holder, &changes), ERR_NONE);
    assert_int_equal(changes.count, 0);
    event_status_holder_free(holder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_asked_for_as_it_was_written),
        cmocka_unit_test(a_page_is_asked_for_as_it_was_written),
        cmocka_unit_test(nothing_was_stored_before_1970),
        cmocka_unit_test(watching_is_asked_for_as_it_was_written),
        cmocka_unit_test(more_ids_than_are_allowed_are_not_even_unpacked),
        cmocka_unit_test(what_is_no_request_is_refused),
        cmocka_unit_test(results_keep_their_places),
        cmocka_unit_test(pages_come_back_as_they_were),
        cmocka_unit_test(changes_come_back_as_they_were),
        cmocka_unit_test(what_is_no_answer_is_refused),
        cmocka_unit_test(empty_answers_are_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
