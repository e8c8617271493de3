#include "common/event_replay.h"

#include "common/mem.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include "events.pb-c.h"

#include <stdlib.h>

#define MAX (16u << 20)

static const char id_text[] = "01890a5d-ac96-774b-bcce-b302099a8057";
static const struct view ids[] = {{"123", 3}, {"caf\xC3\xA9", 5}, {"", 0}};

static struct replay_request whole_request(void)
{
    return (struct replay_request){
        .event_ids = ids,
        .event_id_count = 3,
        .source = VIEW("/shop"),
        .statuses = 1u << STATUS_DEAD | 1u << STATUS_PROCESSED,
        .name = VIEW("order.*"),
        .from_position = 7,
        .to_position = UINT64_MAX,
        .accepted_since_ms = 1700000000123,
        .accepted_until_ms = 1700000009456,
        .dry_run = true,
        .rate = UINT32_MAX,
        .detach = true,
        .replay_id = VIEW("my replay"),
    };
}

static struct replay_progress whole_progress(void)
{
    struct replay_progress progress = {
        .has_id = true,
        .state = REPLAY_CANCELLED,
        .replayed = 5,
        .skipped = 2,
        .started_ms = 1700000000001,
        .updated_ms = 1700000000999,
        .processor = VIEW("host-1"),
        .event_position = 42,
        .position = 99,
        .request = whole_request(),
    };
    assert_true(id_parse(view_of(id_text), &progress.id));
    return progress;
}

static void check_request(const struct replay_request *got, const struct replay_request *expected)
{
    assert_int_equal(got->event_id_count, expected->event_id_count);
    for (size_t i = 0; i < expected->event_id_count; i++)
        assert_true(view_equal(got->event_ids[i], expected->event_ids[i]));
    assert_true(view_equal(got->source, expected->source));
    assert_int_equal(got->statuses, expected->statuses);
    assert_true(view_equal(got->name, expected->name));
    assert_true(got->from_position == expected->from_position);
    assert_true(got->to_position == expected->to_position);
    assert_true(got->accepted_since_ms == expected->accepted_since_ms);
    assert_true(got->accepted_until_ms == expected->accepted_until_ms);
    assert_int_equal(got->dry_run, expected->dry_run);
    assert_true(got->rate == expected->rate);
    assert_int_equal(got->detach, expected->detach);
    assert_true(view_equal(got->replay_id, expected->replay_id));
}

static void check_progress(const struct replay_progress *got,
                           const struct replay_progress *expected)
{
    assert_int_equal(got->has_id, expected->has_id);
    assert_true(id_equal(&got->id, &expected->id));
    assert_int_equal(got->state, expected->state);
    assert_true(got->replayed == expected->replayed);
    assert_true(got->skipped == expected->skipped);
    assert_true(got->started_ms == expected->started_ms);
    assert_true(got->updated_ms == expected->updated_ms);
    assert_true(view_equal(got->processor, expected->processor));
    assert_true(got->event_position == expected->event_position);
    assert_true(got->position == expected->position);
    check_request(&got->request, &expected->request);
}

/* ---- requests ---- */

static void check_request_round_trip(const struct replay_request *request)
{
    struct replay_request got;
    struct event_replay_holder *holder = NULL;
    struct buf b;
    buf_init(&b, MAX);
    assert_int_equal(replay_request_write(request, &b), ERR_NONE);
    assert_int_equal(replay_request_read(buf_view(&b), &holder, &got), ERR_NONE);
    buf_free(&b); /* nothing decoded may point into the bytes */
    check_request(&got, request);
    event_replay_holder_free(holder);
}

static void requests_come_back_as_they_were(void **state)
{
    struct replay_request request = whole_request();
    (void)state;
    check_request_round_trip(&request);
    for (unsigned s = STATUS_ACCEPTED; s < STATUS_COUNT; s++) {
        request = (struct replay_request){.statuses = 1u << s};
        check_request_round_trip(&request);
    }
    request = (struct replay_request){0};
    check_request_round_trip(&request);
    request.accepted_since_ms = -1;
    check_request_round_trip(&request);
}

static void as_many_ids_as_may_be_asked_for_come_back(void **state)
{
    struct view many[REPLAY_IDS_MAX];
    struct replay_request request = {.event_ids = many, .event_id_count = REPLAY_IDS_MAX};
    (void)state;
    for (size_t i = 0; i < REPLAY_IDS_MAX; i++)
        many[i] = ids[i % 3];
    check_request_round_trip(&request);
}

static void grpc_clients_see_what_the_protocol_says(void **state)
{
    struct replay_request request = whole_request();
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(replay_request_write(&request, &b), ERR_NONE);
    Events__ReplayEventsRequest *m =
        events__replay_events_request__unpack(NULL, b.len, (uint8_t *)b.data);
    assert_non_null(m);
    assert_int_equal(m->n_event_ids, 3);
    assert_string_equal(m->event_ids[1], "caf\xC3\xA9");
    assert_string_equal(m->source, "/shop");
    assert_int_equal(m->n_statuses, 2);
    assert_int_equal(m->statuses[0], EVENTS__EVENT_STATUS__STATUS__PROCESSED);
    assert_int_equal(m->statuses[1], EVENTS__EVENT_STATUS__STATUS__DEAD);
    assert_string_equal(m->name, "order.*");
    assert_true(m->from_position == 7 && m->to_position == UINT64_MAX);
    assert_true(m->accepted_since->seconds == 1700000000 && m->accepted_since->nanos == 123000000);
    assert_true(m->accepted_until->seconds == 1700000009 && m->accepted_until->nanos == 456000000);
    assert_true(m->dry_run && m->detach && m->rate == UINT32_MAX);
    assert_string_equal(m->replay_id, "my replay");
    events__replay_events_request__free_unpacked(m, NULL);
    buf_free(&b);
}

static enum err read_request(struct view bytes)
{
    struct replay_request got;
    struct event_replay_holder *holder = NULL;
    enum err e = replay_request_read(bytes, &holder, &got);
    if (e == ERR_NONE)
        event_replay_holder_free(holder);
    else
        assert_null(holder);
    return e;
}

static void requests_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    assert_int_equal(read_request(VIEW("")), ERR_NONE);
    assert_int_equal(read_request(VIEW("\x18\x05")), ERR_NONE);      /* statuses: DEAD */
    assert_int_equal(read_request(VIEW("\x18\x00")), ERR_MALFORMED); /* no status */
    assert_int_equal(read_request(VIEW("\x18\x06")), ERR_MALFORMED); /* the same */
    assert_int_equal(read_request(VIEW("\x18\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01")),
                     ERR_MALFORMED);                                    /* statuses: -1 */
    assert_int_equal(read_request(VIEW("\x1A\x02\x05\x04")), ERR_NONE); /* packed */
    assert_int_equal(read_request(VIEW("\x1A\x02\x05\x20")), ERR_MALFORMED);
    assert_int_equal(read_request(VIEW("\x0A\x01\xFF")), ERR_MALFORMED); /* not UTF-8: an id, */
    assert_int_equal(read_request(VIEW("\x12\x01\xFF")), ERR_MALFORMED); /* a source, */
    assert_int_equal(read_request(VIEW("\x22\x01\xFF")), ERR_MALFORMED); /* a name, */
    assert_int_equal(read_request(VIEW("\x62\x01\xFF")), ERR_MALFORMED); /* a replay_id */
    assert_int_equal(read_request(VIEW("{\"name\":\">\"}")), ERR_MALFORMED);
    assert_int_equal(read_request(VIEW("\x3A\x02\x10\x01")), ERR_NONE); /* a nanosecond */
    assert_int_equal(read_request(VIEW("\x3A\x0B\x10\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01")),
                     ERR_MALFORMED); /* one before none */
}

/* protobuf-c would end the text there: another event, or one pattern for another. */
static void text_with_nul_is_refused(void **state)
{
    (void)state;
    assert_int_equal(read_request(VIEW("\x0A\x01"
                                       "a\x0A\x03"
                                       "b\0c")),
                     ERR_MALFORMED); /* the second id */
    assert_int_equal(read_request(VIEW("\x12\x03"
                                       "b\0c")),
                     ERR_MALFORMED);
    assert_int_equal(read_request(VIEW("\x22\x02>\0")), ERR_MALFORMED);
    assert_int_equal(read_request(VIEW("\x62\x02>\0")), ERR_MALFORMED);
    assert_int_equal(read_request(VIEW("\x9A\x06\x01\0\x28\0")), ERR_NONE); /* not in a text */
}

/* Each takes two bytes of a message, and many of ours. */
static void more_ids_than_are_allowed_are_not_even_unpacked(void **state)
{
    enum { COUNT = 2 << 20 };
    static char bytes[2 * COUNT];
    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        bytes[2 * i] = '\x0A';
    uint64_t before = mem_allocations();
    assert_int_equal(read_request((struct view){bytes, sizeof bytes}), ERR_INVALID);
    assert_int_equal(read_request((struct view){bytes, 2 * (REPLAY_IDS_MAX + 1)}), ERR_INVALID);
    assert_true(mem_allocations() == before);
    assert_int_equal(read_request((struct view){bytes, 2 * REPLAY_IDS_MAX}), ERR_NONE);
    for (size_t i = 0; i < COUNT; i++)
        bytes[2 * i] = '\x18'; /* statuses: a request of that size has too much of anything */
    before = mem_allocations();
    assert_int_equal(read_request((struct view){bytes, sizeof bytes}), ERR_INVALID);
    assert_true(mem_allocations() == before);
}

static void the_very_start_of_1970_is_a_bound(void **state)
{
    struct replay_request got;
    struct event_replay_holder *holder = NULL;
    (void)state;
    assert_int_equal(replay_request_read(VIEW("\x3A\x00\x42\x00"), &holder, &got), ERR_NONE);
    assert_true(got.accepted_since_ms == 0);
    assert_true(got.accepted_until_ms == 1); /* nothing, not everything, was stored before */
    event_replay_holder_free(holder);
}

/* ---- progress ---- */

static void check_progress_round_trip(const struct replay_progress *progress)
{
    struct replay_progress got;
    struct event_replay_holder *holder = NULL;
    struct buf b;
    buf_init(&b, MAX);
    assert_int_equal(replay_progress_write(progress, &b), ERR_NONE);
    assert_int_equal(replay_progress_read(buf_view(&b), &holder, &got), ERR_NONE);
    buf_free(&b);
    check_progress(&got, progress);
    event_replay_holder_free(holder);
}

static void progress_comes_back_as_it_was(void **state)
{
    struct replay_progress progress = whole_progress();
    (void)state;
    for (int s = REPLAY_RUNNING; s < REPLAY_STATES; s++) {
        progress.state = (enum replay_state)s;
        check_progress_round_trip(&progress);
    }
    progress.request = (struct replay_request){0};
    check_progress_round_trip(&progress);
}

static void a_dry_run_has_no_id(void **state)
{
    struct replay_progress progress = {.state = REPLAY_DONE, .replayed = 3, .position = 7};
    struct buf b;
    (void)state;
    check_progress_round_trip(&progress);
    progress.state = REPLAY_NONE;
    check_progress_round_trip(&progress);
    buf_init(&b, MAX);
    assert_int_equal(replay_progress_write(&progress, &b), ERR_NONE);
    Events__ReplayProgress *m = events__replay_progress__unpack(NULL, b.len, (uint8_t *)b.data);
    assert_non_null(m);
    assert_string_equal(m->replay_id, "");
    assert_null(m->started_at);
    assert_null(m->updated_at);
    events__replay_progress__free_unpacked(m, NULL);
    buf_free(&b);
}

static void what_matched_is_the_sum(void **state)
{
    struct replay_progress progress = whole_progress();
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(replay_progress_write(&progress, &b), ERR_NONE);
    Events__ReplayProgress *m = events__replay_progress__unpack(NULL, b.len, (uint8_t *)b.data);
    assert_non_null(m);
    assert_string_equal(m->replay_id, id_text);
    assert_int_equal(m->state, EVENTS__REPLAY_PROGRESS__STATE__CANCELLED);
    assert_true(m->matched == 7 && m->replayed == 5 && m->skipped == 2);
    assert_true(m->started_at->seconds == 1700000000 && m->started_at->nanos == 1000000);
    assert_true(m->updated_at->seconds == 1700000000 && m->updated_at->nanos == 999000000);
    assert_string_equal(m->processor, "host-1");
    assert_true(m->event_position == 42 && m->position == 99);
    assert_int_equal(m->request->n_event_ids, 3);
    events__replay_progress__free_unpacked(m, NULL);
    buf_free(&b);
}

static enum err read_message(const Events__ReplayProgress *m)
{
    uint8_t bytes[1024];
    struct replay_progress got;
    struct event_replay_holder *holder = NULL;
    assert_true(events__replay_progress__get_packed_size(m) <= sizeof bytes);
    size_t len = events__replay_progress__pack(m, bytes);
    enum err e = replay_progress_read((struct view){(const char *)bytes, len}, &holder, &got);
    if (e == ERR_NONE)
        event_replay_holder_free(holder);
    else
        assert_null(holder);
    return e;
}

static void progress_that_makes_no_sense_is_refused(void **state)
{
    Events__ReplayProgress m;
    Events__ReplayEventsRequest request;
    Google__Protobuf__Timestamp time;
    Events__EventStatus__Status status = EVENTS__EVENT_STATUS__STATUS__STATUS_UNSPECIFIED;
    (void)state;
    events__replay_progress__init(&m);
    events__replay_events_request__init(&request);
    google__protobuf__timestamp__init(&time);
    m.replay_id = (char *)id_text;
    assert_int_equal(read_message(&m), ERR_MALFORMED); /* no state */
    m.state = EVENTS__REPLAY_PROGRESS__STATE__DONE;
    assert_int_equal(read_message(&m), ERR_NONE);
    m.state = (Events__ReplayProgress__State)REPLAY_STATES;
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    m.state = EVENTS__REPLAY_PROGRESS__STATE__DONE;
    m.replay_id = "123";
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    m.replay_id = (char *)id_text;
    m.updated_at = &time;
    time.nanos = -1;
    assert_int_equal(read_message(&m), ERR_MALFORMED);
    time.nanos = 0;
    assert_int_equal(read_message(&m), ERR_NONE);
    m.request = &request;
    assert_int_equal(read_message(&m), ERR_NONE);
    request.n_statuses = 1;
    request.statuses = &status;
    assert_int_equal(read_message(&m), ERR_MALFORMED);
}

static void states_have_words(void **state)
{
    (void)state;
    assert_string_equal(replay_state_word(REPLAY_RUNNING), "running");
    assert_string_equal(replay_state_word(REPLAY_DONE), "done");
    assert_string_equal(replay_state_word(REPLAY_CANCELLED), "cancelled");
}

/* ---- memory ---- */

static enum err write_all(const struct replay_progress *progress, struct view long_id)
{
    struct buf b;
    buf_init(&b, MAX);
    enum err e = replay_request_write(&progress->request, &b);
    if (e == ERR_NONE)
        e = replay_progress_write(progress, &b);
    if (e == ERR_NONE)
        e = replay_list_write(progress, 1, &b);
    if (e == ERR_NONE)
        e = replay_id_write(long_id, &b);
    if (e == ERR_NONE)
        e = replay_list_request_write(1, &b);
    buf_free(&b);
    return e;
}

static void short_memory_is_told_and_nothing_leaks(void **state)
{
    struct replay_progress progress = whole_progress();
    char long_text[5000]; /* beyond what is kept on the stack */
    struct buf sound, list;
    (void)state;
    memset(long_text, 'x', sizeof long_text);
    progress.processor = progress.request.source = (struct view){long_text, sizeof long_text};
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        enum err e = write_all(&progress, progress.processor);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
    }
    buf_init(&sound, MAX);
    buf_init(&list, MAX);
    assert_int_equal(replay_progress_write(&progress, &sound), ERR_NONE);
    assert_int_equal(replay_list_write(&progress, 1, &list), ERR_NONE);
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct event_replay_holder *one = NULL, *many = NULL;
        const struct replay_progress *replays;
        struct replay_progress got;
        size_t count;
        enum err e = replay_progress_read(buf_view(&sound), &one, &got);
        if (e == ERR_NONE)
            e = replay_list_read(buf_view(&list), &many, &replays, &count);
        bool failed = each_failure_end(&f);
        assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
        event_replay_holder_free(one);
        event_replay_holder_free(many);
    }
    buf_free(&list);
    buf_free(&sound);
}

static void messages_cut_anywhere_read_nothing_beyond_their_end(void **state)
{
    struct replay_progress progress = whole_progress();
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(replay_list_write(&progress, 1, &b), ERR_NONE);
    assert_int_equal(replay_progress_write(&progress, &b), ERR_NONE);
    for (size_t len = 0; len < b.len; len++) {
        struct event_replay_holder *holder = NULL;
        const struct replay_progress *replays;
        struct replay_progress got;
        size_t count;
        char *copy = malloc(len + 1);
        memcpy(copy, b.data, len);
        enum err e = replay_progress_read((struct view){copy, len}, &holder, &got);
        assert_true(e == ERR_NONE || e == ERR_MALFORMED);
        event_replay_holder_free(holder);
        holder = NULL;
        e = replay_list_read((struct view){copy, len}, &holder, &replays, &count);
        assert_true(e == ERR_NONE || e == ERR_MALFORMED);
        event_replay_holder_free(holder);
        free(copy);
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_come_back_as_they_were),
        cmocka_unit_test(as_many_ids_as_may_be_asked_for_come_back),
        cmocka_unit_test(grpc_clients_see_what_the_protocol_says),
        cmocka_unit_test(requests_that_make_no_sense_are_refused),
        cmocka_unit_test(text_with_nul_is_refused),
        cmocka_unit_test(more_ids_than_are_allowed_are_not_even_unpacked),
        cmocka_unit_test(the_very_start_of_1970_is_a_bound),
        cmocka_unit_test(progress_comes_back_as_it_was),
        cmocka_unit_test(a_dry_run_has_no_id),
        cmocka_unit_test(what_matched_is_the_sum),
        cmocka_unit_test(progress_that_makes_no_sense_is_refused),
        cmocka_unit_test(states_have_words),
        cmocka_unit_test(short_memory_is_told_and_nothing_leaks),
        cmocka_unit_test(messages_cut_anywhere_read_nothing_beyond_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
