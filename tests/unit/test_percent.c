#include "common/percent.h"
#include "tests/lib/unit.h"

static void assert_view(struct view v, const char *expected)
{
    if (!view_equal(v, view_of(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)v.len, v.data ? v.data : "", expected);
}

/* The bytes that a value becomes; exactly as much room must do, a byte less must not. */
static void check_encoded(const char *value, const char *expected)
{
    char to[64];
    struct view ret;

    assert_true(percent_encode(view_of(value), to, strlen(expected), &ret));
    assert_view(ret, expected);
    assert_false(percent_encode(view_of(value), to, strlen(expected) - 1, &ret));
}

static void check_decoded(const char *value, const char *expected)
{
    char to[64];
    struct view ret;

    assert_true(percent_decode(view_of(value), to, strlen(expected), &ret));
    assert_view(ret, expected);
    assert_false(percent_decode(view_of(value), to, strlen(expected) - 1, &ret));
}

static void what_headers_may_not_hold_is_encoded(void **state)
{
    (void)state;
    check_encoded("a b", "a%20b");
    check_encoded("\"%\"", "%22%25%22");
    check_encoded("\xc3\xa9", "%C3%A9");
    check_encoded("\xf0\x9f\x98\x80!~", "%F0%9F%98%80!~");
    check_encoded("\x7f\x1f", "%7F%1F");
}

static void one_round_is_decoded(void **state)
{
    (void)state;
    check_decoded("a%20b", "a b");
    check_decoded("%2520", "%20");
    check_decoded("%c3%A9%41", "\xc3\xa9"
                               "A");
    check_decoded("%ff", "\xff");
}

static void broken_escapes_stand_for_themselves(void **state)
{
    (void)state;
    check_decoded("%", "%");
    check_decoded("100%", "100%");
    check_decoded("%4", "%4");
    check_decoded("%4g%g4%%41", "%4g%g4%A");
}

static void what_is_plain_needs_no_room(void **state)
{
    static const char plain[] = "!#$&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~";
    struct view ret;

    (void)state;
    assert_true(percent_encode(view_of(plain), NULL, 0, &ret));
    assert_ptr_equal(ret.data, plain);
    assert_true(percent_decode(view_of(plain), NULL, 0, &ret));
    assert_ptr_equal(ret.data, plain);
    assert_true(percent_encode((struct view){NULL, 0}, NULL, 0, &ret));
    assert_int_equal(ret.len, 0);
    assert_true(percent_decode((struct view){NULL, 0}, NULL, 0, &ret));
    assert_int_equal(ret.len, 0);
}

static void every_byte_comes_back(void **state)
{
    char bytes[256], encoded[256 * PERCENT_GROWTH], decoded[256];
    struct view ret, back;

    (void)state;
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    assert_true(percent_encode((struct view){bytes, 256}, encoded, sizeof encoded, &ret));
    for (size_t i = 0; i < ret.len; i++)
        assert_true(ret.data[i] > ' ' && ret.data[i] <= '~' && ret.data[i] != '"');
    assert_true(percent_decode(ret, decoded, sizeof decoded, &back));
    assert_int_equal(back.len, 256);
    assert_memory_equal(back.data, bytes, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_headers_may_not_hold_is_encoded),
        cmocka_unit_test(one_round_is_decoded),
        cmocka_unit_test(broken_escapes_stand_for_themselves),
        cmocka_unit_test(what_is_plain_needs_no_room),
        cmocka_unit_test(every_byte_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
