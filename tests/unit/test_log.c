#include "common/log.h"

#include "common/clock.h"
#include "common/mem.h"
#include "tests/lib/capture.h"
#include "tests/lib/unit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TIME_SIZE (sizeof "03:04:05.678" - 1)

/* The one line that `entry` writes. */
static char line[2 * LOG_LINE_MAX];
#define CAPTURE(entry)                            \
    do {                                          \
        struct capture capture;                   \
        capture_begin(&capture, STDERR_FILENO);   \
        entry;                                    \
        capture_end(&capture, line, sizeof line); \
    } while (0)

/* The line as JSON; the caller deletes it. */
static cJSON *parse_line(void)
{
    size_t len = strlen(line);
    cJSON *json;

    assert_in_range(len, 1, LOG_LINE_MAX);
    assert_int_equal(line[len - 1], '\n');
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    assert_true(view_is_utf8(view_of(line)));
    line[len - 1] = '\0';
    json = cJSON_ParseWithOpts(line, NULL, 1);
    if (!json)
        fail_msg("not JSON: %s", line);
    return json;
}

static void check_member(const cJSON *json, const char *name, const char *expected)
{
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

    assert_non_null(value);
    assert_string_equal(value, expected);
}

static void text_lines_read_well(void **state)
{
    (void)state;
    log_init("program", LOG_INFO, LOG_TEXT_LINES);
    CAPTURE(log_info("listening", LOG_TEXT("address", "0.0.0.0"), LOG_U64("port", 8080),
                     LOG_I64("offset", -3)));
    assert_string_equal(line + TIME_SIZE, " INFO  listening address=0.0.0.0 port=8080 offset=-3\n");
    CAPTURE(log_warn("slow"));
    assert_string_equal(line + TIME_SIZE, " WARN  slow\n");
    CAPTURE(log_error("numbers", LOG_U64("most", UINT64_MAX), LOG_I64("least", INT64_MIN)));
    assert_string_equal(line + TIME_SIZE, " ERROR numbers most=18446744073709551615 "
                                          "least=-9223372036854775808\n");
    CAPTURE(log_info("times", LOG_US_AS_MS("a", 0), LOG_US_AS_MS("b", 12045),
                     LOG_US_AS_MS("c", UINT64_MAX)));
    assert_string_equal(line + TIME_SIZE,
                        " INFO  times a=0.000 b=12.045 c=18446744073709551.615\n");
}

static void text_values_that_would_mislead_are_quoted(void **state)
{
    (void)state;
    log_init("program", LOG_INFO, LOG_TEXT_LINES);
    CAPTURE(log_info("m", LOG_TEXT("a", ""), LOG_TEXT("b", "x y"), LOG_TEXT("c", "x=y"),
                     LOG_TEXT("d", "say \"hi\""), LOG_TEXT("e", "a\\b"), LOG_TEXT("f", NULL)));
    assert_string_equal(line + TIME_SIZE, " INFO  m a=\"\" b=\"x y\" c=\"x=y\" "
                                          "d=\"say \\\"hi\\\"\" e=\"a\\\\b\" f=\"\"\n");
    CAPTURE(log_info("m", LOG_TEXT("a", "1\n12:00:00.000 INFO  forged"), LOG_TEXT("b", "\x1b[2J"),
                     LOG_VIEW("c", VIEW("a\0b")), LOG_TEXT("d", "\xff"), LOG_TEXT("e", "é")));
    assert_string_equal(line + TIME_SIZE,
                        " INFO  m a=\"1\\n12:00:00.000 INFO  forged\" b=\"\\u001b[2J\" "
                        "c=\"a\\u0000b\" d=\"\xef\xbf\xbd\" e=\"é\"\n");
}

static void json_lines_are_json(void **state)
{
    int64_t before = clock_wall_ms(&clock_system), time;
    const char *text;
    cJSON *json;

    (void)state;
    log_init("program", LOG_DEBUG, LOG_JSON_LINES);
    CAPTURE(log_debug("an entry", LOG_TEXT("quote", "\"\\\n\x1b\xff é"), LOG_U64("port", 8080),
                      LOG_I64("offset", -3)));
    json = parse_line();
    check_member(json, "program", "program");
    check_member(json, "level", "debug");
    check_member(json, "msg", "an entry");
    check_member(json, "quote", "\"\\\n\x1b\xef\xbf\xbd é");
    assert_non_null(strstr(line, ",\"port\":8080,\"offset\":-3}"));
    text = cJSON_GetStringValue(cJSON_GetObjectItem(json, "time"));
    assert_true(clock_parse(text, strlen(text), &time));
    assert_true(time >= before && time <= clock_wall_ms(&clock_system));
    cJSON_Delete(json);
}

static void the_program_may_be_left_out(void **state)
{
    (void)state;
    log_init(NULL, LOG_INFO, LOG_JSON_LINES);
    CAPTURE(log_info("entry"));
    assert_string_equal(line + sizeof "{\"time\":\"2026-01-02T03:04:05.678Z" - 1,
                        "\",\"level\":\"info\",\"msg\":\"entry\"}\n");
}

static void entries_below_the_level_are_not_written(void **state)
{
    (void)state;
    for (int level = LOG_DEBUG; level <= LOG_ERROR; level++) {
        int lines = 0;
        log_init("program", (enum log_level)level, LOG_TEXT_LINES);
        CAPTURE(log_debug("a"); log_info("a"); log_warn("a"); log_error("a"));
        for (const char *c = line; *c; c++)
            lines += *c == '\n';
        assert_int_equal(lines, LOG_ERROR - level + 1);
    }
}

static void auto_is_json_where_there_is_no_terminal(void **state)
{
    (void)state;
    CAPTURE(log_init("program", LOG_INFO, LOG_AUTO); log_info("entry"));
    assert_int_equal(line[0], '{');
}

static void auto_is_text_on_a_terminal(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), terminal, saved = dup(STDERR_FILENO);
    char text[200], name[64];
    ssize_t len;

    (void)state;
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    assert_int_equal(ptsname_r(master, name, sizeof name), 0);
    terminal = open(name, O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0 && dup2(terminal, STDERR_FILENO) >= 0);
    log_init("program", LOG_INFO, LOG_AUTO);
    log_info("entry");
    dup2(saved, STDERR_FILENO);
    len = read(master, text, sizeof text - 1);
    assert_true(len > 0);
    text[len] = '\0';
    assert_string_equal(text + TIME_SIZE, " INFO  entry\r\n");
    close(terminal);
    close(master);
    close(saved);
}

static void the_context_is_added_while_it_is_set(void **state)
{
    (void)state;
    log_init("program", LOG_INFO, LOG_TEXT_LINES);
    log_context_set(VIEW("req 1"), VIEW("e-1"));
    CAPTURE(log_info("m", LOG_U64("n", 1)));
    assert_string_equal(line + TIME_SIZE, " INFO  m n=1 request_id=\"req 1\" event_id=e-1\n");
    log_context_set(VIEW(""), VIEW("e-2"));
    CAPTURE(log_info("m"));
    assert_string_equal(line + TIME_SIZE, " INFO  m event_id=e-2\n");
    log_context_clear();
    CAPTURE(log_info("m"));
    assert_string_equal(line + TIME_SIZE, " INFO  m\n");
}

static void *log_without_context(void *unused)
{
    log_info("other");
    return unused;
}

static void the_context_is_the_threads_own(void **state)
{
    pthread_t thread;

    (void)state;
    log_init("program", LOG_INFO, LOG_TEXT_LINES);
    log_context_set(VIEW("mine"), VIEW(""));
    CAPTURE({
        assert_int_equal(pthread_create(&thread, NULL, log_without_context, NULL), 0);
        pthread_join(thread, NULL);
    });
    log_context_clear();
    assert_string_equal(line + TIME_SIZE, " INFO  other\n");
}

/* A value cut anywhere among characters of 1 to 4 bytes stays UTF-8 and keeps as much as fits. */
static void long_values_end_in_an_ellipsis(void **state)
{
    static const char *const characters[] = {"x", "é", "€", "😀"};

    (void)state;
    log_init("program", LOG_INFO, LOG_JSON_LINES);
    for (size_t i = 0; i < 16; i++) {
        const char *character = characters[i % 4];
        size_t shift = i / 4, width = strlen(character), kept;
        char value[LOG_VALUE_MAX + 100];
        cJSON *json;
        const char *read;

        memset(value, 'y', sizeof value);
        for (size_t at = shift; at + width < sizeof value; at += width)
            memcpy(value + at, character, width);
        CAPTURE(log_info("m", LOG_VIEW("v", ((struct view){value, LOG_VALUE_MAX + 8}))));
        json = parse_line();
        read = cJSON_GetStringValue(cJSON_GetObjectItem(json, "v"));
        kept = strlen(read) - strlen("…");
        assert_string_equal(read + kept, "…");
        assert_memory_equal(read, value, kept);
        assert_int_equal(kept, LOG_VALUE_MAX - (LOG_VALUE_MAX - shift) % width);
        assert_null(cJSON_GetObjectItem(json, "truncated"));
        cJSON_Delete(json);
    }
}

static void a_value_of_exactly_the_bound_is_whole(void **state)
{
    char value[LOG_VALUE_MAX];

    (void)state;
    log_init("program", LOG_INFO, LOG_TEXT_LINES);
    memset(value, 'x', sizeof value);
    CAPTURE(log_info("m", LOG_VIEW("v", ((struct view){value, sizeof value}))));
    assert_int_equal(strlen(line), TIME_SIZE + strlen(" INFO  m v=\n") + LOG_VALUE_MAX);
    assert_null(strstr(line, "…"));
}

static void fields_that_do_not_fit_are_left_out(void **state)
{
    char value[LOG_VALUE_MAX];
    struct view v = {value, sizeof value};
    cJSON *json;

    (void)state;
    memset(value, '\x01', sizeof value); /* six times as long when escaped */
    log_context_set(VIEW("request"), VIEW("event"));
    log_init("program", LOG_INFO, LOG_JSON_LINES);
    CAPTURE(log_info("m", LOG_VIEW("big", v), LOG_U64("small", 5)));
    json = parse_line();
    assert_null(cJSON_GetObjectItem(json, "big"));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(json, "truncated")));
    assert_int_equal(cJSON_GetObjectItem(json, "small")->valueint, 5);
    check_member(json, "event_id", "event");
    cJSON_Delete(json);
    log_init("program", LOG_INFO, LOG_TEXT_LINES);
    CAPTURE(log_info("m", LOG_VIEW("big", v), LOG_U64("small", 5)));
    assert_string_equal(line + TIME_SIZE,
                        " INFO  m small=5 request_id=request event_id=event truncated=true\n");
    log_context_clear();
}

/* Lines of every length around the bound: never longer, always whole. */
static void no_line_is_longer_than_the_bound(void **state)
{
    char value[LOG_VALUE_MAX];

    (void)state;
    memset(value, 'x', sizeof value);
    log_init("program", LOG_INFO, LOG_JSON_LINES);
    for (size_t len = 0; len < 700; len++) {
        struct view full = {value, sizeof value}, last = {value, len};
        cJSON *json;

        CAPTURE(log_info("m", LOG_VIEW("a", full), LOG_VIEW("b", full), LOG_VIEW("c", full),
                         LOG_VIEW("d", last), LOG_VIEW("e", last)));
        json = parse_line();
        assert_non_null(cJSON_GetObjectItem(json, "d"));
        assert_int_equal(!cJSON_GetObjectItem(json, "e"),
                         cJSON_IsTrue(cJSON_GetObjectItem(json, "truncated")));
        cJSON_Delete(json);
    }
}

static void logging_allocates_nothing(void **state)
{
    uint64_t before = mem_allocations();

    (void)state;
    log_init("program", LOG_INFO, LOG_JSON_LINES);
    CAPTURE(log_info("m", LOG_TEXT("a", "é\n")));
    assert_int_equal(mem_allocations(), before);
}

static void a_full_pipe_loses_the_entry_and_keeps_errno(void **state)
{
    int ends[2], saved = dup(STDERR_FILENO);
    static const char filling[65536];

    (void)state;
    log_init("program", LOG_INFO, LOG_TEXT_LINES);
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    while (write(ends[1], filling, sizeof filling) > 0)
        continue;
    dup2(ends[1], STDERR_FILENO);
    errno = EDOM;
    log_info("lost");
    assert_int_equal(errno, EDOM);
    dup2(saved, STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    close(saved);
}

/* ---- many threads, one pipe ---- */

#define THREADS 4
#define PER_THREAD 300

static void *log_many(void *letter)
{
    char value[900];

    memset(value, *(const char *)letter, sizeof value);
    for (int i = 0; i < PER_THREAD; i++)
        log_info("m", LOG_VIEW("a", ((struct view){value, sizeof value})),
                 LOG_VIEW("b", ((struct view){value, sizeof value})),
                 LOG_VIEW("c", ((struct view){value, sizeof value})));
    return NULL;
}

/* A line whose three values are of one letter; adds to the letter's count. */
static void check_whole(const char *text, size_t len, int counts[THREADS])
{
    const char *a = strstr(text, " a=");
    char letter;

    assert_non_null(a);
    letter = a[3];
    assert_true(letter >= 'a' && letter < 'a' + THREADS);
    assert_int_equal(len, TIME_SIZE + strlen(" INFO  m a= b= c=") + 3 * (size_t)900);
    for (size_t value = 0; value < 3; value++) {
        static const char *const keys[] = {" a=", " b=", " c="};
        const char *at = strstr(text, keys[value]);
        assert_non_null(at);
        for (size_t i = 0; i < 900; i++)
            assert_int_equal(at[3 + i], letter);
    }
    counts[letter - 'a']++;
}

static void lines_of_many_threads_are_whole(void **state)
{
    static char letters[] = "abcd";
    int ends[2], saved = dup(STDERR_FILENO), counts[THREADS] = {0};
    pthread_t threads[THREADS];
    FILE *reader;

    (void)state;
    log_init("program", LOG_INFO, LOG_TEXT_LINES);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, &letters[i]), 0);
    reader = fdopen(ends[0], "r");
    for (int i = 0; i < THREADS * PER_THREAD; i++) {
        assert_non_null(fgets(line, sizeof line, reader));
        check_whole(line, strlen(line) - 1, counts);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(counts[i], PER_THREAD);
    }
    dup2(saved, STDERR_FILENO);
    close(saved);
    fclose(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines_read_well),
        cmocka_unit_test(text_values_that_would_mislead_are_quoted),
        cmocka_unit_test(json_lines_are_json),
        cmocka_unit_test(the_program_may_be_left_out),
        cmocka_unit_test(entries_below_the_level_are_not_written),
        cmocka_unit_test(auto_is_json_where_there_is_no_terminal),
        cmocka_unit_test(auto_is_text_on_a_terminal),
        cmocka_unit_test(the_context_is_added_while_it_is_set),
        cmocka_unit_test(the_context_is_the_threads_own),
        cmocka_unit_test(long_values_end_in_an_ellipsis),
        cmocka_unit_test(a_value_of_exactly_the_bound_is_whole),
        cmocka_unit_test(fields_that_do_not_fit_are_left_out),
        cmocka_unit_test(no_line_is_longer_than_the_bound),
        cmocka_unit_test(logging_allocates_nothing),
        cmocka_unit_test(a_full_pipe_loses_the_entry_and_keeps_errno),
        cmocka_unit_test(lines_of_many_threads_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
