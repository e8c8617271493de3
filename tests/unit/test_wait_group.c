/* Waiting for what other threads end.
 */
#include "common/wait_group.h"
#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdbool.h>

#define THREADS 4
#define EACH 5000

static struct wait_group group;

/* What has been ended is written plainly: the group alone makes it visible. */
struct work {
    pthread_t thread;
    int ended[EACH];
    int round;
};

static void *end_all(void *arg)
{
    struct work *work = arg;

    for (int i = 0; i < EACH; i++) {
        work->ended[i] = work->round;
        wait_group_end(&group);
    }
    return NULL;
}

static void none_are_waited_for_at_once(void **state)
{
    (void)state;
    group = (struct wait_group){0};
    wait_group_wait(&group);
    wait_group_begin(&group);
    wait_group_end(&group);
    wait_group_wait(&group);
    wait_group_wait(&group);
}

static void all_have_ended_behind_the_wait(void **state)
{
    static struct work works[THREADS];

    (void)state;
    for (int round = 1; round <= 5; round++) {
        for (int i = 0; i < THREADS * EACH; i++)
            wait_group_begin(&group);
        for (int t = 0; t < THREADS; t++) {
            works[t].round = round;
            assert_int_equal(pthread_create(&works[t].thread, NULL, end_all, &works[t]), 0);
        }
        wait_group_wait(&group);
        for (int t = 0; t < THREADS; t++)
            for (int i = 0; i < EACH; i++)
                assert_int_equal(works[t].ended[i], round);
        for (int t = 0; t < THREADS; t++)
            assert_int_equal(pthread_join(works[t].thread, NULL), 0);
    }
}

/* Those that come one by one wake it once, behind the last. */
static void *end_one(void *arg)
{
    bool *last = arg;

    *last = true;
    wait_group_end(&group);
    return NULL;
}

static void the_last_one_wakes(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        bool last = false;
        pthread_t thread;

        wait_group_begin(&group);
        assert_int_equal(pthread_create(&thread, NULL, end_one, &last), 0);
        wait_group_wait(&group);
        assert_true(last);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_are_waited_for_at_once),
        cmocka_unit_test(all_have_ended_behind_the_wait),
        cmocka_unit_test(the_last_one_wakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
