/* What stands on the wire: bodies, and several requests on one connection.
 */
#include "common/http.h"
#include "common/mem.h"
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

static enum err query(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    struct view a = VIEW("");

    (void)detail;
    (void)ctx;
    http_query(r, "a", &a);
    buf_add_view(&response->body, a);
    return ERR_NONE;
}

static const struct http_route routes[] = {
    {"GET", "/query", query, NULL}, {"POST", "/echo", echo, NULL},
    {"GET", "/plain", plain, NULL}, {"POST", "/plain", plain, NULL}, /* never reads the body */
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

/* ---- bodies ---- */

static void bodies_by_length(void **state)
{
    (void)state;
    expect("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 200);
    assert_string_equal(reply.body, "hello");
    expect("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200);
    assert_string_equal(reply.body, "");
    expect("POST /echo HTTP/1.1\r\nHost: x\r\n\r\n", 411);
}

static void bodies_in_pieces(void **state)
{
    int fd = raw_connect(http_port(server));
    static const char *const pieces[] = {"POST /ec",
                                         "ho HTTP/1.1\r\nHost",
                                         ": x\r\nContent-Length: 9",
                                         "\r",
                                         "\n\r\n",
                                         "abc",
                                         "",
                                         "def",
                                         "ghi"};

    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        raw_send_text(fd, pieces[i]);
        if (i + 1 < sizeof pieces / sizeof pieces[0])
            assert_false(raw_readable(fd, 2));
    }
    raw_receive(fd, false, &reply);
    assert_string_equal(reply.body, "abcdefghi");
    raw_end(fd);
}

static void chunked_bodies(void **state)
{
    int fd = raw_connect(http_port(server));

    (void)state;
    raw_send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "5\r\nhello\r\nB\r\n, beautiful\r\n");
    assert_false(raw_readable(fd, 5));
    raw_send_text(fd, "0007\r\n world\n\r\n0\r\n\r\n");
    raw_receive(fd, false, &reply);
    assert_string_equal(reply.body, "hello, beautiful world\n");
    raw_end(fd);
    expect("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 200);
}

/* Whatever stands behind the last chunk, the answer says that the connection ends, and it does. */
static void chunked_bodies_end_the_connection(void **state)
{
    static const char *const ends[] = {
        "0\r\n\r\n",
        "0\r\n\r\nGET /plain HTTP/1.1\r\nHost: x\r\n\r\n",
        "0\r\nX-Trailer: y\r\n\r\n",
        "0\r\nX-Trailer: y\r\n\r\nGET /plain HTTP/1.1\r\nHost: x\r\n\r\n",
        "0\r\nGET /plain HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    char request[256];

    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        int before = atomic_load(&handled), fd;

        snprintf(request, sizeof request,
                 "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "5\r\nhello\r\n%s",
                 ends[i]);
        fd = send_expecting(request, 200);
        assert_string_equal(reply.body, "hello");
        assert_true(raw_header(&reply, "Connection", value));
        assert_string_equal(value, "close");
        assert_true(raw_closed(fd));
        assert_int_equal(atomic_load(&handled), before + 1);
        raw_end(fd);
    }
}

static void broken_chunks_are_refused(void **state)
{
    static const char *const bodies[] = {"x\r\nabc\r\n0\r\n\r\n",     "-3\r\nabc\r\n0\r\n\r\n",
                                         "3\r\nabcd\r\n0\r\n\r\n",    "3 \r\nabc\r\n0\r\n\r\n",
                                         "\r\n3\r\nabc\r\n0\r\n\r\n", "3\nabc\n0\n\n",
                                         "7fffffffffffffff\r\nabc",   "ffffffffffffffffff\r\nabc"};
    char request[256];

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        int fd = raw_connect(http_port(server)), before = atomic_load(&handled);

        snprintf(request, sizeof request,
                 "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s",
                 bodies[i]);
        raw_send_text(fd, request);
        shutdown(fd, SHUT_WR);
        raw_receive(fd, false, &reply);
        if (reply.status != 400 || atomic_load(&handled) != before)
            fail_msg("%d for %s", reply.status, bodies[i]);
        raw_end(fd);
    }
}

static void bodies_that_end_early(void **state)
{
    int fd = raw_connect(http_port(server));

    (void)state;
    raw_send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
    shutdown(fd, SHUT_WR);
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 400);
    raw_end(fd);
}

static void bodies_up_to_the_limit(void **state)
{
    char request[4096], body[MAX_BODY + 2];

    (void)state;
    memset(body, 'b', sizeof body);
    body[MAX_BODY] = '\0';
    snprintf(request, sizeof request,
             "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", MAX_BODY, body);
    expect(request, 200);
    assert_int_equal(reply.body_len, MAX_BODY);
    snprintf(request, sizeof request,
             "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
             "%x\r\n%s\r\n0\r\n\r\n",
             MAX_BODY, body);
    expect(request, 200);
    assert_int_equal(reply.body_len, MAX_BODY);
    body[MAX_BODY] = 'b';
    body[MAX_BODY + 1] = '\0';
    snprintf(request, sizeof request,
             "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
             "%x\r\n%s\r\n0\r\n\r\n",
             MAX_BODY + 1, body);
    expect_refusal(request, 413);
    /* refused before any of it has come */
    expect("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413);
    expect("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999999\r\n\r\n", 413);
}

static void refusal_reaches_a_client_that_goes_on_sending(void **state)
{
    static char body[1 << 20];
    int fd = raw_connect(http_port(server));

    (void)state;
    raw_send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n");
    assert_true(raw_send(fd, body, sizeof body));
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 413);
    assert_true(raw_closed(fd));
    raw_end(fd);
}

static void expect_continue(void **state)
{
    int fd = raw_connect(http_port(server));

    (void)state;
    raw_send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                      "Expect: 100-Continue\r\n\r\n");
    raw_receive(fd, true, &reply);
    assert_int_equal(reply.status, 100);
    raw_send_text(fd, "hi");
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "hi");
    raw_end(fd);
    expect_refusal("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n"
                   "Expect: 100-continue\r\n\r\n",
                   413);
}

static void unread_bodies_do_not_become_requests(void **state)
{
    char body[] = "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n", request[256];
    int fd;

    (void)state;
    snprintf(request, sizeof request,
             "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
             body);
    fd = send_expecting(request, 404);
    raw_send_text(fd, "GET /plain HTTP/1.1\r\nHost: x\r\nX-Name: mine\r\n\r\n");
    raw_receive(fd, false, &reply);
    assert_string_equal(reply.body, "mine");
    raw_end(fd);
    fd = send_expecting("POST /plain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3\r\nabc\r\n0\r\n\r\n",
                        200);
    assert_true(raw_closed(fd));
    raw_end(fd);
}

/* ---- connections ---- */

static void connections_are_kept(void **state)
{
    int fd = raw_connect(http_port(server));

    (void)state;
    for (int i = 0; i < 3; i++) {
        raw_send_text(fd, "GET /plain HTTP/1.1\r\nHost: x\r\nX-Name: again\r\n\r\n");
        raw_receive(fd, false, &reply);
        assert_string_equal(reply.body, "again");
    }
    raw_send_text(fd, "GET /plain HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n"
                      "Connection: close\r\n\r\n");
    raw_receive(fd, false, &reply);
    assert_true(raw_header(&reply, "Connection", value));
    assert_string_equal(value, "close");
    assert_true(raw_closed(fd));
    raw_end(fd);
}

static void one_close_is_enough(void **state)
{
    static const char *const said[] = {"close", "keep-alive, Close", "x\r\nConnection: close",
                                       "x\r\nConnection: keep-alive"};
    char request[256];

    (void)state;
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        int fd;

        snprintf(request, sizeof request,
                 "GET /plain HTTP/1.1\r\nHost: x\r\nConnection: %s\r\n\r\n", said[i]);
        fd = send_expecting(request, 200);
        assert_true(raw_header(&reply, "Connection", value));
        assert_string_equal(value, "close");
        assert_true(raw_closed(fd));
        raw_end(fd);
    }
}

static void requests_in_a_row_allocate_nothing(void **state)
{
    int fd = raw_connect(http_port(server));
    uint64_t before = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        if (i == 2)
            before = mem_allocations();
        raw_send_text(fd, "POST /echo?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
        raw_receive(fd, false, &reply);
        assert_string_equal(reply.body, "hello");
    }
    assert_int_equal(mem_allocations(), before);
    raw_end(fd);
}

static void old_clients_close_unless_they_say_so(void **state)
{
    int fd = send_expecting("GET /plain HTTP/1.0\r\n\r\n", 200);

    (void)state;
    assert_true(raw_closed(fd));
    raw_end(fd);
    fd = send_expecting("GET /plain HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 200);
    assert_true(raw_header(&reply, "Connection", value));
    assert_string_equal(value, "keep-alive");
    raw_send_text(fd, "GET /plain HTTP/1.0\r\n\r\n");
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    raw_end(fd);
}

static void requests_may_be_pipelined(void **state)
{
    int fd = raw_connect(http_port(server));

    (void)state;
    raw_send_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
                      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\ntwo"
                      "\r\nGET /plain HTTP/1.1\r\nHost: x\r\nX-Name: three\r\n\r\n");
    raw_receive(fd, false, &reply);
    assert_string_equal(reply.body, "one");
    raw_receive(fd, false, &reply);
    assert_string_equal(reply.body, "two");
    raw_receive(fd, false, &reply);
    assert_string_equal(reply.body, "three");
    raw_end(fd);
}

static void absolute_targets(void **state)
{
    char request[128];

    (void)state;
    snprintf(request, sizeof request, "GET http://x:%u/plain HTTP/1.1\r\nHost: x\r\n\r\n",
             http_port(server));
    expect(request, 200);
}

/* As a proxy or a port mapping in front of us makes them: civetweb would not answer. */
static void absolute_targets_with_another_port(void **state)
{
    static const char asking[] = "GET http://x.test/query?a=b HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd;

    (void)state;
    fd = send_expecting("GET http://x.test/plain HTTP/1.1\r\nHost: x\r\nX-Name: n\r\n\r\n", 200);
    assert_string_equal(reply.body, "n");
    assert_true(raw_header(&reply, "Connection", value));
    assert_string_equal(value, "close");
    assert_true(raw_closed(fd));
    raw_end(fd);
    expect("POST https://x:1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 200);
    assert_string_equal(reply.body, "hello");
    expect(asking, 200);
    assert_string_equal(reply.body, "b");
    /* not the query of the request before */
    fd = send_expecting("GET /query?a=first&b=longer HTTP/1.1\r\nHost: x\r\n\r\n", 200);
    assert_string_equal(reply.body, "first");
    raw_send_text(fd, asking);
    raw_receive(fd, false, &reply);
    assert_string_equal(reply.body, "b");
    raw_end(fd);
    expect("GET http://x.test/none HTTP/1.1\r\nHost: x\r\n\r\n", 404);
    expect_refusal("GET http://x.test/plain HTTP/1.1\r\n\r\n", 400);
    expect_refusal("GET http://x.test/plain HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400);
    expect_refusal("GET http://x.test HTTP/1.1\r\nHost: x\r\n\r\n", 400);
}

static void the_asterisk(void **state)
{
    (void)state;
    expect("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 204);
    expect_refusal("GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400);
}

static void upgrades_are_ignored(void **state)
{
    (void)state;
    expect("GET /plain HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
           "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
           200);
    expect("GET /plain HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
           200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_by_length),
        cmocka_unit_test(bodies_in_pieces),
        cmocka_unit_test(chunked_bodies),
        cmocka_unit_test(chunked_bodies_end_the_connection),
        cmocka_unit_test(broken_chunks_are_refused),
        cmocka_unit_test(bodies_that_end_early),
        cmocka_unit_test(bodies_up_to_the_limit),
        cmocka_unit_test(refusal_reaches_a_client_that_goes_on_sending),
        cmocka_unit_test(expect_continue),
        cmocka_unit_test(unread_bodies_do_not_become_requests),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(one_close_is_enough),
        cmocka_unit_test(requests_in_a_row_allocate_nothing),
        cmocka_unit_test(old_clients_close_unless_they_say_so),
        cmocka_unit_test(requests_may_be_pipelined),
        cmocka_unit_test(absolute_targets),
        cmocka_unit_test(absolute_targets_with_another_port),
        cmocka_unit_test(the_asterisk),
        cmocka_unit_test(upgrades_are_ignored),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
