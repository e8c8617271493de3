#include "common/settings.h"

#include "tests/lib/capture.h"
#include "tests/lib/unit.h"

#include <unistd.h>

struct service {
    int before;
    struct settings shared;
};

static enum err check(const void *values, struct err_detail *detail)
{
    return settings_check(&((const struct service *)values)->shared, detail);
}

static const struct config_setting table[] = {SETTINGS_SHARED(struct service, shared),
                                              {.flag = NULL}};
static const struct config_program program = {
    .name = "service", .purpose = "serves", .settings = table, .check = check};

/* Loads; what was said on standard error is in `said`. */
static char said[2000];
static enum config_verdict load(struct service *service, char **args)
{
    char *argv[10] = {(char[]){"service"}}, *environment[] = {NULL};
    enum config_verdict verdict;
    struct capture capture;
    int argc = 1;

    for (; *args; args++)
        argv[argc++] = *args;
    capture_begin(&capture, STDERR_FILENO);
    verdict = config_load(&program, argc, argv, environment, service, NULL);
    capture_end(&capture, said, sizeof said);
    return verdict;
}
#define ARGS(...) ((char *[]){__VA_ARGS__, NULL})

static void the_defaults_are_those_of_the_design(void **state)
{
    struct service s;

    (void)state;
    assert_int_equal(load(&s, (char *[]){NULL}), CONFIG_RUN);
    assert_string_equal(said, "");
    assert_string_equal(s.shared.bus, "nats://127.0.0.1:4222");
    assert_string_equal(s.shared.ns, "tidings");
    assert_string_equal(s.shared.source, "/tidings");
    assert_int_equal(s.shared.stream_replicas, 1);
    assert_int_equal(s.shared.events_max_bytes, 0);
    assert_int_equal(s.shared.events_max_age_ms, 0);
    assert_int_equal(s.shared.duplicate_window_ms, 120000);
    assert_int_equal(s.shared.log_level, LOG_INFO);
    assert_int_equal(s.shared.log_format, LOG_AUTO);
    config_free(&program, &s, NULL);
}

/* Flags and variables that users' scripts lean on. */
static void the_names_are_those_of_the_design(void **state)
{
    static const char *const names[][2] = {
        {"bus", "TIDINGS_BUS"},
        {"namespace", "TIDINGS_NAMESPACE"},
        {"source", "TIDINGS_SOURCE"},
        {"stream-replicas", "TIDINGS_STREAM_REPLICAS"},
        {"events-max-bytes", "TIDINGS_EVENTS_MAX_BYTES"},
        {"events-max-age", "TIDINGS_EVENTS_MAX_AGE"},
        {"duplicate-window", "TIDINGS_DUPLICATE_WINDOW"},
        {"log-level", "TIDINGS_LOG_LEVEL"},
        {"log-format", "TIDINGS_LOG_FORMAT"},
    };
    size_t count = sizeof names / sizeof names[0];

    (void)state;
    assert_int_equal(sizeof table / sizeof table[0], count + 1);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(table[i].flag, names[i][0]);
        assert_string_equal(table[i].environment, names[i][1]);
    }
}

static void words_are_the_enums_of_log(void **state)
{
    (void)state;
    assert_string_equal(settings_log_levels[LOG_DEBUG], "debug");
    assert_string_equal(settings_log_levels[LOG_INFO], "info");
    assert_string_equal(settings_log_levels[LOG_WARN], "warn");
    assert_string_equal(settings_log_levels[LOG_ERROR], "error");
    assert_null(settings_log_levels[LOG_ERROR + 1]);
    assert_string_equal(settings_log_formats[LOG_AUTO], "auto");
    assert_string_equal(settings_log_formats[LOG_TEXT_LINES], "text");
    assert_string_equal(settings_log_formats[LOG_JSON_LINES], "json");
    assert_null(settings_log_formats[LOG_JSON_LINES + 1]);
}

static void the_logs_follow_from_the_settings(void **state)
{
    struct settings s = {.ns = (char[]){"my-Shop_1"},
                         .stream_replicas = 3,
                         .events_max_bytes = 1000,
                         .events_max_age_ms = 60000,
                         .duplicate_window_ms = 5000};
    struct bus_log_spec events, statuses;
    struct log_names a, b;

    (void)state;
    settings_event_log(&s, &a, &events);
    assert_string_equal(events.name, "MY-SHOP_1_EVENTS");
    assert_string_equal(events.subject, "my-Shop_1.events.>");
    assert_int_equal(events.max_bytes, 1000);
    assert_int_equal(events.max_age_ms, 60000);
    assert_int_equal(events.duplicate_window_ms, 5000);
    assert_int_equal(events.replicas, 3);
    settings_status_log(&s, "Group-a", &b, &statuses);
    assert_string_equal(statuses.name, "MY-SHOP_1_STATUS_Group-a");
    assert_string_equal(statuses.subject, "my-Shop_1.status.Group-a");
    assert_int_equal(statuses.max_bytes, 0);
    assert_int_equal(statuses.max_age_ms, 60000);
    assert_int_equal(statuses.duplicate_window_ms, 5000);
    assert_int_equal(statuses.replicas, 3);
    assert_string_equal(events.name, "MY-SHOP_1_EVENTS"); /* each has its own names */
}

static void attempts_to_come_are_a_work_queue_that_forgets_nothing(void **state)
{
    struct settings s = {.ns = (char[]){"tidings"}, .stream_replicas = 3};
    struct log_names names;
    struct bus_log_spec spec;

    (void)state;
    s.events_max_bytes = 1000;
    s.events_max_age_ms = 3600000;
    s.duplicate_window_ms = 1000;
    settings_retry_log(&s, "mail", &names, &spec);
    assert_string_equal(spec.name, "TIDINGS_RETRY_mail");
    assert_string_equal(spec.subject, "tidings.retry.mail");
    assert_int_equal(spec.kind, BUS_LOG_WORK_QUEUE);
    assert_int_equal(spec.max_bytes, 0);
    assert_int_equal(spec.max_age_ms, 0);
    assert_int_equal(spec.duplicate_window_ms, 1000);
    assert_int_equal(spec.replicas, 3);
    assert_null(spec.about);
}

static void dead_letters_are_kept_for_ever_whatever_becomes_of_their_events(void **state)
{
    struct settings s = {.ns = (char[]){"my-Shop_1"},
                         .stream_replicas = 3,
                         .events_max_bytes = 1000,
                         .events_max_age_ms = 60000,
                         .duplicate_window_ms = 5000};
    struct bus_log_spec spec;
    struct log_names names;

    (void)state;
    settings_dead_log(&s, &names, &spec);
    assert_string_equal(spec.name, "MY-SHOP_1_DEAD");
    assert_string_equal(spec.subject, "my-Shop_1.dead.>");
    assert_int_equal(spec.max_bytes, 0);
    assert_int_equal(spec.max_age_ms, 0);
    assert_int_equal(spec.duplicate_window_ms, 5000);
    assert_int_equal(spec.replicas, 3);
}

static void the_longest_names_fit(void **state)
{
    struct settings s = {.ns = (char[]){"n1234567890123456789012345678901"}};
    struct bus_log_spec spec;
    struct log_names names;

    (void)state;
    settings_status_log(&s, "g1234567890123456789012345678901", &names, &spec);
    assert_string_equal(spec.name, "N1234567890123456789012345678901_STATUS_"
                                   "g1234567890123456789012345678901");
    assert_string_equal(spec.subject, "n1234567890123456789012345678901.status."
                                      "g1234567890123456789012345678901");
}

static void refuse(char **args, const char *expected)
{
    struct service s;

    assert_int_equal(load(&s, args), CONFIG_EXIT_USAGE);
    if (!strstr(said, expected))
        fail_msg("said: %s", said);
}

static void settings_that_do_not_go_together_are_refused(void **state)
{
    struct service s;

    (void)state;
    refuse(ARGS("--events-max-age=1m"),
           "--duplicate-window (2m) must not be longer than --events-max-age (1m)");
    refuse(ARGS("--events-max-age=1h", "--duplicate-window=61m"),
           "--duplicate-window (61m) must not");
    refuse(ARGS("--duplicate-window=99ms"), "--duplicate-window: \"99ms\" is not allowed");
    assert_int_equal(load(&s, ARGS("--events-max-age=2m")), CONFIG_RUN);
    config_free(&program, &s, NULL);
}

static void copies_make_a_majority(void **state)
{
    char *good[] = {"1", "3", "5"}, *bad[] = {"2", "4"}, *outside[] = {"0", "6", "-1"};
    struct service s;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(load(&s, ARGS("--stream-replicas", good[i])), CONFIG_RUN);
        config_free(&program, &s, NULL);
        refuse(ARGS("--stream-replicas", outside[i]), "allowed is a number from 1 to 5");
    }
    for (size_t i = 0; i < 2; i++)
        refuse(ARGS("--stream-replicas", bad[i]), "--stream-replicas: 1, 3 or 5 is allowed");
}

static void the_bus_is_a_list_of_nats_urls(void **state)
{
    static char *const good[] = {"nats://a:4222", "nats://a", "nats://a:1,nats://b:2"};
    static char *const bad[] = {"ftp://x", "", "a:4222", "nats://", "nats://a,b", "nats://a,"};
    struct service s;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(load(&s, ARGS("--bus", good[i])), CONFIG_RUN);
        config_free(&program, &s, NULL);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(ARGS("--bus", bad[i]), "--bus: ");
}

static void the_source_is_a_uri_reference(void **state)
{
    char *good[] = {"/", "https://example.org/a?b=c#d", "urn:x:y", "a%20b", "/[x]"};
    char *bad[] = {"a b", "<a>", "a\"", "é", "{x}", "a\\b", "a|b", "^", "`"};
    struct service s;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(load(&s, ARGS("--source", good[i])), CONFIG_RUN);
        config_free(&program, &s, NULL);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(ARGS("--source", bad[i]), "is not a URI reference");
    refuse(ARGS("--source", "a b"),
           "--source: \"a b\" is not a URI reference: byte 2 is not allowed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_those_of_the_design),
        cmocka_unit_test(the_names_are_those_of_the_design),
        cmocka_unit_test(words_are_the_enums_of_log),
        cmocka_unit_test(the_logs_follow_from_the_settings),
        cmocka_unit_test(attempts_to_come_are_a_work_queue_that_forgets_nothing),
        cmocka_unit_test(dead_letters_are_kept_for_ever_whatever_becomes_of_their_events),
        cmocka_unit_test(the_longest_names_fit),
        cmocka_unit_test(settings_that_do_not_go_together_are_refused),
        cmocka_unit_test(copies_make_a_majority),
        cmocka_unit_test(the_bus_is_a_list_of_nats_urls),
        cmocka_unit_test(the_source_is_a_uri_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
