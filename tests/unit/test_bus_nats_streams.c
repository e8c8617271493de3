/* Streams that the NATS driver finds, makes and checks. */
#include "tests/lib/bus_conformance.h"
#include "tests/lib/nats_peer.h"
#include "tests/lib/nats_server.h"
#include "tests/lib/unit.h"

#include <stdio.h>

enum { READY_AGAIN_MS = 2000 };

static struct nats_server server;
static struct bus_world world;

static void wait_for_state(struct bus *bus, enum bus_state wanted, int64_t limit_ms)
{
    int64_t limit = test_now_ms() + limit_ms;
    while (bus_state(bus, NULL) != wanted) {
        assert_true(test_now_ms() < limit);
        test_sleep_a_little();
    }
}

static void ask_for(const char *verb, const char *name, const char *config)
{
    struct nats_peer *peer = nats_peer_open(server.port);
    char subject[128];
    char answer[4096];
    snprintf(subject, sizeof subject, "$JS.API.STREAM.%s.%s", verb, name);
    nats_peer_ask(peer, subject, config, answer, sizeof answer);
    if (strstr(answer, "\"error\""))
        fail_msg("%s", answer);
    nats_peer_close(peer);
}

static void a_stream_that_breaks_a_promise_is_named_and_can_be_mended(void **state)
{
    static const char good[] = "\"storage\":\"file\",\"retention\":\"limits\",\"discard\":\"new\","
                               "\"deny_delete\":true,\"deny_purge\":true,";
    static const struct {
        const char *
            settings; /* the first of two equal members counts, for the server's parser: the last */
        const char *subject;
        const char *says;
    } cases[] = {
        {"\"storage\":\"memory\"", "broken.>", "nats stream rm BROKEN"},
        {"\"retention\":\"workqueue\"", "broken.>", "retention isn't limits"},
        {"\"retention\":\"interest\"", "broken.>", "retention isn't limits"},
        {"\"discard\":\"old\"", "broken.>", "nats stream edit BROKEN --discard=new"},
        {"\"deny_delete\":false", "broken.>", "nats stream edit BROKEN --deny-delete"},
        {"\"deny_purge\":false", "broken.>", "nats stream edit BROKEN --deny-purge"},
        {"\"no_ack\":true", "broken.>", "nats stream edit BROKEN --ack"},
        {"\"discard\":\"new\"", "broken.only", "nats stream edit BROKEN --subjects=broken.>"},
        {"\"discard\":\"new\"", "broken.*", "nats stream edit BROKEN --subjects=broken.>"},
    };
    const struct bus_options options = {.url = server.url};
    const struct bus_log_spec spec = {
        .name = "BROKEN", .subject = "broken.>", .duplicate_window_ms = 1000, .replicas = 1};
    char config[512];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err_detail detail = {""};
        struct bus *bus = NULL;
        struct bus_log *log = NULL;
        struct bus_receipt receipt;
        const struct bus_message message = {.subject = "broken.only"};
        snprintf(config, sizeof config, "{\"name\":\"BROKEN\",\"subjects\":[\"%s\"],%s%s}",
                 cases[i].subject, good, cases[i].settings);
        ask_for("CREATE", "BROKEN", config);
        assert_int_equal(bus_open(&options, &bus, &detail), ERR_NONE);
        assert_int_equal(bus_log_open(bus, &spec, &log), ERR_NONE);
        assert_int_equal(bus_wait_ready(bus, TEST_LIMIT_MS, &detail), ERR_INVALID);
        if (!strstr(detail.text, cases[i].says))
            fail_msg("\"%s\" doesn't say \"%s\"", detail.text, cases[i].says);
        assert_int_equal(bus_state(bus, NULL), BUS_BROKEN);
        assert_int_equal(bus_publish_wait(log, &message, &receipt), ERR_UNAVAILABLE);
        ask_for("DELETE", "BROKEN", "");
        wait_for_state(bus, BUS_READY, TEST_LIMIT_MS); /* made anew, as it should be */
        bus_close(bus);
        ask_for("DELETE", "BROKEN", "");
    }
}

static void a_stream_that_cannot_be_made_says_why(void **state)
{
    const struct bus_options options = {.url = server.url};
    const struct bus_log_spec spec = {
        .name = "THREE", .subject = "three.>", .duplicate_window_ms = 1000, .replicas = 3};
    struct err_detail detail = {""};
    struct bus *bus = NULL;
    struct bus_log *log = NULL;
    (void)state;
    assert_int_equal(bus_open(&options, &bus, &detail), ERR_NONE);
    assert_int_equal(bus_log_open(bus, &spec, &log), ERR_NONE);
    assert_int_equal(bus_wait_ready(bus, TEST_LIMIT_MS, &detail), ERR_INVALID);
    assert_non_null(strstr(detail.text, "stream THREE: replicas > 1 not supported"));
    bus_close(bus);
}

static void a_stream_deleted_while_running_is_made_again(void **state)
{
    struct bus_fixture f;
    struct bus_receipt receipt = {.outcome = BUS_UNKNOWN};
    char subject[64];
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    snprintf(subject, sizeof subject, "%s.a", f.prefix);
    const struct bus_message message = {.subject = subject, .payload = VIEW("x")};
    ask_for("DELETE", f.name, "");
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_REFUSED);
    assert_int_equal(receipt.why, ERR_UNAVAILABLE);
    assert_int_equal(bus_wait_ready(f.bus, READY_AGAIN_MS, NULL), ERR_NONE);
    assert_int_equal(bus_fixture_publish(&f, "a", "x").position, 1);
    bus_fixture_end(&f);
}

static void what_may_pass_is_not_broken(void **state)
{
    const struct bus_options options = {.url = server.url};
    const struct bus_log_spec spec = {.name = "HUGE",
                                      .subject = "huge.>",
                                      .duplicate_window_ms = 1000,
                                      .max_bytes = (uint64_t)1 << 60,
                                      .replicas = 1};
    struct err_detail detail = {""};
    struct bus *bus = NULL;
    struct bus_log *log = NULL;
    (void)state;
    assert_int_equal(bus_open(&options, &bus, &detail), ERR_NONE);
    assert_int_equal(bus_log_open(bus, &spec, &log), ERR_NONE);
    assert_int_equal(bus_wait_ready(bus, 300, &detail), ERR_DEADLINE);
    assert_non_null(strstr(detail.text, "stream HUGE: insufficient storage resources"));
    assert_int_equal(bus_state(bus, NULL), BUS_CONNECTING);
    ask_for("CREATE", "HUGE",
            "{\"name\":\"HUGE\",\"subjects\":[\"huge.>\"],\"storage\":\"file\","
            "\"retention\":\"limits\",\"discard\":\"new\",\"deny_delete\":true,"
            "\"deny_purge\":true}");
    assert_int_equal(bus_wait_ready(bus, READY_AGAIN_MS, NULL), ERR_NONE);
    bus_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_that_breaks_a_promise_is_named_and_can_be_mended),
        cmocka_unit_test(a_stream_that_cannot_be_made_says_why),
        cmocka_unit_test(what_may_pass_is_not_broken),
        cmocka_unit_test(a_stream_deleted_while_running_is_made_again),
    };
    nats_server_start(&server);
    world.url = server.url;
    int failed = cmocka_run_group_tests_name("bus_nats_streams", tests, NULL, NULL);
    nats_server_end(&server);
    return failed;
}
