/* The conformance suite against a real nats-server, and what only NATS can do. What happens when
 * things break is in test_bus_nats_faults.c. */
#include "common/bus_nats.h"
#include "common/mem.h"
#include "tests/lib/bus_conformance.h"
#include "tests/lib/nats_peer.h"
#include "tests/lib/nats_server.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

static void hold(struct bus_world *world, struct bus *bus)
{
    (void)bus;
    nats_server_freeze(world->ctx);
}

static void let_go(struct bus_world *world, struct bus *bus)
{
    (void)bus;
    nats_server_thaw(world->ctx);
}

static void renew(struct bus_world *world, struct bus_log *log, const struct bus_log_spec *spec)
{
    const struct nats_server *server = world->ctx;
    struct nats_peer *peer = nats_peer_open(server->port);
    char subject[128];
    char config[512];
    char answer[4096];
    (void)log;
    snprintf(subject, sizeof subject, "$JS.API.STREAM.DELETE.%s", spec->name);
    nats_peer_ask(peer, subject, "", answer, sizeof answer);
    assert_non_null(strstr(answer, "\"success\":true"));
    snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.%s", spec->name);
    snprintf(config, sizeof config,
             "{\"name\":\"%s\",\"subjects\":[\"%s\"],\"storage\":\"file\",\"retention\":\"limits\","
             "\"discard\":\"new\",\"deny_delete\":true,\"deny_purge\":true,\"allow_direct\":true,"
             "\"num_replicas\":1}",
             spec->name, spec->subject);
    nats_peer_ask(peer, subject, config, answer, sizeof answer);
    assert_null(strstr(answer, "\"error\""));
    nats_peer_close(peer);
}

/* ---- foreign messages ---- */

static int port_of(const struct bus_fixture *f)
{
    const struct nats_server *server = f->world->ctx;
    return server->port;
}

/* A message of ours, then on the same subject what looks like a server's status, then one of ours
 * again. Returns how many there are. */
static uint64_t publish_false_statuses(struct bus_fixture *f)
{
    static const char *const headers[] = {
        "NATS/1.0 503\r\n\r\n", "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 99\r\n\r\n",
        "NATS/1.0 404 No Messages\r\n\r\n", "NATS/1.0 409 Consumer Deleted\r\nA: b\r\n\r\n"};
    struct nats_peer *peer = nats_peer_open(port_of(f));
    char subject[64];
    uint64_t last = bus_fixture_publish(f, "a", "").position;
    snprintf(subject, sizeof subject, "%s.a", f->prefix);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        nats_peer_publish_headers(peer, subject, headers[i], "");
        nats_peer_publish_headers(peer, subject, headers[i], "payload");
        last += 2;
    }
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    for (struct bus_log_end end = {.last = 0}; end.last < last; test_sleep_a_little()) {
        assert_true(test_now_ms() < limit);
        assert_int_equal(bus_log_end(f->log, TEST_LIMIT_MS, &end), ERR_NONE);
    }
    nats_peer_close(peer);
    assert_int_equal(bus_fixture_publish(f, "a", "").position, last + 1);
    return last + 1;
}

static void a_reader_takes_no_record_for_a_status(void **state)
{
    struct bus_fixture f;
    struct bus_record *record = NULL;
    size_t count = 0;
    bus_fixture_begin(&f, *state, NULL);
    uint64_t last = publish_false_statuses(&f);
    for (int headers_only = 0; headers_only < 2; headers_only++) {
        struct bus_reader *reader = NULL;
        assert_int_equal(bus_reader_open(f.log, 0, headers_only, &reader), ERR_NONE);
        for (uint64_t position = 1; position <= last; position++) {
            assert_int_equal(bus_reader_next(reader, 1000, &record, 1, &count), ERR_NONE);
            assert_int_equal(record->position, position);
            bool text = !headers_only && position % 2 == 1 && position > 1 && position < last;
            assert_true(view_equal(record->payload, text ? VIEW("payload") : VIEW("")));
        }
        bus_reader_close(reader);
    }
    for (uint64_t position = 1; position <= last; position++) {
        assert_int_equal(bus_log_read(f.log, position, TEST_LIMIT_MS, &record), ERR_NONE);
        assert_int_equal(record->position, position);
        bus_record_free(record);
    }
    bus_fixture_end(&f);
}

static void a_consumer_takes_no_record_for_a_status(void **state)
{
    struct bus_fixture f;
    bus_fixture_begin(&f, *state, NULL);
    uint64_t last = publish_false_statuses(&f);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    for (uint64_t position = 1; position <= last; position++) {
        struct bus_delivery *delivery = bus_fixture_fetch_one(consumer);
        assert_int_equal(delivery->record->position, position);
        assert_int_equal(delivery->delivered, 1);
        bus_settle(delivery, BUS_ACK, 0);
    }
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

/* As one that was republished from another stream, or read there and published again. */
static void a_message_does_not_say_itself_where_it_is(void **state)
{
    const struct bus_header headers[] = {{"Nats-Subject", VIEW("another.subject")},
                                         {"Nats-Sequence", VIEW("1")},
                                         {"Nats-Time-Stamp", VIEW("2001-02-03T04:05:06Z")},
                                         {"Theirs", VIEW("1")}};
    const struct view payloads[] = {VIEW("payload"), VIEW("")};
    struct bus_fixture f;
    struct bus_receipt receipt;
    struct bus_record *record = NULL;
    char subject[64];
    bus_fixture_begin(&f, *state, NULL);
    snprintf(subject, sizeof subject, "%s.a", f.prefix);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    for (uint64_t i = 0; i < 2; i++) {
        const struct bus_message message = {
            .subject = subject, .headers = headers, .header_count = 4, .payload = payloads[i]};
        assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
        assert_int_equal(receipt.position, i + 1);
        struct bus_delivery *delivery = bus_fixture_fetch_one(consumer);
        assert_int_equal(bus_log_read(f.log, i + 1, TEST_LIMIT_MS, &record), ERR_NONE);
        assert_string_equal(record->subject, subject);
        assert_int_equal(record->time_ms, delivery->record->time_ms);
        assert_true(view_equal(record->payload, payloads[i]));
        assert_true(view_equal(bus_record_header(record, "theirs"), VIEW("1")));
        bus_record_free(record);
        bus_settle(delivery, BUS_ACK, 0);
    }
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

/* As nats.c gives them, where the layout of its messages isn't known to us. */
static void headers_are_read_the_slow_way_too(void **state)
{
    const struct bus_header headers[] = {
        {"one", VIEW("1: a")}, {"twice", VIEW("first")}, {"twice", VIEW("second")}};
    struct bus_fixture f;
    struct bus_receipt receipt;
    struct bus_header_view all[3] = {0}, some[2] = {{VIEW("untouched"), VIEW("")}};
    char subject[64];
    bus_fixture_begin(&f, *state, NULL);
    snprintf(subject, sizeof subject, "%s.a", f.prefix);
    const struct bus_message message = {.subject = subject, .headers = headers, .header_count = 3};
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    struct bus_delivery *delivery = bus_fixture_fetch_one(consumer);
    ((struct nats_record *)bus_record_box_of(delivery->record))->raw = false;
    assert_true(view_equal(bus_record_header(delivery->record, "ONE"), headers[0].value));
    assert_int_equal(bus_record_headers(delivery->record, some, 0), 3);
    assert_true(view_equal(some[0].name, VIEW("untouched")));
    assert_int_equal(bus_record_headers(delivery->record, some, 2), 3);
    assert_int_equal(bus_record_headers(delivery->record, all, 3), 3);
    assert_memory_equal(some, all, sizeof some);
    size_t one = view_equal(all[0].name, VIEW("one")) ? 0 : 2, twice = one == 0 ? 1 : 0;
    assert_true(view_equal(all[one].name, VIEW("one")));
    assert_true(view_equal(all[one].value, headers[0].value));
    assert_true(view_equal(all[twice].name, VIEW("twice")));
    assert_true(view_equal(all[twice].value, VIEW("first")));
    assert_true(view_equal(all[twice + 1].value, VIEW("second")));
    bus_settle(delivery, BUS_ACK, 0);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void a_publish_allocates_nothing_of_ours(void **state)
{
    struct bus_fixture f;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 10);
    uint64_t before = mem_allocations();
    bus_fixture_publish_many(&f, 11, 200);
    assert_int_equal(mem_allocations(), before);
    bus_fixture_end(&f);
}

/* ---- fetching ---- */

/* Of the server's buffers, by the request, and of ours. */
static void a_fetch_is_bounded_in_bytes(void **state)
{
    enum { EVENTS = 40, SIZE = 1000000, BOUND = 16 * 1024 * 1024 };
    struct bus_fixture f;
    struct bus_receipt receipt;
    struct bus_delivery *deliveries[EVENTS];
    char subject[128];
    char reply[128];
    char request[256];
    size_t all = 0;
    char *text = calloc(1, SIZE);
    assert_non_null(text);
    bus_fixture_begin(&f, *state, NULL);
    snprintf(subject, sizeof subject, "%s.a", f.prefix);
    const struct bus_message message = {.subject = subject, .payload = {text, SIZE}};
    for (int i = 0; i < EVENTS; i++)
        assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    struct nats_peer *peer = nats_peer_open(port_of(&f));
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.group", f.name);
    nats_peer_subscribe(peer, subject);
    struct bus_consumer *consumer;
    /* So much may take longer than the fixture's ack_wait, after which it would come again. */
    const struct bus_consumer_spec spec = {.group = "group", .ack_wait_ms = 6 * TEST_LIMIT_MS};
    assert_int_equal(bus_consumer_open(f.log, &spec, &consumer), ERR_NONE);
    while (all < EVENTS) {
        size_t count = 0;
        assert_int_equal(bus_fetch(consumer, TEST_LIMIT_MS, deliveries, EVENTS, &count), ERR_NONE);
        assert_true(count <= BOUND / SIZE + 1);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(deliveries[i]->record->position, ++all);
            assert_int_equal(deliveries[i]->delivered, 1);
            bus_settle(deliveries[i], BUS_ACK, 0);
        }
    }
    assert_true(nats_peer_next(peer, TEST_LIMIT_MS, reply, request, sizeof request));
    assert_non_null(strstr(request, "\"max_bytes\":16777216"));
    nats_peer_close(peer);
    free(text);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

/* ---- holes ---- */

static void ask(struct nats_peer *peer, const char *verb, const char *stream, const char *body)
{
    char subject[128];
    char answer[4096];
    snprintf(subject, sizeof subject, "$JS.API.STREAM.%s.%s", verb, stream);
    nats_peer_ask(peer, subject, body, answer, sizeof answer);
    /* Some servers cannot read for a moment what they have just stored. */
    for (int i = 0; i < 100 && strstr(answer, "stream store EOF"); i++)
        nats_peer_ask(peer, subject, body, answer, sizeof answer);
    if (strstr(answer, "\"error\""))
        fail_msg("%s: %s", subject, answer);
}

/* A stream from which something was deleted before that was denied. */
static void a_hole_is_passed(void **state)
{
    static const char config[] =
        "{\"name\":\"HOLE\",\"subjects\":[\"hole.>\"],\"storage\":\"file\","
        "\"retention\":\"limits\",\"discard\":\"new\",\"deny_purge\":true%s}";
    const struct bus_log_spec spec = {
        .name = "HOLE", .subject = "hole.>", .duplicate_window_ms = 1000, .replicas = 1};
    struct bus_fixture f;
    struct bus_log *log = NULL;
    struct bus_record *record = NULL;
    char body[512];
    bus_fixture_begin(&f, *state, NULL);
    struct nats_peer *peer = nats_peer_open(port_of(&f));
    snprintf(body, sizeof body, config, "");
    ask(peer, "CREATE", "HOLE", body);
    for (int i = 1; i <= 6; i++) {
        snprintf(body, sizeof body, "%d", i);
        nats_peer_publish(peer, "hole.a", body);
    }
    ask(peer, "MSG.DELETE", "HOLE", "{\"seq\":3}");
    ask(peer, "MSG.DELETE", "HOLE", "{\"seq\":4}");
    snprintf(body, sizeof body, config, ",\"deny_delete\":true");
    ask(peer, "UPDATE", "HOLE", body);
    nats_peer_close(peer);
    assert_int_equal(bus_log_open(f.bus, &spec, &log), ERR_NONE);
    assert_int_equal(bus_wait_ready(f.bus, TEST_LIMIT_MS, NULL), ERR_NONE);
    for (uint64_t from = 0; from <= 5; from++) {
        struct bus_reader *reader = NULL;
        assert_int_equal(bus_reader_open(log, from, false, &reader), ERR_NONE);
        for (uint64_t position = from ? from : 1; position <= 6; position++)
            if (position != 3 && position != 4)
                bus_fixture_expect_read(reader, position, 1, 0);
        bus_reader_close(reader);
    }
    assert_int_equal(bus_log_read(log, 3, TEST_LIMIT_MS, &record), ERR_NOT_FOUND);
    bus_fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_takes_no_record_for_a_status),
        cmocka_unit_test(a_consumer_takes_no_record_for_a_status),
        cmocka_unit_test(a_message_does_not_say_itself_where_it_is),
        cmocka_unit_test(a_fetch_is_bounded_in_bytes),
        cmocka_unit_test(a_hole_is_passed),
        cmocka_unit_test(headers_are_read_the_slow_way_too),
        cmocka_unit_test(a_publish_allocates_nothing_of_ours),
    };
    struct nats_server server;
    struct bus_world world = {.hold = hold, .let_go = let_go, .renew = renew, .ctx = &server};
    nats_server_start(&server);
    world.url = server.url;
    int failed = bus_conformance_run("bus_nats", &world, tests, sizeof tests / sizeof *tests);
    nats_server_end(&server);
    return failed;
}
