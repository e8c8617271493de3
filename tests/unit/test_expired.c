/* Whole processors on a bus in memory, on which events expire before they have ended. */
#include "tests/lib/mem_processor.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

enum { HOUR_MS = 3600 * 1000, PERCENT_MS = HOUR_MS / 100, MANY = 150, RACES = 24 };

/* Each test opens a world of its own, and finish closes it. */
static struct mem_world world;
static struct clock_manual clock_;
static struct one ones[2];

static int begin(void **state)
{
    (void)state;
    clock_manual_init(&clock_, 1700000000000);
    mem_world_open_at(&world, &clock_.base, HOUR_MS);
    world.settings.ack_wait_ms = HOUR_MS / 2;
    return 0;
}

static void start(struct one *one, const char *name)
{
    static char all[] = ">", simulate[] = "simulate";
    struct config_handler handler = {.match = all,
                                     .kind = simulate,
                                     .max_attempts = 3,
                                     .backoff_ms = HOUR_MS,
                                     .backoff_max_ms = HOUR_MS};
    one_start_with(&world, one, name, &handler, 1);
}

static void finish(size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_true(one_drain(&ones[i], DRAIN_MS));
    ones_finish(ones, count);
}

static uint64_t count_of(struct one *one, enum status status)
{
    return one_stats(one).counts[status];
}

static uint64_t expiring(struct one *one)
{
    return (uint64_t)mem_world_metric(one->metrics, "tidings_events_expiring");
}

static uint64_t expired(struct one *one)
{
    return (uint64_t)mem_world_metric(one->metrics, "tidings_events_expired_total");
}

static void publish(const char *payload, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct event_id id = {{0}};
        mem_world_event(&world, "order.created", payload, &id);
    }
}

/* Another processor, which takes a delivery and does nothing with it. */
static struct bus_delivery *hold_one(struct bus_consumer **ret)
{
    struct bus_delivery *delivery;
    size_t count;
    assert_int_equal(bus_consumer_open(world.events,
                                       &(struct bus_consumer_spec){.group = "default",
                                                                   .ack_wait_ms = HOUR_MS / 2,
                                                                   .max_ack_pending = 20000},
                                       ret),
                     ERR_NONE);
    assert_int_equal(bus_fetch(*ret, 1000, &delivery, 1, &count), ERR_NONE);
    return delivery;
}

static void assert_letter(uint64_t letter, const char *header, const char *expected)
{
    struct bus_record *record;
    assert_int_equal(bus_log_read(world.dead, letter, 1000, &record), ERR_NONE);
    struct view value = bus_record_header(record, header);
    if (!view_equal(value, view_of(expected)))
        fail_msg("%s is \"%.*s\", not \"%s\"", header, (int)value.len, value.data, expected);
    bus_record_free(record);
}

/* The letter's position, as the event's last record says. */
static uint64_t letter_of(struct one *one, uint64_t position, struct event_id *ret_id)
{
    struct status_entry entry;
    struct bus_record *record;
    struct status_batch *batch;
    assert_true(status_table_at(one->processor.table, position, &entry, NULL));
    assert_int_equal(entry.state.status, STATUS_DEAD);
    assert_int_equal(bus_log_read(world.statuses, entry.change_position, 1000, &record), ERR_NONE);
    assert_int_equal(status_batch_read(record->payload, &batch), ERR_NONE);
    struct status_change change = status_batch_get(batch, entry.change_place);
    uint64_t letter = change.letter_position;
    assert_true(change.error.len > 8 && memcmp(change.error.data, "expired:", 8) == 0);
    *ret_id = entry.id;
    status_batch_free(batch);
    bus_record_free(record);
    return letter;
}

static void test_an_event_that_retries_for_too_long(void **state)
{
    (void)state;
    struct event_id id;
    char text[ID_TEXT_SIZE];
    start(&ones[0], "one");
    publish("{\"simulate\":[\"fail:after=1h\"]}", 1);
    assert_until(count_of(&ones[0], STATUS_RETRYING) == 1);
    clock_manual_advance(&clock_, 65 * PERCENT_MS);
    assert_until(expiring(&ones[0]) == 1);
    assert_int_equal(count_of(&ones[0], STATUS_RETRYING), 1);
    publish("{\"simulate\":[\"fail:after=1h\"]}", 1);
    assert_until(count_of(&ones[0], STATUS_RETRYING) == 2);
    clock_manual_advance(&clock_, 16 * PERCENT_MS);
    assert_until(count_of(&ones[0], STATUS_DEAD) == 1);
    assert_until(expired(&ones[0]) == 1);
    uint64_t letter = letter_of(&ones[0], 1, &id);
    assert_int_equal(letter, 1);
    id_format(&id, text);
    assert_letter(letter, "Tidings-Reason", "expired");
    assert_letter(letter, "Tidings-Event-Id", text);
    assert_letter(letter, "Tidings-Attempts", "1");
    assert_letter(letter, "Tidings-Position", "1");
    clock_manual_advance(&clock_, 5 * PERCENT_MS); /* the next look */
    assert_until(expiring(&ones[0]) == 0);
    /* The younger one has its attempt before that. */
    assert_int_equal(count_of(&ones[0], STATUS_RETRYING), 1);
    assert_int_equal(mem_world_last(world.dead), 1);
    finish(1);
}

static void test_an_event_that_nobody_has_run(void **state)
{
    (void)state;
    struct event_id id;
    struct bus_consumer *other;
    publish("x", 1);
    struct bus_delivery *held = hold_one(&other);
    start(&ones[0], "one");
    assert_until(count_of(&ones[0], STATUS_ACCEPTED) == 1);
    clock_manual_advance(&clock_, 49 * PERCENT_MS);
    bus_progress(held);
    clock_manual_advance(&clock_, 32 * PERCENT_MS);
    assert_until(expired(&ones[0]) == 1);
    assert_letter(letter_of(&ones[0], 1, &id), "Tidings-Attempts", "0");
    /* It is delivered all the same, and only acknowledged. */
    bus_settle(held, BUS_RETRY, 0);
    assert_until(one_deliveries(&ones[0], "ended") == 1);
    assert_int_equal(one_deliveries(&ones[0], "processed"), 0);
    bus_consumer_close(other);
    finish(1);
}

/* More than one look takes. The letters of two processors are the same. */
static void test_many_events_with_two_processors(void **state)
{
    (void)state;
    start(&ones[0], "a");
    start(&ones[1], "b");
    publish("{\"simulate\":[\"fail:after=1h\"]}", MANY);
    assert_until(count_of(&ones[0], STATUS_RETRYING) == MANY);
    clock_manual_advance(&clock_, 85 * PERCENT_MS);
    for (size_t i = 0; i < 2; i++)
        assert_until(count_of(&ones[i], STATUS_DEAD) == MANY);
    assert_until(expired(&ones[0]) + expired(&ones[1]) == MANY);
    assert_int_equal(mem_world_last(world.dead), MANY);
    assert_true(one_stats(&ones[0]).digest == one_stats(&ones[1]).digest);
    finish(2);
}

static void test_without_an_age_nothing_expires(void **state)
{
    (void)state;
    mem_world_close(&world);
    mem_world_open_at(&world, &clock_.base, 0);
    start(&ones[0], "one");
    publish("{\"simulate\":[\"fail:after=1h\",\"ok\"]}", 1);
    assert_until(count_of(&ones[0], STATUS_RETRYING) == 1);
    clock_manual_advance(&clock_, 2 * HOUR_MS);
    assert_until(count_of(&ones[0], STATUS_PROCESSED) == 1);
    assert_int_equal(mem_world_last(world.dead), 0);
    finish(1);
}

/* Handlers that come to their end while the events expire. */
static void test_an_event_has_one_outcome(void **state)
{
    (void)state;
    struct event_id id;
    char payload[48];
    start(&ones[0], "a");
    start(&ones[1], "b");
    for (int i = 0; i < RACES; i++) {
        snprintf(payload, sizeof payload, "{\"simulate\":[\"delay:%dms\"]}", 200 + 20 * i);
        publish(payload, 1);
    }
    assert_until(one_in_hand(&ones[0]) + one_in_hand(&ones[1]) == RACES);
    assert_until(count_of(&ones[0], STATUS_PROCESSED) >= 2);
    clock_manual_advance(&clock_, 81 * PERCENT_MS);
    for (size_t i = 0; i < 2; i++)
        assert_until(count_of(&ones[i], STATUS_DEAD) + count_of(&ones[i], STATUS_PROCESSED) ==
                     RACES);
    uint64_t dead = count_of(&ones[0], STATUS_DEAD);
    assert_until(one_in_hand(&ones[0]) + one_in_hand(&ones[1]) == 0);
    assert_until(expired(&ones[0]) + expired(&ones[1]) == dead);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(count_of(&ones[i], STATUS_DEAD), dead);
    for (uint64_t p = 1; p <= RACES; p++) {
        struct status_entry entry;
        assert_true(status_table_at(ones[0].processor.table, p, &entry, NULL));
        if (entry.state.status == STATUS_DEAD)
            assert_letter(letter_of(&ones[0], p, &id), "Tidings-Reason", "expired");
    }
    finish(2);
}

/* It is known by the id of its position, and came with another. */
static void test_a_conflict_that_was_replayed(void **state)
{
    (void)state;
    struct event_id id = {{0}}, own;
    struct status_entry entry;
    mem_world_event(&world, "order.created", "{\"simulate\":[\"ok\"]}", &id);
    mem_world_event(&world, "order.created", "{\"simulate\":[\"ok\",\"fail:after=1h\"]}", &id);
    start(&ones[0], "one");
    assert_until(count_of(&ones[0], STATUS_DEAD) == 1);
    assert_true(status_table_at(ones[0].processor.table, 2, &entry, NULL));
    assert_true(entry.conflict);
    mem_world_item(
        &world, mem_world_retries(&world),
        &(struct retry_item){.id = entry.id, .event_position = 2, .generation = 1, .attempt = 2});
    assert_until(count_of(&ones[0], STATUS_RETRYING) == 1);
    clock_manual_advance(&clock_, 81 * PERCENT_MS);
    assert_until(count_of(&ones[0], STATUS_DEAD) == 1);
    assert_letter(letter_of(&ones[0], 2, &own), "Tidings-Reason", "expired");
    assert_true(id_equal(&own, &entry.id));
    finish(1);
}

#define test(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_an_event_that_retries_for_too_long), test(test_an_event_that_nobody_has_run),
        test(test_many_events_with_two_processors),    test(test_without_an_age_nothing_expires),
        test(test_an_event_has_one_outcome),           test(test_a_conflict_that_was_replayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
