/* GET /api/v1/events: the gateway's side, with a processor that says what it is told.
 */
#include "tests/lib/status_peer.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

#define EVENTS "/api/v1/events"
#define reply gateway_peer_reply
#define DOCUMENT                                                                                \
    "{\"event_id\":\"" STATUS_PEER_ID "\",\"status\":\"processed\",\"name\":\"order.created\"," \
    "\"attempt\":1,\"generation\":0,\"updated_at\":\"2026-01-02T03:04:05.000Z\","               \
    "\"event_position\":7,\"position\":11}"

static char value[512];

static void answer_with(const struct event_status *events, size_t count, const char *token)
{
    status_peer_page(&(struct event_page){
        .events = events, .count = count, .next_page_token = view_of(token), .position = 12});
}

static struct event_status event(void)
{
    struct event_status status = status_peer_basic();

    status.updated_ms = 1767323045000;
    return status;
}

static void a_page_and_the_way_to_the_next(void **state)
{
    struct event_status events[] = {event(), event()};

    (void)state;
    answer_with(events, 2, "abc-1");
    status_peer_get(EVENTS);
    gateway_peer_must_be(200);
    assert_string_equal(reply.body, "{\"events\":[" DOCUMENT ",\n" DOCUMENT
                                    "],\"next_page_token\":\"abc-1\",\"position\":12}\n");
    assert_true(raw_header(&reply, "Link", value));
    assert_string_equal(value, "<" EVENTS "?page_token=abc-1>; rel=\"next\"");
    assert_int_equal(status_peer_listed().page_size, 100);
    assert_int_equal(status_peer_listed().statuses, 0);
    assert_int_equal(status_peer_listed().name.len, 0);
    assert_int_equal(status_peer_listed().page_token.len, 0);
}

static void the_last_page(void **state)
{
    (void)state;
    answer_with(NULL, 0, "");
    status_peer_get(EVENTS);
    gateway_peer_must_be(200);
    assert_string_equal(reply.body, "{\"events\":[],\"position\":12}\n");
    assert_false(raw_header(&reply, "Link", value));
    status_peer_send("HEAD", EVENTS, "");
    gateway_peer_must_be(200);
}

static void the_filter_is_passed_on_and_kept_in_the_link(void **state)
{
    struct event_list_request asked;

    (void)state;
    answer_with(NULL, 0, "a+b/c=");
    status_peer_get(EVENTS "?status=dead,retrying&name=order.%3E&since=2026-01-02T03:04:05Z&"
                           "until=2026-01-02T04:04:06%2B01:00&limit=7&min_position=5&"
                           "page_token=x%2By");
    gateway_peer_must_be(200);
    asked = status_peer_listed();
    assert_int_equal(asked.statuses, 1u << STATUS_DEAD | 1u << STATUS_RETRYING);
    assert_string_equal(asked.name.data, "order.>");
    assert_string_equal(asked.page_token.data, "x+y");
    assert_int_equal(asked.accepted_since_ms, 1767323045000);
    assert_int_equal(asked.accepted_until_ms, 1767323046000);
    assert_int_equal(asked.page_size, 7);
    assert_int_equal(asked.min_position, 5);
    assert_true(raw_header(&reply, "Link", value));
    assert_string_equal(value, "<" EVENTS "?limit=7&min_position=5&name=order.%3E&"
                               "since=2026-01-02T03%3A04%3A05Z&status=dead%2Cretrying&"
                               "until=2026-01-02T04%3A04%3A06%2B01%3A00&"
                               "page_token=a%2Bb%2Fc%3D>; rel=\"next\"");
}

static void a_link_that_gets_too_long_is_left_out(void **state)
{
    struct buf request;

    (void)state;
    answer_with(NULL, 0, "abc-1");
    buf_init(&request, 16384);
    buf_add_text(&request, "GET " EVENTS "?status=dead");
    for (size_t i = 0; i < 1500; i++)
        buf_add_text(&request, ",dead"); /* whose commas take three bytes each in the link */
    buf_add_text(&request, " HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_false(buf_failed(&request));
    gateway_peer_exchange(request.data);
    gateway_peer_must_be(200);
    assert_false(raw_header(&reply, "Link", value));
    assert_string_equal(gateway_peer_member("next_page_token"), "abc-1");
    buf_free(&request);
}

/* Negative numbers of milliseconds are bounds as any other. */
static void times_before_1970(void **state)
{
    (void)state;
    answer_with(NULL, 0, "");
    status_peer_get(EVENTS "?until=1969-12-31T23:59:59Z");
    gateway_peer_must_be(200);
    assert_int_equal(status_peer_listed().accepted_since_ms, 0);
    assert_int_equal(status_peer_listed().accepted_until_ms, -1000);
    status_peer_get(EVENTS "?since=1969-12-31T23:59:58Z&until=1969-12-31T23:59:59Z");
    gateway_peer_must_be(200);
    status_peer_get(EVENTS "?since=1969-12-31T23:59:59Z&until=1969-12-31T23:59:58Z");
    gateway_peer_must_be(422);
}

static void each_status_can_be_asked_for(void **state)
{
    char path[64];

    (void)state;
    answer_with(NULL, 0, "");
    for (unsigned s = STATUS_ACCEPTED; s < STATUS_COUNT; s++) {
        snprintf(path, sizeof path, EVENTS "?status=%s", status_word((enum status)s));
        status_peer_get(path);
        gateway_peer_must_be(200);
        assert_int_equal(status_peer_listed().statuses, 1u << s);
    }
}

static void bad_parameters(void **state)
{
    static const struct {
        const char *query, *says;
    } bad[] = {
        {"status=done", "status is \"done\"; allowed: accepted, processing, retrying, processed, "
                        "dead, or several with commas between them"},
        {"status=", "status is \"\""},
        {"status=dead,", "status is \"\""},
        {"status=none", "status is \"none\""},
        {"status=dead&status=processed", "the query parameter status is given twice"},
        {"name=a..b", "name is \"a..b\"; a name or a pattern is allowed"},
        {"name=", "name is \"\""},
        {"since=yesterday", "since must be an RFC 3339 date-time"},
        {"until=2026-01-02", "until must be an RFC 3339 date-time"},
        {"since=2026-01-02T00:00:00Z&until=2026-01-02T00:00:00Z", "since must be before until"},
        {"limit=0", "limit must be a number from 1 to 1000"},
        {"limit=1001", "limit must be a number from 1 to 1000"},
        {"limit=many", "limit must be a number from 1 to 1000"},
        {"min_position=-1", "min_position must be a number"},
        {"page_token=", "page_token must be the next_page_token of an earlier page"},
        {"page_token=a%00b", "page_token must be the next_page_token of an earlier page"},
        {"page=2", "there is no query parameter \"page\" here; allowed: limit, min_position, name, "
                   "page_token, since, status, until"},
    };
    char path[256];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(path, sizeof path, EVENTS "?%s", bad[i].query);
        status_peer_get(path);
        if (reply.status != 422 || !strstr(gateway_peer_member("detail"), bad[i].says))
            fail_msg("%s: %d %s", bad[i].query, reply.status, reply.body);
    }
}

static void failures_become_problems(void **state)
{
    static const struct {
        enum err e;
        int status;
    } failures[] = {{ERR_INVALID, 422},
                    {ERR_UNAVAILABLE, 503},
                    {ERR_CANCELLED, 503},
                    {ERR_BUSY, 429},
                    {ERR_OUT_OF_RANGE, 400}};

    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        status_peer_answer(failures[i].e, "what the processor said", NULL);
        status_peer_get(EVENTS);
        gateway_peer_must_be(failures[i].status);
        assert_non_null(strstr(gateway_peer_member("detail"), "what the processor said"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_and_the_way_to_the_next),
        cmocka_unit_test(the_last_page),
        cmocka_unit_test(the_filter_is_passed_on_and_kept_in_the_link),
        cmocka_unit_test(a_link_that_gets_too_long_is_left_out),
        cmocka_unit_test(times_before_1970),
        cmocka_unit_test(each_status_can_be_asked_for),
        cmocka_unit_test(bad_parameters),
        cmocka_unit_test(failures_become_problems),
    };

    return cmocka_run_group_tests(tests, status_peer_start, status_peer_stop);
}
