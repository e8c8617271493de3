/* POST /api/v1/events with several events in a body.
 */
#include "tests/lib/gateways.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#define JSON "Content-Type: application/json\r\n"
#define BATCH "Content-Type: application/cloudevents-batch+json\r\n"
#define PARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
#define MANY 100 /* gateways.c's max_batch */

static struct gateways g;
static struct raw_reply reply;
static cJSON *results;
static char value[512];

static int start(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){.max_in_flight = MANY});
    return 0;
}

static int start_narrow(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){.max_in_flight = 2});
    return 0;
}

static int start_small_log(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){.log_bytes = 1200});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    cJSON_Delete(results);
    results = NULL;
    gateways_stop(&g);
    return 0;
}

/* ---- requests and results ---- */

static void take_results(void)
{
    cJSON_Delete(results);
    results = cJSON_Parse(reply.body);
    if (!cJSON_IsArray(results))
        fail_msg("%d: %s", reply.status, reply.body);
}

static void post(const char *headers, const char *body)
{
    gateways_post(&g, 0, headers, body, &reply);
}

static void post_array(const char *body)
{
    post(JSON, body);
    take_results();
}

static uint64_t last_position(void)
{
    return gateways_last_position(&g);
}

static const char *text_of(int index, const char *name)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(results, index), name);

    return cJSON_IsString(found) ? found->valuestring : "";
}

static int status_of(int index)
{
    const cJSON *found =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(results, index), "status");

    return cJSON_IsNumber(found) ? found->valueint : 0;
}

static bool is_duplicate(int index)
{
    return cJSON_IsTrue(
        cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(results, index), "duplicate"));
}

static void assert_results(int count)
{
    if (cJSON_GetArraySize(results) != count)
        fail_msg("%d results: %s", cJSON_GetArraySize(results), reply.body);
}

static void assert_accepted(int index, bool duplicate)
{
    if (strcmp(text_of(index, "status"), "accepted") != 0 || is_duplicate(index) != duplicate ||
        strlen(text_of(index, "event_id")) != 36)
        fail_msg("%d is not accepted%s: %s", index, duplicate ? ", duplicate" : "", reply.body);
}

static void assert_failed(int index, int status, const char *type, const char *detail)
{
    char urn[64];

    snprintf(urn, sizeof urn, "urn:tidings:problem:%s", type);
    if (status_of(index) != status || strcmp(text_of(index, "type"), urn) != 0 ||
        !text_of(index, "title")[0] || !strstr(text_of(index, "detail"), detail))
        fail_msg("%d is not %d %s: %s", index, status, type, reply.body);
}

/* An array of so many events. */
static const char *many(int count)
{
    static char body[4096];
    size_t used = 0;

    for (int i = 0; i < count; i++)
        used += (size_t)snprintf(body + used, sizeof body - used, "%s{\"name\":\"n.%d\"}",
                                 i ? "," : "[", i);
    snprintf(body + used, sizeof body - used, "]");
    return body;
}

/* ---- stored ---- */

static void each_has_its_result_in_order(void **state)
{
    struct event_text text;
    struct event event;
    char id[ID_TEXT_SIZE], name[16];

    (void)state;
    post_array(many(20));
    gateways_assert_status(&reply, 202);
    assert_false(raw_header(&reply, "Location", value));
    assert_results(20);
    assert_int_equal(last_position(), 20);
    for (int i = 0; i < 20; i++) {
        struct bus_record *record = gateways_event_at(&g, (uint64_t)i + 1, &text, &event);

        snprintf(name, sizeof name, "n.%d", i);
        assert_true(view_equal(event.name, view_of(name)));
        id_format(&event.id, id);
        assert_accepted(i, false);
        assert_string_equal(text_of(i, "event_id"), id);
        bus_record_free(record);
    }
}

static void all_are_on_their_way_at_once(void **state)
{
    int fd;

    (void)state;
    bus_mem_set_held(g.bus, true);
    fd = gateways_post_begin(&g, 0, JSON, many(MANY));
    assert_until(bus_in_flight(g.bus) == MANY);
    bus_mem_set_held(g.bus, false);
    gateways_post_end(fd, &reply);
    gateways_assert_status(&reply, 202);
    assert_true(gateways_has_metric(&g, "tidings_publishes_total{outcome=\"stored\"} 100"));
    assert_true(gateways_has_metric(&g, "tidings_publish_duration_seconds_count 100"));
}

static void cloud_events_in_a_batch(void **state)
{
    struct event_text text;
    struct event event;
    struct bus_record *record;

    (void)state;
    post(BATCH,
         " [ {\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/x\",\"type\":\"a\",\"data\":[1]} ,"
         "{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/x\",\"type\":\"b\","
         "\"data_base64\":\"AAH/\",\"datacontenttype\":\"image/png\"},"
         "{\"specversion\":\"0.3\",\"id\":\"3\",\"source\":\"/x\",\"type\":\"c\"}, "
         "{\"name\":\"d\"} ]");
    take_results();
    gateways_assert_status(&reply, 207);
    assert_results(4);
    assert_accepted(0, false);
    assert_accepted(1, false);
    assert_failed(2, 422, "invalid", "specversion");
    assert_failed(3, 422, "invalid", "specversion");
    record = gateways_event_at(&g, 2, &text, &event);
    assert_true(view_equal(event.payload, ((struct view){"\x00\x01\xff", 3})));
    assert_true(view_equal(event.content_type, VIEW("image/png")));
    bus_record_free(record);
}

static void the_trace_goes_with_each(void **state)
{
    static const char own[] = "00-11111111111111111111111111111111-2222222222222222-00";
    struct event_text text;
    struct event event;
    char body[512];

    (void)state;
    snprintf(body, sizeof body,
             "[{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/x\",\"type\":\"a\"},"
             "{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/x\",\"type\":\"a\","
             "\"traceparent\":\"%s\"}]",
             own);
    post(BATCH "traceparent: " PARENT "\r\ntracestate: a=b\r\n", body);
    gateways_assert_status(&reply, 202);
    for (uint64_t position = 1; position <= 2; position++) {
        struct bus_record *record = gateways_event_at(&g, position, &text, &event);

        assert_true(view_equal(event.traceparent, view_of(position == 1 ? PARENT : own)));
        assert_true(view_equal(event.tracestate, view_of(position == 1 ? "a=b" : "")));
        bus_record_free(record);
    }
}

/* ---- ids ---- */

static void an_id_twice_is_one_event(void **state)
{
    char id[ID_TEXT_SIZE];

    (void)state;
    post_array("[{\"name\":\"a\",\"id\":\"7\"},{\"name\":\"b\",\"id\":\"8\"},"
               "{\"name\":\"a\",\"id\":\"7\"},{\"name\":\"c\",\"id\":\"7\"},"
               "{\"name\":\"a\",\"id\":\"7\",\"time\":\"2026-01-02T03:04:05Z\"},{\"name\":\"a\"}]");
    gateways_assert_status(&reply, 207);
    assert_results(6);
    assert_accepted(0, false);
    assert_accepted(1, false);
    assert_accepted(2, true);
    assert_failed(3, 409, "id-reused", "another event");
    assert_accepted(4, true);
    assert_accepted(5, false);
    gateways_id_of(GATEWAYS_SOURCE, "7", id);
    for (int i = 0; i < 5; i++)
        if (i != 1)
            assert_string_equal(text_of(i, "event_id"), id);
    assert_int_equal(last_position(), 3);
    assert_true(gateways_has_metric(&g, "tidings_duplicates_total 2"));
}

static void a_batch_that_is_sent_again_is_stored_once(void **state)
{
    static const char body[] = "[{\"name\":\"a\",\"id\":\"1\"},{\"name\":\"b\",\"id\":\"2\"}]";

    (void)state;
    post_array(body);
    gateways_assert_status(&reply, 202);
    gateways_post(&g, 1, JSON, body, &reply);
    take_results();
    gateways_assert_status(&reply, 202);
    assert_accepted(0, true);
    assert_accepted(1, true);
    assert_int_equal(last_position(), 2);
    bus_mem_purge(g.events); /* by hand, and the bus still knows the ids */
    post_array(body);
    gateways_assert_status(&reply, 202);
    assert_accepted(0, false);
    assert_accepted(1, false);
    assert_int_equal(last_position(), 4);
}

/* ---- not all, or none ---- */

static void bad_events_are_told_one_by_one(void **state)
{
    (void)state;
    post_array("[{\"name\":\"a\"},7,{\"name\":\"a b\"},{},null,[],{\"name\":\"a\",\"name\":\"b\"},"
               "{\"name\":\"b\"}]");
    gateways_assert_status(&reply, 207);
    assert_results(8);
    assert_accepted(0, false);
    assert_failed(1, 422, "invalid", "JSON object");
    assert_failed(2, 422, "invalid", "name");
    assert_failed(3, 422, "invalid", "name is missing");
    assert_failed(4, 422, "invalid", "JSON object");
    assert_failed(5, 422, "invalid", "JSON object");
    assert_failed(6, 400, "malformed", "twice");
    assert_accepted(7, false);
    assert_string_equal(text_of(1, "event_id"), "");
    assert_int_equal(last_position(), 2);
}

static void none_is_stored(void **state)
{
    static const struct {
        const char *body;
        int status;
    } cases[] = {
        {"[{},7]", 422},
        {"[{\"name\":\"a\",\"name\":\"b\"}]", 400},
        {"[{},{\"name\":\"a\",\"name\":\"b\"}]", 422},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        post_array(cases[i].body);
        gateways_assert_status(&reply, cases[i].status);
        assert_true(raw_header(&reply, "Content-Type", value));
        assert_string_equal(value, "application/json");
        assert_false(raw_header(&reply, "Retry-After", value));
    }
    assert_int_equal(last_position(), 0);
    bus_mem_set_away(g.bus, true);
    post_array("[{\"name\":\"a\"},{\"name\":\"b\"}]");
    gateways_assert_status(&reply, 503);
    assert_true(raw_header(&reply, "Retry-After", value));
    assert_failed(0, 503, "unavailable", "not stored");
    assert_failed(1, 503, "unavailable", "not stored");
    post_array("[{\"name\":\"a\"},{}]");
    gateways_assert_status(&reply, 503); /* something may be sent again */
    assert_true(raw_header(&reply, "Retry-After", value));
}

static void outcomes_that_are_unknown(void **state)
{
    int fd;

    (void)state;
    bus_mem_set_held(g.bus, true);
    fd = gateways_post_begin(&g, 0, JSON, "[{\"name\":\"a\"},{},{\"name\":\"b\",\"id\":\"7\"}]");
    assert_until(bus_in_flight(g.bus) == 2);
    bus_mem_set_away(g.bus, true);
    gateways_post_end(fd, &reply);
    take_results();
    gateways_assert_status(&reply, 504);
    assert_false(raw_header(&reply, "Retry-After", value));
    assert_failed(0, 504, "unknown-outcome", text_of(0, "event_id")); /* to be sent with it */
    assert_failed(1, 422, "invalid", "");
    assert_failed(2, 504, "unknown-outcome", "same id");
    assert_int_equal(strlen(text_of(0, "event_id")), 36);
    gateways_id_of(GATEWAYS_SOURCE, "7", value);
    assert_string_equal(text_of(2, "event_id"), value);
}

/* Refused because of others only; what is its own it waits for. */
static void busy_with_itself(void **state)
{
    int fd;

    (void)state;
    bus_mem_set_held(g.bus, true);
    fd = gateways_post_begin(&g, 0, JSON, many(5));
    assert_until(bus_in_flight(g.bus) == 2);
    bus_mem_set_held(g.bus, false);
    gateways_post_end(fd, &reply);
    take_results();
    gateways_assert_status(&reply, 202);
    assert_results(5);
    assert_int_equal(last_position(), 5);
}

static void busy_with_others(void **state)
{
    int others[2];

    (void)state;
    bus_mem_set_held(g.bus, true);
    for (int i = 0; i < 2; i++)
        others[i] = gateways_post_begin(&g, 0, JSON, "{\"name\":\"a\"}");
    assert_until(bus_in_flight(g.bus) == 2);
    post_array(many(3));
    gateways_assert_status(&reply, 429);
    assert_true(raw_header(&reply, "Retry-After", value));
    assert_failed(0, 429, "too-many-requests", "limit");
    bus_mem_set_held(g.bus, false);
    for (int i = 0; i < 2; i++)
        gateways_post_end(others[i], &reply);
    assert_int_equal(last_position(), 2);
}

static void a_log_that_gets_full(void **state)
{
    int i = 0;

    (void)state;
    post_array(many(20));
    gateways_assert_status(&reply, 207);
    assert_results(20);
    while (status_of(i) == 0)
        assert_accepted(i++, false);
    assert_true(i > 0 && (uint64_t)i == last_position());
    for (; i < 20; i++)
        assert_failed(i, 507, "log-full", "refused");
    post_array(many(2));
    gateways_assert_status(&reply, 507);
}

/* ---- the whole body ---- */

static void bodies_that_are_no_batch(void **state)
{
    static const struct {
        const char *headers, *body;
        int status;
        const char *type, *detail;
    } bad[] = {
        {JSON, "[{\"name\":\"a\"},", 400, "malformed", "byte 14"},
        {JSON, "[{\"name\":\"a\"}] x", 400, "malformed", "byte 15"},
        {JSON, "[{\"name\":\"a\"},{\"name\":01}]", 400, "malformed", "byte"},
        {JSON, " [ ] ", 422, "invalid", "empty"},
        {BATCH, "[]", 422, "invalid", "1 to 100 events"},
        {BATCH, "{\"specversion\":\"1.0\"}", 422, "invalid", "JSON array"},
        {BATCH, "", 400, "malformed", "byte 0"},
        {JSON "Idempotency-Key: \"7\"\r\n", "[{\"name\":\"a\"}]", 422, "invalid", "one event"},
        {JSON "Idempotency-Key:\r\n", "[{\"name\":\"a\"}]", 422, "invalid", "one event"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        post(bad[i].headers, bad[i].body);
        gateways_assert_problem(&reply, bad[i].status, bad[i].type, bad[i].detail);
    }
    post(JSON, many(MANY + 1));
    gateways_assert_problem(&reply, 413, "too-large", "101 events; at most 100");
    assert_int_equal(last_position(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_has_its_result_in_order, start, stop),
        cmocka_unit_test_setup_teardown(all_are_on_their_way_at_once, start, stop),
        cmocka_unit_test_setup_teardown(cloud_events_in_a_batch, start, stop),
        cmocka_unit_test_setup_teardown(the_trace_goes_with_each, start, stop),
        cmocka_unit_test_setup_teardown(an_id_twice_is_one_event, start, stop),
        cmocka_unit_test_setup_teardown(a_batch_that_is_sent_again_is_stored_once, start, stop),
        cmocka_unit_test_setup_teardown(bad_events_are_told_one_by_one, start, stop),
        cmocka_unit_test_setup_teardown(none_is_stored, start, stop),
        cmocka_unit_test_setup_teardown(outcomes_that_are_unknown, start, stop),
        cmocka_unit_test_setup_teardown(busy_with_itself, start_narrow, stop),
        cmocka_unit_test_setup_teardown(busy_with_others, start_narrow, stop),
        cmocka_unit_test_setup_teardown(a_log_that_gets_full, start_small_log, stop),
        cmocka_unit_test_setup_teardown(bodies_that_are_no_batch, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
