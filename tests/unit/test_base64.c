#include "common/base64.h"
#include "tests/lib/unit.h"

static void vectors_of_the_rfc(void **state)
{
    static const struct {
        const char *text, *bytes;
    } vectors[] = {{"", ""},
                   {"Zg==", "f"},
                   {"Zm8=", "fo"},
                   {"Zm9v", "foo"},
                   {"Zm9vYg==", "foob"},
                   {"Zm9vYmE=", "fooba"},
                   {"Zm9vYmFy", "foobar"}};
    char bytes[16];
    size_t len;
    struct buf text;

    (void)state;
    buf_init(&text, 64);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        assert_true(base64_decode(view_of(vectors[i].text), bytes, &len));
        assert_int_equal(len, strlen(vectors[i].bytes));
        assert_memory_equal(bytes, vectors[i].bytes, len);
        buf_clear(&text);
        base64_encode(&text, view_of(vectors[i].bytes));
        assert_true(view_equal(buf_view(&text), view_of(vectors[i].text)));
    }
    buf_free(&text);
}

static void each_digit_has_its_value(void **state)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char bytes[3];
    size_t len;

    (void)state;
    for (int c = 0; c < 256; c++) {
        const char *digit = c ? strchr(digits, c) : NULL;
        char text[4] = {'A', 'A', 'A', (char)c};
        bool padding = c == '=';

        assert_int_equal(base64_decode((struct view){text, 4}, bytes, &len), digit || padding);
        if (digit)
            assert_int_equal(bytes[2], digit - digits);
    }
}

static void text_and_bytes_may_share_a_place(void **state)
{
    char place[] = "+/+/AAECAw==";
    size_t len;

    (void)state;
    assert_true(base64_decode(view_of(place), place, &len));
    assert_int_equal(len, 7);
    assert_memory_equal(place, "\xfb\xff\xbf\x00\x01\x02\x03", 7);
}

static void refusals(void **state)
{
    static const char *const texts[] = {
        "Z",    "Zg",         "Zg=",      "Zm9",  "Zh==",     "Zm9=",       "====",
        "A===", "=AAA",       "A=AA",     "AA=A", "AA==AA==", "Zm9v\n",     "Zm 9",
        "-_-_", "Zm9vYg==\n", "Zm9v====", "=",    "AAAA=",    "\xc3\xa9==",
    };
    char bytes[16];
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (base64_decode(view_of(texts[i]), bytes, &len))
            fail_msg("%s is taken", texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_rfc),
        cmocka_unit_test(each_digit_has_its_value),
        cmocka_unit_test(text_and_bytes_may_share_a_place),
        cmocka_unit_test(refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
