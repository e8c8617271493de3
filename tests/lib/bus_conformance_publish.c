#include "tests/lib/bus_conformance.h"
#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* What a callback was told; `count` is how often it was called. */
struct outcome {
    _Atomic int count;
    struct bus_receipt receipt;
};
static void note(void *ctx, const struct bus_receipt *receipt)
{
    struct outcome *outcome = ctx;
    outcome->receipt = *receipt;
    atomic_fetch_add(&outcome->count, 1);
}
static void wait_for(const struct outcome *outcome)
{
    int64_t limit = test_now_ms() + TEST_LIMIT_MS;
    while (atomic_load(&outcome->count) == 0) {
        assert_true(test_now_ms() < limit);
        test_sleep_a_little();
    }
}

static enum err publish(struct bus_fixture *f, const char *name, struct view payload,
                        const char *message_id, struct bus_receipt *ret)
{
    char subject[128];
    snprintf(subject, sizeof subject, "%s.%s", f->prefix, name);
    const struct bus_message message = {
        .subject = subject, .payload = payload, .message_id = message_id};
    return bus_publish_wait(f->log, &message, ret);
}

static void a_publish_is_stored_at_the_next_position(void **state)
{
    struct bus_fixture f;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 20);
    assert_int_equal(bus_in_flight(f.bus), 0);
    bus_fixture_end(&f);
}

static void a_second_copy_is_a_duplicate_of_the_first(void **state)
{
    struct bus_fixture f;
    struct bus_receipt receipt;
    bus_fixture_begin(&f, *state, NULL);
    bus_fixture_publish_many(&f, 1, 3);
    assert_int_equal(publish(&f, "a", VIEW("x"), "id-1", &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_STORED);
    assert_int_equal(receipt.position, 4);
    assert_int_equal(publish(&f, "a", VIEW("other"), "id-1", &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_DUPLICATE);
    assert_int_equal(receipt.position, 4);
    assert_int_equal(publish(&f, "a", VIEW("x"), "id-2", &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_STORED);
    assert_int_equal(publish(&f, "a", VIEW("x"), NULL, &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_STORED);
    assert_int_equal(receipt.position, 6);
    bus_fixture_end(&f);
}

static void too_many_in_flight_are_busy_at_once(void **state)
{
    struct bus_world *world = *state;
    struct bus_fixture f;
    struct outcome outcomes[5] = {0};
    bus_fixture_begin(&f, world, &(struct bus_fixture_options){.max_in_flight = 4});
    const struct bus_message message = {.subject = f.prefix, .payload = VIEW("x")};
    char subject[64];
    snprintf(subject, sizeof subject, "%s.a", f.prefix);
    struct bus_message held = message;
    held.subject = subject;
    world->hold(world, f.bus);
    for (int i = 0; i < 4; i++)
        assert_int_equal(bus_publish(f.log, &held, note, &outcomes[i]), ERR_NONE);
    assert_int_equal(bus_in_flight(f.bus), 4);
    assert_int_equal(bus_publish(f.log, &held, note, &outcomes[4]), ERR_BUSY);
    world->let_go(world, f.bus);
    for (int i = 0; i < 4; i++) {
        wait_for(&outcomes[i]);
        assert_int_equal(outcomes[i].receipt.outcome, BUS_STORED);
        assert_int_equal(outcomes[i].receipt.position, i + 1);
    }
    assert_int_equal(outcomes[4].count, 0);
    assert_int_equal(bus_in_flight(f.bus), 0);
    assert_int_equal(bus_fixture_publish(&f, "a", "again").position, 5);
    bus_fixture_end(&f);
}

static void what_is_in_flight_at_the_close_is_unknown(void **state)
{
    struct bus_world *world = *state;
    struct bus_fixture f;
    struct outcome outcomes[3] = {0};
    char subject[64];
    bus_fixture_begin(&f, world, NULL);
    snprintf(subject, sizeof subject, "%s.a", f.prefix);
    const struct bus_message message = {.subject = subject, .payload = VIEW("x")};
    world->hold(world, f.bus);
    for (int i = 0; i < 3; i++)
        assert_int_equal(bus_publish(f.log, &message, note, &outcomes[i]), ERR_NONE);
    bus_close(f.bus);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(outcomes[i].count, 1);
        assert_int_equal(outcomes[i].receipt.outcome, BUS_UNKNOWN);
    }
    world->let_go(world, NULL);
}

static void a_message_beyond_the_limit_is_too_large(void **state)
{
    struct bus_fixture f;
    struct bus_receipt receipt;
    bus_fixture_begin(&f, *state, NULL);
    size_t limit = (size_t)bus_max_payload(f.bus);
    assert_true(limit >= 1024 * 1024);
    char *text = calloc(1, limit + 1);
    assert_non_null(text);
    memset(text, 'x', limit + 1);
    struct view payload = {text, limit + 1};
    assert_int_equal(publish(&f, "a", payload, NULL, &receipt), ERR_TOO_LARGE);
    payload.len = limit - 1000; /* room for headers */
    assert_int_equal(publish(&f, "a", payload, NULL, &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_STORED);
    free(text);
    bus_fixture_end(&f);
}

static void a_full_log_refuses_and_says_so(void **state)
{
    struct bus_fixture f;
    struct bus_receipt receipt = {.outcome = BUS_STORED};
    char text[1000];
    uint64_t stored = 0;
    memset(text, 'x', sizeof text);
    bus_fixture_begin(&f, *state, &(struct bus_fixture_options){.max_bytes = 20000});
    while (receipt.outcome == BUS_STORED && stored < 100) {
        stored = receipt.position;
        assert_int_equal(publish(&f, "a", (struct view){text, sizeof text}, NULL, &receipt),
                         ERR_NONE);
    }
    assert_int_equal(receipt.outcome, BUS_REFUSED);
    assert_int_equal(receipt.why, ERR_FULL);
    assert_string_equal(receipt.detail.text, "maximum bytes exceeded");
    struct bus_log_end end;
    assert_int_equal(bus_log_end(f.log, TEST_LIMIT_MS, &end), ERR_NONE);
    assert_int_equal(end.last, stored);
    assert_true(stored > 10 && stored < 20);
    bus_fixture_end(&f);
}

static void a_subject_that_no_log_takes_is_refused(void **state)
{
    struct bus_fixture f;
    struct bus_receipt receipt;
    bus_fixture_begin(&f, *state, NULL);
    const struct bus_message message = {.subject = "nobody.takes.this", .payload = VIEW("x")};
    assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_NONE);
    assert_int_equal(receipt.outcome, BUS_REFUSED);
    assert_int_equal(receipt.why, ERR_UNAVAILABLE);
    assert_true(receipt.detail.text[0] != '\0');
    assert_int_equal(bus_wait_ready(f.bus, TEST_LIMIT_MS, NULL), ERR_NONE);
    assert_int_equal(bus_fixture_publish(&f, "a", "x").position, 1);
    bus_fixture_end(&f);
}

struct chain {
    struct bus_fixture *f;
    char subject[64];
    int left;
    struct outcome end;
};
static void publish_next(void *ctx, const struct bus_receipt *receipt)
{
    struct chain *chain = ctx;
    const struct bus_message message = {.subject = chain->subject, .payload = VIEW("x")};
    if (--chain->left == 0)
        note(&chain->end, receipt);
    else if (bus_publish(chain->f->log, &message, publish_next, chain) != ERR_NONE)
        abort();
}

static void a_callback_may_publish(void **state)
{
    struct bus_fixture f;
    struct chain chain = {.f = &f, .left = 50};
    bus_fixture_begin(&f, *state, NULL);
    snprintf(chain.subject, sizeof chain.subject, "%s.a", f.prefix);
    const struct bus_message message = {.subject = chain.subject, .payload = VIEW("x")};
    assert_int_equal(bus_publish(f.log, &message, publish_next, &chain), ERR_NONE);
    wait_for(&chain.end);
    assert_int_equal(chain.end.receipt.outcome, BUS_STORED);
    assert_int_equal(chain.end.receipt.position, 50);
    bus_fixture_end(&f);
}

/* ---- many threads ---- */

enum { THREADS = 16, PER_THREAD = 100 };
struct publishing {
    struct bus_fixture *f;
    int number;
    uint64_t positions[PER_THREAD];
};
static void *publish_some(void *arg)
{
    struct publishing *p = arg;
    char subject[64];
    char text[32];
    snprintf(subject, sizeof subject, "%s.a", p->f->prefix);
    for (int i = 0; i < PER_THREAD; i++) {
        struct bus_receipt receipt;
        snprintf(text, sizeof text, "%d/%d", p->number, i);
        const struct bus_message message = {.subject = subject, .payload = view_of(text)};
        if (bus_publish_wait(p->f->log, &message, &receipt) == ERR_NONE &&
            receipt.outcome == BUS_STORED)
            p->positions[i] = receipt.position;
    }
    return NULL;
}

static void each_of_many_threads_gets_its_own_outcome(void **state)
{
    static struct publishing publishing[THREADS];
    pthread_t threads[THREADS];
    struct bus_fixture f;
    char text[32];
    bus_fixture_begin(&f, *state, NULL);
    for (int i = 0; i < THREADS; i++) {
        publishing[i] = (struct publishing){.f = &f, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, publish_some, &publishing[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < PER_THREAD; j += 10) {
            struct bus_record *record = NULL;
            assert_int_equal(
                bus_log_read(f.log, publishing[i].positions[j], TEST_LIMIT_MS, &record), ERR_NONE);
            snprintf(text, sizeof text, "%d/%d", i, j);
            assert_true(view_equal(record->payload, view_of(text)));
            bus_record_free(record);
        }
    bus_fixture_end(&f);
}

/* ---- arguments ---- */

static void what_no_subject_or_header_may_contain_is_invalid(void **state)
{
    static const char *const subjects[] = {"",     ".",     "a.",    ".a",    "a..b",
                                           "a b",  "a.*",   "a.>",   "*",     "a\nb",
                                           "a\tb", "a\x7f", "a\xff", "a.b*c", "a.>b.c"};
    const struct bus_header headers[] = {
        {"", VIEW("x")},    {"a:b", VIEW("x")},       {"a b", VIEW("x")},  {"a\n", VIEW("x")},
        {"a", VIEW("x\n")}, {"a", VIEW("x\r\nb: c")}, {"a", VIEW("x\0y")}, {NULL, VIEW("x")},
    };
    struct bus_fixture f;
    struct bus_receipt receipt;
    bus_fixture_begin(&f, *state, NULL);
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        const struct bus_message message = {.subject = subjects[i]};
        assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_INVALID);
    }
    char subject[64];
    snprintf(subject, sizeof subject, "%s.a", f.prefix);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        const struct bus_message message = {
            .subject = subject, .headers = &headers[i], .header_count = 1};
        assert_int_equal(bus_publish_wait(f.log, &message, &receipt), ERR_INVALID);
    }
    assert_int_equal(publish(&f, "a", VIEW(""), "a\nb", &receipt), ERR_INVALID);
    struct bus_log_end end;
    assert_int_equal(bus_log_end(f.log, TEST_LIMIT_MS, &end), ERR_NONE);
    assert_int_equal(end.last, 0);
    bus_fixture_end(&f);
}

static void what_no_log_may_be_is_invalid(void **state)
{
    const struct bus_log_spec good = {
        .name = "GOOD", .subject = "good.>", .duplicate_window_ms = 1000, .replicas = 1};
    struct bus_fixture f;
    struct bus_log *log = NULL;
    struct bus_log_spec bad[9];
    bus_fixture_begin(&f, *state, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        bad[i] = good;
    bad[0].name = "A.B";
    bad[1].name = "";
    bad[2].name = "A B";
    bad[3].subject = "a.>.b";
    bad[4].subject = "";
    bad[5].replicas = 2;
    bad[6].duplicate_window_ms = 0;
    bad[7].max_age_ms = 500; /* shorter than the duplicate window */
    bad[8].max_bytes = UINT64_MAX;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(bus_log_open(f.bus, &bad[i], &log), ERR_INVALID);
    assert_null(log);
    bus_fixture_end(&f);
}

const struct CMUnitTest bus_publish_tests[] = {
    cmocka_unit_test(a_publish_is_stored_at_the_next_position),
    cmocka_unit_test(a_second_copy_is_a_duplicate_of_the_first),
    cmocka_unit_test(too_many_in_flight_are_busy_at_once),
    cmocka_unit_test(what_is_in_flight_at_the_close_is_unknown),
    cmocka_unit_test(a_message_beyond_the_limit_is_too_large),
    cmocka_unit_test(a_full_log_refuses_and_says_so),
    cmocka_unit_test(a_subject_that_no_log_takes_is_refused),
    cmocka_unit_test(a_callback_may_publish),
    cmocka_unit_test(each_of_many_threads_gets_its_own_outcome),
    cmocka_unit_test(what_no_subject_or_header_may_contain_is_invalid),
    cmocka_unit_test(what_no_log_may_be_is_invalid),
};
const size_t bus_publish_test_count = sizeof bus_publish_tests / sizeof *bus_publish_tests;
