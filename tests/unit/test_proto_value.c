#include "common/proto_value.h"

#include "tests/lib/unit.h"

#define MS_MIN (-62135596800000)
#define MS_MAX 253402300799999

static void times_come_back_as_they_were(void **state)
{
    static const int64_t times[] = {0, 1, -1, 999, 1000, -999, -1000, -1001, MS_MIN, MS_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        Google__Protobuf__Timestamp time;
        int64_t got = 77;
        proto_time_write(times[i], &time);
        assert_in_range(time.nanos, 0, 999999999);
        assert_true(proto_time_read(&time, &got));
        assert_true(got == times[i]);
    }
}

static bool reads(int64_t seconds, int32_t nanos, int64_t *ret)
{
    Google__Protobuf__Timestamp time;
    google__protobuf__timestamp__init(&time);
    time.seconds = seconds;
    time.nanos = nanos;
    return proto_time_read(&time, ret);
}

static void times_that_are_none_are_refused(void **state)
{
    int64_t got = 77;
    (void)state;
    assert_false(reads(0, -1, &got));
    assert_false(reads(0, 1000000000, &got));
    assert_false(reads(MS_MIN / 1000 - 1, 0, &got));
    assert_false(reads(MS_MAX / 1000 + 1, 0, &got));
    assert_true(got == 77);
    assert_true(reads(1, 1999999, &got)); /* cut to a millisecond */
    assert_true(got == 1001);
    assert_true(proto_time_read(NULL, &got));
    assert_true(got == 0);
}

static void a_nul_is_found_in_its_field_only(void **state)
{
    static const struct {
        struct view message;
        bool in_1, in_4;
    } cases[] = {
        {{"", 0}, false, false},
        {{"\x0A\x02"
          "ab",
          4},
         false,
         false},
        {{"\x0A\x02"
          "a\0",
          4},
         true,
         false},
        {{"\x22\x01\0", 3}, false, true},
        {{"\x0A\x01"
          "a\x0A\x01\0",
          6},
         true,
         false}, /* the second of a repeated one */
        {{"\x18\0\x99\x06\0\0\0\0\0\0\0\0\x9D\x06\0\0\0\0\x22\x01\0", 21},
         false,
         true}, /* behind a varint and fixed ones of zeros */
        {{"\x0A\0", 2}, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(proto_text_has_nul(cases[i].message, 1), cases[i].in_1);
        assert_int_equal(proto_text_has_nul(cases[i].message, 4), cases[i].in_4);
    }
}

static void a_field_is_counted(void **state)
{
    static const struct {
        struct view message;
        size_t ones;
    } cases[] = {
        {{"", 0}, 0},
        {{"\x0A\0\x0A\0\x12\0\x08\0", 8}, 3},                            /* of any type */
        {{"\x0A\x02\x0A\0\x0D\0\0\0\0\x09\0\0\0\0\0\0\0\0\x0A", 19}, 4}, /* not in another one */
        {{"\x12\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x0A", 12}, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(proto_count(cases[i].message, 1), cases[i].ones);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_come_back_as_they_were),
        cmocka_unit_test(times_that_are_none_are_refused),
        cmocka_unit_test(a_nul_is_found_in_its_field_only),
        cmocka_unit_test(a_field_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
