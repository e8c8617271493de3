/* How the NATS driver keeps its two connections: what it does when one breaks, when nobody answers
 * its requests, and when it is told to end. */
#include "common/bus_nats.h"

#include "tests/lib/bus_conformance.h"
#include "tests/lib/nats_relay.h"
#include "tests/lib/nats_server.h"
#include "tests/lib/unit.h"

#include <stdio.h>

static struct nats_server server;
static struct nats_relay *relay;
static struct bus_world world; /* behind the relay */

/* ---- lives of a connection ---- */

struct lives {
    _Atomic int begun;
    _Atomic int ended;
    atomic_bool overlapped; /* one was begun before the owner knew that the last had ended */
};

static natsStatus begin(void *ctx, struct nats_session *session)
{
    struct lives *lives = ctx;
    (void)session;
    atomic_fetch_add(&lives->begun, 1);
    return NATS_OK;
}

static void nothing(void *ctx, struct nats_session *session)
{
    (void)ctx;
    (void)session;
}

/* Takes its time, long enough for the keeper to connect again. */
static void down(void *ctx, struct nats_session *session)
{
    struct lives *lives = ctx;
    (void)session;
    for (int looks = 0; looks < 30; looks++) {
        if (atomic_load(&lives->begun) > atomic_load(&lives->ended) + 1)
            atomic_store(&lives->overlapped, true);
        test_sleep_a_little();
    }
    atomic_fetch_add(&lives->ended, 1);
}

static void wait_until_up(struct nats_link *link, struct lives *lives, int life)
{
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    while (atomic_load(&lives->begun) < life || !nats_link_is_up(link, NULL)) {
        assert_true(test_now_ms() < limit);
        test_sleep_a_little();
    }
}

static void a_life_has_ended_before_the_next_begins(void **state)
{
    static const struct nats_link_owner owner = {begin, nothing, nothing, down, nothing};
    static struct nats_link link;
    struct lives lives = {0};
    struct bus_fixture f;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    assert_int_equal(nats_link_start(&link, (struct nats_bus *)f.bus, "test", &owner, &lives),
                     ERR_NONE);
    for (int life = 1; life <= 3; life++) {
        wait_until_up(&link, &lives, life);
        nats_relay_cut(relay);
    }
    nats_link_stop(&link);
    assert_false(lives.overlapped);
    bus_fixture_end(&f);
}

/* Cuts the bus's two connections and waits until both come again: it knows of the cut then. */
static void cut(void)
{
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    int taken = nats_relay_taken(relay);
    nats_relay_cut(relay);
    for (; nats_relay_taken(relay) < taken + 2; test_sleep_a_little())
        assert_true(test_now_ms() < limit);
}

/* The first of several cuts after which all was well again soonest: the machine may be busy. */
static void a_cut_costs_no_more_than_the_reconnect(void **state)
{
    struct bus_fixture f;
    int64_t shortest_ms = TEST_LIMIT_MS;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    for (int i = 0; i < 5; i++) {
        int64_t began = test_now_ms();
        cut();
        assert_int_equal(bus_wait_ready(f.bus, TEST_LIMIT_MS, NULL), ERR_NONE);
        int64_t took_ms = test_now_ms() - began;
        shortest_ms = took_ms < shortest_ms ? took_ms : shortest_ms;
        assert_int_equal(bus_fixture_publish(&f, "a", "x").position, i + 1);
    }
    assert_true(shortest_ms < 400);
    bus_fixture_end(&f);
}

/* How long it takes to close a bus that has asked about its logs and has no answer. */
static int64_t closing_took_ms(void)
{
    enum { LOGS = 4 };
    struct bus *bus = NULL;
    const struct bus_options options = {.url = world.url};
    assert_int_equal(bus_open(&options, &bus, NULL), ERR_NONE);
    for (int i = 0; i < LOGS; i++) {
        struct bus_log *log = NULL;
        char name[24];
        char subject[24];
        snprintf(name, sizeof name, "SILENT%d", i);
        snprintf(subject, sizeof subject, "silent%d.>", i);
        const struct bus_log_spec spec = {
            .name = name, .subject = subject, .duplicate_window_ms = 1000, .replicas = 1};
        assert_int_equal(bus_log_open(bus, &spec, &log), ERR_NONE);
    }
    assert_int_equal(bus_wait_ready(bus, 1000, NULL), ERR_DEADLINE); /* it asks by then */
    int64_t began = test_now_ms();
    bus_close(bus);
    return test_now_ms() - began;
}

/* In one of several times at least: the machine may be busy. */
static void closing_waits_for_no_answers(void **state)
{
    int times = 1;
    (void)state;
    nats_relay_silence(relay, "$JS.API.STREAM.");
    while (closing_took_ms() >= 900)
        assert_true(times++ < 5);
    nats_relay_silence(relay, NULL);
}

/* As if the log's next check were due. */
static void check_now(struct bus_fixture *f)
{
    struct nats_bus *bus = (struct nats_bus *)f->bus;
    struct nats_log *log = (struct nats_log *)f->log;
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    pthread_mutex_lock(&bus->lock);
    log->due_ms = 0;
    pthread_mutex_unlock(&bus->lock);
    nats_link_poke(&bus->service);
    for (bool done = false; !done; test_sleep_a_little()) {
        assert_true(test_now_ms() < limit);
        pthread_mutex_lock(&bus->lock);
        done = log->due_ms != 0;
        pthread_mutex_unlock(&bus->lock);
    }
}

static void an_unanswered_check_takes_nothing_away(void **state)
{
    struct bus_fixture f;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    nats_relay_silence(relay, "$JS.API.STREAM.INFO.");
    check_now(&f);
    assert_int_equal(bus_state(f.bus, NULL), BUS_READY);
    assert_int_equal(bus_fixture_publish(&f, "a", "x").position, 1);
    cut(); /* now there is nothing known any more */
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    while (bus_state(f.bus, NULL) == BUS_READY)
        assert_true(test_now_ms() < limit);
    assert_int_equal(bus_wait_ready(f.bus, 500, NULL), ERR_DEADLINE);
    nats_relay_silence(relay, NULL);
    assert_int_equal(bus_wait_ready(f.bus, TEST_LIMIT_MS, NULL), ERR_NONE);
    assert_int_equal(bus_fixture_publish(&f, "a", "x").position, 2);
    bus_fixture_end(&f);
}

enum { READERS = 60, SLOW_MS = 45 };

static int slow_readers(struct bus_fixture *f)
{
    int slow = 0;
    for (int i = 0; i < READERS; i++) {
        struct bus_reader *reader = NULL;
        struct bus_record *record = NULL;
        size_t count = 0;
        assert_int_equal(bus_reader_open(f->log, 0, false, &reader), ERR_NONE);
        int64_t began = test_now_ms();
        assert_int_equal(bus_reader_next(reader, TEST_LIMIT_MS, &record, 1, &count), ERR_NONE);
        slow += test_now_ms() - began >= SLOW_MS;
        bus_reader_close(reader);
    }
    return slow;
}

/* A subscription, a request, an answer: nothing of it may lie in a buffer until the I/O thread
 * looks by itself, each 50 ms. In one of several times at least: the machine may be busy. */
static void a_subscribing_reader_is_not_kept_waiting(void **state)
{
    struct bus_fixture f;
    int times = 1;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    bus_fixture_publish_many(&f, 1, 1);
    while (slow_readers(&f) >= READERS / 12)
        assert_true(times++ < 5);
    bus_fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_has_ended_before_the_next_begins),
        cmocka_unit_test(a_cut_costs_no_more_than_the_reconnect),
        cmocka_unit_test(closing_waits_for_no_answers),
        cmocka_unit_test(an_unanswered_check_takes_nothing_away),
        cmocka_unit_test(a_subscribing_reader_is_not_kept_waiting),
    };
    nats_server_start(&server);
    relay = nats_relay_open(server.port);
    world.url = nats_relay_url(relay);
    int failed = cmocka_run_group_tests_name("bus_nats_link", tests, NULL, NULL);
    nats_relay_close(relay);
    nats_server_end(&server);
    return failed;
}
