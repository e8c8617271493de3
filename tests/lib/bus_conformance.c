#include "tests/lib/bus_conformance.h"

#include "tests/lib/unit.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* ---- the fixture ---- */

void bus_fixture_begin(struct bus_fixture *f, struct bus_world *world,
                       const struct bus_fixture_options *options)
{
    static int made;
    static const struct bus_fixture_options usual;
    struct err_detail detail = {""};
    const struct bus_fixture_options *o = options ? options : &usual;
    const struct bus_options bus_options = {.url = world->url,
                                            .name = "test",
                                            .max_in_flight = o->max_in_flight,
                                            .publish_timeout_ms = o->publish_timeout_ms,
                                            .clock = &clock_system};
    memset(f, 0, sizeof *f);
    f->world = world;
    snprintf(f->name, sizeof f->name, "T%d_%d", (int)getpid(), ++made);
    snprintf(f->prefix, sizeof f->prefix, "t%d.%d", (int)getpid(), made);
    snprintf(f->subject, sizeof f->subject, "%s.>", f->prefix);
    f->spec = (struct bus_log_spec){.kind = o->kind,
                                    .name = f->name,
                                    .subject = f->subject,
                                    .max_bytes = o->max_bytes,
                                    .max_age_ms = o->max_age_ms,
                                    .duplicate_window_ms = o->max_age_ms ? o->max_age_ms : 120000,
                                    .replicas = 1};
    assert_int_equal(bus_open(&bus_options, &f->bus, &detail), ERR_NONE);
    assert_int_equal(bus_log_open(f->bus, &f->spec, &f->log), ERR_NONE);
    assert_int_equal(bus_wait_ready(f->bus, TEST_LIMIT_MS, &detail), ERR_NONE);
}

void bus_fixture_end(struct bus_fixture *f)
{
    bus_close(f->bus);
}

struct bus_receipt bus_fixture_publish(struct bus_fixture *f, const char *name, const char *text)
{
    char subject[128];
    struct bus_receipt receipt;
    snprintf(subject, sizeof subject, "%s.%s", f->prefix, name);
    const struct bus_message message = {.subject = subject, .payload = view_of(text)};
    assert_int_equal(bus_publish_wait(f->log, &message, &receipt), ERR_NONE);
    return receipt;
}

void bus_fixture_publish_many(struct bus_fixture *f, uint64_t first, int count)
{
    char text[16];
    for (int i = 1; i <= count; i++) {
        snprintf(text, sizeof text, "%d", i);
        struct bus_receipt receipt = bus_fixture_publish(f, "event", text);
        assert_int_equal(receipt.outcome, BUS_STORED);
        assert_int_equal(receipt.position, first + (uint64_t)i - 1);
    }
}

struct bus_consumer *bus_fixture_consumer(struct bus_fixture *f, const char *group)
{
    const struct bus_consumer_spec spec = {
        .group = group, .ack_wait_ms = TEST_ACK_WAIT_MS, .max_ack_pending = 1000};
    struct bus_consumer *consumer = NULL;
    assert_int_equal(bus_consumer_open(f->log, &spec, &consumer), ERR_NONE);
    return consumer;
}

struct bus_delivery *bus_fixture_fetch_one(struct bus_consumer *consumer)
{
    struct bus_delivery *delivery = NULL;
    size_t count = 0;
    assert_int_equal(bus_fetch(consumer, TEST_LIMIT_MS, &delivery, 1, &count), ERR_NONE);
    assert_int_equal(count, 1);
    return delivery;
}

void bus_fixture_expect_read(struct bus_reader *reader, uint64_t first, int count, uint64_t offset)
{
    struct bus_record *records[64];
    uint64_t position = first;
    while (position < first + (uint64_t)count) {
        size_t some = 0;
        size_t left = (size_t)(first + (uint64_t)count - position);
        enum err e = bus_reader_next(reader, TEST_LIMIT_MS, records, left < 64 ? left : 64, &some);
        assert_int_equal(e, ERR_NONE);
        for (size_t i = 0; i < some; i++, position++) {
            assert_int_equal(records[i]->position, position);
            uint64_t number = 0;
            assert_true(view_parse_u64(records[i]->payload, &number));
            assert_int_equal(number, position - offset);
        }
    }
}

int64_t test_now_ms(void)
{
    return clock_monotonic_ms(&clock_system);
}

void test_sleep_a_little(void)
{
    poll(NULL, 0, 10);
}

/* ---- all of them ---- */

int bus_conformance_run(const char *driver, struct bus_world *world, const struct CMUnitTest *own,
                        size_t own_count)
{
    const struct {
        const struct CMUnitTest *tests;
        size_t count;
    } parts[] = {
        {bus_publish_tests, bus_publish_test_count},
        {bus_read_tests, bus_read_test_count},
        {bus_consume_tests, bus_consume_test_count},
        {own, own_count},
    };
    struct CMUnitTest all[64];
    size_t count = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (size_t j = 0; j < parts[i].count; j++) {
            assert_true(count < sizeof all / sizeof *all);
            all[count] = parts[i].tests[j];
            all[count++].initial_state = world;
        }
    return _cmocka_run_group_tests(driver, all, count, NULL, NULL);
}
