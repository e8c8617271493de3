#include "common/rpc.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/rpc_descriptors.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/grpc_stream.h"
#include "tests/lib/rpc_fixture.h"
#include "tests/lib/unit.h"

#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"

#include <stdlib.h>

#define V1 "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define V1ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
#define REQUEST(member) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##member
#define RESPONSE(member) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##member

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;

extern const unsigned char tidings_descriptors[];
extern const size_t tidings_descriptors_size;

static struct buf message;
static struct grpc_stream *stream;

static int setup_on(void **state, const char *path)
{
    static struct rpc_fixture f;
    rpc_fixture_start(&f);
    buf_init(&message, 1 << 20);
    stream = grpc_stream_open(f.port, path, 60000);
    *state = &f;
    return 0;
}

static int setup(void **state)
{
    return setup_on(state, V1);
}

static int setup_alpha(void **state)
{
    return setup_on(state, V1ALPHA);
}

static int teardown(void **state)
{
    grpc_stream_close(stream);
    rpc_fixture_stop(*state, RPC_WAIT_MS);
    buf_free(&message);
    return 0;
}

static void send_request(const Request *request)
{
    uint8_t bytes[1024];
    size_t len = grpc__reflection__v1__server_reflection_request__pack(request, bytes);
    grpc_stream_send(stream, (struct view){(char *)bytes, len});
}

/* Sends a request and returns the answer, to be freed with response_free. */
static Response *ask(const Request *request)
{
    send_request(request);
    assert_true(grpc_stream_receive(stream, &message, GRPC_STREAM_WAIT_MS));
    Response *response = grpc__reflection__v1__server_reflection_response__unpack(
        NULL, message.len, (uint8_t *)message.data);
    assert_non_null(response);
    assert_string_equal(response->valid_host, request->host);
    assert_non_null(response->original_request);
    assert_int_equal(response->original_request->message_request_case,
                     request->message_request_case);
    return response;
}

static void response_free(Response *response)
{
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
}

static Response *ask_file(const char *name)
{
    Request m;
    grpc__reflection__v1__server_reflection_request__init(&m);
    m.host = "localhost";
    m.message_request_case = REQUEST(FILE_BY_FILENAME);
    m.file_by_filename = (char *)name;
    return ask(&m);
}

static Response *ask_symbol(const char *name)
{
    Request m;
    grpc__reflection__v1__server_reflection_request__init(&m);
    m.message_request_case = REQUEST(FILE_CONTAINING_SYMBOL);
    m.file_containing_symbol = (char *)name;
    return ask(&m);
}

/* The answer must hold these files, the first one first. */
static void check_files(Response *response, const char *first, size_t count)
{
    assert_int_equal(response->message_response_case, RESPONSE(FILE_DESCRIPTOR_RESPONSE));
    assert_int_equal(response->file_descriptor_response->n_file_descriptor_proto, count);
    ProtobufCBinaryData bytes = response->file_descriptor_response->file_descriptor_proto[0];
    Google__Protobuf__FileDescriptorProto *file =
        google__protobuf__file_descriptor_proto__unpack(NULL, bytes.len, bytes.data);
    assert_non_null(file);
    assert_string_equal(file->name, first);
    assert_string_equal(file->syntax, "proto3");
    google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
    response_free(response);
}

static void check_error(Response *response, int code)
{
    assert_int_equal(response->message_response_case, RESPONSE(ERROR_RESPONSE));
    assert_int_equal(response->error_response->error_code, code);
    assert_true(response->error_response->error_message[0] != '\0');
    response_free(response);
}

static void services_that_are_served_are_listed(void **state)
{
    static const char *const expected[] = {"test.Service", "grpc.health.v1.Health",
                                           "grpc.reflection.v1.ServerReflection",
                                           "grpc.reflection.v1alpha.ServerReflection"};
    Request m;
    (void)state;
    grpc__reflection__v1__server_reflection_request__init(&m);
    m.message_request_case = REQUEST(LIST_SERVICES);
    m.list_services = "*";
    Response *response = ask(&m);
    assert_int_equal(response->message_response_case, RESPONSE(LIST_SERVICES_RESPONSE));
    assert_int_equal(response->list_services_response->n_service, 4);
    for (int i = 0; i < 4; i++)
        assert_string_equal(response->list_services_response->service[i]->name, expected[i]);
    response_free(response);
}

static void files_come_with_what_they_need(void **state)
{
    (void)state;
    check_files(ask_file("events.proto"), "events.proto", 2);
    check_files(ask_file("google/protobuf/timestamp.proto"), "google/protobuf/timestamp.proto", 1);
    check_files(ask_file("grpc/health/v1/health.proto"), "grpc/health/v1/health.proto", 1);
    check_error(ask_file("events"), 5);
    check_error(ask_file(""), 5);
    check_error(ask_file("status_log.proto"), 5); /* not public */
}

static void symbols_lead_to_their_files(void **state)
{
    static const char *const symbols[] = {"events.EventService",
                                          "events.EventService.GetEventStatus",
                                          "events.EventStatus",
                                          "events.EventStatus.event_id",
                                          "events.EventStatus.Status",
                                          "events.EventStatus.PROCESSED",
                                          "events.EventView",
                                          "events.FULL",
                                          "events.GetStatsResponse.Counts",
                                          "events.GetStatsResponse.Counts.dead"};
    static const char *const absent[] = {"",
                                         "events",
                                         "EventService",
                                         "events.EventServic",
                                         "events.EventServiceX",
                                         "events.EventService.Nothing",
                                         "events.EventStatus.Status.PROCESSED",
                                         ".events.EventService",
                                         "tidings.log.StatusBatch"};
    (void)state;
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++)
        check_files(ask_symbol(symbols[i]), "events.proto", 2);
    check_files(ask_symbol("grpc.reflection.v1alpha.ServerReflectionRequest.message_request"),
                "grpc/reflection/v1alpha/reflection.proto", 1);
    check_files(ask_symbol("google.protobuf.Timestamp.nanos"), "google/protobuf/timestamp.proto",
                1);
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        check_error(ask_symbol(absent[i]), 5);
}

static void there_are_no_extensions(void **state)
{
    Request m;
    Grpc__Reflection__V1__ExtensionRequest extension;
    (void)state;
    grpc__reflection__v1__server_reflection_request__init(&m);
    m.message_request_case = REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE);
    m.all_extension_numbers_of_type = "events.EventStatus";
    check_error(ask(&m), 5);
    grpc__reflection__v1__extension_request__init(&extension);
    extension.containing_type = "events.EventStatus";
    extension.extension_number = 1;
    m.message_request_case = REQUEST(FILE_CONTAINING_EXTENSION);
    m.file_containing_extension = &extension;
    check_error(ask(&m), 5);
}

static void a_request_for_nothing_is_an_error_and_the_stream_goes_on(void **state)
{
    Request m;
    (void)state;
    grpc__reflection__v1__server_reflection_request__init(&m);
    check_error(ask(&m), 3);
    check_files(ask_file("events.proto"), "events.proto", 2);
    grpc_stream_half_close(stream);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 0);
}

static void what_is_no_request_ends_the_stream(void **state)
{
    (void)state;
    grpc_stream_send(stream, VIEW("\xFF\xFF\xFF"));
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 3);
}

static bool cancelled_once(void *f)
{
    return rpc_fixture_count(f, &V1[1], "CANCELLED") == 1;
}

static void a_caller_that_gives_up_leaves_nothing_behind(void **state)
{
    check_files(ask_file("events.proto"), "events.proto", 2);
    grpc_stream_cancel(stream);
    assert_true(rpc_wait_until(cancelled_once, *state));
}

/* Answers beyond what HTTP/2's flow control lets through stop the server in the middle of a write.
 */
static void a_caller_that_gives_up_unread_answers_leaves_nothing_behind(void **state)
{
    Request m;
    grpc__reflection__v1__server_reflection_request__init(&m);
    m.message_request_case = REQUEST(FILE_BY_FILENAME);
    m.file_by_filename = "events.proto";
    for (int i = 0; i < 100; i++)
        send_request(&m);
    assert_true(grpc_stream_receive(stream, &message, GRPC_STREAM_WAIT_MS));
    grpc_stream_cancel(stream);
    assert_true(rpc_wait_until(cancelled_once, *state));
}

static void stopping_does_not_wait_for_open_streams(void **state)
{
    struct rpc_fixture f;
    (void)state;
    buf_init(&message, 1 << 20);
    rpc_fixture_start(&f);
    stream = grpc_stream_open(f.port, V1, 60000);
    check_files(ask_file("events.proto"), "events.proto", 2);
    int64_t before = clock_monotonic_ms(&clock_system);
    rpc_fixture_stop(&f, 60000);
    assert_true(clock_monotonic_ms(&clock_system) - before < RPC_WAIT_MS);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 14);
    grpc_stream_close(stream);
    buf_free(&message);
}

/* ---- the index ---- */

static struct view embedded(void)
{
    return (struct view){(const char *)tidings_descriptors, tidings_descriptors_size};
}

static void short_memory_is_told_and_nothing_leaks(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct rpc_descriptors *d = NULL;
        enum err e = rpc_descriptors_new(embedded(), &d);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        rpc_descriptors_free(d);
    }
}

static void what_is_no_set_of_descriptors_is_refused(void **state)
{
    struct rpc_descriptors *d = NULL;
    (void)state;
    assert_int_equal(rpc_descriptors_new(VIEW("\xFF"), &d), ERR_MALFORMED);
    /* One file, "a", that needs "b", which is not there. */
    assert_int_equal(rpc_descriptors_new(VIEW("\x0A\x06\x0A\x01"
                                              "a"
                                              "\x1A\x01"
                                              "b"),
                                         &d),
                     ERR_MALFORMED);
    assert_int_equal(rpc_descriptors_new(VIEW("\x0A\x00"), &d), ERR_MALFORMED); /* no name */
    assert_null(d);
    assert_int_equal(rpc_descriptors_new(VIEW(""), &d), ERR_NONE);
    assert_int_equal(rpc_descriptors_count(d), 0);
    assert_null(rpc_descriptors_symbol(d, VIEW("x")));
    rpc_descriptors_free(d);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(services_that_are_served_are_listed),
        WITH_SERVER(files_come_with_what_they_need),
        WITH_SERVER(symbols_lead_to_their_files),
        cmocka_unit_test_setup_teardown(symbols_lead_to_their_files, setup_alpha, teardown),
        WITH_SERVER(there_are_no_extensions),
        WITH_SERVER(a_request_for_nothing_is_an_error_and_the_stream_goes_on),
        WITH_SERVER(what_is_no_request_ends_the_stream),
        WITH_SERVER(a_caller_that_gives_up_leaves_nothing_behind),
        WITH_SERVER(a_caller_that_gives_up_unread_answers_leaves_nothing_behind),
        cmocka_unit_test(stopping_does_not_wait_for_open_streams),
        cmocka_unit_test(short_memory_is_told_and_nothing_leaks),
        cmocka_unit_test(what_is_no_set_of_descriptors_is_refused),
    };
    rpc_fixture_gather = true;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
