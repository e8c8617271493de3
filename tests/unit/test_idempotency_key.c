#include "http-gateway/idempotency_key.h"

#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static char unquoted[EVENT_PRODUCER_ID_MAX];
static struct view key;
static struct err_detail detail;

static enum err parse(const char *value)
{
    detail.text[0] = '\0';
    return idempotency_key_parse(view_of(value), unquoted, &key, &detail);
}

static void keys_are_quoted_or_bare(void **state)
{
    static const struct {
        const char *value, *key;
    } good[] = {
        {"\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", "8e03978e-40d5-43e8-bc93-6894a57f9324"},
        {"\"a b, c; d\"", "a b, c; d"},
        {"\"\\\"\\\\\\\"\"", "\"\\\""},
        {"\" \"", " "},
        {"\"~\"", "~"},
        {"8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"},
        {"!#$%&'()*+-./:;<=>?@[]^_`{|}~", "!#$%&'()*+-./:;<=>?@[]^_`{|}~"},
        {"7", "7"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (parse(good[i].value) != ERR_NONE)
            fail_msg("%s: %s", good[i].value, detail.text);
        if (!view_equal(key, view_of(good[i].key)))
            fail_msg("%s: %.*s", good[i].value, (int)key.len, key.data);
    }
}

static void anything_else_is_malformed(void **state)
{
    static const char *const bad[] = {
        "",        "\"\"",        "\"",       "\"a",          "a\"",      "a b",      "a,b",
        "a\\b",    "\\",          "\"\\a\"",  "\"\\",         "\"a\\\"",  "\"a\"b\"", "\"a\" ",
        "\"a\";p", "\"a\",\"b\"", "\"\x7f\"", "\"\xC3\xA9\"", "\xC3\xA9", "a\tb",     "\"a\tb\"",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        key = VIEW("untouched");
        if (parse(bad[i]) != ERR_MALFORMED)
            fail_msg("taken: %s", bad[i]);
        assert_non_null(strstr(detail.text, "Idempotency-Key"));
        assert_true(view_equal(key, VIEW("untouched")));
    }
}

static void keys_have_a_length(void **state)
{
    char value[3 * EVENT_PRODUCER_ID_MAX];
    size_t max = EVENT_PRODUCER_ID_MAX;

    (void)state;
    memset(value, 'x', sizeof value);
    value[max] = '\0';
    assert_int_equal(parse(value), ERR_NONE);
    assert_int_equal(key.len, max);
    value[max] = 'x';
    value[max + 1] = '\0';
    assert_int_equal(parse(value), ERR_MALFORMED);
    value[0] = '"';
    value[max + 1] = '"';
    value[max + 2] = '\0';
    assert_int_equal(parse(value), ERR_NONE);
    assert_int_equal(key.len, max);
    value[max + 1] = 'x';
    value[max + 2] = '"';
    value[max + 3] = '\0';
    assert_int_equal(parse(value), ERR_MALFORMED);
    /* escapes don't count */
    for (size_t i = 0; i < max; i++)
        memcpy(value + 1 + 2 * i, "\\\"", 2);
    memcpy(value + 1 + 2 * max, "\"", 2);
    assert_int_equal(parse(value), ERR_NONE);
    assert_int_equal(key.len, max);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_quoted_or_bare),
        cmocka_unit_test(anything_else_is_malformed),
        cmocka_unit_test(keys_have_a_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
