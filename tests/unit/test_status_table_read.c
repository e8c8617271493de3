/* What threads read of the status table while it is written. */
#include "event-processor/status_table.h"

#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdatomic.h>

enum { EVENTS = 20000 };

static struct event_id id_of(uint64_t number)
{
    struct event_id id = {{1}};
    memcpy(id.bytes + 8, &number, sizeof number);
    return id;
}

/* The event with this number, at the position of that number; then its end. */
static void write_one(struct status_table *table, uint64_t number)
{
    const struct status_change change = {
        .id = id_of(number),
        .event_position = number,
        .state = {.status = STATUS_PROCESSED, .attempt = 1},
    };
    status_table_write_begin(table);
    assert_int_equal(status_table_add(table, number, &change.id, VIEW("a"), 0), ERR_NONE);
    status_table_passed_event(table, number);
    status_table_write_end(table);
    status_table_write_begin(table);
    assert_true(status_table_apply(table, &change, number, 0));
    status_table_passed_status(table, number);
    status_table_write_end(table);
}

struct reading {
    struct status_table *table;
    atomic_bool stop;
};

static void *read_all_the_time(void *arg)
{
    struct reading *reading = arg;
    /* In no order, and in the end each. */
    for (uint64_t number = 1; !atomic_load(&reading->stop); number = (number + 7918) % EVENTS + 1) {
        struct status_reflects reflects;
        struct status_entry entry;
        struct event_id id = id_of(number);
        bool found = status_table_find(reading->table, &id, &entry, &reflects);
        /* What an answer reflects is true under the same lock. */
        if (found != (number <= reflects.event_position) ||
            (found && number <= reflects.status_position && !status_ended(entry.state.status)))
            return reading;
    }
    return NULL;
}

static void test_readers_see_what_the_positions_promise(void **state)
{
    (void)state;
    struct reading reading = {.stop = false};
    pthread_t threads[2];
    assert_int_equal(status_table_new(&reading.table), ERR_NONE);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all_the_time, &reading), 0);
    for (uint64_t i = 1; i <= EVENTS; i++)
        write_one(reading.table, i);
    atomic_store(&reading.stop, true);
    for (size_t i = 0; i < 2; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    status_table_free(reading.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_see_what_the_positions_promise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
