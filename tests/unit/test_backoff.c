#include "event-processor/backoff.h"

#include "tests/lib/unit.h"

static const struct retry_policy policy = {.backoff_ms = 100, .backoff_max_ms = 1500};

static void test_the_limit_doubles_up_to_its_maximum(void **state)
{
    static const int64_t expected[] = {100, 200, 400, 800, 1500, 1500};
    (void)state;
    for (uint32_t attempt = 1; attempt <= 6; attempt++)
        assert_int_equal(backoff_limit_ms(&policy, attempt), expected[attempt - 1]);
    assert_int_equal(backoff_limit_ms(&policy, UINT32_MAX), 1500);
}

static void test_no_limit_overflows(void **state)
{
    const struct retry_policy longest = {.backoff_ms = 3, .backoff_max_ms = INT64_MAX};
    (void)state;
    for (uint32_t attempt = 1; attempt < 100; attempt++)
        assert_true(backoff_limit_ms(&longest, attempt + 1) >= backoff_limit_ms(&longest, attempt));
    assert_true(backoff_limit_ms(&longest, 100) == INT64_MAX);
}

static void test_a_delay_may_be_anything_up_to_the_limit(void **state)
{
    bool early = false, late = false;
    (void)state;
    for (int i = 0; i < 1000; i++) {
        int64_t ms = backoff_ms(&policy, 3);
        assert_in_range(ms, 0, 400);
        early = early || ms < 100;
        late = late || ms > 300;
    }
    assert_true(early && late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_limit_doubles_up_to_its_maximum),
        cmocka_unit_test(test_no_limit_overflows),
        cmocka_unit_test(test_a_delay_may_be_anything_up_to_the_limit),
    };
    return cmocka_run_group_tests_name("backoff", tests, NULL, NULL);
}
