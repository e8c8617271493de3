#include "common/config.h"

#include "common/version.h"
#include "tests/lib/config_case.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct config_case c;

static void load(const char *const *args)
{
    config_case_load(&c, args, CONFIG_NONE);
}

/* The arguments are refused, and this is all that is said. */
static void refuse(const char *const *args, const char *said)
{
    char expected[1024];

    load(args);
    snprintf(expected, sizeof expected, "program: %s\nprogram: --help lists the settings\n", said);
    assert_int_equal(c.verdict, CONFIG_EXIT_USAGE);
    assert_string_equal(c.err, expected);
    assert_string_equal(c.out, "");
}

static void without_anything_the_defaults_count(void **state)
{
    (void)state;
    load(CONFIG_NONE);
    assert_int_equal(c.verdict, CONFIG_RUN);
    assert_string_equal(c.values.text, "hello");
    assert_string_equal(c.values.any, "x");
    assert_string_equal(c.values.name, "tidings");
    assert_string_equal(c.values.listen, "0.0.0.0:80");
    assert_int_equal(c.values.count, 3);
    assert_int_equal(c.values.room, 0);
    assert_int_equal(c.values.piece, 4096);
    assert_int_equal(c.values.age, 0);
    assert_int_equal(c.values.wait, 1000);
    assert_int_equal(c.values.level, 1);
    assert_null(c.handlers.list);
    assert_string_equal(c.out, "");
    assert_string_equal(c.err, "");
    config_case_free(&c);
    assert_null(c.values.text);
}

static void flags_take_values_in_two_forms(void **state)
{
    (void)state;
    load(CONFIG_ARGS("--text", "a=b", "--any=c=d", "--count=5", "--log-level", "warn", "--name",
                     "-x"));
    assert_int_equal(c.verdict, CONFIG_RUN);
    assert_string_equal(c.values.text, "a=b");
    assert_string_equal(c.values.any, "c=d");
    assert_string_equal(c.values.name, "-x");
    assert_int_equal(c.values.count, 5);
    assert_int_equal(c.values.level, 2);
    config_case_free(&c);
}

static void a_flag_wins_over_a_variable_over_the_file_over_the_default(void **state)
{
    char path[] = "/tmp/tidings-XXXXXX", variable[64];
    int file = mkstemp(path);
    static const char text[] = "count: 1\nwait: 1m\nlog-level: debug\n";

    (void)state;
    assert_int_equal(write(file, text, sizeof text - 1), sizeof text - 1);
    close(file);
    snprintf(variable, sizeof variable, "TIDINGS_CONFIG=%s", path);
    config_case_load(&c, CONFIG_ARGS("--count", "4"),
                     CONFIG_ARGS("TIDINGS_COUNT=2", "TIDINGS_WAIT=2m", variable));
    assert_int_equal(c.verdict, CONFIG_RUN);
    assert_int_equal(c.values.count, 4);
    assert_int_equal(c.values.wait, 120000);
    assert_int_equal(c.values.level, 0);
    assert_int_equal(c.values.piece, 4096);
    config_case_free(&c);
    config_case_load(&c, CONFIG_ARGS("--config", path), CONFIG_ARGS("TIDINGS_CONFIG=/nowhere"));
    assert_int_equal(c.verdict, CONFIG_RUN);
    assert_int_equal(c.values.count, 1);
    config_case_free(&c);
    unlink(path);
}

/* ---- flags ---- */

static void flags_that_cannot_be_understood_are_refused(void **state)
{
    (void)state;
    refuse(CONFIG_ARGS("--nonsense"), "--nonsense: unknown flag");
    refuse(CONFIG_ARGS("--nonsense", "value"), "--nonsense: unknown flag");
    refuse(CONFIG_ARGS("--lisen", "a:1"), "--lisen: unknown flag (did you mean --listen?)");
    refuse(CONFIG_ARGS("--log_level=warn"),
           "--log_level: unknown flag (did you mean --log-level?)");
    refuse(CONFIG_ARGS("--confg=x"), "--confg: unknown flag (did you mean --config?)");
    refuse(CONFIG_ARGS("--handlers=x"), "--handlers: unknown flag");
    refuse(CONFIG_ARGS("word"), "word: unexpected argument; settings are given as --flag VALUE");
    refuse(CONFIG_ARGS("-x"), "-x: unexpected argument; settings are given as --flag VALUE");
    refuse(CONFIG_ARGS("--"), "--: unexpected argument; settings are given as --flag VALUE");
    refuse(CONFIG_ARGS(""), ": unexpected argument; settings are given as --flag VALUE");
    refuse(CONFIG_ARGS("--=x"), "--: unknown flag");
    refuse(CONFIG_ARGS("--count"), "--count: needs a value: --count VALUE or --count=VALUE");
    refuse(CONFIG_ARGS("--config"), "--config: needs a value: --config VALUE or --config=VALUE");
    refuse(CONFIG_ARGS("--count=1", "--count", "1"), "--count: is given twice");
    refuse(CONFIG_ARGS("--check-config=yes"), "--check-config: takes no value");
    refuse(CONFIG_ARGS("--config", "/nowhere/at/all"),
           "--config: cannot read /nowhere/at/all: No such file or directory");
    refuse(CONFIG_ARGS("--config=/"), "--config: cannot read /: Is a directory");
    refuse(CONFIG_ARGS("--config="), "--config: cannot read : No such file or directory");
}

static void all_problems_are_named_at_once(void **state)
{
    (void)state;
    config_case_load(&c, CONFIG_ARGS("--count", "--wait=1y", "--no"),
                     CONFIG_ARGS("TIDINGS_NAME=a b"));
    assert_int_equal(c.verdict, CONFIG_EXIT_USAGE);
    assert_non_null(strstr(c.err, "--count: needs a value"));
    assert_non_null(strstr(c.err, "--wait: \"1y\" is not allowed"));
    assert_non_null(strstr(c.err, "--no: unknown flag"));
    assert_non_null(strstr(c.err, "TIDINGS_NAME: \"a b\" is not allowed"));
}

static void long_and_hostile_words_are_shown_safely(void **state)
{
    char word[5000];

    (void)state;
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    memcpy(word, "--\n\x1b[2J", 7);
    load(CONFIG_ARGS(word));
    assert_int_equal(c.verdict, CONFIG_EXIT_USAGE);
    assert_non_null(strstr(c.err, "program: --??[2Jxxx"));
    assert_in_range(strlen(c.err), 40, 600);
    memcpy(word, "--any=\n", 7);
    load(CONFIG_ARGS(word));
    assert_non_null(strstr(c.err, "--any: \"?xxx"));
    assert_non_null(strstr(c.err, "…\" is not allowed"));
    assert_in_range(strlen(c.err), 40, 600);
}

/* ---- values ---- */

struct value {
    const char *flag;
    const char *text;
    uint64_t number; /* a text setting: 0 */
};

/* The loaded value of a flag with a number. */
static uint64_t number_of(const char *flag)
{
    const struct config_setting *s = config_case_program.settings;
    uint64_t number;

    while (strcmp(s->flag, flag) != 0)
        s++;
    if (s->kind == CONFIG_TEXT || s->kind == CONFIG_NAME || s->kind == CONFIG_ADDRESS)
        return 0;
    memcpy(&number, (char *)&c.values + s->offset, sizeof number);
    return number;
}

static const struct value good_values[] = {
    {"count", "1", 1},
    {"count", "5", 5},
    {"count", "03", 3},
    {"room", "0", 0},
    {"room", "unlimited", 0},
    {"room", "1", 1},
    {"room", "1048576", 1048576},
    {"room", "64KiB", 65536},
    {"room", "3MiB", 3 << 20},
    {"room", "10GiB", 10ULL << 30},
    {"room", "1TiB", 1ULL << 40},
    {"room", "1024GiB", 1ULL << 40},
    {"room", "0KiB", 0},
    {"piece", "1KiB", 1024},
    {"piece", "1024", 1024},
    {"piece", "1MiB", 1 << 20},
    {"age", "0", 0},
    {"age", "0s", 0},
    {"age", "1000ms", 1000},
    {"age", "7d", 604800000},
    {"age", "168h", 604800000},
    {"wait", "100ms", 100},
    {"wait", "2s", 2000},
    {"wait", "5m", 300000},
    {"wait", "1h", 3600000},
    {"wait", "3600s", 3600000},
    {"text", "ab", 0},
    {"text", "0123456789", 0},
    {"text", "é€ ", 0},
    {"name", "a", 0},
    {"name", "A-z_09", 0},
    {"name", "01234567890123456789012345678901", 0},
    {"listen", "localhost:0", 0},
    {"listen", "127.0.0.1:65535", 0},
    {"listen", "[::]:80", 0},
    {"listen", "[::ffff:1.2.3.4]:80", 0},
    {"listen", "a-b.example.org:1", 0},
    {"listen", "h:00080", 0},
};

static void good_values_are_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_values / sizeof good_values[0]; i++) {
        char arg[100];
        snprintf(arg, sizeof arg, "--%s=%s", good_values[i].flag, good_values[i].text);
        load(CONFIG_ARGS(arg));
        if (c.verdict != CONFIG_RUN || number_of(good_values[i].flag) != good_values[i].number)
            fail_msg("%s: %s", arg, c.err);
        config_case_free(&c);
    }
}

static const struct value bad_values[] = {
    {"count", "", 0},
    {"count", "0", 0},
    {"count", "6", 0},
    {"count", "-1", 0},
    {"count", "+1", 0},
    {"count", "1.5", 0},
    {"count", "1 ", 0},
    {"count", "0x1", 0},
    {"count", "18446744073709551617", 0},
    {"room", "", 0},
    {"room", "KiB", 0},
    {"room", "1kb", 0},
    {"room", "1KB", 0},
    {"room", "1 KiB", 0},
    {"room", "1.5GiB", 0},
    {"room", "-1", 0},
    {"room", "2TiB", 0},
    {"room", "1025GiB", 0},
    {"room", "18014398509481984KiB", 0},
    {"room", "16777216TiB", 0},
    {"room", "none", 0},
    {"piece", "1023", 0},
    {"piece", "1048577", 0},
    {"piece", "0", 0},
    {"piece", "unlimited", 0},
    {"age", "", 0},
    {"age", "1", 0},
    {"age", "s", 0},
    {"age", "8d", 0},
    {"age", "1d1s", 0},
    {"age", "1h30m", 0},
    {"age", "0.5s", 0},
    {"age", "1S", 0},
    {"age", "1 s", 0},
    {"age", "213503982334d", 0},
    {"age", "9999999999999999999999d", 0},
    {"age", "unlimited", 0},
    {"wait", "0", 0},
    {"wait", "0s", 0},
    {"wait", "99ms", 0},
    {"wait", "3601s", 0},
    {"text", "", 0},
    {"text", "a", 0},
    {"text", "0123456789a", 0},
    {"text", "a\nb", 0},
    {"text", "a\x7f", 0},
    {"text", "\xff\xff", 0},
    {"any", "", 0},
    {"name", "", 0},
    {"name", "a.b", 0},
    {"name", "a b", 0},
    {"name", "é", 0},
    {"name", "*", 0},
    {"name", "012345678901234567890123456789012", 0},
    {"listen", "", 0},
    {"listen", ":80", 0},
    {"listen", "host", 0},
    {"listen", "host:", 0},
    {"listen", "host:65536", 0},
    {"listen", "host:http", 0},
    {"listen", "host:-1", 0},
    {"listen", "host:000080", 0},
    {"listen", "80", 0},
    {"listen", "::1:80", 0},
    {"listen", "[::1]", 0},
    {"listen", "[]:80", 0},
    {"listen", "[::g]:80", 0},
    {"listen", "[1.2.3.4]:80", 0},
    {"listen", "1.2.3:80", 0},
    {"listen", "256.0.0.1:80", 0},
    {"listen", "a b:80", 0},
    {"listen", "http://a:80", 0},
    {"listen", "*:80", 0},
    {"log-level", "", 0},
    {"log-level", "Info", 0},
    {"log-level", "inf", 0},
};

static void bad_values_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_values / sizeof bad_values[0]; i++) {
        char arg[100], where[60];
        snprintf(arg, sizeof arg, "--%s=%s", bad_values[i].flag, bad_values[i].text);
        snprintf(where, sizeof where, "program: --%s: \"", bad_values[i].flag);
        load(CONFIG_ARGS(arg));
        if (c.verdict != CONFIG_EXIT_USAGE || strncmp(c.err, where, strlen(where)) != 0)
            fail_msg("%s is taken, or refused by: %s", arg, c.err);
    }
}

static void a_refusal_says_what_is_allowed(void **state)
{
    (void)state;
    refuse(CONFIG_ARGS("--count=9"),
           "--count: \"9\" is not allowed; allowed is a number from 1 to 5");
    refuse(CONFIG_ARGS("--log-level=loud"),
           "--log-level: \"loud\" is not allowed; allowed is one of debug, info, warn");
    refuse(CONFIG_ARGS("--name=a.b"),
           "--name: \"a.b\" is not allowed; allowed is 1 to 32 letters, digits, _ and -");
    refuse(CONFIG_ARGS("--listen=80"),
           "--listen: \"80\" is not allowed; allowed is host:port or [IPv6]:port");
    refuse(CONFIG_ARGS("--piece=1"), "--piece: \"1\" is not allowed; allowed is a size like 65536, "
                                     "64KiB, 1MiB or 10GiB, at least 1KiB, at most 1MiB");
    refuse(CONFIG_ARGS("--room=x"),
           "--room: \"x\" is not allowed; allowed is a size like 65536, 64KiB, "
           "1MiB or 10GiB, at most 1TiB, or unlimited");
    refuse(CONFIG_ARGS("--wait=1"),
           "--wait: \"1\" is not allowed; allowed is a duration like 250ms, "
           "30s, 5m, 2h or 7d, at least 100ms, at most 1h");
    refuse(CONFIG_ARGS("--age=8d"),
           "--age: \"8d\" is not allowed; allowed is a duration like 250ms, "
           "30s, 5m, 2h or 7d, at most 7d, or 0");
    refuse(CONFIG_ARGS("--text=x"),
           "--text: \"x\" is not allowed; allowed is text of 2 to 10 bytes "
           "without control characters");
}

static void values_that_do_not_go_together_are_refused(void **state)
{
    (void)state;
    refuse(CONFIG_ARGS("--age=10s", "--wait=11s"),
           "configuration: --wait must not be longer than --age");
}

/* ---- environment ---- */

static void an_empty_variable_counts_as_not_set(void **state)
{
    (void)state;
    config_case_load(&c, CONFIG_NONE, CONFIG_ARGS("TIDINGS_COUNT=", "TIDINGS_CONFIG="));
    assert_int_equal(c.verdict, CONFIG_RUN);
    assert_int_equal(c.values.count, 3);
    assert_string_equal(c.err, "");
    config_case_free(&c);
}

static void unknown_variables_of_ours_get_a_warning(void **state)
{
    (void)state;
    config_case_load(&c, CONFIG_NONE,
                     CONFIG_ARGS("TIDINGS_CONT=secret", "TIDINGS_\x1b=1", "TIDINGS_NAME",
                                 "TIDINGS_", "TIDINGSX=1", "PATH=/bin", "=", "", "TIDINGS_COUNTS"));
    assert_int_equal(c.verdict, CONFIG_RUN);
    assert_string_equal(c.values.name, "tidings");
    assert_string_equal(
        c.err,
        "program: warning: TIDINGS_CONT: unknown environment variable, ignored (did you mean "
        "TIDINGS_COUNT?)\nprogram: warning: TIDINGS_?: unknown environment variable, ignored\n");
    config_case_free(&c);
}

static void a_bad_variable_is_refused_by_its_name(void **state)
{
    (void)state;
    config_case_load(&c, CONFIG_ARGS("--count=2"), CONFIG_ARGS("TIDINGS_COUNT=many"));
    assert_int_equal(c.verdict, CONFIG_EXIT_USAGE);
    assert_non_null(strstr(c.err, "program: TIDINGS_COUNT: \"many\" is not allowed"));
    config_case_load(&c, CONFIG_NONE, CONFIG_ARGS("TIDINGS_CONFIG=/nowhere"));
    assert_int_equal(c.verdict, CONFIG_EXIT_USAGE);
    assert_non_null(strstr(c.err, "program: TIDINGS_CONFIG: cannot read /nowhere: No such file"));
}

/* ---- what is printed ---- */

static void help_shows_all_of_every_setting(void **state)
{
    static const char *const helps[] = {"--help", "-h"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        config_case_load(&c, CONFIG_ARGS("--count=2", helps[i]), CONFIG_ARGS("TIDINGS_COUNT=many"));
        assert_int_equal(c.verdict, CONFIG_EXIT_OK);
        assert_string_equal(c.err, "");
        assert_ptr_equal(strstr(c.out, "program " TIDINGS_VERSION ": does something\n"), c.out);
        assert_non_null(strstr(c.out, "\nSettings\n  --text TEXT "));
        assert_non_null(strstr(c.out, "\nSizes\n  --count N "));
        assert_non_null(strstr(c.out, "  --log-level WORD  TIDINGS_LOG_LEVEL  default: info\n"
                                      "      How loud\n      (one of debug, info, warn)\n"));
        for (const struct config_setting *s = config_case_program.settings; s->flag; s++) {
            assert_non_null(strstr(c.out, s->flag));
            assert_non_null(strstr(c.out, s->environment));
            assert_non_null(strstr(c.out, s->help));
        }
        assert_non_null(strstr(c.out, "--config FILE"));
        assert_non_null(strstr(c.out, "--check-config"));
        for (const char *line = c.out; *line; line = strchr(line, '\n') + 1)
            assert_true(strchr(line, '\n') - line <= 100);
    }
}

static void version_and_check_print_a_line(void **state)
{
    (void)state;
    load(CONFIG_ARGS("--version"));
    assert_int_equal(c.verdict, CONFIG_EXIT_OK);
    assert_string_equal(c.out, "program " TIDINGS_VERSION "\n");
    load(CONFIG_ARGS("--check-config", "--count=5"));
    assert_int_equal(c.verdict, CONFIG_EXIT_OK);
    assert_string_equal(c.out, "program: the configuration is good\n");
    refuse(CONFIG_ARGS("--check-config", "--count=6"),
           "--count: \"6\" is not allowed; allowed is a number from 1 to 5");
}

static void markdown_has_a_row_for_every_setting(void **state)
{
    size_t rows = 0;

    (void)state;
    load(CONFIG_ARGS("--help-markdown"));
    assert_int_equal(c.verdict, CONFIG_EXIT_OK);
    assert_ptr_equal(strstr(c.out,
                            "**Settings**\n\n| flag | environment | default | what | allowed |\n"
                            "|---|---|---|---|---|\n| `--text` | `TIDINGS_TEXT` | `hello` | "
                            "Some text | text of 2 to 10 bytes without control characters |\n"),
                     c.out);
    assert_non_null(strstr(c.out, "|\n\n**Sizes**\n\n| flag |"));
    for (const char *row = strstr(c.out, "\n| `--"); row; row = strstr(row + 1, "\n| `--"))
        rows++;
    assert_int_equal(rows, 10);
}

static void short_memory_is_told_and_leaves_nothing_behind(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        config_case_load(&c, CONFIG_ARGS("--text=abc", "--count=2"), CONFIG_ARGS("TIDINGS_NAME=n"));
        bool failed = each_failure_end(&f);
        assert_int_equal(c.verdict, failed ? CONFIG_EXIT_USAGE : CONFIG_RUN);
        assert_int_equal(strstr(c.err, "out of memory") != NULL, failed);
        config_case_free(&c);
    }
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        load(CONFIG_ARGS("--help"));
        assert_int_equal(c.verdict, each_failure_end(&f) ? CONFIG_EXIT_USAGE : CONFIG_EXIT_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_anything_the_defaults_count),
        cmocka_unit_test(flags_take_values_in_two_forms),
        cmocka_unit_test(a_flag_wins_over_a_variable_over_the_file_over_the_default),
        cmocka_unit_test(flags_that_cannot_be_understood_are_refused),
        cmocka_unit_test(all_problems_are_named_at_once),
        cmocka_unit_test(long_and_hostile_words_are_shown_safely),
        cmocka_unit_test(good_values_are_taken),
        cmocka_unit_test(bad_values_are_refused),
        cmocka_unit_test(a_refusal_says_what_is_allowed),
        cmocka_unit_test(values_that_do_not_go_together_are_refused),
        cmocka_unit_test(an_empty_variable_counts_as_not_set),
        cmocka_unit_test(unknown_variables_of_ours_get_a_warning),
        cmocka_unit_test(a_bad_variable_is_refused_by_its_name),
        cmocka_unit_test(help_shows_all_of_every_setting),
        cmocka_unit_test(version_and_check_print_a_line),
        cmocka_unit_test(markdown_has_a_row_for_every_setting),
        cmocka_unit_test(short_memory_is_told_and_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
