/* Events and their form on the bus, by way of the bus in memory.
 */
#include "common/event.h"
#include "tests/lib/event_case.h"
#include "tests/lib/unit.h"

static struct err_detail detail;

/* ---- names ---- */

static void names(void **state)
{
    static const char *const good[] = {"a", "order.created", "A-b_C.9",
                                       "-", "_._",           "a.b.c.d.e.f.g"};
    static const char *const bad[] = {"",    ".",   "a.",  ".a",  "a..b",     "a b",   "a*",
                                      "a.>", "a\n", "a/b", "a:b", "\xc3\xa9", "a\x7f", "a\t"};
    char longest[EVENT_NAME_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (event_name_check(view_of(good[i]), &detail))
            fail_msg("%s: %s", good[i], detail.text);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (event_name_check(view_of(bad[i]), &detail) != ERR_INVALID || !detail.text[0])
            fail_msg("taken: %s", bad[i]);
    memset(longest, 'n', sizeof longest);
    assert_int_equal(event_name_check((struct view){longest, EVENT_NAME_MAX}, NULL), ERR_NONE);
    assert_int_equal(event_name_check((struct view){longest, EVENT_NAME_MAX + 1}, NULL),
                     ERR_INVALID);
    assert_int_equal(event_name_check((struct view){"a\0b", 3}, NULL), ERR_INVALID);
}

/* ---- onto the bus and back ---- */

static void events_come_back_as_they_were(void **state)
{
    struct event event = event_case_full(), back;
    struct event_message message;
    struct event_text text;
    struct event_more more;
    struct bus_record *record;

    (void)state;
    event_to_message(&event, "tidings", &message);
    record = event_case_pass(&message.message);
    assert_string_equal(record->subject, "tidings.events.order.created");
    if (event_of_record(record, "tidings", &text, &back, &detail))
        fail_msg("%s", detail.text);
    assert_int_equal(back.subject.len + back.dataschema.len + back.extension_count, 0);
    assert_true(event_read_more(record, &more, &back));
    assert_same_event(&back, &event);
    assert_int_equal(back.digest.len, 0);
    bus_record_free(record);
}

static void the_form_is_cloudevents_binary_mode(void **state)
{
    static const struct {
        const char *name, *value;
    } expected[] = {
        {"Tidings-Event-Id", EVENT_CASE_ID},
        {"Tidings-Digest", "0123456789abcdef0123456789abcdef"},
        {"ce-specversion", "1.0"},
        {"ce-id", "id%20%227%22%20100%25"},
        {"ce-source", "/caf%C3%A9"},
        {"ce-type", "order.created"},
        {"ce-time", "2026-01-02T03:04:05.678Z"},
        {"ce-subject", "orders/7%20%C3%A9"},
        {"ce-dataschema", "https://example.com/schema%25201"},
        {"ce-datacontenttype", "application/json;%20charset=%22utf-8%22"},
        {"content-type", "application/json; charset=\"utf-8\""},
        {"ce-partitionkey", "customer%20%E2%82%AC%207"},
        {"ce-traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"ce-tracestate", "a=b,%20c=d"},
        {"ce-aaa", "1"},
        {"ce-comexample", "50%25%20%22of%22%20%F0%9F%98%80"},
        {"ce-zz9", "true"},
    };
    struct event event = event_case_full();
    struct event_message message;
    size_t count = sizeof expected / sizeof expected[0];

    (void)state;
    event.digest = VIEW("0123456789abcdef0123456789abcdef");
    event_to_message(&event, "ns-1", &message);
    assert_string_equal(message.message.subject, "ns-1.events.order.created");
    assert_null(message.message.message_id);
    assert_int_equal(message.message.header_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(message.headers[i].name, expected[i].name);
        assert_view(message.headers[i].value, expected[i].value);
    }
}

static void what_is_absent_has_no_header(void **state)
{
    struct event event = {.producer_id = VIEW("1"),
                          .source = VIEW("/s"),
                          .name = VIEW("a"),
                          .time = VIEW("2026-01-02T03:04:05Z")};
    struct event_message message;

    (void)state;
    id_make(&clock_system, &event.id);
    event_to_message(&event, "tidings", &message);
    assert_int_equal(message.message.header_count, 6);
    assert_int_equal(message.message.payload.len, 0);
}

static void the_longest_values_fit(void **state)
{
    enum { VALUE = EVENT_EXTENSIONS_BYTES / EVENT_EXTENSIONS_MAX - EVENT_EXTENSION_NAME_MAX };
    static char spaces[EVENT_SOURCE_MAX];
    static char names[EVENT_EXTENSIONS_MAX][EVENT_EXTENSION_NAME_MAX];
    struct event_extension extensions[EVENT_EXTENSIONS_MAX];
    struct event event = event_case_full(), back;
    struct event_message message;
    struct event_text text;
    struct event_more more;
    struct bus_record *record;

    (void)state;
    memset(spaces, ' ', sizeof spaces);
    memset(names, 'n', sizeof names);
    for (size_t i = 0; i < EVENT_EXTENSIONS_MAX; i++) {
        names[i][EVENT_EXTENSION_NAME_MAX - 1] = (char)('a' + i);
        extensions[i].name = (struct view){names[i], sizeof names[i]};
        extensions[i].value = (struct view){spaces, VALUE};
    }
    event.producer_id = (struct view){spaces, EVENT_PRODUCER_ID_MAX};
    event.source = (struct view){spaces, EVENT_SOURCE_MAX};
    event.key = (struct view){spaces, EVENT_KEY_MAX};
    event.time = (struct view){spaces, EVENT_TIME_MAX};
    event.content_type = (struct view){"x", 1};
    event.tracestate = (struct view){spaces, EVENT_TRACESTATE_MAX};
    event.subject = (struct view){spaces, EVENT_SUBJECT_MAX};
    event.dataschema = (struct view){spaces, EVENT_DATASCHEMA_MAX};
    event.extensions = extensions;
    event.extension_count = EVENT_EXTENSIONS_MAX;
    event.digest = VIEW("0123456789abcdef0123456789abcdef");
    event_to_message(&event, "tidings", &message);
    assert_int_equal(message.message.header_count, EVENT_HEADERS_MAX);
    assert_int_equal(message.encoded,
                     3 * (EVENT_PRODUCER_ID_MAX + EVENT_SOURCE_MAX + EVENT_KEY_MAX +
                          EVENT_TIME_MAX + EVENT_TRACESTATE_MAX + EVENT_SUBJECT_MAX +
                          EVENT_DATASCHEMA_MAX + EVENT_EXTENSIONS_MAX * VALUE));
    record = event_case_pass(&message.message);
    assert_int_equal(event_of_record(record, "tidings", &text, &back, NULL), ERR_NONE);
    assert_true(event_read_more(record, &more, &back));
    assert_same_event(&back, &event);
    assert_true(view_equal(back.digest, event.digest));
    bus_record_free(record);
}

/* ---- messages of others ---- */

static void broken_escapes_stand_for_themselves(void **state)
{
    struct bus_header headers[] = {
        {"tidings-event-id", VIEW("01890A5D-AC96-774B-BCCE-B302099A8057")},
        {"CE-ID", VIEW("100%")},
        {"ce-source", VIEW("%zz%4%41%c3%A9%")},
        {"ce-datacontenttype", VIEW("text/plain")},
    };
    struct bus_record *record = event_case_foreign("tidings.events.a.b", headers, 4);
    struct event_text text;
    struct event event;

    (void)state;
    assert_int_equal(event_of_record(record, "tidings", &text, &event, NULL), ERR_NONE);
    assert_view(event.name, "a.b");
    assert_view(event.producer_id, "100%");
    assert_view(event.source, "%zz%4A\xc3\xa9%");
    assert_view(event.content_type, "text/plain");
    assert_view(event.key, "");
    bus_record_free(record);
}

static void values_too_long_to_decode_stay_encoded(void **state)
{
    static char source[4000];
    struct bus_header headers[] = {
        {"Tidings-Event-Id", VIEW("01890a5d-ac96-774b-bcce-b302099a8057")},
        {"ce-source", {source, sizeof source}},
        {"ce-partitionkey", VIEW("a%20b")},
    };
    struct bus_record *record;
    struct event_text text;
    struct event event;

    (void)state;
    memset(source, '%', sizeof source);
    record = event_case_foreign("tidings.events.a", headers, 3);
    assert_int_equal(event_of_record(record, "tidings", &text, &event, NULL), ERR_NONE);
    assert_int_equal(event.source.len, sizeof source);
    assert_view(event.key, "a b");
    bus_record_free(record);
}

static void what_is_no_digest_is_none(void **state)
{
    static const char *const bad[] = {
        "0123456789abcdef0123456789abcde",  "0123456789abcdef0123456789abcdeF",
        "0123456789abcdef0123456789abcdeg", "0123456789abcdef0123456789abcdef0",
        "0123456789abcdef 123456789abcdef", "x",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bus_header headers[] = {{"Tidings-Event-Id", VIEW(EVENT_CASE_ID)},
                                       {"Tidings-Digest", view_of(bad[i])}};
        struct bus_record *record = event_case_foreign("tidings.events.a", headers, 2);
        struct event_text text;
        struct event event;

        assert_int_equal(event_of_record(record, "tidings", &text, &event, NULL), ERR_NONE);
        assert_int_equal(event.digest.len, 0);
        bus_record_free(record);
    }
}

struct malformed {
    const char *subject, *id, *says;
};

static void malformed_messages_go_by_their_position(void **state)
{
    static const struct malformed messages[] = {
        {"tidings.events.a", NULL, "Tidings-Event-Id"},
        {"tidings.events.a", "123", "Tidings-Event-Id"},
        {"tidings.events.a", "00000000-0000-0000-0000-000000000000", "Tidings-Event-Id"},
        {"tidings.events.a$b", "01890a5d-ac96-774b-bcce-b302099a8057", "not allowed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        const struct malformed *m = &messages[i];
        struct bus_header header = {"Tidings-Event-Id", view_of(m->id)};
        struct bus_record *record = event_case_foreign(m->subject, &header, m->id ? 1 : 0);
        struct event_id id, expected;
        struct event_text text;
        struct event event;
        struct view name;

        assert_int_equal(event_of_record(record, "tidings", &text, &event, &detail), ERR_MALFORMED);
        if (!strstr(detail.text, m->says))
            fail_msg("%s", detail.text);
        assert_false(event_identity(record, "tidings", "TIDINGS_EVENTS", &id, &name));
        id_of_position(VIEW("TIDINGS_EVENTS"), record->position, &expected);
        assert_true(id_equal(&id, &expected));
        assert_int_equal(name.len, 0);
        bus_record_free(record);
    }
}

static void the_subject_must_be_the_namespaces(void **state)
{
    struct bus_header header = {"Tidings-Event-Id", VIEW("01890a5d-ac96-774b-bcce-b302099a8057")};
    struct bus_record *record = event_case_foreign("tidings.events.a", &header, 1);
    static const char *const others[] = {"tiding", "tidings.events", "other", "tidings.events.a.b"};
    struct event_id id;
    struct view name;

    (void)state;
    assert_true(event_identity(record, "tidings", "TIDINGS_EVENTS", &id, &name));
    assert_view(name, "a");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(event_identity(record, others[i], "TIDINGS_EVENTS", &id, &name));
    bus_record_free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(events_come_back_as_they_were),
        cmocka_unit_test(the_form_is_cloudevents_binary_mode),
        cmocka_unit_test(what_is_absent_has_no_header),
        cmocka_unit_test(the_longest_values_fit),
        cmocka_unit_test(broken_escapes_stand_for_themselves),
        cmocka_unit_test(values_too_long_to_decode_stay_encoded),
        cmocka_unit_test(what_is_no_digest_is_none),
        cmocka_unit_test(malformed_messages_go_by_their_position),
        cmocka_unit_test(the_subject_must_be_the_namespaces),
    };

    return cmocka_run_group_tests(tests, event_case_start, event_case_stop);
}
