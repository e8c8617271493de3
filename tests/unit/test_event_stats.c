/* What GetStats asks and answers, as bytes. */
#include "common/event_status.h"

#include "tests/lib/unit.h"

#include "events.pb-c.h"

#define MAX (16u << 20)

static void stats_say_what_they_were_given(void **state)
{
    struct event_stats stats = {.processor = VIEW("host-1"),
                                .group = VIEW("default"),
                                .event_position = 1,
                                .status_position = 2,
                                .first_event_position = 3,
                                .events = 4,
                                .table_bytes = 5,
                                .digest = UINT64_MAX,
                                .counts = {0, 10, 20, 30, 40, 50},
                                .version = VIEW("1.2.3"),
                                .started_ms = 1700000000123,
                                .uptime_s = 6,
                                .ready = true,
                                .event_log_end = 7,
                                .status_log_end = 8,
                                .handlers_running = 9,
                                .handlers_max = 256,
                                .event_watchers = 11,
                                .watchers = 12,
                                .processed = 13,
                                .retried = 14,
                                .dead = 15};
    struct buf b;
    (void)state;
    buf_init(&b, MAX);
    assert_int_equal(event_stats_write(&stats, &b), ERR_NONE);
    Events__GetStatsResponse *m =
        events__get_stats_response__unpack(NULL, b.len, (uint8_t *)b.data);
    assert_non_null(m);
    assert_string_equal(m->processor, "host-1");
    assert_string_equal(m->group, "default");
    assert_true(m->event_position == 1 && m->status_position == 2);
    assert_true(m->first_event_position == 3 && m->events == 4 && m->table_bytes == 5);
    assert_true(m->digest == UINT64_MAX);
    assert_true(m->counts->accepted == 10 && m->counts->processing == 20);
    assert_true(m->counts->retrying == 30 && m->counts->processed == 40);
    assert_true(m->counts->dead == 50);
    assert_string_equal(m->version, "1.2.3");
    assert_true(m->started_at->seconds == 1700000000 && m->started_at->nanos == 123000000);
    assert_true(m->uptime_seconds == 6 && m->ready);
    assert_true(m->event_log_end == 7 && m->status_log_end == 8);
    assert_true(m->handlers_running == 9 && m->handlers_max == 256);
    assert_true(m->event_watchers == 11 && m->watchers == 12);
    assert_true(m->work->processed == 13 && m->work->retried == 14 && m->work->dead == 15);
    events__get_stats_response__free_unpacked(m, NULL);
    buf_free(&b);
}

static void a_stats_request_names_a_floor_or_none(void **state)
{
    uint64_t floor = 99;
    (void)state;
    assert_int_equal(event_stats_request_read(VIEW(""), &floor), ERR_NONE);
    assert_true(floor == 0);
    assert_int_equal(event_stats_request_read(VIEW("\x08\x96\x01"), &floor), ERR_NONE);
    assert_true(floor == 150);
    assert_int_equal(event_stats_request_read(VIEW("\x08"), &floor), ERR_MALFORMED);
    assert_true(floor == 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stats_say_what_they_were_given),
        cmocka_unit_test(a_stats_request_names_a_floor_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
