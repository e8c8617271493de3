#include "common/err.h"

#include "common/buf.h"
#include "tests/lib/unit.h"

static const enum err all[] = {
#define X(code, slug, title, http, grpc) code,
    ERR_LIST(X)
#undef X
};
#define COUNT (sizeof all / sizeof all[0])

static void every_error_has_words_and_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(strlen(err_slug(all[i])) > 0 && strlen(err_title(all[i])) > 0);
        assert_in_range(err_http_status(all[i]), all[i] ? 400 : 200, 599);
        assert_in_range(err_grpc_status(all[i]), all[i] ? 1 : 0, 16);
        for (const char *c = err_slug(all[i]); *c; c++)
            assert_true((*c >= 'a' && *c <= 'z') || *c == '-'); /* it stands in a URI */
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(err_slug(all[i]), err_slug(all[j]));
    }
}

static void a_number_that_is_no_error_counts_as_internal(void **state)
{
    enum err e = (enum err)1000;

    (void)state;
    assert_string_equal(err_slug(e), "internal");
    assert_int_equal(err_http_status(e), 500);
    assert_int_equal(err_grpc_status((enum err) - 1), 13);
}

static void set_fills_the_detail_and_returns_the_error(void **state)
{
    struct err_detail detail;

    (void)state;
    assert_int_equal(err_set(&detail, ERR_FULL, "%d of %s", 3, "four"), ERR_FULL);
    assert_string_equal(detail.text, "3 of four");
    assert_int_equal(err_set(NULL, ERR_BUSY, "nobody %s", "listens"), ERR_BUSY);
}

static void a_detail_can_be_made_of_itself(void **state)
{
    struct err_detail detail;

    (void)state;
    err_set(&detail, ERR_INVALID, "inner");
    err_set(&detail, ERR_INVALID, "outer: %s", detail.text);
    assert_string_equal(detail.text, "outer: inner");
}

static void what_is_not_safe_to_print_is_replaced(void **state)
{
    struct err_detail detail;

    (void)state;
    err_set(&detail, ERR_INVALID, "%s", "a\nb\x1b[31m\x7f\xc2\x85\xff\xc3\xa9\xe2\x82");
    assert_string_equal(detail.text, "a?b?[31m???\xc3\xa9??");
}

static void a_long_text_is_cut_between_characters(void **state)
{
    char text[1200];
    struct err_detail detail;
    const size_t longest = sizeof detail.text - 1;

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        size_t len = 0;
        while (len < shift)
            text[len++] = 'x';
        while (len + 4 < sizeof text)
            len = (size_t)(stpcpy(text + len, "😀") - text);
        text[len] = '\0';
        err_set(&detail, ERR_INVALID, "%s", text);
        assert_int_equal(strlen(detail.text), longest - 3 + shift);
        assert_true(view_is_utf8(view_of(detail.text)));
        assert_null(strchr(detail.text, '?'));
    }
    memset(text, '\n', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(&detail, ERR_INVALID, "%s", text);
    assert_int_equal(strlen(detail.text), longest);
}

static void two_byte_control_characters_fill_a_detail_too(void **state)
{
    char text[2 * sizeof(struct err_detail) + 1] = "";
    struct err_detail detail;
    const size_t longest = sizeof detail.text - 1;

    (void)state;
    for (size_t i = 0; i < sizeof detail; i++)
        memcpy(text + 2 * i, "\xc2\x85", 3);
    err_set(&detail, ERR_INVALID, "%s", text);
    assert_int_equal(strlen(detail.text), longest);
    assert_int_equal(strspn(detail.text, "?"), longest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_words_and_numbers),
        cmocka_unit_test(a_number_that_is_no_error_counts_as_internal),
        cmocka_unit_test(set_fills_the_detail_and_returns_the_error),
        cmocka_unit_test(a_detail_can_be_made_of_itself),
        cmocka_unit_test(what_is_not_safe_to_print_is_replaced),
        cmocka_unit_test(a_long_text_is_cut_between_characters),
        cmocka_unit_test(two_byte_control_characters_fill_a_detail_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
