#include "event-processor/follower.h"

#include "tests/lib/mem_world.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <math.h>

enum { PATIENCE_MS = 10000, STILL_MS = 300 };

static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 1};
static const struct status_state retrying = {.status = STATUS_RETRYING, .attempt = 1};

/* A replica: its table and what follows the logs for it. */
struct replica {
    struct mem_world *world;
    struct metrics *metrics;
    struct status_table *table;
    struct follower *follower;
};

static void start(struct mem_world *world, struct replica *replica)
{
    replica->world = world;
    assert_int_equal(metrics_new(&replica->metrics), ERR_NONE);
    assert_int_equal(status_table_new(&replica->table), ERR_NONE);
    assert_int_equal(follower_start(&(struct follower_options){.event_log = world->events,
                                                               .event_stream = MEM_WORLD_STREAM,
                                                               .ns = MEM_WORLD_NS,
                                                               .status_log = world->statuses,
                                                               .table = replica->table,
                                                               .still_ms = STILL_MS,
                                                               .metrics = replica->metrics},
                                    &replica->follower),
                     ERR_NONE);
}

static void stop(struct replica *replica)
{
    follower_stop(replica->follower);
    follower_free(replica->follower);
    status_table_free(replica->table);
    metrics_free(replica->metrics);
}

/* Waits until it knows all that is stored now; returns what it knows. */
static struct status_table_stats caught_up(struct replica *replica)
{
    struct follower_target target;
    struct status_table_stats stats;
    enum err e = ERR_DEADLINE;
    /* A log made anew is noticed in the middle of it: then the ends are asked for again. */
    for (int i = 0; e && i < 100; i++) {
        assert_until(follower_ends(replica->follower, PATIENCE_MS, &target) == ERR_NONE);
        e = follower_wait(replica->follower, &target, 100, NULL);
    }
    assert_int_equal(e, ERR_NONE);
    status_table_stats(replica->table, 0, &stats);
    return stats;
}

static int begin(void **state)
{
    static struct mem_world world;
    mem_world_open(&world);
    *state = &world;
    return 0;
}

static int end(void **state)
{
    mem_world_close(*state);
    return 0;
}

static void fill(struct mem_world *world, size_t events)
{
    for (size_t i = 0; i < events; i++) {
        struct event_id id = {{0}};
        uint64_t position = mem_world_event(world, "n", "", &id);
        mem_world_change(world, &id, position, processed, 0, "");
    }
}

/* ---- following ---- */

static void test_both_logs_are_folded(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    struct event_id before = {{0}}, after = {{0}};
    uint64_t position = mem_world_event(world, "order.created", "x", &before);
    mem_world_change(world, &before, position, processed, 0, "");
    start(world, &replica);
    struct status_table_stats stats = caught_up(&replica);
    assert_int_equal(stats.events, 1);
    assert_int_equal(stats.counts[STATUS_PROCESSED], 1);

    position = mem_world_event(world, "order.paid", "y", &after);
    stats = caught_up(&replica);
    assert_int_equal(stats.counts[STATUS_ACCEPTED], 1);
    uint64_t change = mem_world_change(world, &after, position, processed, 0, "");
    stats = caught_up(&replica);
    assert_int_equal(stats.counts[STATUS_PROCESSED], 2);
    struct status_entry entry;
    struct status_reflects reflects;
    assert_true(status_table_find(replica.table, &after, &entry, &reflects));
    assert_true(view_equal(entry.name, VIEW("order.paid")));
    assert_int_equal(entry.change_position, change);
    assert_int_equal(reflects.status_position, change);
    stop(&replica);
}

static void test_replicas_agree_however_they_read(void **state)
{
    struct mem_world *world = *state;
    enum { EVENTS = 3000, BATCH = 50 };
    static struct event_id ids[EVENTS];
    static uint64_t positions[EVENTS];
    struct replica live, late;
    struct status_change changes[BATCH];
    start(world, &live);
    for (size_t i = 0; i < EVENTS; i += BATCH) {
        for (size_t j = 0; j < BATCH; j++) {
            bool copy = (i + j) % 7 == 6;
            ids[i + j] = copy ? ids[(i + j) / 2] : (struct event_id){{0}};
            positions[i + j] = mem_world_event(world, "n", "", &ids[i + j]);
            changes[j] = (struct status_change){.id = ids[i + j],
                                                .event_position = positions[i + j],
                                                .state = j % 3 ? processed : retrying,
                                                .time_ms = 1700000000000};
        }
        mem_world_batch(world, changes, BATCH);
        mem_world_batch(world, changes, BATCH / 2); /* sent twice */
        if (i % 1000 == 0)
            (void)caught_up(&live); /* so that it reads in small pieces */
    }
    struct status_table_stats one = caught_up(&live);
    start(world, &late);
    struct status_table_stats other = caught_up(&late);
    assert_int_equal(one.digest, other.digest);
    assert_memory_equal(one.counts, other.counts, sizeof one.counts);
    assert_true(one.copies > 0 && one.counts[STATUS_PROCESSED] > 0);
    stop(&live);
    stop(&late);
}

static void test_what_is_no_event_has_an_identity_all_the_same(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    uint64_t position = mem_world_junk(world, "junk");
    start(world, &replica);
    assert_int_equal(caught_up(&replica).events, 1);
    struct event_id id;
    struct status_entry entry;
    id_of_position(VIEW(MEM_WORLD_STREAM), position, &id);
    assert_true(status_table_find(replica.table, &id, &entry, NULL));
    assert_true(view_equal(entry.name, VIEW(FOLLOWER_MALFORMED_NAME)));
    stop(&replica);
}

static void test_a_conflict_is_folded_if_its_id_is_that_of_its_position(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    struct event_id id = {{0}}, own, of_another_stream;
    struct status_change changes[3];
    uint64_t first = mem_world_event(world, "n", "a", &id);
    uint64_t second = mem_world_event(world, "n", "b", &id);
    uint64_t third = mem_world_event(world, "n", "c", &id);
    id_of_position(VIEW(MEM_WORLD_STREAM), second, &own);
    id_of_position(VIEW("OTHER_EVENTS"), third, &of_another_stream);
    changes[0] = (struct status_change){.id = own,
                                        .event_position = second,
                                        .state = {.status = STATUS_DEAD},
                                        .conflict_id = id,
                                        .conflict_position = first};
    changes[1] = changes[0];
    changes[1].id = of_another_stream;
    changes[1].event_position = third;
    changes[2] = (struct status_change){
        .id = id, .event_position = first, .state = processed}; /* the rest of the batch counts */
    mem_world_batch(world, changes, 3);
    start(world, &replica);
    struct status_table_stats stats = caught_up(&replica);
    assert_int_equal(stats.counts[STATUS_DEAD], 1);
    assert_int_equal(stats.counts[STATUS_PROCESSED], 1);
    assert_int_equal(stats.copies, 1);
    struct status_entry entry;
    assert_true(status_table_find(replica.table, &own, &entry, NULL));
    assert_int_equal(entry.event_position, second);
    assert_false(status_table_find(replica.table, &of_another_stream, &entry, NULL));
    stop(&replica);
}

static void test_a_malformed_batch_is_counted_and_skipped(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    struct event_id id = {{0}};
    uint64_t position = mem_world_event(world, "n", "", &id);
    mem_world_junk_batch(world);
    mem_world_change(world, &id, position, processed, 0, "");
    start(world, &replica);
    assert_int_equal(caught_up(&replica).counts[STATUS_PROCESSED], 1);
    assert_true(mem_world_metric(replica.metrics, "tidings_status_batches_malformed_total") == 1);
    stop(&replica);
}

static void test_a_change_of_an_event_that_is_not_there_stops_nothing(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    struct event_id id = {{0}}, nobody = {{5}};
    mem_world_event(world, "n", "", &id);
    mem_world_change(world, &nobody, 1000, processed, 0, "");
    mem_world_change(world, &id, 1, processed, 0, "");
    start(world, &replica);
    assert_int_equal(caught_up(&replica).counts[STATUS_PROCESSED], 1);
    stop(&replica);
}

/* ---- readiness ---- */

static void test_it_is_ready_when_it_has_caught_up(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    struct follower_target nothing = {0};
    struct event_id id = {{0}};
    mem_world_event(world, "n", "", &id);
    bus_mem_set_away(world->bus, true);
    start(world, &replica);
    assert_int_equal(follower_wait(replica.follower, &nothing, 50, NULL), ERR_DEADLINE);
    assert_int_equal(follower_ready(replica.follower), 0);
    struct follower_target target;
    assert_int_equal(follower_ends(replica.follower, 50, &target), ERR_UNAVAILABLE);
    bus_mem_set_away(world->bus, false);
    uint64_t epoch = 0;
    assert_int_equal(follower_wait(replica.follower, &nothing, PATIENCE_MS, &epoch), ERR_NONE);
    assert_int_equal(epoch, 1);
    assert_int_equal(follower_ready(replica.follower), 1);
    struct status_table_stats stats;
    status_table_stats(replica.table, 0, &stats);
    assert_int_equal(stats.events, 1);
    stop(&replica);
}

static void test_waiting_ends_with_the_time_and_with_the_follower(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    start(world, &replica);
    (void)caught_up(&replica);
    struct follower_target far = {.event_position = 1};
    assert_int_equal(follower_wait(replica.follower, &far, 10, NULL), ERR_DEADLINE);
    follower_stop(replica.follower);
    assert_int_equal(follower_wait(replica.follower, &far, PATIENCE_MS, NULL), ERR_UNAVAILABLE);
    stop(&replica);
}

static void test_it_catches_up_although_the_rest_expires_before_it_is_read(void **state)
{
    struct mem_world *world = *state;
    struct clock_manual clock;
    struct replica replica;
    struct follower_target nothing = {0};
    mem_world_close(world);
    clock_manual_init(&clock, 1700000000000);
    mem_world_open_at(world, &clock.base, 10000);
    fill(world, 20);
    mem_world_set_readers(world, NULL, ERR_DEADLINE);
    start(world, &replica);
    assert_int_equal(follower_wait(replica.follower, &nothing, 50, NULL), ERR_DEADLINE);
    clock_manual_advance(&clock, 3600 * 1000);
    mem_world_set_readers(world, NULL, ERR_NONE);
    assert_int_equal(follower_wait(replica.follower, &nothing, PATIENCE_MS, NULL), ERR_NONE);
    assert_int_equal(caught_up(&replica).events, 0);
    stop(&replica);
}

/* Nothing new has to be read then. */
static void test_a_tail_that_has_grown_again_is_another(void **state)
{
    struct mem_world *world = *state;
    struct clock_manual clock;
    struct replica replica;
    struct follower_target target;
    struct status_entry entry;
    struct event_id id = {{0}};
    mem_world_close(world);
    clock_manual_init(&clock, 1700000000000);
    mem_world_open_at(world, &clock.base, 0);
    fill(world, 20);
    start(world, &replica);
    (void)caught_up(&replica);
    mem_world_set_readers(world, NULL, ERR_DEADLINE);
    bus_mem_lose_tail(world->events, 19);
    clock_manual_advance(&clock, 1);
    assert_int_equal(mem_world_event(world, "n", "", &id), 20);
    assert_int_equal(follower_ends(replica.follower, PATIENCE_MS, &target), ERR_NONE);
    mem_world_set_readers(world, NULL, ERR_NONE);
    assert_int_equal(follower_wait(replica.follower, &target, PATIENCE_MS, NULL), ERR_NONE);
    assert_true(status_table_find(replica.table, &id, &entry, NULL));
    assert_int_equal(follower_event_log_losses(replica.follower), 1);
    stop(&replica);
}

static void test_it_catches_up_although_the_tail_is_lost_before_it_is_read(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    struct follower_target nothing = {0};
    fill(world, 20);
    mem_world_set_readers(world, world->events, ERR_DEADLINE);
    start(world, &replica);
    assert_int_equal(follower_wait(replica.follower, &nothing, 50, NULL), ERR_DEADLINE);
    bus_mem_lose_tail(world->events, 15);
    mem_world_set_readers(world, NULL, ERR_NONE);
    assert_int_equal(follower_wait(replica.follower, &nothing, PATIENCE_MS, NULL), ERR_NONE);
    struct status_table_stats stats = caught_up(&replica);
    assert_int_equal(stats.counts[STATUS_PROCESSED], 15);
    assert_int_equal(stats.reflects.epoch, 1);
    assert_int_equal(follower_event_log_losses(replica.follower), 1);
    stop(&replica);
}

static int64_t ms_since(struct timespec then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - then.tv_sec) * 1000 + (now.tv_nsec - then.tv_nsec) / 1000000;
}

static void test_it_says_when_it_stands_before_a_logs_end(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    struct err_detail detail = {""};
    struct event_id id = {{0}};
    start(world, &replica);
    fill(world, 3);
    (void)caught_up(&replica);
    mem_world_set_readers(world, NULL, ERR_UNAVAILABLE);
    nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL); /* there is nothing to be read */
    assert_false(follower_stands(replica.follower, &detail));
    mem_world_event(world, "n", "", &id);
    assert_until(follower_stands(replica.follower, &detail));
    assert_non_null(strstr(detail.text, "event log"));
    assert_non_null(strstr(detail.text, "ends at 4, the status table has come to 3"));
    mem_world_set_readers(world, NULL, ERR_NONE);
    assert_until(!follower_stands(replica.follower, &detail));
    mem_world_set_readers(world, NULL, ERR_UNAVAILABLE);
    mem_world_change(world, &id, 4, processed, 0, "");
    assert_until(follower_stands(replica.follower, &detail));
    assert_non_null(strstr(detail.text, "status log"));
    mem_world_set_readers(world, NULL, ERR_NONE);
    stop(&replica);
}

static double lag(struct replica *replica)
{
    return mem_world_metric(replica->metrics, "tidings_follower_lag_records{log=\"events\"}");
}

static void test_lag_is_told_without_asking_the_bus(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    struct event_id id = {{0}};
    mem_world_event(world, "n", "", &id);
    bus_mem_set_away(world->bus, true);
    start(world, &replica);
    assert_true(isnan(lag(&replica)));
    bus_mem_set_away(world->bus, false);
    assert_until(lag(&replica) == 0);
    struct timespec frozen;
    clock_gettime(CLOCK_MONOTONIC, &frozen);
    mem_world_lock_gate(world);
    assert_true(lag(&replica) == 0);
    assert_true(ms_since(frozen) < 1000);
    assert_until(isnan(lag(&replica)));
    mem_world_open_gate(world);
    assert_until(lag(&replica) == 0);
    stop(&replica);
}

/* ---- rebuilds ---- */

static void rebuilt_like_new(struct mem_world *world, struct replica *replica, uint64_t events)
{
    struct replica fresh;
    assert_until(follower_ready(replica->follower) == 2);
    struct status_table_stats stats = caught_up(replica);
    start(world, &fresh);
    struct status_table_stats expected = caught_up(&fresh);
    assert_int_equal(stats.events, events);
    assert_int_equal(stats.digest, expected.digest);
    assert_int_equal(stats.reflects.epoch, 2);
    assert_true(mem_world_metric(replica->metrics, "tidings_follower_rebuilds_total") == 1);
    stop(&fresh);
    stop(replica);
}

static void test_an_event_log_made_anew_is_read_anew(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    struct event_id id = {{0}};
    fill(world, 100);
    start(world, &replica);
    assert_int_equal(caught_up(&replica).events, 100);
    bus_mem_renew(world->events);
    mem_world_event(world, "n", "", &id);
    rebuilt_like_new(world, &replica, 1);
}

static void test_a_status_log_made_anew_is_read_anew(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    fill(world, 100);
    start(world, &replica);
    assert_int_equal(caught_up(&replica).counts[STATUS_PROCESSED], 100);
    bus_mem_renew(world->statuses);
    assert_until(follower_ready(replica.follower) == 2);
    assert_int_equal(caught_up(&replica).counts[STATUS_ACCEPTED], 100);
    rebuilt_like_new(world, &replica, 100);
}

static void test_a_lost_tail_is_noticed(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    struct event_id id = {{0}};
    fill(world, 100);
    start(world, &replica);
    assert_int_equal(caught_up(&replica).events, 100);
    bus_mem_lose_tail(world->events, 90);
    mem_world_event(world, "n", "", &id); /* at a position used before */
    rebuilt_like_new(world, &replica, 91);
}

static void test_a_rebuild_may_be_asked_for_once_an_epoch(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    fill(world, 10);
    start(world, &replica);
    (void)caught_up(&replica);
    follower_rebuild(replica.follower, 1, "test");
    follower_rebuild(replica.follower, 1, "test");
    rebuilt_like_new(world, &replica, 10);
}

static void test_rebuilds_that_follow_each_other_are_paced(void **state)
{
    struct mem_world *world = *state;
    struct replica replica;
    struct timespec first;
    fill(world, 10);
    start(world, &replica);
    (void)caught_up(&replica);
    clock_gettime(CLOCK_MONOTONIC, &first);
    mem_world_set_readers(world, NULL, ERR_STALE);
    /* The first one is read at once, the second after 250 ms, the third after 500 ms. */
    assert_until(mem_world_metric(replica.metrics, "tidings_follower_rebuilds_total") >= 4);
    assert_true(ms_since(first) >= 750);
    mem_world_set_readers(world, NULL, ERR_NONE);
    assert_until(follower_ready(replica.follower) != 0);
    assert_int_equal(caught_up(&replica).events, 10);
    stop(&replica);
}

#define test(name) cmocka_unit_test_setup_teardown(name, begin, end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_both_logs_are_folded),
        test(test_replicas_agree_however_they_read),
        test(test_what_is_no_event_has_an_identity_all_the_same),
        test(test_a_conflict_is_folded_if_its_id_is_that_of_its_position),
        test(test_a_malformed_batch_is_counted_and_skipped),
        test(test_a_change_of_an_event_that_is_not_there_stops_nothing),
        test(test_it_is_ready_when_it_has_caught_up),
        test(test_waiting_ends_with_the_time_and_with_the_follower),
        test(test_it_catches_up_although_the_rest_expires_before_it_is_read),
        test(test_a_tail_that_has_grown_again_is_another),
        test(test_it_catches_up_although_the_tail_is_lost_before_it_is_read),
        test(test_it_says_when_it_stands_before_a_logs_end),
        test(test_lag_is_told_without_asking_the_bus),
        test(test_an_event_log_made_anew_is_read_anew),
        test(test_a_status_log_made_anew_is_read_anew),
        test(test_a_lost_tail_is_noticed),
        test(test_a_rebuild_may_be_asked_for_once_an_epoch),
        test(test_rebuilds_that_follow_each_other_are_paced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
