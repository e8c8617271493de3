#include "event-processor/timer.h"

#include "common/clock.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { WAITS = 500 };

/* What was called, in order. */
struct calls {
    pthread_mutex_t lock;
    struct timer *timer;
    size_t count;
    int order[WAITS];
    size_t due;
};
struct one {
    struct calls *calls;
    int number;
    int64_t from_ms, to_ms; /* when it is due, at the earliest and the latest */
    bool again;
    enum err added; /* what adding it again returned */
};

static void on_call(void *ctx, bool due)
{
    struct one *one = ctx;
    pthread_mutex_lock(&one->calls->lock);
    one->calls->order[one->calls->count++] = one->number;
    one->calls->due += due;
    pthread_mutex_unlock(&one->calls->lock);
    if (one->again) {
        one->again = false;
        one->added = timer_add(one->calls->timer, 0, on_call, one);
    }
}

static size_t count_of(struct calls *calls)
{
    pthread_mutex_lock(&calls->lock);
    size_t count = calls->count;
    pthread_mutex_unlock(&calls->lock);
    return count;
}

static void begin(struct calls *calls, size_t capacity)
{
    *calls = (struct calls){.count = 0};
    pthread_mutex_init(&calls->lock, NULL);
    assert_int_equal(timer_start(capacity, &calls->timer), ERR_NONE);
}

static void end(struct calls *calls)
{
    timer_stop(calls->timer);
    timer_free(calls->timer);
    pthread_mutex_destroy(&calls->lock);
}

static void test_waits_end_in_the_order_of_their_times(void **state)
{
    (void)state;
    static struct calls calls;
    static struct one ones[WAITS];
    begin(&calls, WAITS);
    for (int i = 0; i < WAITS; i++) {
        int64_t delay_ms = 500 + (i * 7919) % WAITS;
        ones[i] = (struct one){.calls = &calls, .number = i};
        ones[i].from_ms = clock_monotonic_ms(&clock_system) + delay_ms;
        assert_int_equal(timer_add(calls.timer, delay_ms, on_call, &ones[i]), ERR_NONE);
        ones[i].to_ms = clock_monotonic_ms(&clock_system) + 1 + delay_ms;
    }
    assert_until(count_of(&calls) == WAITS);
    for (int i = 1; i < WAITS; i++)
        assert_true(ones[calls.order[i - 1]].from_ms <= ones[calls.order[i]].to_ms);
    assert_int_equal(calls.due, WAITS);
    end(&calls);
}

static void test_the_same_time_keeps_the_order(void **state)
{
    (void)state;
    static struct calls calls;
    static struct one ones[WAITS];
    begin(&calls, WAITS);
    for (int i = 0; i < WAITS; i++) {
        ones[i] = (struct one){.calls = &calls, .number = i};
        assert_int_equal(timer_add(calls.timer, 0, on_call, &ones[i]), ERR_NONE);
    }
    assert_until(count_of(&calls) == WAITS);
    for (int i = 0; i < WAITS; i++)
        assert_int_equal(calls.order[i], i);
    end(&calls);
}

static void test_a_call_may_wait_again(void **state)
{
    (void)state;
    struct calls calls;
    begin(&calls, 1);
    struct one one = {.calls = &calls, .number = 1, .again = true};
    assert_int_equal(timer_add(calls.timer, 1, on_call, &one), ERR_NONE);
    assert_until(count_of(&calls) == 2);
    assert_int_equal(calls.due, 2);
    assert_int_equal(one.added, ERR_NONE);
    end(&calls);
}

static void test_a_stop_ends_all_waits_and_refuses_new_ones(void **state)
{
    (void)state;
    struct calls calls;
    begin(&calls, 3);
    struct one ones[3] = {{.calls = &calls, .number = 0},
                          {.calls = &calls, .number = 1, .again = true},
                          {.calls = &calls, .number = 2}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(timer_add(calls.timer, 3600 * 1000, on_call, &ones[i]), ERR_NONE);
    assert_int_equal(timer_add(calls.timer, 1, on_call, &ones[0]), ERR_BUSY);
    timer_stop(calls.timer);
    assert_int_equal(calls.count, 3);
    assert_int_equal(calls.due, 0);
    assert_int_equal(ones[1].added, ERR_UNAVAILABLE);
    assert_int_equal(timer_add(calls.timer, 0, on_call, &ones[0]), ERR_UNAVAILABLE);
    timer_free(calls.timer);
    pthread_mutex_destroy(&calls.lock);
}

static void test_a_cancelled_wait_is_not_called(void **state)
{
    (void)state;
    static struct one ones[WAITS];
    struct calls calls;
    unsigned seed = 1;
    begin(&calls, WAITS);
    for (int i = 0; i < WAITS; i++) { /* so late that none is due, in no order */
        ones[i] = (struct one){.calls = &calls, .number = i};
        assert_int_equal(
            timer_add(calls.timer, 3600000 + rand_r(&seed) % 100000, on_call, &ones[i]), ERR_NONE);
    }
    for (int i = 0; i < WAITS; i += 2)
        assert_true(timer_cancel(calls.timer, &ones[i]));
    for (int i = 0; i < WAITS; i += 2)
        assert_false(timer_cancel(calls.timer, &ones[i]));
    assert_int_equal(timer_add(calls.timer, 0, on_call, &ones[0]), ERR_NONE); /* there is room */
    assert_until(count_of(&calls) == 1);
    timer_stop(calls.timer);
    assert_int_equal(calls.count, 1 + WAITS / 2);
    assert_int_equal(calls.due, 1);
    for (size_t i = 1; i < calls.count; i++)
        assert_int_equal(calls.order[i] % 2, 1);
    assert_false(timer_cancel(calls.timer, &ones[1]));
    timer_free(calls.timer);
    pthread_mutex_destroy(&calls.lock);
}

static void test_what_is_left_keeps_its_order(void **state)
{
    (void)state;
    static struct one ones[WAITS];
    struct calls calls;
    unsigned seed = 7;
    int delays[WAITS];
    begin(&calls, WAITS);
    for (int i = 0; i < WAITS; i++) {
        delays[i] = 3600000 + 1000 * (rand_r(&seed) % 1000);
        ones[i] = (struct one){.calls = &calls, .number = i};
        assert_int_equal(timer_add(calls.timer, delays[i], on_call, &ones[i]), ERR_NONE);
    }
    for (int i = 0; i < WAITS; i++)
        if (rand_r(&seed) % 2)
            assert_true(timer_cancel(calls.timer, &ones[i]));
    timer_stop(calls.timer);
    for (size_t i = 1; i < calls.count; i++)
        assert_true(delays[calls.order[i - 1]] <= delays[calls.order[i]]);
    timer_free(calls.timer);
    pthread_mutex_destroy(&calls.lock);
}

/* Whoever cancels as a wait is due: it is called or it is cancelled, and never both. */
static void test_a_wait_is_either_called_or_cancelled(void **state)
{
    (void)state;
    static struct one ones[WAITS];
    struct calls calls;
    size_t cancelled = 0;
    begin(&calls, WAITS);
    for (int i = 0; i < WAITS; i++) {
        ones[i] = (struct one){.calls = &calls, .number = i};
        assert_int_equal(timer_add(calls.timer, i % 3, on_call, &ones[i]), ERR_NONE);
        cancelled += timer_cancel(calls.timer, &ones[i - i % 5]);
    }
    assert_until(count_of(&calls) + cancelled == WAITS);
    end(&calls);
    assert_int_equal(calls.count + cancelled, WAITS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_end_in_the_order_of_their_times),
        cmocka_unit_test(test_the_same_time_keeps_the_order),
        cmocka_unit_test(test_a_call_may_wait_again),
        cmocka_unit_test(test_a_stop_ends_all_waits_and_refuses_new_ones),
        cmocka_unit_test(test_a_cancelled_wait_is_not_called),
        cmocka_unit_test(test_what_is_left_keeps_its_order),
        cmocka_unit_test(test_a_wait_is_either_called_or_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
