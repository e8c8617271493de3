/* The messages of replays that are ids and lists; one replay: test_event_replay.c. */
#include "common/event_replay.h"

#include "tests/lib/unit.h"

#include "events.pb-c.h"

#define MAX (16u << 20)

static const char id_text[] = "01890a5d-ac96-774b-bcce-b302099a8057";
static const struct view ids[] = {{"123", 3}, {"456", 3}};

static struct replay_progress replay_of(uint8_t number)
{
    return (struct replay_progress){
        .has_id = true,
        .id = {{number}},
        .state = number % 2 ? REPLAY_RUNNING : REPLAY_DONE,
        .replayed = number,
        .processor = VIEW("host-1"),
        .request = {.event_ids = ids, .event_id_count = number % 3, .name = VIEW("b.>")},
    };
}

static void check(const struct replay_progress *got, const struct replay_progress *expected)
{
    assert_true(got->has_id && id_equal(&got->id, &expected->id));
    assert_int_equal(got->state, expected->state);
    assert_true(got->replayed == expected->replayed);
    assert_true(view_equal(got->processor, VIEW("host-1")));
    assert_int_equal(got->request.event_id_count, expected->request.event_id_count);
    for (size_t i = 0; i < got->request.event_id_count; i++)
        assert_true(view_equal(got->request.event_ids[i], ids[i]));
    assert_true(view_equal(got->request.name, VIEW("b.>")));
}

static void an_id_is_sent_as_it_was_written(void **state)
{
    struct event_replay_holder *holder = NULL;
    struct view got = {0};
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(replay_id_write(view_of(id_text), &b), ERR_NONE);
    Events__CancelReplayRequest *m =
        events__cancel_replay_request__unpack(NULL, b.len, (uint8_t *)b.data);
    assert_non_null(m);
    assert_string_equal(m->replay_id, id_text);
    events__cancel_replay_request__free_unpacked(m, NULL);
    assert_int_equal(replay_id_read(buf_view(&b), &holder, &got), ERR_NONE);
    buf_free(&b);
    assert_true(view_equal(got, view_of(id_text)));
    event_replay_holder_free(holder);
    holder = NULL;
    assert_int_equal(replay_id_read(VIEW("\x0A\x02x\0"), &holder, &got), ERR_MALFORMED);
    assert_int_equal(replay_id_read(VIEW("\x0A\x01\xFF"), &holder, &got), ERR_MALFORMED);
    assert_int_equal(replay_id_read(VIEW("\x0A\x7Fx"), &holder, &got), ERR_MALFORMED);
    assert_null(holder);
}

static void a_list_request_says_how_many(void **state)
{
    uint32_t size = 7;
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(replay_list_request_write(250, &b), ERR_NONE);
    assert_int_equal(replay_list_request_read(buf_view(&b), &size), ERR_NONE);
    assert_int_equal(size, 250);
    assert_int_equal(replay_list_request_read(VIEW("\x08"), &size), ERR_MALFORMED);
    assert_int_equal(size, 250);
    assert_int_equal(replay_list_request_read(VIEW(""), &size), ERR_NONE);
    assert_int_equal(size, 0);
    buf_free(&b);
}

static void lists_come_back_as_they_were(void **state)
{
    struct replay_progress replays[3] = {replay_of(1), replay_of(2), replay_of(3)};
    struct event_replay_holder *holder = NULL;
    const struct replay_progress *got = NULL;
    size_t count = 99;
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(replay_list_write(replays, 3, &b), ERR_NONE);
    assert_int_equal(replay_list_read(buf_view(&b), &holder, &got, &count), ERR_NONE);
    buf_clear(&b);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < 3; i++)
        check(&got[i], &replays[i]);
    event_replay_holder_free(holder);
    holder = NULL;
    assert_int_equal(replay_list_write(NULL, 0, &b), ERR_NONE);
    assert_int_equal(replay_list_read(buf_view(&b), &holder, &got, &count), ERR_NONE);
    assert_int_equal(count, 0);
    event_replay_holder_free(holder);
    buf_free(&b);
}

static void a_list_with_one_bad_replay_is_refused(void **state)
{
    struct replay_progress replays[2] = {replay_of(1), replay_of(1)};
    struct event_replay_holder *holder = NULL;
    const struct replay_progress *got = NULL;
    size_t count = 99;
    struct buf b;
    (void)state;
    replays[1].state = REPLAY_NONE;
    buf_init(&b, MAX);
    assert_int_equal(replay_list_write(replays, 2, &b), ERR_NONE);
    assert_int_equal(replay_list_read(buf_view(&b), &holder, &got, &count), ERR_MALFORMED);
    assert_null(holder);
    assert_int_equal(count, 99);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_sent_as_it_was_written),
        cmocka_unit_test(a_list_request_says_how_many),
        cmocka_unit_test(lists_come_back_as_they_were),
        cmocka_unit_test(a_list_with_one_bad_replay_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
