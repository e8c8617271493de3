/* Bodies that are read as they arrive, and answers that are written in pieces.
 */
#include "common/http.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define TIMEOUT_MS 400
#define HEAD "POST /echo HTTP/1.1\r\nHost: x\r\n"

static struct http_server *server;
static struct raw_reply reply;
static char piece[70000];
static size_t len;
static _Atomic int ended; /* what the handler has returned, and 1 */

/* ---- the server ---- */

/* Answers each piece that it reads with that piece in brackets; at the end with the number of
 * bytes. */
static enum err echo(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    char text[1024], answer[1100];
    size_t got, total = 0;
    enum err e;

    (void)ctx;
    response->content_type = "text/plain";
    http_add_header(response, "X-Own", VIEW("yes"));
    do {
        e = http_body_read(r, TIMEOUT_MS, text, sizeof text, &got, detail);
        if (e)
            return e;
        total += got;
        snprintf(answer, sizeof answer, "[%.*s]", (int)got, text);
        if (got == 0)
            snprintf(answer, sizeof answer, "%zu", total);
        e = http_answer(r, view_of(answer));
    } while (!e && got > 0);
    return e;
}

/* Reads all, and answers with the number of bytes and pieces. */
static enum err count(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    char text[4096];
    size_t got = 1, total = 0;
    enum err e = ERR_NONE;

    (void)ctx;
    while (!e && got > 0) {
        e = http_body_read(r, TIMEOUT_MS, text, sizeof text, &got, detail);
        total += e ? 0 : got;
    }
    buf_add_format(&response->body, "%zu", total);
    return e;
}

/* Never ends by itself. */
static enum err flood(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    static const char text[60000];
    enum err e = ERR_NONE;

    (void)ctx;
    (void)detail;
    (void)response;
    while (!e)
        e = http_answer(r, (struct view){text, sizeof text});
    atomic_store(&ended, (int)e + 1);
    return e;
}

static enum err half(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    enum err e = http_answer(r, VIEW("half"));

    (void)response;
    (void)ctx;
    return e ? e : err_set(detail, ERR_INTERNAL, "and no more");
}

static enum err plain(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    struct view body = {0};
    enum err e = http_body(r, &body, detail);

    (void)ctx;
    buf_add_view(&response->body, body);
    return e;
}

static int start(void **state)
{
    static const struct http_route routes[] = {
        {"POST", "/echo", echo, NULL},   {"POST", "/count", count, NULL},
        {"GET", "/flood", flood, NULL},  {"GET", "/half", half, NULL},
        {"POST", "/plain", plain, NULL}, {0}};
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .connections = 8,
                                   .reserve = 1,
                                   .max_body = 1000,
                                   .request_timeout_ms = TIMEOUT_MS,
                                   .idle_timeout_ms = 10000,
                                   .routes = routes};
    struct err_detail detail = {""};

    (void)state;
    atomic_store(&ended, 0);
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

/* ---- the client ---- */

static int begin(const char *text)
{
    int fd = raw_connect(http_port(server));

    assert_true(raw_send_text(fd, text));
    return fd;
}

static void assert_piece(int fd, const char *expected)
{
    assert_true(raw_receive_chunk(fd, piece, sizeof piece, &len));
    assert_string_equal(piece, expected);
}

static void assert_end(int fd)
{
    assert_piece(fd, "");
    assert_true(raw_closed(fd));
    raw_close(fd);
}

/* What is sent is answered before more is sent. */
static void say(int fd, const char *text, const char *expected)
{
    assert_true(raw_send_text(fd, text));
    assert_piece(fd, expected);
}

/* ---- as it arrives ---- */

static void pieces_of_a_known_length(void **state)
{
    char value[512];
    int fd = begin(HEAD "Content-Length: 10\r\n\r\n");

    (void)state;
    assert_true(raw_send_text(fd, "abc"));
    raw_receive_head(fd, &reply);
    assert_int_equal(reply.status, 200);
    assert_true(raw_header(&reply, "Transfer-Encoding", value));
    assert_string_equal(value, "chunked");
    assert_true(raw_header(&reply, "Connection", value));
    assert_string_equal(value, "close");
    assert_true(raw_header(&reply, "Content-Type", value));
    assert_string_equal(value, "text/plain");
    assert_true(raw_header(&reply, "X-Own", value));
    assert_false(raw_header(&reply, "Content-Length", value));
    assert_piece(fd, "[abc]");
    say(fd, "d", "[d]");
    say(fd, "efghij", "[efghij]");
    assert_piece(fd, "10");
    assert_end(fd);
}

static void pieces_in_chunks(void **state)
{
    int fd = begin(HEAD "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc");

    (void)state;
    raw_receive_head(fd, &reply);
    assert_piece(fd, "[abc]");
    say(fd, "\r\n00a \r\nde", "[de]"); /* sizes have zeros, blanks and extensions */
    say(fd, "fghij", "[fghij]");
    say(fd, "klm\r\n1\r\nn\r\nF\r\no", "[klmno]");
    say(fd, "pq", "[pq]");
    assert_true(raw_send_text(fd, "rstuvwxyz012\r\n0\r\n"));
    assert_piece(fd, "[rstuvwxyz012]");
    assert_piece(fd, "29");
    assert_end(fd);
}

/* All that civetweb may have taken of it together with the header. */
static void what_came_with_the_header(void **state)
{
    static const char *const ways[] = {
        "POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nhello, world",
        "\r\nPOST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nhello, world",
        "POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "1\r\nh\r\n1\r\ne\r\na\r\nllo, world\r\n0\r\n\r\n",
        "POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz"
        "POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxy"
        "POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nhello, world",
    };

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        int fd = begin(ways[i]);

        for (size_t plains = i == 3 ? 2 : 0; plains > 0; plains--)
            raw_receive(fd, false, &reply);
        raw_receive(fd, false, &reply);
        assert_int_equal(reply.status, 200);
        assert_string_equal(reply.body, "12");
        assert_true(raw_closed(fd));
        raw_close(fd);
    }
}

/* After the client's end of the connection, which the kernel counts as a byte. */
static void what_came_before_the_end(void **state)
{
    static const char body[] = "hello, world";

    (void)state;
    for (size_t sent = 0; sent < sizeof body; sent++) {
        int fd = begin("POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");

        raw_receive(fd, false, &reply);
        assert_true(
            raw_send_text(fd, "POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n"));
        assert_true(raw_send(fd, body, sent));
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        raw_receive(fd, false, &reply);
        assert_int_equal(reply.status, sent == 12 ? 200 : 400);
        raw_close(fd);
    }
}

static void bodies_beyond_any_buffer(void **state)
{
    static char body[3 << 20];
    char head[128];
    int fd;

    (void)state;
    memset(body, 'x', sizeof body);
    snprintf(head, sizeof head, "POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
             sizeof body);
    fd = begin(head);
    assert_true(raw_send(fd, body, sizeof body));
    raw_receive(fd, false, &reply);
    assert_string_equal(reply.body, "3145728");
    raw_close(fd);
    fd = begin("POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n300000\r\n");
    assert_true(raw_send(fd, body, sizeof body));
    assert_true(raw_send_text(fd, "\r\n0\r\n\r\n"));
    raw_receive(fd, false, &reply);
    assert_string_equal(reply.body, "3145728");
    raw_close(fd);
}

/* What is not read when the connection ends would reset it. */
static void what_stands_behind_a_body_costs_no_answer(void **state)
{
    static const struct {
        const char *line, *framing;
    } ways[] = {{"POST /count", "Content-Length: 1\r\n\r\n"},
                {"POST /count", "Transfer-Encoding: chunked\r\n\r\n"},
                {"POST /plain", "Transfer-Encoding: chunked\r\n\r\n"}};
    static const char behind[] = "1\r\nx\r\n0\r\nTrailer: x\r\n\r\n";
    static char rest[60000];

    (void)state;
    memset(rest, 'x', sizeof rest);
    memcpy(rest, behind, sizeof behind - 1);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        char head[256];
        int fd;

        snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n%s",
                 ways[i].line, ways[i].framing);
        fd = begin(head);
        raw_receive_head(fd, &reply);
        assert_int_equal(reply.status, 100);
        assert_true(raw_send(fd, rest, sizeof rest));
        raw_receive(fd, false, &reply);
        assert_int_equal(reply.status, 200);
        assert_true(raw_closed(fd));
        assert_int_equal(poll(&(struct pollfd){.fd = fd}, 1, 200), 0); /* it is not reset */
        raw_close(fd);
    }
}

static void no_body(void **state)
{
    (void)state;
    raw_exchange(http_port(server), "POST /count HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 411);
    raw_exchange(http_port(server), "POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
                 &reply);
    assert_string_equal(reply.body, "0");
}

static void those_who_ask_before_they_send(void **state)
{
    int fd = begin(HEAD "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");

    (void)state;
    raw_receive_head(fd, &reply);
    assert_int_equal(reply.status, 100);
    assert_true(raw_send_text(fd, "ab"));
    raw_receive_head(fd, &reply);
    assert_int_equal(reply.status, 200);
    assert_piece(fd, "[ab]");
    assert_piece(fd, "2");
    assert_end(fd);
}

static void http_1_0(void **state)
{
    char value[512];
    int fd = begin("POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nab");

    (void)state;
    raw_receive_head(fd, &reply);
    assert_false(raw_header(&reply, "Transfer-Encoding", value));
    assert_int_equal(recv(fd, piece, 5, MSG_WAITALL), 5);
    assert_memory_equal(piece, "[ab]2", 5);
    assert_true(raw_closed(fd));
    raw_close(fd);
}

/* ---- what goes wrong ---- */

static void broken_bodies(void **state)
{
    static const char *const bad[] = {"x",
                                      "\r\n",
                                      ";a\r\n",
                                      "1\n",
                                      "1\rx",
                                      "1\r\nab",
                                      "1\r\na\rx",
                                      "1;\nx",
                                      "-1\r\n",
                                      "1\r\na\r\n",
                                      "0000000000000001\r\n"};
    char request[256];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int fd;

        snprintf(request, sizeof request,
                 "POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s", bad[i]);
        fd = begin(request);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        raw_receive(fd, false, &reply);
        if (reply.status != 400 || !strstr(reply.body, "chunked body is broken"))
            fail_msg("%s: %d %s", bad[i], reply.status, reply.body);
        raw_close(fd);
    }
}

static void endless_chunk_extensions(void **state)
{
    static char request[1024] =
        "POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;";

    (void)state;
    memset(request + strlen(request), 'x', 300);
    raw_exchange(http_port(server), request, &reply);
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(reply.body, "chunk extensions have more than 256 bytes"));
}

static void a_body_that_stops(void **state)
{
    static const char *const ways[] = {"Content-Length: 5\r\n\r\nab",
                                       "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
                                       "Transfer-Encoding: chunked\r\n\r\n5"};
    char request[256];

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        snprintf(request, sizeof request, "POST /count HTTP/1.1\r\nHost: x\r\n%s", ways[i]);
        raw_exchange(http_port(server), request, &reply);
        assert_int_equal(reply.status, 408);
    }
}

static void an_answer_that_fails_is_cut_off(void **state)
{
    int fd = begin("GET /half HTTP/1.1\r\nHost: x\r\n\r\n");

    (void)state;
    assert_false(raw_receive_chunks(fd, &reply));
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "half");
    raw_close(fd);
}

static void a_client_that_takes_nothing_is_ended(void **state)
{
    int fd = begin("GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");

    (void)state;
    assert_until(atomic_load(&ended) == ERR_CANCELLED + 1);
    raw_close(fd);
}

static void a_client_that_goes(void **state)
{
    int fd = begin("GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");

    (void)state;
    raw_receive_head(fd, &reply);
    raw_close(fd);
    assert_until(atomic_load(&ended) == ERR_CANCELLED + 1);
}

/* ---- stopping ---- */

/* What keeps coming is read; a client that waits is told. */
static void a_drained_server_ends_who_waits(void **state)
{
    int fd = begin(HEAD "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n");

    (void)state;
    raw_receive_head(fd, &reply);
    assert_piece(fd, "[a]");
    http_drain(server);
    assert_false(raw_receive_chunk(fd, piece, sizeof piece, &len));
    raw_close(fd);
    fd = begin("POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "being stopped"));
    raw_close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pieces_of_a_known_length, start, stop),
        cmocka_unit_test_setup_teardown(pieces_in_chunks, start, stop),
        cmocka_unit_test_setup_teardown(what_came_with_the_header, start, stop),
        cmocka_unit_test_setup_teardown(what_came_before_the_end, start, stop),
        cmocka_unit_test_setup_teardown(bodies_beyond_any_buffer, start, stop),
        cmocka_unit_test_setup_teardown(what_stands_behind_a_body_costs_no_answer, start, stop),
        cmocka_unit_test_setup_teardown(no_body, start, stop),
        cmocka_unit_test_setup_teardown(those_who_ask_before_they_send, start, stop),
        cmocka_unit_test_setup_teardown(http_1_0, start, stop),
        cmocka_unit_test_setup_teardown(broken_bodies, start, stop),
        cmocka_unit_test_setup_teardown(endless_chunk_extensions, start, stop),
        cmocka_unit_test_setup_teardown(a_body_that_stops, start, stop),
        cmocka_unit_test_setup_teardown(an_answer_that_fails_is_cut_off, start, stop),
        cmocka_unit_test_setup_teardown(a_client_that_takes_nothing_is_ended, start, stop),
        cmocka_unit_test_setup_teardown(a_client_that_goes, start, stop),
        cmocka_unit_test_setup_teardown(a_drained_server_ends_who_waits, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
