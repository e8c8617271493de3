#include "common/text.h"

#include "tests/lib/unit.h"

#include <string.h>

/* A decoder written another way: by the code point that the bits say. */
static size_t oracle_length(const unsigned char *b, size_t len)
{
    size_t length = b[0] < 0x80       ? 1
                    : b[0] >> 5 == 6  ? 2
                    : b[0] >> 4 == 14 ? 3
                    : b[0] >> 3 == 30 ? 4
                                      : 0;
    uint32_t point;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

    if (length == 0 || length > len)
        return 0;
    point = length == 1 ? b[0] : b[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (b[i] & 0x3f);
    }
    return point < least[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)
               ? 0
               : length;
}

static void utf8_agrees_with_the_oracle_on_all_beginnings(void **state)
{
    static const unsigned char last[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};

    (void)state;
    for (unsigned first3 = 0; first3 < 1u << 24; first3 += first3 >> 16 < 0xe0 ? 0x35 : 1) {
        for (size_t i = 0; i < (first3 >> 16 >= 0xf0 ? sizeof last : 1); i++) {
            unsigned char b[] = {(unsigned char)(first3 >> 16), (unsigned char)(first3 >> 8),
                                 (unsigned char)first3, last[i]};
            for (size_t len = 1; len <= 4; len++)
                if (text_utf8_length((char *)b, len) != oracle_length(b, len))
                    fail_msg("%02x %02x %02x %02x, %zu bytes", b[0], b[1], b[2], b[3], len);
        }
    }
    assert_int_equal(text_utf8_length("", 0), 0);
}

static void control_characters_are_c0_del_and_c1(void **state)
{
    (void)state;
    for (int c = 0; c < 0x80; c++) {
        char byte = (char)c;
        assert_int_equal(text_is_control(&byte, 1), c < 0x20 || c == 0x7f);
    }
    assert_true(text_is_control("\xc2\x80", 2));
    assert_true(text_is_control("\xc2\x9f", 2));
    assert_false(text_is_control("\xc2\xa0", 2));
    assert_false(text_is_control("\xc3\x80", 2));
}

static void plain_runs_end_at_any_other_byte_wherever_it_is(void **state)
{
    char text[20];

    (void)state;
    for (int c = 0; c < 256; c++) {
        bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
        for (size_t at = 0; at < sizeof text; at++) {
            memset(text, 'x', sizeof text);
            text[at] = (char)c;
            for (size_t len = at + 1; len <= sizeof text; len++)
                assert_int_equal(text_json_plain(text, len), plain ? len : at);
            assert_int_equal(text_json_plain(text, at), at);
        }
    }
}

static void check_json(const char *bytes, size_t len, const char *expected, size_t consumed)
{
    char text[TEXT_JSON_MAX + 1];
    size_t text_len = 0;

    assert_int_equal(text_json_char(bytes, len, text, &text_len), consumed);
    text[text_len] = '\0';
    assert_string_equal(text, expected);
}

static void characters_are_escaped_for_json(void **state)
{
    (void)state;
    check_json("a", 1, "a", 1);
    check_json("\"", 1, "\\\"", 1);
    check_json("\\", 1, "\\\\", 1);
    check_json("\b\f", 2, "\\b", 1);
    check_json("\f", 1, "\\f", 1);
    check_json("\n", 1, "\\n", 1);
    check_json("\r", 1, "\\r", 1);
    check_json("\t", 1, "\\t", 1);
    check_json("\0", 1, "\\u0000", 1);
    check_json("\x1f", 1, "\\u001f", 1);
    check_json("\x7f", 1, "\\u007f", 1);
    check_json("\xc2\x85", 2, "\\u0085", 2);
    check_json("é!", 3, "é", 2);
    check_json("😀", 4, "😀", 4);
}

static void each_invalid_byte_becomes_a_replacement_character(void **state)
{
    (void)state;
    check_json("\xff", 1, "\xef\xbf\xbd", 1);
    check_json("\x80", 1, "\xef\xbf\xbd", 1);
    check_json("\xe2\x82", 2, "\xef\xbf\xbd", 1);     /* cut */
    check_json("\xc0\xaf", 2, "\xef\xbf\xbd", 1);     /* overlong */
    check_json("\xed\xa0\x80", 3, "\xef\xbf\xbd", 1); /* surrogate */
}

static void plain_runs_end_where_something_must_be_escaped(void **state)
{
    (void)state;
    assert_int_equal(text_json_plain("", 0), 0);
    assert_int_equal(text_json_plain("abc def", 7), 7);
    assert_int_equal(text_json_plain("ab\"c", 4), 2);
    assert_int_equal(text_json_plain("ab\\c", 4), 2);
    assert_int_equal(text_json_plain("a\x7f", 2), 1);
    assert_int_equal(text_json_plain("\n", 1), 0);
    assert_int_equal(text_json_plain("abé", 4), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_agrees_with_the_oracle_on_all_beginnings),
        cmocka_unit_test(control_characters_are_c0_del_and_c1),
        cmocka_unit_test(plain_runs_end_at_any_other_byte_wherever_it_is),
        cmocka_unit_test(characters_are_escaped_for_json),
        cmocka_unit_test(each_invalid_byte_becomes_a_replacement_character),
        cmocka_unit_test(plain_runs_end_where_something_must_be_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
