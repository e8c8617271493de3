/* What replays may be asked for, and their streams over gRPC. */
#include "event-processor/rpc_events.h"

#include "tests/lib/grpc_stream.h"
#include "tests/lib/replays_asked.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

static struct mem_world world;
static struct one one;
static bool drained;

static int begin(void **state)
{
    static char all[] = ">", simulate[] = "simulate";
    struct config_handler handler = {.match = all, .kind = simulate};
    (void)state;
    mem_world_open(&world);
    one_start_with(&world, &one, "p1", &handler, 1);
    drained = false;
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (!drained)
        assert_true(one_drain(&one, DRAIN_MS));
    ones_finish(&one, 1);
    return 0;
}
#define test(function) cmocka_unit_test_setup_teardown(function, begin, end)

static struct event_id processed_event(void)
{
    struct event_id id = {{0}};
    mem_world_event(&world, "order.created", "x", &id);
    assert_until(one_status(&one, &id) == STATUS_PROCESSED);
    return id;
}

/* ---- errors ---- */

static void test_requests_that_make_no_sense_name_what_is_wrong(void **state)
{
    (void)state;
    static struct view many[REPLAY_IDS_MAX + 1];
    static char endless[EVENT_PRODUCER_ID_MAX + 2];
    const struct view bad[] = {VIEW("a\tb")}, empty[] = {VIEW("")}, good[] = {VIEW("1")};
    memset(endless, 'a', sizeof endless - 1);
    const struct view large[] = {view_of(endless)};
    for (size_t i = 0; i < REPLAY_IDS_MAX + 1; i++)
        many[i] = VIEW("1");
    const unsigned dead = 1u << STATUS_DEAD;
    const struct {
        struct replay_request request;
        const char *complaint;
    } rows[] = {
        {{.rate = 1}, "nothing says which events"},
        {{.source = VIEW("/s"), .statuses = dead}, "source is that of event_ids"},
        {{.event_ids = many, .event_id_count = REPLAY_IDS_MAX + 1}, "at most 1000"},
        {{.event_ids = bad, .event_id_count = 1}, "control characters"},
        {{.event_ids = empty, .event_id_count = 1}, "event_ids[0] is empty"},
        {{.event_ids = large, .event_id_count = 1}, "event_ids"},
        {{.event_ids = good, .event_id_count = 1, .source = VIEW("/s\x7f")}, "source"},
        {{.statuses = 1u << STATUS_RETRYING | dead}, "DEAD and PROCESSED"},
        {{.statuses = 1}, "DEAD and PROCESSED"},
        {{.name = VIEW("a..b")}, "'a..b' is no pattern"},
        {{.name = VIEW("a.>.b")}, "no pattern"},
        {{.from_position = 3, .to_position = 2}, "from_position 3 is beyond to_position 2"},
        {{.accepted_since_ms = 5, .accepted_until_ms = 5}, "before accepted_until"},
        {{.statuses = dead, .replay_id = VIEW("17")}, "replay_id '17' is no UUID"},
    };
    bus_mem_set_away(world.bus, true); /* they need nobody's word */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct replay_answer answer;
        replay_start(&one, &rows[i].request, &answer);
        assert_int_equal(answer.e, ERR_INVALID);
        if (!strstr(answer.message, rows[i].complaint))
            fail_msg("row %zu: %s", i, answer.message);
    }
    struct replay_answer answer;
    replay_get(&one, "x", &answer);
    assert_int_equal(answer.e, ERR_INVALID);
    replay_cancel(&one, "", &answer);
    assert_non_null(strstr(answer.message, "replay_id is empty"));
    bus_mem_set_away(world.bus, false);
}

static void test_ids_must_be_known_and_one_must_have_ended(void **state)
{
    (void)state;
    struct replay_answer answer;
    struct event_id id = processed_event();
    char text[ID_TEXT_SIZE];
    id_format(&id, text);
    const struct view views[] = {view_of(text), VIEW("of nobody")};
    struct replay_request request = {.event_ids = views, .event_id_count = 2};
    replay_start(&one, &request, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    assert_non_null(strstr(answer.message, "'of nobody' (event_ids[1])"));
    request = (struct replay_request){
        .event_ids = views, .event_id_count = 1, .statuses = 1u << STATUS_DEAD};
    replay_start(&one, &request, &answer);
    assert_int_equal(answer.e, ERR_NOT_ENDED);
    assert_non_null(strstr(answer.message, "none of the 1 event_ids"));
    assert_non_null(strstr(answer.message, "processed"));
    assert_int_equal(replays_running(one.processor.replays), 0);
}

/* No processor says so before it has asked the bus. */
static void test_an_event_of_a_moment_ago_is_known(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct replay_answer answer;
        struct event_id id = {{0}};
        char text[ID_TEXT_SIZE];
        mem_world_event(&world, "order.created", "x", &id);
        id_format(&id, text);
        const struct view views[] = {view_of(text)};
        struct replay_request request = {.event_ids = views, .event_id_count = 1, .dry_run = true};
        replay_start(&one, &request, &answer);
        assert_true(answer.e == ERR_NONE || answer.e == ERR_NOT_ENDED);
    }
}

static void test_nothing_is_said_while_the_bus_is_away(void **state)
{
    (void)state;
    static const char unknown[] = "0190a1b2-0000-7000-8000-000000000009";
    struct replay_answer answer;
    (void)processed_event();
    struct replay_request request = {.statuses = 1u << STATUS_DEAD};
    replay_start(&one, &request, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    char known[ID_TEXT_SIZE];
    memcpy(known, answer.id_text, sizeof known);
    bus_mem_set_away(world.bus, true);
    replay_start(&one, &request, &answer);
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    replay_get(&one, unknown, &answer);
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    replay_cancel(&one, unknown, &answer);
    assert_int_equal(answer.e, ERR_UNAVAILABLE);
    replay_get(&one, known, &answer);
    assert_int_equal(answer.e, ERR_NONE);
    bus_mem_set_away(world.bus, false);
    replay_get(&one, unknown, &answer);
    assert_int_equal(answer.e, ERR_NOT_FOUND);
    assert_non_null(strstr(answer.message, unknown));
}

/* ---- streams ---- */

struct service {
    struct replay_watch *watch;
    struct rpc_events events;
    struct rpc_server *rpc;
};

static void serve(struct service *s)
{
    struct err_detail detail;
    assert_int_equal(replay_watch_new(one.processor.desk, &s->watch), ERR_NONE);
    s->events = (struct rpc_events){.query = one.processor.query,
                                    .desk = one.processor.desk,
                                    .watch = s->watch,
                                    .table = one.processor.table};
    struct rpc_options options = {.listen = "127.0.0.1:0",
                                  .threads = 2,
                                  .methods = rpc_events_methods,
                                  .ctx = &s->events,
                                  .metrics = one.metrics};
    assert_int_equal(rpc_start(&options, &s->rpc, &detail), ERR_NONE);
}

static void stop_serving(struct service *s)
{
    replay_watch_end(s->watch);
    rpc_stop(s->rpc, 2000);
    replay_watch_free(s->watch);
}

static struct grpc_stream *call(struct service *s, const char *path, struct buf *request)
{
    struct grpc_stream *stream = grpc_stream_open(rpc_port(s->rpc), path, 20000);
    grpc_stream_send(stream, buf_view(request));
    grpc_stream_half_close(stream);
    return stream;
}

static struct grpc_stream *start_over_grpc(struct service *s, const struct replay_request *request)
{
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    assert_int_equal(replay_request_write(request, &bytes), ERR_NONE);
    struct grpc_stream *stream = call(s, REPLAY_START_METHOD, &bytes);
    buf_free(&bytes);
    return stream;
}

/* The stream's next message; false: it is over. */
static bool receive(struct grpc_stream *stream, enum replay_state *ret_state, uint64_t *ret,
                    char id[ID_TEXT_SIZE])
{
    struct event_replay_holder *holder;
    struct replay_progress progress;
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    bool got = grpc_stream_receive(stream, &bytes, GRPC_STREAM_WAIT_MS);
    if (got) {
        assert_int_equal(replay_progress_read(buf_view(&bytes), &holder, &progress), ERR_NONE);
        *ret_state = progress.state;
        *ret = progress.replayed;
        id_format(&progress.id, id);
        event_replay_holder_free(holder);
    }
    buf_free(&bytes);
    return got;
}

static void test_a_stream_reports_until_the_replay_has_ended(void **state)
{
    (void)state;
    struct service service;
    for (int i = 0; i < 12; i++)
        (void)processed_event();
    serve(&service);
    struct replay_request request = {.statuses = 1u << STATUS_PROCESSED, .rate = 20};
    struct grpc_stream *stream = start_over_grpc(&service, &request);
    enum replay_state told = REPLAY_NONE;
    uint64_t replayed = 0;
    char id[ID_TEXT_SIZE];
    size_t messages = 0;
    while (receive(stream, &told, &replayed, id))
        messages++;
    assert_int_equal(told, REPLAY_DONE);
    assert_int_equal(replayed, 12);
    assert_true(messages >= 2);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 0);
    grpc_stream_close(stream);
    stop_serving(&service);
}

static void test_a_stream_may_be_left_and_ends_with_its_processor(void **state)
{
    (void)state;
    struct service service;
    for (int i = 0; i < 12; i++)
        (void)processed_event();
    serve(&service);
    struct replay_request request = {.statuses = 1u << STATUS_PROCESSED, .rate = 1};
    struct grpc_stream *stream = start_over_grpc(&service, &request);
    enum replay_state told;
    uint64_t replayed;
    char id[ID_TEXT_SIZE];
    assert_true(receive(stream, &told, &replayed, id));
    assert_int_equal(told, REPLAY_RUNNING);
    grpc_stream_close(stream); /* the replay goes on */

    struct buf bytes, message;
    buf_init(&bytes, 1 << 10);
    buf_init(&message, 1 << 10);
    assert_int_equal(replay_id_write(view_of(id), &bytes), ERR_NONE);
    stream = call(&service, REPLAY_WATCH_METHOD, &bytes);
    assert_true(receive(stream, &told, &replayed, id));
    assert_int_equal(told, REPLAY_RUNNING);
    assert_int_equal(replays_running(one.processor.replays), 1);
    (void)grpc_stream_receive(stream, &message, 0); /* it is asked for in time */
    drained = true;
    assert_true(one_drain(&one, DRAIN_MS));
    replay_watch_end(service.watch);
    buf_clear(&message);
    assert_int_equal(grpc_stream_status(stream, &message, GRPC_STREAM_WAIT_MS), 14);
    assert_non_null(strstr(message.data, "shutting down"));
    grpc_stream_close(stream);
    buf_free(&message);
    buf_free(&bytes);
    stop_serving(&service);
}

static void test_a_stream_that_cannot_begin_ends_with_its_error(void **state)
{
    (void)state;
    struct service service;
    serve(&service);
    struct replay_request request = {.name = VIEW("..")};
    struct grpc_stream *stream = start_over_grpc(&service, &request);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 3);
    grpc_stream_close(stream);
    struct buf bytes;
    buf_init(&bytes, 1 << 10);
    buf_add_text(&bytes, "\xff\xff");
    stream = call(&service, REPLAY_START_METHOD, &bytes);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 3);
    grpc_stream_close(stream);
    stream = call(&service, REPLAY_WATCH_METHOD, &bytes);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 3);
    grpc_stream_close(stream);
    buf_clear(&bytes);
    assert_int_equal(replay_list_request_write(1001, &bytes), ERR_NONE);
    stream = call(&service, REPLAY_LIST_METHOD, &bytes);
    assert_int_equal(grpc_stream_status(stream, NULL, GRPC_STREAM_WAIT_MS), 3);
    grpc_stream_close(stream);
    buf_free(&bytes);
    stop_serving(&service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_requests_that_make_no_sense_name_what_is_wrong),
        test(test_ids_must_be_known_and_one_must_have_ended),
        test(test_an_event_of_a_moment_ago_is_known),
        test(test_nothing_is_said_while_the_bus_is_away),
        test(test_a_stream_reports_until_the_replay_has_ended),
        test(test_a_stream_may_be_left_and_ends_with_its_processor),
        test(test_a_stream_that_cannot_begin_ends_with_its_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
