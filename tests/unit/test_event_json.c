#include "common/event_json.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <stdio.h>

static struct event_json holder;
static struct event event;
static struct err_detail detail;

static int prepare(void **state)
{
    (void)state;
    event_json_init(&holder);
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    event_json_free(&holder);
    return 0;
}

static enum err read(const char *body)
{
    event = (struct event){
        .time = VIEW("untouched"), .subject = VIEW("untouched"), .digest = VIEW("kept")};
    detail.text[0] = '\0';
    return event_json_read(&holder, view_of(body), &event, &detail);
}

static void assert_view(struct view v, const char *expected)
{
    if (!view_equal(v, view_of(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)v.len, v.data ? v.data : "", expected);
}

static void reads_all_members(void **state)
{
    (void)state;
    assert_int_equal(read(" {\"payload\" : {\"a\":[1, 2.50]} , \"name\":\"order.created\",\r\n"
                          "\"key\":\"customer 7\",\"time\":\"2026-01-02T03:04:05+01:00\","
                          "\"id\":\"4 711\",\"source\":\"/shop?a=%20b\"} "),
                     ERR_NONE);
    assert_view(event.name, "order.created");
    assert_view(event.payload, "{\"a\":[1, 2.50]}");
    assert_view(event.content_type, "application/json");
    assert_view(event.key, "customer 7");
    assert_view(event.time, "2026-01-02T03:04:05+01:00");
    assert_view(event.producer_id, "4 711");
    assert_view(event.source, "/shop?a=%20b");
    assert_view(event.digest, "kept");
}

static void only_the_name_is_required(void **state)
{
    (void)state;
    assert_int_equal(read("{\"name\":\"a\"}"), ERR_NONE);
    assert_view(event.name, "a");
    assert_view(event.payload, "");
    assert_view(event.content_type, "");
    assert_view(event.key, "");
    assert_view(event.time, "");
    assert_view(event.producer_id, "");
    assert_view(event.source, "");
    assert_view(event.subject, "");
}

static void payloads_are_kept_byte_for_byte(void **state)
{
    static const char *const payloads[] = {
        "null",
        "0",
        "\"some data\"",
        "\"\\u00e9\\/\"",
        "12345678901234567890.123456789012345678901",
        "1e400",
        "{\"b\":1,\"a\":2,\"b\":3}",
        "[ 1 ,\t2 ]",
        "-0",
        "\"\xf0\x9f\x98\x80\"",
        "1111111111222222222233333333334444444444555555555566666666667777777777"};
    char body[256];

    (void)state;
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        snprintf(body, sizeof body, "{\"name\":\"a\",\"payload\":%s}", payloads[i]);
        assert_int_equal(read(body), ERR_NONE);
        assert_view(event.payload, payloads[i]);
    }
}

static void escapes_are_decoded(void **state)
{
    (void)state;
    assert_int_equal(read("{\"n\\u0061me\":\"\\u006frder.\\u0063reated\","
                          "\"key\":\"caf\\u00e9 \\\"x\\\" \\ud83d\\ude00 \\/\","
                          "\"time\":\"2026-01-02T03\\u003a04:05Z\",\"pay\\u006coad\":7}"),
                     ERR_NONE);
    assert_view(event.name, "order.created");
    assert_view(event.key, "caf\xc3\xa9 \"x\" \xf0\x9f\x98\x80 /");
    assert_view(event.time, "2026-01-02T03:04:05Z");
    assert_view(event.payload, "7");
}

static void a_holder_serves_many_events(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(read("{\"name\":\"\\u0061\",\"key\":\"\\u0062\"}"), ERR_NONE);
        assert_view(event.key, "b");
    }
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
    assert_view(event.time, "untouched");
    assert_view(event.name, "");
}

static void malformed_bodies(void **state)
{
    static const struct refusal refusals[] = {
        {"", ERR_MALFORMED, "byte 0: it ends too early"},
        {"{\"name\":\"a\"", ERR_MALFORMED, "byte 11"},
        {"{\"name\":\"a\"} x", ERR_MALFORMED, "byte 13: something follows"},
        {"{\"name\":\"a\",\"name\":\"b\"}", ERR_MALFORMED, "name comes twice"},
        {"{\"name\":\"a\",\"n\\u0061me\":\"b\"}", ERR_MALFORMED, "name comes twice"},
        {"{\"payload\":1,\"name\":\"a\",\"payload\":2}", ERR_MALFORMED, "payload comes twice"},
        {"{\"name\":\"a\",\"payload\":01}", ERR_MALFORMED, "byte 23"},
        {"{\"name\":\"\xff\"}", ERR_MALFORMED, "UTF-8"},
        {"{\"name\":\"a\",\"payload\":\"\xc3(\"}", ERR_MALFORMED, "UTF-8"},
        {"{\"name\":\"a\",\"payload\":\"\\u0000\"}", ERR_MALFORMED, "\\u0000"},
        {"name=a", ERR_MALFORMED, "byte 0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        assert_refused(&refusals[i]);
}

static void invalid_events(void **state)
{
    static const struct refusal refusals[] = {
        {"[]", ERR_INVALID, "a JSON object"},
        {"\"name\"", ERR_INVALID, "a JSON object"},
        {"null", ERR_INVALID, "a JSON object"},
        {"{}", ERR_INVALID, "name is missing"},
        {"{\"payload\":1}", ERR_INVALID, "name is missing"},
        {"{\"name\":7}", ERR_INVALID, "name must be a string"},
        {"{\"name\":null}", ERR_INVALID, "name must be a string"},
        {"{\"name\":\"\"}", ERR_INVALID, "name is empty"},
        {"{\"name\":\"a..b\"}", ERR_INVALID, "empty part"},
        {"{\"name\":\".a\"}", ERR_INVALID, "empty part"},
        {"{\"name\":\"a.\"}", ERR_INVALID, "ends with a dot"},
        {"{\"name\":\"a b\"}", ERR_INVALID, "not allowed"},
        {"{\"name\":\"a.*\"}", ERR_INVALID, "not allowed"},
        {"{\"name\":\"a.>\"}", ERR_INVALID, "not allowed"},
        {"{\"name\":\"a\\r\\nb\"}", ERR_INVALID, "not allowed"},
        {"{\"name\":\"caf\xc3\xa9\"}", ERR_INVALID, "not allowed"},
        {"{\"name\":\"a\",\"key\":\"\"}", ERR_INVALID, "key is empty"},
        {"{\"name\":\"a\",\"key\":7}", ERR_INVALID, "key must be a string"},
        {"{\"name\":\"a\",\"key\":\"a\\u000ab\"}", ERR_INVALID, "control characters"},
        {"{\"name\":\"a\",\"key\":\"a\\u0085b\"}", ERR_INVALID, "control characters"},
        {"{\"name\":\"a\",\"time\":\"yesterday\"}", ERR_INVALID, "RFC 3339"},
        {"{\"name\":\"a\",\"time\":\"2026-02-30T00:00:00Z\"}", ERR_INVALID, "RFC 3339"},
        {"{\"name\":\"a\",\"time\":1234567}", ERR_INVALID, "time must be a string"},
        {"{\"name\":\"a\",\"id\":\"\"}", ERR_INVALID, "id is empty; 1 to 256 bytes are allowed"},
        {"{\"name\":\"a\",\"id\":7}", ERR_INVALID, "id must be a string"},
        {"{\"name\":\"a\",\"id\":\"a\\tb\"}", ERR_INVALID, "id must not hold control"},
        {"{\"name\":\"a\",\"id\":\"\\uffff\"}", ERR_INVALID, "id must not hold code points"},
        {"{\"name\":\"a\",\"source\":\"\"}", ERR_INVALID, "source is empty"},
        {"{\"name\":\"a\",\"source\":null}", ERR_INVALID, "source must be a string"},
        {"{\"name\":\"a\",\"source\":\"/a b\"}", ERR_INVALID, "a space in it is written %20"},
        {"{\"name\":\"a\",\"source\":\"/a\\u007f\"}", ERR_INVALID, "source must not hold control"},
        {"{\"name\":\"a\",\"Payload\":1}", ERR_INVALID,
         "unknown member \"Payload\"; allowed are name, payload, key, time, id and source"},
        {"{\"name\":\"a\",\"x\\n\":1}", ERR_INVALID, "unknown member"},
        {"{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"name\":\"a\"}",
         ERR_INVALID, "unknown member \"a\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        assert_refused(&refusals[i]);
}

/* {"<member>":"<len times c>"}, and a name where that isn't it */
static enum err read_long(const char *member, char c, int len)
{
    static char body[20000];
    char text[10001];

    memset(text, c, (size_t)len);
    text[len] = '\0';
    snprintf(body, sizeof body, "{%s\"%s\":\"%s\"}",
             strcmp(member, "name") == 0 ? "" : "\"name\":\"a\",", member, text);
    return read(body);
}

static void lengths_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(read_long("name", 'a', EVENT_NAME_MAX), ERR_NONE);
    assert_int_equal(read_long("name", 'a', EVENT_NAME_MAX + 1), ERR_INVALID);
    assert_int_equal(read_long("name", 'a', 10000), ERR_INVALID);
    assert_non_null(strstr(detail.text, "name is too long"));
    assert_int_equal(read_long("key", 'k', EVENT_KEY_MAX), ERR_NONE);
    assert_int_equal(read_long("key", 'k', EVENT_KEY_MAX + 1), ERR_INVALID);
    assert_int_equal(read_long("time", '1', EVENT_TIME_MAX + 1), ERR_INVALID);
    assert_int_equal(read_long("id", 'i', EVENT_PRODUCER_ID_MAX), ERR_NONE);
    assert_int_equal(read_long("id", 'i', EVENT_PRODUCER_ID_MAX + 1), ERR_INVALID);
    assert_non_null(strstr(detail.text, "id has 257 bytes; at most 256 are allowed"));
    assert_int_equal(read_long("source", '/', EVENT_SOURCE_MAX), ERR_NONE);
    assert_int_equal(read_long("source", '/', EVENT_SOURCE_MAX + 1), ERR_INVALID);
}

static void escapes_up_to_the_longest(void **state)
{
    static char body[4096];
    int used = snprintf(body, sizeof body, "{\"n\\u0061me\":\"");

    (void)state;
    for (int i = 0; i < EVENT_NAME_MAX; i++)
        used += snprintf(body + used, sizeof body - (size_t)used, "\\u0061");
    used += snprintf(body + used, sizeof body - (size_t)used, "\",\"k\\u0065y\":\"");
    for (int i = 0; i < EVENT_KEY_MAX; i++)
        used += snprintf(body + used, sizeof body - (size_t)used, "\\u0062");
    snprintf(body + used, sizeof body - (size_t)used, "\"}");
    assert_int_equal(read(body), ERR_NONE);
    assert_int_equal(event.name.len, EVENT_NAME_MAX);
    assert_int_equal(event.key.len, EVENT_KEY_MAX);
    assert_int_equal(event.name.data[EVENT_NAME_MAX - 1], 'a'); /* has not moved */
}

static void deep_payloads(void **state)
{
    char body[256];

    (void)state;
    for (int depth = EVENT_JSON_DEPTH_MAX - 1; depth <= EVENT_JSON_DEPTH_MAX; depth++) {
        int used = snprintf(body, sizeof body, "{\"name\":\"a\",\"payload\":");

        memset(body + used, '[', (size_t)depth);
        memset(body + used + depth, ']', (size_t)depth);
        body[used + 2 * depth] = '}';
        body[used + 2 * depth + 1] = '\0';
        assert_int_equal(read(body), depth < EVENT_JSON_DEPTH_MAX ? ERR_NONE : ERR_MALFORMED);
    }
}

/* ---- memory ---- */

static void plain_events_allocate_nothing(void **state)
{
    uint64_t before;

    (void)state;
    before = mem_allocations();
    assert_int_equal(
        read("{\"name\":\"order.created\",\"key\":\"k\",\"payload\":{\"a\":\"\\u00e9\"}}"),
        ERR_NONE);
    assert_int_equal(mem_allocations(), before);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        enum err e = read("{\"name\":\"\\u0061\",\"key\":\"\\u0062\",\"p\\u0061yload\":[1]}");
        bool failed = each_failure_end(&f);

        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        event_json_free(&holder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_all_members, prepare, clean_up),
        cmocka_unit_test_setup_teardown(only_the_name_is_required, prepare, clean_up),
        cmocka_unit_test_setup_teardown(payloads_are_kept_byte_for_byte, prepare, clean_up),
        cmocka_unit_test_setup_teardown(escapes_are_decoded, prepare, clean_up),
        cmocka_unit_test_setup_teardown(a_holder_serves_many_events, prepare, clean_up),
        cmocka_unit_test_setup_teardown(malformed_bodies, prepare, clean_up),
        cmocka_unit_test_setup_teardown(invalid_events, prepare, clean_up),
        cmocka_unit_test_setup_teardown(lengths_are_bounded, prepare, clean_up),
        cmocka_unit_test_setup_teardown(escapes_up_to_the_longest, prepare, clean_up),
        cmocka_unit_test_setup_teardown(deep_payloads, prepare, clean_up),
        cmocka_unit_test_setup_teardown(plain_events_allocate_nothing, prepare, clean_up),
        cmocka_unit_test_setup_teardown(each_allocation_may_fail, prepare, clean_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
