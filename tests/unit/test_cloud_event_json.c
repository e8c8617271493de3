#include "common/cloud_event_json.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <stdio.h>

static struct cloud_event_json holder;
static struct event event;
static struct err_detail detail;

static int prepare(void **state)
{
    (void)state;
    cloud_event_json_init(&holder);
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    cloud_event_json_free(&holder);
    return 0;
}

static enum err read(const char *body)
{
    event = (struct event){.digest = VIEW("kept"), .subject = VIEW("untouched")};
    detail.text[0] = '\0';
    return cloud_event_json_read(&holder, view_of(body), &event, &detail);
}

#define REQUIRED "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"a.b\""

/* An event with all that is required, and these members. */
static void read_more(const char *members)
{
    static char body[16384];

    snprintf(body, sizeof body, "{" REQUIRED ",%s}", members);
    if (read(body))
        fail_msg("%s: %s", members, detail.text);
}

static void assert_view(struct view v, const char *expected)
{
    if (!view_equal(v, view_of(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)v.len, v.data ? v.data : "", expected);
}

static void assert_extension(size_t index, const char *name, const char *value)
{
    assert_true(index < event.extension_count);
    assert_view(event.extensions[index].name, name);
    assert_view(event.extensions[index].value, value);
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- attributes ---- */

static void reads_all_attributes(void **state)
{
    (void)state;
    assert_int_equal(
        read(" {\"specversion\" : \"1.0\", "
             "\"type\":\"order.created\",\"source\":\"https://a/?b=%20\","
             "\"id\":\"A 1\",\"time\":\"2026-01-02T03:04:05.678901+01:00\","
             "\"datacontenttype\":\"application/vnd.x+json; v=1\",\"dataschema\":\"urn:s\","
             "\"subject\":\"caf\xc3\xa9 7\",\"partitionkey\":\"k 1\","
             "\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\","
             "\"tracestate\":\"a=b, c=d\",\"zebra\":\"z\",\"a1\":\"x y\",\"data\":[1 , 2]} "),
        ERR_NONE);
    assert_view(event.name, "order.created");
    assert_view(event.source, "https://a/?b=%20");
    assert_view(event.producer_id, "A 1");
    assert_view(event.time, "2026-01-02T03:04:05.678901+01:00");
    assert_view(event.content_type, "application/vnd.x+json; v=1");
    assert_view(event.dataschema, "urn:s");
    assert_view(event.subject, "caf\xc3\xa9 7");
    assert_view(event.key, "k 1");
    assert_view(event.traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_view(event.tracestate, "a=b, c=d");
    assert_int_equal(event.extension_count, 2);
    assert_extension(0, "a1", "x y");
    assert_extension(1, "zebra", "z");
    assert_view(event.payload, "[1 , 2]");
    assert_view(event.digest, "kept");
}

static void only_four_attributes_are_required(void **state)
{
    (void)state;
    assert_int_equal(read("{" REQUIRED "}"), ERR_NONE);
    assert_view(event.name, "a.b");
    assert_view(event.time, "");
    assert_view(event.subject, "");
    assert_view(event.content_type, "");
    assert_view(event.payload, "");
    assert_int_equal(event.extension_count, 0);
}

static void extensions_have_three_types(void **state)
{
    static const struct {
        const char *json, *text;
    } values[] = {
        {"\"\\\"\"", "\""},
        {"\"true\"", "true"},
        {"true", "true"},
        {"false", "false"},
        {"0", "0"},
        {"-0", "0"},
        {"-12", "-12"},
        {"2147483647", "2147483647"},
        {"-2147483648", "-2147483648"},
    };
    char members[64];

    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        snprintf(members, sizeof members, "\"x\":%s", values[i].json);
        read_more(members);
        assert_int_equal(event.extension_count, 1);
        assert_extension(0, "x", values[i].text);
    }
    read_more("\"partitionkey\":12");
    assert_view(event.key, "12");
}

static void null_is_absent(void **state)
{
    (void)state;
    read_more("\"time\":null,\"subject\":null,\"x\":null,\"datacontenttype\":null,"
              "\"traceparent\":null,\"data_base64\":null");
    assert_view(event.time, "");
    assert_view(event.subject, "");
    assert_view(event.content_type, "");
    assert_int_equal(event.extension_count, 0);
}

static void escapes_are_decoded(void **state)
{
    (void)state;
    read_more("\"s\\u0075bject\":\"\\ud83d\\ude00 \\\\ \\/\",\"\\u0078\":\"\\u00e9\","
              "\"d\\u0061ta_base64\":\"\\/\\/8=\"");
    assert_view(event.subject, "\xf0\x9f\x98\x80 \\ /");
    assert_extension(0, "x", "\xc3\xa9");
    assert_view(event.payload, "\xff\xff");
}

static void a_holder_serves_many_events(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        read_more("\"x\":\"\\u0061\",\"data_base64\":\"YWJj\"");
        assert_view(event.payload, "abc");
        read_more("\"y\":\"b\"");
        assert_int_equal(event.extension_count, 1);
        assert_extension(0, "y", "b");
        assert_view(event.payload, "");
    }
}

/* ---- data ---- */

static void data_of_json_are_kept_byte_for_byte(void **state)
{
    static const char *const types[] = {
        "",
        "\"datacontenttype\":\"application/json\",",
        "\"datacontenttype\":\"Application/JSON ; charset=latin1\",",
        "\"datacontenttype\":\"text/json\",",
        "\"datacontenttype\":\"application/geo+JSON\",",
    };
    static const char *const values[] = {
        "null",
        "true",
        "1.50e3",
        "\"text\"",
        "\"{\\\"a\\\":\\u00e9}\"",
        "{\"a\" : [1 ,2]}",
        "\"\"",
        "{ }",
        "12345678901234567890.12345678901234567890",
    };
    char members[256];

    (void)state;
    for (size_t i = 0; i < COUNT(types) * COUNT(values); i++) {
        const char *value = values[i % COUNT(values)];

        snprintf(members, sizeof members, "%s\"data\":%s", types[i / COUNT(values)], value);
        read_more(members);
        assert_view(event.payload, value);
        assert_true(event.content_type.len > 0);
    }
}

static void the_content_type_of_json_is_made_explicit(void **state)
{
    (void)state;
    read_more("\"data\":1");
    assert_view(event.content_type, "application/json");
    read_more("\"data_base64\":\"AA==\"");
    assert_view(event.content_type, "");
    read_more("\"datacontenttype\":\"text/plain\"");
    assert_view(event.content_type, "text/plain");
    assert_view(event.payload, "");
}

static void data_of_other_types_are_text(void **state)
{
    (void)state;
    read_more("\"data\":\"<much wow=\\\"xml\\\"/>\",\"datacontenttype\":\"application/xml\"");
    assert_view(event.payload, "<much wow=\"xml\"/>");
    assert_view(event.content_type, "application/xml");
    read_more("\"datacontenttype\":\"text/plain; charset=UTF-8\",\"data\":\"caf\xc3\xa9\"");
    assert_view(event.payload, "caf\xc3\xa9");
    read_more("\"datacontenttype\":\"text/plain;charset=\\\"us-ascii\\\"\",\"data\":\"a\"");
    assert_view(event.payload, "a");
    read_more("\"datacontenttype\":\"text/plain\",\"data\":\"\"");
    assert_view(event.payload, "");
    read_more("\"datacontenttype\":\"text/plain\",\"data\":null");
    assert_view(event.payload, "");
    read_more("\"datacontenttype\":\"text/x-json\",\"data\":\"{}\"");
    assert_view(event.payload, "{}");
}

static void data_may_be_base64(void **state)
{
    (void)state;
    read_more("\"datacontenttype\":\"application/json\",\"data_base64\":\"eyJhIjoxfQ==\"");
    assert_view(event.payload, "{\"a\":1}");
    assert_view(event.content_type, "application/json");
    read_more("\"data_base64\":\"AP8Q+/8=\"");
    assert_int_equal(event.payload.len, 5);
    assert_memory_equal(event.payload.data, "\0\xff\x10\xfb\xff", 5);
    read_more("\"data_base64\":\"\"");
    assert_view(event.payload, "");
}

/* ---- refusals ---- */

struct refusal {
    const char *body;
    enum err e;
    const char *says;
};

static void assert_refused(const struct refusal *r)
{
    if (read(r->body) != r->e)
        fail_msg("%s: taken, or another error: %s", r->body, detail.text);
    if (!strstr(detail.text, r->says))
        fail_msg("%s: \"%s\" does not say \"%s\"", r->body, detail.text, r->says);
    assert_view(event.subject, "untouched");
}

static void malformed_bodies(void **state)
{
    static const struct refusal refusals[] = {
        {"", ERR_MALFORMED, "byte 0: it ends too early"},
        {"{" REQUIRED, ERR_MALFORMED, "it ends too early"},
        {"{" REQUIRED "} x", ERR_MALFORMED, "something follows"},
        {"{" REQUIRED ",\"x\":\"\\u0000\"}", ERR_MALFORMED, "\\u0000"},
        {"{" REQUIRED ",\"x\":\"\\ud800\"}", ERR_MALFORMED, "surrogate"},
        {"{" REQUIRED ",\"x\":\"\xff\"}", ERR_MALFORMED, "UTF-8"},
        {"{" REQUIRED ",\"data\":01}", ERR_MALFORMED, "begin with 0"},
        {"{" REQUIRED ",\"id\":\"1\"}", ERR_MALFORMED, "the member \"id\" comes twice"},
        {"{" REQUIRED ",\"x\":\"1\",\"x\":\"2\"}", ERR_MALFORMED, "\"x\" comes twice"},
        {"{" REQUIRED ",\"x\":\"1\",\"\\u0078\":null}", ERR_MALFORMED, "\"x\" comes twice"},
        {"{" REQUIRED ",\"data\":1,\"data\":2}", ERR_MALFORMED, "\"data\" comes twice"},
        {"{" REQUIRED ",\"data_base64\":\"AA=\"}", ERR_MALFORMED, "not Base64"},
        {"{" REQUIRED ",\"data_base64\":\"AA\"}", ERR_MALFORMED, "padded with ="},
        {"{" REQUIRED ",\"data_base64\":\"A_-A\"}", ERR_MALFORMED, "A-Z a-z 0-9 + /"},
        {"{" REQUIRED ",\"data_base64\":\"AB==\"}", ERR_MALFORMED, "not Base64"},
        {"{" REQUIRED ",\"data_base64\":\"AAAA\\nAAA\"}", ERR_MALFORMED, "not Base64"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(refusals); i++)
        assert_refused(&refusals[i]);
}

#define WITH(members) "{" REQUIRED "," members "}"

static void invalid_events(void **state)
{
    static const struct refusal refusals[] = {
        {"[]", ERR_INVALID, "a CloudEvent in JSON is an object"},
        {"null", ERR_INVALID, "an object"},
        {"{}", ERR_INVALID, "specversion is missing; a CloudEvent needs specversion (1.0), id"},
        {"{\"specversion\":\"1.0\"}", ERR_INVALID, "id is missing"},
        {"{\"specversion\":\"1.0\",\"id\":\"1\"}", ERR_INVALID, "source is missing"},
        {"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/\"}", ERR_INVALID, "type is missing"},
        {"{\"specversion\":\"1.0\",\"id\":null,\"source\":\"/\",\"type\":\"a\"}", ERR_INVALID,
         "id is missing"},
        {"{\"specversion\":\"0.3\"}", ERR_INVALID, "specversion is \"0.3\"; \"1.0\" is the one"},
        {"{\"specversion\":\"1.0.2\"}", ERR_INVALID, "specversion is \"1.0.2\""},
        {"{\"specversion\":1.0}", ERR_INVALID, "specversion must be a string"},
        {"{\"id\":7}", ERR_INVALID, "id must be a string"},
        {"{\"id\":true}", ERR_INVALID, "id must be a string"},
        {"{\"id\":{}}", ERR_INVALID, "id must be a string"},
        {"{\"id\":\"\"}", ERR_INVALID, "id is empty; 1 to 256 bytes are allowed"},
        {"{\"id\":\"a\\nb\"}", ERR_INVALID, "id must not hold control characters"},
        {"{\"source\":\"\"}", ERR_INVALID, "source is empty"},
        {"{\"source\":\"a b\"}", ERR_INVALID, "source must be a URI"},
        {"{\"type\":\"\"}", ERR_INVALID, "type is empty"},
        {"{\"type\":\"com/x\"}", ERR_INVALID, "type is the event's name: name has a character at "},
        {"{\"type\":\"a..b\"}", ERR_INVALID, "type is the event's name: name has an empty part"},
        {"{\"time\":\"1.1.2026\"}", ERR_INVALID, "time is not an RFC 3339"},
        {"{\"time\":1767312000}", ERR_INVALID, "time must be a string"},
        {"{\"subject\":\"\"}", ERR_INVALID, "subject is empty"},
        {"{\"subject\":[]}", ERR_INVALID, "subject must be a string"},
        {"{\"dataschema\":\"\"}", ERR_INVALID, "dataschema is empty"},
        {"{\"dataschema\":\"a b\"}", ERR_INVALID, "dataschema must be a URI"},
        {"{\"datacontenttype\":\"json\"}", ERR_INVALID, "datacontenttype is not a media type"},
        {"{\"datacontenttype\":\"a/b;\xc3\xa9\"}", ERR_INVALID, "datacontenttype is not a media"},
        {"{\"datacontenttype\":\"\"}", ERR_INVALID, "datacontenttype is empty"},
        {"{\"partitionkey\":\"\"}", ERR_INVALID, "partitionkey is empty"},
        {"{\"traceparent\":\"a b\"}", ERR_INVALID, "traceparent must be of printable ASCII"},
        {"{\"x\":\"\"}", ERR_INVALID, "x is empty"},
        {"{\"x\":\"\\u0085\"}", ERR_INVALID, "x must not hold control characters"},
        {"{\"x\":\"\\ufdd0\"}", ERR_INVALID, "noncharacters"},
        {"{\"x\":\"\\ud83f\\udfff\"}", ERR_INVALID, "noncharacters"},
        {"{\"x\":1.0}", ERR_INVALID, "x is a number that CloudEvents does not know"},
        {"{\"x\":1e2}", ERR_INVALID, "without fraction and exponent"},
        {"{\"x\":2147483648}", ERR_INVALID, "from -2147483648 to 2147483647"},
        {"{\"x\":-2147483649}", ERR_INVALID, "from -2147483648 to 2147483647"},
        {"{\"x\":123456789012345678901}", ERR_INVALID, "must be whole"},
        {"{\"x\":{}}", ERR_INVALID, "x must be a string, a boolean or a whole number"},
        {"{\"x\":[1]}", ERR_INVALID, "belongs into data"},
        {"{\"Id\":\"1\"}", ERR_INVALID, "\"Id\" is no attribute: a name of CloudEvents is of a-z"},
        {"{\"my-ext\":\"1\"}", ERR_INVALID, "\"my-ext\" is no attribute"},
        {"{\"\xc3\xa9\":null}", ERR_INVALID, "is no attribute"},
        {"{\"\":\"1\"}", ERR_INVALID, "an empty name"},
        {"{\"a123456789012345678901234567890123456789b\":1}", ERR_INVALID, "a name of 41 bytes"},
        {WITH("\"data\":1,\"data_base64\":\"AA==\""), ERR_INVALID, "at most one of them"},
        {WITH("\"data\":null,\"data_base64\":\"AA==\""), ERR_INVALID, "at most one of them"},
        {WITH("\"data_base64\":7"), ERR_INVALID, "data_base64 must be a string"},
        {WITH("\"data\":{},\"datacontenttype\":\"text/plain; a=b\""), ERR_INVALID,
         "data must be a string where datacontenttype is not JSON (it is text/plain)"},
        {WITH("\"data\":1,\"datacontenttype\":\"application/xml\""), ERR_INVALID, "data_base64"},
        {WITH("\"data\":\"a\",\"datacontenttype\":\"text/plain; x=1; Charset=Latin1\""),
         ERR_INVALID, "the charset Latin1, but a text in data is UTF-8"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(refusals); i++)
        assert_refused(&refusals[i]);
}

/* {"<member>":"<len times text>"} */
static enum err read_long(const char *member, const char *text, size_t len)
{
    static char body[65536];
    size_t used = (size_t)snprintf(body, sizeof body, "{" REQUIRED ",\"%s\":\"", member);

    for (size_t i = 0; i < len; i++)
        used += (size_t)snprintf(body + used, sizeof body - used, "%s", text);
    snprintf(body + used, sizeof body - used, "\"}");
    return read(body);
}

static void lengths_are_bounded(void **state)
{
    static const struct {
        const char *member;
        size_t max;
    } limits[] = {
        {"subject", EVENT_SUBJECT_MAX},
        {"dataschema", EVENT_DATASCHEMA_MAX},
        {"partitionkey", EVENT_KEY_MAX},
        {"tracestate", EVENT_TRACESTATE_MAX},
        {"traceparent", 128},
        {"x", EVENT_EXTENSIONS_BYTES - 1},
    };
    char says[64];

    (void)state;
    for (size_t i = 0; i < COUNT(limits); i++) {
        for (int escaped = 0; escaped < 2; escaped++) {
            const char *text = escaped ? "\\u0061" : "a";

            assert_int_equal(read_long(limits[i].member, text, limits[i].max), ERR_NONE);
            assert_int_equal(read_long(limits[i].member, text, limits[i].max + 1), ERR_INVALID);
            snprintf(says, sizeof says, "%s", limits[i].member);
            assert_non_null(strstr(detail.text, says));
        }
    }
}

static size_t write_members(char *body, size_t size, int count, const char *value)
{
    size_t used = (size_t)snprintf(body, size, "{" REQUIRED);

    for (int i = 0; i < count; i++)
        used += (size_t)snprintf(body + used, size - used, ",\"x%02d\":%s", i, value);
    return used + (size_t)snprintf(body + used, size - used, "}");
}

static void extensions_are_bounded(void **state)
{
    static char body[16384], value[256];

    (void)state;
    write_members(body, sizeof body, EVENT_EXTENSIONS_MAX, "1");
    assert_int_equal(read(body), ERR_NONE);
    assert_int_equal(event.extension_count, EVENT_EXTENSIONS_MAX);
    write_members(body, sizeof body, EVENT_EXTENSIONS_MAX + 1, "1");
    assert_int_equal(read(body), ERR_INVALID);
    assert_non_null(strstr(detail.text, "x24 is one extension too many; at most 24"));
    write_members(body, sizeof body, 60, "null");
    assert_int_equal(read(body), ERR_NONE);
    write_members(body, sizeof body, 61, "null");
    assert_int_equal(read(body), ERR_INVALID);
    assert_non_null(strstr(detail.text, "65 members; at most 64"));
    snprintf(value, sizeof value, "\"%0*d\"", EVENT_EXTENSIONS_BYTES / 20 - 3, 1);
    write_members(body, sizeof body, 20, value);
    assert_int_equal(read(body), ERR_NONE);
    write_members(body, sizeof body, 21, value);
    assert_int_equal(read(body), ERR_INVALID);
    assert_non_null(strstr(detail.text, "with x20 the names and values"));
}

/* ---- memory ---- */

static void events_without_escapes_allocate_nothing(void **state)
{
    uint64_t before = mem_allocations();

    (void)state;
    read_more("\"x\":\"y\",\"data\":{\"a\":\"\\u00e9\"}");
    read_more("\"datacontenttype\":\"text/plain\",\"data\":\"abc\"");
    assert_int_equal(mem_allocations(), before);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct cloud_event_json own;
        struct event read_event = {0};
        bool failed;
        enum err e;

        cloud_event_json_init(&own);
        e = cloud_event_json_read(&own,
                                  VIEW(WITH("\"\\u0078\":\"\\u0061\",\"data_base64\":\"\\/w==\"")),
                                  &read_event, NULL);
        failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        cloud_event_json_free(&own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_all_attributes, prepare, clean_up),
        cmocka_unit_test_setup_teardown(only_four_attributes_are_required, prepare, clean_up),
        cmocka_unit_test_setup_teardown(extensions_have_three_types, prepare, clean_up),
        cmocka_unit_test_setup_teardown(null_is_absent, prepare, clean_up),
        cmocka_unit_test_setup_teardown(escapes_are_decoded, prepare, clean_up),
        cmocka_unit_test_setup_teardown(a_holder_serves_many_events, prepare, clean_up),
        cmocka_unit_test_setup_teardown(data_of_json_are_kept_byte_for_byte, prepare, clean_up),
        cmocka_unit_test_setup_teardown(the_content_type_of_json_is_made_explicit, prepare,
                                        clean_up),
        cmocka_unit_test_setup_teardown(data_of_other_types_are_text, prepare, clean_up),
        cmocka_unit_test_setup_teardown(data_may_be_base64, prepare, clean_up),
        cmocka_unit_test_setup_teardown(malformed_bodies, prepare, clean_up),
        cmocka_unit_test_setup_teardown(invalid_events, prepare, clean_up),
        cmocka_unit_test_setup_teardown(lengths_are_bounded, prepare, clean_up),
        cmocka_unit_test_setup_teardown(extensions_are_bounded, prepare, clean_up),
        cmocka_unit_test_setup_teardown(events_without_escapes_allocate_nothing, prepare, clean_up),
        cmocka_unit_test(each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
