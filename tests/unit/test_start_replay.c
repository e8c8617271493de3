/* POST /api/v1/replays and /api/v1/events/{id}/replay: the gateway's side.
 */
#include "tests/lib/replay_peer.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

#define ID REPLAY_PEER_ID
#define REPLAYS "/api/v1/replays"
#define JSON "Content-Type: application/json\r\n"

#define DOCUMENT_WITH(filter)                                                       \
    "{\"replay_id\":\"" ID "\",\"state\":\"running\",\"matched\":7,\"replayed\":5," \
    "\"skipped\":2,\"started_at\":\"2026-01-02T03:04:05.678Z\","                    \
    "\"updated_at\":\"2026-01-02T03:04:06.000Z\",\"processor\":\"p-1\","            \
    "\"event_position\":42,\"position\":99,\"filter\":{" filter "}}"
#define DOCUMENT DOCUMENT_WITH("\"statuses\":[\"dead\"]")

static void post(const char *body)
{
    replay_peer_send("POST " REPLAYS, JSON, body);
}

static void a_replay_begins(void **state)
{
    struct replay_progress replay = replay_peer_running();

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, &replay, NULL);
    post("{\"statuses\":[\"dead\"],\"replay_id\":\"" ID "\"}");
    gateway_peer_must_be(202);
    assert_string_equal(gateway_peer_reply.body, DOCUMENT "\n");
    assert_non_null(strstr(gateway_peer_reply.head, "\r\nLocation: " REPLAYS "/" ID "\r\n"));
    assert_string_equal(replay_peer_asked().replay_id, ID);
    assert_int_equal(replay_peer_asked().request.statuses, 1u << STATUS_DEAD);
    assert_string_equal(replay_peer_asked().source, ""); /* it would go with no id */
    assert_true(replay_peer_asked().request.detach);
    assert_false(replay_peer_asked().request.dry_run);
}

static void what_is_asked_is_passed_on(void **state)
{
    struct replay_progress replay = replay_peer_running();
    struct replay_request r;

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, &replay, NULL);
    post("{\"event_ids\":[\"a/b\",\"c\"],\"source\":\"/shop\",\"statuses\":[\"processed\"],"
         "\"name\":\"order.>\",\"from_position\":3,\"to_position\":4,"
         "\"accepted_since\":\"2026-01-02T03:04:05.678Z\","
         "\"accepted_until\":\"2026-01-02T03:04:06Z\",\"rate\":10}");
    gateway_peer_must_be(202);
    r = replay_peer_asked().request;
    assert_int_equal(replay_peer_asked().id_count, 2);
    assert_string_equal(replay_peer_asked().first_id, "a/b");
    assert_string_equal(replay_peer_asked().source, "/shop");
    assert_string_equal(replay_peer_asked().name, "order.>");
    assert_int_equal(r.statuses, 1u << STATUS_PROCESSED);
    assert_true(r.from_position == 3 && r.to_position == 4 && r.rate == 10);
    assert_true(r.accepted_since_ms == 1767323045678 && r.accepted_until_ms == 1767323046000);
    post("{\"event_ids\":[\"7\"]}");
    assert_string_equal(replay_peer_asked().source, "/the default");
}

static void a_dry_run_only_counts(void **state)
{
    struct replay_progress replay = {.replayed = 8,
                                     .skipped = 1,
                                     .processor = VIEW("p-1"),
                                     .event_position = 42,
                                     .position = 99,
                                     .request = {.name = VIEW("a"), .dry_run = true}};

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, &replay, NULL);
    post("{\"name\":\"a\",\"dry_run\":true}");
    gateway_peer_must_be(200);
    assert_string_equal(gateway_peer_reply.body,
                        "{\"dry_run\":true,\"matched\":9,\"replayed\":8,\"skipped\":1,"
                        "\"processor\":\"p-1\",\"event_position\":42,\"position\":99,"
                        "\"filter\":{\"name\":\"a\"}}\n");
    assert_null(strstr(gateway_peer_reply.head, "Location"));
    assert_true(replay_peer_asked().request.dry_run);
    assert_string_equal(replay_peer_asked().replay_id, "");
}

static void an_event_is_replayed(void **state)
{
    struct replay_progress replay = replay_peer_running();

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, &replay, NULL);
    replay_peer_send_no_body("POST /api/v1/events/a%2Fb/replay?source=/shop", "");
    gateway_peer_must_be(202);
    assert_int_equal(replay_peer_asked().id_count, 1);
    assert_string_equal(replay_peer_asked().first_id, "a/b");
    assert_string_equal(replay_peer_asked().source, "/shop");
    assert_int_equal(replay_peer_asked().request.statuses, 0);
    assert_string_equal(gateway_peer_member("replay_id"), replay_peer_asked().replay_id);
    replay_peer_send("POST /api/v1/events/" ID "/replay", "", "");
    gateway_peer_must_be(202);
    assert_string_equal(replay_peer_asked().first_id, ID);
    assert_string_equal(replay_peer_asked().source, "/the default");
    replay_peer_send("POST /api/v1/events/" ID "/replay", JSON, " {} ");
    gateway_peer_must_be(202);
}

static void what_an_events_replay_does_not_take_is_refused(void **state)
{
    static const char *const paths[] = {"POST /api/v1/events/%ff/replay",
                                        "POST /api/v1/events/a%00b/replay",
                                        "POST /api/v1/events/a/replay?source=%ff"};

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        replay_peer_send_no_body(paths[i], "");
        gateway_peer_must_be(422);
    }
    replay_peer_send("POST /api/v1/events/a/replay", JSON, "{\"rate\":5}");
    gateway_peer_must_be(422);
    assert_non_null(strstr(gateway_peer_member("detail"), "takes no body"));
    replay_peer_send("POST /api/v1/events/a/replay", "Content-Encoding: gzip\r\n", "{}");
    gateway_peer_must_be(415);
    assert_null(replay_peer_asked().method);
}

static void bodies_that_are_refused(void **state)
{
    static const struct {
        const char *headers, *body;
        int status;
        const char *says;
    } cases[] = {
        {JSON, "{", 400, ""},
        {JSON, "{\"statuses\":[\"dead\"],\"statuses\":[\"dead\"]}", 400, "statuses comes twice"},
        {JSON, "{\"status\":\"dead\"}", 422, "unknown member \"status\"; allowed are event_ids"},
        {JSON, "{\"event_ids\":[]}", 422, "event_ids must be"},
        {JSON, "{}", 422, "nothing says which events"},
        {"", "{}", 415, "Content-Type is missing"},
        {"Content-Type: text/plain\r\n", "{}", 415, "allowed is application/json"},
        {"Content-Type: application/json; charset=latin1\r\n", "{}", 415, "charset=utf-8"},
        {JSON JSON, "{}", 415, "two Content-Type"},
        {JSON "Content-Encoding: gzip\r\n", "{}", 415, "Content-Encoding"},
        {JSON "Idempotency-Key: \r\n", "{\"name\":\"a\"}", 400, "Idempotency-Key is empty"},
        {JSON "Idempotency-Key: a\r\nIdempotency-Key: a\r\n", "{\"name\":\"a\"}", 400, "two"},
        {JSON "Idempotency-Key: 7\r\n", "{\"name\":\"a\",\"replay_id\":\"" ID "\"}", 422,
         "replay_id is another"},
    };

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        replay_peer_send("POST " REPLAYS, cases[i].headers, cases[i].body);
        if (gateway_peer_reply.status != cases[i].status ||
            !strstr(gateway_peer_member("detail"), cases[i].says))
            fail_msg("%zu: %d %s", i, gateway_peer_reply.status, gateway_peer_reply.body);
        assert_int_equal(strstr(gateway_peer_reply.head, "\r\nAccept-Post: application/json\r\n") !=
                             NULL,
                         gateway_peer_reply.status == 415 && !strstr(cases[i].headers, "gzip"));
    }
    assert_null(replay_peer_asked().method);
    replay_peer_send_no_body("POST " REPLAYS, JSON);
    gateway_peer_must_be(411);
}

static void each_replay_gets_an_id(void **state)
{
    struct replay_progress replay = replay_peer_running();
    struct replay_question first, second;
    struct event_id id;

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, &replay, NULL);
    post("{\"name\":\"a\"}");
    gateway_peer_must_be(202);
    first = replay_peer_asked();
    post("{\"name\":\"a\"}");
    second = replay_peer_asked();
    assert_true(id_parse(view_of(first.replay_id), &id));
    assert_string_not_equal(first.replay_id, second.replay_id);
    assert_string_equal(gateway_peer_member("replay_id"), second.replay_id);
}

static void a_key_gives_the_id(void **state)
{
    struct replay_progress replay = replay_peer_running();
    char expected[ID_TEXT_SIZE];
    struct event_id id;

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, &replay, NULL);
    replay_peer_send("POST " REPLAYS,
                     JSON "Idempotency-Key: \"01890A5D-AC96-774B-BCCE-B302099A8057\"\r\n",
                     "{\"name\":\"a\"}");
    gateway_peer_must_be(202);
    assert_string_equal(replay_peer_asked().replay_id, ID);
    replay_peer_send("POST " REPLAYS, JSON "Idempotency-Key: " ID "\r\n",
                     "{\"name\":\"a\",\"replay_id\":\"01890A5D-AC96-774B-BCCE-B302099A8057\"}");
    gateway_peer_must_be(202);
    replay_peer_send_no_body("POST /api/v1/events/7/replay",
                             "Idempotency-Key: \"monday \\\"1\\\"\"\r\n");
    gateway_peer_must_be(202);
    id_of_producer(VIEW("/the default"), VIEW("monday \"1\""), &id);
    id_format(&id, expected);
    assert_string_equal(replay_peer_asked().replay_id, expected);
    replay_peer_send_no_body("POST /api/v1/events/7/replay?source=/shop", "Idempotency-Key: k\r\n");
    id_of_producer(VIEW("/shop"), VIEW("k"), &id);
    id_format(&id, expected);
    assert_string_equal(replay_peer_asked().replay_id, expected);
}

/* Sent again with it, the request starts no second replay. */
static void where_it_may_have_begun_the_id_is_named(void **state)
{
    static const enum err unknown[] = {ERR_DEADLINE, ERR_UNAVAILABLE, ERR_INTERNAL};
    static const enum err known[] = {ERR_NOT_FOUND, ERR_NOT_ENDED, ERR_INVALID, ERR_BUSY};

    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        replay_peer_answer(unknown[i], "lost", NULL, NULL);
        post("{\"name\":\"a\"}");
        assert_int_equal(gateway_peer_reply.status, unknown[i] == ERR_INTERNAL ? 500 : 504);
        assert_int_equal(strlen(replay_peer_asked().replay_id), 36);
        assert_string_equal(gateway_peer_member("replay_id"), replay_peer_asked().replay_id);
        assert_non_null(strstr(gateway_peer_member("detail"), "Idempotency-Key: "));
        post("{\"name\":\"a\",\"dry_run\":true}");
        assert_int_equal(gateway_peer_reply.status, err_http_status(unknown[i]));
        assert_string_equal(gateway_peer_member("replay_id"), "");
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        replay_peer_answer(known[i], "no", NULL, NULL);
        post("{\"name\":\"a\"}");
        gateway_peer_must_be(err_http_status(known[i]));
        assert_string_equal(gateway_peer_member("replay_id"), "");
    }
}

static void answers_that_make_no_sense(void **state)
{
    struct replay_progress replay = replay_peer_running();

    (void)state;
    replay_peer_answer(ERR_NONE, NULL, &replay, NULL);
    post("{\"name\":\"a\",\"dry_run\":true}");
    gateway_peer_must_be(500);
    assert_non_null(strstr(gateway_peer_member("detail"), "a dry run has a replay_id"));
    replay_peer_answer(ERR_NONE, NULL, &replay, "");
    post("{\"name\":\"a\"}");
    gateway_peer_must_be(500);
    assert_non_null(strstr(gateway_peer_member("detail"), "there is no replay_id"));
    assert_null(strstr(gateway_peer_reply.head, "Location"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replay_begins),
        cmocka_unit_test(what_is_asked_is_passed_on),
        cmocka_unit_test(a_dry_run_only_counts),
        cmocka_unit_test(an_event_is_replayed),
        cmocka_unit_test(what_an_events_replay_does_not_take_is_refused),
        cmocka_unit_test(bodies_that_are_refused),
        cmocka_unit_test(each_replay_gets_an_id),
        cmocka_unit_test(a_key_gives_the_id),
        cmocka_unit_test(where_it_may_have_begun_the_id_is_named),
        cmocka_unit_test(answers_that_make_no_sense),
    };

    return cmocka_run_group_tests(tests, replay_peer_start, replay_peer_stop);
}
