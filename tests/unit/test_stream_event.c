/* GET /api/v1/events/{id}/stream: the gateway's side, with a processor that says what it is told.
 */
#include "tests/lib/sse_reader.h"
#include "tests/lib/status_peer.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"
#include "tests/lib/watch_peer.h"

#include <stdio.h>
#include <string.h>

#define EVENT "/api/v1/events/" STATUS_PEER_ID
#define STREAM EVENT "/stream"
#define reply gateway_peer_reply

static struct sse_reader reader;
static struct sse_event event;

static int begin(void **state)
{
    struct event_status any = status_peer_basic();

    (void)state;
    watch_peer_reset();
    status_peer_answer(ERR_NONE, NULL, &any);
    return 0;
}

static struct event_status status_of(enum status status, uint32_t attempt, uint64_t position)
{
    struct event_status s = status_peer_basic();

    s.state = (struct status_state){.status = status, .attempt = attempt};
    s.position = position;
    s.updated_ms = 1767323045000;
    return s;
}

static void open_stream(const char *path, const char *headers)
{
    char value[512];

    sse_reader_open(&reader, gateway_peer_port(), path, headers);
    assert_int_equal(reader.status, 200);
    assert_non_null(strstr(reader.head, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(reader.head, "Cache-Control: no-store\r\n"));
    (void)value;
    assert_true(sse_reader_next(&reader, &event));
    assert_string_equal(event.retry, "2000");
}

static void next_is(const char *id, const char *status)
{
    char wanted[64];

    assert_true(sse_reader_next(&reader, &event));
    assert_string_equal(event.id, id);
    assert_string_equal(event.name, "status");
    snprintf(wanted, sizeof wanted, "\"status\":\"%s\"", status);
    if (!strstr(event.data, wanted))
        fail_msg("no %s in %s", wanted, event.data);
}

static void ends(void)
{
    assert_false(sse_reader_next(&reader, &event));
    assert_true(raw_closed(reader.fd));
    sse_reader_close(&reader);
    assert_until(watch_peer_open() == 0);
}

static void each_change_until_the_end(void **state)
{
    struct event_status accepted = status_of(STATUS_ACCEPTED, 0, 8);
    struct event_status processing = status_of(STATUS_PROCESSING, 1, 9);
    struct event_status same = status_of(STATUS_PROCESSING, 1, 10);
    struct event_status processed = status_of(STATUS_PROCESSED, 1, 11);

    (void)state;
    watch_peer_say(&accepted);
    open_stream(STREAM "?source=/shop", "Accept: text/event-stream\r\n");
    next_is("8-0.0.accepted", "accepted");
    assert_string_equal(event.data,
                        "{\"event_id\":\"" STATUS_PEER_ID "\",\"status\":\"accepted\","
                        "\"name\":\"order.created\",\"attempt\":0,\"generation\":0,"
                        "\"updated_at\":\"2026-01-02T03:04:05.000Z\",\"event_position\":7,"
                        "\"position\":8}");
    assert_string_equal(watch_peer_asked().source, "/shop");
    assert_true(sse_reader_silent(&reader, 50));
    watch_peer_say(&processing);
    next_is("9-0.1.processing", "processing");
    watch_peer_say(&same); /* is no change */
    watch_peer_say(&processed);
    next_is("11-0.1.processed", "processed");
    ends();
}

static const struct event_status_change history[] = {
    {.state = {.status = STATUS_ACCEPTED}, .time_ms = 1767323040000, .position = 700},
    {.state = {.status = STATUS_PROCESSING, .attempt = 1}, .time_ms = 1767323041000, .position = 9},
    {.state = {.status = STATUS_RETRYING, .attempt = 1}, .time_ms = 1767323042000, .position = 9},
    {.state = {.status = STATUS_PROCESSING, .attempt = 2},
     .time_ms = 1767323043000,
     .position = 12},
    {.state = {.status = STATUS_PROCESSED, .attempt = 2}, .time_ms = 1767323044321, .position = 15},
};

static struct event_status full_status(size_t changes, uint64_t position)
{
    struct event_status full = status_of(STATUS_PROCESSED, 2, position);

    full.full = true;
    full.producer_id = VIEW("7");
    full.payload = VIEW("secret");
    full.history = history;
    full.history_count = changes;
    full.state = history[changes - 1].state;
    return full;
}

static void what_was_missed_is_told_from_the_history(void **state)
{
    static const struct {
        const char *last;
        size_t first; /* of the history, that was missed */
    } cases[] = {{"8-0.0.accepted", 1},
                 {"9-0.1.processing", 2},
                 {"9-0.1.retrying", 3},
                 {"11-0.1.retrying", 3},
                 {"12-0.2.processing", 4},
                 {"9", 3},
                 {"0", 1}};
    static const char *const ids[] = {"", "9-0.1.processing", "9-0.1.retrying", "12-0.2.processing",
                                      "15-0.2.processed"};
    struct event_status full = full_status(5, 20), now = status_of(STATUS_PROCESSED, 2, 19);
    char header[128];

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &full);
    watch_peer_say(&now);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(header, sizeof header, "Last-Event-ID: %s\r\n", cases[i].last);
        open_stream(STREAM, header);
        for (size_t j = cases[i].first; j < 5; j++)
            next_is(ids[j], status_word(history[j].state.status));
        assert_non_null(strstr(event.data, "\"updated_at\":\"2026-01-02T03:04:04.321Z\""));
        assert_null(strstr(event.data, "payload"));
        ends();
        assert_int_equal(status_peer_asked().position, 19);
        assert_true(status_peer_asked().full);
    }
}

/* A browser comes back whenever a stream ends; only 204 keeps it away. */
static void who_knows_the_end_must_not_come_back(void **state)
{
    struct event_status full = full_status(5, 20), now = status_of(STATUS_PROCESSED, 2, 20);

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &full);
    watch_peer_say(&now);
    status_peer_send("GET", STREAM, "Last-Event-ID: 15-0.2.processed\r\n");
    gateway_peer_must_be(204);
    status_peer_get(STREAM "?last_event_id=17");
    gateway_peer_must_be(204);
}

static void a_resumed_stream_goes_on(void **state)
{
    struct event_status full = full_status(4, 13), now = status_of(STATUS_PROCESSING, 2, 13);
    struct event_status processed = status_of(STATUS_PROCESSED, 2, 15);

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &full);
    watch_peer_say(&now);
    open_stream(STREAM, "Last-Event-ID: 12-0.2.processing\r\n"); /* nothing was missed */
    assert_int_equal(watch_peer_asked().position, 12);
    assert_true(sse_reader_silent(&reader, 50));
    watch_peer_say(&processed);
    next_is("15-0.2.processed", "processed");
    ends();
}

static void another_processor_goes_on(void **state)
{
    struct event_status processing = status_of(STATUS_PROCESSING, 1, 9);
    struct event_status full = full_status(4, 13), now = status_of(STATUS_PROCESSING, 2, 13);
    struct event_status processed = status_of(STATUS_PROCESSED, 2, 15);

    (void)state;
    watch_peer_say(&processing);
    open_stream(STREAM, "");
    next_is("9-0.1.processing", "processing");
    status_peer_answer(ERR_NONE, NULL, &full);
    watch_peer_fail(ERR_UNAVAILABLE, "stopping");
    assert_until(watch_peer_open() == 0);
    watch_peer_reset();
    watch_peer_say(&now);
    next_is("9-0.1.retrying", "retrying"); /* which nobody has told while it happened */
    next_is("12-0.2.processing", "processing");
    watch_peer_say(&processed);
    next_is("15-0.2.processed", "processed");
    ends();
}

static void no_processor_is_the_last_event(void **state)
{
    struct event_status processing = status_of(STATUS_PROCESSING, 1, 9);

    (void)state;
    watch_peer_say(&processing);
    open_stream(STREAM, "");
    next_is("9-0.1.processing", "processing");
    status_peer_answer(ERR_UNAVAILABLE, "away", NULL);
    watch_peer_reset();
    watch_peer_fail(ERR_UNAVAILABLE, "away");
    do
        assert_true(sse_reader_next(&reader, &event));
    while (event.comment[0]);
    assert_string_equal(event.name, "closing");
    assert_string_equal(event.data, "{\"reason\":\"unavailable\",\"detail\":\"no processor can "
                                    "say: away\"}");
    ends();
}

static void a_history_that_cannot_be_had_is_the_last_event(void **state)
{
    struct event_status processing = status_of(STATUS_PROCESSING, 1, 9);

    (void)state;
    watch_peer_say(&processing);
    status_peer_answer(ERR_UNAVAILABLE, "away", NULL);
    status_peer_send("GET", STREAM, "Last-Event-ID: 8-0.0.accepted\r\n");
    gateway_peer_must_be(503);
    assert_string_equal(gateway_peer_member("detail"), "no processor can say: away");
    open_stream(STREAM, "");
    next_is("9-0.1.processing", "processing");
    watch_peer_fail(ERR_UNAVAILABLE, "stopping");
    assert_until(watch_peer_open() == 0);
    watch_peer_fail(ERR_NONE, NULL);
    assert_true(sse_reader_next(&reader, &event));
    assert_string_equal(event.data, "{\"reason\":\"unavailable\",\"detail\":\"no processor can "
                                    "say: away\"}");
    ends();
}

static void it_says_that_it_lives(void **state)
{
    struct event_status processing = status_of(STATUS_PROCESSING, 1, 9);

    (void)state;
    watch_peer_say(&processing);
    open_stream(STREAM, "");
    next_is("9-0.1.processing", "processing");
    for (int i = 0; i < 2; i++) {
        assert_true(sse_reader_next(&reader, &event));
        assert_string_equal(event.comment, "still here");
    }
    sse_reader_close(&reader);
    assert_until(watch_peer_open() == 0);
}

static void failures_are_problems_before_it_begins(void **state)
{
    static const struct {
        enum err e;
        int status;
    } failures[] = {{ERR_NOT_FOUND, 404}, {ERR_OUT_OF_RANGE, 400}, {ERR_BUSY, 503}};

    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        watch_peer_reset();
        watch_peer_fail(failures[i].e, "what the processor said");
        status_peer_get(STREAM);
        gateway_peer_must_be(failures[i].status);
        assert_non_null(strstr(gateway_peer_member("detail"), "what the processor said"));
    }
    status_peer_send("GET", STREAM, "Accept: application/json\r\n");
    gateway_peer_must_be(406);
    status_peer_get(STREAM "?wait=1");
    gateway_peer_must_be(422);
}

static void ids_that_are_none(void **state)
{
    static const char *const bad[] = {"x",
                                      "-1",
                                      "9-",
                                      "9-0.1",
                                      "9-0.1.x",
                                      "9-0.1.none",
                                      "9-0.1024.dead",
                                      "9-1024.1.dead",
                                      "9-a.1.dead",
                                      "9-0.1.dead ",
                                      "18446744073709551616",
                                      "9.0-1.dead"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(path, sizeof path, STREAM "?last_event_id=%s", bad[i]);
        for (char *c = path; (c = strchr(c, ' '));)
            *c = '+';
        status_peer_get(path);
        if (reply.status != 422 || !strstr(reply.body, "Last-Event-ID must be an id"))
            fail_msg("%s: %d %s", bad[i], reply.status, reply.body);
    }
    assert_int_equal(watch_peer_opened(), 0);
}

static void a_head_is_all_of_it(void **state)
{
    struct event_status processing = status_of(STATUS_PROCESSING, 1, 9);
    char value[512];

    (void)state;
    watch_peer_say(&processing);
    status_peer_send("HEAD", STREAM, "");
    gateway_peer_must_be(200);
    assert_true(raw_header(&reply, "Content-Type", value));
    assert_string_equal(value, "text/event-stream");
    assert_until(watch_peer_open() == 0);
}

/* Whose event changes without a pause. */
static void a_busy_stream_ends_with_the_gateway(void **state)
{
    enum { TOLD_MAX = 100000 }; /* before it looks */
    struct event_status processing = status_of(STATUS_PROCESSING, 1, 8);
    int told = 0;

    (void)state;
    watch_peer_say(&processing);
    open_stream(STREAM, "");
    next_is("8-0.1.processing", "processing");
    watch_peer_be_busy(&processing);
    gateway_peer_drain();
    do
        assert_true(sse_reader_next(&reader, &event));
    while (strcmp(event.name, "status") == 0 && ++told < TOLD_MAX);
    assert_string_equal(event.name, "closing");
    sse_reader_close(&reader);
    assert_until(watch_peer_open() == 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, begin)
    const struct CMUnitTest tests[] = {
        TEST(each_change_until_the_end),
        TEST(what_was_missed_is_told_from_the_history),
        TEST(who_knows_the_end_must_not_come_back),
        TEST(a_resumed_stream_goes_on),
        TEST(another_processor_goes_on),
        TEST(no_processor_is_the_last_event),
        TEST(a_history_that_cannot_be_had_is_the_last_event),
        TEST(it_says_that_it_lives),
        TEST(failures_are_problems_before_it_begins),
        TEST(ids_that_are_none),
        TEST(a_head_is_all_of_it),
    };
    const struct CMUnitTest stopping[] = {TEST(a_busy_stream_ends_with_the_gateway)};

    return cmocka_run_group_tests(tests, status_peer_start, status_peer_stop) +
           cmocka_run_group_tests(stopping, status_peer_start, status_peer_stop);
}
