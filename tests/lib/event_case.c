#include "tests/lib/event_case.h"

#include "tests/lib/unit.h"

static struct bus *bus;
static struct bus_log *events;

int event_case_start(void **state)
{
    struct bus_options options = {.url = "mem://", .name = "test", .clock = &clock_system};
    struct bus_log_spec spec = {.name = "TIDINGS_EVENTS",
                                .subject = "tidings.events.>",
                                .replicas = 1,
                                .duplicate_window_ms = 1000};

    (void)state;
    assert_int_equal(bus_open(&options, &bus, NULL), ERR_NONE);
    assert_int_equal(bus_log_open(bus, &spec, &events), ERR_NONE);
    assert_int_equal(bus_wait_ready(bus, 5000, NULL), ERR_NONE);
    return 0;
}

int event_case_stop(void **state)
{
    (void)state;
    bus_close(bus);
    return 0;
}

struct bus_record *event_case_pass(const struct bus_message *message)
{
    struct bus_receipt receipt;
    struct bus_record *record;

    assert_int_equal(bus_publish_wait(events, message, &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_STORED);
    assert_int_equal(bus_log_read(events, receipt.position, 5000, &record), ERR_NONE);
    return record;
}

struct bus_record *event_case_foreign(const char *subject, const struct bus_header *headers,
                                      size_t count)
{
    struct bus_message message = {
        .subject = subject, .headers = headers, .header_count = count, .payload = VIEW("x")};

    return event_case_pass(&message);
}

struct event event_case_full(void)
{
    static const struct event_extension extensions[] = {
        {{"aaa", 3}, {"1", 1}},
        {{"comexample", 10}, {"50% \"of\" \xf0\x9f\x98\x80", 13}},
        {{"zz9", 3}, {"true", 4}},
    };
    struct event event = {
        .producer_id = VIEW("id \"7\" 100%"),
        .source = VIEW("/caf\xc3\xa9"),
        .name = VIEW("order.created"),
        .key = VIEW("customer \xe2\x82\xac 7"),
        .time = VIEW("2026-01-02T03:04:05.678Z"),
        .content_type = VIEW("application/json; charset=\"utf-8\""),
        .traceparent = VIEW("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        .tracestate = VIEW("a=b, c=d"),
        .subject = VIEW("orders/7 \xc3\xa9"),
        .dataschema = VIEW("https://example.com/schema%201"),
        .extensions = extensions,
        .extension_count = 3,
        .payload = VIEW("{\"a\":\"\xc3\xa9\"}"),
    };

    assert_true(id_parse(VIEW(EVENT_CASE_ID), &event.id));
    return event;
}

void assert_view(struct view v, const char *expected)
{
    if (!view_equal(v, view_of(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)v.len, v.data ? v.data : "", expected);
}

void assert_same_event(const struct event *a, const struct event *b)
{
    assert_true(id_equal(&a->id, &b->id));
    assert_true(view_equal(a->producer_id, b->producer_id));
    assert_true(view_equal(a->source, b->source));
    assert_true(view_equal(a->name, b->name));
    assert_true(view_equal(a->key, b->key));
    assert_true(view_equal(a->time, b->time));
    assert_true(view_equal(a->content_type, b->content_type));
    assert_true(view_equal(a->traceparent, b->traceparent));
    assert_true(view_equal(a->tracestate, b->tracestate));
    assert_true(view_equal(a->subject, b->subject));
    assert_true(view_equal(a->dataschema, b->dataschema));
    assert_int_equal(a->extension_count, b->extension_count);
    for (size_t i = 0; i < a->extension_count; i++) {
        assert_true(view_equal(a->extensions[i].name, b->extensions[i].name));
        assert_true(view_equal(a->extensions[i].value, b->extensions[i].value));
    }
    assert_true(view_equal(a->payload, b->payload));
}
