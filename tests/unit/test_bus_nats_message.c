/* Messages of nats.c. */
#include "common/bus_nats.h"
#include "tests/lib/unit.h"

#include <dlfcn.h>

static const char *file_of(const void *address)
{
    Dl_info info;
    assert_int_not_equal(dladdr(address, &info), 0);
    return info.dli_fname;
}

/* What natsMsg_Destroy calls is the first definition, in the order of loading. */
static void messages_are_freed_at_once_and_not_by_a_thread(void **state)
{
    static const char of_this_program;
    void *asked = dlsym(RTLD_DEFAULT, "natsGC_collect");
    bool (*collect)(void *item);
    natsMsg *msg = NULL;
    (void)state;
    assert_non_null(asked);
    assert_string_equal(file_of(asked), file_of(&of_this_program));
    memcpy(&collect, &asked, sizeof collect);
    assert_int_equal(natsMsg_Create(&msg, "a", NULL, "text", 4), NATS_OK);
    assert_false(collect(msg));
    natsMsg_Destroy(msg);
}

/* What a message says besides its parts; it is as large as was foretold. */
static void assert_encoded(const struct bus_message *m, const char *headers, const char *payload)
{
    natsMsg *msg;
    char reply[] = "inbox.1-1";
    assert_true(nats_layout_is_known());
    assert_int_equal(nats_encode(m, reply, &msg), NATS_OK);
    assert_string_equal(natsMsg_GetSubject(msg), m->subject);
    assert_string_equal(natsMsg_GetReply(msg), reply);
    assert_int_equal(natsMsg_GetDataLength(msg), strlen(payload));
    assert_string_equal(natsMsg_GetData(msg), payload);
    const char *at = natsMsg_GetReply(msg) + strlen(reply) + 1;
    if (headers)
        assert_string_equal(at, headers);
    else
        assert_ptr_equal(at, natsMsg_GetData(msg));
    assert_int_equal(nats_encoded_size(m), (headers ? strlen(headers) : 0) + strlen(payload));
    natsMsg_Destroy(msg);
}

static void headers_are_encoded_as_nats_has_them(void **state)
{
    const struct bus_header headers[] = {{"ce-subject", VIEW("a b")},
                                         {"ce-s", VIEW("b")},
                                         {"empty", {NULL, 0}},
                                         {"x", VIEW("1")},
                                         {"x", VIEW("2")}};
    struct bus_message m = {.subject = "a.b", .payload = VIEW("text")};
    (void)state;
    assert_encoded(&m, NULL, "text");
    m.message_id = "id-1";
    assert_encoded(&m, "NATS/1.0\r\nNats-Msg-Id: id-1\r\n\r\n", "text");
    m.headers = headers;
    m.header_count = 1;
    m.payload.len = 0;
    assert_encoded(&m, "NATS/1.0\r\nNats-Msg-Id: id-1\r\nce-subject: a b\r\n\r\n", "");
    m.message_id = NULL;
    m.headers = &headers[2];
    assert_encoded(&m, NULL, "");
    m.header_count = 3;
    assert_encoded(&m, "NATS/1.0\r\nx: 1\r\nx: 2\r\n\r\n", "");
}

/* nats.c takes it for one that it has received, and reads it so. */
static void the_library_reads_what_was_encoded(void **state)
{
    const struct bus_header header = {"ce-type", VIEW("order.created")};
    const struct bus_message m = {.subject = "a", .headers = &header, .header_count = 1};
    const char *value = NULL;
    natsMsg *msg;
    (void)state;
    assert_int_equal(nats_encode(&m, "r", &msg), NATS_OK);
    assert_int_equal(natsMsgHeader_Get(msg, "ce-type", &value), NATS_OK);
    assert_string_equal(value, "order.created");
    natsMsg_Destroy(msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_freed_at_once_and_not_by_a_thread),
        cmocka_unit_test(headers_are_encoded_as_nats_has_them),
        cmocka_unit_test(the_library_reads_what_was_encoded),
    };
    return cmocka_run_group_tests_name("bus_nats_message", tests, NULL, NULL);
}
