#include "common/json_scan.h"
#include "tests/lib/unit.h"

#include <stdio.h>

static enum err scan(struct view text, struct err_detail *detail)
{
    struct json_text json = {0};

    return json_scan(text, &json, detail);
}

static void good_texts(void **state)
{
    static const char *const texts[] = {
        "null",
        "true",
        " false ",
        "0",
        "-0",
        "10",
        "1.5",
        "-1.50e+10",
        "1E5",
        "0e0",
        "1234567890123456789012345678901234567890123456789012345678901234567890",
        "\"\"",
        "\"plain\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u0001\\u00e9\\uABcd\\ud83d\\uDE00\"",
        "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\x7f\"",
        "[]",
        "[ ]",
        "{}",
        "{ }",
        "[1,2,[3,{\"a\":[]}],{}]",
        "{\"a\":1,\"b\":{\"c\":[true,null]},\"\":\"\"}",
        "\t\r\n {\n\t\"a\" : [ 1 , 2 ] \r}\n",
        "{\"a\":1,\"a\":2}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct err_detail detail = {""};

        if (scan(view_of(texts[i]), &detail))
            fail_msg("%s: %s", texts[i], detail.text);
    }
}

struct bad {
    const char *text;
    size_t at; /* the byte that the detail names */
};

static const struct bad bad[] = {
    {"", 0},
    {"  ", 2},
    {"nul", 0},
    {"nulll", 4},
    {"True", 0},
    {"01", 1},
    {"-01", 2},
    {"+1", 0},
    {"1.", 2},
    {".5", 0},
    {"-", 1},
    {"--1", 1},
    {"1e", 2},
    {"1e+", 3},
    {"1.e5", 2},
    {"0x10", 1},
    {"NaN", 0},
    {"Infinity", 0},
    {"1 2", 2},
    {"\"open", 5},
    {"\"\\", 2},
    {"\"\\x41\"", 2},
    {"\"\\'\"", 2},
    {"\"\\u12\"", 1},
    {"\"\\u12G4\"", 1},
    {"\"\\u0000\"", 1},
    {"\"\\ud83d\"", 1},
    {"\"\\ud83dx\"", 1},
    {"\"\\ud83d\\n\"", 1},
    {"\"\\ud83d\\u0041\"", 1},
    {"\"\\ud83d\\ud83d\"", 1},
    {"\"\\ude00\"", 1},
    {"\"a\nb\"", 2},
    {"\"a\tb\"", 2},
    {"\"\x1f\"", 1},
    {"\"\x80\"", 1},
    {"\"\xc3\"", 1},
    {"\"\xc0\x80\"", 1},
    {"\"\xed\xa0\x80\"", 1},
    {"\"\xf4\x90\x80\x80\"", 1},
    {"\"\xff\"", 1},
    {"'single'", 0},
    {"[", 1},
    {"[1", 2},
    {"[1,", 3},
    {"[1,]", 3},
    {"[,1]", 1},
    {"[1 2]", 3},
    {"[1}", 2},
    {"]", 0},
    {"{", 1},
    {"{]", 1},
    {"{1:2}", 1},
    {"{\"a\"", 4},
    {"{\"a\" 1}", 5},
    {"{\"a\":}", 5},
    {"{\"a\":1,}", 7},
    {"{\"a\":1 \"b\":2}", 7},
    {"{a:1}", 1},
    {"{}{}", 2},
    {"[]x", 2},
    {"// comment\n1", 0},
    {"[1,/* */2]", 3},
    {"\xef\xbb\xbf{}", 0},
    {"\xc2\xa0"
     "1",
     0},
};

static void bad_texts(void **state)
{
    char expected[64];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err_detail detail = {""};

        if (scan(view_of(bad[i].text), &detail) != ERR_MALFORMED)
            fail_msg("taken: %s", bad[i].text);
        snprintf(expected, sizeof expected, "not valid JSON at byte %zu: ", bad[i].at);
        if (!strstr(detail.text, expected))
            fail_msg("%s: %s", bad[i].text, detail.text);
    }
}

static void nul_bytes(void **state)
{
    static const char *const texts[] = {"\0", "1\0", "\"a\0b\"", "{\"a\0\":1}", "[\0]"};
    static const size_t lengths[] = {1, 2, 5, 8, 3};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        assert_int_equal(scan((struct view){texts[i], lengths[i]}, NULL), ERR_MALFORMED);
}

static void depth_is_bounded(void **state)
{
    char text[8 * JSON_DEPTH_MAX];
    size_t used = 0;

    (void)state;
    for (int i = 0; i < JSON_DEPTH_MAX / 2; i++, used += 6) /* objects and arrays in turn */
        memcpy(text + used, "{\"a\":[", 6);
    for (int i = 0; i < JSON_DEPTH_MAX / 2; i++, used += 2)
        memcpy(text + used, "]}", 2);
    assert_int_equal(scan((struct view){text, used}, NULL), ERR_NONE);
    for (int depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        enum err expected = depth > JSON_DEPTH_MAX ? ERR_MALFORMED : ERR_NONE;

        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_int_equal(scan((struct view){text, 2 * (size_t)depth}, NULL), expected);
    }
}

static void closing_brackets_must_match(void **state)
{
    (void)state;
    assert_int_equal(scan(VIEW("{\"a\":[{\"b\":[1]}]}"), NULL), ERR_NONE);
    assert_int_equal(scan(VIEW("{\"a\":[{\"b\":[1}]]}"), NULL), ERR_MALFORMED);
    assert_int_equal(scan(VIEW("[{\"a\":1],2}"), NULL), ERR_MALFORMED);
}

static void members_are_found(void **state)
{
    static const char text[] = " { \"a\" : 1 ,\"b\\u0062\":\"x\" , \"c\":{\"d\":[1,2]} ,\"e\":[ ],"
                               "\"f\":true,\"g\":null}";
    static const struct {
        const char *name, *value;
        enum json_kind kind;
    } expected[] = {
        {"a", "1", JSON_NUMBER},
        {"b\\u0062", "\"x\"", JSON_STRING},
        {"c", "{\"d\":[1,2]}", JSON_OBJECT},
        {"e", "[ ]", JSON_ARRAY},
        {"f", "true", JSON_BOOLEAN},
        {"g", "null", JSON_NULL},
    };
    struct json_member members[6];
    struct json_text json = {.members = members, .capacity = 6};
    struct err_detail detail = {""};

    (void)state;
    if (json_scan(view_of(text), &json, &detail))
        fail_msg("%s", detail.text);
    assert_int_equal(json.kind, JSON_OBJECT);
    assert_int_equal(json.count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_true(view_equal(members[i].name, view_of(expected[i].name)));
        assert_true(view_equal(members[i].value, view_of(expected[i].value)));
        assert_int_equal(members[i].kind, expected[i].kind);
    }
}

static void members_beyond_the_capacity_are_counted(void **state)
{
    struct json_member one;
    struct json_text json = {.members = &one, .capacity = 1};

    (void)state;
    assert_int_equal(json_scan(VIEW("{\"a\":1,\"b\":2,\"c\":3}"), &json, NULL), ERR_NONE);
    assert_int_equal(json.count, 3);
    assert_true(view_equal(one.name, VIEW("a")));
}

static void elements_are_found(void **state)
{
    static const struct {
        const char *value;
        enum json_kind kind;
    } expected[] = {
        {"1", JSON_NUMBER},      {"{\"a\":[2,{\"b\":3}]}", JSON_OBJECT},
        {"[4,[5]]", JSON_ARRAY}, {"{}", JSON_OBJECT},
        {"\"]\"", JSON_STRING},
    };
    struct json_member elements[5];
    struct json_text json = {.members = elements, .capacity = 5};

    (void)state;
    assert_int_equal(json_scan(VIEW("[ 1 ,{\"a\":[2,{\"b\":3}]}, [4,[5]] ,{},\"]\"]"), &json, NULL),
                     ERR_NONE);
    assert_int_equal(json.kind, JSON_ARRAY);
    assert_int_equal(json.count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(elements[i].name.len, 0);
        assert_true(view_equal(elements[i].value, view_of(expected[i].value)));
        assert_int_equal(elements[i].kind, expected[i].kind);
    }
}

static void what_is_empty_has_none(void **state)
{
    static const char *const texts[] = {"[]", " [ ] ", "{}", "{ }", "7", "\"a\""};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct json_text json = {.count = 77};

        assert_int_equal(json_scan(view_of(texts[i]), &json, NULL), ERR_NONE);
        assert_int_equal(json.count, 0);
    }
}

static void failure_leaves_the_result(void **state)
{
    struct json_text json = {.kind = JSON_STRING, .count = 77};

    (void)state;
    assert_int_equal(json_scan(VIEW("{\"a\":1,\"b\":2"), &json, NULL), ERR_MALFORMED);
    assert_int_equal(json.kind, JSON_STRING);
    assert_int_equal(json.count, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_texts),
        cmocka_unit_test(bad_texts),
        cmocka_unit_test(nul_bytes),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(closing_brackets_must_match),
        cmocka_unit_test(members_are_found),
        cmocka_unit_test(members_beyond_the_capacity_are_counted),
        cmocka_unit_test(elements_are_found),
        cmocka_unit_test(what_is_empty_has_none),
        cmocka_unit_test(failure_leaves_the_result),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
