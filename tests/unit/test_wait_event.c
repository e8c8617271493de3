/* GET /api/v1/events/{id}?wait=N: the gateway's side, with a processor that says what it is told.
 */
#include "common/clock.h"
#include "tests/lib/status_peer.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"
#include "tests/lib/watch_peer.h"

#include <stdio.h>
#include <string.h>

#define EVENT "/api/v1/events/" STATUS_PEER_ID
#define reply gateway_peer_reply

static int begin(void **state)
{
    (void)state;
    watch_peer_reset();
    return 0;
}

static struct event_status status_of(enum status status, uint64_t position)
{
    struct event_status s = status_peer_basic();

    s.state.status = status;
    s.position = position;
    return s;
}

/* Sends a request and leaves its answer to be read later. */
static int begin_get(const char *path, const char *headers)
{
    char request[1024];
    int fd = raw_connect(gateway_peer_port());

    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, headers);
    raw_send_text(fd, request);
    return fd;
}

static void end_get(int fd)
{
    raw_receive(fd, false, &reply);
    raw_close(fd);
}

static void answers_when_the_event_has_ended(void **state)
{
    struct event_status processing = status_of(STATUS_PROCESSING, 8);
    struct event_status processed = status_of(STATUS_PROCESSED, 11);
    int fd;

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &processed);
    watch_peer_say(&processing);
    fd = begin_get(EVENT "?wait=20&source=/shop&min_position=5&view=full", "");
    assert_until(watch_peer_open() == 1);
    assert_false(raw_readable(fd, 100));
    watch_peer_say(&processed);
    end_get(fd);
    gateway_peer_must_be(200);
    assert_string_equal(gateway_peer_member("status"), "processed");
    assert_string_equal(watch_peer_asked().id, STATUS_PEER_ID);
    assert_string_equal(watch_peer_asked().source, "/shop");
    assert_int_equal(watch_peer_asked().position, 5);
    assert_int_equal(status_peer_asked().position, 11); /* not behind what was seen */
    assert_true(status_peer_asked().full);
    assert_until(watch_peer_open() == 0);
}

static void an_event_that_has_ended_is_answered_at_once(void **state)
{
    struct event_status dead = status_of(STATUS_DEAD, 11);
    int64_t start = clock_monotonic_ms(&clock_system);

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &dead);
    watch_peer_say(&dead);
    status_peer_get(EVENT "?wait=20");
    gateway_peer_must_be(200);
    assert_string_equal(gateway_peer_member("status"), "dead");
    assert_in_range(clock_monotonic_ms(&clock_system) - start, 0, 5000);
}

static void the_time_is_up(void **state)
{
    struct event_status retrying = status_of(STATUS_RETRYING, 11);
    int64_t start = clock_monotonic_ms(&clock_system);

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &retrying);
    watch_peer_say(&retrying);
    status_peer_get(EVENT "?wait=1");
    gateway_peer_must_be(200);
    assert_string_equal(gateway_peer_member("status"), "retrying");
    assert_in_range(clock_monotonic_ms(&clock_system) - start, 1000, 8000);
    assert_until(watch_peer_open() == 0);
}

static void another_processor_goes_on(void **state)
{
    struct event_status processing = status_of(STATUS_PROCESSING, 8);
    struct event_status processed = status_of(STATUS_PROCESSED, 11);
    int fd;

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &processed);
    watch_peer_say(&processing);
    fd = begin_get(EVENT "?wait=20", "");
    assert_until(watch_peer_open() == 1);
    watch_peer_fail(ERR_UNAVAILABLE, "stopping");
    assert_until(watch_peer_opened() >= 2);
    watch_peer_fail(ERR_NONE, NULL);
    assert_until(watch_peer_asked().position == 8); /* it is not behind the first one */
    watch_peer_say(&processed);
    end_get(fd);
    gateway_peer_must_be(200);
    assert_string_equal(gateway_peer_member("status"), "processed");
}

static void failures_become_problems(void **state)
{
    static const struct {
        enum err e;
        int status;
    } failures[] = {{ERR_NOT_FOUND, 404}, {ERR_OUT_OF_RANGE, 400},  {ERR_INVALID, 422},
                    {ERR_BUSY, 503},      {ERR_UNIMPLEMENTED, 500}, {ERR_UNAVAILABLE, 503}};

    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        watch_peer_reset();
        watch_peer_fail(failures[i].e, "what the processor said");
        status_peer_get(EVENT "?wait=20");
        gateway_peer_must_be(failures[i].status);
        assert_non_null(strstr(gateway_peer_member("detail"), "what the processor said"));
    }
    assert_true(watch_peer_opened() > 3); /* the last one was asked for a while */
}

static void preferences(void **state)
{
    static const struct {
        const char *headers, *applied; /* NULL: none */
    } cases[] = {
        {"Prefer: wait=1\r\n", "wait=1"},
        {"Prefer: respond-async, wait=7\r\n", "wait=7"},
        {"prefer: Wait = \"3\" ; x=y, wait=9\r\n", "wait=3"},
        {"Prefer: return=minimal\r\nPrefer: wait=4\r\n", "wait=4"},
        {"Prefer: wait=1000000\r\n", "wait=30"}, /* --max-wait */
        {"Prefer: wait=0\r\n", "wait=0"},
        {"Prefer: wait=-1\r\n", NULL},
        {"Prefer: wait\r\n", NULL},
        {"Prefer: wait=soon, waiting=1, =, ,\r\n", NULL},
        {"Prefer:\r\n", NULL},
    };
    struct event_status processed = status_of(STATUS_PROCESSED, 11);
    char value[512];

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &processed);
    watch_peer_say(&processed);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool applied;

        status_peer_send("GET", EVENT, cases[i].headers);
        gateway_peer_must_be(200);
        applied = raw_header(&reply, "Preference-Applied", value);
        if (applied != (cases[i].applied != NULL) ||
            (applied && strcmp(value, cases[i].applied) != 0))
            fail_msg("%s: %s", cases[i].headers, applied ? value : "(none)");
    }
    status_peer_send("GET", EVENT "?wait=1", "Prefer: wait=2\r\n");
    assert_false(raw_header(&reply, "Preference-Applied", value));
}

/* RFC 7240, section 3: it says what was followed. */
static void a_failure_has_applied_no_preference(void **state)
{
    struct event_status processed = status_of(STATUS_PROCESSED, 11);
    char value[512];

    (void)state;
    watch_peer_say(&processed);
    status_peer_answer(ERR_NOT_FOUND, "what the processor said", NULL);
    for (int s = 0; s < 2; s++) {
        status_peer_send("GET", EVENT, s ? "Prefer: wait=1\r\n" : "Prefer: wait=0\r\n");
        gateway_peer_must_be(404);
        assert_false(raw_header(&reply, "Preference-Applied", value));
    }
}

static void bad_waits(void **state)
{
    static const char *const bad[] = {"wait=", "wait=-1", "wait=1.5", "wait=31", "wait=soon"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(path, sizeof path, EVENT "?%s", bad[i]);
        status_peer_get(path);
        gateway_peer_must_be(422);
        assert_string_equal(gateway_peer_member("detail"),
                            "wait must be a whole number of seconds from 0 to 30");
    }
    assert_int_equal(watch_peer_opened(), 0);
}

static void only_so_many_wait(void **state)
{
    struct event_status accepted = status_of(STATUS_ACCEPTED, 8);
    struct event_status processed = status_of(STATUS_PROCESSED, 11);
    int fds[GATEWAY_PEER_FOLLOWERS];
    char value[512];

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &processed);
    watch_peer_say(&accepted);
    for (size_t i = 0; i < GATEWAY_PEER_FOLLOWERS; i++)
        fds[i] = begin_get(EVENT "?wait=20", "");
    assert_until(watch_peer_open() == GATEWAY_PEER_FOLLOWERS);
    status_peer_get(EVENT "?wait=20");
    gateway_peer_must_be(503);
    assert_non_null(strstr(gateway_peer_member("detail"), "4 requests wait for events already"));
    assert_true(raw_header(&reply, "Retry-After", value));
    status_peer_get(EVENT); /* one that does not wait is answered */
    gateway_peer_must_be(200);
    watch_peer_say(&processed);
    for (size_t i = 0; i < GATEWAY_PEER_FOLLOWERS; i++) {
        end_get(fds[i]);
        gateway_peer_must_be(200);
    }
    status_peer_get(EVENT "?wait=20"); /* their places are free again */
    gateway_peer_must_be(200);
}

static void a_client_that_goes_gives_its_place_back(void **state)
{
    struct event_status accepted = status_of(STATUS_ACCEPTED, 8);
    int fd;

    (void)state;
    watch_peer_say(&accepted);
    fd = begin_get(EVENT "?wait=30", "");
    assert_until(watch_peer_open() == 1);
    raw_close(fd);
    assert_until(watch_peer_open() == 0);
}

/* Also for an event that changes without a pause. */
static void the_gateway_stops(void **state)
{
    struct event_status processing = status_of(STATUS_PROCESSING, 8);
    int64_t start = clock_monotonic_ms(&clock_system);
    int fd;

    (void)state;
    status_peer_answer(ERR_NONE, NULL, &processing);
    watch_peer_be_busy(&processing);
    fd = begin_get(EVENT, "Prefer: wait=30\r\n");
    assert_until(watch_peer_open() == 1);
    gateway_peer_drain();
    end_get(fd);
    gateway_peer_must_be(200);
    assert_in_range(clock_monotonic_ms(&clock_system) - start, 0, 20000);
    assert_null(strstr(reply.head, "Preference-Applied")); /* it was not waited to the end */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, begin)
    const struct CMUnitTest tests[] = {
        TEST(answers_when_the_event_has_ended),
        TEST(an_event_that_has_ended_is_answered_at_once),
        TEST(the_time_is_up),
        TEST(another_processor_goes_on),
        TEST(failures_become_problems),
        TEST(preferences),
        TEST(a_failure_has_applied_no_preference),
        TEST(bad_waits),
        TEST(only_so_many_wait),
        TEST(a_client_that_goes_gives_its_place_back),
    };
    const struct CMUnitTest stopping[] = {TEST(the_gateway_stops)};

    return cmocka_run_group_tests(tests, status_peer_start, status_peer_stop) +
           cmocka_run_group_tests(stopping, status_peer_start, status_peer_stop);
}
