#include "common/bus_mem.h"
#include "tests/lib/bus_conformance.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

static void hold(struct bus_world *world, struct bus *bus)
{
    (void)world;
    bus_mem_set_held(bus, true);
}

static void let_go(struct bus_world *world, struct bus *bus)
{
    (void)world;
    if (bus)
        bus_mem_set_held(bus, false);
}

static void renew(struct bus_world *world, struct bus_log *log, const struct bus_log_spec *spec)
{
    (void)world;
    (void)spec;
    bus_mem_renew(log);
}

static struct bus_world world = {.url = "mem://", .hold = hold, .let_go = let_go, .renew = renew};

static void away_is_said_at_once_and_ends(void **state)
{
    struct bus_fixture f;
    struct bus_receipt receipt;
    struct bus_log_end end;
    struct bus_record *record = NULL;
    struct bus_delivery *delivery = NULL;
    struct bus_reader *reader = NULL;
    uint64_t position = 0;
    size_t count = 0;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    bus_fixture_publish_many(&f, 1, 3);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    assert_int_equal(bus_reader_open(f.log, 0, false, &reader), ERR_NONE);
    bus_mem_set_away(f.bus, true);
    const struct bus_message message = {.subject = "a"};
    assert_int_equal(bus_state(f.bus, NULL), BUS_AWAY);
    assert_int_equal(bus_wait_ready(f.bus, 10, NULL), ERR_DEADLINE);
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_UNAVAILABLE);
    assert_int_equal(bus_log_end(f.log, 10, &end), ERR_UNAVAILABLE);
    assert_int_equal(bus_log_read(f.log, 1, 10, &record), ERR_UNAVAILABLE);
    assert_int_equal(bus_reader_next(reader, 10, &record, 1, &count), ERR_UNAVAILABLE);
    assert_int_equal(bus_fetch(consumer, 10, &delivery, 1, &count), ERR_UNAVAILABLE);
    assert_int_equal(bus_consumer_floor(consumer, 10, &position), ERR_UNAVAILABLE);
    bus_mem_set_away(f.bus, false);
    assert_int_equal(bus_wait_ready(f.bus, 10, NULL), ERR_NONE);
    bus_fixture_expect_read(reader, 1, 3, 0);
    bus_reader_close(reader);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void a_lost_tail_is_stale_also_when_positions_are_used_again(void **state)
{
    struct bus_fixture f;
    struct bus_record *record = NULL;
    struct bus_reader *reader = NULL;
    size_t count = 0;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    bus_fixture_publish_many(&f, 1, 5);
    assert_int_equal(bus_reader_open(f.log, 0, false, &reader), ERR_NONE);
    bus_fixture_expect_read(reader, 1, 5, 0);
    bus_mem_lose_tail(f.log, 3);
    bus_fixture_publish_many(&f, 4, 5);
    assert_int_equal(bus_reader_next(reader, 1000, &record, 1, &count), ERR_STALE);
    bus_reader_close(reader);
    bus_fixture_end(&f);
}

static void a_hole_is_passed(void **state)
{
    struct bus_fixture f;
    struct bus_record *record = NULL;
    struct bus_reader *readers[2] = {NULL, NULL};
    size_t count = 0;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    bus_fixture_publish_many(&f, 1, 6);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    assert_int_equal(bus_reader_open(f.log, 0, false, &readers[0]), ERR_NONE);
    bus_fixture_expect_read(readers[0], 1, 2, 0);
    bus_settle(bus_fixture_fetch_one(consumer), BUS_ACK, 0);
    bus_settle(bus_fixture_fetch_one(consumer), BUS_ACK, 0);
    bus_mem_delete(f.log, 1);
    bus_mem_delete(f.log, 3);
    bus_mem_delete(f.log, 4);
    bus_mem_delete(f.log, 6);
    assert_int_equal(bus_reader_open(f.log, 0, false, &readers[1]), ERR_NONE);
    bus_fixture_expect_read(readers[1], 2, 1, 0);
    for (int i = 0; i < 2; i++) {
        bus_fixture_expect_read(readers[i], 5, 1, 0);
        assert_int_equal(bus_reader_next(readers[i], 0, &record, 1, &count), ERR_DEADLINE);
        bus_reader_close(readers[i]);
    }
    assert_int_equal(bus_log_read(f.log, 3, 0, &record), ERR_NOT_FOUND);
    struct bus_delivery *delivery = bus_fixture_fetch_one(consumer);
    assert_int_equal(delivery->record->position, 5);
    bus_settle(delivery, BUS_ACK, 0);
    assert_int_equal(bus_fetch(consumer, 0, &delivery, 1, &count), ERR_DEADLINE);
    bus_fixture_publish(&f, "a", "7");
    delivery = bus_fixture_fetch_one(consumer);
    assert_int_equal(delivery->record->position, 7);
    bus_settle(delivery, BUS_ACK, 0);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

/* As nats-server 2.9 does. */
static void positions_lost_with_the_tail_are_not_given_again(void **state)
{
    struct bus_fixture f;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    bus_fixture_publish_many(&f, 1, 5);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    for (int i = 0; i < 5; i++)
        bus_settle(bus_fixture_fetch_one(consumer), BUS_ACK, 0);
    bus_mem_lose_tail(f.log, 3);
    bus_fixture_publish_many(&f, 4, 3);
    struct bus_delivery *next = bus_fixture_fetch_one(consumer);
    assert_int_equal(next->record->position, 6);
    bus_settle(next, BUS_ACK, 0);
    assert_int_equal(bus_consumer_restart(consumer, 1000), ERR_NONE);
    bus_settle(bus_fixture_fetch_one(consumer), BUS_ACK, 0);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void what_is_due_goes_by_the_clock_given(void **state)
{
    struct clock_manual clock;
    struct bus *bus = NULL;
    struct bus_log *log = NULL;
    struct bus_consumer *consumer = NULL;
    struct bus_delivery *delivery = NULL;
    struct bus_receipt receipt;
    size_t count = 0;
    const struct bus_options options = {.url = "mem://", .clock = &clock.base};
    const struct bus_log_spec spec = {
        .name = "LOG", .subject = "log.>", .duplicate_window_ms = 1000, .replicas = 1};
    const struct bus_consumer_spec shared = {
        .group = "group", .ack_wait_ms = 30000, .max_ack_pending = 1};
    const struct bus_message message = {.subject = "log.a", .message_id = "1"};
    (void)state;
    clock_manual_init(&clock, 1000000);
    assert_int_equal(bus_open(&options, &bus, NULL), ERR_NONE);
    assert_int_equal(bus_log_open(bus, &spec, &log), ERR_NONE);
    assert_int_equal(bus_consumer_open(log, &shared, &consumer), ERR_NONE);
    assert_int_equal(bus_publish_wait(log, &message, &receipt), ERR_NONE);
    assert_int_equal(bus_publish_wait(log, &message, &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_DUPLICATE);
    bus_settle(bus_fixture_fetch_one(consumer), BUS_LEAVE, 0);
    assert_int_equal(bus_fetch(consumer, 20, &delivery, 1, &count), ERR_DEADLINE);
    clock_manual_advance(&clock, 30000);
    bus_settle(bus_fixture_fetch_one(consumer), BUS_ACK, 0);
    assert_int_equal(bus_publish_wait(log, &message, &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_STORED);
    bus_consumer_close(consumer);
    bus_close(bus);
}

/* One of everything; what is short of memory says so and leaves nothing behind. */
static enum err use_everything(struct bus *bus)
{
    const struct bus_log_spec spec = {
        .name = "LOG", .subject = "log.>", .duplicate_window_ms = 1000, .replicas = 1};
    const struct bus_consumer_spec shared = {
        .group = "group", .ack_wait_ms = 30000, .max_ack_pending = 10};
    const struct bus_message message = {.subject = "log.a", .payload = VIEW("x")};
    struct bus_log *log = NULL;
    struct bus_reader *reader = NULL;
    struct bus_consumer *consumer = NULL;
    struct bus_record *record = NULL;
    struct bus_delivery *delivery = NULL;
    struct bus_receipt receipt;
    size_t count = 0;
    enum err e = bus_log_open(bus, &spec, &log);
    if (e == ERR_NONE)
        e = bus_publish_wait(log, &message, &receipt);
    if (e == ERR_NONE && receipt.outcome == BUS_REFUSED)
        e = receipt.why;
    if (e == ERR_NONE)
        e = bus_log_read(log, 1, 0, &record);
    bus_record_free(e == ERR_NONE ? record : NULL);
    if (e == ERR_NONE)
        e = bus_reader_open(log, 0, false, &reader);
    if (e == ERR_NONE)
        e = bus_reader_next(reader, 0, &record, 1, &count);
    bus_reader_close(reader);
    if (e == ERR_NONE)
        e = bus_consumer_open(log, &shared, &consumer);
    if (e == ERR_NONE)
        e = bus_fetch(consumer, 0, &delivery, 1, &count);
    if (e == ERR_NONE)
        bus_settle(delivery, BUS_ACK, 0);
    bus_consumer_close(consumer);
    return e;
}

static void short_memory_is_an_error_like_any_other(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        const struct bus_options options = {.url = "mem://"};
        struct bus *bus = NULL;
        enum err e = bus_open(&options, &bus, NULL);
        if (e == ERR_NONE)
            e = use_everything(bus);
        bus_close(bus);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
    }
}

static void a_bus_of_no_known_kind_is_invalid(void **state)
{
    struct err_detail detail = {""};
    struct bus *bus = NULL;
    const struct bus_options options = {.url = "amqp://localhost"};
    (void)state;
    assert_int_equal(bus_open(&options, &bus, &detail), ERR_INVALID);
    assert_non_null(strstr(detail.text, "amqp://localhost"));
    assert_null(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(away_is_said_at_once_and_ends),
        cmocka_unit_test(a_lost_tail_is_stale_also_when_positions_are_used_again),
        cmocka_unit_test(a_hole_is_passed),
        cmocka_unit_test(positions_lost_with_the_tail_are_not_given_again),
        cmocka_unit_test(what_is_due_goes_by_the_clock_given),
        cmocka_unit_test(short_memory_is_an_error_like_any_other),
        cmocka_unit_test(a_bus_of_no_known_kind_is_invalid),
    };
    return bus_conformance_run("bus_mem", &world, tests, sizeof tests / sizeof *tests);
}
