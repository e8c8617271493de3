/* Subjects, schemas and extensions of messages that the gateway has not made.
 */
#include "common/event.h"
#include "tests/lib/event_case.h"
#include "tests/lib/unit.h"

#include <stdio.h>

/* What was read last; its views live until the next message is read. */
static struct event event;
static struct bus_record *record;
static struct event_more more;

static void let_go(void)
{
    bus_record_free(record);
    record = NULL;
}

static bool read_more(const struct bus_header *headers, size_t count)
{
    let_go();
    record = event_case_foreign("tidings.events.a", headers, count);
    memset(&event, 0, sizeof event);
    return event_read_more(record, &more, &event);
}

static int stop(void **state)
{
    let_go();
    return event_case_stop(state);
}

#define READ_MORE(headers) read_more(headers, sizeof(headers) / sizeof *(headers))

static void assert_extension(size_t index, const char *name, const char *value)
{
    assert_true(index < event.extension_count);
    assert_view(event.extensions[index].name, name);
    assert_view(event.extensions[index].value, value);
}

static void extensions_are_in_the_order_of_their_names(void **state)
{
    const struct bus_header headers[] = {
        {"ce-b", VIEW("2")},
        {"ce-ab", VIEW("%c3%a9")},
        {"ce-10", VIEW("10")},
        {"ce-9", VIEW("100%")},
        {"ce-subject", VIEW("s%20s")},
        {"ce-a", VIEW("1")},
        {"ce-dataschema", VIEW("u:%20")},
    };

    (void)state;
    assert_true(READ_MORE(headers));
    assert_int_equal(event.extension_count, 5);
    assert_extension(0, "10", "10");
    assert_extension(1, "9", "100%");
    assert_extension(2, "a", "1");
    assert_extension(3, "ab", "\xc3\xa9");
    assert_extension(4, "b", "2");
    assert_view(event.subject, "s s");
    assert_view(event.dataschema, "u: ");
}

static void other_headers_are_no_extensions(void **state)
{
    const struct bus_header headers[] = {
        {"Tidings-Event-Id", VIEW(EVENT_CASE_ID)},
        {"Nats-Msg-Id", VIEW("1")},
        {"content-type", VIEW("text/plain")},
        {"ce-specversion", VIEW("1.0")},
        {"ce-id", VIEW("1")},
        {"ce-source", VIEW("/s")},
        {"CE-Type", VIEW("a")},
        {"ce-time", VIEW("2026-01-02T03:04:05Z")},
        {"ce-datacontenttype", VIEW("text/plain")},
        {"ce-partitionkey", VIEW("k")},
        {"ce-traceparent", VIEW("t")},
        {"ce-tracestate", VIEW("t")},
        {"ce-data", VIEW("not an attribute")},
        {"ce-data_base64", VIEW("eA==")},
        {"ce-", VIEW("x")},
        {"ce", VIEW("x")},
        {"ce-a-b", VIEW("x")},
        {"ce-a_b", VIEW("x")},
        {"ce-a.b", VIEW("x")},
        {"xce-a", VIEW("x")},
        {"cea", VIEW("x")},
        {"a", VIEW("x")},
    };

    (void)state;
    assert_true(READ_MORE(headers));
    assert_int_equal(event.extension_count, 0);
    assert_int_equal(event.subject.len + event.dataschema.len, 0);
}

static void capitals_are_small_letters_and_the_first_counts(void **state)
{
    const struct bus_header headers[] = {
        {"CE-Zone", VIEW("%41")},     {"ce-ZONE", VIEW("2")},       {"ce-zone", VIEW("3")},
        {"Ce-Subject", VIEW("1")},    {"ce-subject", VIEW("2")},    {"cE-aB", VIEW("x")},
        {"ce-dataschema", VIEW("1")}, {"ce-DATASCHEMA", VIEW("2")}, {"ce-AA", VIEW("y")},
    };

    (void)state;
    assert_true(READ_MORE(headers));
    assert_int_equal(event.extension_count, 3);
    assert_extension(0, "aa", "y");
    assert_extension(1, "ab", "x");
    assert_extension(2, "zone", "A");
    assert_view(event.subject, "1");
    assert_view(event.dataschema, "1");
}

static void what_no_attribute_may_hold_is_left_out(void **state)
{
    static const char *const bad[] = {"%C0%A0", "%ff",  "\xff",   "a%0Ab",     "%00",      "a\tb",
                                      "%7f",    "\x01", "%C2%80", "%ED%A0%80", "%EF%BF%BE"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bus_header headers[] = {{"ce-a", view_of(bad[i])}, {"ce-b", VIEW("%41")}};
        struct bus_header subject[] = {{"ce-subject", view_of(bad[i])}, {"ce-b", VIEW("%41")}};
        struct bus_header schema[] = {{"ce-dataschema", view_of(bad[i])}, {"ce-b", VIEW("%41")}};

        if (READ_MORE(headers))
            fail_msg("%s is kept", bad[i]);
        assert_int_equal(event.extension_count, 1);
        assert_extension(0, "b", "A");
        assert_false(READ_MORE(subject));
        assert_int_equal(event.subject.len, 0);
        assert_extension(0, "b", "A");
        assert_false(READ_MORE(schema));
        assert_int_equal(event.dataschema.len, 0);
        assert_extension(0, "b", "A");
    }
}

/* `escaped`: as percent escapes. */
static struct view letters(char *to, size_t count, bool escaped)
{
    for (size_t i = 0; i < count; i++)
        memcpy(to + i * (escaped ? 3 : 1), escaped ? "%61" : "a", escaped ? 3 : 1);
    return (struct view){to, count * (escaped ? 3 : 1)};
}

static void what_is_too_long_is_left_out(void **state)
{
    static char text[3 * EVENT_EXTENSIONS_BYTES + 3];

    (void)state;
    for (int escaped = 0; escaped < 2; escaped++) {
        struct bus_header fits[] = {
            {"ce-subject", letters(text, EVENT_SUBJECT_MAX, escaped)},
            {"ce-dataschema", letters(text, EVENT_DATASCHEMA_MAX, escaped)}};
        assert_true(READ_MORE(fits));
        assert_int_equal(event.subject.len, EVENT_SUBJECT_MAX);
        assert_int_equal(event.dataschema.len, EVENT_DATASCHEMA_MAX);

        struct bus_header subject = {"ce-subject", letters(text, EVENT_SUBJECT_MAX + 1, escaped)};
        assert_false(read_more(&subject, 1));
        assert_int_equal(event.subject.len, 0);

        struct bus_header all = {"ce-abc", letters(text, EVENT_EXTENSIONS_BYTES - 3, escaped)};
        assert_true(read_more(&all, 1));
        assert_int_equal(event.extensions[0].value.len, EVENT_EXTENSIONS_BYTES - 3);

        struct bus_header longer = {"ce-abcd", letters(text, EVENT_EXTENSIONS_BYTES - 3, escaped)};
        assert_false(read_more(&longer, 1));
        assert_int_equal(event.extension_count, 0);
    }
}

static void a_shorter_extension_may_follow_one_that_does_not_fit(void **state)
{
    static char text[EVENT_EXTENSIONS_BYTES];
    struct bus_header headers[] = {
        {"ce-A", letters(text, EVENT_EXTENSIONS_BYTES - 10, false)}, /* 9 bytes are left */
        {"ce-bb", VIEW("12345678")},
        {"ce-cc", VIEW("1234567")},
        {"ce-dd", VIEW("1")},
    };

    (void)state;
    assert_false(READ_MORE(headers));
    assert_int_equal(event.extension_count, 2);
    assert_view(event.extensions[0].name, "a");
    assert_extension(1, "cc", "1234567");
}

static void names_have_their_limit(void **state)
{
    const struct bus_header headers[] = {
        {"ce-n123456789n123456789n123456789n12345678N", VIEW("x")},
        {"ce-a123456789a123456789a123456789a123456789a", VIEW("x")},
    };

    (void)state;
    assert_false(READ_MORE(headers));
    assert_int_equal(event.extension_count, 1);
    assert_extension(0, "n123456789n123456789n123456789n12345678n", "x");
}

/* Names from "ce-100" on, in descending order. */
static bool read_many(size_t count)
{
    static char names[EVENT_RECORD_HEADERS_MAX + 1][8];
    static struct bus_header headers[EVENT_RECORD_HEADERS_MAX + 1];

    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "ce-%zu", 100 + count - 1 - i);
        headers[i] = (struct bus_header){names[i], VIEW("x")};
    }
    return read_more(headers, count);
}

static void of_too_many_the_first_by_name_are_kept(void **state)
{
    (void)state;
    assert_true(read_many(EVENT_EXTENSIONS_MAX));
    assert_int_equal(event.extension_count, EVENT_EXTENSIONS_MAX);
    assert_false(read_many(EVENT_EXTENSIONS_MAX + 1));
    assert_int_equal(event.extension_count, EVENT_EXTENSIONS_MAX);
    assert_extension(0, "100", "x");
    assert_false(read_many(EVENT_RECORD_HEADERS_MAX));
    assert_extension(0, "100", "x");
    assert_false(read_many(EVENT_RECORD_HEADERS_MAX + 1)); /* the last, "ce-100", isn't seen */
    assert_extension(0, "101", "x");
    assert_int_equal(event.extension_count, EVENT_EXTENSIONS_MAX);
}

static void many_headers_that_are_none_of_an_events_are_a_loss_only_beyond_the_bound(void **state)
{
    static char names[EVENT_RECORD_HEADERS_MAX + 1][8];
    static struct bus_header headers[EVENT_RECORD_HEADERS_MAX + 1];

    (void)state;
    for (size_t i = 0; i <= EVENT_RECORD_HEADERS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "x-%zu", i);
        headers[i] = (struct bus_header){names[i], VIEW("x")};
    }
    assert_true(read_more(headers, EVENT_RECORD_HEADERS_MAX));
    assert_false(read_more(headers, EVENT_RECORD_HEADERS_MAX + 1));
    assert_int_equal(event.extension_count, 0);
}

/* Whatever was read can be stored again, and is read as the same. */
static void what_was_read_can_be_published_again(void **state)
{
    const struct bus_header headers[] = {
        {"Tidings-Event-Id", VIEW(EVENT_CASE_ID)},
        {"ce-id", VIEW("1")},
        {"ce-source", VIEW("/s")},
        {"ce-subject", VIEW("%41%zz 100%")},
        {"ce-Zone", VIEW("\xc3\xa9%c3%a9")},
        {"ce-a", VIEW("\"q\"")},
    };
    struct bus_record *first = event_case_foreign("tidings.events.a", headers, 6), *second;
    struct event_text text[2];
    struct event_more holders[2];
    struct event_message message;
    struct event a, b;

    (void)state;
    assert_int_equal(event_of_record(first, "tidings", &text[0], &a, NULL), ERR_NONE);
    assert_true(event_read_more(first, &holders[0], &a));
    assert_view(a.subject, "A%zz 100%");
    assert_view(a.extensions[0].value, "\"q\"");
    event_to_message(&a, "tidings", &message);
    second = event_case_pass(&message.message);
    assert_int_equal(event_of_record(second, "tidings", &text[1], &b, NULL), ERR_NONE);
    assert_true(event_read_more(second, &holders[1], &b));
    assert_same_event(&a, &b);
    bus_record_free(first);
    bus_record_free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extensions_are_in_the_order_of_their_names),
        cmocka_unit_test(other_headers_are_no_extensions),
        cmocka_unit_test(capitals_are_small_letters_and_the_first_counts),
        cmocka_unit_test(what_no_attribute_may_hold_is_left_out),
        cmocka_unit_test(what_is_too_long_is_left_out),
        cmocka_unit_test(a_shorter_extension_may_follow_one_that_does_not_fit),
        cmocka_unit_test(names_have_their_limit),
        cmocka_unit_test(of_too_many_the_first_by_name_are_kept),
        cmocka_unit_test(many_headers_that_are_none_of_an_events_are_a_loss_only_beyond_the_bound),
        cmocka_unit_test(what_was_read_can_be_published_again),
    };

    return cmocka_run_group_tests(tests, event_case_start, stop);
}
