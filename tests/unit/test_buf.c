#include "common/buf.h"

#include "common/mem.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

static void check_invariant(const struct buf *b)
{
    assert_true(b->len <= b->limit);
    assert_true(b->capacity == 0 ? b->len == 0 : b->len < b->capacity);
    assert_int_equal(b->data[b->len], '\0');
}

/* ---- views ---- */

static void views_compare_by_bytes(void **state)
{
    (void)state;
    assert_true(view_equal(VIEW("abc"), view_of("abc")));
    assert_true(view_equal(view_of(NULL), VIEW("")));
    assert_false(view_equal(VIEW("abc"), VIEW("ab")));
    assert_false(view_equal(VIEW("a\0b"), VIEW("a\0c")));
    assert_true(view_equal_nocase(VIEW("Content-TYPE"), VIEW("content-type")));
    assert_true(view_equal_nocase(view_of(NULL), VIEW("")));
    assert_false(view_equal_nocase(VIEW("@["), VIEW("`{"))); /* 32 apart, but no letters */
    assert_false(view_equal_nocase(VIEW("a"), VIEW("ab")));
}

static void numbers_are_digits_up_to_the_largest(void **state)
{
    static const char *const bad[] = {"",    "-1",
                                      "+1",  " 1",
                                      "1 ",  "1.0",
                                      "0x1", "18446744073709551616",
                                      "1a",  "99999999999999999999"};
    uint64_t value = 7;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(view_parse_u64(view_of(bad[i]), &value));
    assert_int_equal(value, 7);
    assert_true(view_parse_u64(VIEW("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_true(view_parse_u64(VIEW("0000000000000000000000012"), &value));
    assert_int_equal(value, 12);
}

static void utf8_is_well_formed_or_not(void **state)
{
    (void)state;
    assert_true(view_is_utf8(VIEW("")));
    assert_true(view_is_utf8(VIEW("a\0é€😀")));
    assert_false(view_is_utf8(VIEW("a\xc0\x80")));        /* overlong */
    assert_false(view_is_utf8(VIEW("\xed\xa0\x80")));     /* surrogate */
    assert_false(view_is_utf8(VIEW("\xf4\x90\x80\x80"))); /* above U+10FFFF */
    assert_false(view_is_utf8(VIEW("abc\xe2\x82")));      /* cut */
}

/* ---- buffers ---- */

static void an_empty_buffer_is_an_empty_text(void **state)
{
    uint64_t before = mem_allocations();
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    check_invariant(&b);
    assert_string_equal(b.data, "");
    buf_add(&b, NULL, 0);
    buf_add_text(&b, "");
    buf_add_view(&b, (struct view){NULL, 0});
    buf_add_format(&b, "%s", "");
    buf_advance(&b, 0);
    buf_clear(&b);
    check_invariant(&b);
    assert_false(buf_failed(&b));
    buf_free(&b);
    buf_free(&b);
    assert_int_equal(mem_allocations(),
                     before + 1); /* the format asks for room, if only for a NUL */
}

static void appends_add_up(void **state)
{
    struct buf b;
    char *room;

    (void)state;
    buf_init(&b, 1000);
    assert_non_null(buf_reserve(&b, 10));
    check_invariant(&b); /* also before anything is filled */
    buf_add(&b, "ab", 2);
    buf_add_text(&b, "cd");
    buf_add_view(&b, VIEW("ef"));
    buf_add_format(&b, "-%d-%s", 42, "x");
    room = buf_reserve(&b, 100);
    assert_non_null(room);
    memcpy(room, "gh", 2);
    buf_advance(&b, 2);
    check_invariant(&b);
    assert_string_equal(b.data, "abcdef-42-xgh");
    assert_true(view_equal(buf_view(&b), VIEW("abcdef-42-xgh")));
    buf_cut(&b, 3);
    check_invariant(&b);
    assert_string_equal(b.data, "abc");
    buf_free(&b);
    check_invariant(&b);
    assert_int_equal(b.limit, 1000);
}

static void many_appends_cost_few_allocations(void **state)
{
    uint64_t before = mem_allocations();
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 1 << 20; i++)
        buf_add(&b, "x", 1);
    assert_false(buf_failed(&b));
    assert_int_equal(b.len, 1 << 20);
    assert_true(mem_allocations() - before < 20);
    assert_true(b.capacity <= b.limit + 1);
    buf_free(&b);
}

static void the_limit_is_reached_and_not_passed(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5);
    buf_add_text(&b, "abcde");
    assert_false(buf_failed(&b));
    buf_add_text(&b, "f");
    assert_true(buf_failed(&b));
    check_invariant(&b);
    assert_string_equal(b.data, "abcde");
    buf_cut(&b, 0);
    buf_add_text(&b, "f"); /* still marked */
    assert_string_equal(b.data, "");
    assert_null(buf_reserve(&b, 1));
    buf_clear(&b);
    buf_add_text(&b, "f");
    assert_string_equal(b.data, "f");
    assert_false(buf_failed(&b));
    buf_free(&b);
}

static void lengths_that_overflow_fail(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, SIZE_MAX);
    buf_add_text(&b, "abc");
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_true(buf_failed(&b));
    assert_string_equal(b.data, "abc");
    buf_free(&b);
    assert_null(buf_reserve(&b, SIZE_MAX - 1));
    buf_free(&b);
}

static void a_failed_append_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < 20; limit++) {
        struct buf b;
        buf_init(&b, limit);
        buf_add_text(&b, "ab");
        buf_add_json(&b, VIEW("c\"\n\xff"
                              "d")); /* 11 bytes */
        check_invariant(&b);
        assert_string_equal(b.data, limit < 2    ? ""
                                    : limit < 13 ? "ab"
                                                 : "ab\"c\\\"\\n\xef\xbf\xbd"
                                                   "d\"");
        assert_int_equal(buf_failed(&b), limit < 13);
        buf_free(&b);
        buf_add_format(&b, "%d", 123);
        check_invariant(&b);
        assert_string_equal(b.data, limit < 3 ? "" : "123");
        buf_free(&b);
    }
}

static void short_memory_marks_the_buffer_failed(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct buf b;
        buf_init(&b, 10000);
        for (int i = 0; i < 300; i++)
            buf_add_format(&b, "%d", i % 10);
        buf_add_json(&b, VIEW("text"));
        check_invariant(&b);
        bool failed = each_failure_end(&f);
        assert_int_equal(buf_failed(&b), failed);
        assert_true(failed || b.len == 306);
        buf_free(&b);
    }
}

static void json_strings_read_back_as_they_were(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        /* cJSON ends texts at a NUL: all bytes but that one */
        char text[40];
        size_t len = (size_t)rand_r(&seed) % sizeof text;
        struct view v = {text, len};
        struct buf b;
        cJSON *read;

        for (size_t i = 0; i < len; i++)
            text[i] = (char)(rand_r(&seed) % (round % 2 ? 127 : 255) + 1);
        buf_init(&b, 1000);
        buf_add_json(&b, v);
        assert_true(view_is_utf8(buf_view(&b)));
        read = cJSON_ParseWithLengthOpts(b.data, b.len + 1, NULL, 1);
        assert_true(cJSON_IsString(read));
        if (view_is_utf8(v))
            assert_true(view_equal(view_of(read->valuestring), v));
        else
            assert_non_null(strstr(read->valuestring, "\xef\xbf\xbd"));
        cJSON_Delete(read);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare_by_bytes),
        cmocka_unit_test(numbers_are_digits_up_to_the_largest),
        cmocka_unit_test(utf8_is_well_formed_or_not),
        cmocka_unit_test(an_empty_buffer_is_an_empty_text),
        cmocka_unit_test(appends_add_up),
        cmocka_unit_test(many_appends_cost_few_allocations),
        cmocka_unit_test(the_limit_is_reached_and_not_passed),
        cmocka_unit_test(lengths_that_overflow_fail),
        cmocka_unit_test(a_failed_append_leaves_the_buffer_as_it_was),
        cmocka_unit_test(short_memory_marks_the_buffer_failed),
        cmocka_unit_test(json_strings_read_back_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
