#include "common/cloud_event.h"
#include "tests/lib/unit.h"

#include <stdio.h>

static struct cloud_event ce;
static struct err_detail detail;

static enum err add(const char *name, const char *value)
{
    detail.text[0] = '\0';
    return cloud_event_add(&ce, view_of(name), view_of(value), &detail);
}

static void assert_says(const char *text)
{
    if (!strstr(detail.text, text))
        fail_msg("\"%s\" does not say \"%s\"", detail.text, text);
}

static void assert_extensions(const char *expected)
{
    char names[256] = "";
    size_t used = 0;

    for (size_t i = 0; i < ce.event.extension_count; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%.*s ",
                                 (int)ce.event.extensions[i].name.len,
                                 ce.event.extensions[i].name.data);
    assert_string_equal(names, expected);
}

static void extensions_are_sorted(void **state)
{
    static const char *const names[] = {"m", "a", "z", "ab", "0", "mm", "aa", "a0"};

    (void)state;
    cloud_event_begin(&ce, false);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(add(names[i], "v"), ERR_NONE);
    assert_extensions("0 a a0 aa ab m mm z ");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(add(names[i], "v"), ERR_MALFORMED);
        assert_says("comes twice");
    }
    assert_extensions("0 a a0 aa ab m mm z ");
}

static void it_can_be_used_again(void **state)
{
    (void)state;
    cloud_event_begin(&ce, false);
    assert_int_equal(add("x", "v"), ERR_NONE);
    assert_int_equal(add("subject", "s"), ERR_NONE);
    cloud_event_begin(&ce, false);
    assert_extensions("");
    assert_int_equal(ce.event.subject.len, 0);
    assert_int_equal(add("subject", "s"), ERR_NONE);
}

static void what_is_refused_leaves_no_trace(void **state)
{
    static char longer[EVENT_EXTENSIONS_BYTES + 1];

    (void)state;
    memset(longer, 'v', sizeof longer - 1);
    cloud_event_begin(&ce, false);
    assert_int_equal(add("x", ""), ERR_INVALID);
    assert_int_equal(add("x", "a\tb"), ERR_INVALID);
    assert_int_equal(add("x", longer), ERR_INVALID);
    assert_int_equal(add("X", "v"), ERR_INVALID);
    assert_int_equal(add("time", "x"), ERR_INVALID);
    assert_extensions("");
    assert_int_equal(ce.event.time.len, 0);
    assert_int_equal(add("time", "2026-01-02T03:04:05Z"), ERR_NONE);
    assert_int_equal(add("time", "2026-01-02T03:04:05Z"), ERR_MALFORMED);
}

static void details_name_headers_in_binary_mode(void **state)
{
    (void)state;
    cloud_event_begin(&ce, true);
    assert_int_equal(add("id", ""), ERR_INVALID);
    assert_says("ce-id is empty");
    assert_int_equal(add("some1", "\n"), ERR_INVALID);
    assert_says("ce-some1 must not hold");
    assert_int_equal(add("datacontenttype", "x"), ERR_INVALID);
    assert_says("Content-Type is not a media type");
    assert_int_equal(cloud_event_check(&ce, &detail), ERR_INVALID);
    assert_says("ce-specversion is missing");
    cloud_event_begin(&ce, false);
    assert_int_equal(add("datacontenttype", "x"), ERR_INVALID);
    assert_says("datacontenttype is not a media type");
}

static void required_ones(void **state)
{
    static const char *const attributes[][2] = {
        {"specversion", "1.0"}, {"id", "1"}, {"source", "s"}, {"type", "t"}};

    (void)state;
    for (unsigned left_out = 0; left_out <= 4; left_out++) {
        cloud_event_begin(&ce, false);
        for (unsigned i = 0; i < 4; i++)
            if (i != left_out)
                assert_int_equal(add(attributes[i][0], attributes[i][1]), ERR_NONE);
        assert_int_equal(cloud_event_check(&ce, &detail), left_out < 4 ? ERR_INVALID : ERR_NONE);
        if (left_out < 4)
            assert_int_equal(
                strncmp(detail.text, attributes[left_out][0], strlen(attributes[left_out][0])), 0);
    }
}

/* The last two code points of each plane, and U+FDD0 to U+FDEF; their neighbours are taken. */
static void noncharacters(void **state)
{
    static const struct {
        const char *text;
        enum err e;
    } texts[] = {
        {"\xef\xb7\x8f", ERR_NONE},        {"\xef\xb7\x90", ERR_INVALID},
        {"\xef\xb7\xaf", ERR_INVALID},     {"\xef\xb7\xb0", ERR_NONE},
        {"\xef\xbf\xbd", ERR_NONE},        {"\xef\xbf\xbe", ERR_INVALID},
        {"\xef\xbf\xbf", ERR_INVALID},     {"\xf0\x9f\xbf\xbd", ERR_NONE},
        {"\xf0\x9f\xbf\xbe", ERR_INVALID}, {"\xf0\x9f\xbf\xbf", ERR_INVALID},
        {"\xf4\x8f\xbf\xbf", ERR_INVALID}, {"\xf0\x9e\xbf\xbf", ERR_NONE},
        {"\xed\x9f\xbf", ERR_NONE},        {"\xee\xbf\xbf", ERR_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cloud_event_begin(&ce, false);
        if (add("x", texts[i].text) != texts[i].e)
            fail_msg("number %zu: %s", i, detail.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extensions_are_sorted),
        cmocka_unit_test(it_can_be_used_again),
        cmocka_unit_test(what_is_refused_leaves_no_trace),
        cmocka_unit_test(details_name_headers_in_binary_mode),
        cmocka_unit_test(required_ones),
        cmocka_unit_test(noncharacters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
