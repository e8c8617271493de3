#include "event-processor/status_log.h"

#include "common/bus_driver.h"
#include "common/mem.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

/* ---- a bus that does what the test says ---- */

enum { PUBLISHES_MAX = 64, MAX_PAYLOAD = 1 << 20 };

struct publish {
    char message_id[80];
    char *bytes;
    size_t len;
    bus_published_fn done;
    void *ctx;
};

struct fake {
    struct bus base;
    struct bus_log log;
    pthread_mutex_t lock;
    struct publish publishes[PUBLISHES_MAX];
    size_t count;
    enum err refuse; /* what publishing returns while it is set */
    size_t refused;
    uint64_t max_payload;
};

static enum err fake_publish(struct bus_log *log, const struct bus_message *message,
                             bus_published_fn done, void *ctx)
{
    struct fake *fake = (struct fake *)log->bus;
    pthread_mutex_lock(&fake->lock);
    enum err e = fake->refuse;
    if (e) {
        fake->refused++;
    } else if (message->payload.len > fake->max_payload) {
        e = ERR_TOO_LARGE;
        fake->refused++;
    } else {
        struct publish *p = &fake->publishes[fake->count];
        snprintf(p->message_id, sizeof p->message_id, "%s", message->message_id);
        p->bytes = mem_copy_text(message->payload.data, message->payload.len);
        p->len = message->payload.len;
        p->done = done;
        p->ctx = ctx;
        fake->count++;
    }
    pthread_mutex_unlock(&fake->lock);
    return e;
}

/* What the bus said at its last connect; it may have changed since. */
static uint64_t fake_max_payload(struct bus *bus)
{
    (void)bus;
    return MAX_PAYLOAD;
}

static const struct bus_driver fake_driver = {.publish = fake_publish,
                                              .max_payload = fake_max_payload};

static size_t published(struct fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    size_t count = fake->count;
    pthread_mutex_unlock(&fake->lock);
    return count;
}

static size_t refused(struct fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    size_t count = fake->refused;
    pthread_mutex_unlock(&fake->lock);
    return count;
}

static void set_refuse(struct fake *fake, enum err e)
{
    pthread_mutex_lock(&fake->lock);
    fake->refuse = e;
    pthread_mutex_unlock(&fake->lock);
}

static void complete(struct fake *fake, size_t index, enum bus_outcome outcome, enum err why)
{
    assert_until(published(fake) > index);
    struct bus_receipt receipt = {.outcome = outcome, .position = index + 1, .why = why};
    fake->publishes[index].done(fake->publishes[index].ctx, &receipt);
}

static size_t changes_in(struct fake *fake, size_t index)
{
    struct status_batch *batch;
    struct view bytes = {fake->publishes[index].bytes, fake->publishes[index].len};
    assert_int_equal(status_batch_read(bytes, &batch), ERR_NONE);
    assert_true(view_equal(status_batch_processor(batch), VIEW("tester")));
    size_t count = status_batch_count(batch);
    status_batch_free(batch);
    return count;
}

/* ---- a test's world ---- */

struct world {
    struct fake fake;
    struct metrics *metrics;
    struct status_log *log;
    bool stopped;
};

struct one {
    struct status_append append;
    atomic_int stored; /* times */
    atomic_int given_up;
};

static void on_done(struct status_append *append, bool stored)
{
    struct one *one = (struct one *)append;
    atomic_fetch_add(stored ? &one->stored : &one->given_up, 1);
}

static int begin(void **state)
{
    static struct world world;
    world = (struct world){.fake = {.max_payload = MAX_PAYLOAD}};
    pthread_mutex_init(&world.fake.lock, NULL);
    world.fake.base.driver = &fake_driver;
    world.fake.log.bus = &world.fake.base;
    assert_int_equal(metrics_new(&world.metrics), ERR_NONE);
    assert_int_equal(status_log_start(&(struct status_log_options){.bus = &world.fake.base,
                                                                   .log = &world.fake.log,
                                                                   .subject = "t.status.g",
                                                                   .processor = VIEW("tester"),
                                                                   .metrics = world.metrics},
                                      &world.log),
                     ERR_NONE);
    *state = &world;
    return 0;
}

static int end(void **state)
{
    struct world *world = *state;
    if (!world->stopped)
        status_log_stop(world->log, 0);
    status_log_free(world->log);
    metrics_free(world->metrics);
    for (size_t i = 0; i < world->fake.count; i++)
        mem_free(world->fake.publishes[i].bytes);
    pthread_mutex_destroy(&world->fake.lock);
    return 0;
}

static void append(struct world *world, struct one *one, uint64_t number)
{
    *one = (struct one){.append = {.change = {.id = {{1, (uint8_t)number, (uint8_t)(number >> 8)}},
                                              .event_position = number,
                                              .state = {.status = STATUS_PROCESSED, .attempt = 1},
                                              .time_ms = 1700000000000},
                                   .done = on_done}};
    status_log_append(world->log, &one->append);
}

static int all_stored(struct one *ones, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (atomic_load(&ones[i].stored) != 1 || atomic_load(&ones[i].given_up) != 0)
            return 0;
    return 1;
}

/* ---- the straight way ---- */

static void test_a_change_is_stored_when_the_bus_says_so(void **state)
{
    struct world *world = *state;
    struct one one;
    append(world, &one, 1);
    assert_until(published(&world->fake) == 1);
    assert_int_equal(changes_in(&world->fake, 0), 1);
    assert_int_equal(atomic_load(&one.stored), 0);
    complete(&world->fake, 0, BUS_STORED, ERR_NONE);
    assert_until(all_stored(&one, 1));
}

static void test_what_comes_during_an_append_is_the_next_batch(void **state)
{
    struct world *world = *state;
    static struct one first, next[100];
    append(world, &first, 1);
    assert_until(published(&world->fake) == 1);
    for (size_t i = 0; i < 100; i++)
        append(world, &next[i], 2 + i);
    assert_int_equal(published(&world->fake), 1);
    complete(&world->fake, 0, BUS_STORED, ERR_NONE);
    complete(&world->fake, 1, BUS_DUPLICATE, ERR_NONE); /* is stored, too */
    assert_int_equal(changes_in(&world->fake, 1), 100);
    assert_until(all_stored(next, 100));
    assert_true(all_stored(&first, 1));
    assert_string_not_equal(world->fake.publishes[0].message_id,
                            world->fake.publishes[1].message_id);
}

static void test_a_batch_has_a_bound(void **state)
{
    struct world *world = *state;
    static struct one first, many[STATUS_BATCH_MAX + 10];
    append(world, &first, 1);
    assert_until(published(&world->fake) == 1);
    for (size_t i = 0; i < STATUS_BATCH_MAX + 10; i++)
        append(world, &many[i], 2 + i);
    complete(&world->fake, 0, BUS_STORED, ERR_NONE);
    complete(&world->fake, 1, BUS_STORED, ERR_NONE);
    complete(&world->fake, 2, BUS_STORED, ERR_NONE);
    assert_int_equal(changes_in(&world->fake, 1), STATUS_BATCH_MAX);
    assert_int_equal(changes_in(&world->fake, 2), 10);
    assert_until(all_stored(many, STATUS_BATCH_MAX + 10));
}

/* ---- when it goes wrong ---- */

static void same_again(struct world *world, size_t a, size_t b)
{
    assert_until(published(&world->fake) > b);
    const struct publish *one = &world->fake.publishes[a];
    const struct publish *other = &world->fake.publishes[b];
    assert_string_equal(one->message_id, other->message_id);
    assert_int_equal(one->len, other->len);
    assert_memory_equal(one->bytes, other->bytes, one->len);
}

static void test_an_unknown_outcome_is_sent_again_byte_for_byte(void **state)
{
    struct world *world = *state;
    struct one one, later;
    append(world, &one, 1);
    complete(&world->fake, 0, BUS_UNKNOWN, ERR_NONE);
    append(world, &later, 2); /* must not get into the batch that may be stored already */
    same_again(world, 0, 1);
    complete(&world->fake, 1, BUS_REFUSED, ERR_FULL);
    same_again(world, 0, 2);
    assert_int_equal(atomic_load(&one.stored), 0);
    complete(&world->fake, 2, BUS_DUPLICATE, ERR_NONE);
    assert_until(all_stored(&one, 1));
    complete(&world->fake, 3, BUS_STORED, ERR_NONE);
    assert_until(all_stored(&later, 1));
}

static void test_it_goes_on_when_the_bus_is_back(void **state)
{
    struct world *world = *state;
    struct one one;
    set_refuse(&world->fake, ERR_UNAVAILABLE);
    append(world, &one, 1);
    assert_until(refused(&world->fake) >= 2);
    set_refuse(&world->fake, ERR_BUSY);
    size_t before = refused(&world->fake);
    assert_until(refused(&world->fake) > before);
    assert_int_equal(atomic_load(&one.stored), 0);
    set_refuse(&world->fake, ERR_NONE);
    complete(&world->fake, 0, BUS_STORED, ERR_NONE);
    assert_until(all_stored(&one, 1));
}

static void test_a_batch_that_became_too_large_is_split(void **state)
{
    struct world *world = *state;
    static struct one first, many[64];
    append(world, &first, 1);
    assert_until(published(&world->fake) == 1);
    world->fake.max_payload = 400; /* nothing is being published now */
    for (size_t i = 0; i < 64; i++)
        append(world, &many[i], 2 + i);
    complete(&world->fake, 0, BUS_STORED, ERR_NONE);
    size_t seen = 0;
    for (size_t i = 1; seen < 64; i++) {
        complete(&world->fake, i, BUS_STORED, ERR_NONE);
        seen += changes_in(&world->fake, i);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(world->fake.publishes[i].message_id,
                                    world->fake.publishes[j].message_id);
    }
    assert_int_equal(seen, 64);
    assert_until(all_stored(many, 64));
}

/* ---- the end ---- */

static void *complete_both(void *arg)
{
    struct world *world = arg;
    for (size_t i = 0; i < 2; i++)
        complete(&world->fake, i, BUS_STORED, ERR_NONE);
    return NULL;
}

static void test_a_stop_finishes_what_it_can(void **state)
{
    struct world *world = *state;
    static struct one ones[3];
    append(world, &ones[0], 1);
    assert_until(published(&world->fake) == 1);
    append(world, &ones[1], 2);
    /* Completes the appends while status_log_stop waits for them. */
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, complete_both, world), 0);
    status_log_stop(world->log, UNTIL_LIMIT_MS);
    world->stopped = true;
    pthread_join(thread, NULL);
    assert_true(all_stored(ones, 2));
    append(world, &ones[2], 3);
    assert_int_equal(atomic_load(&ones[2].given_up), 1);
}

static void test_a_stop_gives_up_in_time_and_a_late_receipt_is_harmless(void **state)
{
    struct world *world = *state;
    static struct one ones[2];
    append(world, &ones[0], 1);
    assert_until(published(&world->fake) == 1);
    append(world, &ones[1], 2);
    status_log_stop(world->log, 20);
    world->stopped = true;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(atomic_load(&ones[i].given_up), 1);
        assert_int_equal(atomic_load(&ones[i].stored), 0);
    }
    complete(&world->fake, 0, BUS_UNKNOWN, ERR_NONE); /* as bus_close does */
    assert_int_equal(atomic_load(&ones[0].given_up), 1);
}

static void test_a_stop_ends_the_waiting_between_two_tries(void **state)
{
    struct world *world = *state;
    struct one one;
    set_refuse(&world->fake, ERR_UNAVAILABLE);
    append(world, &one, 1);
    assert_until(refused(&world->fake) >= 3);
    status_log_stop(world->log, 1);
    world->stopped = true;
    assert_int_equal(atomic_load(&one.given_up), 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_a_change_is_stored_when_the_bus_says_so),
        test(test_what_comes_during_an_append_is_the_next_batch),
        test(test_a_batch_has_a_bound),
        test(test_an_unknown_outcome_is_sent_again_byte_for_byte),
        test(test_it_goes_on_when_the_bus_is_back),
        test(test_a_batch_that_became_too_large_is_split),
        test(test_a_stop_finishes_what_it_can),
        test(test_a_stop_gives_up_in_time_and_a_late_receipt_is_harmless),
        test(test_a_stop_ends_the_waiting_between_two_tries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
