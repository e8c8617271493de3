/* Answers that are sent bit by bit, and clients that go, through a real server.
 */
#include "common/clock.h"
#include "common/http.h"
#include "common/mem.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT_MS = 1000 };

static struct http_server *server;
static struct metrics *metrics;
static struct raw_reply reply;
static char value[512];
static atomic_int waiting, gone, refused;

/* Three bits. */
static enum err bits(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    (void)ctx;
    if (http_query(r, "fail", &(struct view){0}))
        return err_set(detail, ERR_NOT_FOUND, "there are none");
    response->content_type = "text/plain";
    http_add_header(response, "X-More", VIEW("1"));
    if (!http_answer(r, VIEW("")) && !http_answer(r, VIEW("one,")) && !http_answer(r, VIEW("")) &&
        !http_answer(r, VIEW("two,")))
        (void)!http_answer(r, VIEW("three"));
    return ERR_NONE;
}

/* Until the client has gone, or the server is about to stop. */
static enum err wait_for_client(struct http_request *r, struct http_response *response,
                                struct err_detail *detail, void *ctx)
{
    (void)detail;
    (void)ctx;
    waiting++;
    assert_until(http_client_gone(r) || http_draining(r));
    gone += http_client_gone(r);
    waiting--;
    buf_add_text(&response->body, "waited");
    return ERR_NONE;
}

/* More than any buffer holds. */
static enum err flood(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    static char block[1 << 16];
    bool taken = true;

    (void)response;
    (void)detail;
    (void)ctx;
    memset(block, 'x', sizeof block);
    http_answer_lasts(r);
    for (int i = 0; taken && i < 1024; i++)
        taken = !http_answer(r, (struct view){block, sizeof block});
    refused += !taken;
    (void)!http_answer(r, VIEW("one more"));
    return ERR_NONE;
}

static enum err no_memory(struct http_request *r, struct http_response *response,
                          struct err_detail *detail, void *ctx)
{
    struct view large = {response->body.data, 1 << 20};
    char *bytes = mem_zero(1, large.len);
    bool sent = !http_answer(r, VIEW(""));

    (void)detail;
    (void)ctx;
    large.data = bytes;
    mem_fail_after(0);
    refused += sent && http_answer(r, large) == ERR_MEMORY;
    mem_fail_after(-1);
    mem_free(bytes);
    return ERR_NONE;
}

static const struct http_route routes[] = {
    {"GET", "/bits", bits, NULL},   {"GET", "/wait", wait_for_client, NULL},
    {"GET", "/flood", flood, NULL}, {"GET", "/no-memory", no_memory, NULL},
    {NULL, NULL, NULL, NULL},
};

static int start(void **state)
{
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .connections = 8,
                                   .reserve = 2,
                                   .max_body = 1000,
                                   .request_timeout_ms = TIMEOUT_MS,
                                   .idle_timeout_ms = 5000,
                                   .cors_origins = "*",
                                   .routes = routes};
    struct err_detail detail = {""};

    (void)state;
    waiting = gone = refused = 0;
    assert_int_equal(metrics_new(&metrics), ERR_NONE);
    options.metrics = metrics;
    if (http_start(&options, &server, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    if (server)
        http_stop(server);
    server = NULL;
    metrics_free(metrics);
    return 0;
}

/* A reply whose end is that of the connection, as it came. */
static const char *all_of(const char *request)
{
    static char text[1 << 16];
    size_t len = 0;
    int fd = raw_connect(http_port(server));

    raw_send_text(fd, request);
    while (raw_readable(fd, RAW_LIMIT_MS)) {
        ssize_t got = read(fd, text + len, sizeof text - 1 - len);

        assert_true(got >= 0);
        if (got == 0)
            break;
        len += (size_t)got;
    }
    text[len] = '\0';
    raw_close(fd);
    return text;
}

static void bits_are_chunks(void **state)
{
    const char *text = all_of("GET /bits HTTP/1.1\r\nHost: x\r\nOrigin: https://a\r\n\r\n");

    (void)state;
    assert_memory_equal(text, "HTTP/1.1 200 OK\r\n", 17);
    assert_non_null(strstr(text, "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"));
    assert_non_null(strstr(text, "Connection: close\r\n"));
    assert_non_null(strstr(text, "X-More: 1\r\n"));
    assert_non_null(strstr(text, "Access-Control-Allow-Origin: *\r\n"));
    assert_null(strstr(text, "Content-Length"));
    assert_string_equal(strstr(text, "\r\n\r\n"),
                        "\r\n\r\n4\r\none,\r\n4\r\ntwo,\r\n5\r\nthree\r\n0\r\n\r\n");
}

static void old_clients_read_until_the_end(void **state)
{
    const char *text = all_of("GET /bits HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n");

    (void)state;
    assert_null(strstr(text, "Transfer-Encoding"));
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\none,two,three");
}

static void a_head_has_no_bits(void **state)
{
    const char *text = all_of("HEAD /bits HTTP/1.1\r\nHost: x\r\n\r\n");

    (void)state;
    assert_non_null(strstr(text, "Transfer-Encoding: chunked\r\n"));
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
}

static void it_may_fail_before_it_begins(void **state)
{
    (void)state;
    raw_exchange(http_port(server), "GET /bits?fail HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 404);
    assert_true(raw_header(&reply, "Content-Length", value));
}

static void a_client_that_goes_is_seen(void **state)
{
    int fd = raw_connect(http_port(server));

    (void)state;
    raw_send_text(fd, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_until(waiting == 1);
    assert_int_equal(gone, 0);
    /* another request behind it is no end */
    raw_send_text(fd, "GET /bits HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_false(raw_readable(fd, 100));
    assert_int_equal(waiting, 1);
    raw_close(fd);
    assert_until(waiting == 0);
    assert_int_equal(gone, 1);
}

static void *drain(void *arg)
{
    http_stop(arg);
    return NULL;
}

static void who_waits_is_told_of_the_end(void **state)
{
    int fd = raw_connect(http_port(server));
    pthread_t thread;

    (void)state;
    raw_send_text(fd, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_until(waiting == 1);
    assert_int_equal(pthread_create(&thread, NULL, drain, server), 0);
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "waited");
    assert_int_equal(gone, 0);
    raw_close(fd);
    pthread_join(thread, NULL);
    server = NULL;
}

static void one_that_takes_nothing_is_cut_off(void **state)
{
    int64_t begin = clock_monotonic_ms(&clock_system);
    int fd = raw_connect(http_port(server));

    (void)state;
    raw_send_text(fd, "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_until(refused == 1);
    assert_in_range(clock_monotonic_ms(&clock_system) - begin, TIMEOUT_MS / 2, 6 * TIMEOUT_MS);
    raw_close(fd);
    raw_exchange(http_port(server), "GET /bits?fail HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 404); /* others are served */
}

static void short_memory_ends_it(void **state)
{
    const char *text = all_of("GET /no-memory HTTP/1.1\r\nHost: x\r\n\r\n");

    (void)state;
    assert_int_equal(refused, 1);
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n"); /* no last chunk: it is broken */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(bits_are_chunks),
        TEST(old_clients_read_until_the_end),
        TEST(a_head_has_no_bits),
        TEST(it_may_fail_before_it_begins),
        TEST(a_client_that_goes_is_seen),
        TEST(who_waits_is_told_of_the_end),
        TEST(one_that_takes_nothing_is_cut_off),
        TEST(short_memory_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
