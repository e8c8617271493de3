/* Settings of streams that the server of our floor doesn't know yet. */
#include "common/bus_nats.h"
#include "tests/lib/unit.h"

#include <nats/nats.h>

static const char *subjects[] = {"events.>"};
static struct nats_log event_log = {.name = (char[]){"EVENTS"},
                                    .subject = (char[]){"events.>"},
                                    .spec = {.replicas = 1, .duplicate_window_ms = 90000}};

static struct jsStreamConfig sound(void)
{
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Discard = js_DiscardNew;
    config.DenyDelete = true;
    config.DenyPurge = true;
    config.Duplicates = 1000000000;
    return config;
}

static bool check(const char *settings, struct err_detail *detail)
{
    char answer[1024];
    const jsStreamConfig config = sound();
    struct nats_stream stream = {.config = &config};
    snprintf(answer, sizeof answer,
             "{\"type\":\"io.nats.jetstream.api.v1.stream_info_response\",\"config\":{\"name\":"
             "\"EVENTS\",\"subjects\":[\"events.>\"],\"metadata\":{\"_nats.level\":\"1\"}%s},"
             "\"created\":\"2026-01-01T00:00:00Z\",\"state\":{\"messages\":0}}",
             settings);
    assert_true(nats_stream_read_newer(view_of(answer), &stream));
    return nats_stream_is_sound(&event_log, &stream, detail);
}

static void newer_settings_that_break_a_promise_are_refused(void **state)
{
    static const struct {
        const char *settings;
        const char *says;
    } cases[] = {
        {",\"subject_transform\":{\"src\":\"events.>\",\"dest\":\"e.>\"}",
         "nats stream edit EVENTS --no-transform"},
        {",\"allow_msg_ttl\":true", "allow_msg_ttl lets messages carry an end of their own"},
        {",\"allow_msg_counter\":true", "allow_msg_counter makes it a counter"},
        {",\"allow_msg_schedules\":true", "allow_msg_schedules lets messages purge others"},
        {", \"persist_mode\" : \"async\" ", "nats stream rm EVENTS"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err_detail detail = {""};
        assert_false(check(cases[i].settings, &detail));
        if (!strstr(detail.text, cases[i].says))
            fail_msg("\"%s\" doesn't say \"%s\"", detail.text, cases[i].says);
    }
}

static void newer_settings_that_break_none_are_not(void **state)
{
    static const char *const cases[] = {
        "",
        ",\"subject_transform\":null",
        ",\"allow_msg_ttl\":false,\"allow_msg_counter\":false,\"persist_mode\":\"default\"",
        ",\"allow_atomic\":true,\"allow_batched\":true,\"compression\":\"s2\",\"first_seq\":7",
        ",\"consumer_limits\":{\"allow_msg_ttl\":true},\"description\":\"\\\"persist_mode\\\"\"",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err_detail detail = {""};
        if (!check(cases[i], &detail))
            fail_msg("%s: %s", cases[i], detail.text);
    }
}

static void no_duplicate_window_and_one_that_is_too_long_are_refused(void **state)
{
    struct err_detail detail = {""};
    jsStreamConfig config = sound();
    const struct nats_stream stream = {.config = &config};
    (void)state;
    config.Duplicates = 0; /* as newer servers leave it on a stream with sources */
    assert_false(nats_stream_is_sound(&event_log, &stream, &detail));
    assert_non_null(strstr(detail.text, "nats stream edit EVENTS --dupe-window=90000ms"));
    config.Duplicates = 2000;
    config.MaxAge = 1000;
    assert_false(nats_stream_is_sound(&event_log, &stream, &detail));
    assert_non_null(strstr(detail.text, "--dupe-window=DURATION, at most its max_age"));
}

static void a_work_queue_has_rules_of_its_own(void **state)
{
    struct err_detail detail = {""};
    jsStreamConfig config = sound();
    const struct nats_stream stream = {.config = &config};
    (void)state;
    event_log.spec.kind = BUS_LOG_WORK_QUEUE;
    assert_false(nats_stream_is_sound(&event_log, &stream, &detail));
    assert_non_null(strstr(detail.text, "its retention isn't workqueue"));
    assert_non_null(strstr(detail.text, "nats stream rm EVENTS"));
    config.Retention = js_WorkQueuePolicy;
    config.DenyPurge = false;
    assert_true(nats_stream_is_sound(&event_log, &stream, &detail));
    config.MaxAge = 5000000000;
    assert_false(nats_stream_is_sound(&event_log, &stream, &detail));
    assert_non_null(strstr(detail.text, "nats stream edit EVENTS --max-age=0"));
    config.MaxAge = 0;
    config.DenyDelete = false;
    assert_false(nats_stream_is_sound(&event_log, &stream, &detail));
    event_log.spec.kind = BUS_LOG_KEEPS;
}

static void fewer_replicas_than_asked_are_refused(void **state)
{
    struct err_detail detail = {""};
    const jsStreamConfig config = sound();
    const struct nats_stream stream = {.config = &config};
    (void)state;
    event_log.spec.replicas = 3;
    assert_false(nats_stream_is_sound(&event_log, &stream, &detail));
    assert_non_null(strstr(detail.text, "nats stream edit EVENTS --replicas=3"));
    event_log.spec.replicas = 1;
}

static void what_is_no_stream_info_is_no_verdict(void **state)
{
    static const char *const answers[] = {
        "", "-ERR", "[]", "{}", "{\"error\":{\"code\":404}}", "{\"config\":{\"name\":\"EVENTS\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct nats_stream stream = {.config = NULL};
        assert_false(nats_stream_read_newer(view_of(answers[i]), &stream));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newer_settings_that_break_a_promise_are_refused),
        cmocka_unit_test(newer_settings_that_break_none_are_not),
        cmocka_unit_test(no_duplicate_window_and_one_that_is_too_long_are_refused),
        cmocka_unit_test(a_work_queue_has_rules_of_its_own),
        cmocka_unit_test(fewer_replicas_than_asked_are_refused),
        cmocka_unit_test(what_is_no_stream_info_is_no_verdict),
    };
    return cmocka_run_group_tests_name("bus_nats_rules", tests, NULL, NULL);
}
