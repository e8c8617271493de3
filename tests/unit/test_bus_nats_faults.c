/* What the NATS driver does when the server dies, freezes or comes back with other data. */
#include "tests/lib/bus_conformance.h"
#include "tests/lib/nats_peer.h"
#include "tests/lib/nats_server.h"
#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* An attempt to connect in the very moment of a kill may hang, and ends after two seconds. */
enum { READY_AGAIN_MS = 5000 };

static struct nats_server server;
static struct bus_world world;

static void subject_of(const struct bus_fixture *f, const char *name, char subject[64])
{
    snprintf(subject, 64, "%s.%s", f->prefix, name);
}

static void wait_for_state(struct bus *bus, enum bus_state wanted, int64_t limit_ms)
{
    int64_t limit = test_now_ms() + limit_ms;
    while (bus_state(bus, NULL) != wanted) {
        assert_true(test_now_ms() < limit);
        test_sleep_a_little();
    }
}

/* Records until `last` has come, whatever happens meanwhile; each once and in order. */
static void read_up_to(struct bus_reader *reader, uint64_t next, uint64_t last)
{
    struct bus_record *records[64];
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    while (next <= last) {
        size_t count = 0;
        size_t most = last - next + 1 < 64 ? (size_t)(last - next + 1) : 64;
        enum err e = bus_reader_next(reader, 200, records, most, &count);
        assert_true(e == ERR_NONE || e == ERR_DEADLINE || e == ERR_UNAVAILABLE);
        assert_true(test_now_ms() < limit);
        for (size_t i = 0; e == ERR_NONE && i < count; i++)
            assert_int_equal(records[i]->position, next++);
    }
}

/* ---- publishing while the server dies ---- */

enum { THREADS = 8, EACH_MAX = 20000 };
struct attempt {
    _Atomic int completions;
    enum bus_outcome outcome;
    uint64_t position;
};
struct publisher {
    struct bus_fixture *f;
    int number;
    atomic_bool *stop;
    int count;
    struct attempt *attempts;
};
static void note(void *ctx, const struct bus_receipt *receipt)
{
    struct attempt *attempt = ctx;
    attempt->outcome = receipt->outcome;
    attempt->position = receipt->position;
    atomic_fetch_add(&attempt->completions, 1);
}

static void *publish_until_stopped(void *arg)
{
    struct publisher *p = arg;
    char subject[64];
    char text[32];
    subject_of(p->f, "a", subject);
    while (!atomic_load(p->stop) && p->count < EACH_MAX) {
        struct attempt *attempt = &p->attempts[p->count];
        snprintf(text, sizeof text, "%d/%d", p->number, p->count);
        const struct bus_message message = {.subject = subject, .payload = view_of(text)};
        enum err e = bus_publish(p->f->log, &message, note, attempt);
        if (e == ERR_NONE)
            p->count++;
        else
            test_sleep_a_little();
    }
    return NULL;
}

static void wait_for_completions(struct publisher *publishers)
{
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < publishers[i].count; j++)
            while (atomic_load(&publishers[i].attempts[j].completions) == 0) {
                assert_true(test_now_ms() < limit);
                test_sleep_a_little();
            }
}

/* What every position of the log holds: "thread/number" as thread * EACH_MAX + number. */
static uint32_t *read_whole_log(struct bus_fixture *f, uint64_t *ret_last)
{
    struct bus_log_end end;
    struct bus_record *records[256];
    struct bus_reader *reader = NULL;
    assert_int_equal(bus_log_end(f->log, TEST_LIMIT_MS, &end), ERR_NONE);
    uint32_t *holds = calloc(end.last + 1, sizeof *holds);
    assert_non_null(holds);
    assert_int_equal(bus_reader_open(f->log, 0, false, &reader), ERR_NONE);
    for (uint64_t position = 1; position <= end.last;) {
        size_t count = 0;
        assert_int_equal(bus_reader_next(reader, TEST_LIMIT_MS, records, 256, &count), ERR_NONE);
        for (size_t i = 0; i < count; i++, position++) {
            unsigned thread = 0;
            unsigned number = 0;
            char text[32];
            assert_int_equal(records[i]->position, position);
            snprintf(text, sizeof text, "%.*s", (int)records[i]->payload.len,
                     records[i]->payload.data);
            assert_int_equal(sscanf(text, "%u/%u", &thread, &number), 2);
            holds[position] = thread * EACH_MAX + number;
        }
    }
    bus_reader_close(reader);
    *ret_last = end.last;
    return holds;
}

static void wait_for_growth(struct bus_fixture *f, uint64_t count)
{
    struct bus_log_end begin;
    struct bus_log_end end;
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    assert_int_equal(bus_log_end(f->log, TEST_LIMIT_MS, &begin), ERR_NONE);
    do {
        assert_true(test_now_ms() < limit);
        test_sleep_a_little();
        assert_int_equal(bus_log_end(f->log, TEST_LIMIT_MS, &end), ERR_NONE);
    } while (end.last < begin.last + count);
}

static void each_publish_completes_once_and_what_is_stored_is_there(void **state)
{
    struct bus_fixture f;
    struct publisher publishers[THREADS];
    pthread_t threads[THREADS];
    atomic_bool stop = false;
    uint64_t last = 0;
    int stored = 0;
    int unknown = 0;
    (void)state;
    bus_fixture_begin(&f, &world, &(struct bus_fixture_options){.max_in_flight = 1000});
    for (int i = 0; i < THREADS; i++) {
        publishers[i] = (struct publisher){.f = &f, .number = i, .stop = &stop};
        publishers[i].attempts = calloc(EACH_MAX, sizeof(struct attempt));
        assert_non_null(publishers[i].attempts);
        assert_int_equal(pthread_create(&threads[i], NULL, publish_until_stopped, &publishers[i]),
                         0);
    }
    for (int round = 0; round < 3; round++) {
        wait_for_growth(&f, 500);
        nats_server_kill(&server);
        wait_for_state(f.bus, BUS_AWAY, 1000);
        assert_false(bus_is_connected(f.bus, NULL));
        nats_server_again(&server);
        assert_int_equal(bus_wait_ready(f.bus, READY_AGAIN_MS, NULL), ERR_NONE);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    wait_for_completions(publishers);
    assert_int_equal(bus_in_flight(f.bus), 0);
    uint32_t *holds = read_whole_log(&f, &last);
    for (int i = 0; i < THREADS; i++) {
        for (int j = 0; j < publishers[i].count; j++) {
            struct attempt *attempt = &publishers[i].attempts[j];
            assert_int_equal(attempt->completions, 1);
            unknown += attempt->outcome == BUS_UNKNOWN;
            if (attempt->outcome != BUS_STORED)
                continue;
            stored++;
            assert_true(attempt->position >= 1 && attempt->position <= last);
            assert_int_equal(holds[attempt->position], i * EACH_MAX + j);
        }
        free(publishers[i].attempts);
    }
    assert_true(last >= 1500); /* three times 500, of which a kill leaves some unknown */
    assert_true(stored > 0);
    assert_true(unknown > 0);
    free(holds);
    bus_fixture_end(&f);
}

static void a_dead_server_is_noticed_and_its_return_too(void **state)
{
    struct bus_fixture f;
    struct bus_receipt receipt;
    struct err_detail detail = {""};
    char subject[64];
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    subject_of(&f, "a", subject);
    const struct bus_message message = {.subject = subject, .payload = VIEW("x")};
    nats_server_stop(&server);
    int64_t began = test_now_ms();
    /* Until the publishing connection, too, has heard of it, a publish is taken and is unknown. */
    while (bus_publish_wait(f.log, &message, &receipt) == ERR_NONE) {
        assert_int_equal(receipt.outcome, BUS_UNKNOWN);
        assert_true(test_now_ms() - began < 1000);
    }
    assert_int_equal(bus_state(f.bus, NULL), BUS_AWAY);
    began = test_now_ms();
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_UNAVAILABLE);
    assert_true(test_now_ms() - began < 100);
    assert_int_equal(bus_wait_ready(f.bus, 2500, &detail), ERR_DEADLINE);
    assert_non_null(strstr(detail.text, "cannot connect"));
    nats_server_again(&server);
    assert_int_equal(bus_wait_ready(f.bus, READY_AGAIN_MS, &detail), ERR_NONE);
    assert_int_equal(bus_fixture_publish(&f, "a", "x").position, 1); /* nothing was sent later */
    bus_fixture_end(&f);
}

static void a_frozen_server_is_noticed_and_its_thaw_too(void **state)
{
    struct bus_fixture f;
    struct attempt attempts[10] = {0};
    char subject[64];
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    subject_of(&f, "a", subject);
    const struct bus_message message = {.subject = subject, .payload = VIEW("x")};
    nats_server_freeze(&server);
    int64_t began = test_now_ms();
    for (int i = 0; i < 10; i++)
        assert_int_equal(bus_publish(f.log, &message, note, &attempts[i]), ERR_NONE);
    wait_for_state(f.bus, BUS_AWAY, 2500);
    assert_int_equal(bus_publish(f.log, &message, note, &attempts[0]), ERR_UNAVAILABLE);
    for (int i = 0; i < 10; i++)
        while (atomic_load(&attempts[i].completions) == 0) {
            assert_true(test_now_ms() - began < 5000);
            test_sleep_a_little();
        }
    for (int i = 0; i < 10; i++)
        assert_int_equal(attempts[i].outcome, BUS_UNKNOWN);
    while (test_now_ms() - began < 8000) { /* long enough for attempts to connect to time out */
        assert_int_equal(bus_state(f.bus, NULL), BUS_AWAY);
        test_sleep_a_little();
    }
    nats_server_thaw(&server);
    assert_int_equal(bus_wait_ready(f.bus, READY_AGAIN_MS, NULL), ERR_NONE);
    assert_int_equal(bus_fixture_publish(&f, "a", "x").outcome, BUS_STORED);
    for (int i = 0; i < 10; i++)
        assert_int_equal(attempts[i].completions, 1);
    bus_fixture_end(&f);
}

static void a_short_freeze_costs_nothing(void **state)
{
    struct bus_fixture f;
    struct attempt attempt = {0};
    char subject[64];
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    subject_of(&f, "a", subject);
    const struct bus_message message = {.subject = subject, .payload = VIEW("x")};
    nats_server_freeze(&server);
    assert_int_equal(bus_publish(f.log, &message, note, &attempt), ERR_NONE);
    wait_for_state(f.bus, BUS_AWAY, 2500);
    nats_server_thaw(&server);
    assert_int_equal(bus_wait_ready(f.bus, 1000, NULL), ERR_NONE);
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    while (atomic_load(&attempt.completions) == 0)
        assert_true(test_now_ms() < limit);
    assert_int_equal(attempt.outcome, BUS_STORED);
    bus_fixture_end(&f);
}

/* ---- readers and consumers ---- */

static void a_reader_reads_on_after_restarts(void **state)
{
    struct bus_fixture f;
    struct bus_reader *reader = NULL;
    struct bus_reader *idle = NULL;
    struct bus_record *record = NULL;
    size_t count = 0;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    bus_fixture_publish_many(&f, 1, 10);
    assert_int_equal(bus_reader_open(f.log, 0, false, &reader), ERR_NONE);
    assert_int_equal(bus_reader_open(f.log, 0, true, &idle), ERR_NONE);
    read_up_to(reader, 1, 5);
    read_up_to(idle, 1, 10);
    for (uint64_t round = 0; round < 3; round++) {
        nats_server_kill(&server);
        wait_for_state(f.bus, BUS_AWAY, 1000);
        assert_int_equal(bus_reader_next(idle, 50, &record, 1, &count), ERR_UNAVAILABLE);
        nats_server_again(&server);
        assert_int_equal(bus_wait_ready(f.bus, READY_AGAIN_MS, NULL), ERR_NONE);
        if (round == 0)
            read_up_to(reader, 6, 10);
        assert_int_equal(bus_reader_next(idle, 50, &record, 1, &count), ERR_DEADLINE);
        bus_fixture_publish_many(&f, 11 + round * 5, 5);
        int64_t began = test_now_ms();
        read_up_to(reader, 11 + round * 5, 15 + round * 5);
        read_up_to(idle, 11 + round * 5, 15 + round * 5);
        assert_true(test_now_ms() - began < READY_AGAIN_MS);
    }
    bus_reader_close(reader);
    bus_reader_close(idle);
    bus_fixture_end(&f);
}

static enum err verdict(struct bus_reader *reader)
{
    struct bus_record *records[16];
    size_t count = 0;
    enum err e = ERR_DEADLINE;
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    while ((e == ERR_DEADLINE || e == ERR_UNAVAILABLE) && test_now_ms() < limit)
        e = bus_reader_next(reader, 100, records, 16, &count);
    return e;
}

static void a_server_that_lost_its_data_makes_readers_stale(void **state)
{
    struct bus_fixture f;
    struct bus_reader *reader = NULL;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    bus_fixture_publish_many(&f, 1, 10);
    assert_int_equal(bus_reader_open(f.log, 0, false, &reader), ERR_NONE);
    read_up_to(reader, 1, 10);
    nats_server_stop(&server);
    nats_server_wipe_data(&server);
    nats_server_again(&server);
    assert_int_equal(bus_wait_ready(f.bus, READY_AGAIN_MS, NULL), ERR_NONE);
    bus_fixture_publish_many(&f, 1, 20);
    assert_int_equal(verdict(reader), ERR_STALE);
    bus_reader_close(reader);
    bus_fixture_end(&f);
}

static void a_server_that_uses_positions_again_makes_readers_stale(void **state)
{
    struct bus_fixture f;
    struct bus_reader *reader = NULL;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    bus_fixture_publish_many(&f, 1, 10);
    nats_server_stop(&server);
    nats_server_keep_data(&server);
    nats_server_again(&server);
    assert_int_equal(bus_wait_ready(f.bus, READY_AGAIN_MS, NULL), ERR_NONE);
    bus_fixture_publish_many(&f, 11, 10);
    assert_int_equal(bus_reader_open(f.log, 0, false, &reader), ERR_NONE);
    read_up_to(reader, 1, 20);
    nats_server_kill(&server);
    wait_for_state(f.bus, BUS_AWAY, 1000);
    nats_server_restore_data(&server); /* 11 to 20 are gone */
    nats_server_again(&server);
    assert_int_equal(bus_wait_ready(f.bus, READY_AGAIN_MS, NULL), ERR_NONE);
    bus_fixture_publish_many(&f, 11, 20);
    assert_int_equal(verdict(reader), ERR_STALE);
    bus_reader_close(reader);
    bus_fixture_end(&f);
}

static void a_consumer_goes_on_after_restarts(void **state)
{
    struct bus_fixture f;
    bool seen[31] = {false};
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    bus_fixture_publish_many(&f, 1, 30);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    struct bus_delivery *held = bus_fixture_fetch_one(consumer);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5; i++) {
            struct bus_delivery *delivery = bus_fixture_fetch_one(consumer);
            seen[delivery->record->position] = true;
            bus_settle(delivery, BUS_ACK, 0);
        }
        nats_server_kill(&server);
        nats_server_again(&server);
    }
    bus_settle(held, BUS_ACK, 0); /* with the server that lives now; good or lost, no harm */
    seen[1] = true;
    int64_t limit = test_now_ms() + 2 * TEST_LIMIT_MS;
    for (int missing = 1; missing > 0;) {
        struct bus_delivery *deliveries[8];
        size_t count = 0;
        assert_true(test_now_ms() < limit);
        if (bus_fetch(consumer, 200, deliveries, 8, &count) == ERR_NONE)
            for (size_t i = 0; i < count; i++) {
                seen[deliveries[i]->record->position] = true;
                bus_settle(deliveries[i], BUS_ACK, 0);
            }
        missing = 0;
        for (int i = 1; i <= 30; i++)
            missing += !seen[i];
    }
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void a_deleted_consumer_is_made_again(void **state)
{
    struct bus_fixture f;
    struct nats_peer *peer = NULL;
    char subject[128];
    char answer[1024];
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    bus_fixture_publish_many(&f, 1, 2);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    bus_settle(bus_fixture_fetch_one(consumer), BUS_ACK, 0);
    peer = nats_peer_open(server.port);
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DELETE.%s.group", f.name);
    nats_peer_ask(peer, subject, "", answer, sizeof answer);
    assert_non_null(strstr(answer, "\"success\":true"));
    nats_peer_close(peer);
    for (uint64_t position = 1; position <= 2; position++) { /* from the beginning */
        struct bus_delivery *delivery = bus_fixture_fetch_one(consumer);
        assert_int_equal(delivery->record->position, position);
        bus_settle(delivery, BUS_ACK, 0);
    }
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

static void take_all(struct bus_consumer *consumer, uint64_t first, uint64_t last)
{
    for (uint64_t position = first; position <= last; position++) {
        struct bus_delivery *delivery = bus_fixture_fetch_one(consumer);
        assert_int_equal(delivery->record->position, position);
        bus_settle(delivery, BUS_ACK, 0);
    }
}

static void a_group_beyond_its_logs_end_begins_anew(void **state)
{
    struct bus_fixture f;
    (void)state;
    bus_fixture_begin(&f, &world, NULL);
    struct bus_consumer *consumer = bus_fixture_consumer(&f, "group");
    bus_fixture_publish_many(&f, 1, 5);
    take_all(consumer, 1, 5);
    nats_server_stop(&server);
    nats_server_keep_data(&server);
    nats_server_again(&server);
    assert_int_equal(bus_wait_ready(f.bus, READY_AGAIN_MS, NULL), ERR_NONE);
    bus_fixture_publish_many(&f, 6, 5);
    take_all(consumer, 6, 10);
    nats_server_stop(&server);
    nats_server_restore_messages(&server, f.name); /* 6 to 10 are gone */
    nats_server_again(&server);
    assert_int_equal(bus_wait_ready(f.bus, READY_AGAIN_MS, NULL), ERR_NONE);
    take_all(consumer, 1, 5); /* finds out by itself */
    bus_fixture_publish_many(&f, 6, 2);
    take_all(consumer, 6, 7);
    bus_consumer_close(consumer);
    bus_fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_publish_completes_once_and_what_is_stored_is_there),
        cmocka_unit_test(a_dead_server_is_noticed_and_its_return_too),
        cmocka_unit_test(a_frozen_server_is_noticed_and_its_thaw_too),
        cmocka_unit_test(a_short_freeze_costs_nothing),
        cmocka_unit_test(a_reader_reads_on_after_restarts),
        cmocka_unit_test(a_server_that_lost_its_data_makes_readers_stale),
        cmocka_unit_test(a_server_that_uses_positions_again_makes_readers_stale),
        cmocka_unit_test(a_consumer_goes_on_after_restarts),
        cmocka_unit_test(a_deleted_consumer_is_made_again),
        cmocka_unit_test(a_group_beyond_its_logs_end_begins_anew),
    };
    nats_server_start(&server);
    world.url = server.url;
    int failed = cmocka_run_group_tests_name("bus_nats_faults", tests, NULL, NULL);
    nats_server_end(&server);
    return failed;
}
