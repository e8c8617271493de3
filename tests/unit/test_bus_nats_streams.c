/* Streams that the NATS driver finds, makes and checks. */
#include "tests/lib/bus_conformance.h"
#include "tests/lib/nats_peer.h"
#include "tests/lib/nats_server.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

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

static const char good[] =
    "\"subjects\":[\"broken.>\"],\"storage\":\"file\",\"retention\":\"limits\",\"discard\":\"new\","
    "\"deny_delete\":true,\"deny_purge\":true";

/* Of two equal members the server's parser takes the last. */
static void make_stream(const char *verb, const char *name, const char *base, const char *settings)
{
    char config[1024];
    snprintf(config, sizeof config, "{\"name\":\"%s\",%s%s%s}", name, base, *settings ? "," : "",
             settings);
    ask_for(verb, name, config);
}

static const struct broken {
    const char *settings; /* instead of, or beside, the good ones */
    const char *says;     /* the promise, or the mending command */
} broken_ones[] = {
    {"\"storage\":\"memory\"", "nats stream rm BROKEN"},
    {"\"retention\":\"workqueue\"", "retention isn't limits (workqueue)"},
    {"\"retention\":\"interest\"", "nats stream edit BROKEN --retention=limits"},
    {"\"discard\":\"old\"", "nats stream edit BROKEN --discard=new"},
    {"\"deny_delete\":false", "nats stream edit BROKEN --deny-delete"},
    {"\"deny_purge\":false", "nats stream edit BROKEN --deny-purge"},
    {"\"deny_purge\":false,\"allow_rollup_hdrs\":true",
     "nats stream edit BROKEN --no-allow-rollup --deny-purge"},
    {"\"no_ack\":true", "nats stream edit BROKEN --ack"},
    {"\"max_msgs_per_subject\":3", "nats stream edit BROKEN --max-msgs-per-subject=-1"},
    {"\"max_consumers\":9", "max_consumers limits who reads it"},
    {"\"subjects\":[\"broken.only\"]", "nats stream edit BROKEN --subjects='broken.>'"},
    {"\"subjects\":[\"broken.*\",\"broken.*.*\"]", "--subjects='broken.>'"},
    {"\"subjects\":[\"mine\",\"*.a.b\",\"broken.a\",\"x.only\"]",
     "--subjects='broken.>,mine,x.only'"},
    {"\"subjects\":[],\"mirror\":{\"name\":\"OTHER\"},\"discard\":\"old\"",
     "a mirror of another stream, so nothing can be published to it; that cannot be edited"},
};

static const struct bus_log_spec broken_spec = {
    .name = "BROKEN", .subject = "broken.>", .duplicate_window_ms = 1000, .replicas = 1};

static struct bus *open_bus(const struct bus_log_spec *of, struct bus_log **ret)
{
    const struct bus_options options = {.url = server.url};
    struct err_detail detail = {""};
    struct bus *bus = NULL;
    assert_int_equal(bus_open(&options, &bus, &detail), ERR_NONE);
    assert_int_equal(bus_log_open(bus, of, ret), ERR_NONE);
    return bus;
}

static void assert_refused(struct bus *bus, struct bus_log *log, const char *says)
{
    const struct bus_message message = {.subject = "broken.only"};
    struct err_detail detail = {""};
    struct bus_receipt receipt;
    assert_int_equal(bus_wait_ready(bus, TEST_LIMIT_MS, &detail), ERR_INVALID);
    if (!strstr(detail.text, says) || !strstr(detail.text, "stream BROKEN: "))
        fail_msg("\"%s\" doesn't say \"%s\"", detail.text, says);
    assert_int_equal(bus_state(bus, NULL), BUS_BROKEN);
    assert_int_equal(bus_publish_wait(log, &message, &receipt), ERR_UNAVAILABLE);
}

static void a_stream_that_breaks_a_promise_is_named_with_its_mending(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken_ones / sizeof *broken_ones; i++) {
        struct bus_log *log = NULL;
        make_stream("CREATE", "BROKEN", good, broken_ones[i].settings);
        struct bus *bus = open_bus(&broken_spec, &log);
        assert_refused(bus, log, broken_ones[i].says);
        bus_close(bus);
        ask_for("DELETE", "BROKEN", "");
    }
}

static void a_sealed_stream_is_refused(void **state)
{
    struct bus_log *log = NULL;
    (void)state;
    make_stream("CREATE", "BROKEN", good, "");
    make_stream("UPDATE", "BROKEN", good, "\"sealed\":true");
    struct bus *bus = open_bus(&broken_spec, &log);
    assert_refused(bus, log, "sealed, so nothing can be stored in it; that cannot be edited");
    bus_close(bus);
    ask_for("DELETE", "BROKEN", "");
}

static void what_is_mended_is_taken_while_running(void **state)
{
    struct bus_log *log = NULL;
    (void)state;
    make_stream("CREATE", "BROKEN", good, "\"discard\":\"old\"");
    struct bus *bus = open_bus(&broken_spec, &log);
    assert_refused(bus, log, "nats stream edit BROKEN --discard=new");
    make_stream("UPDATE", "BROKEN", good, "");
    wait_for_state(bus, BUS_READY, TEST_LIMIT_MS);
    make_stream("UPDATE", "BROKEN", good, "\"max_msgs_per_subject\":1");
    wait_for_state(bus, BUS_BROKEN, TEST_LIMIT_MS);
    ask_for("DELETE", "BROKEN", "");
    wait_for_state(bus, BUS_READY, TEST_LIMIT_MS); /* made anew, as it should be */
    bus_close(bus);
    ask_for("DELETE", "BROKEN", "");
}

static void what_breaks_no_promise_is_left_to_its_operator(void **state)
{
    static const char *const settings[] = {
        "",
        "\"max_bytes\":100000000,\"max_msgs\":1000,\"max_age\":3600000000000",
        "\"duplicate_window\":100000000",
        "\"duplicate_window\":600000000000",
        "\"max_msg_size\":65536",
        "\"max_msgs_per_subject\":3,\"discard_new_per_subject\":true",
        "\"sources\":[{\"name\":\"OTHER\"}],\"duplicate_window\":120000000000",
        "\"allow_direct\":false,\"republish\":{\"src\":\"broken.>\",\"dest\":\"seen.>\"}",
        "\"subjects\":[\"other\",\"broken.>\"]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        struct err_detail detail = {""};
        struct bus_log *log = NULL;
        make_stream("CREATE", "BROKEN", good, settings[i]);
        struct bus *bus = open_bus(&broken_spec, &log);
        if (bus_wait_ready(bus, TEST_LIMIT_MS, &detail) != ERR_NONE)
            fail_msg("%s: %s", settings[i], detail.text);
        bus_close(bus);
        ask_for("DELETE", "BROKEN", "");
    }
}

static void a_stream_without_direct_get_is_read_from_its_leader(void **state)
{
    const struct bus_header headers[] = {{"ce-subject", VIEW("1")}, {"ce-s", VIEW("2")}};
    const struct bus_message message = {
        .subject = "broken.a", .headers = headers, .header_count = 2, .payload = VIEW("x")};
    struct bus_log *log = NULL;
    struct bus_receipt receipt;
    struct bus_record *record = NULL;
    (void)state;
    make_stream("CREATE", "BROKEN", good, "\"allow_direct\":false");
    struct bus *bus = open_bus(&broken_spec, &log);
    assert_int_equal(bus_wait_ready(bus, TEST_LIMIT_MS, NULL), ERR_NONE);
    assert_int_equal(bus_publish_wait(log, &message, &receipt), ERR_NONE);
    assert_int_equal(bus_log_read(log, receipt.position, TEST_LIMIT_MS, &record), ERR_NONE);
    assert_string_equal(record->subject, "broken.a");
    assert_true(view_equal(record->payload, VIEW("x")));
    assert_true(view_equal(bus_record_header(record, "ce-s"), VIEW("2")));
    assert_true(view_equal(bus_record_header(record, "CE-SUBJECT"), VIEW("1")));
    bus_record_free(record);
    bus_close(bus);
    ask_for("DELETE", "BROKEN", "");
}

/* A log of outcomes is also held against the log that they are about. */
static void outcomes_outlive_their_events(void **state)
{
    static const struct {
        const char *events; /* max_age of the events in ns; NULL: not made yet, one hour is asked */
        const char *settings; /* of the log about them */
        const char *says;     /* NULL: sound */
    } cases[] = {
        {"0", "\"max_age\":7200000000000", "nats stream edit BROKEN --max-age=0ms"},
        {"7200000000000", "\"max_age\":3600000000000",
         "nats stream edit BROKEN --max-age=7200000ms"},
        {"7200000000000", "\"max_age\":7200000000000", NULL},
        {"7200000000000", "\"max_age\":0", NULL},
        {NULL, "\"max_age\":3599000000000", "nats stream edit BROKEN --max-age=3600000ms"},
        {NULL, "\"max_age\":3600000000000", NULL},
        {"0", "\"max_msg_size\":65536", "nats stream edit BROKEN --max-msg-size=-1"},
        {"0", "\"sources\":[{\"name\":\"OTHER\"}]", "nats stream edit BROKEN --interactive"},
    };
    const struct bus_log_spec events = {.name = "EVENTS_OF_BROKEN",
                                        .subject = "events.>",
                                        .max_age_ms = 3600000,
                                        .duplicate_window_ms = 1000,
                                        .replicas = 1};
    struct bus_log_spec about = broken_spec;
    (void)state;
    about.about = events.name;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char config[256];
        struct bus_log *log = NULL;
        snprintf(config, sizeof config, "\"subjects\":[\"events.>\"],\"max_age\":%s",
                 cases[i].events ? cases[i].events : "");
        if (cases[i].events)
            make_stream("CREATE", events.name, strchr(good, ',') + 1, config);
        make_stream("CREATE", "BROKEN", good, cases[i].settings);
        struct bus *bus = open_bus(&events, &log);
        assert_int_equal(bus_log_open(bus, &about, &log), ERR_NONE);
        if (cases[i].says)
            assert_refused(bus, log, cases[i].says);
        else
            assert_int_equal(bus_wait_ready(bus, TEST_LIMIT_MS, NULL), ERR_NONE);
        bus_close(bus);
        ask_for("DELETE", "BROKEN", "");
        ask_for("DELETE", events.name, "");
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
    int64_t began = test_now_ms();
    ask_for("DELETE", f.name, "");
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_REFUSED);
    assert_int_equal(receipt.why, ERR_UNAVAILABLE);
    assert_int_equal(bus_wait_ready(f.bus, TEST_LIMIT_MS, NULL), ERR_NONE);
    assert_true(test_now_ms() - began > 1500); /* the server has cleared it away */
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
    assert_until(bus_wait_ready(bus, 1, &detail) == ERR_DEADLINE &&
                 strstr(detail.text, "stream HUGE: insufficient storage resources"));
    assert_int_equal(bus_state(bus, NULL), BUS_CONNECTING);
    assert_true(bus_is_connected(bus, NULL));
    ask_for("CREATE", "HUGE",
            "{\"name\":\"HUGE\",\"subjects\":[\"huge.>\"],\"storage\":\"file\","
            "\"retention\":\"limits\",\"discard\":\"new\",\"deny_delete\":true,"
            "\"deny_purge\":true}");
    assert_int_equal(bus_wait_ready(bus, TEST_LIMIT_MS, NULL), ERR_NONE);
    bus_close(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_that_breaks_a_promise_is_named_with_its_mending),
        cmocka_unit_test(a_sealed_stream_is_refused),
        cmocka_unit_test(what_is_mended_is_taken_while_running),
        cmocka_unit_test(what_breaks_no_promise_is_left_to_its_operator),
        cmocka_unit_test(a_stream_without_direct_get_is_read_from_its_leader),
        cmocka_unit_test(outcomes_outlive_their_events),
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
