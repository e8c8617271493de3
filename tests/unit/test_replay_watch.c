/* The streams that watch a replay, over gRPC. */
#include "event-processor/rpc_events.h"

#include "tests/lib/grpc_stream.h"
#include "tests/lib/replays_asked.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

static struct mem_world world;
static struct one one;
static bool drained;

static struct service {
    struct replay_watch *watch;
    struct rpc_events events;
    struct rpc_server *rpc;
} service;

static void serve(void)
{
    struct err_detail detail;
    assert_int_equal(replay_watch_new(one.processor.desk, &service.watch), ERR_NONE);
    service.events = (struct rpc_events){.query = one.processor.query,
                                         .desk = one.processor.desk,
                                         .watch = service.watch,
                                         .table = one.processor.table};
    struct rpc_options options = {.listen = "127.0.0.1:0",
                                  .threads = 2,
                                  .methods = rpc_events_methods,
                                  .ctx = &service.events,
                                  .metrics = one.metrics};
    assert_int_equal(rpc_start(&options, &service.rpc, &detail), ERR_NONE);
}

static void stop_serving(void)
{
    if (!service.rpc)
        return;
    replay_watch_end(service.watch);
    rpc_stop(service.rpc, 500);
    service.rpc = NULL;
}

static int begin(void **state)
{
    static char all[] = ">", simulate[] = "simulate";
    struct config_handler handler = {.match = all, .kind = simulate};
    (void)state;
    mem_world_open(&world);
    one_start_with(&world, &one, "p1", &handler, 1);
    drained = false;
    serve();
    return 0;
}

/* As main.c does. */
static int end(void **state)
{
    (void)state;
    if (!drained)
        assert_true(one_drain(&one, DRAIN_MS));
    stop_serving();
    ones_finish(&one, 1);
    replay_watch_free(service.watch);
    return 0;
}
#define test(function) cmocka_unit_test_setup_teardown(function, begin, end)

static void process_events(size_t count)
{
    mem_processor_publish(&world, count);
    assert_until(one_stats(&one).counts[STATUS_PROCESSED] == count);
}

/* ---- calls ---- */

static struct grpc_stream *call(const char *path, struct buf *request)
{
    struct grpc_stream *stream = grpc_stream_open(rpc_port(service.rpc), path, 20000);
    grpc_stream_send(stream, buf_view(request));
    grpc_stream_half_close(stream);
    return stream;
}

static struct grpc_stream *start(const struct replay_request *request)
{
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    assert_int_equal(replay_request_write(request, &bytes), ERR_NONE);
    struct grpc_stream *stream = call(REPLAY_START_METHOD, &bytes);
    buf_free(&bytes);
    return stream;
}

static struct grpc_stream *watch(const char *id)
{
    struct buf bytes;
    buf_init(&bytes, 1 << 10);
    assert_int_equal(replay_id_write(view_of(id), &bytes), ERR_NONE);
    struct grpc_stream *stream = call(REPLAY_WATCH_METHOD, &bytes);
    buf_free(&bytes);
    return stream;
}

struct message {
    enum replay_state state;
    uint64_t replayed;
    char id[ID_TEXT_SIZE];
};

/* The stream's next message; false: it is over. */
static bool receive(struct grpc_stream *stream, struct message *ret)
{
    struct event_replay_holder *holder;
    struct replay_progress progress;
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    bool got = grpc_stream_receive(stream, &bytes, GRPC_STREAM_WAIT_MS);
    if (got) {
        assert_int_equal(replay_progress_read(buf_view(&bytes), &holder, &progress), ERR_NONE);
        ret->state = progress.state;
        ret->replayed = progress.replayed;
        id_format(&progress.id, ret->id);
        event_replay_holder_free(holder);
    }
    buf_free(&bytes);
    return got;
}

/* The stream is over, with this status and these words; it is closed. */
static void ends_with(struct grpc_stream *stream, int status, const char *words)
{
    struct buf message;
    buf_init(&message, 1 << 10);
    (void)grpc_stream_receive(stream, &message, 0); /* it is asked for in time */
    assert_int_equal(grpc_stream_status(stream, &message, GRPC_STREAM_WAIT_MS), status);
    buf_add(&message, "", 1);
    if (!strstr(message.data, words))
        fail_msg("%s", message.data);
    buf_free(&message);
    grpc_stream_close(stream);
}

/* ---- a replay that another processor runs ---- */

static struct event_id others_id;

static void record(struct replay_change change)
{
    static const struct replay_filter filter = {.statuses = 1u << STATUS_DEAD};
    change.id = others_id;
    change.time_ms = clock_wall_ms(&clock_system);
    change.filter = filter;
    mem_world_replay(&world, &change);
}

/* Begins it, and watches it. */
static struct grpc_stream *watch_another(void)
{
    struct replay found = {0};
    struct message message = {.state = REPLAY_NONE};
    char id[ID_TEXT_SIZE];
    id_make(&clock_system, &others_id);
    id_format(&others_id, id);
    record((struct replay_change){
        .state = REPLAY_RUNNING, .has_filter = true, .runner = VIEW("another")});
    assert_until(replays_find(one.processor.replays, &others_id, &found));
    replay_release(&found);
    struct grpc_stream *stream = watch(id);
    assert_true(receive(stream, &message));
    assert_int_equal(message.state, REPLAY_RUNNING);
    assert_int_equal(message.replayed, 0);
    return stream;
}

static void advance(uint64_t to)
{
    record((struct replay_change){.state = REPLAY_RUNNING, .cursor = to, .replayed = to});
}

/* ---- streams ---- */

static void test_a_stream_reports_until_the_replay_has_ended(void **state)
{
    (void)state;
    process_events(12);
    struct replay_request request = {.statuses = 1u << STATUS_PROCESSED, .rate = 20};
    struct grpc_stream *stream = start(&request);
    struct message message = {.state = REPLAY_NONE};
    size_t messages = 0;
    while (receive(stream, &message))
        messages++;
    assert_int_equal(message.state, REPLAY_DONE);
    assert_int_equal(message.replayed, 12);
    assert_true(messages >= 2);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 0);
    grpc_stream_close(stream);
}

/* Nothing else happens then that would be an occasion to tell it. */
static void test_what_comes_too_soon_after_a_message_is_told_a_little_later(void **state)
{
    struct message message = {.state = REPLAY_NONE};
    (void)state;
    struct grpc_stream *stream = watch_another();
    for (uint64_t i = 1; i <= 20; i++) {
        advance(i);
        if (i % 5 != 0)
            continue;
        do
            assert_true(receive(stream, &message));
        while (message.replayed < i);
    }
    record((struct replay_change){.state = REPLAY_DONE, .cursor = 21, .replayed = 21});
    do
        assert_true(receive(stream, &message));
    while (message.state == REPLAY_RUNNING);
    assert_int_equal(message.state, REPLAY_DONE);
    assert_int_equal(message.replayed, 21);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 0);
    grpc_stream_close(stream);
}

/* It would wait for ever otherwise: nobody says when the table can be believed again. */
static void test_a_stream_ends_where_its_processor_knows_nothing_any_more(void **state)
{
    (void)state;
    process_events(1); /* which is to be read anew, and cannot be */
    struct grpc_stream *stream = watch_another();
    mem_world_set_readers(&world, NULL, ERR_UNAVAILABLE);
    bus_mem_renew(world.statuses);
    ends_with(stream, 14, "caught up");
    mem_world_set_readers(&world, NULL, ERR_NONE);
    assert_until(follower_ready(one.processor.follower) != 0);
}

static void test_a_stream_ends_when_its_replay_is_forgotten(void **state)
{
    (void)state;
    struct grpc_stream *stream = watch_another();
    bus_mem_renew(world.statuses);
    struct buf message;
    buf_init(&message, 1 << 10);
    (void)grpc_stream_receive(stream, &message, 0);
    int status = grpc_stream_status(stream, &message, GRPC_STREAM_WAIT_MS);
    if (status != 14 && status != 5) /* it depends on when it is looked at */
        fail_msg("%d %s", status, message.len > 0 ? message.data : "");
    buf_free(&message);
    grpc_stream_close(stream);
}

static void test_many_watch_one_replay(void **state)
{
    struct grpc_stream *streams[20] = {NULL};
    struct message message = {.state = REPLAY_NONE};
    char id[ID_TEXT_SIZE];
    (void)state;
    streams[0] = watch_another();
    id_format(&others_id, id);
    for (size_t i = 1; i < 20; i++)
        streams[i] = watch(id);
    for (size_t i = 1; i < 20; i++)
        assert_true(receive(streams[i], &message));
    advance(1);
    for (size_t i = 0; i < 20; i++)
        assert_true(receive(streams[i], &message) && message.replayed == 1);
    for (size_t i = 0; i < 20; i += 2)
        grpc_stream_close(streams[i]);
    record((struct replay_change){.state = REPLAY_CANCELLED});
    for (size_t i = 1; i < 20; i += 2) {
        assert_true(receive(streams[i], &message) && message.state == REPLAY_CANCELLED);
        assert_int_equal(grpc_stream_status(streams[i], NULL, GRPC_STREAM_WAIT_MS), 0);
        grpc_stream_close(streams[i]);
    }
}

static void test_a_stream_may_be_left_and_ends_with_its_processor(void **state)
{
    (void)state;
    struct message message = {.state = REPLAY_NONE};
    process_events(12);
    struct replay_request request = {.statuses = 1u << STATUS_PROCESSED, .rate = 1};
    struct grpc_stream *stream = start(&request);
    assert_true(receive(stream, &message));
    assert_int_equal(message.state, REPLAY_RUNNING);
    grpc_stream_close(stream); /* the replay goes on */

    stream = watch(message.id);
    assert_true(receive(stream, &message));
    assert_int_equal(message.state, REPLAY_RUNNING);
    assert_int_equal(replays_running(one.processor.replays), 1);
    drained = true;
    assert_true(one_drain(&one, DRAIN_MS));
    replay_watch_end(service.watch);
    ends_with(stream, 14, "shutting down");
}

/* The desk still has it when the server has ended, and gives it back later. */
static void test_a_stream_that_was_not_answered_outlives_the_server(void **state)
{
    struct grpc_stream *streams[3];
    (void)state;
    process_events(1);
    mem_world_close_gate(&world);
    struct replay_request request = {.statuses = 1u << STATUS_PROCESSED, .dry_run = true};
    for (int i = 0; i < 3; i++)
        streams[i] = start(&request);
    drained = true;
    assert_true(one_drain(&one, DRAIN_MS));
    stop_serving();
    mem_world_open_gate(&world);
    for (int i = 0; i < 3; i++) {
        assert_true(grpc_stream_status(streams[i], NULL, GRPC_STREAM_WAIT_MS) > 0);
        grpc_stream_close(streams[i]);
    }
}

static void test_a_stream_that_cannot_begin_ends_with_its_error(void **state)
{
    (void)state;
    struct replay_request request = {.name = VIEW("..")};
    struct grpc_stream *stream = start(&request);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 3);
    grpc_stream_close(stream);
    struct buf bytes;
    buf_init(&bytes, 1 << 12);
    buf_add_text(&bytes, "\xff\xff");
    stream = call(REPLAY_START_METHOD, &bytes);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 3);
    grpc_stream_close(stream);
    stream = call(REPLAY_WATCH_METHOD, &bytes);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 3);
    grpc_stream_close(stream);
    buf_clear(&bytes);
    for (int i = 0; i <= REPLAY_IDS_MAX; i++)
        buf_add(&bytes, "\x0A", 2);
    ends_with(call(REPLAY_START_METHOD, &bytes), 3, "at most 1000 are allowed");
    buf_clear(&bytes);
    assert_int_equal(replay_list_request_write(1001, &bytes), ERR_NONE);
    stream = call(REPLAY_LIST_METHOD, &bytes);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 3);
    grpc_stream_close(stream);
    buf_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_a_stream_reports_until_the_replay_has_ended),
        test(test_what_comes_too_soon_after_a_message_is_told_a_little_later),
        test(test_a_stream_ends_where_its_processor_knows_nothing_any_more),
        test(test_a_stream_ends_when_its_replay_is_forgotten),
        test(test_many_watch_one_replay),
        test(test_a_stream_may_be_left_and_ends_with_its_processor),
        test(test_a_stream_that_was_not_answered_outlives_the_server),
        test(test_a_stream_that_cannot_begin_ends_with_its_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
