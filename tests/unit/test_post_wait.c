/* POST /api/v1/events with Prefer: wait=N, onto the bus in memory, with a processor that says of
 * the event what it is told.
 */
#include "common/clock.h"
#include "http-gateway/wait_event.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/gateways.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"
#include "tests/lib/watch_peer.h"

#include <stdio.h>
#include <string.h>

#define ID "01890a5d-ac96-774b-bcce-b302099a8057"
#define EVENT "{\"name\":\"order.created\",\"id\":\"" ID "\",\"payload\":1}"
#define JSON "Content-Type: application/json\r\n"
#define WAIT JSON "Prefer: wait=20\r\n"
#define DOCUMENT(status)                                                                           \
    "{\"event_id\":\"" ID "\",\"status\":\"" status "\",\"name\":\"order.created\",\"attempt\":1," \
    "\"generation\":0,\"updated_at\":\"2026-01-02T03:04:05.678Z\",\"event_position\":1,"           \
    "\"position\":11"

enum { PLACES = 2 };

static struct gateways g;
static struct rpc_server *processor;
static struct raw_reply reply;
static char value[512];

static void start_gateways(const char *target)
{
    gateways_start(&g, &(struct gateways_options){.processor = target, .followers_max = PLACES});
}

static int start(void **state)
{
    static const struct rpc_method methods[] = {WATCH_PEER_METHODS, {.path = NULL}};
    struct rpc_options rpc = {.listen = "127.0.0.1:0", .threads = 1, .methods = methods};
    struct err_detail detail = {""};
    char target[64];

    (void)state;
    watch_peer_reset();
    if (rpc_start(&rpc, &processor, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
    rpc_health_set(processor, "", true);
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", rpc_port(processor));
    start_gateways(target);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    gateways_stop(&g);
    rpc_stop(processor, 1000);
    return 0;
}

static int start_alone(void **state)
{
    (void)state;
    start_gateways(NULL);
    return 0;
}

static int stop_alone(void **state)
{
    (void)state;
    gateways_stop(&g);
    return 0;
}

static void say(enum status status)
{
    struct event_status s = {
        .state = {.status = status, .attempt = 1},
        .name = VIEW("order.created"),
        .updated_ms = 1767323045678,
        .event_position = 1,
        .position = 11,
    };

    assert_true(id_parse(VIEW(ID), &s.id));
    watch_peer_say(&s);
}

static int begin_post(const char *headers)
{
    return gateways_post_begin(&g, 0, headers, EVENT);
}

static void end_post(int fd)
{
    gateways_post_end(fd, &reply);
}

static void post(const char *headers)
{
    gateways_post(&g, 0, headers, EVENT, &reply);
}

static uint32_t waiting(void)
{
    return atomic_load(&g.gateway[0].followers);
}

/* `applied`: NULL if the preference was not followed. */
static void assert_applied(const char *applied)
{
    bool found = raw_header(&reply, "Preference-Applied", value);

    if (found != (applied != NULL) || (found && strcmp(value, applied) != 0))
        fail_msg("Preference-Applied: %s; %s", found ? value : "(none)", reply.body);
}

static void assert_ended(const char *document)
{
    gateways_assert_status(&reply, 200);
    assert_string_equal(reply.body, document);
    assert_true(raw_header(&reply, "Location", value));
    assert_string_equal(value, "/api/v1/events/" ID);
    assert_applied("wait=20");
}

/* ---- the end of the event ---- */

static void answers_when_the_event_has_ended(void **state)
{
    int fd;

    (void)state;
    say(STATUS_PROCESSING);
    fd = begin_post(WAIT);
    assert_until(watch_peer_open() == 1);
    assert_int_equal(gateways_last_position(&g), 1); /* stored first */
    assert_false(raw_readable(fd, 100));
    say(STATUS_PROCESSED);
    end_post(fd);
    assert_ended(DOCUMENT("processed") "}\n");
    assert_string_equal(watch_peer_asked().id, ID);
    assert_string_equal(watch_peer_asked().source, "");
    assert_until(watch_peer_open() == 0);
    assert_int_equal(waiting(), 0);
}

static void dead_is_an_end(void **state)
{
    (void)state;
    say(STATUS_RETRYING);
    say(STATUS_DEAD);
    post(WAIT);
    assert_ended(DOCUMENT("dead") "}\n");
}

static void a_duplicate_that_has_ended(void **state)
{
    (void)state;
    post(JSON);
    gateways_assert_stored(&reply, ID);
    say(STATUS_PROCESSED);
    post(WAIT);
    assert_ended(DOCUMENT("processed") ",\"duplicate\":true}\n");
    post(JSON "Prefer: wait=0\r\n"); /* asks nobody */
    gateways_assert_duplicate(&reply, ID);
    assert_applied("wait=0");
    assert_int_equal(watch_peer_opened(), 1);
}

static void all_forms_of_one_event(void **state)
{
    (void)state;
    say(STATUS_PROCESSED);
    gateways_post(&g, 0, "Content-Type: application/cloudevents+json\r\nPrefer: wait=20\r\n",
                  "{\"specversion\":\"1.0\",\"id\":\"" ID "\",\"source\":\"/shop\","
                  "\"type\":\"order.created\",\"data\":1}",
                  &reply);
    assert_ended(DOCUMENT("processed") "}\n");
    gateways_post(&g, 0,
                  WAIT "ce-specversion: 1.0\r\nce-id: " ID "\r\nce-source: /shop\r\n"
                       "ce-type: order.created\r\n",
                  "1", &reply);
    assert_ended(DOCUMENT("processed") ",\"duplicate\":true}\n");
}

/* ---- 202 all the same ---- */

static void the_time_is_up(void **state)
{
    int64_t begin = clock_monotonic_ms(&clock_system);

    (void)state;
    say(STATUS_RETRYING);
    post(JSON "Prefer: wait=1\r\n");
    gateways_assert_stored(&reply, ID);
    assert_applied("wait=1");
    assert_in_range(clock_monotonic_ms(&clock_system) - begin, 1000, 8000);
    assert_until(watch_peer_open() == 0);
}

static void a_processor_that_fails_is_no_error(void **state)
{
    static const enum err failures[] = {ERR_NOT_FOUND, ERR_BUSY, ERR_UNIMPLEMENTED, ERR_INTERNAL};

    (void)state;
    post(JSON);
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        watch_peer_reset();
        say(STATUS_PROCESSING);
        watch_peer_fail(failures[i], "what the processor said");
        post(WAIT);
        gateways_assert_duplicate(&reply, ID);
        assert_applied(NULL);
        assert_int_equal(waiting(), 0);
    }
}

static void another_processor_goes_on(void **state)
{
    int fd;

    (void)state;
    say(STATUS_PROCESSING);
    fd = begin_post(WAIT);
    assert_until(watch_peer_open() == 1);
    watch_peer_fail(ERR_UNAVAILABLE, "stopping");
    assert_until(watch_peer_opened() >= 2);
    watch_peer_fail(ERR_NONE, NULL);
    say(STATUS_PROCESSED);
    end_post(fd);
    assert_ended(DOCUMENT("processed") "}\n");
    assert_int_equal(watch_peer_asked().position, 11); /* it is not behind the first one */
}

static void no_processor_is_no_error(void **state)
{
    int64_t begin = clock_monotonic_ms(&clock_system);

    (void)state;
    post(WAIT);
    gateways_assert_stored(&reply, ID);
    assert_applied(NULL);
    assert_in_range(clock_monotonic_ms(&clock_system) - begin, 0, 15000); /* not all of the 20 s */
    assert_int_equal(waiting(), 0);
}

static void no_place_is_no_error(void **state)
{
    int fds[PLACES];

    (void)state;
    say(STATUS_PROCESSING);
    for (size_t i = 0; i < PLACES; i++)
        fds[i] = begin_post(WAIT);
    assert_until(watch_peer_open() == PLACES);
    post(WAIT);
    gateways_assert_duplicate(&reply, ID);
    assert_applied(NULL);
    assert_true(gateways_has_metric(&g, "tidings_followers_refused_total 1"));
    say(STATUS_PROCESSED);
    for (size_t i = 0; i < PLACES; i++) {
        end_post(fds[i]);
        gateways_assert_status(&reply, 200);
    }
    post(WAIT); /* their places are free again */
    gateways_assert_status(&reply, 200);
}

static void a_gateway_that_stops_does_not_wait(void **state)
{
    int fd;

    (void)state;
    say(STATUS_PROCESSING);
    fd = begin_post(WAIT);
    assert_until(watch_peer_open() == 1);
    http_drain(g.http[0]);
    end_post(fd);
    gateways_assert_stored(&reply, ID);
    assert_applied(NULL);
}

static void a_client_that_goes_gives_its_place_back(void **state)
{
    int fd;

    (void)state;
    say(STATUS_PROCESSING);
    fd = begin_post(WAIT);
    assert_until(watch_peer_open() == 1);
    raw_close(fd);
    assert_until(watch_peer_open() == 0);
    assert_until(waiting() == 0);
}

static void what_is_not_stored_is_not_waited_for(void **state)
{
    (void)state;
    say(STATUS_PROCESSED);
    gateways_post(&g, 0, WAIT, "{\"name\":\"order created\"}", &reply);
    gateways_assert_problem(&reply, 422, "invalid", "name has a character");
    assert_applied(NULL);
    bus_mem_set_away(g.bus, true);
    post(WAIT);
    gateways_assert_status(&reply, 503);
    assert_applied(NULL);
    assert_int_equal(watch_peer_opened(), 0);
}

/* ---- the preference ---- */

static void preferences(void **state)
{
    static const struct {
        const char *headers, *applied; /* NULL: it is none */
    } cases[] = {
        {JSON "prefer: respond-async, Wait = \"3\" ; x=y, wait=9\r\n", "wait=3"},
        {JSON "Prefer: return=minimal\r\nPrefer: wait=4\r\nPrefer: wait=5\r\n", "wait=4"},
        {JSON "Prefer: wait=1000000\r\n", "wait=30"}, /* --max-wait */
        {JSON "Prefer: wait=soon, wait=-1, wait, =, ,\r\n", NULL},
        {JSON "Prefer: wait=99999999999999999999\r\n", NULL},
        {JSON "Prefer:\r\n", NULL},
    };

    (void)state;
    say(STATUS_PROCESSED);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        post(cases[i].headers);
        gateways_assert_status(&reply, cases[i].applied ? 200 : 202);
        assert_applied(cases[i].applied);
    }
    assert_int_equal(watch_peer_opened(), 3);
}

static void many_events_are_not_waited_for(void **state)
{
    int fd;

    (void)state;
    gateways_post(&g, 0, WAIT, "[" EVENT "]", &reply);
    gateways_assert_status(&reply, 202);
    assert_applied(NULL);
    fd = gateways_post_begin(&g, 0, "Content-Type: application/x-ndjson\r\nPrefer: wait=20\r\n",
                             EVENT "\n");
    assert_true(raw_receive_chunks(fd, &reply));
    raw_close(fd);
    gateways_assert_status(&reply, 200);
    assert_non_null(strstr(reply.body, "\"status\":\"accepted\",\"duplicate\":true}\n"));
    assert_applied(NULL);
    assert_int_equal(watch_peer_opened(), 0);
}

/* ---- short memory ---- */

/* A request that waits once for each allocation that can fail, and once without a failure. */
static enum err wait_with_failures(struct http_request *request, struct http_response *response,
                                   struct err_detail *detail, void *ctx)
{
    struct each_failure failure = each_failure_begin();
    int wrong = 0, rounds = 0;

    (void)detail;
    for (; each_failure_next(&failure); rounds++) {
        struct buf document;
        enum wait_end end;
        bool failed;

        buf_init(&document, 10000);
        end = wait_event_stored(ctx, request, VIEW(ID), 20000, &document);
        failed = each_failure_end(&failure);
        wrong += end != (failed ? WAIT_GIVEN_UP : WAIT_EVENT_ENDED);
        wrong +=
            !view_equal(buf_view(&document), failed ? VIEW("") : VIEW(DOCUMENT("processed") "}"));
        wrong += buf_failed(&document);
        buf_free(&document);
    }
    buf_add_format(&response->body, "%s, wrong: %d", rounds > 3 ? "many rounds" : "few", wrong);
    return ERR_NONE;
}

static void short_memory_is_no_error(void **state)
{
    static const struct http_route routes[] = {{"GET", "/", wait_with_failures, NULL},
                                               {NULL, NULL, NULL, NULL}};
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .connections = 1,
                                   .reserve = 1,
                                   .max_body = 1000,
                                   .request_timeout_ms = 10000,
                                   .idle_timeout_ms = 10000,
                                   .routes = routes,
                                   .ctx = &g.gateway[0]};
    struct http_server *server;

    (void)state;
    say(STATUS_PROCESSED);
    assert_int_equal(http_start(&options, &server, NULL), ERR_NONE);
    raw_exchange(http_port(server), "GET / HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    http_stop(server);
    assert_string_equal(reply.body, "many rounds, wrong: 0");
    assert_int_equal(waiting(), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(answers_when_the_event_has_ended),
        TEST(dead_is_an_end),
        TEST(a_duplicate_that_has_ended),
        TEST(all_forms_of_one_event),
        TEST(the_time_is_up),
        TEST(a_processor_that_fails_is_no_error),
        TEST(another_processor_goes_on),
        cmocka_unit_test_setup_teardown(no_processor_is_no_error, start_alone, stop_alone),
        TEST(no_place_is_no_error),
        TEST(a_gateway_that_stops_does_not_wait),
        TEST(a_client_that_goes_gives_its_place_back),
        TEST(what_is_not_stored_is_not_waited_for),
        TEST(preferences),
        TEST(many_events_are_not_waited_for),
        TEST(short_memory_is_no_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
