/* What the gateway answers about replays that there are, and how it fails.
 */
#include "tests/lib/replay_peer.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

#define ID REPLAY_PEER_ID
#define REPLAYS "/api/v1/replays"

#define DOCUMENT_WITH(filter)                                                       \
    "{\"replay_id\":\"" ID "\",\"state\":\"running\",\"matched\":7,\"replayed\":5," \
    "\"skipped\":2,\"started_at\":\"2026-01-02T03:04:05.678Z\","                    \
    "\"updated_at\":\"2026-01-02T03:04:06.000Z\",\"processor\":\"p-1\","            \
    "\"event_position\":42,\"position\":99,\"filter\":{" filter "}}"
#define DOCUMENT DOCUMENT_WITH("\"statuses\":[\"dead\"]")

static const struct view event_ids[] = {{ID, 36}, {"7", 1}};

static void every_filter_is_shown(void **state)
{
    struct replay_progress replay = replay_peer_running();

    (void)state;
    replay.request = (struct replay_request){
        .event_ids = event_ids,
        .event_id_count = 2,
        .statuses = 1u << STATUS_DEAD | 1u << STATUS_PROCESSED,
        .name = VIEW("order.*"),
        .from_position = 3,
        .to_position = UINT64_MAX,
        .accepted_since_ms = 1767323045678,
        .accepted_until_ms = 1767323046000,
        .rate = 10,
    };
    replay_peer_answer(ERR_NONE, NULL, &replay, NULL);
    replay_peer_send_no_body("GET " REPLAYS "/" ID, "");
    gateway_peer_must_be(200);
    assert_string_equal(
        gateway_peer_reply.body,
        DOCUMENT_WITH("\"event_ids\":[\"" ID "\",\"7\"],"
                      "\"statuses\":[\"processed\",\"dead\"],\"name\":\"order.*\","
                      "\"from_position\":3,\"to_position\":18446744073709551615,"
                      "\"accepted_since\":\"2026-01-02T03:04:05.678Z\","
                      "\"accepted_until\":\"2026-01-02T03:04:06.000Z\",\"rate\":10") "\n");
}

static void a_replay_is_shown_and_cancelled(void **state)
{
    struct replay_progress replay = replay_peer_running();

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, &replay, NULL);
    replay_peer_send_no_body("GET " REPLAYS "/" ID, "");
    gateway_peer_must_be(200);
    assert_string_equal(gateway_peer_reply.body, DOCUMENT "\n");
    assert_string_equal(replay_peer_asked().method, REPLAY_GET_METHOD);
    assert_string_equal(replay_peer_asked().replay_id, ID);
    replay.state = REPLAY_CANCELLED;
    replay_peer_answer(ERR_NONE, NULL, &replay, NULL);
    replay_peer_send_no_body("DELETE " REPLAYS "/" ID, "");
    gateway_peer_must_be(200);
    assert_string_equal(gateway_peer_member("state"), "cancelled");
    assert_string_equal(replay_peer_asked().method, REPLAY_CANCEL_METHOD);
    assert_string_equal(replay_peer_asked().replay_id, ID);
    replay_peer_send_no_body("HEAD " REPLAYS "/" ID, "");
    gateway_peer_must_be(200);
    assert_string_equal(replay_peer_asked().method, REPLAY_GET_METHOD);
}

static void what_is_no_id_is_not_found(void **state)
{
    (void)state;
    replay_peer_answer(ERR_NONE, NULL, NULL, NULL);
    replay_peer_send_no_body("GET " REPLAYS "/7", "");
    gateway_peer_must_be(404);
    assert_non_null(strstr(gateway_peer_member("detail"), "\"7\" is no replay_id"));
    replay_peer_send_no_body("DELETE " REPLAYS "/%00", "");
    gateway_peer_must_be(404);
    assert_null(replay_peer_asked().method);
}

static void replays_are_listed(void **state)
{
    struct replay_progress replay = replay_peer_running();

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, &replay, NULL);
    replay_peer_send_no_body("GET " REPLAYS, "");
    gateway_peer_must_be(200);
    assert_string_equal(gateway_peer_reply.body, "{\"replays\":[" DOCUMENT "," DOCUMENT "]}\n");
    assert_int_equal(replay_peer_asked().page_size, 100);
    replay_peer_send_no_body("GET " REPLAYS "?limit=1000", "");
    gateway_peer_must_be(200);
    assert_int_equal(replay_peer_asked().page_size, 1000);
    replay_peer_answer(ERR_NONE, NULL, &replay, "");
    replay_peer_send_no_body("GET " REPLAYS "?limit=1", "");
    assert_string_equal(gateway_peer_reply.body, "{\"replays\":[]}\n");
    replay_peer_answer(ERR_NONE, NULL, NULL, NULL);
    for (const char *const *bad = (const char *const[]){"0", "1001", "", "-1", "x", NULL}; *bad;
         bad++) {
        char line[64];

        snprintf(line, sizeof line, "GET " REPLAYS "?limit=%s", *bad);
        replay_peer_send_no_body(line, "");
        gateway_peer_must_be(422);
        assert_non_null(
            strstr(gateway_peer_member("detail"), "limit must be a number from 1 to 1000"));
    }
    assert_null(replay_peer_asked().method);
}

static void other_methods_are_refused(void **state)
{
    static const struct {
        const char *line, *allow;
    } cases[] = {
        {"PUT " REPLAYS, "\r\nAllow: GET, HEAD, POST, OPTIONS\r\n"},
        {"DELETE " REPLAYS, "\r\nAllow: GET, HEAD, POST, OPTIONS\r\n"},
        {"POST " REPLAYS "/" ID, "\r\nAllow: GET, HEAD, DELETE, OPTIONS\r\n"},
        {"GET /api/v1/events/1/replay", "\r\nAllow: POST, OPTIONS\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        replay_peer_send_no_body(cases[i].line, "");
        gateway_peer_must_be(405);
        assert_non_null(strstr(gateway_peer_reply.head, cases[i].allow));
    }
}

static const char *const calls[] = {"POST /api/v1/events/" ID "/replay", "GET " REPLAYS "/" ID,
                                    "DELETE " REPLAYS "/" ID, "GET " REPLAYS};
#define CALLS (sizeof calls / sizeof calls[0])

static void failures_become_problems(void **state)
{
    static const struct {
        enum err e;
        int status;
        const char *type;
    } failures[] = {
        {ERR_NOT_FOUND, 404, "not-found"},    {ERR_NOT_ENDED, 409, "not-ended"},
        {ERR_INVALID, 422, "invalid"},        {ERR_BUSY, 429, "too-many-requests"},
        {ERR_UNIMPLEMENTED, 500, "internal"}, {ERR_INTERNAL, 500, "internal"},
        {ERR_DEADLINE, 504, "deadline"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        char type[64];

        snprintf(type, sizeof type, "urn:tidings:problem:%s", failures[i].type);
        replay_peer_answer(failures[i].e, "what the processor said", NULL, NULL);
        for (size_t c = 0; c < CALLS; c++) {
            replay_peer_send_no_body(calls[c], "");
            gateway_peer_must_be(failures[i].status);
            assert_string_equal(gateway_peer_member("type"), type);
            assert_int_equal(strstr(gateway_peer_reply.head, "\r\nRetry-After: ") != NULL,
                             gateway_peer_reply.status == 503 || gateway_peer_reply.status == 429);
            if (failures[i].e != ERR_DEADLINE)
                assert_non_null(strstr(gateway_peer_member("detail"), "what the processor said"));
        }
    }
}

/* A POST or DELETE may have been done all the same: no 503, with which it would be sent again. */
static void must_be_unavailable_or_unknown(size_t call)
{
    bool acts = strncmp(calls[call], "GET", 3) != 0;

    gateway_peer_must_be(acts ? 504 : 503);
    assert_string_equal(gateway_peer_member("type"), acts ? "urn:tidings:problem:unknown-outcome"
                                                          : "urn:tidings:problem:unavailable");
    assert_int_equal(strstr(gateway_peer_reply.head, "\r\nRetry-After: ") != NULL, !acts);
}

static void what_may_have_been_done_is_not_unavailable(void **state)
{
    static const enum err failures[] = {ERR_UNAVAILABLE, ERR_CANCELLED};

    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        replay_peer_answer(failures[i], "what the processor said", NULL, NULL);
        for (size_t c = 0; c < CALLS; c++) {
            replay_peer_send_no_body(calls[c], "");
            must_be_unavailable_or_unknown(c);
            assert_non_null(strstr(gateway_peer_member("detail"), "what the processor said"));
        }
    }
}

static void answers_that_make_no_sense(void **state)
{
    struct replay_progress replay = replay_peer_running();

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, &replay, "\xFF");
    for (size_t c = 0; c < CALLS; c++) {
        replay_peer_send_no_body(calls[c], "");
        gateway_peer_must_be(500);
        assert_non_null(strstr(gateway_peer_member("detail"), "cannot be read"));
    }
}

static void no_processor_means_unavailable(void **state)
{
    (void)state;
    gateway_peer_use("ipv4:127.0.0.1:1");
    for (size_t c = 0; c < CALLS; c++) {
        replay_peer_send_no_body(calls[c], "");
        must_be_unavailable_or_unknown(c);
        assert_non_null(strstr(gateway_peer_member("detail"), "no processor "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_filter_is_shown),
        cmocka_unit_test(a_replay_is_shown_and_cancelled),
        cmocka_unit_test(what_is_no_id_is_not_found),
        cmocka_unit_test(replays_are_listed),
        cmocka_unit_test(other_methods_are_refused),
        cmocka_unit_test(failures_become_problems),
        cmocka_unit_test(what_may_have_been_done_is_not_unavailable),
        cmocka_unit_test(answers_that_make_no_sense),
        cmocka_unit_test(no_processor_means_unavailable),
    };

    return cmocka_run_group_tests(tests, replay_peer_start, replay_peer_stop);
}
