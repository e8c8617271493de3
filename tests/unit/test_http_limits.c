/* Time and connections: slow senders, idle connections, too many of them, and the end.
 */
#include "common/http.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define REQUEST_MS 400
#define IDLE_MS 1000

static struct http_server *server;
static struct metrics *metrics;
static struct raw_reply reply;
static char value[512];

/* Handlers of /hold wait until it is opened. */
static struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    int waiting;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};

static enum err hold(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    (void)r;
    (void)detail;
    (void)ctx;
    pthread_mutex_lock(&gate.lock);
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    gate.waiting--;
    pthread_mutex_unlock(&gate.lock);
    buf_add_text(&response->body, "held");
    return ERR_NONE;
}

static void gate_set(bool open)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = open;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void gate_await(int waiting)
{
    struct timespec limit;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += RAW_LIMIT_MS / 1000;
    pthread_mutex_lock(&gate.lock);
    while (gate.waiting != waiting)
        if (pthread_cond_timedwait(&gate.changed, &gate.lock, &limit) != 0)
            fail_msg("%d handlers wait, not %d", gate.waiting, waiting);
    pthread_mutex_unlock(&gate.lock);
}

static enum err echo(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    struct view body;
    enum err e = http_body(r, &body, detail);

    (void)ctx;
    if (!e)
        buf_add_view(&response->body, body);
    return e;
}

/* More than any socket's buffers take. */
static enum err big(struct http_request *r, struct http_response *response,
                    struct err_detail *detail, void *ctx)
{
    size_t size = (size_t)32 << 20;
    char *bytes = buf_reserve(&response->body, size);

    (void)r;
    (void)ctx;
    if (!bytes)
        return err_set(detail, ERR_MEMORY, "no memory");
    memset(bytes, 'x', size);
    buf_advance(&response->body, size);
    return ERR_NONE;
}

static const struct http_route routes[] = {
    {"GET", "/hold", hold, NULL},
    {"GET", "/big", big, NULL},
    {"POST", "/echo", echo, NULL},
    {NULL, NULL, NULL, NULL},
};

static int start_with(int64_t request_ms, int64_t idle_ms)
{
    struct http_options options = {
        .listen = "127.0.0.1:0",
        .connections = 3,
        .reserve = 2,
        .max_body = 100000,
        .request_timeout_ms = request_ms,
        .idle_timeout_ms = idle_ms,
        .routes = routes,
    };
    struct err_detail detail = {""};

    gate_set(false);
    assert_int_equal(metrics_new(&metrics), ERR_NONE);
    options.metrics = metrics;
    if (http_start(&options, &server, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
    return 0;
}

static int start(void **state)
{
    (void)state;
    return start_with(REQUEST_MS, IDLE_MS);
}

static int start_long_idle(void **state)
{
    (void)state;
    return start_with(REQUEST_MS, 600000);
}

static int start_long_request(void **state)
{
    (void)state;
    return start_with(600000, IDLE_MS);
}

static int start_impatient(void **state)
{
    (void)state;
    return start_with(100, IDLE_MS);
}

static int stop(void **state)
{
    (void)state;
    gate_set(true);
    if (server)
        http_stop(server);
    server = NULL;
    metrics_free(metrics);
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char small_post[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";

static void exchange(int fd, int status)
{
    assert_true(raw_send_text(fd, small_post));
    raw_receive(fd, false, &reply);
    if (reply.status != status)
        fail_msg("%d: %s", reply.status, reply.body);
}

/* Sends a byte every 20 ms until something arrives, and expects a 408 in time. */
static void expect_slow_refusal(int fd, const char *text)
{
    int64_t begin = now_ms(), took;

    for (const char *at = text; *at && !raw_readable(fd, 20); at++)
        raw_send(fd, at, 1);
    raw_receive(fd, false, &reply);
    took = now_ms() - begin;
    assert_int_equal(reply.status, 408);
    assert_non_null(strstr(reply.body, "urn:tidings:problem:request-timeout"));
    if (took < REQUEST_MS - 50 || took > REQUEST_MS + 2500)
        fail_msg("408 after %lld ms", (long long)took);
    assert_true(raw_closed(fd));
}

/* ---- time ---- */

static void slow_headers_end_in_408(void **state)
{
    int fd = raw_connect(http_port(server));
    char request[1000];

    (void)state;
    snprintf(request, sizeof request, "GET /hold HTTP/1.1\r\nHost: x\r\nX-Long: %0800d\r\n\r\n", 1);
    expect_slow_refusal(fd, request);
    raw_close(fd);
}

static void slow_headers_on_a_kept_connection(void **state)
{
    int fd = raw_connect(http_port(server));
    char request[1000];

    (void)state;
    exchange(fd, 200);
    snprintf(request, sizeof request, "GET /hold HTTP/1.1\r\nHost: x\r\nX-Long: %0800d\r\n\r\n", 1);
    expect_slow_refusal(fd, request);
    raw_close(fd);
}

static void slow_bodies_end_in_408(void **state)
{
    char body[1000];

    (void)state;
    memset(body, 'x', sizeof body);
    body[sizeof body - 1] = '\0';
    for (int chunked = 0; chunked < 2; chunked++) {
        int fd = raw_connect(http_port(server));

        raw_send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\n");
        raw_send_text(fd, chunked ? "Transfer-Encoding: chunked\r\n\r\n3e7\r\n"
                                  : "Content-Length: 1000\r\n\r\n");
        expect_slow_refusal(fd, body);
        raw_close(fd);
    }
}

static void silence_is_closed_without_a_word(void **state)
{
    int fd = raw_connect(http_port(server));
    int64_t begin = now_ms();

    (void)state;
    assert_true(raw_closed(fd));
    assert_in_range(now_ms() - begin, REQUEST_MS - 50, REQUEST_MS + 2500);
    raw_close(fd);
}

static void idle_connections_are_closed(void **state)
{
    int fd = raw_connect(http_port(server));
    int64_t begin;

    (void)state;
    exchange(fd, 200);
    begin = now_ms();
    assert_true(raw_closed(fd));
    assert_in_range(now_ms() - begin, IDLE_MS - 50, IDLE_MS + 2500);
    raw_close(fd);
}

static double connections_now(void)
{
    static const char name[] = "\ntidings_http_connections ";
    struct buf text;
    double count = -1;

    buf_init(&text, SIZE_MAX);
    assert_int_equal(metrics_render(metrics, &text), ERR_NONE);
    assert_non_null(strstr(text.data, name));
    sscanf(strstr(text.data, name) + strlen(name), "%lf", &count);
    buf_free(&text);
    return count;
}

static void answers_that_are_not_taken_are_given_up(void **state)
{
    int fd = raw_connect(http_port(server)), other = raw_connect(http_port(server));

    (void)state;
    raw_send_text(fd, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    exchange(other, 200);
    raw_close(other);
    assert_true(connections_now() > 0);
    assert_until(connections_now() == 0); /* the thread no longer waits for its client */
    raw_close(fd);
}

static void pauses_within_the_limit_are_fine(void **state)
{
    int fd = raw_connect(http_port(server));

    (void)state;
    exchange(fd, 200);
    assert_false(raw_readable(fd, IDLE_MS / 3));
    exchange(fd, 200);
    raw_send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nh");
    assert_false(raw_readable(fd, REQUEST_MS / 4));
    raw_send_text(fd, "i");
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    raw_close(fd);
}

/* ---- connections ---- */

static void too_many_connections_are_told_to_come_back(void **state)
{
    int held[3], more;

    (void)state;
    for (int i = 0; i < 3; i++) {
        held[i] = raw_connect(http_port(server));
        raw_send_text(held[i], "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    gate_await(3);
    for (int i = 0; i < 4; i++) {
        more = raw_connect(http_port(server));
        exchange(more, 503);
        assert_true(raw_header(&reply, "Retry-After", value));
        assert_string_equal(value, "1");
        assert_true(raw_closed(more));
        raw_close(more);
    }
    gate_set(true);
    for (int i = 0; i < 3; i++) {
        raw_receive(held[i], false, &reply);
        assert_string_equal(reply.body, "held");
        raw_close(held[i]);
    }
    gate_await(0);
}

/* Idle ones make room, the one that has waited longest first. */
static void idle_connections_make_room(void **state)
{
    int idle[3], more;
    int64_t give_up;

    (void)state;
    for (int i = 0; i < 3; i++) {
        idle[i] = raw_connect(http_port(server));
        exchange(idle[i], 200);
        assert_false(raw_readable(idle[i], 60)); /* idle long enough, and in this order */
    }
    give_up = now_ms() + IDLE_MS / 2;
    do {
        if (now_ms() > give_up)
            fail_msg("no room within half the idle time-out");
        more = raw_connect(http_port(server));
        raw_send_text(more, small_post);
        raw_receive(more, false, &reply);
        raw_close(more);
    } while (reply.status != 200);
    assert_true(raw_closed(idle[0]));
    exchange(idle[2], 200);
    for (int i = 0; i < 3; i++)
        raw_close(idle[i]);
}

static void silent_connections_make_room(void **state)
{
    int silent[5], more;
    int64_t give_up = now_ms() + 5000;

    (void)state;
    for (int i = 0; i < 5; i++)
        silent[i] = raw_connect(http_port(server));
    do {
        if (now_ms() > give_up)
            fail_msg("no room");
        more = raw_connect(http_port(server));
        raw_send_text(more, small_post);
        raw_receive(more, false, &reply);
        raw_close(more);
    } while (reply.status != 200);
    for (int i = 0; i < 5; i++)
        raw_close(silent[i]);
}

/* ---- the end ---- */

/* More of them than are ended in one round wait in civetweb's queue, for a thread to notice that
 * they were ended. */
static void more_silent_connections_than_places(void **state)
{
    int silent[400];

    (void)state;
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++)
        silent[i] = raw_connect(http_port(server));
    raw_exchange(http_port(server), "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
                 &reply);
    assert_int_equal(reply.status, 200);
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++)
        raw_close(silent[i]);
}

static void *stop_main(void *arg)
{
    (void)arg;
    http_stop(server);
    return NULL;
}

static void requests_in_progress_are_finished(void **state)
{
    int held = raw_connect(http_port(server)), idle = raw_connect(http_port(server));
    uint16_t port = http_port(server);
    int64_t give_up = now_ms() + RAW_LIMIT_MS;
    pthread_t stopper;

    (void)state;
    exchange(idle, 200);
    raw_send_text(held, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    gate_await(1);
    pthread_create(&stopper, NULL, stop_main, NULL);
    assert_true(raw_closed(idle)); /* the end has begun */
    for (int fd; (fd = raw_connect(port)) >= 0; raw_close(fd))
        assert_true(now_ms() < give_up);
    assert_false(raw_readable(held, 50));
    gate_set(true);
    raw_receive(held, false, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "held");
    assert_true(raw_header(&reply, "Connection", value));
    assert_string_equal(value, "close");
    pthread_join(stopper, NULL);
    server = NULL;
    raw_close(held);
    raw_close(idle);
}

static void draining_answers_close(void **state)
{
    int fd = raw_connect(http_port(server));

    (void)state;
    raw_send_text(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    gate_await(1);
    http_drain(server);
    gate_set(true);
    raw_receive(fd, false, &reply);
    assert_true(raw_header(&reply, "Connection", value));
    assert_string_equal(value, "close");
    assert_true(raw_closed(fd));
    raw_close(fd);
}

static void *open_gate_main(void *arg)
{
    raw_readable(*(int *)arg, 500); /* nothing comes: a pause */
    gate_set(true);
    return NULL;
}

static void the_end_does_not_wait_for_ever(void **state)
{
    int fd = raw_connect(http_port(server));
    pthread_t opener;

    (void)state;
    raw_send_text(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    gate_await(1);
    pthread_create(&opener, NULL, open_gate_main, &fd);
    assert_false(http_stop_within(server, 100));
    server = NULL;
    pthread_join(opener, NULL);
    raw_close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slow_headers_end_in_408, start, stop),
        cmocka_unit_test_setup_teardown(slow_headers_on_a_kept_connection, start_long_idle, stop),
        cmocka_unit_test_setup_teardown(slow_bodies_end_in_408, start, stop),
        cmocka_unit_test_setup_teardown(silence_is_closed_without_a_word, start, stop),
        cmocka_unit_test_setup_teardown(idle_connections_are_closed, start, stop),
        cmocka_unit_test_setup_teardown(answers_that_are_not_taken_are_given_up, start_impatient,
                                        stop),
        cmocka_unit_test_setup_teardown(pauses_within_the_limit_are_fine, start, stop),
        cmocka_unit_test_setup_teardown(too_many_connections_are_told_to_come_back, start, stop),
        cmocka_unit_test_setup_teardown(idle_connections_make_room, start, stop),
        cmocka_unit_test_setup_teardown(silent_connections_make_room, start_long_request, stop),
        cmocka_unit_test_setup_teardown(more_silent_connections_than_places, start_long_request,
                                        stop),
        cmocka_unit_test_setup_teardown(requests_in_progress_are_finished, start, stop),
        cmocka_unit_test_setup_teardown(draining_answers_close, start, stop),
        cmocka_unit_test_setup_teardown(the_end_does_not_wait_for_ever, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
