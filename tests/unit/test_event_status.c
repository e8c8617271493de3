#include "common/event_status.h"

#include "common/mem.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include "events.pb-c.h"

#include <stdlib.h>

#define MAX (16u << 20)

static const char id_text[] = "01890a5d-ac96-774b-bcce-b302099a8057";

static const struct event_status_change history[] = {
    {.state = {.status = STATUS_ACCEPTED}, .time_ms = 1700000000123, .position = 42},
    {.state = {.status = STATUS_RETRYING, .attempt = 1, .generation = 2},
     .time_ms = 1700000001456,
     .position = 7,
     .processor = {"host-1", 6},
     .error = {"connection refused", 18}},
    {.state = {.status = STATUS_DEAD, .attempt = 2, .generation = 2},
     .time_ms = 1700000002789,
     .position = 9,
     .processor = {"host-2", 6},
     .error = {"gave up", 7}},
};

static const struct event_extension extensions[] = {
    {{"custom", 6}, {"caf\xC3\xA9 \"7\"", 9}},
    {{"empty", 5}, {"", 0}},
    {{"z", 1}, {"-1", 2}},
};

static struct event_status full_status(void)
{
    struct event_status status = {
        .state = {.status = STATUS_DEAD, .attempt = 2, .generation = 2},
        .name = VIEW("order.created"),
        .updated_ms = 1700000002789,
        .event_position = 42,
        .position = 9,
        .full = true,
        .producer_id = VIEW("123"),
        .source = VIEW("/shop"),
        .key = VIEW("customer-7"),
        .content_type = VIEW("application/json"),
        .subject = VIEW("order 7"),
        .dataschema = VIEW("https://example.com/order"),
        .extensions = extensions,
        .extension_count = 3,
        .payload = {"{\"a\":\0}", 7}, /* bytes, whatever they are */
        .has_time = true,
        .time_ms = 1699999999999,
        .history = history,
        .history_count = 3,
    };
    assert_true(id_parse(view_of(id_text), &status.id));
    return status;
}

static struct event_status basic_status(void)
{
    struct event_status status = full_status();
    struct event_status basic = {
        .id = status.id,
        .state = status.state,
        .name = status.name,
        .updated_ms = 1700000002000,
        .event_position = 42,
        .position = 9,
    };
    return basic;
}

static void check_change(const struct event_status_change *got,
                         const struct event_status_change *expected)
{
    assert_memory_equal(&got->state, &expected->state, sizeof got->state);
    assert_true(got->time_ms == expected->time_ms);
    assert_true(got->position == expected->position);
    assert_true(view_equal(got->processor, expected->processor));
    assert_true(view_equal(got->error, expected->error));
}

static void check_status(const struct event_status *got, const struct event_status *expected)
{
    assert_true(id_equal(&got->id, &expected->id));
    assert_memory_equal(&got->state, &expected->state, sizeof got->state);
    assert_true(view_equal(got->name, expected->name));
    assert_true(got->updated_ms == expected->updated_ms);
    assert_true(got->event_position == expected->event_position);
    assert_true(got->position == expected->position);
    assert_int_equal(got->full, expected->full);
    assert_true(view_equal(got->producer_id, expected->producer_id));
    assert_true(view_equal(got->source, expected->source));
    assert_true(view_equal(got->key, expected->key));
    assert_true(view_equal(got->content_type, expected->content_type));
    assert_true(view_equal(got->subject, expected->subject));
    assert_true(view_equal(got->dataschema, expected->dataschema));
    assert_int_equal(got->extension_count, expected->extension_count);
    for (size_t i = 0; i < expected->extension_count; i++) {
        assert_true(view_equal(got->extensions[i].name, expected->extensions[i].name));
        assert_true(view_equal(got->extensions[i].value, expected->extensions[i].value));
    }
    assert_true(view_equal(got->payload, expected->payload));
    assert_true(got->has_time == expected->has_time);
    assert_true(got->time_ms == expected->time_ms);
    assert_int_equal(got->history_count, expected->history_count);
    for (size_t i = 0; i < expected->history_count; i++)
        check_change(&got->history[i], &expected->history[i]);
}

static void check_round_trip(const struct event_status *status)
{
    struct buf b;
    struct event_status got;
    struct event_status_holder *holder = NULL;
    buf_init(&b, MAX);
    assert_int_equal(event_status_write(status, &b), ERR_NONE);
    assert_int_equal(event_status_read(buf_view(&b), &holder, &got), ERR_NONE);
    buf_free(&b); /* nothing decoded may point into the bytes */
    check_status(&got, status);
    event_status_holder_free(holder);
}

static void statuses_come_back_as_they_were(void **state)
{
    struct event_status status = full_status();
    (void)state;
    check_round_trip(&status);
    status = basic_status();
    check_round_trip(&status);
    status.state = (struct status_state){.status = STATUS_ACCEPTED};
    check_round_trip(&status);
}

static void times_before_1970_and_at_the_ends_of_the_calendar(void **state)
{
    static const int64_t times[] = {-1, -999, -1000,           -1001,
                                    1,  999,  253402300799999, -62135596800000};
    struct event_status status = basic_status();
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        status.updated_ms = times[i];
        check_round_trip(&status);
    }
}

static void what_grpcurl_shows_is_what_the_protocol_says(void **state)
{
    struct event_status status = full_status();
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(event_status_write(&status, &b), ERR_NONE);
    Events__EventStatus *m = events__event_status__unpack(NULL, b.len, (uint8_t *)b.data);
    assert_non_null(m);
    assert_string_equal(m->event_id, id_text);
    assert_int_equal(m->status, EVENTS__EVENT_STATUS__STATUS__DEAD);
    assert_true(m->updated_at->seconds == 1700000002 && m->updated_at->nanos == 789000000);
    assert_int_equal(m->n_history, 3);
    assert_string_equal(m->history[0]->processor, "");
    assert_string_equal(m->error, "gave up");
    assert_string_equal(m->subject, "order 7");
    assert_string_equal(m->dataschema, "https://example.com/order");
    assert_int_equal(m->n_extensions, 3);
    assert_string_equal(m->extensions[0]->key, "custom");
    assert_string_equal(m->extensions[0]->value, "caf\xC3\xA9 \"7\"");
    assert_string_equal(m->extensions[1]->value, "");
    events__event_status__free_unpacked(m, NULL);
    buf_free(&b);
}

static void unknown_times_are_left_out(void **state)
{
    struct event_status status = full_status();
    struct buf b;
    (void)state;
    status.has_time = false;
    buf_init(&b, MAX);
    assert_int_equal(event_status_write(&status, &b), ERR_NONE);
    Events__EventStatus *m = events__event_status__unpack(NULL, b.len, (uint8_t *)b.data);
    assert_non_null(m);
    assert_null(m->time);
    events__event_status__free_unpacked(m, NULL);
    buf_free(&b);
}

static void text_is_made_utf8(void **state)
{
    struct event_status status = full_status();
    struct event_status got;
    struct event_status_holder *holder = NULL;
    struct buf b;
    (void)state;
    status.source = VIEW("bad \xFF");
    status.key = (struct view){"a\0b", 3};
    buf_init(&b, MAX);
    assert_int_equal(event_status_write(&status, &b), ERR_NONE);
    assert_int_equal(event_status_read(buf_view(&b), &holder, &got), ERR_NONE);
    assert_true(view_equal(got.source, VIEW("bad \xEF\xBF\xBD")));
    assert_true(view_equal(got.key, VIEW("a\xEF\xBF\xBD"
                                         "b")));
    event_status_holder_free(holder);
    buf_free(&b);
}

static void basic_answers_allocate_nothing(void **state)
{
    struct event_status status = basic_status();
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(event_status_write(&status, &b), ERR_NONE);
    buf_clear(&b);
    uint64_t before = mem_allocations();
    assert_int_equal(event_status_write(&status, &b), ERR_NONE);
    assert_true(mem_allocations() == before);
    buf_free(&b);
}

/* ---- requests ---- */

static void requests_come_back_as_they_were(void **state)
{
    struct event_status_request request = {.event_id = VIEW("123"),
                                           .source = VIEW("/shop"),
                                           .full = true,
                                           .min_position = UINT64_MAX},
                                got;
    struct event_status_holder *holder = NULL;
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(event_status_request_write(&request, &b), ERR_NONE);
    assert_int_equal(event_status_request_read(buf_view(&b), &holder, &got), ERR_NONE);
    buf_free(&b);
    assert_true(view_equal(got.event_id, VIEW("123")));
    assert_true(view_equal(got.source, VIEW("/shop")));
    assert_true(got.full);
    assert_true(got.min_position == UINT64_MAX);
    event_status_holder_free(holder);
}

static void an_empty_request_is_basic(void **state)
{
    struct event_status_request got;
    struct event_status_holder *holder = NULL;
    (void)state;
    assert_int_equal(event_status_request_read(VIEW(""), &holder, &got), ERR_NONE);
    assert_int_equal(got.event_id.len, 0);
    assert_int_equal(got.source.len, 0);
    assert_false(got.full);
    assert_true(got.min_position == 0);
    event_status_holder_free(holder);
}

static enum err read_request(struct view bytes)
{
    struct event_status_request got;
    struct event_status_holder *holder = NULL;
    enum err e = event_status_request_read(bytes, &holder, &got);
    if (e == ERR_NONE)
        event_status_holder_free(holder);
    else
        assert_null(holder);
    return e;
}

static void requests_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    assert_int_equal(read_request(VIEW("\x10\x02")), ERR_NONE);      /* view: FULL */
    assert_int_equal(read_request(VIEW("\x10\x03")), ERR_MALFORMED); /* no such view */
    assert_int_equal(read_request(VIEW("\x10\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01")),
                     ERR_MALFORMED);                                     /* view: -1 */
    assert_int_equal(read_request(VIEW("\x0A\x01\xFF")), ERR_MALFORMED); /* id: not UTF-8 */
    assert_int_equal(read_request(VIEW("\x22\x01\xFF")), ERR_MALFORMED); /* source: the same */
    assert_int_equal(read_request(VIEW("\x0A\x7F"
                                       "abc")),
                     ERR_MALFORMED); /* id: cut */
    assert_int_equal(read_request(VIEW("{\"event_id\":\"1\"}")), ERR_MALFORMED);
    assert_int_equal(read_request(VIEW("\x9A\x06\x03xyz")), ERR_NONE); /* an unknown member */
}

/* protobuf-c would end the id there, and it might be another event's. */
static void ids_with_nul_are_refused(void **state)
{
    (void)state;
    assert_int_equal(read_request(VIEW("\x0A\x03"
                                       "a\0b")),
                     ERR_MALFORMED);
    assert_int_equal(read_request(VIEW("\x0A\x02"
                                       "a\0")),
                     ERR_MALFORMED);
    assert_int_equal(read_request(VIEW("\x0A\x01"
                                       "a\x22\x03"
                                       "b\0c")),
                     ERR_MALFORMED); /* nor is a source cut there */
    /* behind members of each kind, its length and tag longer than they need be */
    assert_int_equal(read_request(VIEW("\x18\xAC\x02\x9A\x06\x03xyz\xA1\x06"
                                       "12345678\xAD\x06"
                                       "1234\x8A\x00\x82\x00\0b")),
                     ERR_MALFORMED);
    /* NULs elsewhere are nobody's business */
    assert_int_equal(read_request(VIEW("\x0A\x01"
                                       "a\x18\0\x9A\x06\x01\0")),
                     ERR_NONE);
}

/* ---- statuses that aren't ---- */

static enum err read_message(const Events__EventStatus *m)
{
    uint8_t bytes[1024];
    struct event_status got;
    struct event_status_holder *holder = NULL;
    assert_true(events__event_status__get_packed_size(m) <= sizeof bytes);
    size_t len = events__event_status__pack(m, bytes);
    enum err e = event_status_read((struct view){(const char *)bytes, len}, &holder, &got);
    if (e == ERR_NONE)
        event_status_holder_free(holder);
    else
        assert_null(holder);
    return e;
}

static void statuses_that_make_no_sense_are_refused(void **state)
{
    Events__EventStatus m;
    Events__StatusChange change;
    Events__StatusChange *changes = &change;
    Google__Protobuf__Timestamp time;
    (void)state;
    events__event_status__init(&m);
    events__status_change__init(&change);
    google__protobuf__timestamp__init(&time);
    m.event_id = (char *)id_text;
    m.status = EVENTS__EVENT_STATUS__STATUS__PROCESSED;
    assert_int_equal(read_message(&m), ERR_NONE);

    m.event_id = "123";
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    m.event_id = (char *)id_text;
    m.status = EVENTS__EVENT_STATUS__STATUS__STATUS_UNSPECIFIED;
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    m.status = (Events__EventStatus__Status)(STATUS_COUNT);
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    m.status = EVENTS__EVENT_STATUS__STATUS__PROCESSED;
    m.attempt = STATUS_ATTEMPT_MAX + 1;
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    m.attempt = 0;
    m.generation = STATUS_GENERATION_MAX + 1;
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    m.generation = 0;

    m.updated_at = &time;
    time.nanos = -1;
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    time.nanos = 1000000000;
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    time.nanos = 0;
    time.seconds = INT64_MAX;
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    time.seconds = INT64_MIN;
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    time.seconds = 0;
    assert_int_equal(read_message(&m), ERR_NONE);

    m.n_history = 1;
    m.history = &changes;
    assert_int_equal(read_message(&m), ERR_MALFORMED); /* a change without a status */
    change.status = EVENTS__EVENT_STATUS__STATUS__ACCEPTED;
    assert_int_equal(read_message(&m), ERR_NONE);
}

/* ---- memory ---- */

static void short_memory_is_told_and_nothing_leaks(void **state)
{
    struct event_status status = full_status();
    struct event_status_request request = {.event_id = VIEW("123"), .full = true};
    struct event_stats stats = {.processor = VIEW("p"), .group = VIEW("g")};
    struct buf sound;
    char long_text[5000]; /* beyond what is kept on the stack */
    (void)state;
    memset(long_text, 'x', sizeof long_text);
    status.source = (struct view){long_text, sizeof long_text};
    request.event_id = request.source = stats.group = status.source;
    buf_init(&sound, MAX);
    assert_int_equal(event_status_write(&status, &sound), ERR_NONE);
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct buf b;
        buf_init(&b, MAX);
        enum err e = event_status_write(&status, &b);
        if (e == ERR_NONE)
            e = event_status_request_write(&request, &b);
        if (e == ERR_NONE)
            e = event_stats_write(&stats, &b);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        buf_free(&b);
    }
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct event_status got;
        struct event_status_holder *holder = NULL;
        enum err e = event_status_read(buf_view(&sound), &holder, &got);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        event_status_holder_free(holder);
    }
    buf_free(&sound);
}

static void a_status_cut_anywhere_reads_nothing_beyond_its_end(void **state)
{
    struct event_status status = full_status();
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(event_status_write(&status, &b), ERR_NONE);
    for (size_t len = 0; len < b.len; len++) {
        struct event_status got;
        struct event_status_holder *holder = NULL;
        char *copy = malloc(len + 1);
        memcpy(copy, b.data, len);
        enum err e = event_status_read((struct view){copy, len}, &holder, &got);
        free(copy);
        assert_true(e == ERR_NONE || e == ERR_MALFORMED);
        event_status_holder_free(holder);
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_come_back_as_they_were),
        cmocka_unit_test(times_before_1970_and_at_the_ends_of_the_calendar),
        cmocka_unit_test(what_grpcurl_shows_is_what_the_protocol_says),
        cmocka_unit_test(unknown_times_are_left_out),
        cmocka_unit_test(text_is_made_utf8),
        cmocka_unit_test(basic_answers_allocate_nothing),
        cmocka_unit_test(requests_come_back_as_they_were),
        cmocka_unit_test(an_empty_request_is_basic),
        cmocka_unit_test(requests_that_make_no_sense_are_refused),
        cmocka_unit_test(ids_with_nul_are_refused),
        cmocka_unit_test(statuses_that_make_no_sense_are_refused),
        cmocka_unit_test(short_memory_is_told_and_nothing_leaks),
        cmocka_unit_test(a_status_cut_anywhere_reads_nothing_beyond_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
