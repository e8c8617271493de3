/* What the NATS driver makes of answers that are somebody else's, late or lost. */
#include "common/bus_nats.h"

#include "tests/lib/bus_conformance.h"
#include "tests/lib/nats_peer.h"
#include "tests/lib/nats_server.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

static struct nats_server server;
static struct bus_world world;

struct attempt {
    _Atomic int completions;
    enum bus_outcome outcome;
};

static void note(void *ctx, const struct bus_receipt *receipt)
{
    struct attempt *attempt = ctx;
    attempt->outcome = receipt->outcome;
    atomic_fetch_add(&attempt->completions, 1);
}

static void a_foreign_answer_completes_nothing(void **state)
{
    struct bus_fixture f;
    char reply[128];
    char forged[4][256];
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    struct nats_peer *peer = nats_peer_open(server.port);
    nats_peer_subscribe(peer, f.subject);
    snprintf(forged[0], sizeof forged[0], "thanks!");
    snprintf(forged[1], sizeof forged[1], "{\"stream\":\"OTHER\",\"seq\":77}");
    snprintf(forged[2], sizeof forged[2], "{\"stream\":\"%s\"}", f.name);
    snprintf(forged[3], sizeof forged[3], "{\"error\":{\"code\":500,\"description\":\"no\"}}");
    for (uint64_t position = 1; position <= 200; position++) {
        struct bus_receipt receipt = bus_fixture_publish(&f, "a", "x");
        assert_int_equal(receipt.outcome, BUS_STORED);
        assert_int_equal(receipt.position, position);
        assert_true(nats_peer_next(peer, TEST_LIMIT_MS, reply, NULL, 0));
        nats_peer_publish(peer, reply, forged[position % 4]); /* late, for this one */
        /* And early, for the next one: the next turn of its slot. */
        char *turn = strrchr(reply, '-') + 1;
        unsigned next = (unsigned)strtoul(turn, NULL, 16) + 1;
        snprintf(turn, (size_t)(reply + sizeof reply - turn), "%x", next);
        nats_peer_publish(peer, reply, forged[position % 4]);
    }
    nats_peer_close(peer);
    bus_fixture_end(&f);
}

/* A subject that no stream takes, but somebody listens to: nobody refuses, nobody acknowledges. */
static void a_late_answer_completes_nothing_else(void **state)
{
    struct bus_fixture f;
    struct attempt first = {0};
    struct attempt second = {0};
    char reply[128];
    char ack[128];
    (void)state;
    bus_fixture_begin(&f, &world,
                      &(struct bus_fixture_options){.max_in_flight = 1, .publish_timeout_ms = 400});
    struct nats_peer *peer = nats_peer_open(server.port);
    nats_peer_subscribe(peer, "silent.subject");
    const struct bus_message message = {.subject = "silent.subject", .payload = VIEW("x")};
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    assert_int_equal(bus_publish(f.log, &message, note, &first), ERR_NONE);
    assert_true(nats_peer_next(peer, TEST_LIMIT_MS, reply, NULL, 0));
    while (atomic_load(&first.completions) == 0)
        assert_true(test_now_ms() < limit);
    assert_int_equal(first.outcome, BUS_UNKNOWN);
    assert_int_equal(bus_publish(f.log, &message, note, &second), ERR_NONE); /* the only slot */
    snprintf(ack, sizeof ack, "{\"stream\":\"%s\", \"seq\":7}", f.name);
    nats_peer_publish(peer, reply, ack); /* for the first */
    while (atomic_load(&second.completions) == 0)
        assert_true(test_now_ms() < limit);
    assert_int_equal(second.outcome, BUS_UNKNOWN);
    assert_int_equal(first.completions, 1);
    assert_int_equal(bus_fixture_publish(&f, "a", "x").position, 1);
    nats_peer_close(peer);
    bus_fixture_end(&f);
}

static void a_lost_ack_stalls_nobody(void **state)
{
    struct bus_fixture f;
    struct attempt lost[3] = {0};
    (void)state;
    bus_fixture_begin(&f, &world, &(struct bus_fixture_options){.publish_timeout_ms = 500});
    struct nats_peer *peer = nats_peer_open(server.port);
    nats_peer_subscribe(peer, "silent.subject");
    const struct bus_message message = {.subject = "silent.subject", .payload = VIEW("x")};
    int64_t began = test_now_ms();
    uint64_t position = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bus_publish(f.log, &message, note, &lost[i]), ERR_NONE);
        assert_int_equal(bus_fixture_publish(&f, "a", "x").position, ++position);
    }
    /* A group waits for those before it, but no longer than publish_timeout. */
    assert_true(test_now_ms() - began < 3 * 700);
    began = test_now_ms();
    while (atomic_load(&lost[2].completions) == 0)
        assert_true(test_now_ms() - began < TEST_LIMIT_MS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(lost[i].outcome, BUS_UNKNOWN);
    began = test_now_ms();
    for (int i = 0; i < 100; i++)
        assert_int_equal(bus_fixture_publish(&f, "a", "x").position, ++position);
    assert_true(test_now_ms() - began < 1000);
    nats_peer_close(peer);
    bus_fixture_end(&f);
}

/* Two round trips on the connection that publishes: what came before the first answer has been
 * dealt with by the second. */
static void flush(struct bus_fixture *f)
{
    struct nats_bus *bus = (struct nats_bus *)f->bus;
    struct nats_session *session = nats_link_hold(&bus->publisher.link);
    assert_non_null(session);
    for (int i = 0; i < 2; i++)
        assert_int_equal(natsConnection_FlushTimeout(session->nc, TEST_LIMIT_MS), NATS_OK);
    nats_session_release(session);
}

static void a_late_refusal_refuses_nothing_else(void **state)
{
    struct bus_fixture f;
    struct attempt given_up = {0};
    struct attempt innocent = {0};
    (void)state;
    bus_fixture_begin(&f, &world, &(struct bus_fixture_options){.publish_timeout_ms = 300});
    struct nats_publisher *publisher = &((struct nats_bus *)f.bus)->publisher;
    struct nats_peer *peer = nats_peer_open(server.port);
    nats_peer_subscribe(peer, "silent.subject");
    const struct bus_message refused = {.subject = "nobody.takes.this", .payload = VIEW("x")};
    const struct bus_message silent = {.subject = "silent.subject", .payload = VIEW("x")};
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    nats_server_freeze(&server);
    assert_int_equal(bus_publish(f.log, &refused, note, &given_up), ERR_NONE);
    while (atomic_load(&given_up.completions) == 0)
        assert_true(test_now_ms() < limit);
    assert_int_equal(given_up.outcome, BUS_UNKNOWN);
    assert_int_equal(bus_publish(f.log, &silent, note, &innocent), ERR_NONE);
    nats_server_thaw(&server);
    flush(&f); /* the refusal has come */
    pthread_mutex_lock(&publisher->lock);
    publisher->refusals_trusted_ms = 0; /* as if it were much later */
    pthread_mutex_unlock(&publisher->lock);
    while (atomic_load(&innocent.completions) == 0)
        assert_true(test_now_ms() < limit);
    assert_int_equal(innocent.outcome, BUS_UNKNOWN);
    nats_peer_close(peer);
    bus_fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_foreign_answer_completes_nothing),
        cmocka_unit_test(a_late_answer_completes_nothing_else),
        cmocka_unit_test(a_lost_ack_stalls_nobody),
        cmocka_unit_test(a_late_refusal_refuses_nothing_else),
    };
    nats_server_start(&server);
    world.url = server.url;
    int failed = cmocka_run_group_tests_name("bus_nats_answers", tests, NULL, NULL);
    nats_server_end(&server);
    return failed;
}
