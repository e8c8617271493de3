/* GET /api/v1/events/{id}: the gateway's side, with a processor that says what it is told.
 */
#include "common/mem.h"
#include "tests/lib/status_peer.h"
#include "tests/lib/unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ID STATUS_PEER_ID

#define reply gateway_peer_reply

static void assert_body(const char *expected)
{
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, expected);
}

static void basic_view(void **state)
{
    struct event_status status = status_peer_basic();

    (void)state;
    status.updated_ms = 1767323045000; /* seconds are what BASIC has */
    status_peer_answer(ERR_NONE, NULL, &status);
    status_peer_get("/api/v1/events/" ID);
    assert_body("{\"event_id\":\"" ID "\",\"status\":\"processed\",\"name\":\"order.created\","
                "\"attempt\":1,\"generation\":0,\"updated_at\":\"2026-01-02T03:04:05.000Z\","
                "\"event_position\":7,\"position\":11}\n");
    assert_string_equal(status_peer_asked().id, ID);
    assert_string_equal(status_peer_asked().source, GATEWAY_PEER_SOURCE);
    assert_false(status_peer_asked().full);
    assert_int_equal(status_peer_asked().position, 0);
}

static void what_is_asked_is_passed_on(void **state)
{
    struct event_status status = status_peer_basic();

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &status);
    status_peer_get("/api/v1/events/some%20id%2F7?view=full&min_position=42");
    assert_int_equal(reply.status, 200);
    assert_string_equal(status_peer_asked().id, "some id/7");
    assert_true(status_peer_asked().full);
    assert_int_equal(status_peer_asked().position, 42);
    status_peer_get("/api/v1/events/" ID "?view=basic");
    assert_false(status_peer_asked().full);
}

static void producers_ids_and_sources(void **state)
{
    static const struct {
        const char *path, *id, *source;
    } cases[] = {
        {"/api/v1/events/123?source=/shop", "123", "/shop"},
        {"/api/v1/events/123?source=", "123", "/the default"},
        {"/api/v1/events/a%2Fb%2fc?source=https%3A%2F%2Fexample.com%2F%3Fa%3Db%26c", "a/b/c",
         "https://example.com/?a=b&c"},
        {"/api/v1/events/caf%C3%A9%20%F0%9F%90%8C?source=%2Fcaf%C3%A9+%231",
         "caf\xC3\xA9 \xF0\x9F\x90\x8C", "/caf\xC3\xA9 #1"},
        {"/api/v1/events/100%25%3F?view=full", "100%?", "/the default"},
        {"/api/v1/events/a+b?view=full&source=urn:x", "a+b", "urn:x"},
    };
    struct event_status status = status_peer_basic();

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &status);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        status_peer_get(cases[i].path);
        assert_int_equal(reply.status, 200);
        assert_string_equal(status_peer_asked().id, cases[i].id);
        assert_string_equal(status_peer_asked().source, cases[i].source);
    }
}

static void ids_and_sources_have_limits(void **state)
{
    struct event_status status = status_peer_basic();
    char path[1024];

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &status);
    snprintf(path, sizeof path, "/api/v1/events/%0256d?source=%0512d", 7, 7);
    status_peer_get(path);
    assert_int_equal(reply.status, 200);
    assert_int_equal(strlen(status_peer_asked().id), EVENT_PRODUCER_ID_MAX);
    assert_int_equal(strlen(status_peer_asked().source), EVENT_SOURCE_MAX);
    snprintf(path, sizeof path, "/api/v1/events/%0257d", 7);
    status_peer_get(path);
    assert_int_equal(reply.status, 422);
    snprintf(path, sizeof path, "/api/v1/events/7?source=%0513d", 7);
    status_peer_get(path);
    assert_int_equal(reply.status, 422);
}

static const struct event_extension extensions[] = {{{"custom", 6}, {"a \"b\"", 5}},
                                                    {{"n", 1}, {"7", 1}}};

static const struct event_status_change history[] = {
    {.state = {.status = STATUS_ACCEPTED}, .time_ms = 1767323045678, .position = 7},
    {.state = {.status = STATUS_DEAD, .attempt = 3, .generation = 1},
     .time_ms = 1767323046000,
     .position = 11,
     .processor = {"p-1", 3},
     .error = {"no \"luck\"", 9}},
};

static void full_view(void **state)
{
    struct event_status status = status_peer_basic();

    (void)state;
    status.full = true;
    status.producer_id = VIEW("7");
    status.source = VIEW("/shop");
    status.key = VIEW("k");
    status.has_time = true;
    status.time_ms = 1767323045678;
    status.content_type = VIEW("application/json");
    status.subject = VIEW("order 7");
    status.dataschema = VIEW("https://example.com/order");
    status.extensions = extensions;
    status.extension_count = 2;
    status.payload = VIEW("{\"n\": 1.50}");
    status.history = history;
    status.history_count = 2;
    status_peer_answer(ERR_NONE, NULL, &status);
    status_peer_get("/api/v1/events/" ID "?view=full");
    assert_body(
        "{\"event_id\":\"" ID "\",\"status\":\"processed\",\"name\":\"order.created\","
        "\"attempt\":1,\"generation\":0,\"updated_at\":\"2026-01-02T03:04:05.678Z\","
        "\"event_position\":7,\"position\":11,\"id\":\"7\",\"source\":\"/shop\",\"key\":\"k\","
        "\"subject\":\"order 7\",\"time\":\"2026-01-02T03:04:05.678Z\","
        "\"content_type\":\"application/json\",\"dataschema\":\"https://example.com/order\","
        "\"extensions\":{\"custom\":\"a \\\"b\\\"\",\"n\":\"7\"},"
        "\"payload\":{\"n\": 1.50},\"history\":["
        "{\"status\":\"accepted\",\"attempt\":0,\"generation\":0,"
        "\"time\":\"2026-01-02T03:04:05.678Z\",\"position\":7},"
        "{\"status\":\"dead\",\"attempt\":3,\"generation\":1,"
        "\"time\":\"2026-01-02T03:04:06.000Z\",\"position\":11,\"processor\":\"p-1\","
        "\"error\":\"no \\\"luck\\\"\"}],\"error\":\"no \\\"luck\\\"\"}\n");
}

static void the_epoch_is_a_time(void **state)
{
    struct event_status status = status_peer_basic();

    (void)state;
    status.full = true;
    status.producer_id = VIEW("7");
    status.has_time = true;
    status_peer_answer(ERR_NONE, NULL, &status);
    status_peer_get("/api/v1/events/" ID "?view=full");
    assert_non_null(strstr(reply.body, "\"time\":\"1970-01-01T00:00:00.000Z\""));
}

static void payloads_that_are_no_json(void **state)
{
    static const struct {
        struct view type, payload;
        const char *base64, *text;
    } payloads[] = {
        {{"text/plain", 10}, {"f", 1}, "Zg==", ""},
        {{"text/plain", 10}, {"fo", 2}, "Zm8=", ""},
        {{"text/plain", 10}, {"foo", 3}, "Zm9v", ""},
        {{"", 0}, {"\xff\x00\xfe", 3}, "/wD+", ""},
        {{"application/json", 16}, {"{broken", 7}, "e2Jyb2tlbg==", ""},
        {{"application/vnd.x+json; v=1", 27}, {"\"text\"", 6}, "", "text"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        struct event_status status = status_peer_basic();

        status.full = true;
        status.producer_id = VIEW("7");
        status.content_type = payloads[i].type;
        status.payload = payloads[i].payload;
        status_peer_answer(ERR_NONE, NULL, &status);
        status_peer_get("/api/v1/events/" ID "?view=full");
        assert_int_equal(reply.status, 200);
        assert_string_equal(gateway_peer_member("payload_base64"), payloads[i].base64);
        assert_string_equal(gateway_peer_member("payload"), payloads[i].text);
    }
}

/* As large as an event may be: --max-body and a bus allow no more than 64 MiB. To ThreadSanitizer,
 * slow with each byte, a smaller one says the same. */
#ifdef __SANITIZE_THREAD__
enum { LARGEST = 4 << 20 };
#else
enum { LARGEST = 64 << 20 };
#endif

static void the_largest_payload_is_told(void **state)
{
    struct event_status status = status_peer_basic();
    size_t size = LARGEST;
    char *payload = mem_zero(1, size);

    (void)state;
    assert_non_null(payload);
    memset(payload, '1', size);
    status.full = true;
    status.producer_id = VIEW("7");
    status.content_type = VIEW("application/json");
    status.payload = (struct view){payload, size};
    status_peer_answer(ERR_NONE, NULL, &status);
    raw_exchange(gateway_peer_port(),
                 "HEAD /api/v1/events/" ID "?view=full HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 200);
    status_peer_answer(ERR_NOT_FOUND, "", NULL); /* it is let go of */
    mem_free(payload);
}

static void failures_become_problems(void **state)
{
    static const struct {
        enum err e;
        int status;
    } failures[] = {
        {ERR_NOT_FOUND, 404}, {ERR_UNAVAILABLE, 503}, {ERR_OUT_OF_RANGE, 400},  {ERR_INVALID, 422},
        {ERR_CANCELLED, 503}, {ERR_INTERNAL, 500},    {ERR_UNIMPLEMENTED, 500}, {ERR_BUSY, 429},
    };

    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        status_peer_answer(failures[i].e, "what the processor said", NULL);
        status_peer_get("/api/v1/events/" ID);
        if (reply.status != failures[i].status ||
            !strstr(gateway_peer_member("detail"), "what the processor said"))
            fail_msg("%d: %d %s", (int)failures[i].e, reply.status, reply.body);
    }
}

static void an_unknown_id_says_how_ids_are_looked_up(void **state)
{
    (void)state;
    status_peer_answer(ERR_NOT_FOUND, "no event has this id", NULL);
    status_peer_get("/api/v1/events/123");
    assert_int_equal(reply.status, 404);
    assert_non_null(
        strstr(gateway_peer_member("detail"), "the id \"123\" and the source \"/the default\""));
    status_peer_get("/api/v1/events/123?source=/shop");
    assert_non_null(strstr(gateway_peer_member("detail"), "the source \"/shop\""));
    status_peer_get("/api/v1/events/" ID);
    assert_string_equal(gateway_peer_member("detail"), "no event has this id");
}

static void bad_parameters(void **state)
{
    static const char *const paths[] = {
        "/api/v1/events/1?view=everything",
        "/api/v1/events/1?source=a&source=b",
        "/api/v1/events/1?min_position=x",
        "/api/v1/events/1?min_position=-1",
        "/api/v1/events/1?min_position=",
        "/api/v1/events/%ff",
        "/api/v1/events/a%00b",
        "/api/v1/events/a?source=%ff",
        "/api/v1/events/a?source=a%00",
        "/api/v1/events/a?b&b&b&b&b&b&b&b&b&b&b&b&b&b&b&b&source=c"};

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        status_peer_get(paths[i]);
        if (reply.status != 422)
            fail_msg("%s: %d", paths[i], reply.status);
    }
}

static void parameters_that_there_are_not(void **state)
{
    (void)state;
    status_peer_get("/api/v1/events/1?veiw=full");
    gateway_peer_must_be(422);
    assert_string_equal(
        gateway_peer_member("detail"),
        "there is no query parameter \"veiw\" here; allowed: min_position, source, view, wait");
    status_peer_get("/api/v1/replays/" ID "?view=full");
    gateway_peer_must_be(422);
    assert_non_null(strstr(gateway_peer_member("detail"), "allowed: none"));
}

/* ---- entity tags ---- */

static void tag_of(const char *path, char tag[512])
{
    status_peer_get(path);
    gateway_peer_must_be(200);
    assert_true(raw_header(&reply, "ETag", tag));
    assert_memory_equal(tag, "W/\"", 3);
}

static void what_is_known_already_is_not_sent_again(void **state)
{
    struct event_status status = status_peer_basic();
    char tag[512], again[512], header[600];

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &status);
    tag_of("/api/v1/events/" ID, tag);
    assert_true(raw_header(&reply, "Cache-Control", again));
    assert_string_equal(again, "private, no-cache");
    status.position++; /* other events go on */
    status_peer_answer(ERR_NONE, NULL, &status);
    snprintf(header, sizeof header, "If-None-Match: %s\r\n", tag);
    for (int i = 0; i < 2; i++) {
        status_peer_send(i == 0 ? "GET" : "HEAD", "/api/v1/events/" ID, header);
        gateway_peer_must_be(304);
        assert_string_equal(reply.body, "");
        assert_false(raw_header(&reply, "Content-Length", again));
        assert_true(raw_header(&reply, "ETag", again));
        assert_string_equal(again, tag);
    }
}

static void a_tag_is_one_answers(void **state)
{
    struct event_status statuses[6];
    char tags[6][512];

    (void)state;
    for (size_t i = 0; i < 6; i++)
        statuses[i] = status_peer_basic();
    statuses[1].state.generation = 1;
    statuses[2].state.attempt = 2;
    statuses[3].state.status = STATUS_DEAD;
    statuses[4].event_position = 8; /* published anew, from its letter */
    statuses[5].full = true;
    statuses[5].producer_id = VIEW("7");
    for (size_t i = 0; i < 6; i++) {
        status_peer_answer(ERR_NONE, NULL, &statuses[i]);
        tag_of("/api/v1/events/" ID, tags[i]);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(tags[i], tags[j]);
    }
}

static void problems_have_no_tag(void **state)
{
    char value[512];

    (void)state;
    status_peer_answer(ERR_NOT_FOUND, "no event has this id", NULL);
    status_peer_send("GET", "/api/v1/events/" ID, "If-None-Match: *\r\n");
    gateway_peer_must_be(404);
    assert_false(raw_header(&reply, "ETag", value));
}

static void readiness_names_the_processor(void **state)
{
    (void)state;
    status_peer_get("/ready");
    assert_non_null(strstr(reply.body, "\"reads\":true,"));
    assert_non_null(strstr(reply.body, "\"processor\":\"ok\""));
    gateway_peer_set_serving(false);
    status_peer_get("/ready");
    assert_non_null(strstr(reply.body, "\"processor\":\"reachable but not serving\""));
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* It takes connections and says nothing, as if stopped. */
static void readiness_does_not_wait_for_a_processor_that_hangs(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char target[64];
    int64_t begin;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", ntohs(address.sin_port));
    gateway_peer_use(target);
    begin = now_ms();
    status_peer_get("/ready");
    assert_in_range(now_ms() - begin, 0, 900); /* a probe's usual second */
    assert_non_null(strstr(reply.body, "\"processor\":\"unreachable: "));
    close(fd);
}

static void no_processor_means_unavailable(void **state)
{
    (void)state;
    gateway_peer_use("ipv4:127.0.0.1:1");
    status_peer_get("/api/v1/events/" ID);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(gateway_peer_member("detail"), "no processor can say"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(basic_view),
        cmocka_unit_test(what_is_asked_is_passed_on),
        cmocka_unit_test(producers_ids_and_sources),
        cmocka_unit_test(ids_and_sources_have_limits),
        cmocka_unit_test(full_view),
        cmocka_unit_test(the_epoch_is_a_time),
        cmocka_unit_test(payloads_that_are_no_json),
        cmocka_unit_test(the_largest_payload_is_told),
        cmocka_unit_test(failures_become_problems),
        cmocka_unit_test(an_unknown_id_says_how_ids_are_looked_up),
        cmocka_unit_test(bad_parameters),
        cmocka_unit_test(parameters_that_there_are_not),
        cmocka_unit_test(what_is_known_already_is_not_sent_again),
        cmocka_unit_test(a_tag_is_one_answers),
        cmocka_unit_test(problems_have_no_tag),
        cmocka_unit_test(readiness_names_the_processor),
        cmocka_unit_test(readiness_does_not_wait_for_a_processor_that_hangs),
        cmocka_unit_test(no_processor_means_unavailable),
    };

    return cmocka_run_group_tests(tests, status_peer_start, status_peer_stop);
}
