#include "event-processor/simulate_script.h"

#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

static struct simulate_step step_of(const char *payload, uint32_t attempt)
{
    struct simulate_step step;
    simulate_script_step(view_of(payload), attempt, &step);
    return step;
}

static void test_payloads_that_ask_for_nothing(void **state)
{
    (void)state;
    static const char *const payloads[] = {
        "",
        "x",
        "{}",
        "[\"simulate\"]",
        "\"simulate\"",
        "{\"a\":{\"simulate\":[\"fail\"]}}",
        "{\"simulate\":[\"fail\"]",
        "{\"b\":\"simulate\"}",
    };
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++)
        if (step_of(payloads[i], 1).kind != SIMULATE_CHANCE)
            fail_msg("%s asks for something", payloads[i]);
}

static void test_each_attempt_has_its_entry(void **state)
{
    (void)state;
    const char *payload = " { \"a\":1, \"simulate\" : [ \"fail\" ,\n\"hang\",\"crash\",\"never\","
                          "\"ok\" ] } ";
    static const enum simulate_kind kinds[] = {SIMULATE_FAIL,  SIMULATE_HANG, SIMULATE_CRASH,
                                               SIMULATE_NEVER, SIMULATE_OK,   SIMULATE_OK};
    for (uint32_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        assert_int_equal(step_of(payload, i + 1).kind, kinds[i]);
    assert_int_equal(step_of(payload, 1000).kind, SIMULATE_OK);
    assert_int_equal(step_of(payload, 0).kind, SIMULATE_NEVER); /* there is none */
}

static void test_times_and_reasons(void **state)
{
    (void)state;
    struct simulate_step step = step_of("{\"simulate\":[\"delay:250ms\"]}", 1);
    assert_int_equal(step.kind, SIMULATE_OK);
    assert_int_equal(step.delay_ms, 250);
    step = step_of("{\"simulate\":[\"delay:0\"]}", 1);
    assert_int_equal(step.delay_ms, 0);
    step = step_of("{\"simulate\":[\"fail:after=2s\"]}", 1);
    assert_int_equal(step.kind, SIMULATE_FAIL);
    assert_int_equal(step.after_ms, 2000);
    assert_int_equal(step.delay_ms, -1);
    step = step_of("{\"simulate\":[\"fail:no \\\"stock\\\", \\u00e9\"]}", 1);
    assert_int_equal(step.kind, SIMULATE_FAIL);
    assert_int_equal(step.after_ms, -1);
    assert_string_equal(step.error, "no \"stock\", é");
    step = step_of("{\"simulate\":[\"never:gone\"]}", 1);
    assert_int_equal(step.kind, SIMULATE_NEVER);
    assert_string_equal(step.error, "gone");
    assert_true(strlen(step_of("{\"simulate\":[\"fail\"]}", 1).error) > 0);
}

static void test_what_is_not_known_fails_for_good_and_says_why(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        "[]",
        "\"ok\"",
        "1",
        "null",
        "{}",
        "[1]",
        "[[\"ok\"]]",
        "[\"\"]",
        "[\"okay\"]",
        "[\"OK\"]",
        "[\"fail:\"]",
        "[\"failed\"]",
        "[\"delay\"]",
        "[\"delay:5\"]",
        "[\"delay:61m\"]",
        "[\"delay:18446744073709551615h\"]",
        "[\"delay:99999999999999999999ms\"]",
        "[\"fail:after=5124095576031h\"]", /* 2^64 ms, and some */
        "[\"hang:1s\"]",
        "[\"fail:after=\"]",
        "[\"fail:after=x\"]",
        "[\"never:\"]",
        "[\"\\\\\"]",
    };
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        char payload[100];
        snprintf(payload, sizeof payload, "{\"simulate\":%s}", scripts[i]);
        struct simulate_step step = step_of(payload, 1);
        if (step.kind != SIMULATE_NEVER || !strstr(step.error, "allowed are"))
            fail_msg("%s: kind %d, \"%s\"", scripts[i], (int)step.kind, step.error);
    }
    assert_int_equal(step_of("{\"simulate\":[\"ok\",2]}", 1).kind, SIMULATE_OK);
    assert_int_equal(step_of("{\"simulate\":[\"ok\",2]}", 2).kind, SIMULATE_NEVER);
}

static void test_an_entry_of_any_length_does_no_harm(void **state)
{
    (void)state;
    for (size_t length = 230; length < 1600; length++) {
        char payload[2000] = "{\"simulate\":[\"fail:";
        size_t len = strlen(payload);
        memset(payload + len, 'x', length);
        snprintf(payload + len + length, sizeof payload - len - length, "\"]}");
        struct simulate_step step = step_of(payload, 1);
        assert_int_equal(step.kind, length <= 235 ? SIMULATE_FAIL : SIMULATE_NEVER);
    }
}

/* Bytes changed at random: whatever comes of it, a failure says why. */
static void test_damaged_payloads(void **state)
{
    (void)state;
    static const char whole[] = "{\"a\":1,\"simulate\":[\"fail:r\\n\",\"delay:1s\",\"never\"]}";
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        char *payload = malloc(sizeof whole - 1); /* so that a byte beyond it is noticed */
        assert_non_null(payload);
        memcpy(payload, whole, sizeof whole - 1);
        for (int i = rand_r(&seed) % 4; i >= 0; i--)
            payload[(size_t)rand_r(&seed) % (sizeof whole - 1)] =
                (char)(rand_r(&seed) % 3 ? "[]{}\",:\\ "[rand_r(&seed) % 9] : rand_r(&seed));
        struct simulate_step step;
        simulate_script_step((struct view){payload, sizeof whole - 1},
                             1 + (uint32_t)rand_r(&seed) % 5, &step);
        if (step.kind == SIMULATE_FAIL || step.kind == SIMULATE_NEVER)
            assert_true(step.error[0] != '\0');
        free(payload);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payloads_that_ask_for_nothing),
        cmocka_unit_test(test_each_attempt_has_its_entry),
        cmocka_unit_test(test_times_and_reasons),
        cmocka_unit_test(test_what_is_not_known_fails_for_good_and_says_why),
        cmocka_unit_test(test_an_entry_of_any_length_does_no_harm),
        cmocka_unit_test(test_damaged_payloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
