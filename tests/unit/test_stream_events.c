/* GET /api/v1/events/stream: the gateway's side, with a processor that says what it is told.
 */
#include "common/mem.h"
#include "tests/lib/sse_reader.h"
#include "tests/lib/status_peer.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"
#include "tests/lib/watch_peer.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define STREAM "/api/v1/events/stream"
#define reply gateway_peer_reply

static struct sse_reader reader;
static struct sse_event event;

static int begin(void **state)
{
    (void)state;
    watch_peer_reset();
    return 0;
}

static struct event_status change_at(uint64_t position, uint64_t event_position)
{
    struct event_status s = status_peer_basic();

    s.position = position;
    s.event_position = event_position;
    return s;
}

static void open_stream(const char *path, const char *headers)
{
    sse_reader_open(&reader, gateway_peer_port(), path, headers);
    assert_int_equal(reader.status, 200);
    assert_non_null(strstr(reader.head, "Content-Type: text/event-stream\r\n"));
    assert_true(sse_reader_next(&reader, &event));
    assert_string_equal(event.retry, "2000");
}

/* An id without an event. */
static void id_is(const char *id)
{
    assert_true(sse_reader_next(&reader, &event));
    assert_string_equal(event.id, id);
    assert_string_equal(event.name, "");
    assert_string_equal(event.data, "");
}

static void next_is(const char *id, unsigned event_position)
{
    char wanted[64];

    assert_true(sse_reader_next(&reader, &event));
    assert_string_equal(event.id, id);
    assert_string_equal(event.name, "status");
    snprintf(wanted, sizeof wanted, "\"event_position\":%u,", event_position);
    if (!strstr(event.data, wanted))
        fail_msg("no %s in %s", wanted, event.data);
}

static void close_stream(void)
{
    sse_reader_close(&reader);
    assert_until(watch_peer_open() == 0);
}

static void changes_as_they_happen(void **state)
{
    struct event_status one = change_at(8, 1),
                        three[] = {change_at(9, 2), change_at(9, 3), change_at(10, 4)};

    (void)state;
    watch_peer_say_changes(NULL, 0, 7);
    open_stream(STREAM, "");
    id_is("7"); /* one who loses the connection now comes back to here */
    assert_false(watch_peer_asked().has_after);
    assert_int_equal(watch_peer_asked().statuses, 0);
    assert_string_equal(watch_peer_asked().name, "");
    assert_true(sse_reader_silent(&reader, 50));
    watch_peer_say_changes(&one, 1, 8);
    next_is("8", 1);
    watch_peer_say_changes(three, 3, 10);
    next_is("9-1", 2);
    next_is("9", 3);
    next_is("10", 4);
    close_stream();
}

static void a_position_may_come_in_several_messages(void **state)
{
    struct event_status changes[] = {change_at(9, 1), change_at(9, 2), change_at(9, 3)};

    (void)state;
    watch_peer_say_changes(NULL, 0, 8);
    open_stream(STREAM, "");
    id_is("8");
    watch_peer_say_changes(changes, 2, 8);
    next_is("9-1", 1);
    next_is("9-2", 2);
    watch_peer_say_changes(&changes[2], 1, 9);
    next_is("9", 3);
    close_stream();
}

static void a_filter_is_passed_on(void **state)
{
    (void)state;
    watch_peer_say_changes(NULL, 0, 7);
    open_stream(STREAM "?status=dead,processed&name=order.%3E", "");
    assert_int_equal(watch_peer_asked().statuses, 1u << STATUS_DEAD | 1u << STATUS_PROCESSED);
    assert_string_equal(watch_peer_asked().name, "order.>");
    close_stream();
}

/* Without a gap, and nothing twice. */
static void who_comes_back_is_told_the_rest(void **state)
{
    static const struct {
        const char *last;
        uint64_t after;
        unsigned first; /* the event of the first change that is told */
    } cases[] = {{"8", 8, 1}, {"9-1", 8, 2}, {"9-2", 8, 3}, {"9", 9, 4}, {"0", 0, 1}};
    struct event_status changes[] = {change_at(9, 1), change_at(9, 2), change_at(9, 3),
                                     change_at(10, 4)};
    static const char *const ids[] = {"9-1", "9-2", "9", "10"};
    char header[128];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t skipped = cases[i].after == 9 ? 3 : 0; /* the processor has been asked for less */

        watch_peer_reset();
        watch_peer_say_changes(changes + skipped, 4 - skipped, 10);
        snprintf(header, sizeof header, "Last-Event-ID: %s\r\n", cases[i].last);
        open_stream(STREAM, header);
        assert_true(watch_peer_asked().has_after);
        assert_int_equal(watch_peer_asked().position, cases[i].after);
        for (unsigned n = cases[i].first; n <= 4; n++)
            next_is(ids[n - 1], n);
        close_stream();
    }
}

static void another_processor_goes_on(void **state)
{
    struct event_status changes[] = {change_at(9, 1), change_at(9, 2), change_at(9, 3),
                                     change_at(10, 4)};

    (void)state;
    watch_peer_say_changes(NULL, 0, 8);
    open_stream(STREAM, "");
    id_is("8");
    watch_peer_say_changes(changes, 2, 8);
    next_is("9-1", 1);
    next_is("9-2", 2);
    watch_peer_fail(ERR_UNAVAILABLE, "stopping"); /* within a position */
    assert_until(watch_peer_open() == 0);
    watch_peer_reset();
    watch_peer_say_changes(changes, 4, 10);
    next_is("9", 3);
    next_is("10", 4);
    assert_int_equal(watch_peer_asked().position, 8);
    watch_peer_fail(ERR_CANCELLED, "stopping");
    assert_until(watch_peer_opened() >= 2);
    assert_until(watch_peer_asked().position == 10);
    close_stream();
}

static void a_processor_that_has_no_place_is_no_end(void **state)
{
    struct event_status one = change_at(8, 1);

    (void)state;
    watch_peer_say_changes(NULL, 0, 7);
    open_stream(STREAM, "");
    id_is("7");
    watch_peer_fail(ERR_UNAVAILABLE, "stopping");
    assert_until(watch_peer_open() == 0);
    watch_peer_reset();
    watch_peer_fail(ERR_BUSY, "too many follow");
    assert_until(watch_peer_opened() >= 2);
    watch_peer_fail(ERR_NONE, NULL);
    watch_peer_say_changes(&one, 1, 8);
    next_is("8", 1);
    close_stream();
}

/* Where nothing matches for long, the place to begin anew moves on all the same. */
static void the_place_moves_on_without_events(void **state)
{
    (void)state;
    watch_peer_say_changes(NULL, 0, 7);
    open_stream(STREAM, "");
    id_is("7");
    watch_peer_say_changes(NULL, 0, 500);
    id_is("500"); /* with the sign of life */
    assert_true(sse_reader_next(&reader, &event));
    assert_string_equal(event.comment, "still here");
    close_stream();
}

static void one_that_reads_too_slowly_is_told(void **state)
{
    struct event_status one = change_at(8, 1);

    (void)state;
    watch_peer_say_changes(NULL, 0, 7);
    open_stream(STREAM, "");
    id_is("7");
    watch_peer_say_changes(&one, 1, 8);
    watch_peer_fail(ERR_BUSY, "too far behind");
    next_is("8", 1);
    assert_true(sse_reader_next(&reader, &event));
    assert_string_equal(event.name, "closing");
    assert_string_equal(event.data, "{\"reason\":\"slow\",\"detail\":\"too far behind\"}");
    assert_false(sse_reader_next(&reader, &event));
    assert_true(raw_closed(reader.fd));
    close_stream();
}

/* What is not read stays with the processor, and others go on. */
static void one_that_does_not_read_is_in_nobodys_way(void **state)
{
    enum { MANY = 200 };
    struct event_status *changes = mem_zero(MANY, sizeof *changes);
    struct sse_reader idle;
    uint64_t position = 8;
    unsigned lines = 0;

    (void)state;
    assert_non_null(changes);
    watch_peer_say_changes(NULL, 0, 7);
    sse_reader_open(&idle, gateway_peer_port(), STREAM, "");
    open_stream(STREAM, "");
    id_is("7");
    while (lines++ < 400) { /* 20 MB of text: more than any buffer */
        for (size_t i = 0; i < MANY; i++)
            changes[i] = change_at(position, i + 1);
        watch_peer_say_changes(changes, MANY, position);
        for (size_t i = 0; i < MANY; i += event.name[0] ? 1 : 0) { /* or it says that it lives */
            assert_true(sse_reader_next(&reader, &event));
            assert_string_not_equal(event.name, "closing");
        }
        position++;
    }
    sse_reader_close(&idle);
    close_stream();
    mem_free(changes);
}

static void failures_are_problems_before_it_begins(void **state)
{
    static const struct {
        enum err e;
        int status;
    } failures[] = {{ERR_OUT_OF_RANGE, 400}, {ERR_BUSY, 503}, {ERR_INVALID, 422}};
    static const struct {
        const char *query, *says;
    } bad[] = {
        {"status=accepted", "allowed: processing, retrying, processed, dead"},
        {"name=.", "a name or a pattern is allowed"},
        {"limit=7", "allowed: last_event_id, name, status"},
        {"last_event_id=x", "Last-Event-ID must be an id of this stream"},
        {"last_event_id=9-", "Last-Event-ID must be"},
        {"last_event_id=9-0", "Last-Event-ID must be"},
        {"last_event_id=0-1", "Last-Event-ID must be"},
        {"last_event_id=-1", "Last-Event-ID must be"},
    };
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        watch_peer_reset();
        watch_peer_fail(failures[i].e, "what the processor said");
        status_peer_get(STREAM);
        gateway_peer_must_be(failures[i].status);
        assert_non_null(strstr(gateway_peer_member("detail"), "what the processor said"));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(path, sizeof path, STREAM "?%s", bad[i].query);
        status_peer_get(path);
        gateway_peer_must_be(422);
        if (!strstr(gateway_peer_member("detail"), bad[i].says))
            fail_msg("%s: %s", bad[i].query, reply.body);
    }
}

static void a_log_that_has_lost_its_place_is_told(void **state)
{
    (void)state;
    watch_peer_say_changes(NULL, 0, 7);
    open_stream(STREAM, "");
    id_is("7");
    watch_peer_fail(ERR_OUT_OF_RANGE, "no longer kept");
    assert_true(sse_reader_next(&reader, &event));
    assert_string_equal(event.data, "{\"reason\":\"gone\",\"detail\":\"no longer kept\"}");
    assert_false(sse_reader_next(&reader, &event));
    close_stream();
}

static void only_so_many_follow(void **state)
{
    struct sse_reader readers[GATEWAY_PEER_FOLLOWERS];
    char value[512];

    (void)state;
    watch_peer_say_changes(NULL, 0, 7);
    for (size_t i = 0; i < GATEWAY_PEER_FOLLOWERS; i++)
        sse_reader_open(&readers[i], gateway_peer_port(), STREAM, "");
    status_peer_get(STREAM);
    gateway_peer_must_be(503);
    assert_true(raw_header(&reply, "Retry-After", value));
    for (size_t i = 0; i < GATEWAY_PEER_FOLLOWERS; i++)
        sse_reader_close(&readers[i]);
    assert_until(watch_peer_open() == 0);
    open_stream(STREAM, ""); /* the places are free again */
    close_stream();
}

static void a_busy_stream_ends_with_the_gateway(void **state)
{
    enum { TOLD_MAX = 100000 }; /* before it looks */
    struct event_status change = change_at(8, 1);
    int told = 0;

    (void)state;
    watch_peer_say_changes(NULL, 0, 7);
    open_stream(STREAM, "");
    id_is("7");
    watch_peer_be_busy(&change);
    gateway_peer_drain();
    do
        assert_true(sse_reader_next(&reader, &event));
    while (strcmp(event.name, "status") == 0 && ++told < TOLD_MAX);
    assert_string_equal(event.name, "closing");
    assert_non_null(strstr(event.data, "\"reason\":\"stopping\""));
    close_stream();
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, begin)
    const struct CMUnitTest tests[] = {
        TEST(changes_as_they_happen),
        TEST(a_position_may_come_in_several_messages),
        TEST(a_filter_is_passed_on),
        TEST(who_comes_back_is_told_the_rest),
        TEST(another_processor_goes_on),
        TEST(a_processor_that_has_no_place_is_no_end),
        TEST(the_place_moves_on_without_events),
        TEST(one_that_reads_too_slowly_is_told),
        TEST(one_that_does_not_read_is_in_nobodys_way),
        TEST(failures_are_problems_before_it_begins),
        TEST(a_log_that_has_lost_its_place_is_told),
        TEST(only_so_many_follow),
    };
    const struct CMUnitTest stopping[] = {TEST(a_busy_stream_ends_with_the_gateway)};

    return cmocka_run_group_tests(tests, status_peer_start, status_peer_stop) +
           cmocka_run_group_tests(stopping, status_peer_start, status_peer_stop);
}
