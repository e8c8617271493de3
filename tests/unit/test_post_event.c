/* POST /api/v1/events, through the gateway's routes, onto the bus in memory.
 */
#include "tests/lib/gateways.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>
#include <string.h>

static struct gateways g;
static struct raw_reply reply;
static char value[512];

static int start(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){.max_in_flight = 1});
    return 0;
}

static int start_small_log(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){.log_bytes = 1000});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    gateways_stop(&g);
    return 0;
}

/* ---- requests ---- */

#define JSON "Content-Type: application/json\r\n"

static int post_begin(const char *headers, const char *body)
{
    return gateways_post_begin(&g, 0, headers, body);
}

static void post_end(int fd)
{
    gateways_post_end(fd, &reply);
}

static void post(const char *headers, const char *body)
{
    gateways_post(&g, 0, headers, body, &reply);
}

static void get(const char *path)
{
    char request[256];

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    raw_exchange(http_port(g.http[0]), request, &reply);
}

static const char *member(const char *name)
{
    static char text[512];

    gateways_member(&reply, name, text);
    return text;
}

static uint64_t last_position(void)
{
    return gateways_last_position(&g);
}

/* The event stored last; the record is to be freed. */
static struct bus_record *last_event(struct event_text *text, struct event *event)
{
    return gateways_event_at(&g, last_position(), text, event);
}

static void assert_view(struct view v, const char *expected)
{
    if (!view_equal(v, view_of(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)v.len, v.data ? v.data : "", expected);
}

/* ---- accepted ---- */

static void accepted_means_stored(void **state)
{
    struct event_text text;
    struct event event;
    struct bus_record *record;
    char id[ID_TEXT_SIZE], expected[128];
    int64_t ms;

    (void)state;
    post(JSON, "{\"name\":\"test-event\",\"payload\":\"some data\"}");
    assert_int_equal(reply.status, 202);
    record = last_event(&text, &event);
    id_format(&event.id, id);
    snprintf(expected, sizeof expected, "{\"event_id\":\"%s\",\"status\":\"accepted\"}\n", id);
    assert_string_equal(reply.body, expected);
    snprintf(expected, sizeof expected, "/api/v1/events/%s", id);
    assert_true(raw_header(&reply, "Location", value));
    assert_string_equal(value, expected);
    assert_int_equal(event.id.bytes[6] >> 4, 7);
    assert_view(event.name, "test-event");
    assert_view(event.payload, "\"some data\"");
    assert_view(event.content_type, "application/json");
    assert_view(event.producer_id, id);
    assert_view(event.source, GATEWAYS_SOURCE);
    assert_view(event.key, "");
    assert_view(event.traceparent, "");
    assert_true(clock_parse(event.time.data, event.time.len, &ms));
    assert_in_range(clock_wall_ms(&clock_system) - ms, 0, 60000);
    bus_record_free(record);
}

static void key_and_time_are_kept(void **state)
{
    struct event_text text;
    struct event event;
    struct bus_record *record;

    (void)state;
    post(JSON, "{\"name\":\"a\",\"key\":\"caf\\u00e9 7\",\"time\":\"2026-01-02T03:04:05+01:00\"}");
    assert_int_equal(reply.status, 202);
    record = last_event(&text, &event);
    assert_view(event.key, "caf\xc3\xa9 7");
    assert_view(event.time, "2026-01-02T03:04:05+01:00");
    assert_view(event.payload, "");
    assert_view(event.content_type, "");
    bus_record_free(record);
}

#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static void trace_context_goes_along_if_valid(void **state)
{
    static const char *const bad[] = {
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319cxb7ad6b7169203331-01",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-a b",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-%41",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-\xc3\xa9",
        "garbage"};
    static const char *const good[] = {PARENT,
                                       "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                       "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"};
    struct event_text text;
    struct event event;
    struct bus_record *record;
    char headers[256];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(headers, sizeof headers, JSON "traceparent: %s\r\ntracestate: a=b\r\n", good[i]);
        post(headers, "{\"name\":\"a\"}");
        record = last_event(&text, &event);
        assert_view(event.traceparent, good[i]);
        assert_view(event.tracestate, "a=b");
        bus_record_free(record);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(headers, sizeof headers, JSON "traceparent: %s\r\ntracestate: a=b\r\n", bad[i]);
        post(headers, "{\"name\":\"a\"}");
        assert_int_equal(reply.status, 202);
        record = last_event(&text, &event);
        assert_view(event.traceparent, "");
        assert_view(event.tracestate, "");
        bus_record_free(record);
    }
}

static void trace_states_are_joined(void **state)
{
    struct event_text text;
    struct event event;
    struct bus_record *record;
    char headers[900];

    (void)state;
    post(JSON "traceparent: " PARENT "\r\ntracestate: a=b\r\ntracestate:\r\nTraceState: c=d\r\n",
         "{\"name\":\"a\"}");
    record = last_event(&text, &event);
    assert_view(event.tracestate, "a=b,c=d");
    bus_record_free(record);
    post(JSON "traceparent: " PARENT "\r\ntraceparent: " PARENT "\r\n", "{\"name\":\"a\"}");
    record = last_event(&text, &event);
    assert_view(event.traceparent, "");
    bus_record_free(record);
    snprintf(headers, sizeof headers,
             JSON "traceparent: " PARENT "\r\ntracestate: a=%0300d\r\ntracestate: b=%0300d\r\n", 1,
             1);
    post(headers, "{\"name\":\"a\"}");
    record = last_event(&text, &event);
    assert_view(event.traceparent, PARENT);
    assert_view(event.tracestate, "");
    bus_record_free(record);
}

/* Another trace than the request's: the event may have been on its way before. */
static void the_trace_context_of_the_event_itself_counts(void **state)
{
    static const char other[] = "00-11111111111111111111111111111111-2222222222222222-00";
    struct event_text text;
    struct event event;
    struct bus_record *record;
    char body[256];

    (void)state;
    snprintf(body, sizeof body,
             "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/x\",\"type\":\"a\","
             "\"traceparent\":\"%s\"}",
             other);
    post("Content-Type: application/cloudevents+json\r\ntraceparent: " PARENT
         "\r\ntracestate: a=b\r\n",
         body);
    assert_int_equal(reply.status, 202);
    record = last_event(&text, &event);
    assert_view(event.traceparent, other);
    assert_view(event.tracestate, "");
    bus_record_free(record);
    post("Content-Type: application/cloudevents+json\r\ntraceparent: " PARENT
         "\r\ntracestate: a=b\r\n",
         "{\"specversion\":\"1.0\",\"id\":\"8\",\"source\":\"/x\",\"type\":\"a\"}");
    assert_int_equal(reply.status, 202);
    record = last_event(&text, &event);
    assert_view(event.traceparent, PARENT);
    assert_view(event.tracestate, "a=b");
    bus_record_free(record);
}

/* An id in any form of an event is the same id, and a key goes with each. */
static void ids_of_all_forms_are_one(void **state)
{
    char id[512];

    (void)state;
    post(JSON, "{\"name\":\"a\",\"source\":\"/x\",\"id\":\"7\",\"payload\":[1]}");
    assert_int_equal(reply.status, 202);
    gateways_member(&reply, "event_id", id);
    post("Content-Type: application/cloudevents+json\r\nIdempotency-Key: \"7\"\r\n",
         "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/x\",\"type\":\"a\","
         "\"datacontenttype\":\"application/json\",\"data\":[1]}");
    assert_int_equal(reply.status, 202);
    assert_non_null(strstr(reply.body, "\"duplicate\":true"));
    assert_string_equal(member("event_id"), id);
    post(JSON "Idempotency-Key: 7\r\nce-specversion: 1.0\r\nce-id: 7\r\nce-source: /x\r\n"
              "ce-type: a\r\n",
         "[1]");
    assert_int_equal(reply.status, 202);
    assert_non_null(strstr(reply.body, "\"duplicate\":true"));
    assert_string_equal(member("event_id"), id);
    post(JSON "Idempotency-Key: 8\r\nce-specversion: 1.0\r\nce-id: 7\r\nce-source: /x\r\n"
              "ce-type: a\r\n",
         "[1]");
    assert_int_equal(reply.status, 422);
    assert_int_equal(last_position(), 1);
}

static void media_types(void **state)
{
    static const char *const good[] = {"application/json",
                                       "Application/JSON",
                                       "application/json; charset=utf-8",
                                       "application/json;charset=\"UTF-8\"",
                                       "application/json ;",
                                       "application/json; Charset=Utf-8 ; "};
    static const char *const bad[] = {"text/plain",
                                      "application/jsonx",
                                      "application/json/x",
                                      "application/json; charset=latin1",
                                      "application/json; charset=utf-8; profile=x",
                                      "application/json charset=utf-8",
                                      ";",
                                      "*/*",
                                      "application/x-www-form-urlencoded"};
    char headers[256];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(headers, sizeof headers, "Content-Type: %s\r\n", good[i]);
        post(headers, "{\"name\":\"a\"}");
        if (reply.status != 202)
            fail_msg("%s: %s", good[i], reply.body);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(headers, sizeof headers, "Content-Type: %s\r\n", bad[i]);
        post(headers, "{\"name\":\"a\"}");
        if (reply.status != 415 ||
            !strstr(member("detail"), strchr(bad[i], '=') ? "utf-8" : "application/json"))
            fail_msg("%s: %d %s", bad[i], reply.status, reply.body);
    }
    post("", "{\"name\":\"a\"}");
    assert_int_equal(reply.status, 415);
    assert_true(raw_header(&reply, "Accept-Post", value));
    assert_non_null(strstr(value, "application/cloudevents+json"));
    assert_false(raw_header(&reply, "Accept-Encoding", value)); /* RFC 9110, section 12.5.3 */
    post(JSON JSON, "{\"name\":\"a\"}");
    assert_int_equal(reply.status, 415);
    assert_non_null(strstr(member("detail"), "two Content-Type"));
}

static void unknown_codings_are_refused(void **state)
{
    static const char *const bad[] = {"br",
                                      "deflate",
                                      "gzip, zstd",
                                      "identity, gzip",
                                      "identity\r\nContent-Encoding: x",
                                      "gzip\r\nContent-Encoding: gzip"};
    char headers[256];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(headers, sizeof headers, JSON "Content-Encoding: %s\r\n", bad[i]);
        post(headers, "{\"name\":\"a\"}");
        if (reply.status != 415 || !strstr(member("detail"), "Content-Encoding"))
            fail_msg("%s: %d %s", bad[i], reply.status, reply.body);
        assert_true(raw_header(&reply, "Accept-Encoding", value));
        assert_string_equal(value, "gzip, zstd, identity");
        assert_false(raw_header(&reply, "Accept-Post", value));
    }
    assert_int_equal(last_position(), 0);
    post(JSON "Content-Encoding: Identity\r\n", "{\"name\":\"a\"}");
    assert_int_equal(reply.status, 202);
}

/* ---- refused ---- */

static void bad_events_are_not_stored(void **state)
{
    static const struct {
        const char *body;
        int status;
    } bad[] = {
        {"", 400},
        {"{\"name\":\"a\"", 400},
        {"{\"name\":\"a\",\"name\":\"b\"}", 400},
        {"{\"name\":\"a\",\"payload\":01}", 400},
        {"[]", 422},
        {"{}", 422},
        {"{\"name\":\"a b\"}", 422},
        {"{\"name\":\"a.>\"}", 422},
        {"{\"name\":\"a\",\"id\":7}", 422},
        {"{\"name\":\"a\",\"other\":7}", 422},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        post(JSON, bad[i].body);
        if (reply.status != bad[i].status)
            fail_msg("%s: %d %s", bad[i].body, reply.status, reply.body);
        assert_true(strlen(member("detail")) > 10);
    }
    assert_int_equal(last_position(), 0);
}

static void too_large_for_the_bus(void **state)
{
    static char body[(1 << 20) + 64];
    int used = snprintf(body, sizeof body, "{\"name\":\"a\",\"payload\":\"");

    (void)state;
    memset(body + used, 'x', 1 << 20);
    memcpy(body + used + (1 << 20), "\"}", 3);
    post(JSON, body);
    assert_int_equal(reply.status, 413);
    assert_non_null(strstr(member("detail"), "1048576"));
    assert_int_equal(last_position(), 0);
}

static void a_bus_that_is_away(void **state)
{
    (void)state;
    bus_mem_set_away(g.bus, true);
    post(JSON, "{\"name\":\"a\"}");
    assert_int_equal(reply.status, 503);
    assert_true(raw_header(&reply, "Retry-After", value));
    assert_string_equal(member("type"), "urn:tidings:problem:unavailable");
    get("/ready");
    assert_int_equal(reply.status, 503);
    bus_mem_set_away(g.bus, false);
    post(JSON, "{\"name\":\"a\"}");
    assert_int_equal(reply.status, 202);
}

static void an_outcome_that_is_unknown(void **state)
{
    int fd;
    struct event_id id;

    (void)state;
    bus_mem_set_held(g.bus, true);
    fd = post_begin(JSON, "{\"name\":\"a\"}");
    assert_until(bus_in_flight(g.bus) == 1);
    bus_mem_set_away(g.bus, true);
    post_end(fd);
    assert_int_equal(reply.status, 504);
    assert_false(raw_header(&reply, "Retry-After", value));
    assert_string_equal(member("type"), "urn:tidings:problem:unknown-outcome");
    assert_true(id_parse(view_of(member("event_id")), &id));
}

static void too_many_at_once(void **state)
{
    int fd;

    (void)state;
    bus_mem_set_held(g.bus, true);
    fd = post_begin(JSON, "{\"name\":\"a\"}");
    assert_until(bus_in_flight(g.bus) == 1);
    post(JSON, "{\"name\":\"b\"}");
    assert_int_equal(reply.status, 429);
    assert_true(raw_header(&reply, "Retry-After", value));
    bus_mem_set_held(g.bus, false);
    post_end(fd);
    assert_int_equal(reply.status, 202);
    assert_int_equal(last_position(), 1);
}

static void a_full_log(void **state)
{
    (void)state;
    do
        post(JSON, "{\"name\":\"a\",\"payload\":\"0123456789\"}");
    while (reply.status == 202 && last_position() < 100);
    assert_int_equal(reply.status, 507);
    assert_string_equal(member("type"), "urn:tidings:problem:log-full");
    assert_true(last_position() > 0);
}

/* ---- probes ---- */

static bool counts_a_post(void)
{
    get("/metrics");
    return strstr(reply.body, "\ntidings_http_requests_total{method=\"POST\","
                              "route=\"/api/v1/events\",code=\"202\"} 1\n") != NULL;
}

static void probes(void **state)
{
    (void)state;
    get("/health");
    assert_int_equal(reply.status, 200);
    assert_string_equal(member("status"), "alive");
    get("/ready");
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "\"ready\":true"));
    assert_non_null(strstr(reply.body, "\"bus\":\"ok\""));
    assert_non_null(strstr(reply.body, "\"processor\":\"unreachable: "));
    atomic_store(&g.gateway[0].draining, true);
    get("/ready");
    assert_int_equal(reply.status, 503);
    get("/health");
    assert_int_equal(reply.status, 200);
    post(JSON, "{\"name\":\"a\"}");
    get("/metrics");
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "\ntidings_publishes_total{outcome=\"stored\"} 1\n"));
    assert_non_null(strstr(reply.body, "\ntidings_bus_ready 1\n"));
    assert_until(counts_a_post()); /* once its answer has left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(accepted_means_stored, start, stop),
        cmocka_unit_test_setup_teardown(key_and_time_are_kept, start, stop),
        cmocka_unit_test_setup_teardown(trace_context_goes_along_if_valid, start, stop),
        cmocka_unit_test_setup_teardown(trace_states_are_joined, start, stop),
        cmocka_unit_test_setup_teardown(the_trace_context_of_the_event_itself_counts, start, stop),
        cmocka_unit_test_setup_teardown(ids_of_all_forms_are_one, start, stop),
        cmocka_unit_test_setup_teardown(media_types, start, stop),
        cmocka_unit_test_setup_teardown(unknown_codings_are_refused, start, stop),
        cmocka_unit_test_setup_teardown(bad_events_are_not_stored, start, stop),
        cmocka_unit_test_setup_teardown(too_large_for_the_bus, start, stop),
        cmocka_unit_test_setup_teardown(a_bus_that_is_away, start, stop),
        cmocka_unit_test_setup_teardown(an_outcome_that_is_unknown, start, stop),
        cmocka_unit_test_setup_teardown(too_many_at_once, start, stop),
        cmocka_unit_test_setup_teardown(a_full_log, start_small_log, stop),
        cmocka_unit_test_setup_teardown(probes, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
