/* The gateway's own settings: what they may be, and what becomes of them.
 */
#include "http-gateway/settings.h"
#include "tests/lib/capture.h"
#include "tests/lib/unit.h"

#include <string.h>
#include <unistd.h>

static char said[8192];

/* The verdict on one flag; what was said of it stands in `said`. */
static enum config_verdict load(const char *flag, const char *value,
                                struct gateway_settings *settings)
{
    char *args[] = {"http-gateway", (char *)flag, (char *)value, NULL};
    char *nothing[] = {NULL};
    struct capture capture;
    enum config_verdict verdict;

    capture_begin(&capture, STDERR_FILENO);
    verdict = config_load(&gateway_program, 3, args, nothing, settings, NULL);
    capture_end(&capture, said, sizeof said);
    return verdict;
}

static void the_access_log_has_words_and_shares(void **state)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {{"off", -1}, {"errors", 0}, {"all", 1}, {"0", 0}, {"0.25", 0.25}, {"1", 1}};
    struct gateway_settings settings = {0};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(load("--access-log", good[i].text, &settings), CONFIG_RUN);
        assert_true(settings.access_log >= good[i].value && settings.access_log <= good[i].value);
        config_free(&gateway_program, &settings, NULL);
    }
}

static void what_else_it_might_be_is_refused(void **state)
{
    static const char *const bad[] = {"on", "-1", "1.5", "2", "Errors", "50%", "none", ".5"};
    struct gateway_settings settings = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(load("--access-log", bad[i], &settings), CONFIG_EXIT_USAGE);
        assert_non_null(strstr(said, bad[i]));
        assert_non_null(strstr(said, "--access-log"));
        assert_non_null(strstr(said, "off, errors, all, or a number from 0 to 1, like 0.25"));
    }
}

static void errors_are_logged_unless_told_otherwise(void **state)
{
    struct gateway_settings settings = {0};

    (void)state;
    assert_int_equal(load("--source", "/x", &settings), CONFIG_RUN);
    assert_true(settings.access_log >= 0 && settings.access_log <= 0);
    config_free(&gateway_program, &settings, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_access_log_has_words_and_shares),
        cmocka_unit_test(what_else_it_might_be_is_refused),
        cmocka_unit_test(errors_are_logged_unless_told_otherwise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
