#include "event-processor/changes_watch.h"

#include "common/mem.h"
#include "tests/lib/served.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

#define test(function) cmocka_unit_test_setup_teardown(function, served_begin, served_end)
/* With the smallest ring, so that much is behind it. */
#define test_small(function) cmocka_unit_test_setup_teardown(function, small_begin, small_end)

enum { SMALL = 2 * STATUS_BATCH_MAX, NOW = -1 };

static const struct status_state processing = {.status = STATUS_PROCESSING, .attempt = 1};
static const struct status_state retrying = {.status = STATUS_RETRYING, .attempt = 1};
static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 2};
static const struct status_state dead = {.status = STATUS_DEAD, .attempt = 2};

static int small_begin(void **state)
{
    asked_changes_kept = SMALL;
    return served_begin(state);
}

static int small_end(void **state)
{
    asked_changes_kept = CHANGES_KEPT;
    return served_end(state);
}

/* ---- what is watched ---- */

static struct grpc_stream *watch(struct served *served, unsigned statuses, const char *name,
                                 int64_t after)
{
    buf_clear(&served->message);
    assert_int_equal(
        event_changes_request_write(
            &(struct event_changes_request){.statuses = statuses,
                                            .name = view_of(name),
                                            .has_after = after != NOW,
                                            .after_position = after != NOW ? (uint64_t)after : 0},
            &served->message),
        ERR_NONE);
    return served_call(served, EVENT_CHANGES_METHOD);
}

/* Where a stream begins: its first message, which has no changes. */
static uint64_t begins(struct served *served, struct grpc_stream *stream)
{
    struct event_status_holder *holder;
    struct event_changes got;
    served_receive(served, stream);
    assert_int_equal(event_changes_read(buf_view(&served->message), &holder, &got), ERR_NONE);
    assert_int_equal(got.count, 0);
    uint64_t position = got.position;
    event_status_holder_free(holder);
    return position;
}

/* What a stream has told: words like "processed 3@7" (event position @ position). */
struct told {
    struct buf words;
    size_t count;
    uint64_t position;
};

static void receive(struct served *served, struct grpc_stream *stream, struct told *told)
{
    struct event_status_holder *holder;
    struct event_changes got;
    served_receive(served, stream);
    assert_int_equal(event_changes_read(buf_view(&served->message), &holder, &got), ERR_NONE);
    assert_true(got.position >= told->position);
    for (size_t i = 0; i < got.count; i++) {
        const struct event_status *change = &got.changes[i];
        assert_true(change->position > told->position && change->position <= got.position);
        buf_add_format(&told->words, "%s%s %llu@%llu", told->count++ ? " " : "",
                       status_word(change->state.status),
                       (unsigned long long)change->event_position,
                       (unsigned long long)change->position);
    }
    told->position = got.position;
    event_status_holder_free(holder);
}

/* Until so many changes have been told; they are these words. */
static void tells(struct served *served, struct grpc_stream *stream, size_t count,
                  const char *expected)
{
    struct told told = {.count = 0};
    buf_init(&told.words, 1 << 20);
    while (told.count < count)
        receive(served, stream, &told);
    assert_string_equal(told.words.data, expected);
    buf_free(&told.words);
}

static uint64_t new_event(struct served *served, const char *name, struct event_id *id)
{
    *id = (struct event_id){{0}};
    return mem_world_event(&served->asked->world, name, "", id);
}

static uint64_t change(struct served *served, const struct event_id *id, uint64_t event_position,
                       struct status_state state, uint64_t previous)
{
    return mem_world_change(&served->asked->world, id, event_position, state, previous, "");
}

/* Positions 1 to 5 of the status log: order.a (event 1) is processed after a retry, mail (event 2)
 * dies; one change loses. */
static void five_changes(struct served *served)
{
    struct event_id a, b;
    uint64_t order = new_event(served, "order.a", &a);
    uint64_t mail = new_event(served, "mail", &b);
    assert_true(change(served, &a, order, processing, 0) == 1);
    assert_true(change(served, &a, order, retrying, 1) == 2);
    assert_true(change(served, &b, mail, dead, 0) == 3);
    assert_true(change(served, &a, order, processing, 2) == 4); /* loses: late */
    assert_true(change(served, &a, order, processed, 2) == 5);
}

static const char all_five[] = "processing 1@1 retrying 1@2 dead 2@3 processed 1@5";

/* Pushes what was before out of a small ring. Returns the last position. */
static uint64_t fill_ring(struct served *served)
{
    static struct status_change changes[STATUS_BATCH_MAX];
    uint64_t position = 0;
    struct event_id id;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < STATUS_BATCH_MAX; i++) {
            uint64_t event = new_event(served, "filling", &id);
            changes[i] = (struct status_change){
                .id = id, .event_position = event, .state = processed, .time_ms = 1000};
        }
        position = mem_world_batch(&served->asked->world, changes, STATUS_BATCH_MAX);
    }
    return position;
}

static void until_folded(struct served *served, uint64_t position)
{
    struct changes_cursor cursor;
    assert_until(changes_now(served->asked->changes, &cursor) >= position);
}

/* ---- live ---- */

static void test_changes_are_told_as_they_happen(void **state)
{
    struct served *served = *state;
    struct grpc_stream *stream = watch(served, 0, "", NOW);
    assert_true(begins(served, stream) == 0);
    five_changes(served);
    tells(served, stream, 4, all_five);
    assert_int_equal(changes_watch_count(served->changes_watch), 1);
    grpc_stream_close(stream);
    assert_until(changes_watch_count(served->changes_watch) == 0);
}

static void test_only_what_matches_is_told(void **state)
{
    struct served *served = *state;
    struct grpc_stream *orders = watch(served, 0, "order.*", NOW);
    struct grpc_stream *ended = watch(served, 1u << STATUS_PROCESSED | 1u << STATUS_DEAD, "", NOW);
    struct grpc_stream *both = watch(served, 1u << STATUS_RETRYING, "order.>", NOW);
    begins(served, orders);
    begins(served, ended);
    begins(served, both);
    five_changes(served);
    tells(served, orders, 3, "processing 1@1 retrying 1@2 processed 1@5");
    tells(served, ended, 2, "dead 2@3 processed 1@5");
    tells(served, both, 1, "retrying 1@2");
    grpc_stream_close(orders);
    grpc_stream_close(ended);
    grpc_stream_close(both);
}

static void test_from_now_on_begins_behind_what_is_known(void **state)
{
    struct served *served = *state;
    five_changes(served);
    until_folded(served, 5);
    struct grpc_stream *stream = watch(served, 0, "", NOW);
    assert_true(begins(served, stream) == 5);
    struct event_id id;
    uint64_t event = new_event(served, "x", &id);
    change(served, &id, event, processed, 0);
    tells(served, stream, 1, "processed 3@6");
    grpc_stream_close(stream);
}

static void test_a_stream_goes_on_after_any_position(void **state)
{
    struct served *served = *state;
    const char *const rest[] = {all_five,
                                "retrying 1@2 dead 2@3 processed 1@5 processed 3@6",
                                "dead 2@3 processed 1@5 processed 3@6",
                                "processed 1@5 processed 3@6",
                                "processed 1@5 processed 3@6",
                                "processed 3@6"};
    const size_t counts[] = {4, 4, 3, 2, 2, 1};
    struct event_id id;
    five_changes(served);
    change(served, &id, new_event(served, "x", &id), processed, 0);
    for (int64_t after = 0; after <= 5; after++) {
        struct grpc_stream *stream = watch(served, 0, "", after);
        assert_true(begins(served, stream) == (uint64_t)after);
        if (after > 0)
            tells(served, stream, counts[after], rest[after]);
        grpc_stream_close(stream);
    }
    served_ends_with(served, watch(served, 0, "", 7), ERR_OUT_OF_RANGE);
    assert_non_null(strstr(served->message.data, "after_position 7 is beyond"));
}

/* ---- behind ---- */

static void test_what_the_ring_has_lost_is_read_from_the_log(void **state)
{
    struct served *served = *state;
    five_changes(served);
    uint64_t last = fill_ring(served);
    until_folded(served, last);
    struct grpc_stream *stream = watch(served, ~(1u << STATUS_ACCEPTED) & 60u, "", 0);
    struct grpc_stream *orders = watch(served, 0, "order.a", 1);
    assert_true(begins(served, stream) == 0);
    assert_true(begins(served, orders) == 1);
    tells(served, orders, 2, "retrying 1@2 processed 1@5");
    struct told told = {.count = 0};
    buf_init(&told.words, 1 << 20);
    while (told.position < last)
        receive(served, stream, &told);
    assert_int_equal(told.count, 4 + SMALL);
    assert_memory_equal(told.words.data, all_five, strlen(all_five));
    buf_free(&told.words);
    struct event_id id; /* both are live by now, or will be */
    uint64_t event = new_event(served, "order.a", &id);
    char expected[64];
    uint64_t position = change(served, &id, event, dead, 0);
    snprintf(expected, sizeof expected, "dead %llu@%llu", (unsigned long long)event,
             (unsigned long long)position);
    tells(served, stream, 1, expected);
    tells(served, orders, 1, expected);
    grpc_stream_close(stream);
    grpc_stream_close(orders);
}

/* A batch without changes of events. */
static void test_what_replays_have_recorded_is_passed(void **state)
{
    struct served *served = *state;
    struct event_id id = {{1}};
    five_changes(served);
    const struct replay_change replay = {.id = id, .state = REPLAY_DONE, .time_ms = 1};
    assert_true(mem_world_replay(&served->asked->world, &replay) == 6);
    until_folded(served, fill_ring(served));
    struct grpc_stream *stream = watch(served, 1u << STATUS_DEAD, "", 0);
    assert_true(begins(served, stream) == 0);
    tells(served, stream, 1, "dead 2@3");
    grpc_stream_close(stream);
}

/* More changes than a history has, each of which knows of none before; and each is told. */
static void test_one_event_with_many_changes_is_told_whole(void **state)
{
    struct served *served = *state;
    static struct status_change changes[STATUS_BATCH_MAX];
    struct event_id id;
    uint64_t event = new_event(served, "order.a", &id), last = 0;
    for (uint32_t generation = 0; generation < 12; generation++) {
        for (uint32_t i = 0; i < 1000; i++)
            changes[i] = (struct status_change){
                .id = id,
                .event_position = event,
                .state = {STATUS_RETRYING, .generation = generation, .attempt = i + 1},
                .time_ms = 1000};
        last = mem_world_batch(&served->asked->world, changes, 1000);
        mem_world_batch(&served->asked->world, changes, 1000); /* stored twice: all lose */
    }
    until_folded(served, last + 1);
    for (int i = 0; i < 2; i++) { /* of these, with a filter, only some */
        unsigned statuses = i == 0 ? 0 : 1u << STATUS_RETRYING;
        struct grpc_stream *stream = watch(served, statuses, "", 0);
        struct told told = {.count = 0};
        buf_init(&told.words, 1 << 20);
        begins(served, stream);
        while (told.position < last)
            receive(served, stream, &told);
        assert_int_equal(told.count, 12000);
        buf_free(&told.words);
        grpc_stream_close(stream);
    }
}

static void test_without_the_bus_those_behind_wait(void **state)
{
    struct served *served = *state;
    five_changes(served);
    until_folded(served, fill_ring(served));
    bus_mem_set_away(served->asked->world.bus, true);
    struct grpc_stream *stream = watch(served, 0, "order.a", 0);
    begins(served, stream);
    assert_false(grpc_stream_receive(stream, &served->message, 300));
    bus_mem_set_away(served->asked->world.bus, false);
    tells(served, stream, 3, "processing 1@1 retrying 1@2 processed 1@5");
    grpc_stream_close(stream);
}

/* ---- slow clients ---- */

static void test_a_slow_client_is_ended_and_others_are_not(void **state)
{
    struct served *served = *state;
    struct grpc_stream *slow = watch(served, 0, "", NOW);
    struct grpc_stream *quick = watch(served, 0, "", NOW);
    struct told told = {.count = 0};
    buf_init(&told.words, 64 << 20);
    begins(served, quick);
    size_t count = 0;
    /* Flow control lets some hundred kilobytes through before the slow one is held up. */
    for (int round = 0; round < 20; round++) {
        uint64_t last = fill_ring(served);
        count += SMALL;
        while (told.position < last)
            receive(served, quick, &told);
        assert_int_equal(told.count, count);
    }
    buf_free(&told.words);
    /* It goes on after what it has got: nothing is lost, nothing is told twice. */
    uint64_t got = begins(served, slow);
    struct event_status_holder *holder;
    struct event_changes changes;
    while (grpc_stream_receive(slow, &served->message, GRPC_STREAM_WAIT_MS)) {
        assert_int_equal(event_changes_read(buf_view(&served->message), &holder, &changes),
                         ERR_NONE);
        assert_true(changes.position > got);
        got = changes.position;
        event_status_holder_free(holder);
    }
    char expected[64];
    served_ends_with(served, slow, ERR_BUSY);
    snprintf(expected, sizeof expected, "go on after position %llu", (unsigned long long)got);
    assert_non_null(strstr(served->message.data, expected));
    grpc_stream_close(quick);
}

/* ---- ends ---- */

static void test_what_cannot_be_watched_is_refused(void **state)
{
    struct served *served = *state;
    served_ends_with(served, watch(served, 1u << STATUS_ACCEPTED, "", NOW), ERR_INVALID);
    assert_non_null(strstr(served->message.data, "ACCEPTED is in the event log"));
    served_ends_with(served, watch(served, 0, "a..b", NOW), ERR_INVALID);
    assert_non_null(strstr(served->message.data, "name 'a..b' is no pattern"));
    buf_clear(&served->message);
    buf_add_text(&served->message, "\x0A\x7F");
    served_ends_with(served, served_call(served, EVENT_CHANGES_METHOD), ERR_MALFORMED);
    assert_non_null(strstr(served->message.data, "WatchEventsRequest"));
    assert_until(changes_watch_count(served->changes_watch) == 0);
}

static void test_a_rebuild_ends_the_streams(void **state)
{
    struct served *served = *state;
    five_changes(served);
    until_folded(served, 5);
    struct grpc_stream *stream = watch(served, 0, "", NOW);
    begins(served, stream);
    follower_rebuild(served->asked->follower, 1, "test");
    served_ends_with(served, stream, ERR_UNAVAILABLE);
    assert_non_null(strstr(served->message.data, "anew; go on after position 5"));
    stream = watch(served, 0, "", 3);
    assert_true(begins(served, stream) == 3);
    tells(served, stream, 1, "processed 1@5");
    grpc_stream_close(stream);
}

static void test_a_rebuild_ends_those_behind(void **state)
{
    struct served *served = *state;
    five_changes(served);
    until_folded(served, fill_ring(served));
    bus_mem_set_away(served->asked->world.bus, true);
    struct grpc_stream *stream = watch(served, 0, "", 2);
    begins(served, stream);
    follower_rebuild(served->asked->follower, 1, "test");
    served_ends_with(served, stream, ERR_UNAVAILABLE);
    assert_non_null(strstr(served->message.data, "go on after position 2"));
    bus_mem_set_away(served->asked->world.bus, false);
}

static void test_the_processors_end_ends_the_streams(void **state)
{
    struct served *served = *state;
    five_changes(served);
    until_folded(served, 5);
    struct grpc_stream *stream = watch(served, 0, "", NOW);
    begins(served, stream);
    changes_watch_end(served->changes_watch);
    served_ends_with(served, stream, ERR_UNAVAILABLE);
    assert_non_null(strstr(served->message.data, "shutting down; go on after position 5"));
    served_ends_with(served, watch(served, 0, "", 4), ERR_UNAVAILABLE);
    assert_non_null(strstr(served->message.data, "go on after position 4"));
}

static void test_a_client_that_leaves_while_it_is_asked(void **state)
{
    struct served *served = *state;
    mem_world_close_gate(&served->asked->world);
    struct grpc_stream *stream = watch(served, 0, "", 99);
    assert_until(changes_watch_count(served->changes_watch) == 1);
    grpc_stream_close(stream);
    assert_until(changes_watch_count(served->changes_watch) == 0);
    mem_world_open_gate(&served->asked->world);
}

static void test_without_memory_there_is_no_watch(void **state)
{
    struct served *served = *state;
    struct changes_watch *none = NULL;
    const struct changes_watch_options options = {.changes = served->asked->changes};
    mem_fail_after(0);
    assert_int_equal(changes_watch_start(&options, &none), ERR_MEMORY);
    mem_fail_after(-1);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_changes_are_told_as_they_happen),
        test(test_only_what_matches_is_told),
        test(test_from_now_on_begins_behind_what_is_known),
        test(test_a_stream_goes_on_after_any_position),
        test_small(test_what_the_ring_has_lost_is_read_from_the_log),
        test_small(test_what_replays_have_recorded_is_passed),
        test_small(test_one_event_with_many_changes_is_told_whole),
        test_small(test_without_the_bus_those_behind_wait),
        test_small(test_a_slow_client_is_ended_and_others_are_not),
        test(test_what_cannot_be_watched_is_refused),
        test(test_a_rebuild_ends_the_streams),
        test_small(test_a_rebuild_ends_those_behind),
        test(test_the_processors_end_ends_the_streams),
        test(test_a_client_that_leaves_while_it_is_asked),
        test(test_without_memory_there_is_no_watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
