#include "event-processor/handlers.h"

#include "tests/lib/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

static int random_calls;

/* The kernel has no random numbers for this program. */
ssize_t getrandom(void *buffer, size_t length, unsigned int flags)
{
    (void)buffer;
    (void)length;
    (void)flags;
    random_calls++;
    errno = ENOSYS;
    return -1;
}

static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } rows[] = {
        {">", "a", true},
        {">", "a.b.c", true},
        {">", "", false},
        {"*", "a", true},
        {"*", "a.b", false},
        {"order.created", "order.created", true},
        {"order.created", "order.create", false},
        {"order.created", "order.createdx", false},
        {"order.created", "order", false},
        {"order.created", "order.created.now", false},
        {"order.>", "order.created", true},
        {"order.>", "order.created.now", true},
        {"order.>", "order", false},
        {"order.>", "orders.created", false},
        {"order.*", "order.created", true},
        {"order.*", "order", false},
        {"order.*", "order.created.now", false},
        {"*.created", "order.created", true},
        {"*.created", "order.deleted", false},
        {"*.*.>", "a.b.c.d", true},
        {"*.*.>", "a.b", false},
        {"a.*.c", "a.b.c", true},
        {"a.*.c", "a.b.d", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (handlers_match(rows[i].pattern, view_of(rows[i].name)) != rows[i].matches)
            fail_msg("%s and %s: expected %d", rows[i].pattern, rows[i].name, rows[i].matches);
}

#define ENTRY(pattern, name)               \
    {                                      \
        .match = (pattern), .kind = (name) \
    }

static enum err open_these(struct config_handler *list, size_t count, struct handlers **ret,
                           struct err_detail *detail)
{
    static struct handler_tools tools;
    struct config_handlers config = {.list = list, .count = count};
    return handlers_open(&config, &tools, ret, detail);
}

static void test_the_first_match_gets_the_event(void **state)
{
    (void)state;
    struct config_handler list[] = {ENTRY("order.>", "simulate"), ENTRY("order.created", "log"),
                                    ENTRY("demo.*", "log"), ENTRY(">", "simulate")};
    struct handlers *handlers;
    struct err_detail detail;
    assert_int_equal(open_these(list, 4, &handlers, &detail), ERR_NONE);
    assert_string_equal(handlers_find(handlers, VIEW("order.created"))->kind->name, "simulate");
    assert_string_equal(handlers_find(handlers, VIEW("demo.a"))->kind->name, "log");
    assert_string_equal(handlers_find(handlers, VIEW("demo.a.b"))->kind->name, "simulate");
    assert_string_equal(handlers_find(handlers, VIEW(""))->kind->name, "simulate");
    assert_ptr_not_equal(handlers_find(handlers, VIEW("order.a")),
                         handlers_find(handlers, VIEW("other")));
    handlers_close(handlers);
}

static void test_without_any_all_events_are_logged(void **state)
{
    (void)state;
    struct handlers *handlers;
    struct err_detail detail;
    assert_int_equal(open_these(NULL, 0, &handlers, &detail), ERR_NONE);
    assert_string_equal(handlers_find(handlers, VIEW("any.thing"))->kind->name, "log");
    handlers_close(handlers);
}

static void test_policies_are_as_given_or_by_default(void **state)
{
    (void)state;
    struct config_handler list[] = {{.match = "a",
                                     .kind = "log",
                                     .max_attempts = 3,
                                     .backoff_ms = 20,
                                     .backoff_max_ms = 70,
                                     .timeout_ms = 50,
                                     .concurrency = 9},
                                    {.match = "b", .kind = "log", .backoff_ms = 3600000},
                                    {.match = "c", .kind = "log", .backoff_max_ms = 10},
                                    ENTRY(">", "log")};
    struct handler_tools tools = {.concurrency = 77};
    struct config_handlers config = {.list = list, .count = 4};
    struct handlers *handlers;
    assert_int_equal(handlers_open(&config, &tools, &handlers, NULL), ERR_NONE);
    static const struct retry_policy expected[] = {{3, 20, 70, 50, 9},
                                                   {8, 3600000, 3600000, 30000, 77},
                                                   {8, 10, 10, 30000, 77},
                                                   {8, 1000, 300000, 30000, 77}};
    assert_int_equal(handlers_count(handlers), 4);
    for (size_t i = 0; i < 4; i++) {
        const struct handler *handler = handlers_at(handlers, i);
        assert_int_equal(handler->index, i);
        assert_int_equal(handler->retry->max_attempts, expected[i].max_attempts);
        assert_int_equal(handler->retry->backoff_ms, expected[i].backoff_ms);
        assert_int_equal(handler->retry->backoff_max_ms, expected[i].backoff_max_ms);
        assert_int_equal(handler->retry->timeout_ms, expected[i].timeout_ms);
        assert_int_equal(handler->retry->concurrency, expected[i].concurrency);
    }
    assert_ptr_equal(handlers_find(handlers, VIEW("b")), handlers_at(handlers, 1));
    handlers_close(handlers);
}

static void refused(struct config_handler *list, size_t count, const char *named)
{
    struct handlers *handlers = NULL;
    struct err_detail detail = {""};
    assert_int_equal(open_these(list, count, &handlers, &detail), ERR_INVALID);
    assert_null(handlers);
    if (!strstr(detail.text, named))
        fail_msg("\"%s\" does not name %s", detail.text, named);
}

static void test_bad_lists_are_refused_with_the_reason(void **state)
{
    (void)state;
    refused((struct config_handler[]){ENTRY("order.>", "log")}, 1, "must match everything");
    refused((struct config_handler[]){ENTRY(">", "log"), ENTRY("order.>", "log")}, 2,
            "never be reached");
    refused((struct config_handler[]){ENTRY(">", "webhok")}, 1, "allowed are log and simulate");
    static char *const patterns[] = {"",   ".",  "a.",  ".a",    "a..b", ">.a",
                                     "a*", "a>", "a b", "a.>.b", "**",   "ä"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        refused((struct config_handler[]){ENTRY(patterns[i], "log"), ENTRY(">", "log")}, 2,
                "is no pattern");
}

static void test_simulate_starts_without_random_numbers(void **state)
{
    (void)state;
    char all[] = ">", simulate[] = "simulate";
    struct config_handler list = {.match = all, .kind = simulate};
    struct config_handlers config = {.list = &list, .count = 1};
    struct handler_tools tools = {.concurrency = 1};
    struct handlers *handlers;
    random_calls = 0;
    assert_int_equal(handlers_open(&config, &tools, &handlers, NULL), ERR_NONE);
    assert_int_equal(random_calls, 1);
    handlers_close(handlers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_simulate_starts_without_random_numbers),
        cmocka_unit_test(test_the_first_match_gets_the_event),
        cmocka_unit_test(test_without_any_all_events_are_logged),
        cmocka_unit_test(test_policies_are_as_given_or_by_default),
        cmocka_unit_test(test_bad_lists_are_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
