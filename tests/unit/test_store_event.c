/* One id, one event: POST /api/v1/events on two gateways with one bus in memory.
 */
#include "common/event_digest.h"
#include "http-gateway/store_event.h"
#include "tests/lib/gateways.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON "Content-Type: application/json\r\n"
#define UUID "01890a5d-ac96-774b-bcce-b302099a8057"

static struct gateways g;
static struct raw_reply reply;
static char text[512];

static int start(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){0});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    gateways_stop(&g);
    return 0;
}

static void post(int which, const char *headers, const char *body)
{
    gateways_post(&g, which, headers, body, &reply);
}

static const char *member(const char *name)
{
    gateways_member(&reply, name, text);
    return text;
}

static void assert_position(uint64_t last)
{
    assert_int_equal(gateways_last_position(&g), last);
}

static void assert_view(struct view v, const char *expected)
{
    if (!view_equal(v, view_of(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", (int)v.len, v.data ? v.data : "", expected);
}

/* ---- identity ---- */

static void ids_come_from_producers(void **state)
{
    static const struct {
        const char *body, *id, *source;
    } cases[] = {
        {"{\"name\":\"a\",\"id\":\"123\"}", "123", GATEWAYS_SOURCE},
        {"{\"name\":\"a\",\"id\":\"123\",\"source\":\"/other\"}", "123", "/other"},
        {"{\"name\":\"a\",\"id\":\"caf\\u00e9 / 7\"}", "caf\xC3\xA9 / 7", GATEWAYS_SOURCE},
        {"{\"name\":\"a\",\"id\":\"" UUID "\"}", UUID, GATEWAYS_SOURCE},
        {"{\"name\":\"a\",\"id\":\"01890A5D-AC96-774B-BCCE-B302099A8058\",\"source\":\"/x\"}",
         "01890A5D-AC96-774B-BCCE-B302099A8058", "/x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct event_text values;
        struct event event;
        char id[ID_TEXT_SIZE], stored_id[ID_TEXT_SIZE], digest[EVENT_DIGEST_TEXT_SIZE];
        struct bus_record *record;

        gateways_id_of(cases[i].source, cases[i].id, id);
        post(0, JSON, cases[i].body);
        gateways_assert_stored(&reply, id);
        record = gateways_event_at(&g, i + 1, &values, &event);
        id_format(&event.id, stored_id);
        assert_string_equal(stored_id, id);
        assert_view(event.producer_id, cases[i].id);
        assert_view(event.source, cases[i].source);
        assert_true(event.time.len > 0);
        assert_int_equal(event_digest(&event, digest), ERR_NONE);
        assert_view(event.digest, digest);
        bus_record_free(record);
    }
}

static void events_without_id_are_events_of_their_own(void **state)
{
    struct event_text values;
    struct event event;
    struct bus_record *record;

    (void)state;
    post(0, JSON, "{\"name\":\"a\"}");
    gateways_assert_status(&reply, 202);
    post(0, JSON, "{\"name\":\"a\"}");
    gateways_assert_status(&reply, 202);
    assert_position(2);
    record = gateways_event_at(&g, 2, &values, &event);
    assert_view(event.producer_id, member("event_id"));
    assert_int_equal(event.id.bytes[6] >> 4, 7);
    assert_int_equal(event.digest.len, EVENT_DIGEST_TEXT_SIZE - 1);
    bus_record_free(record);
}

/* ---- sent again ---- */

static void the_same_event_is_stored_once(void **state)
{
    char id[ID_TEXT_SIZE];

    (void)state;
    gateways_id_of(GATEWAYS_SOURCE, "7", id);
    post(0, JSON, "{\"name\":\"a\",\"id\":\"7\",\"payload\":{\"n\":1}}");
    gateways_assert_stored(&reply, id);
    post(0, JSON, "{\"name\":\"a\",\"id\":\"7\",\"payload\":{\"n\":1}}");
    gateways_assert_duplicate(&reply, id);
    /* elsewhere, with its default source said, at another time, traced otherwise */
    post(1, JSON "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
         "{\"payload\":{\"n\":1},\"source\":\"" GATEWAYS_SOURCE
         "\",\"id\":\"7\",\"time\":\"2026-01-02T03:04:05Z\",\"name\":\"a\"}");
    gateways_assert_duplicate(&reply, id);
    assert_position(1);
    assert_true(gateways_has_metric(&g, "tidings_duplicates_total 1"));
    assert_true(gateways_has_metric(&g, "tidings_publishes_total{outcome=\"duplicate\"} 1"));
    assert_true(gateways_has_metric(&g, "tidings_publishes_total{outcome=\"stored\"} 1"));
}

static void another_event_with_the_id_is_a_conflict(void **state)
{
    static const char *const others[] = {
        "{\"name\":\"b\",\"id\":\"" UUID "\",\"payload\":1}",
        "{\"name\":\"a\",\"id\":\"" UUID "\",\"payload\":2}",
        "{\"name\":\"a\",\"id\":\"" UUID "\"}",
        "{\"name\":\"a\",\"id\":\"" UUID "\",\"payload\":1,\"key\":\"k\"}",
        "{\"name\":\"a\",\"id\":\"" UUID "\",\"payload\":1,\"source\":\"/other\"}",
    };
    size_t count = sizeof others / sizeof others[0];

    (void)state;
    post(1, JSON, "{\"name\":\"a\",\"id\":\"" UUID "\",\"payload\":1}");
    gateways_assert_stored(&reply, UUID);
    for (size_t i = 0; i < count; i++) {
        post(0, JSON, others[i]);
        gateways_assert_problem(&reply, 409, "id-reused", "stored at position 1");
        assert_non_null(strstr(member("detail"), UUID));
        assert_non_null(strstr(member("detail"), "nothing was stored"));
        assert_string_equal(member("event_id"), UUID);
    }
    assert_position(1);
    assert_true(gateways_has_metric(&g, "tidings_conflicts_total{reason=\"id\"} 5"));
    assert_true(gateways_has_metric(&g, "tidings_conflicts_total{reason=\"idempotency_key\"} 0"));
}

/* ---- Idempotency-Key ---- */

static void a_key_is_an_id(void **state)
{
    char id[ID_TEXT_SIZE];
    struct event_text values;
    struct event event;
    struct bus_record *record;

    (void)state;
    gateways_id_of(GATEWAYS_SOURCE, "a \"b\" \\", id);
    post(0, JSON "Idempotency-Key: \"a \\\"b\\\" \\\\\"\r\n", "{\"name\":\"a\"}");
    gateways_assert_stored(&reply, id);
    record = gateways_event_at(&g, 1, &values, &event);
    assert_view(event.producer_id, "a \"b\" \\");
    bus_record_free(record);
    post(1, JSON, "{\"name\":\"a\",\"id\":\"a \\\"b\\\" \\\\\"}");
    gateways_assert_duplicate(&reply, id);

    gateways_id_of(GATEWAYS_SOURCE, "bare-7;x", id);
    post(0, JSON "Idempotency-Key: bare-7;x\r\n", "{\"name\":\"a\"}");
    gateways_assert_stored(&reply, id);
    post(0, JSON "idempotency-key: \"bare-7;x\"\r\n", "{\"name\":\"a\",\"id\":\"bare-7;x\"}");
    gateways_assert_duplicate(&reply, id);
    post(0, JSON "Idempotency-Key: " UUID "\r\n", "{\"name\":\"a\"}");
    gateways_assert_stored(&reply, UUID);
}

static void a_key_that_is_used_again_is_a_conflict(void **state)
{
    char id[ID_TEXT_SIZE];

    (void)state;
    gateways_id_of(GATEWAYS_SOURCE, "k", id);
    post(0, JSON "Idempotency-Key: k\r\n", "{\"name\":\"a\"}");
    gateways_assert_stored(&reply, id);
    post(0, JSON "Idempotency-Key: \"k\"\r\n", "{\"name\":\"b\"}");
    gateways_assert_problem(&reply, 422, "idempotency-key-reused", "stored at position 1");
    assert_string_equal(member("event_id"), id);
    post(0, JSON "Idempotency-Key: k\r\n", "{\"name\":\"b\",\"id\":\"k\"}");
    gateways_assert_problem(&reply, 409, "id-reused", "stored at position 1");
    assert_position(1);
    assert_true(gateways_has_metric(&g, "tidings_conflicts_total{reason=\"id\"} 1"));
    assert_true(gateways_has_metric(&g, "tidings_conflicts_total{reason=\"idempotency_key\"} 1"));
}

static void key_and_id_must_not_differ(void **state)
{
    (void)state;
    post(0, JSON "Idempotency-Key: \"one\"\r\n", "{\"name\":\"a\",\"id\":\"two\"}");
    gateways_assert_problem(&reply, 422, "invalid", "\"two\"");
    assert_non_null(strstr(member("detail"), "\"one\""));
    assert_position(0);
}

static void bad_keys_are_refused(void **state)
{
    static const char *const bad[] = {"Idempotency-Key:\r\n", "Idempotency-Key: \"a\r\n",
                                      "Idempotency-Key: a, b\r\n",
                                      "Idempotency-Key: a\r\nIdempotency-Key: a\r\n"};
    char headers[512];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(headers, sizeof headers, JSON "%s", bad[i]);
        post(0, headers, "{\"name\":\"a\"}");
        gateways_assert_problem(&reply, 400, "malformed", "Idempotency-Key");
    }
    assert_position(0);
}

/* ---- size ---- */

/* A body whose payload is a string of so many bytes. */
static void post_sized(size_t size)
{
    static const char begin[] = "{\"name\":\"a\",\"id\":\"" UUID "\",\"payload\":\"", end[] = "\"}";
    char *body = malloc(sizeof begin + size + sizeof end);

    assert_non_null(body);
    memcpy(body, begin, sizeof begin - 1);
    memset(body + sizeof begin - 1, 'x', size);
    memcpy(body + sizeof begin - 1 + size, end, sizeof end);
    post(0, JSON, body);
    free(body);
}

static void room_is_left_for_a_dead_letter(void **state)
{
    size_t fits = 1000000, too_large = bus_max_payload(g.bus);
    uint64_t position;

    (void)state;
    while (too_large - fits > 1) { /* where is the border? */
        size_t middle = (fits + too_large) / 2;

        bus_mem_renew(g.events);
        post_sized(middle);
        if (reply.status == 202)
            fits = middle;
        else
            too_large = middle;
    }
    bus_mem_renew(g.events);
    post_sized(too_large);
    gateways_assert_problem(&reply, 413, "too-large", "1048576");
    assert_non_null(strstr(member("detail"), "2048"));
    assert_position(0);
    /* what is stored at the border can have 2 KiB more, and the frame that NATS counts, too */
    assert_in_range(bus_max_payload(g.bus) - fits, STORE_EVENT_LETTER_ROOM + 200,
                    STORE_EVENT_LETTER_ROOM + 600);
    post_sized(fits);
    gateways_assert_status(&reply, 202);
    position = gateways_last_position(&g);
    assert_int_equal(position, 1);
}

/* ---- many at once ---- */

enum { SENDERS = 16, ROUNDS = 12 };

/* In every second round the bus lets go of its receipts only when it has all requests. */
static void send_at_once(const char *body, bool together, int fds[SENDERS])
{
    bus_mem_set_held(g.bus, together);
    for (int i = 0; i < SENDERS; i++)
        fds[i] = gateways_post_begin(&g, i % GATEWAYS, JSON, body);
    if (together)
        assert_until(bus_in_flight(g.bus) == SENDERS);
    bus_mem_set_held(g.bus, false);
}

static void many_send_the_same_at_once(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        char body[64], producer_id[16], id[ID_TEXT_SIZE];
        int fds[SENDERS], originals = 0;

        snprintf(producer_id, sizeof producer_id, "n%d", round);
        snprintf(body, sizeof body, "{\"name\":\"a\",\"id\":\"%s\"}", producer_id);
        gateways_id_of(GATEWAYS_SOURCE, producer_id, id);
        send_at_once(body, round % 2 == 1, fds);
        for (int i = 0; i < SENDERS; i++) {
            gateways_post_end(fds[i], &reply);
            gateways_assert_status(&reply, 202);
            assert_string_equal(member("event_id"), id);
            originals += strstr(reply.body, "\"duplicate\":true") == NULL;
        }
        assert_int_equal(originals, 1);
        assert_position((uint64_t)round + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ids_come_from_producers, start, stop),
        cmocka_unit_test_setup_teardown(events_without_id_are_events_of_their_own, start, stop),
        cmocka_unit_test_setup_teardown(the_same_event_is_stored_once, start, stop),
        cmocka_unit_test_setup_teardown(another_event_with_the_id_is_a_conflict, start, stop),
        cmocka_unit_test_setup_teardown(a_key_is_an_id, start, stop),
        cmocka_unit_test_setup_teardown(a_key_that_is_used_again_is_a_conflict, start, stop),
        cmocka_unit_test_setup_teardown(key_and_id_must_not_differ, start, stop),
        cmocka_unit_test_setup_teardown(bad_keys_are_refused, start, stop),
        cmocka_unit_test_setup_teardown(room_is_left_for_a_dead_letter, start, stop),
        cmocka_unit_test_setup_teardown(many_send_the_same_at_once, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
