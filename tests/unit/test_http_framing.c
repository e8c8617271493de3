/* Requests whose end is open to interpretation, and others that are too long: refused, with nothing
 * handled, and the connection closed.
 */
#include "common/http.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_BODY 1000

static struct http_server *server;
static struct raw_reply reply;
static char value[512];
static atomic_int handled;

static enum err echo(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    struct view body;
    enum err e = http_body(r, &body, detail);

    (void)ctx;
    if (e)
        return e;
    atomic_fetch_add(&handled, 1);
    buf_add_view(&response->body, body);
    return ERR_NONE;
}

static enum err plain(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    (void)detail;
    (void)ctx;
    atomic_fetch_add(&handled, 1);
    buf_add_view(&response->body, http_header(r, "X-Name"));
    return ERR_NONE;
}

static const struct http_route routes[] = {
    {"POST", "/echo", echo, NULL},
    {"GET", "/plain", plain, NULL},
    {"POST", "/plain", plain, NULL}, /* never reads the body */
    {NULL, NULL, NULL, NULL},
};

static int start(void **state)
{
    struct http_options options = {
        .listen = "127.0.0.1:0",
        .connections = 4,
        .reserve = 2,
        .max_body = MAX_BODY,
        .request_timeout_ms = 5000,
        .idle_timeout_ms = 5000,
        .routes = routes,
    };
    struct err_detail detail = {""};

    (void)state;
    if (http_start(&options, &server, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    http_stop(server);
    return 0;
}

/* Sends it and expects the status. Returns the connection. */
static int send_expecting(const char *request, int status)
{
    int fd = raw_connect(http_port(server));

    assert_true(raw_send_text(fd, request));
    raw_receive(fd, false, &reply);
    if (reply.status != status)
        fail_msg("%d, not %d, for %s\n%s", reply.status, status, request, reply.body);
    return fd;
}

static void expect(const char *request, int status)
{
    raw_end(send_expecting(request, status));
}

/* Refused, nothing handled, and the connection closed. */
static void expect_refusal(const char *request, int status)
{
    int before = atomic_load(&handled), fd = send_expecting(request, status);

    if (!raw_header(&reply, "Connection", value) || strcmp(value, "close") != 0)
        fail_msg("does not say that it closes: %s", request);
    if (!raw_closed(fd))
        fail_msg("not closed, or a second reply: %s", request);
    raw_end(fd);
    assert_int_equal(atomic_load(&handled), before);
}

/* As the first thing that a connection thread gets, which is then to learn where its buffer begins:
 * the blanks leave the request aligned as a buffer is. */
static void blanks_do_not_mislead_a_fresh_thread(void **state)
{
    static const char *const blanks[] = {"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
                                         "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
                                         "                \r\n", "                "};
    char request[128];

    for (size_t i = 0; i < sizeof blanks / sizeof blanks[0]; i++) {
        int before = atomic_load(&handled);

        stop(state);
        start(state);
        snprintf(request, sizeof request, "%sGET /plain HTTP/1.1\r\nHost: x\r\n\r\n", blanks[i]);
        expect_refusal(request, 400);
        assert_int_equal(atomic_load(&handled), before);
        for (int round = 0; round < 12; round++) /* nor is any thread the worse for it */
            expect("GET /plain HTTP/1.1\r\nHost: x\r\n\r\n", 200);
    }
}

static void ambiguous_lengths(void **state)
{
    static const char *const headers[] = {
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\ncontent-length: 6",
        "Content-Length: abc",
        "Content-Length: -5",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: 5, 5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 18446744073709551621",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    };
    char request[512];

    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        snprintf(request, sizeof request, "POST /echo HTTP/1.1\r\nHost: x\r\n%s\r\n\r\nhello",
                 headers[i]);
        expect_refusal(request, 400);
    }
    expect_refusal("POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
}

/* Each hides a Content-Length, or a request, from one of two readers. */
static void ambiguous_headers(void **state)
{
    static const char *const requests[] = {
        "POST /echo HTTP/1.1\r\nHost: x\r\n folded\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: x\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "GET /plain HTTP/1.1\nHost: x\n\n",
        "GET /plain HTTP/1.1\r\nHost: x\r\n\n",
        "POST /echo HTTP/1.1\r\nHost: x\n\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: x\r\nno colon\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: x\r\n: nameless\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\n Host: x\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\n\tHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent(Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: x\r\nA: b\rc\r\nContent-Length: 5\r\n\r\nhello",
        "GET  /plain HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /plain  HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /plain HTTP/1.1 \r\nHost: x\r\n\r\n",
        "GET \r\n/plain HTTP/1.1\r\nHost: x\r\n\r\n",
        " GET /plain HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\n\r\n\r\nGET /plain HTTP/1.1\r\nHost: x\r\n\r\n",
        "\nGET /plain HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /plain HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /plain HTTP/1.1\r\nX-Name: a\r\n\r\n",
        "GET /plain HTTP/1.1\r\n\r\n",
        "GET /plain HTTP/1.1\r\nHost: x\r\nX-Name: \x01\r\n\r\n",
        "G(T /plain HTTP/1.1\r\nHost: x\r\n\r\n",
    };

    (void)state;
    expect("GET /plain HTTP/1.1\r\nHost: x\r\n\r\n", 200);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        int before = atomic_load(&handled), fd = raw_connect(http_port(server));

        raw_send_text(fd, requests[i]);
        raw_receive(fd, false, &reply);
        if (reply.status != 400 && reply.status != 501)
            fail_msg("%d for %s", reply.status, requests[i]);
        if (!raw_closed(fd) || atomic_load(&handled) != before)
            fail_msg("a second reply, or handled: %s", requests[i]);
        raw_end(fd);
    }
}

/* HTTP allows them, civetweb does not: the answer says so. */
static void tabs_are_refused_by_name(void **state)
{
    static const char *const fields[] = {"User-Agent: a\tb", "X-Name:\ta", "X-Name: a\t"};
    char request[128];

    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        snprintf(request, sizeof request, "GET /plain HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n",
                 fields[i]);
        expect_refusal(request, 400);
        assert_non_null(strstr(reply.body, "tabs"));
    }
}

static void nul_is_refused(void **state)
{
    static const char request[] = "GET /plain HTTP/1.1\r\nHost: x\r\nX-Name: a\0b\r\n\r\n";
    int fd = raw_connect(http_port(server));

    (void)state;
    raw_send(fd, request, sizeof request - 1);
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 400);
    assert_true(raw_closed(fd));
    raw_end(fd);
}

/* After leading blanks civetweb would parse what an earlier connection has left in the thread's
 * buffer: here, a request that was sent behind the last one. */
static void blanks_do_not_replay_others_requests(void **state)
{
    static const char last[] = "GET /plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    char requests[256], blanks[sizeof last];

    (void)state;
    snprintf(requests, sizeof requests,
             "%sGET /plain HTTP/1.1\r\nHost: x\r\nX-Name: someone-elses-secret\r\n\r\n", last);
    snprintf(blanks, sizeof blanks, "\r\n\r\n%*s", (int)sizeof last - 5, "");
    for (int round = 0; round < 30; round++) { /* often enough to meet the same thread */
        int before, fd;

        expect(requests, 200);
        before = atomic_load(&handled);
        fd = raw_connect(http_port(server));
        raw_send_text(fd, blanks);
        shutdown(fd, SHUT_WR);
        raw_receive(fd, false, &reply);
        if (reply.status != 400 || atomic_load(&handled) != before)
            fail_msg("%d: %s", reply.status, reply.body);
        raw_end(fd);
    }
}

/* ---- sizes ---- */

static void headers_up_to_the_limits(void **state)
{
    static char request[100000];
    size_t used;

    (void)state;
    used = (size_t)snprintf(request, sizeof request, "GET /plain HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 62; i++)
        used += (size_t)snprintf(request + used, sizeof request - used, "A%d: b\r\n", i);
    snprintf(request + used, sizeof request - used, "\r\n");
    expect(request, 200);
    snprintf(request + used, sizeof request - used, "B: c\r\n\r\n");
    expect_refusal(request, 431);
    snprintf(request + used, sizeof request - used, "B: c\r\nC: d\r\nContent-Length: 5\r\n\r\n");
    expect_refusal(request, 431);
    snprintf(request, sizeof request, "GET /plain HTTP/1.1\r\nHost: x\r\nX-Long: %016000d\r\n\r\n",
             1);
    expect(request, 200);
    snprintf(request, sizeof request, "GET /plain HTTP/1.1\r\nHost: x\r\nX-Long: %017000d\r\n\r\n",
             1);
    expect_refusal(request, 431);
    snprintf(request, sizeof request, "GET /%017000d HTTP/1.1\r\nHost: x\r\n\r\n", 1);
    expect_refusal(request, 431);
    snprintf(request, sizeof request, "GET /plain HTTP/1.1\r\nHost: x\r\nX-Long: %090000d\r\n\r\n",
             1);
    expect(request, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_do_not_mislead_a_fresh_thread),
        cmocka_unit_test(ambiguous_lengths),
        cmocka_unit_test(ambiguous_headers),
        cmocka_unit_test(tabs_are_refused_by_name),
        cmocka_unit_test(nul_is_refused),
        cmocka_unit_test(blanks_do_not_replay_others_requests),
        cmocka_unit_test(headers_up_to_the_limits),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
