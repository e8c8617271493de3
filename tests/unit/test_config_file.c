#include "common/config.h"

#include "common/buf.h"
#include "tests/lib/config_case.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

static struct config_case c;

static void load(const char *text)
{
    config_case_load_file(&c, view_of(text));
}

static void take(const char *text)
{
    load(text);
    if (c.verdict != CONFIG_RUN)
        fail_msg("%s\nis refused: %s", text, c.err);
}

/* The file is refused, and this is all that is said, a line each. */
static void refuse(const char *text, const char *said)
{
    char expected[2048];

    load(text);
    snprintf(expected, sizeof expected, "%s\nprogram: --help lists the settings\n", said);
    assert_int_equal(c.verdict, CONFIG_EXIT_USAGE);
    assert_string_equal(c.err, expected);
}

/* ---- settings ---- */

static void keys_are_flags_without_dashes(void **state)
{
    (void)state;
    take("# a comment\n"
         "text: \"a: b\"\n"
         "any: 'it''s'   # another\n"
         "count: 2\n"
         "room: unlimited\n"
         "piece: 64KiB\n"
         "age: 0\n"
         "wait: 250ms\n"
         "log-level: warn\n"
         "listen: \"[::1]:0\"\n");
    assert_string_equal(c.values.text, "a: b");
    assert_string_equal(c.values.any, "it's");
    assert_int_equal(c.values.count, 2);
    assert_int_equal(c.values.piece, 65536);
    assert_int_equal(c.values.wait, 250);
    assert_int_equal(c.values.level, 2);
    assert_string_equal(c.values.listen, "[::1]:0");
    config_case_free(&c);
}

static void a_file_may_hold_nothing(void **state)
{
    static const char *const empty[] = {"",    "\n\n", "# only a comment\n", "---\n", "---\n...\n",
                                        "~\n", "{}\n", "\xef\xbb\xbf"};

    (void)state;
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        take(empty[i]);
        assert_string_equal(c.values.text, "hello");
        config_case_free(&c);
    }
}

static void json_is_yaml_too(void **state)
{
    (void)state;
    take("{\"count\": 4, \"handlers\": [{\"match\": \">\", \"log\": {}}]}");
    assert_int_equal(c.values.count, 4);
    assert_int_equal(c.handlers.count, 1);
    config_case_free(&c);
}

static void an_anchor_may_be_used(void **state)
{
    (void)state;
    take("text: &t abc\nany: *t\n");
    assert_string_equal(c.values.any, "abc");
    config_case_free(&c);
}

static void problems_name_file_line_and_key(void **state)
{
    (void)state;
    refuse("\n\ncount: 9\n",
           "program: c.yaml:3: count: \"9\" is not allowed; allowed is a number from 1 to 5");
    refuse("count: 1\nlog-levl: warn\n",
           "program: c.yaml:2: log-levl: unknown key (did you mean log-level?)");
    refuse("--count: 1\n", "program: c.yaml:1: --count: unknown key (did you mean count?)");
    refuse("config: x\n", "program: c.yaml:1: config: unknown key");
    refuse("nonsense:\n  a: [1, 2]\n", "program: c.yaml:1: nonsense: unknown key");
    refuse("count: 1\n\ncount: 1\n", "program: c.yaml:3: count: is given twice");
    refuse("count:\n", "program: c.yaml:1: count: has no value: give one or leave the key out; "
                       "allowed is a number from 1 to 5");
    refuse("count: null\n",
           "program: c.yaml:1: count: has no value: give one or leave the key out; "
           "allowed is a number from 1 to 5");
    refuse("count: [1]\n", "program: c.yaml:1: count: must be one value: a number from 1 to 5");
    refuse("count: {a: 1}\n", "program: c.yaml:1: count: must be one value: a number from 1 to 5");
    refuse("? [a]\n: 1\n", "program: c.yaml:1: a key must be a plain word");
    refuse("- count\n",
           "program: c.yaml:1: must be a mapping of settings, like bus: nats://a:4222");
    refuse("count\n", "program: c.yaml:1: must be a mapping of settings, like bus: nats://a:4222");
    refuse("any: x\n---\ncount: 9\n", "program: c.yaml:3: only one document is allowed");
}

static void a_quoted_empty_text_is_a_value(void **state)
{
    (void)state;
    refuse("any: \"\"\n",
           "program: c.yaml:1: any: \"\" is not allowed; allowed is text of 1 to 4096 "
           "bytes without control characters");
    take("any: \"~\"\n");
    assert_string_equal(c.values.any, "~");
    config_case_free(&c);
}

static void a_nul_ends_no_value(void **state)
{
    (void)state;
    refuse("name: \"a\\0b\"\n", "program: c.yaml:1: name: \"a\" is not allowed; allowed is 1 to 32 "
                                "letters, digits, _ and -");
    refuse("\"count\\0\": 1\n", "program: c.yaml:1: count: unknown key (did you mean count?)");
}

static void what_is_not_yaml_is_refused_with_its_line(void **state)
{
    (void)state;
    load("any: x\ntext: [a\n");
    assert_non_null(strstr(c.err, "program: c.yaml:3: not YAML: while parsing a flow sequence, "));
    load("any: x\n\ttext: a\n");
    assert_non_null(strstr(c.err, "program: c.yaml:2: not YAML: "));
    load("any: x\n\ntext: \xff\n");
    assert_non_null(strstr(c.err, "program: c.yaml:3: not YAML: invalid leading UTF-8 octet"));
    load("any: *nowhere\n");
    assert_non_null(strstr(c.err, "program: c.yaml:1: not YAML: "));
    load("any: x\n---\na: [b,\n");
    assert_non_null(strstr(c.err, "program: c.yaml:4: not YAML: "));
    assert_int_equal(c.verdict, CONFIG_EXIT_USAGE);
    config_case_load_file(&c, VIEW("any: a\0b"));
    assert_int_equal(c.verdict, CONFIG_EXIT_USAGE);
}

static void a_file_has_a_bound(void **state)
{
    size_t size = 256 * 1024;
    char *text = malloc(size + 1);

    (void)state;
    memset(text, '#', size + 1);
    config_case_load_file(&c, (struct view){text, size - 4096});
    assert_int_equal(c.verdict, CONFIG_RUN);
    config_case_free(&c);
    config_case_load_file(&c, (struct view){text, size + 1});
    assert_int_equal(c.verdict, CONFIG_EXIT_USAGE);
    assert_non_null(strstr(c.err, "--config: cannot read c.yaml: it is longer than 256 KiB"));
    free(text);
}

static void deep_nesting_and_cycles_do_no_harm(void **state)
{
    char text[60000] = "any: ";

    (void)state;
    memset(text + 5, '[', sizeof text - 6);
    text[sizeof text - 1] = '\0';
    load(text);
    assert_int_equal(c.verdict, CONFIG_EXIT_USAGE);
    refuse("handlers: &a [*a]\n",
           "program: c.yaml:1: handlers: an entry is a mapping, like - {match: "
           "\">\", log: {}}");
    refuse("handlers:\n- &a {match: \">\", log: *a}\n",
           "program: c.yaml:2: log: takes no settings; write log: {}");
}

/* ---- handlers ---- */

static void handlers_keep_their_order(void **state)
{
    (void)state;
    take("handlers:\n"
         "  - match: \"demo.>\"\n"
         "    simulate: { delay: 100ms }\n"
         "  - { simulate: {delay: 0}, match: a.*.c }\n"
         "  - match: order-1.created_2\n"
         "    simulate:\n"
         "      delay: 1h\n"
         "  - match: \"*\"\n"
         "    log:\n"
         "  - match: \">\"\n"
         "    log: {}\n");
    static const struct config_handler expected[] = {
        {.match = "demo.>", .kind = "simulate", .delay_ms = 100},
        {.match = "a.*.c", .kind = "simulate"},
        {.match = "order-1.created_2", .kind = "simulate", .delay_ms = 3600000},
        {.match = "*", .kind = "log"},
        {.match = ">", .kind = "log"},
    };
    assert_int_equal(c.handlers.count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(c.handlers.list[i].match, expected[i].match);
        assert_string_equal(c.handlers.list[i].kind, expected[i].kind);
        assert_int_equal(c.handlers.list[i].delay_ms, expected[i].delay_ms);
    }
    config_case_free(&c);
    assert_null(c.handlers.list);
}

static void bad_handlers_are_refused(void **state)
{
    (void)state;
    refuse("handlers: []\n",
           "program: c.yaml:1: handlers: must be a list with an entry at least; leave "
           "it out to log all events");
    refuse("handlers:\n",
           "program: c.yaml:1: handlers: must be a list with an entry at least; leave it "
           "out to log all events");
    refuse("handlers: {match: a}\n", "program: c.yaml:1: handlers: must be a list with an entry at "
                                     "least; leave it out to log all events");
    refuse("handlers: [log]\n",
           "program: c.yaml:1: handlers: an entry is a mapping, like - {match: "
           "\">\", log: {}}");
    refuse("handlers:\n- log: {}\n",
           "program: c.yaml:2: handlers: an entry needs a match, like match: \"order.>\"");
    refuse("handlers:\n- match: a\n",
           "program: c.yaml:2: handlers: an entry needs exactly one of log, simulate");
    refuse("handlers:\n- match: a\n  log: {}\n  simulate: {delay: 1s}\n",
           "program: c.yaml:2: handlers: an entry needs exactly one of log, simulate");
    refuse("handlers:\n- match: a\n  match: b\n  log: {}\n",
           "program: c.yaml:3: match: is given twice");
    refuse("handlers:\n- match: a\n  log: {level: info}\n",
           "program: c.yaml:3: log: takes no settings; write log: {}");
    refuse("handlers:\n- match: a\n  log: yes\n",
           "program: c.yaml:3: log: takes no settings; write log: {}");
    refuse("handlers:\n- match: a\n  log: {}\n  webhook: {}\n",
           "program: c.yaml:4: webhook: unknown key of a handler; allowed are match, log, "
           "simulate, retry, concurrency");
    refuse("handlers:\n- match: a\n  simulate: {}\n",
           "program: c.yaml:3: simulate: needs a delay; write simulate: {delay: 100ms}");
    refuse("handlers:\n- match: a\n  simulate: 100ms\n",
           "program: c.yaml:3: simulate: needs a delay; write simulate: {delay: 100ms}");
    refuse("handlers:\n- match: a\n  simulate: {dealy: 1s}\n",
           "program: c.yaml:3: dealy: unknown key of simulate; allowed are delay, failure_rate, "
           "allow_crash");
    refuse("handlers:\n- match: a\n  simulate: {delay: 61m}\n",
           "program: c.yaml:3: delay: \"61m\" is not allowed; allowed is a duration like 250ms, "
           "30s, 5m, "
           "2h or 7d, at most 1h, or 0");
    refuse("handlers:\n- match: a\n  simulate: {delay: 1s, delay: 1s}\n",
           "program: c.yaml:3: delay: is given twice");
}

static void handlers_say_how_they_fail(void **state)
{
    (void)state;
    take("handlers:\n"
         "- match: a\n"
         "  simulate: { delay: 1s, failure_rate: 0.125, allow_crash: true }\n"
         "  retry: { max_attempts: 100, backoff: 1ms, backoff_max: 1d, timeout: 10ms }\n"
         "  concurrency: 4096\n"
         "- { match: b, simulate: {failure_rate: 1, delay: 0, allow_crash: false}, "
         "retry: {backoff: 1h} }\n"
         "- { match: \">\", log: {}, concurrency: 1 }\n");
    const struct config_handler *list = c.handlers.list;
    assert_true(list[0].failure_rate == 0.125);
    assert_int_equal(list[0].allow_crash, 1);
    assert_int_equal(list[0].max_attempts, 100);
    assert_int_equal(list[0].backoff_ms, 1);
    assert_int_equal(list[0].backoff_max_ms, 24 * 3600 * 1000);
    assert_int_equal(list[0].timeout_ms, 10);
    assert_int_equal(list[0].concurrency, 4096);
    assert_true(list[1].failure_rate == 1);
    assert_int_equal(list[1].allow_crash, 0);
    assert_int_equal(list[1].max_attempts, 0);
    assert_int_equal(list[1].backoff_ms, 3600 * 1000);
    assert_int_equal(list[1].backoff_max_ms, 0);
    assert_int_equal(list[1].concurrency, 0);
    assert_int_equal(list[2].concurrency, 1);
    config_case_free(&c);
}

static void refuse_part(const char *part, const char *expected)
{
    char text[200], message[400];
    snprintf(text, sizeof text, "handlers:\n- match: \">\"\n  log: {}\n  %s\n", part);
    snprintf(message, sizeof message, "program: c.yaml:4: %s", expected);
    refuse(text, message);
}

static void bad_policies_are_refused(void **state)
{
    (void)state;
    refuse_part("retry: {}", "retry: must be a mapping of max_attempts, backoff, backoff_max, "
                             "timeout; leave it out for the defaults");
    refuse_part("retry: 5", "retry: must be a mapping of max_attempts, backoff, backoff_max, "
                            "timeout; leave it out for the defaults");
    refuse_part("retry: {attempts: 5}", "attempts: unknown key of retry; allowed are "
                                        "max_attempts, backoff, backoff_max, timeout");
    refuse_part("retry: {max_attempts: 0}",
                "max_attempts: \"0\" is not allowed; allowed is a number from 1 to 100");
    refuse_part("retry: {max_attempts: 101}",
                "max_attempts: \"101\" is not allowed; allowed is a number from 1 to 100");
    refuse_part("retry: {backoff: 0}",
                "backoff: \"0\" is not allowed; allowed is a duration like 250ms, 30s, 5m, 2h or "
                "7d, at least 1ms, at most 1h");
    refuse_part("retry: {timeout: 9ms}",
                "timeout: \"9ms\" is not allowed; allowed is a duration like 250ms, 30s, 5m, 2h "
                "or 7d, at least 10ms, at most 1h");
    refuse_part("retry: {backoff: 2s, backoff_max: 1s}",
                "retry: backoff must not be longer than backoff_max");
    refuse_part("retry: {backoff: 2s, backoff: 2s}", "backoff: is given twice");
    refuse_part("concurrency: 0",
                "concurrency: \"0\" is not allowed; allowed is a number from 1 to 4096");
    refuse_part("concurrency: {}", "concurrency: must be one value: a number from 1 to 4096");
}

static void a_share_is_a_number_from_0_to_1(void **state)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},     {"1", 1},   {"0.5", 0.5},
                {"1.000", 1}, {"0.0", 0}, {"0.000000001", 0.000000001}};
    static const char *const bad[] = {"",    "2",     "-0.1", "1.1",         "1.000000001", ".5",
                                      "0.",  "0,5",   "5%",   "1e-3",        "0x1",         "00",
                                      "nan", "0.5 x", "+0.5", "0.0000000001"};
    char text[200];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(text, sizeof text,
                 "handlers: [{match: \">\", simulate: {delay: 0, failure_rate: %s}}]",
                 good[i].text);
        take(text);
        assert_true(c.handlers.list[0].failure_rate == good[i].value);
        config_case_free(&c);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text,
                 "handlers: [{match: \">\", simulate: {delay: 0, failure_rate: \"%s\"}}]", bad[i]);
        load(text);
        if (c.verdict != CONFIG_EXIT_USAGE ||
            !strstr(c.err, "allowed is a number from 0 to 1, like 0.25"))
            fail_msg("%s is taken: %s", bad[i], c.err);
        config_case_free(&c);
    }
}

static void durations_are_read_as_they_are_written(void **state)
{
    int64_t ms = -1;
    (void)state;
    assert_true(config_duration_parse(VIEW("250ms"), 1000, &ms));
    assert_int_equal(ms, 250);
    assert_true(config_duration_parse(VIEW("0"), 1000, &ms));
    assert_int_equal(ms, 0);
    assert_true(config_duration_parse(VIEW("1s"), 1000, &ms));
    assert_int_equal(ms, 1000);
    assert_false(config_duration_parse(VIEW("1001ms"), 1000, &ms));
    assert_false(config_duration_parse(VIEW(""), 1000, &ms));
    assert_false(config_duration_parse(VIEW("5"), 1000, &ms));
    assert_int_equal(ms, 1000);
}

static void the_last_entry_takes_what_is_left(void **state)
{
    (void)state;
    refuse(
        "handlers:\n- match: \">\"\n  log: {}\n- match: a.>\n  log: {}\n",
        "program: c.yaml:4: handlers: the last entry must have match: \">\", so that no event goes "
        "unhandled");
}

static void all_entries_are_checked(void **state)
{
    (void)state;
    refuse("handlers:\n- x\n- match: \"a..b\"\n  log: {}\n- log: {}\ncount: 9\n",
           "program: c.yaml:2: handlers: an entry is a mapping, like - {match: \">\", log: {}}\n"
           "program: c.yaml:3: match: \"a..b\" is not a pattern; allowed are words of letters, "
           "digits, _ "
           "and - with dots between, * for any one word, > at the end for the rest\n"
           "program: c.yaml:5: handlers: an entry needs a match, like match: \"order.>\"\n"
           "program: c.yaml:6: count: \"9\" is not allowed; allowed is a number from 1 to 5");
}

static void match_is_a_pattern_of_names(void **state)
{
    static const char *const good[] = {"a",     ">",       "*", "a.>",  "*.>",
                                       "*.a.*", "A-z_0.9", "-", "*.*.*"};
    static const char *const bad[] = {"",     ".",  "a.",  ".a",    "a..b", ">.a", "a>",   "a*",
                                      "*a.b", ">>", "a b", "a.>.b", "é",    "a/b", "a.b ", "a,b"};
    char text[300], long_name[130];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(text, sizeof text, "handlers: [{match: \"%s\", log: {}}, {match: \">\", log: {}}]",
                 good[i]);
        take(text);
        assert_string_equal(c.handlers.list[0].match, good[i]);
        config_case_free(&c);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, "handlers: [{match: \"%s\", log: {}}]", bad[i]);
        load(text);
        if (c.verdict != CONFIG_EXIT_USAGE || !strstr(c.err, "is not a pattern"))
            fail_msg("%s is taken: %s", bad[i], c.err);
    }
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[129] = '\0';
    snprintf(text, sizeof text, "handlers: [{match: \"%s\", log: {}}]", long_name);
    load(text);
    assert_non_null(strstr(c.err, "is not a pattern"));
    snprintf(text, sizeof text, "handlers: [{match: \"%s\", log: {}}, {match: \">\", log: {}}]",
             long_name + 1);
    take(text);
    config_case_free(&c);
}

static void handlers_are_unknown_where_the_program_has_none(void **state)
{
    (void)state;
    config_case_program.has_handlers = false;
    refuse("handlers: [{match: \">\", log: {}}]\n", "program: c.yaml:1: handlers: unknown key");
    take("count: 1\n");
    config_case_free(&c);
    config_case_program.has_handlers = true;
}

static void short_memory_is_told_and_leaves_nothing_behind(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        load("text: abc\nhandlers:\n- {match: a, simulate: {delay: 1s}}\n- {match: \">\", log: "
             "{}}\n");
        bool failed = each_failure_end(&f);
        assert_int_equal(c.verdict, failed ? CONFIG_EXIT_USAGE : CONFIG_RUN);
        assert_int_equal(strstr(c.err, "memory") != NULL, failed);
        config_case_free(&c);
    }
}

/* Bytes changed at random: whatever comes of it, nothing breaks and a refusal says something. */
static void damaged_files_are_taken_or_refused(void **state)
{
    static const char whole[] =
        "text: abc\nwait: 2s\nhandlers:\n- match: \"a.>\"\n  simulate: {delay: 1s}\n"
        "- {match: \">\", log: {}}\n";
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        char text[sizeof whole];
        memcpy(text, whole, sizeof whole);
        for (int i = rand_r(&seed) % 4; i >= 0; i--)
            text[(size_t)rand_r(&seed) % (sizeof whole - 1)] =
                (char)(rand_r(&seed) % 3 ? ":-{}[]>\"'\n #&*!|%@"[rand_r(&seed) % 18]
                                         : rand_r(&seed));
        config_case_load_file(&c, (struct view){text, sizeof whole - 1});
        assert_int_equal(c.verdict == CONFIG_RUN, c.err[0] == '\0');
        config_case_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_flags_without_dashes),
        cmocka_unit_test(a_file_may_hold_nothing),
        cmocka_unit_test(json_is_yaml_too),
        cmocka_unit_test(an_anchor_may_be_used),
        cmocka_unit_test(problems_name_file_line_and_key),
        cmocka_unit_test(a_quoted_empty_text_is_a_value),
        cmocka_unit_test(a_nul_ends_no_value),
        cmocka_unit_test(what_is_not_yaml_is_refused_with_its_line),
        cmocka_unit_test(a_file_has_a_bound),
        cmocka_unit_test(deep_nesting_and_cycles_do_no_harm),
        cmocka_unit_test(handlers_keep_their_order),
        cmocka_unit_test(bad_handlers_are_refused),
        cmocka_unit_test(handlers_say_how_they_fail),
        cmocka_unit_test(bad_policies_are_refused),
        cmocka_unit_test(a_share_is_a_number_from_0_to_1),
        cmocka_unit_test(durations_are_read_as_they_are_written),
        cmocka_unit_test(the_last_entry_takes_what_is_left),
        cmocka_unit_test(all_entries_are_checked),
        cmocka_unit_test(match_is_a_pattern_of_names),
        cmocka_unit_test(handlers_are_unknown_where_the_program_has_none),
        cmocka_unit_test(short_memory_is_told_and_leaves_nothing_behind),
        cmocka_unit_test(damaged_files_are_taken_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
