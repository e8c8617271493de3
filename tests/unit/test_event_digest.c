/* The digest of an event's content. The constants were computed with Python by docs/bus.md.
 */
#include "common/event_digest.h"
#include "tests/lib/event_case.h"
#include "tests/lib/unit.h"

static void assert_digest(const struct event *event, const char *expected)
{
    char text[EVENT_DIGEST_TEXT_SIZE];

    assert_int_equal(event_digest(event, text), ERR_NONE);
    assert_string_equal(text, expected);
}

/* The worked example of docs/bus.md. */
static struct event documented(void)
{
    static const struct event_extension extensions[] = {{{"batch", 5}, {"12", 2}},
                                                        {{"region", 6}, {"eu", 2}}};

    return (struct event){
        .name = VIEW("order.created"),
        .source = VIEW("/shop"),
        .content_type = VIEW("application/json"),
        .subject = VIEW("7"),
        .extensions = extensions,
        .extension_count = 2,
        .payload = VIEW("{\"total\":9}"),
    };
}

static void the_form_is_the_documented_one(void **state)
{
    struct event example = documented(), full = event_case_full();
    struct event least = {.name = VIEW("order.created"), .source = VIEW("/shop")};

    (void)state;
    assert_digest(&example, "9849201f7d1edc9750a13053e4f6be91");
    assert_digest(&full, "3e67ed351aaad5d87f8cdf2a8d709400");
    assert_digest(&least, "d9ec8a36da65be8617bdd79e7dd05b0e");
}

/* On both sides of where the input is gathered and where it isn't. */
static void payloads_of_any_length_are_hashed(void **state)
{
    static const struct {
        size_t length;
        const char *digest;
    } cases[] = {
        {0, "f16b7b37d4fd61e662a664d14c085e3a"},    {1, "f5c615e3b6125560f8470dee768a4eba"},
        {481, "5227f8f2ac195fed7d0f61cbd5b5e282"},  {482, "ac7635b923038441df530023625ab8a3"},
        {512, "1799987a8136c36b25498de3efeab4aa"},  {513, "e81f06acf80a4141f2d348251f630846"},
        {1000, "ebecc9d6fe3a899a02d389905999c566"},
    };
    static char payload[1000];
    struct event event = {.name = VIEW("a"), .source = VIEW("/s")};

    (void)state;
    memset(payload, 'p', sizeof payload);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        event.payload = (struct view){payload, cases[i].length};
        assert_digest(&event, cases[i].digest);
    }
}

static void long_payloads_and_extensions_are_hashed(void **state)
{
    static char payload[100000], value[3000];
    struct event_extension extension = {VIEW("e"), {value, sizeof value}};
    struct event event = {.name = VIEW("a"),
                          .source = VIEW("/s"),
                          .extensions = &extension,
                          .extension_count = 1,
                          .payload = {payload, sizeof payload}};

    (void)state;
    memset(payload, 'x', sizeof payload);
    memset(value, 'v', sizeof value);
    assert_digest(&event, "6aa766968faeba85098329d5c3c4a871");
}

static void every_part_of_the_content_counts(void **state)
{
    struct event_extension extensions[] = {{VIEW("batch"), VIEW("12")},
                                           {VIEW("region"), VIEW("eu")}};
    struct event variants[12];
    char digests[12][EVENT_DIGEST_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < 12; i++)
        variants[i] = documented();
    variants[1].name = VIEW("order.changed");
    variants[2].source = VIEW("/shop2");
    variants[3].key = VIEW("k");
    variants[4].content_type = VIEW("text/plain");
    variants[5].subject = VIEW("");
    variants[6].dataschema = VIEW("7");
    variants[7].payload = VIEW("{\"total\":8}");
    variants[8].extension_count = 1;
    extensions[1].value = VIEW("us");
    variants[9].extensions = extensions;
    variants[10].subject = VIEW(""); /* moved to the next field */
    variants[10].dataschema = VIEW("7");
    variants[11].key = VIEW("7");
    variants[11].subject = VIEW("");
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(event_digest(&variants[i], digests[i]), ERR_NONE);
        for (size_t j = 0; j < i; j++)
            if (strcmp(digests[i], digests[j]) == 0)
                fail_msg("%zu and %zu have one digest", j, i);
    }
}

static void what_changes_between_two_sendings_does_not_count(void **state)
{
    struct event event = documented();

    (void)state;
    event.producer_id = VIEW("7");
    event.time = VIEW("2026-01-02T03:04:05Z");
    event.traceparent = VIEW("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    event.tracestate = VIEW("a=b");
    event.digest = VIEW("0123456789abcdef0123456789abcdef");
    id_make(&clock_system, &event.id);
    assert_digest(&event, "9849201f7d1edc9750a13053e4f6be91");
}

static void assert_record_digest(struct bus_record *record, const char *expected)
{
    char text[EVENT_DIGEST_TEXT_SIZE];

    assert_int_equal(event_digest_of_record(record, "tidings", text), ERR_NONE);
    assert_string_equal(text, expected);
    bus_record_free(record);
}

static void a_records_digest_is_its_headers(void **state)
{
    struct event event = event_case_full();
    struct event_message message;

    (void)state;
    event.digest = VIEW("0123456789abcdef0123456789abcdef");
    event_to_message(&event, "tidings", &message);
    assert_record_digest(event_case_pass(&message.message), "0123456789abcdef0123456789abcdef");
}

static void a_record_without_one_has_the_same_digest_as_the_event_sent_by_the_gateway(void **state)
{
    struct event event = event_case_full();
    struct event_message message;

    (void)state;
    event_to_message(&event, "tidings", &message);
    assert_record_digest(event_case_pass(&message.message), "3e67ed351aaad5d87f8cdf2a8d709400");
    event.digest = VIEW("0123456789ABCDEF0123456789ABCDEF"); /* is no digest */
    event_to_message(&event, "tidings", &message);
    assert_record_digest(event_case_pass(&message.message), "3e67ed351aaad5d87f8cdf2a8d709400");
}

static void a_foreign_events_digest_is_of_what_was_read(void **state)
{
    const struct bus_header headers[] = {
        {"CE-Region", VIEW("%65u")},
        {"Tidings-Event-Id", VIEW(EVENT_CASE_ID)},
        {"ce-datacontenttype", VIEW("application/json")},
        {"ce-batch", VIEW("12")},
        {"ce-source", VIEW("/sho%70")},
        {"ce-type", VIEW("another.name")},
        {"ce-subject", VIEW("7")},
        {"ce-broken", VIEW("%ff")},
    };
    struct bus_message message = {.subject = "tidings.events.order.created",
                                  .headers = headers,
                                  .header_count = 8,
                                  .payload = VIEW("{\"total\":9}")};

    (void)state;
    assert_record_digest(event_case_pass(&message), "9849201f7d1edc9750a13053e4f6be91");
}

static void an_event_without_source_digests_an_empty_one(void **state)
{
    const struct bus_header headers[] = {{"Tidings-Event-Id", VIEW(EVENT_CASE_ID)}};
    struct event same = {.name = VIEW("a"), .payload = VIEW("x")};
    char text[EVENT_DIGEST_TEXT_SIZE];

    (void)state;
    assert_int_equal(event_digest(&same, text), ERR_NONE);
    assert_record_digest(event_case_foreign("tidings.events.a", headers, 1), text);
}

static void what_is_no_event_has_no_digest(void **state)
{
    const struct bus_header headers[] = {
        {"Tidings-Digest", VIEW("0123456789abcdef0123456789abcdef")}};
    struct bus_record *record = event_case_foreign("tidings.events.a", headers, 1);
    char text[EVENT_DIGEST_TEXT_SIZE] = "untouched";

    (void)state;
    assert_int_equal(event_digest_of_record(record, "tidings", text), ERR_MALFORMED);
    assert_string_equal(text, "untouched");
    bus_record_free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_form_is_the_documented_one),
        cmocka_unit_test(payloads_of_any_length_are_hashed),
        cmocka_unit_test(long_payloads_and_extensions_are_hashed),
        cmocka_unit_test(every_part_of_the_content_counts),
        cmocka_unit_test(what_changes_between_two_sendings_does_not_count),
        cmocka_unit_test(a_records_digest_is_its_headers),
        cmocka_unit_test(a_record_without_one_has_the_same_digest_as_the_event_sent_by_the_gateway),
        cmocka_unit_test(a_foreign_events_digest_is_of_what_was_read),
        cmocka_unit_test(an_event_without_source_digests_an_empty_one),
        cmocka_unit_test(what_is_no_event_has_no_digest),
    };

    return cmocka_run_group_tests(tests, event_case_start, event_case_stop);
}
