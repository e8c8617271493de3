/* Messages to be published with a nats.c of which we don't know how it lays them out: it encodes
 * their headers itself. */
#include "common/bus_nats.h"
#include "common/mem.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <stdlib.h>

/* In place of the library's, and later than all that we know. */
uint32_t nats_GetVersionNumber(void)
{
    return 0xff0000;
}

static char long_value[10000];
static const struct bus_header headers[] = {{"ce-subject", {"a", sizeof "a" - 1}},
                                            {"ce-s", {"b", sizeof "b" - 1}},
                                            {"empty", {NULL, 0}},
                                            {"twice", {"1", sizeof "1" - 1}},
                                            {"twice", {"2", sizeof "2" - 1}},
                                            {"long", {long_value, sizeof long_value - 1}}};
static const struct bus_message message = {.subject = "s",
                                           .headers = headers,
                                           .header_count = sizeof headers / sizeof *headers,
                                           .payload = {"text", sizeof "text" - 1},
                                           .message_id = "id"};

static void assert_value(natsMsg *msg, const char *name, const char *expected)
{
    const char *value = NULL;
    assert_int_equal(natsMsgHeader_Get(msg, name, &value), NATS_OK);
    assert_string_equal(value, expected);
}

static void headers_are_given_to_the_library(void **state)
{
    natsMsg *msg;
    const char **values, **names;
    int count;
    (void)state;
    memset(long_value, 'x', sizeof long_value - 1);
    assert_false(nats_layout_is_known());
    assert_int_equal(nats_encode(&message, "reply.1", &msg), NATS_OK);
    assert_string_equal(natsMsg_GetSubject(msg), "s");
    assert_string_equal(natsMsg_GetReply(msg), "reply.1");
    assert_string_equal(natsMsg_GetData(msg), "text");
    assert_value(msg, "Nats-Msg-Id", "id");
    assert_value(msg, "ce-s", "b");
    assert_value(msg, "ce-subject", "a");
    assert_value(msg, "long", long_value);
    assert_int_equal(natsMsgHeader_Values(msg, "twice", &values, &count), NATS_OK);
    assert_int_equal(count, 2);
    assert_string_equal(values[1], "2");
    free((void *)values);
    assert_int_equal(natsMsgHeader_Keys(msg, &names, &count), NATS_OK);
    assert_int_equal(count, 5); /* not the empty one */
    free((void *)names);
    natsMsg_Destroy(msg);
}

static void short_memory_makes_no_message(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        natsMsg *msg = NULL;
        natsStatus s = nats_encode(&message, "reply.1", &msg);
        assert_int_equal(s, each_failure_end(&f) ? NATS_NO_MEMORY : NATS_OK);
        natsMsg_Destroy(msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_given_to_the_library),
        cmocka_unit_test(short_memory_makes_no_message),
    };
    return cmocka_run_group_tests_name("bus_nats_unknown", tests, NULL, NULL);
}
