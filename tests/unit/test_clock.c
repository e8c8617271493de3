#include "common/clock.h"

#include "tests/lib/unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define FIRST_MS (-62135596800000LL)
#define LAST_MS 253402300799999LL

static bool parse(const char *text, int64_t *ret)
{
    return clock_parse(text, strlen(text), ret);
}

static void check(const char *text, int64_t expected)
{
    int64_t ms = 0;

    if (!parse(text, &ms))
        fail_msg("%s is refused", text);
    if (ms != expected)
        fail_msg("%s is %lld, not %lld", text, (long long)ms, (long long)expected);
}

static void refuse(const char *text)
{
    int64_t ms = 7;

    if (parse(text, &ms) || ms != 7)
        fail_msg("%s is taken as %lld", text, (long long)ms);
}

static void every_day_is_as_the_c_library_says(void **state)
{
    (void)state;
    for (int64_t ms = FIRST_MS + 12345678; ms < LAST_MS; ms += 86400000 + 997) {
        time_t seconds = (time_t)((ms - (ms % 1000 + 1000) % 1000) / 1000);
        char text[CLOCK_TEXT_SIZE], expected[64];
        int64_t back = 0;
        struct tm tm;

        gmtime_r(&seconds, &tm);
        snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                 (int)((ms % 1000 + 1000) % 1000));
        clock_format(ms, text);
        if (strcmp(text, expected) != 0 || !parse(text, &back) || back != ms)
            fail_msg("%lld: %s, not %s; read back as %lld", (long long)ms, text, expected,
                     (long long)back);
    }
}

static void moments_outside_the_years_become_the_nearest(void **state)
{
    char text[CLOCK_TEXT_SIZE];

    (void)state;
    clock_format(INT64_MIN, text);
    assert_string_equal(text, "0001-01-01T00:00:00.000Z");
    clock_format(FIRST_MS, text);
    assert_string_equal(text, "0001-01-01T00:00:00.000Z");
    clock_format(LAST_MS, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    clock_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

static void date_times_of_rfc_3339_are_read(void **state)
{
    (void)state;
    check("1970-01-01T00:00:00Z", 0);
    check("1970-01-01t00:00:00z", 0);
    check("1969-12-31T23:59:59.999Z", -1);
    check("2026-01-02T03:04:05.678Z", 1767323045678);
    check("2026-01-02T03:04:05.6Z", 1767323045600);
    check("2026-01-02T03:04:05.6789999999999999999999Z", 1767323045678);
    check("2026-01-02T05:04:05.678+02:00", 1767323045678);
    check("2026-01-01T21:34:05.678-05:30", 1767323045678);
    check("1985-04-12T23:20:50.52Z", 482196050520);
    check("1996-12-19T16:39:57-08:00", 851042397000);
    check("1937-01-01T12:00:27.87+00:20", -1041337172130);
    check("2024-02-29T00:00:00Z", 1709164800000);
    check("2000-02-29T00:00:00-00:00", 951782400000);
}

static void a_leap_second_counts_as_the_one_before(void **state)
{
    (void)state;
    check("1990-12-31T23:59:60Z", 662687999000);
    check("1990-12-31T15:59:60.5-08:00", 662687999500);
    check("1991-01-01T05:29:60+05:30", 662687999000);
    refuse("1990-12-31T23:58:60Z");
    refuse("1990-12-31T22:59:60Z");
    refuse("1990-12-31T23:59:61Z");
}

static void what_is_no_date_time_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04Z",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04:05Z ",
        " 2026-01-02T03:04:05Z",
        "2026-1-2T03:04:05Z",
        "26-01-02T03:04:05Z",
        "02026-01-02T03:04:05Z",
        "2026-00-02T03:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-01-00T03:04:05Z",
        "2026-01-32T03:04:05Z",
        "2026-02-29T03:04:05Z",
        "1900-02-29T03:04:05Z",
        "2026-04-31T03:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05.5",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+02:60",
        "2026-01-02T03:04:05+0200",
        "2026-01-02T03:04:05+02",
        "2026-01-02T03:04:05ZZ",
        "2026-01-02T03:04:05Z+02:00",
        "-026-01-02T03:04:05Z",
        "+026-01-02T03:04:05Z",
        "2026/01/02T03:04:05Z",
        "2026-01-02T3:04:05Z",
        "0000-12-31T23:59:59Z",
        "٢٠٢٦-01-02T03:04:05Z",
    };
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(bad[i]);
    assert_false(clock_parse("2026-01-02T03:04:05Z\0", 21, &ms));
    assert_false(clock_parse("2026\0"
                             "01-02T03:04:05Z",
                             20, &ms));
    assert_false(clock_parse("2026-01-02T03:04:05Z", 19, &ms)); /* no byte beyond len is read */
}

static void an_offset_does_not_lead_out_of_the_years(void **state)
{
    (void)state;
    check("0001-01-01T00:00:00Z", FIRST_MS);
    check("0001-01-01T01:00:00+01:00", FIRST_MS);
    refuse("0001-01-01T00:59:59+01:00");
    check("9999-12-31T23:59:59.999Z", LAST_MS);
    refuse("9999-12-31T23:59:59-00:01");
}

static void a_manual_clock_moves_when_told(void **state)
{
    struct clock_manual clock;

    (void)state;
    clock_manual_init(&clock, 1000);
    assert_int_equal(clock_wall_ms(&clock.base), 1000);
    clock_manual_advance(&clock, 250);
    assert_int_equal(clock_wall_ms(&clock.base), 1250);
    assert_int_equal(clock_monotonic_ms(&clock.base), 1250);
}

static void the_system_clock_tells_the_time(void **state)
{
    int64_t before = (int64_t)time(NULL) * 1000 - 1000;
    int64_t now = clock_wall_ms(&clock_system);
    int64_t first = clock_monotonic_ms(&clock_system);

    (void)state;
    assert_true(now >= before && now <= before + 60000);
    assert_true(clock_monotonic_ms(&clock_system) >= first && first > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_day_is_as_the_c_library_says),
        cmocka_unit_test(moments_outside_the_years_become_the_nearest),
        cmocka_unit_test(date_times_of_rfc_3339_are_read),
        cmocka_unit_test(a_leap_second_counts_as_the_one_before),
        cmocka_unit_test(what_is_no_date_time_is_refused),
        cmocka_unit_test(an_offset_does_not_lead_out_of_the_years),
        cmocka_unit_test(a_manual_clock_moves_when_told),
        cmocka_unit_test(the_system_clock_tells_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
