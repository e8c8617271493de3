/* Copies and messages that are no events, on a bus in memory: what becomes a dead letter, and what
 * is in it. */
#include "tests/lib/mem_processor.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

/* Each test opens a world of its own, and `ones_finish` closes it. */
static struct mem_world world;

static int begin(void **state)
{
    (void)state;
    mem_world_open(&world);
    return 0;
}

/* ---- what is stored ---- */

static struct bus_record *read_letter(uint64_t position)
{
    struct bus_record *record;
    assert_int_equal(bus_log_read(world.dead, position, 1000, &record), ERR_NONE);
    return record;
}

static void assert_header(const struct bus_record *record, const char *name, const char *expected)
{
    struct view value = bus_record_header(record, name);
    if (!view_equal(value, view_of(expected)))
        fail_msg("%s is \"%.*s\", not \"%s\"", name, (int)value.len, value.data, expected);
}

static void assert_id_header(const struct bus_record *record, const char *name,
                             const struct event_id *id)
{
    char text[ID_TEXT_SIZE];
    id_format(id, text);
    assert_header(record, name, text);
}

static void assert_number_header(const struct bus_record *record, const char *name, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    assert_header(record, name, text);
}

/* The change that the table's entry names; its views live until the next call. */
static struct status_change change_of(const struct status_entry *entry)
{
    static struct status_batch *batch;
    struct bus_record *record;
    status_batch_free(batch);
    batch = NULL;
    if (!entry)
        return (struct status_change){0};
    assert_int_equal(bus_log_read(world.statuses, entry->change_position, 1000, &record), ERR_NONE);
    assert_int_equal(status_batch_read(record->payload, &batch), ERR_NONE);
    bus_record_free(record);
    return status_batch_get(batch, entry->change_place);
}

/* Waits until the table has it dead. */
static struct status_entry until_dead(struct one *one, struct event_id id)
{
    struct status_entry entry;
    assert_until(status_table_find(one->processor.table, &id, &entry, NULL) &&
                 entry.state.status == STATUS_DEAD);
    return entry;
}

static double stored(struct one *one, const char *reason)
{
    char series[64];
    snprintf(series, sizeof series, "tidings_letters_total{reason=\"%s\"}", reason);
    return mem_world_metric(one->metrics, series);
}

static void finish(struct one *ones, size_t count)
{
    (void)change_of(NULL);
    for (size_t i = 0; i < count; i++)
        assert_true(one_drain(&ones[i], DRAIN_MS));
    ones_finish(ones, count);
}

/* ---- conflicts ---- */

static void test_a_copy_with_other_content_becomes_a_letter(void **state)
{
    (void)state;
    static struct one one;
    struct event_id id = {{0}};
    uint64_t first = mem_world_event(&world, "order.created", "a", &id);
    mem_world_event(&world, "order.created", "a", &id);
    uint64_t other = mem_world_event(&world, "order.paid", "b", &id);
    struct event_id own = mem_world_own_id(other);
    one_start_simulating(&world, &one, "one", 0);
    struct status_entry entry = until_dead(&one, own);
    assert_until(one_status(&one, &id) == STATUS_PROCESSED);
    assert_until(one_deliveries(&one, "copy") == 1 && one_deliveries(&one, "dead") == 1 &&
                 one_deliveries(&one, "processed") == 1);
    assert_true(entry.conflict);
    assert_int_equal(entry.event_position, other);

    struct status_change change = change_of(&entry);
    assert_true(id_equal(&change.id, &own));
    assert_int_equal(change.letter_position, 1);
    assert_true(id_equal(&change.conflict_id, &id));
    assert_int_equal(change.conflict_position, first);
    if (change.error.len < 13 || memcmp(change.error.data, "id_conflict: ", 13) != 0)
        fail_msg("the reason is \"%.*s\"", (int)change.error.len, change.error.data);

    assert_int_equal(mem_world_last(world.dead), 1);
    struct bus_record *letter = read_letter(1);
    assert_string_equal(letter->subject, "test.dead.default.order.paid");
    assert_true(view_equal(letter->payload, VIEW("b")));
    assert_id_header(letter, "Tidings-Event-Id", &own);
    assert_header(letter, "Tidings-Reason", "id_conflict");
    assert_true(view_equal(bus_record_header(letter, "Tidings-Error"), change.error));
    assert_header(letter, "Tidings-Group", "default");
    assert_number_header(letter, "Tidings-Position", other);
    assert_header(letter, "Tidings-Attempts", "0");
    assert_header(letter, "Tidings-Generation", "0");
    assert_id_header(letter, "Tidings-Conflicts-With", &id);
    assert_number_header(letter, "Tidings-Conflicts-With-Position", first);
    assert_header(letter, "Tidings-Payload-In", "");
    assert_header(letter, "ce-type", "order.paid");
    assert_header(letter, "ce-time", "2026-01-02T03:04:05.678Z");
    assert_header(letter, "content-type", "text/plain");
    bus_record_free(letter);
    assert_int_equal(stored(&one, "id_conflict"), 1);
    assert_int_equal(mem_world_metric(one.metrics, "tidings_id_conflicts_total"), 1);
    finish(&one, 1);
}

static void test_replicas_agree_on_many_conflicts(void **state)
{
    (void)state;
    static struct one ones[3];
    enum { IDS = 40, COPIES = 25 };
    static struct event_id ids[IDS];
    static const char *const names[3] = {"a", "b", "c"};
    for (size_t i = 0; i < 2; i++)
        one_start_simulating(&world, &ones[i], names[i], 1);
    for (int n = 0; n < COPIES; n++)
        for (int i = 0; i < IDS; i++)
            mem_world_event(&world, "n", n % 3 == 2 ? "other" : "first", &ids[i]);
    one_start_simulating(&world, &ones[2], names[2], 1);
    enum { CONFLICTS = IDS * (COPIES / 3) };
    for (size_t i = 0; i < 3; i++) {
        assert_until(one_stats(&ones[i]).counts[STATUS_PROCESSED] == IDS &&
                     one_stats(&ones[i]).counts[STATUS_DEAD] == CONFLICTS);
        assert_int_equal(one_stats(&ones[i]).copies, IDS * (COPIES - 1) - CONFLICTS);
        assert_until(one_in_hand(&ones[i]) == 0);
    }
    /* All has ended, so both logs have. */
    uint64_t digest = one_stats(&ones[0]).digest;
    for (size_t i = 1; i < 3; i++)
        assert_until(one_stats(&ones[i]).digest == digest);
    assert_int_equal(mem_world_last(world.dead), CONFLICTS);
    finish(ones, 3);
}

static void test_a_redelivered_conflict_is_acknowledged(void **state)
{
    (void)state;
    static struct one ones[2];
    struct event_id id = {{0}};
    mem_world_event(&world, "n", "a", &id);
    uint64_t other = mem_world_event(&world, "n", "b", &id);
    one_start_simulating(&world, &ones[0], "one", 0);
    (void)until_dead(&ones[0], mem_world_own_id(other));
    assert_until(one_in_hand(&ones[0]) == 0);
    assert_true(one_drain(&ones[0], DRAIN_MS));
    struct bus_consumer *consumer; /* as an operator may: all is delivered again */
    assert_int_equal(bus_consumer_open(world.events,
                                       &(struct bus_consumer_spec){.group = "default",
                                                                   .ack_wait_ms = 600,
                                                                   .max_ack_pending = 20000},
                                       &consumer),
                     ERR_NONE);
    assert_int_equal(bus_consumer_restart(consumer, 1000), ERR_NONE);
    bus_consumer_close(consumer);
    one_start_simulating(&world, &ones[1], "two", 0);
    assert_until(one_deliveries(&ones[1], "ended") == 2);
    assert_int_equal(mem_world_last(world.dead), 1);
    assert_true(one_drain(&ones[1], DRAIN_MS));
    ones_finish(ones, 2);
}

/* ---- what is no event ---- */

static void publish(const char *subject, const struct bus_header *headers, size_t count,
                    struct view payload)
{
    struct bus_receipt receipt;
    assert_int_equal(bus_publish_wait(world.events,
                                      &(struct bus_message){.subject = subject,
                                                            .headers = headers,
                                                            .header_count = count,
                                                            .payload = payload},
                                      &receipt),
                     ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_STORED);
}

static void test_what_is_no_event_becomes_a_letter(void **state)
{
    (void)state;
    static struct one one;
    const struct bus_header headers[] = {
        {"Tidings-Event-Id", VIEW("not a uuid")},
        {"X-Theirs", VIEW("1")},
        {"Nats-Expected-Stream", VIEW("NONE")},
        {"tidings-reason", VIEW("mine")},
        {"X-Theirs-Too", VIEW("caf\xc3\xa9")},
        {"X-Twice", VIEW("1")},
        {"X-Twice", VIEW("2")},
    };
    publish("test.events.order.created", headers, 7, VIEW("{\"a\":1}"));
    publish("test.events.no$name", NULL, 0, VIEW("x"));
    one_start_simulating(&world, &one, "one", 0);
    struct status_entry entry = until_dead(&one, mem_world_own_id(1));
    struct status_change change = change_of(&entry);
    if (change.error.len < 11 || memcmp(change.error.data, "malformed: ", 11) != 0)
        fail_msg("the reason is \"%.*s\"", (int)change.error.len, change.error.data);
    assert_int_equal(change.conflict_position, 0);
    struct event_id own = mem_world_own_id(1);
    struct bus_record *letter = read_letter(change.letter_position);
    assert_string_equal(letter->subject, "test.dead.default.order.created");
    assert_true(view_equal(letter->payload, VIEW("{\"a\":1}")));
    assert_id_header(letter, "Tidings-Event-Id", &own);
    assert_header(letter, "Tidings-Reason", "malformed");
    assert_header(letter, "Tidings-Position", "1");
    assert_header(letter, "Tidings-Conflicts-With", "");
    assert_header(letter, "Nats-Expected-Stream", "");
    assert_header(letter, "X-Theirs", "1");
    assert_header(letter, "X-Theirs-Too", "caf\xc3\xa9");
    struct bus_header_view found[32];
    size_t count = bus_record_headers(letter, found, 32), twice = 0;
    for (size_t i = 0; i < count; i++)
        twice += view_equal(found[i].name, VIEW("X-Twice"));
    assert_int_equal(twice, 2);
    bus_record_free(letter);

    entry = until_dead(&one, mem_world_own_id(2));
    change = change_of(&entry);
    letter = read_letter(change.letter_position);
    assert_string_equal(letter->subject, "test.dead.default.(malformed)");
    assert_header(letter, "Tidings-Position", "2");
    bus_record_free(letter);
    assert_until(stored(&one, "malformed") == 2);
    assert_int_equal(mem_world_metric(one.metrics, "tidings_events_malformed_total"), 2);
    finish(&one, 1);
}

/* Somebody has guessed the id that a message will be given. */
static void test_what_is_no_event_ends_also_if_its_id_is_taken(void **state)
{
    (void)state;
    static struct one one;
    struct status_entry entry;
    struct event_id guessed = mem_world_own_id(2);
    mem_world_event(&world, "n", "a", &guessed);
    assert_int_equal(mem_world_junk(&world, "junk"), 2);
    one_start_simulating(&world, &one, "one", 0);
    assert_until(status_table_at(one.processor.table, 2, &entry, NULL) &&
                 entry.state.status == STATUS_DEAD);
    assert_true(entry.conflict);
    assert_until(one_status(&one, &guessed) == STATUS_PROCESSED); /* the event that was accepted */
    struct bus_record *letter = read_letter(1);
    assert_header(letter, "Tidings-Reason", "malformed");
    bus_record_free(letter);
    finish(&one, 1);
}

/* The other way round: an event with the id of what is no event. */
static void test_an_event_with_the_id_of_what_is_no_event_is_a_conflict(void **state)
{
    (void)state;
    static struct one one;
    struct event_id taken = mem_world_own_id(1);
    assert_int_equal(mem_world_junk(&world, "junk"), 1);
    mem_world_event(&world, "n", "a", &taken);
    one_start_simulating(&world, &one, "one", 0);
    struct status_entry entry = until_dead(&one, mem_world_own_id(2));
    struct bus_record *letter = read_letter(change_of(&entry).letter_position);
    assert_header(letter, "Tidings-Reason", "id_conflict");
    bus_record_free(letter);
    finish(&one, 1);
}

static void test_a_letter_too_large_for_the_bus_says_where_its_payload_is(void **state)
{
    (void)state;
    static struct one one;
    enum { WHOLE = 1024 * 1024 };
    static char large[WHOLE];
    static char many[WHOLE - 200];
    memset(large, 'x', sizeof large);
    memset(many, 'h', sizeof many);
    const struct bus_header small_header = {"X-Small", VIEW("1")};
    const struct bus_header huge_header = {"X-Huge", {many, sizeof many}};
    publish("test.events.large", &small_header, 1, (struct view){large, WHOLE - 100});
    publish("test.events.headers", &huge_header, 1, VIEW("payload"));
    one_start_simulating(&world, &one, "one", 0);
    struct status_entry entry = until_dead(&one, mem_world_own_id(1));
    struct bus_record *letter = read_letter(change_of(&entry).letter_position);
    assert_int_equal(letter->payload.len, 0);
    assert_header(letter, "Tidings-Payload-In", MEM_WORLD_STREAM);
    assert_header(letter, "Tidings-Position", "1");
    assert_header(letter, "X-Small", "1");
    bus_record_free(letter);
    entry = until_dead(&one, mem_world_own_id(2));
    letter = read_letter(change_of(&entry).letter_position);
    assert_int_equal(letter->payload.len, 0);
    assert_header(letter, "Tidings-Payload-In", MEM_WORLD_STREAM);
    assert_header(letter, "X-Huge", "");
    bus_record_free(letter);
    finish(&one, 1);
}

/* ---- the order, and what comes between ---- */

static void on_published(void *ctx, const struct bus_receipt *receipt)
{
    (void)ctx;
    (void)receipt;
}

static void test_nothing_is_recorded_before_its_letter_is_stored(void **state)
{
    (void)state;
    static struct one one;
    struct event_id id = {{0}};
    one_start_simulating(&world, &one, "one", 0);
    mem_world_event(&world, "n", "a", &id);
    assert_until(one_deliveries(&one, "processed") == 1);
    uint64_t before = mem_world_last(world.statuses);
    bus_mem_set_held(world.bus, true); /* the letter is stored, but nobody is told */
    char text[ID_TEXT_SIZE];
    id_format(&id, text);
    struct event event = {.id = id,
                          .name = VIEW("n"),
                          .source = VIEW("/test"),
                          .producer_id = view_of(text),
                          .payload = VIEW("b")};
    static struct event_message message;
    event_to_message(&event, MEM_WORLD_NS, &message);
    assert_int_equal(bus_publish(world.events, &message.message, on_published, NULL), ERR_NONE);
    assert_until(mem_world_last(world.dead) == 1);
    assert_int_equal(mem_world_last(world.statuses), before);
    assert_int_equal(one_in_hand(&one), 1);
    bus_mem_set_away(world.bus, true); /* now it is unknown whether the letter is stored */
    bus_mem_set_held(world.bus, false);
    bus_mem_set_away(world.bus, false);
    struct status_entry entry = until_dead(&one, mem_world_own_id(2));
    assert_int_equal(change_of(&entry).letter_position, 1);
    assert_int_equal(mem_world_last(world.dead), 1); /* the bus knew it */
    finish(&one, 1);
}

static void test_a_letter_of_a_processor_that_died_is_taken_up(void **state)
{
    (void)state;
    static struct one one;
    struct event_id id = {{0}};
    char text[ID_TEXT_SIZE];
    char message_id[80];
    struct bus_receipt receipt;
    struct bus_record *record;
    mem_world_event(&world, "n", "a", &id);
    struct event_id own = mem_world_own_id(mem_world_event(&world, "n", "b", &id));
    assert_int_equal(bus_log_read(world.events, 2, 1000, &record), ERR_NONE);
    id_format(&own, text);
    snprintf(message_id, sizeof message_id, "default/%s/0/%lld", text, (long long)record->time_ms);
    bus_record_free(record);
    assert_int_equal(bus_publish_wait(world.dead,
                                      &(struct bus_message){.subject = "test.dead.default.n",
                                                            .payload = VIEW("b"),
                                                            .message_id = message_id},
                                      &receipt),
                     ERR_NONE);
    one_start_simulating(&world, &one, "one", 0);
    struct status_entry entry = until_dead(&one, own);
    assert_int_equal(change_of(&entry).letter_position, receipt.position);
    assert_int_equal(mem_world_last(world.dead), 1);
    assert_int_equal(stored(&one, "id_conflict"), 0);
    finish(&one, 1);
}

/* ---- stopping ---- */

static void test_a_drain_returns_what_waits_for_a_letter(void **state)
{
    (void)state;
    static struct one ones[2];
    enum { COPIES = 30 };
    struct event_id id = {{0}};
    world.settings.ack_wait_ms = 3600 * 1000; /* whoever waited for it would wait too long */
    one_start_simulating(&world, &ones[0], "one", 0);
    mem_world_event(&world, "n", "a", &id);
    assert_until(one_deliveries(&ones[0], "processed") == 1);
    for (int i = 0; i < COPIES; i++)
        mem_world_event(&world, "n", i % 2 ? "a" : "b", &id);
    assert_until(one_deliveries(&ones[0], "dead") > 0);
    assert_true(one_drain(&ones[0], DRAIN_MS));
    assert_int_equal(one_deliveries(&ones[0], "left"), 0);
    one_start_simulating(&world, &ones[1], "two", 0);
    assert_until(one_stats(&ones[1]).counts[STATUS_DEAD] == COPIES / 2);
    assert_until(one_deliveries(&ones[0], "copy") + one_deliveries(&ones[1], "copy") == COPIES / 2);
    assert_true(one_drain(&ones[1], DRAIN_MS));
    ones_finish(ones, 2);
}

#define test(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_a_copy_with_other_content_becomes_a_letter),
        test(test_replicas_agree_on_many_conflicts),
        test(test_a_redelivered_conflict_is_acknowledged),
        test(test_what_is_no_event_becomes_a_letter),
        test(test_what_is_no_event_ends_also_if_its_id_is_taken),
        test(test_an_event_with_the_id_of_what_is_no_event_is_a_conflict),
        test(test_a_letter_too_large_for_the_bus_says_where_its_payload_is),
        test(test_nothing_is_recorded_before_its_letter_is_stored),
        test(test_a_letter_of_a_processor_that_died_is_taken_up),
        test(test_a_drain_returns_what_waits_for_a_letter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
