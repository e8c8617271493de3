#include "tests/lib/bus_conformance.h"
#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct bus_reader *open_reader(struct bus_fixture *f, uint64_t from, bool headers_only)
{
    struct bus_reader *reader = NULL;
    assert_int_equal(bus_reader_open(f->log, from, headers_only, &reader), ERR_NONE);
    return reader;
}

/* Calls bus_reader_next until it says something else than "not now". */
static enum err next_verdict(struct bus_reader *reader)
{
    struct bus_record *records[16];
    size_t count = 0;
    enum err e = ERR_DEADLINE;
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    while ((e == ERR_DEADLINE || e == ERR_UNAVAILABLE) && test_now_ms() < limit)
        e = bus_reader_next(reader, 100, records, 16, &count);
    return e;
}

static void an_empty_log_ends_before_it_begins(void **state)
{
    struct bus_fixture f;
    struct bus_log_end end;
    struct bus_record *last;
    bus_fixture_begin(&f, *state, NULL);
    assert_int_equal(bus_log_end(f.log, TEST_LIMIT_MS, &end), ERR_NONE);
    assert_int_equal(end.first, 1);
    assert_int_equal(end.last, 0);
    assert_int_equal(end.last_time_ms, 0);
    assert_int_equal(end.count, 0);
    assert_int_equal(end.max_age_ms, 0);
    assert_true(end.created_ns > 0);
    int64_t created = end.created_ns;
    bus_fixture_publish_many(&f, 1, 3);
    assert_int_equal(bus_log_end(f.log, TEST_LIMIT_MS, &end), ERR_NONE);
    assert_int_equal(end.first, 1);
    assert_int_equal(end.last, 3);
    assert_int_equal(end.count, 3);
    assert_int_equal(end.created_ns, created);
    assert_int_equal(bus_log_read(f.log, 3, TEST_LIMIT_MS, &last), ERR_NONE);
    assert_int_equal(end.last_time_ms, last->time_ms);
    bus_record_free(last);
    bus_fixture_end(&f);
}

static void a_record_is_read_by_its_position(void **state)
{
    struct bus_fixture f;
    struct bus_receipt receipt;
    struct bus_record *record = NULL;
    char subject[64];
    const struct bus_header headers[] = {{"ce-type", VIEW("order.created")},
                                         {"ce-source", VIEW("/Gr\xc3\xbc\xc3\x9f\x65 : a")},
                                         {"empty", VIEW("")}};
    bus_fixture_begin(&f, *state, NULL);
    snprintf(subject, sizeof subject, "%s.order.created", f.prefix);
    const struct bus_message message = {
        .subject = subject, .headers = headers, .header_count = 3, .payload = VIEW("a\0b\r\n\xff")};
    int64_t before = clock_wall_ms(&clock_system);
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    assert_int_equal(bus_log_read(f.log, receipt.position, TEST_LIMIT_MS, &record), ERR_NONE);
    assert_int_equal(record->position, 1);
    assert_string_equal(record->subject, subject);
    assert_true(view_equal(record->payload, message.payload));
    assert_true(record->time_ms >= before - 1 &&
                record->time_ms <= clock_wall_ms(&clock_system) + 1);
    assert_true(view_equal(bus_record_header(record, "ce-type"), headers[0].value));
    assert_true(view_equal(bus_record_header(record, "ce-source"), headers[1].value));
    assert_true(view_equal(bus_record_header(record, "Ce-TYPE"), headers[0].value));
    assert_int_equal(bus_record_header(record, "empty").len, 0);
    assert_int_equal(bus_record_header(record, "ce").len, 0);
    assert_int_equal(bus_record_header(record, "ce-type-not").len, 0);
    bus_record_free(record);
    assert_int_equal(bus_log_read(f.log, 2, TEST_LIMIT_MS, &record), ERR_NOT_FOUND);
    assert_int_equal(bus_log_read(f.log, 0, TEST_LIMIT_MS, &record), ERR_NOT_FOUND);
    bus_fixture_end(&f);
}

static size_t count_headers(const struct bus_header_view *headers, size_t count, const char *name)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += view_equal(headers[i].name, view_of(name));
    return found;
}

/* The index-th value of that name. */
static void assert_header(const struct bus_header_view *headers, size_t count, const char *name,
                          size_t index, const char *value)
{
    for (size_t i = 0; i < count; i++) {
        if (!view_equal(headers[i].name, view_of(name)) || index-- > 0)
            continue;
        assert_true(view_equal(headers[i].value, view_of(value)));
        return;
    }
    fail_msg("no %s", name);
}

enum { HEADERS = 16 };
static void check_all_headers(const struct bus_record *record)
{
    struct bus_header_view all[HEADERS] = {{VIEW("untouched"), VIEW("")}};
    struct bus_header_view some[HEADERS];
    size_t count = bus_record_headers(record, NULL, 0);
    assert_in_range(count, 6, HEADERS); /* the bus may add some */
    assert_int_equal(bus_record_headers(record, all, HEADERS), count);
    assert_int_equal(count_headers(all, count, "twice"), 2);
    assert_int_equal(count_headers(all, count, "TWICE"), 1);
    assert_int_equal(count_headers(all, count, "empty"), 0);
    assert_header(all, count, "ce-type", 0, "a: b,c");
    assert_header(all, count, "twice", 0, "first");
    assert_header(all, count, "twice", 1, "second");
    assert_header(all, count, "TWICE", 0, "third");
    assert_header(all, count, "x", 0, "\xc3\xa9 %");
    assert_header(all, count, "Last", 0, "1");
    for (size_t max = 0; max < count; max++) {
        some[max] = (struct bus_header_view){VIEW("untouched"), VIEW("")};
        assert_int_equal(bus_record_headers(record, some, max), count);
        for (size_t i = 0; i < max; i++)
            assert_true(view_equal(some[i].name, all[i].name) &&
                        view_equal(some[i].value, all[i].value));
        assert_true(view_equal(some[max].name, VIEW("untouched")));
    }
}

static void all_headers_of_a_record_are_there(void **state)
{
    const struct bus_header headers[] = {
        {"ce-type", VIEW("a: b,c")}, {"twice", VIEW("first")},  {"empty", VIEW("")},
        {"TWICE", VIEW("third")},    {"twice", VIEW("second")}, {"x", VIEW("\xc3\xa9 %")},
        {"Last", VIEW("1")},
    };
    struct bus_fixture f;
    struct bus_receipt receipt;
    struct bus_record *record = NULL;
    size_t count = 0;
    char subject[64];
    bus_fixture_begin(&f, *state, NULL);
    snprintf(subject, sizeof subject, "%s.a", f.prefix);
    struct bus_message message = {.subject = subject,
                                  .headers = headers,
                                  .header_count = sizeof headers / sizeof *headers,
                                  .payload = VIEW("x: y\r\n")};
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    assert_int_equal(bus_log_read(f.log, receipt.position, TEST_LIMIT_MS, &record), ERR_NONE);
    check_all_headers(record);
    bus_record_free(record);
    struct bus_reader *reader = open_reader(&f, 0, true);
    assert_int_equal(bus_reader_next(reader, TEST_LIMIT_MS, &record, 1, &count), ERR_NONE);
    check_all_headers(record);
    bus_reader_close(reader);
    bus_fixture_end(&f);
}

static void assert_each_has_its_own(const struct bus_record *record)
{
    struct bus_header_view all[HEADERS];
    size_t count = bus_record_headers(record, all, HEADERS);
    assert_header(all, count, "ce-subject", 0, "1");
    assert_header(all, count, "ce-s", 0, "2");
    assert_header(all, count, "ce-type", 0, "3");
    assert_header(all, count, "ce-ty", 0, "4");
    assert_int_equal(count_headers(all, count, "ce-subject"), 1);
    assert_true(view_equal(bus_record_header(record, "ce-s"), VIEW("2")));
    assert_true(view_equal(bus_record_header(record, "ce-subject"), VIEW("1")));
}

static void names_that_others_begin_with_are_names_of_their_own(void **state)
{
    const struct bus_header headers[] = {{"ce-subject", VIEW("1")},
                                         {"ce-s", VIEW("2")},
                                         {"ce-type", VIEW("3")},
                                         {"ce-ty", VIEW("4")}};
    struct bus_fixture f;
    struct bus_receipt receipt;
    struct bus_record *record = NULL;
    size_t count = 0;
    char subject[64];
    bus_fixture_begin(&f, *state, NULL);
    snprintf(subject, sizeof subject, "%s.a", f.prefix);
    struct bus_message message = {
        .subject = subject, .headers = headers, .header_count = sizeof headers / sizeof *headers};
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    assert_int_equal(bus_log_read(f.log, receipt.position, TEST_LIMIT_MS, &record), ERR_NONE);
    assert_each_has_its_own(record);
    assert_string_equal(record->subject, subject);
    assert_int_equal(record->payload.len, 0);
    bus_record_free(record);
    struct bus_reader *reader = open_reader(&f, 0, true);
    assert_int_equal(bus_reader_next(reader, TEST_LIMIT_MS, &record, 1, &count), ERR_NONE);
    assert_each_has_its_own(record);
    bus_reader_close(reader);
    bus_fixture_end(&f);
}

static void a_record_without_headers_has_none(void **state)
{
    struct bus_fixture f;
    struct bus_record *record = NULL;
    struct bus_header_view header;
    size_t count = 0;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish(&f, "a", "Name: value\r\n\r\n");
    struct bus_reader *reader = open_reader(&f, 0, false);
    assert_int_equal(bus_reader_next(reader, TEST_LIMIT_MS, &record, 1, &count), ERR_NONE);
    assert_int_equal(bus_record_headers(record, &header, 1), 0);
    bus_reader_close(reader);
    bus_fixture_end(&f);
}

static void a_reader_has_headers_whatever_the_payload(void **state)
{
    struct bus_fixture f;
    struct bus_receipt receipt;
    struct bus_record *records[4];
    char subject[64];
    size_t count = 0;
    char *big = malloc(9000);
    assert_non_null(big);
    memset(big, 'h', 9000);
    const struct bus_header headers[] = {
        {"One", VIEW("1")}, {"Big", {big, 9000}}, {"Last-One", VIEW("the last")}};
    bus_fixture_begin(&f, *state, NULL);
    snprintf(subject, sizeof subject, "%s.a", f.prefix);
    struct bus_message message = {.subject = subject, .headers = headers, .header_count = 3};
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    message.payload = VIEW("payload");
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    for (int headers_only = 0; headers_only < 2; headers_only++) {
        struct bus_reader *reader = open_reader(&f, 0, headers_only);
        for (uint64_t position = 1; position <= 2; position++) {
            assert_int_equal(bus_reader_next(reader, TEST_LIMIT_MS, records, 1, &count), ERR_NONE);
            assert_int_equal(records[0]->position, position);
            assert_string_equal(records[0]->subject, subject);
            assert_true(view_equal(bus_record_header(records[0], "one"), VIEW("1")));
            assert_true(view_equal(bus_record_header(records[0], "BIG"), headers[1].value));
            assert_true(view_equal(bus_record_header(records[0], "last-one"), VIEW("the last")));
            assert_int_equal(bus_record_header(records[0], "none").len, 0);
            assert_int_equal(records[0]->payload.len, position == 2 && !headers_only ? 7 : 0);
        }
        bus_reader_close(reader);
    }
    free(big);
    bus_fixture_end(&f);
}

static void a_reader_reads_all_in_order_and_then_what_comes(void **state)
{
    struct bus_fixture f;
    struct bus_record *record = NULL;
    size_t count = 0;
    bus_fixture_begin(&f, *state, NULL);
    struct bus_reader *reader = open_reader(&f, 0, false);
    assert_int_equal(bus_reader_next(reader, 50, &record, 1, &count), ERR_DEADLINE);
    bus_fixture_publish_many(&f, 1, 200);
    bus_fixture_expect_read(reader, 1, 200, 0);
    assert_int_equal(bus_reader_next(reader, 50, &record, 1, &count), ERR_DEADLINE);
    bus_fixture_publish_many(&f, 201, 10);
    bus_fixture_expect_read(reader, 201, 10, 200);
    bus_reader_close(reader);
    bus_fixture_end(&f);
}

static void a_reader_begins_where_it_is_told(void **state)
{
    struct bus_fixture f;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 30);
    struct bus_reader *middle = open_reader(&f, 21, false);
    bus_fixture_expect_read(middle, 21, 10, 0);
    struct bus_reader *end = open_reader(&f, 31, false);
    bus_fixture_publish_many(&f, 31, 5);
    bus_fixture_expect_read(end, 31, 5, 30);
    bus_fixture_expect_read(middle, 31, 5, 30);
    bus_reader_close(middle);
    bus_reader_close(end);
    bus_fixture_end(&f);
}

static void a_reader_takes_many_records_a_call(void **state)
{
    struct bus_fixture f;
    struct bus_record *records[64];
    size_t count = 0;
    size_t most = 0;
    size_t total = 0;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 300);
    struct bus_reader *reader = open_reader(&f, 0, false);
    while (total < 300) {
        assert_int_equal(bus_reader_next(reader, TEST_LIMIT_MS, records, 64, &count), ERR_NONE);
        assert_true(count >= 1 && count <= 64);
        most = count > most ? count : most;
        total += count;
    }
    assert_true(most > 1);
    bus_reader_close(reader);
    bus_fixture_end(&f);
}

static void a_reader_beyond_the_end_is_stale(void **state)
{
    struct bus_fixture f;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 3);
    struct bus_reader *reader = open_reader(&f, 5, false);
    assert_int_equal(next_verdict(reader), ERR_STALE);
    assert_int_equal(next_verdict(reader), ERR_STALE);
    bus_reader_close(reader);
    bus_fixture_end(&f);
}

static void a_log_made_anew_is_stale_for_its_readers(void **state)
{
    struct bus_world *world = *state;
    struct bus_fixture f;
    struct bus_log_end before;
    struct bus_log_end after;
    bus_fixture_begin(&f, world, NULL);
    bus_fixture_publish_many(&f, 1, 5);
    assert_int_equal(bus_log_end(f.log, TEST_LIMIT_MS, &before), ERR_NONE);
    struct bus_reader *read = open_reader(&f, 0, false);
    bus_fixture_expect_read(read, 1, 5, 0);
    world->renew(world, f.log, &f.spec);
    bus_fixture_publish_many(&f, 1, 10);
    assert_int_equal(next_verdict(read), ERR_STALE);
    assert_int_equal(bus_log_end(f.log, TEST_LIMIT_MS, &after), ERR_NONE);
    assert_int_not_equal(before.created_ns, after.created_ns);
    bus_reader_close(read);
    read = open_reader(&f, 0, false);
    bus_fixture_expect_read(read, 1, 10, 0);
    bus_reader_close(read);
    bus_fixture_end(&f);
}

static void wait_until_first_is_beyond(struct bus_fixture *f, uint64_t position)
{
    struct bus_log_end end = {.first = 0};
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    while (end.first <= position) {
        assert_true(test_now_ms() < limit);
        test_sleep_a_little();
        assert_int_equal(bus_log_end(f->log, TEST_LIMIT_MS, &end), ERR_NONE);
    }
}

static void what_is_dropped_from_the_head_is_skipped(void **state)
{
    struct bus_fixture f;
    struct bus_record *record = NULL;
    bus_fixture_begin(&f, *state, &(struct bus_fixture_options){.max_age_ms = 500});
    bus_fixture_publish_many(&f, 1, 5);
    struct bus_reader *reader = open_reader(&f, 0, false);
    bus_fixture_expect_read(reader, 1, 2, 0);
    wait_until_first_is_beyond(&f, 5);
    struct bus_log_end end;
    assert_int_equal(bus_log_end(f.log, TEST_LIMIT_MS, &end), ERR_NONE);
    assert_int_equal(end.first, 6);
    assert_int_equal(end.last, 5);
    assert_int_equal(end.count, 0);
    assert_int_equal(end.max_age_ms, 500);
    assert_int_equal(bus_log_read(f.log, 5, TEST_LIMIT_MS, &record), ERR_NOT_FOUND);
    bus_reader_close(reader);
    reader = open_reader(&f, 3, false); /* where nothing is kept any more */
    bus_fixture_publish_many(&f, 6, 2);
    bus_fixture_expect_read(reader, 6, 2, 5);
    bus_reader_close(reader);
    bus_fixture_end(&f);
}

static void *publish_one_later(void *arg)
{
    struct bus_fixture *f = arg;
    int64_t at = test_now_ms() + 100;
    while (test_now_ms() < at)
        test_sleep_a_little();
    bus_fixture_publish(f, "a", "x");
    return NULL;
}

static void the_longest_timeouts_wait(void **state)
{
    struct bus_fixture f;
    struct bus_record *record = NULL;
    struct bus_delivery *delivery = NULL;
    pthread_t thread;
    size_t count = 0;
    bus_fixture_begin(&f, *state, NULL);
    struct bus_reader *reader = open_reader(&f, 0, false);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    assert_int_equal(bus_wait_ready(f.bus, INT64_MAX, NULL), ERR_NONE);
    assert_int_equal(pthread_create(&thread, NULL, publish_one_later, &f), 0);
    assert_int_equal(bus_reader_next(reader, INT64_MAX, &record, 1, &count), ERR_NONE);
    pthread_join(thread, NULL);
    assert_int_equal(bus_fetch(consumer, INT64_MAX, &delivery, 1, &count), ERR_NONE);
    bus_settle(delivery, BUS_ACK, 0);
    assert_int_equal(pthread_create(&thread, NULL, publish_one_later, &f), 0);
    assert_int_equal(bus_fetch(consumer, INT64_MAX, &delivery, 1, &count), ERR_NONE);
    pthread_join(thread, NULL);
    bus_settle(delivery, BUS_RETRY, INT64_MAX);
    assert_int_equal(bus_fetch(consumer, INT64_MIN, &delivery, 1, &count), ERR_DEADLINE);
    bus_reader_close(reader);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

const struct CMUnitTest bus_read_tests[] = {
    cmocka_unit_test(an_empty_log_ends_before_it_begins),
    cmocka_unit_test(a_record_is_read_by_its_position),
    cmocka_unit_test(all_headers_of_a_record_are_there),
    cmocka_unit_test(names_that_others_begin_with_are_names_of_their_own),
    cmocka_unit_test(a_record_without_headers_has_none),
    cmocka_unit_test(a_reader_has_headers_whatever_the_payload),
    cmocka_unit_test(a_reader_reads_all_in_order_and_then_what_comes),
    cmocka_unit_test(a_reader_begins_where_it_is_told),
    cmocka_unit_test(a_reader_takes_many_records_a_call),
    cmocka_unit_test(a_reader_beyond_the_end_is_stale),
    cmocka_unit_test(a_log_made_anew_is_stale_for_its_readers),
    cmocka_unit_test(what_is_dropped_from_the_head_is_skipped),
    cmocka_unit_test(the_longest_timeouts_wait),
};
const size_t bus_read_test_count = sizeof bus_read_tests / sizeof *bus_read_tests;
