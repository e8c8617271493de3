#include "event-processor/event_watch.h"

#include "common/mem.h"
#include "tests/lib/served.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

#define test(function) cmocka_unit_test_setup_teardown(function, served_begin, served_end)

static const struct status_state processing = {.status = STATUS_PROCESSING, .attempt = 1};
static const struct status_state retrying = {.status = STATUS_RETRYING, .attempt = 1};
static const struct status_state processed = {.status = STATUS_PROCESSED, .attempt = 2};

static struct grpc_stream *watch(struct served *served, const char *id, const char *source,
                                 uint64_t min_position)
{
    buf_clear(&served->message);
    assert_int_equal(
        event_watch_request_write(&(struct event_status_request){.event_id = view_of(id),
                                                                 .source = view_of(source),
                                                                 .min_position = min_position},
                                  &served->message),
        ERR_NONE);
    return served_call(served, EVENT_WATCH_METHOD);
}

static struct grpc_stream *watch_id(struct served *served, const struct event_id *id)
{
    char text[ID_TEXT_SIZE];
    id_format(id, text);
    return watch(served, text, "", 0);
}

/* The next message is of this status; returns the position it reflects. */
static uint64_t tells(struct served *served, struct grpc_stream *stream, enum status status)
{
    struct event_status_holder *holder;
    struct event_status got;
    served_receive(served, stream);
    assert_int_equal(event_status_read(buf_view(&served->message), &holder, &got), ERR_NONE);
    assert_string_equal(status_word(got.state.status), status_word(status));
    assert_true(view_equal(got.name, VIEW("order.created")));
    event_status_holder_free(holder);
    return got.position;
}

static uint64_t new_event(struct served *served, struct event_id *id)
{
    *id = (struct event_id){{0}};
    return mem_world_event(&served->asked->world, "order.created", "", id);
}

static uint64_t change(struct served *served, const struct event_id *id, uint64_t event_position,
                       struct status_state state)
{
    return mem_world_change(&served->asked->world, id, event_position, state, 0, "");
}

/* ---- the story ---- */

static void test_each_change_is_told_until_the_end(void **state)
{
    struct served *served = *state;
    struct event_id id;
    uint64_t event = new_event(served, &id);
    struct grpc_stream *stream = watch_id(served, &id);
    tells(served, stream, STATUS_ACCEPTED);
    assert_int_equal(event_watch_count(served->event_watch), 1);
    uint64_t first = change(served, &id, event, processing);
    assert_true(tells(served, stream, STATUS_PROCESSING) == first);
    change(served, &id, event, retrying);
    tells(served, stream, STATUS_RETRYING);
    change(served, &id, event, retrying); /* loses */
    uint64_t last = change(served, &id, event, processed);
    assert_true(tells(served, stream, STATUS_PROCESSED) == last);
    served_ends_with(served, stream, ERR_NONE);
    assert_until(event_watch_count(served->event_watch) == 0);
}

static void test_changes_of_one_batch_are_told_one_by_one(void **state)
{
    struct served *served = *state;
    struct event_id id;
    uint64_t event = new_event(served, &id);
    struct grpc_stream *stream = watch_id(served, &id);
    tells(served, stream, STATUS_ACCEPTED);
    struct status_change changes[] = {
        {.id = id, .event_position = event, .state = processing, .time_ms = 1000},
        {.id = id, .event_position = event, .state = retrying, .time_ms = 2000},
        {.id = id, .event_position = event, .state = processed, .time_ms = 3000},
    };
    mem_world_batch(&served->asked->world, changes, 3);
    tells(served, stream, STATUS_PROCESSING);
    tells(served, stream, STATUS_RETRYING);
    tells(served, stream, STATUS_PROCESSED);
    served_ends_with(served, stream, ERR_NONE);
}

static void test_an_event_that_has_ended_is_told_once(void **state)
{
    struct served *served = *state;
    struct event_id id;
    uint64_t event = new_event(served, &id);
    uint64_t end = change(served, &id, event, processed);
    char text[ID_TEXT_SIZE];
    id_format(&id, text);
    struct grpc_stream *stream = watch(served, text, "", end);
    assert_true(tells(served, stream, STATUS_PROCESSED) >= end);
    served_ends_with(served, stream, ERR_NONE);
}

static void test_an_event_is_found_by_its_producers_id(void **state)
{
    struct served *served = *state;
    struct event_id id;
    id_of_producer(VIEW("/shop"), VIEW("123"), &id);
    mem_world_event(&served->asked->world, "order.created", "", &id);
    struct grpc_stream *stream = watch(served, "123", "/shop", 0);
    tells(served, stream, STATUS_ACCEPTED);
    grpc_stream_close(stream);
    stream = watch(served, "123", "", 0);
    served_ends_with(served, stream, ERR_NOT_FOUND);
    assert_non_null(strstr(served->message.data, "'123' of source '/test'"));
}

static void test_what_cannot_be_watched_is_refused(void **state)
{
    struct served *served = *state;
    served_ends_with(served, watch(served, "", "", 0), ERR_INVALID);
    assert_non_null(strstr(served->message.data, "event_id is empty"));
    served_ends_with(served, watch(served, "nobody", "", 99), ERR_OUT_OF_RANGE);
    buf_clear(&served->message);
    buf_add_text(&served->message, "\x0A\x7F");
    served_ends_with(served, served_call(served, EVENT_WATCH_METHOD), ERR_MALFORMED);
    assert_non_null(strstr(served->message.data, "WatchEventRequest"));
    assert_until(event_watch_count(served->event_watch) == 0);
}

static void test_a_request_of_many_bytes_is_not_unpacked(void **state)
{
    struct served *served = *state;
    buf_clear(&served->message);
    for (int i = 0; i < RPC_EVENTS_REQUEST_MAX / 2; i++) /* unknown fields: ignored, at a price */
        buf_add_text(&served->message, "\x78\x01");
    served_ends_with(served, served_call(served, EVENT_WATCH_METHOD), ERR_INVALID);
    buf_clear(&served->message);
    for (int i = 0; i <= RPC_EVENTS_REQUEST_MAX / 2; i++)
        buf_add_text(&served->message, "\x78\x01");
    served_ends_with(served, served_call(served, EVENT_WATCH_METHOD), ERR_TOO_LARGE);
}

static void test_many_watch_many_events(void **state)
{
    struct served *served = *state;
    enum { MANY = 40 };
    struct event_id ids[MANY];
    uint64_t events[MANY];
    struct grpc_stream *streams[2 * MANY]; /* two for each */
    for (int i = 0; i < MANY; i++)
        events[i] = new_event(served, &ids[i]);
    for (int i = 0; i < 2 * MANY; i++)
        streams[i] = watch_id(served, &ids[i / 2]);
    for (int i = 0; i < 2 * MANY; i++)
        tells(served, streams[i], STATUS_ACCEPTED);
    for (int i = MANY; i-- > 0;)
        change(served, &ids[i], events[i], processed);
    for (int i = 0; i < 2 * MANY; i++) {
        tells(served, streams[i], STATUS_PROCESSED);
        served_ends_with(served, streams[i], ERR_NONE);
    }
    assert_until(event_watch_count(served->event_watch) == 0);
}

/* ---- when something happens to the watcher, or the watched ---- */

static void test_a_client_that_leaves_is_forgotten(void **state)
{
    struct served *served = *state;
    struct event_id id;
    uint64_t event = new_event(served, &id);
    struct grpc_stream *leaves = watch_id(served, &id);
    struct grpc_stream *stays = watch_id(served, &id);
    tells(served, leaves, STATUS_ACCEPTED);
    tells(served, stays, STATUS_ACCEPTED);
    grpc_stream_close(leaves);
    assert_until(event_watch_count(served->event_watch) == 1);
    change(served, &id, event, processed);
    tells(served, stays, STATUS_PROCESSED);
    served_ends_with(served, stays, ERR_NONE);
}

static void test_a_client_that_leaves_while_it_is_looked_for(void **state)
{
    struct served *served = *state;
    mem_world_close_gate(&served->asked->world);
    struct grpc_stream *stream = watch(served, "nobody", "", 0);
    assert_until(event_watch_count(served->event_watch) == 1);
    grpc_stream_close(stream);
    assert_until(event_watch_count(served->event_watch) == 0);
    mem_world_open_gate(&served->asked->world);
}

static void test_a_deadline_ends_the_wait(void **state)
{
    struct served *served = *state;
    struct event_id id;
    char text[ID_TEXT_SIZE];
    new_event(served, &id);
    id_format(&id, text);
    buf_clear(&served->message);
    assert_int_equal(
        event_watch_request_write(&(struct event_status_request){.event_id = view_of(text)},
                                  &served->message),
        ERR_NONE);
    struct grpc_stream *stream = grpc_stream_open(served->port, EVENT_WATCH_METHOD, 200);
    grpc_stream_send(stream, buf_view(&served->message));
    grpc_stream_half_close(stream);
    served_ends_with(served, stream, ERR_DEADLINE);
    assert_until(event_watch_count(served->event_watch) == 0);
}

static void test_a_rebuild_ends_the_wait(void **state)
{
    struct served *served = *state;
    struct event_id id;
    new_event(served, &id);
    struct grpc_stream *stream = watch_id(served, &id);
    tells(served, stream, STATUS_ACCEPTED);
    follower_rebuild(served->asked->follower, 1, "test");
    served_ends_with(served, stream, ERR_UNAVAILABLE);
    assert_non_null(strstr(served->message.data, "anew"));
    stream = watch_id(served, &id);
    tells(served, stream, STATUS_ACCEPTED);
    grpc_stream_close(stream);
}

static void test_an_event_that_is_no_longer_kept_ends_the_wait(void **state)
{
    struct served *served = *state;
    struct event_id id, next;
    new_event(served, &id);
    uint64_t second = new_event(served, &next);
    struct grpc_stream *stream = watch_id(served, &id);
    tells(served, stream, STATUS_ACCEPTED);
    status_table_write_begin(served->asked->table);
    assert_int_equal(status_table_forget(served->asked->table, second), ERR_NONE);
    status_table_write_end(served->asked->table);
    served_ends_with(served, stream, ERR_NOT_FOUND);
    assert_non_null(strstr(served->message.data, "no longer kept"));
}

/* With the table's lock held: a change that the table has, and that is not to be told yet. */
static void apply(struct served *served, const struct event_id *id, uint64_t event,
                  struct status_state state, uint64_t position)
{
    const struct status_change change = {
        .id = *id, .event_position = event, .state = state, .time_ms = 1000};
    struct status_entry entry;
    assert_true(status_table_apply(served->asked->table, &change, position, 0));
    assert_true(status_table_changed(served->asked->table, event, position, 0, &entry));
    changes_add(served->asked->changes, &entry);
}

static void test_changes_are_told_one_by_one_while_others_leave_the_log(void **state)
{
    struct served *served = *state;
    struct event_id first, id;
    new_event(served, &first);
    uint64_t event = new_event(served, &id);
    struct grpc_stream *stream = watch_id(served, &id);
    tells(served, stream, STATUS_ACCEPTED);
    status_table_write_begin(served->asked->table);
    apply(served, &id, event, processing, 1);
    apply(served, &id, event, retrying, 2);
    assert_int_equal(status_table_forget(served->asked->table, event), ERR_NONE);
    status_table_write_end(served->asked->table);
    assert_false(grpc_stream_receive(stream, &served->message, 1000));
    changes_pass(served->asked->changes, 2);
    tells(served, stream, STATUS_PROCESSING);
    tells(served, stream, STATUS_RETRYING);
    grpc_stream_close(stream);
}

static void test_the_end_of_the_processor_ends_the_wait(void **state)
{
    struct served *served = *state;
    struct event_id id, ended;
    new_event(served, &id);
    change(served, &ended, new_event(served, &ended), processed);
    struct grpc_stream *stream = watch_id(served, &id);
    tells(served, stream, STATUS_ACCEPTED);
    event_watch_end(served->event_watch);
    served_ends_with(served, stream, ERR_UNAVAILABLE);
    assert_non_null(strstr(served->message.data, "shutting down"));
    served_ends_with(served, watch_id(served, &id), ERR_UNAVAILABLE);
    stream = watch_id(served, &ended); /* needs no waiting */
    tells(served, stream, STATUS_PROCESSED);
    served_ends_with(served, stream, ERR_NONE);
}

static void test_without_memory_there_is_no_watch(void **state)
{
    struct served *served = *state;
    struct event_watch *none = NULL;
    const struct event_watch_options options = {.changes = served->asked->changes};
    mem_fail_after(0);
    assert_int_equal(event_watch_start(&options, &none), ERR_MEMORY);
    mem_fail_after(-1);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_each_change_is_told_until_the_end),
        test(test_changes_of_one_batch_are_told_one_by_one),
        test(test_an_event_that_has_ended_is_told_once),
        test(test_an_event_is_found_by_its_producers_id),
        test(test_what_cannot_be_watched_is_refused),
        test(test_a_request_of_many_bytes_is_not_unpacked),
        test(test_many_watch_many_events),
        test(test_a_client_that_leaves_is_forgotten),
        test(test_a_client_that_leaves_while_it_is_looked_for),
        test(test_a_deadline_ends_the_wait),
        test(test_a_rebuild_ends_the_wait),
        test(test_an_event_that_is_no_longer_kept_ends_the_wait),
        test(test_changes_are_told_one_by_one_while_others_leave_the_log),
        test(test_the_end_of_the_processor_ends_the_wait),
        test(test_without_memory_there_is_no_watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
