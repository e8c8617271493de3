#include "tests/lib/bus_conformance.h"
#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdio.h>

/* Nothing is delivered within ms. */
static void expect_none(struct bus_consumer *consumer, int64_t ms)
{
    struct bus_delivery *delivery = NULL;
    size_t count = 0;
    assert_int_equal(bus_fetch(consumer, ms, &delivery, 1, &count), ERR_DEADLINE);
}

static void what_is_acknowledged_is_delivered_once(void **state)
{
    struct bus_fixture f;
    struct bus_delivery *deliveries[16];
    size_t count = 0;
    uint64_t next = 1;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 40);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    while (next <= 40) {
        assert_int_equal(bus_fetch(consumer, TEST_LIMIT_MS, deliveries, 16, &count), ERR_NONE);
        assert_true(count >= 1 && count <= 16);
        for (size_t i = 0; i < count; i++, next++) {
            assert_int_equal(deliveries[i]->record->position, next);
            assert_int_equal(deliveries[i]->delivered, 1);
            bus_settle(deliveries[i], BUS_ACK, 0);
        }
    }
    expect_none(consumer, 2 * TEST_ACK_WAIT_MS);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void a_delivery_carries_its_record(void **state)
{
    struct bus_fixture f;
    struct bus_receipt receipt;
    char subject[64];
    const struct bus_header header = {"ce-type", VIEW("a")};
    bus_fixture_begin(&f, *state, NULL);
    snprintf(subject, sizeof subject, "%s.a", f.prefix);
    struct bus_message message = {
        .subject = subject, .headers = &header, .header_count = 1, .payload = VIEW("text")};
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    message.payload = VIEW("");
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    for (int i = 0; i < 2; i++) {
        struct bus_delivery *delivery = bus_fixture_fetch_one(consumer);
        assert_string_equal(delivery->record->subject, subject);
        assert_true(view_equal(delivery->record->payload, i == 0 ? VIEW("text") : VIEW("")));
        assert_true(view_equal(bus_record_header(delivery->record, "Ce-Type"), VIEW("a")));
        assert_true(delivery->record->time_ms > 0);
        bus_settle(delivery, BUS_ACK, 0);
    }
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void what_is_left_comes_back_after_ack_wait(void **state)
{
    struct bus_fixture f;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 1);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    int64_t began = test_now_ms();
    bus_settle(bus_fixture_fetch_one(consumer), BUS_LEAVE, 0);
    struct bus_delivery *again = bus_fixture_fetch_one(consumer);
    assert_true(test_now_ms() - began >= TEST_ACK_WAIT_MS - 50);
    assert_int_equal(again->record->position, 1);
    assert_int_equal(again->delivered, 2);
    bus_settle(again, BUS_ACK, 0);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void a_retry_comes_back_after_its_delay(void **state)
{
    struct bus_fixture f;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 2);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    int64_t began = test_now_ms();
    bus_settle(bus_fixture_fetch_one(consumer), BUS_RETRY, 200);
    struct bus_delivery *other = bus_fixture_fetch_one(consumer); /* it holds up nobody */
    assert_int_equal(other->record->position, 2);
    bus_settle(other, BUS_ACK, 0);
    struct bus_delivery *again = bus_fixture_fetch_one(consumer);
    int64_t took = test_now_ms() - began;
    assert_int_equal(again->record->position, 1);
    assert_int_equal(again->delivered, 2);
    assert_true(took >= 190 && took < TEST_ACK_WAIT_MS);
    bus_settle(again, BUS_RETRY, 0); /* at once */
    began = test_now_ms();
    again = bus_fixture_fetch_one(consumer);
    assert_true(test_now_ms() - began < 190);
    bus_settle(again, BUS_ACK, 0);
    expect_none(consumer, 2 * TEST_ACK_WAIT_MS);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void progress_keeps_a_delivery(void **state)
{
    struct bus_fixture f;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 1);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    struct bus_delivery *delivery = bus_fixture_fetch_one(consumer);
    for (int i = 0; i < 6; i++) {
        bus_progress(delivery);
        expect_none(consumer, TEST_ACK_WAIT_MS / 3);
    }
    bus_settle(delivery, BUS_ACK, 0);
    expect_none(consumer, 2 * TEST_ACK_WAIT_MS);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void a_fetch_takes_what_is_there(void **state)
{
    struct bus_fixture f;
    struct bus_delivery *deliveries[100];
    size_t count = 0;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 7);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    int64_t began = test_now_ms();
    assert_int_equal(bus_fetch(consumer, TEST_LIMIT_MS, deliveries, 100, &count), ERR_NONE);
    assert_int_equal(count, 7);
    assert_true(test_now_ms() - began < 1000);
    for (size_t i = 0; i < count; i++)
        bus_settle(deliveries[i], BUS_ACK, 0);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void *publish_one_later(void *arg)
{
    struct bus_fixture *f = arg;
    int64_t at = test_now_ms() + 200;
    while (test_now_ms() < at)
        test_sleep_a_little();
    bus_fixture_publish_many(f, 1, 1);
    return NULL;
}

static void a_fetch_waits_for_the_first(void **state)
{
    struct bus_fixture f;
    struct bus_delivery *deliveries[100];
    pthread_t thread;
    size_t count = 0;
    bus_fixture_begin(&f, *state, NULL);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    assert_int_equal(pthread_create(&thread, NULL, publish_one_later, &f), 0);
    int64_t began = test_now_ms();
    assert_int_equal(bus_fetch(consumer, TEST_LIMIT_MS, deliveries, 100, &count), ERR_NONE);
    int64_t took = test_now_ms() - began;
    pthread_join(thread, NULL);
    assert_int_equal(count, 1);
    assert_true(took >= 190 && took < 1500);
    bus_settle(deliveries[0], BUS_ACK, 0);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void consumers_of_a_group_share_and_groups_do_not(void **state)
{
    struct bus_fixture f;
    bool seen[41] = {false};
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 40);
    struct bus_consumer *sharing[] = {bus_fixture_consumer(&f, "shared"),
                                      bus_fixture_consumer(&f, "shared")};
    struct bus_consumer *other = bus_fixture_consumer(&f, "other");
    for (int i = 0; i < 40; i++) {
        struct bus_delivery *delivery = bus_fixture_fetch_one(sharing[i % 2]);
        assert_false(seen[delivery->record->position]);
        seen[delivery->record->position] = true;
        bus_settle(delivery, BUS_ACK, 0);
    }
    expect_none(sharing[0], 50);
    for (uint64_t position = 1; position <= 40; position++) {
        struct bus_delivery *delivery = bus_fixture_fetch_one(other);
        assert_int_equal(delivery->record->position, position);
        bus_settle(delivery, BUS_ACK, 0);
    }
    bus_consumer_close(sharing[0]);
    bus_consumer_close(sharing[1]);
    bus_consumer_close(other);
    bus_fixture_end(&f);
}

static void no_more_than_max_ack_pending_are_out(void **state)
{
    struct bus_fixture f;
    struct bus_delivery *deliveries[16];
    struct bus_consumer *consumer = NULL;
    size_t count = 0;
    const struct bus_consumer_spec spec = {
        .group = "group", .ack_wait_ms = 30000, .max_ack_pending = 5};
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 10);
    assert_int_equal(bus_consumer_open(f.log, &spec, &consumer), ERR_NONE);
    assert_int_equal(bus_fetch(consumer, TEST_LIMIT_MS, deliveries, 16, &count), ERR_NONE);
    assert_int_equal(count, 5);
    expect_none(consumer, 100);
    bus_settle(deliveries[2], BUS_ACK, 0);
    struct bus_delivery *sixth = bus_fixture_fetch_one(consumer);
    assert_int_equal(sixth->record->position, 6);
    bus_settle(sixth, BUS_LEAVE, 0);
    for (size_t i = 0; i < count; i++)
        if (i != 2)
            bus_settle(deliveries[i], BUS_LEAVE, 0);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static struct bus_receipt publish_with_id(struct bus_fixture *f, const char *message_id)
{
    char subject[128];
    struct bus_receipt receipt;
    snprintf(subject, sizeof subject, "%s.work", f->prefix);
    const struct bus_message message = {.subject = subject, .message_id = message_id};
    assert_int_equal(bus_publish_wait(f->log, &message, &receipt), ERR_NONE);
    return receipt;
}

static bool is_kept(struct bus_fixture *f, uint64_t position)
{
    struct bus_record *record = NULL;
    enum err e = bus_log_read(f->log, position, TEST_LIMIT_MS, &record);
    if (e == ERR_NONE)
        bus_record_free(record);
    else
        assert_int_equal(e, ERR_NOT_FOUND);
    return e == ERR_NONE;
}

static void a_work_queue_drops_what_is_done_but_knows_its_message_id(void **state)
{
    struct bus_fixture f;
    const struct bus_fixture_options options = {.kind = BUS_LOG_WORK_QUEUE};
    bus_fixture_begin(&f, *state, &options);
    assert_int_equal(publish_with_id(&f, "one").position, 1);
    assert_int_equal(publish_with_id(&f, "two").position, 2);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    struct bus_delivery *first = bus_fixture_fetch_one(consumer);
    struct bus_delivery *second = bus_fixture_fetch_one(consumer);
    assert_true(is_kept(&f, 1));
    bus_settle(first, BUS_ACK, 0);
    bus_settle(second, BUS_RETRY, 100);
    int64_t until_ms = test_now_ms() + TEST_LIMIT_MS;
    while (is_kept(&f, 1) && test_now_ms() < until_ms)
        test_sleep_a_little();
    assert_false(is_kept(&f, 1));
    assert_int_equal(publish_with_id(&f, "one").outcome, BUS_DUPLICATE);
    second = bus_fixture_fetch_one(consumer);
    assert_int_equal(second->record->position, 2);
    bus_settle(second, BUS_ACK, 0);
    while (is_kept(&f, 2) && test_now_ms() < until_ms)
        test_sleep_a_little();
    assert_false(is_kept(&f, 2));
    expect_none(consumer, 100);
    assert_int_equal(publish_with_id(&f, "three").position, 3);
    bus_settle(bus_fixture_fetch_one(consumer), BUS_ACK, 0);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void a_group_without_a_limit_may_have_any_number_out(void **state)
{
    enum { MANY = 1500 }; /* more than servers allow if they aren't told */
    static struct bus_delivery *deliveries[MANY];
    const struct bus_consumer_spec spec = {.group = "group", .ack_wait_ms = 30000};
    struct bus_fixture f;
    struct bus_consumer *consumer = NULL;
    size_t out = 0;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, MANY);
    assert_int_equal(bus_consumer_open(f.log, &spec, &consumer), ERR_NONE);
    while (out < MANY) {
        size_t count = 0;
        assert_int_equal(bus_fetch(consumer, TEST_LIMIT_MS, deliveries + out, MANY - out, &count),
                         ERR_NONE);
        out += count;
    }
    for (size_t i = 0; i < MANY; i++)
        bus_settle(deliveries[i], BUS_LEAVE, 0);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void a_delivery_may_outlive_its_consumer(void **state)
{
    struct bus_fixture f;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 2);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    struct bus_delivery *first = bus_fixture_fetch_one(consumer);
    struct bus_delivery *second = bus_fixture_fetch_one(consumer);
    bus_consumer_close(consumer);
    bus_progress(first);
    bus_settle(first, BUS_ACK, 0);
    assert_int_equal(second->record->position, 2);
    bus_settle(second, BUS_RETRY, 0);
    consumer = bus_fixture_consumer(&f, "group");
    second = bus_fixture_fetch_one(consumer);
    assert_int_equal(second->record->position, 2);
    bus_settle(second, BUS_ACK, 0);
    expect_none(consumer, 2 * TEST_ACK_WAIT_MS);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void a_consumer_goes_on_in_a_log_made_anew(void **state)
{
    struct bus_world *world = *state;
    struct bus_fixture f;
    bus_fixture_begin(&f, world, NULL);
    bus_fixture_publish_many(&f, 1, 3);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    for (int i = 0; i < 3; i++)
        bus_settle(bus_fixture_fetch_one(consumer), BUS_ACK, 0);
    world->renew(world, f.log, &f.spec);
    bus_fixture_publish_many(&f, 1, 2);
    for (uint64_t position = 1; position <= 2; position++) {
        struct bus_delivery *delivery = bus_fixture_fetch_one(consumer);
        assert_int_equal(delivery->record->position, position);
        bus_settle(delivery, BUS_ACK, 0);
    }
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void a_group_that_begins_anew_gets_everything_again(void **state)
{
    struct bus_fixture f;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 4);
    struct bus_consumer *consumers[] = {bus_fixture_consumer(&f, "group"),
                                        bus_fixture_consumer(&f, "group")};
    for (int i = 0; i < 3; i++)
        bus_settle(bus_fixture_fetch_one(consumers[i % 2]), BUS_ACK, 0);
    struct bus_delivery *held = bus_fixture_fetch_one(consumers[0]);
    assert_int_equal(bus_consumer_restart(consumers[0], TEST_LIMIT_MS), ERR_NONE);
    bus_settle(held, BUS_LEAVE, 0);
    for (uint64_t position = 1; position <= 4; position++) {
        struct bus_delivery *again = bus_fixture_fetch_one(consumers[position % 2]);
        assert_int_equal(again->record->position, position);
        assert_int_equal(again->delivered, 1);
        bus_settle(again, BUS_ACK, 0);
    }
    expect_none(consumers[0], 2 * TEST_ACK_WAIT_MS);
    bus_consumer_close(consumers[0]);
    bus_consumer_close(consumers[1]);
    bus_fixture_end(&f);
}

static uint64_t floor_of(struct bus_consumer *consumer)
{
    uint64_t position = UINT64_MAX;
    assert_int_equal(bus_consumer_floor(consumer, TEST_LIMIT_MS, &position), ERR_NONE);
    return position;
}

/* Acknowledgements take their time. */
static void until_floor(struct bus_consumer *consumer, uint64_t position)
{
    int64_t until = test_now_ms() + TEST_LIMIT_MS;
    while (floor_of(consumer) != position && test_now_ms() < until)
        test_sleep_a_little();
    assert_int_equal(floor_of(consumer), position);
}

static void the_floor_is_what_all_has_been_acknowledged_up_to(void **state)
{
    struct bus_fixture f;
    struct bus_delivery *d[5];
    struct bus_consumer *consumer, *sharing, *other;
    struct bus_consumer_spec spec = {
        .group = "group", .ack_wait_ms = 30000, .max_ack_pending = 100};
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 6);
    assert_int_equal(bus_consumer_open(f.log, &spec, &consumer), ERR_NONE);
    assert_int_equal(bus_consumer_open(f.log, &spec, &sharing), ERR_NONE);
    spec.group = "other";
    assert_int_equal(bus_consumer_open(f.log, &spec, &other), ERR_NONE);
    assert_int_equal(floor_of(consumer), 0);
    for (int i = 0; i < 5; i++)
        d[i] = bus_fixture_fetch_one(i % 2 ? sharing : consumer);
    assert_int_equal(floor_of(consumer), 0);
    bus_settle(d[0], BUS_ACK, 0);
    until_floor(consumer, 1);
    bus_settle(d[2], BUS_ACK, 0);
    bus_settle(d[4], BUS_ACK, 0);
    assert_int_equal(floor_of(consumer), 1); /* 2 is missing */
    bus_settle(d[1], BUS_ACK, 0);
    until_floor(consumer, 3);
    assert_int_equal(floor_of(sharing), 3);
    struct bus_delivery *sixth = bus_fixture_fetch_one(consumer);
    assert_int_equal(sixth->record->position, 6);
    bus_settle(sixth, BUS_ACK, 0);
    assert_int_equal(floor_of(consumer), 3);
    bus_settle(d[3], BUS_ACK, 0);
    until_floor(consumer, 6);
    assert_int_equal(floor_of(other), 0);
    bus_consumer_close(consumer);
    bus_consumer_close(sharing);
    bus_consumer_close(other);
    bus_fixture_end(&f);
}

static void the_floor_begins_anew_with_the_group(void **state)
{
    struct bus_world *world = *state;
    struct bus_fixture f;
    bus_fixture_begin(&f, world, NULL);
    bus_fixture_publish_many(&f, 1, 3);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    for (int i = 0; i < 3; i++)
        bus_settle(bus_fixture_fetch_one(consumer), BUS_ACK, 0);
    until_floor(consumer, 3);
    assert_int_equal(bus_consumer_restart(consumer, TEST_LIMIT_MS), ERR_NONE);
    assert_int_equal(floor_of(consumer), 0);
    for (uint64_t position = 1; position <= 3; position++) {
        assert_int_equal(floor_of(consumer), position - 1);
        bus_settle(bus_fixture_fetch_one(consumer), BUS_ACK, 0);
        until_floor(consumer, position);
    }
    world->renew(world, f.log, &f.spec);
    assert_int_equal(floor_of(consumer), 0);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

const struct CMUnitTest bus_consume_tests[] = {
    cmocka_unit_test(the_floor_is_what_all_has_been_acknowledged_up_to),
    cmocka_unit_test(the_floor_begins_anew_with_the_group),
    cmocka_unit_test(what_is_acknowledged_is_delivered_once),
    cmocka_unit_test(a_delivery_carries_its_record),
    cmocka_unit_test(what_is_left_comes_back_after_ack_wait),
    cmocka_unit_test(a_retry_comes_back_after_its_delay),
    cmocka_unit_test(progress_keeps_a_delivery),
    cmocka_unit_test(a_fetch_takes_what_is_there),
    cmocka_unit_test(a_fetch_waits_for_the_first),
    cmocka_unit_test(consumers_of_a_group_share_and_groups_do_not),
    cmocka_unit_test(no_more_than_max_ack_pending_are_out),
    cmocka_unit_test(a_work_queue_drops_what_is_done_but_knows_its_message_id),
    cmocka_unit_test(a_group_without_a_limit_may_have_any_number_out),
    cmocka_unit_test(a_delivery_may_outlive_its_consumer),
    cmocka_unit_test(a_consumer_goes_on_in_a_log_made_anew),
    cmocka_unit_test(a_group_that_begins_anew_gets_everything_again),
};
const size_t bus_consume_test_count = sizeof bus_consume_tests / sizeof *bus_consume_tests;
