/* What POST /api/v1/events answers where the bus has lost an event that it knows, or does not say
 * what became of one: two gateways with one bus in memory.
 */
#include "tests/lib/gateways.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>
#include <string.h>

#define JSON "Content-Type: application/json\r\n"
#define UUID "01890a5d-ac96-774b-bcce-b302099a8057"

static struct gateways g;
static struct raw_reply reply;
static char text[512];

static int start(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){0});
    return 0;
}

static int start_small_log(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){.log_bytes = 4000});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    gateways_stop(&g);
    return 0;
}

static void post(int which, const char *headers, const char *body)
{
    gateways_post(&g, which, headers, body, &reply);
}

static const char *member(const char *name)
{
    gateways_member(&reply, name, text);
    return text;
}

static void assert_position(uint64_t last)
{
    assert_int_equal(gateways_last_position(&g), last);
}

/* ---- the bus remembers what it no longer has ---- */

static void what_was_purged_is_stored_anew(void **state)
{
    char id[ID_TEXT_SIZE], stored_id[ID_TEXT_SIZE];
    struct event_text values;
    struct event event;
    struct bus_record *record;

    (void)state;
    gateways_id_of(GATEWAYS_SOURCE, "7", id);
    post(0, JSON, "{\"name\":\"a\",\"id\":\"7\"}");
    gateways_assert_stored(&reply, id);
    bus_mem_purge(g.events);
    post(1, JSON, "{\"name\":\"a\",\"id\":\"7\"}");
    gateways_assert_stored(&reply, id);
    record = gateways_event_at(&g, 2, &values, &event);
    id_format(&event.id, stored_id);
    assert_string_equal(stored_id, id);
    bus_record_free(record);
    bus_mem_renew(g.events);
    post(0, JSON, "{\"name\":\"b\",\"id\":\"7\"}");
    gateways_assert_stored(&reply, id);
    assert_position(1);
}

/* Puts a message into the log that has the message id of the event 7. */
static void put(const struct bus_header *headers, size_t count)
{
    char id[ID_TEXT_SIZE];
    struct bus_receipt receipt;
    struct bus_message message = {.subject = "tidings.events.a",
                                  .headers = headers,
                                  .header_count = count,
                                  .payload = VIEW("something else"),
                                  .message_id = id};

    gateways_id_of(GATEWAYS_SOURCE, "7", id);
    assert_int_equal(bus_publish_wait(g.events, &message, &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_STORED);
}

static void another_event_at_the_position_is_no_duplicate(void **state)
{
    const struct bus_header headers[] = {{"Tidings-Event-Id", VIEW(UUID)}, {"ce-id", VIEW(UUID)}};
    char id[ID_TEXT_SIZE];

    (void)state;
    gateways_id_of(GATEWAYS_SOURCE, "7", id);
    put(headers, 2);
    post(0, JSON, "{\"name\":\"a\",\"id\":\"7\"}");
    gateways_assert_stored(&reply, id);
    assert_position(2);
}

static void a_malformed_message_at_the_position_is_no_duplicate(void **state)
{
    const struct bus_header headers[] = {{"Tidings-Event-Id", VIEW("garbage")}};
    char id[ID_TEXT_SIZE];

    (void)state;
    gateways_id_of(GATEWAYS_SOURCE, "7", id);
    put(headers, 1);
    post(0, JSON, "{\"name\":\"a\",\"id\":\"7\"}");
    gateways_assert_stored(&reply, id);
    assert_position(2);
}

/* It is the second publish whose outcome counts. */
static void what_cannot_be_stored_anew_is_not_accepted(void **state)
{
    char body[4000];

    (void)state;
    put(NULL, 0);
    snprintf(body, sizeof body, "{\"name\":\"a\",\"id\":\"7\",\"payload\":\"%03900d\"}", 0);
    post(0, JSON, body);
    gateways_assert_problem(&reply, 507, "log-full", "maximum bytes");
    assert_position(1);
}

static void a_first_copy_that_cannot_be_read_is_unknown(void **state)
{
    static const enum err failures[] = {ERR_UNAVAILABLE, ERR_DEADLINE, ERR_INTERNAL};
    char id[ID_TEXT_SIZE];

    (void)state;
    gateways_id_of(GATEWAYS_SOURCE, "7", id);
    post(0, JSON, "{\"name\":\"a\",\"id\":\"7\"}");
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        bus_mem_set_unreadable(g.bus, failures[i]);
        post(0, JSON, "{\"name\":\"a\",\"id\":\"7\"}");
        gateways_assert_problem(&reply, 504, "unknown-outcome", "again with the same id");
        assert_string_equal(member("event_id"), id);
    }
    bus_mem_set_unreadable(g.bus, ERR_MEMORY);
    post(0, JSON, "{\"name\":\"a\",\"id\":\"7\"}");
    gateways_assert_problem(&reply, 503, "out-of-memory", "no memory");
    bus_mem_set_unreadable(g.bus, ERR_NONE);
    post(0, JSON, "{\"name\":\"a\",\"id\":\"7\"}");
    gateways_assert_duplicate(&reply, id);
    assert_position(1);
}

/* ---- unknown outcomes ---- */

static void post_until_unknown(const char *body)
{
    int fd;

    bus_mem_set_held(g.bus, true);
    fd = gateways_post_begin(&g, 0, JSON, body);
    assert_until(bus_in_flight(g.bus) == 1);
    bus_mem_set_away(g.bus, true);
    gateways_post_end(fd, &reply);
    bus_mem_set_away(g.bus, false);
    bus_mem_set_held(g.bus, false);
}

static void an_unknown_outcome_is_known_when_sent_again(void **state)
{
    char id[ID_TEXT_SIZE];

    (void)state;
    gateways_id_of(GATEWAYS_SOURCE, "7", id);
    post_until_unknown("{\"name\":\"a\",\"id\":\"7\"}");
    gateways_assert_problem(&reply, 504, "unknown-outcome", "again with the same id");
    assert_string_equal(member("event_id"), id);
    post(1, JSON, "{\"name\":\"a\",\"id\":\"7\"}");
    gateways_assert_duplicate(&reply, id);
    assert_position(1);
}

/* Without an id it is the event_id that makes sending again safe: both copies are one event. */
static void an_event_without_id_is_sent_again_by_its_event_id(void **state)
{
    char id[512], body[128], expected[64];
    struct event_text values[2];
    struct event events[2];
    struct bus_record *records[2];

    (void)state;
    post_until_unknown("{\"name\":\"a\",\"payload\":1}");
    gateways_member(&reply, "event_id", id);
    snprintf(expected, sizeof expected, "again with \"id\":\"%.36s\"", id);
    gateways_assert_problem(&reply, 504, "unknown-outcome", expected);
    snprintf(body, sizeof body, "{\"name\":\"a\",\"payload\":1,\"id\":\"%.36s\"}", id);
    post(1, JSON, body);
    gateways_assert_stored(&reply, id);
    assert_position(2);
    for (int i = 0; i < 2; i++)
        records[i] = gateways_event_at(&g, (uint64_t)i + 1, &values[i], &events[i]);
    assert_true(id_equal(&events[0].id, &events[1].id));
    assert_true(view_equal(events[0].digest, events[1].digest));
    assert_true(view_equal(events[0].producer_id, events[1].producer_id));
    for (int i = 0; i < 2; i++)
        bus_record_free(records[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_purged_is_stored_anew, start, stop),
        cmocka_unit_test_setup_teardown(another_event_at_the_position_is_no_duplicate, start, stop),
        cmocka_unit_test_setup_teardown(a_malformed_message_at_the_position_is_no_duplicate, start,
                                        stop),
        cmocka_unit_test_setup_teardown(what_cannot_be_stored_anew_is_not_accepted, start_small_log,
                                        stop),
        cmocka_unit_test_setup_teardown(a_first_copy_that_cannot_be_read_is_unknown, start, stop),
        cmocka_unit_test_setup_teardown(an_unknown_outcome_is_known_when_sent_again, start, stop),
        cmocka_unit_test_setup_teardown(an_event_without_id_is_sent_again_by_its_event_id, start,
                                        stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
