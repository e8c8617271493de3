/* Bodies that are read as they arrive, on connections that cannot be told from each other: from one
 * address and port, to two addresses of the server's, or to one after the other. civetweb reads
 * these.
 */
#include "common/http.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <sys/socket.h>

#define TIMEOUT_MS 400

static struct http_server *server;
static struct raw_reply reply;
static int twins[2];

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

static enum err plain(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    struct view body = {0};
    enum err e = http_body(r, &body, detail);

    (void)ctx;
    buf_add_view(&response->body, body);
    return e;
}

static sem_t held, release, done;
static size_t held_bytes;

/* Reads only when it is told to. */
static enum err hold(struct http_request *r, struct http_response *response,
                     struct err_detail *detail, void *ctx)
{
    char text[4096];
    enum err e;

    (void)response;
    (void)ctx;
    sem_post(&held);
    sem_wait(&release);
    e = http_body_read(r, TIMEOUT_MS, text, sizeof text, &held_bytes, detail);
    sem_post(&done);
    return e;
}

static void start(void)
{
    static const struct http_route routes[] = {{"POST", "/count", count, NULL},
                                               {"POST", "/plain", plain, NULL},
                                               {"POST", "/hold", hold, NULL},
                                               {0}};
    struct http_options options = {.listen = "0.0.0.0:0",
                                   .connections = 8,
                                   .reserve = 1,
                                   .max_body = 1000,
                                   .request_timeout_ms = TIMEOUT_MS,
                                   .idle_timeout_ms = 10000,
                                   .routes = routes};
    struct err_detail detail = {""};

    if (http_start(&options, &server, &detail) != ERR_NONE)
        fail_msg("%s", detail.text);
}

/* A connection to another of the server's addresses, from a port. */
static int connect_from(uint16_t port, const char *to, uint16_t *ret_port)
{
    struct sockaddr_in from = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(http_port(server))};
    socklen_t size = sizeof from;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    assert_int_equal(inet_pton(AF_INET, to, &address.sin_addr), 1);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&from, &size), 0);
    *ret_port = ntohs(from.sin_port);
    return fd;
}

static void connect_twins(void)
{
    uint16_t port;

    start();
    twins[0] = connect_from(0, "127.0.0.1", &port);
    twins[1] = connect_from(port, "127.0.0.2", &port);
    for (int i = 0; i < 2; i++) {
        assert_true(raw_send_text(twins[i], "POST /plain HTTP/1.1\r\nHost: x\r\n"
                                            "Content-Length: 1\r\n\r\nx"));
        raw_receive(twins[i], false, &reply);
    }
}

/* Each of them gets the same answer, while the other one is there. */
static void exchange_as_twin(const char *request, int status, const char *body)
{
    connect_twins();
    for (int i = 0; i < 2; i++) {
        assert_true(raw_send_text(twins[i], request));
        raw_receive(twins[i], false, &reply);
        assert_int_equal(reply.status, status);
        if (body)
            assert_string_equal(reply.body, body);
    }
    for (int i = 0; i < 2; i++)
        raw_close(twins[i]);
    http_stop(server);
}

static void connections_that_look_alike(void **state)
{
    (void)state;
    exchange_as_twin("POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nhello, world",
                     200, "12");
    exchange_as_twin("POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n",
                     200, "12");
    exchange_as_twin("POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nhello", 408,
                     NULL);
    exchange_as_twin("POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
                     400, NULL);
}

/* The one has its body while the other still waits for its own. */
static void a_connection_is_not_taken_for_its_twin(void **state)
{
    (void)state;
    connect_twins();
    for (int i = 1; i >= 0; i--)
        assert_true(raw_send_text(twins[i], "POST /count HTTP/1.1\r\nHost: x\r\n"
                                            "Content-Length: 12\r\n\r\nhello"));
    for (int i = 0; i < 2; i++) {
        assert_true(raw_send_text(twins[i], ", world"));
        raw_receive(twins[i], false, &reply);
        assert_int_equal(reply.status, 200);
    }
    for (int i = 0; i < 2; i++)
        raw_close(twins[i]);
    http_stop(server);
}

static void reset(int fd)
{
    struct linger none = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    raw_close(fd);
}

/* Its thread does not know yet that it was reset, while the client is there again. */
static void a_reset_connection_is_not_taken_for_the_next_one(void **state)
{
    uint16_t port;
    int fd;

    (void)state;
    sem_init(&held, 0, 0);
    sem_init(&release, 0, 0);
    sem_init(&done, 0, 0);
    start();
    fd = connect_from(0, "127.0.0.1", &port);
    assert_true(raw_send_text(fd, "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n"));
    sem_wait(&held);
    reset(fd);
    fd = connect_from(port, "127.0.0.1", &port);
    assert_true(raw_send_text(fd,
                              "POST /plain HTTP/1.1\r\nHost: x\r\nX-Long: more than the other\r\n"
                              "Content-Length: 1\r\n\r\nx"));
    raw_receive(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    sem_post(&release);
    sem_wait(&done);
    assert_int_equal(held_bytes, 0);
    assert_true(raw_send_text(fd, "POST /count HTTP/1.1\r\nHost: x\r\n"
                                  "Content-Length: 12\r\n\r\nhello, world"));
    raw_receive(fd, false, &reply);
    assert_string_equal(reply.body, "12");
    raw_close(fd);
    http_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_that_look_alike),
        cmocka_unit_test(a_connection_is_not_taken_for_its_twin),
        cmocka_unit_test(a_reset_connection_is_not_taken_for_the_next_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
