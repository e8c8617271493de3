/* Server-Sent Events where memory is lacking, through a real server whose handler makes it lack.
 */
#include "common/mem.h"
#include "http-gateway/sse.h"
#include "tests/lib/sse_reader.h"
#include "tests/lib/unit.h"

#include <string.h>

static struct gateway gateway = {.settings = {.stream_keepalive_ms = 60000}};
static struct http_server *server;
static struct event_status status = {.state = {.status = STATUS_PROCESSING, .attempt = 1}};

/* The next allocation of this thread fails, and the others do not. */
static void add_without_memory(struct sse *s)
{
    mem_fail_after(0);
    sse_add_status(s, "2", &status);
    assert_true(mem_fail_after(-1) < 0);
    assert_true(buf_failed(&s->out));
}

static enum err run(struct sse *s, bool begun, struct err_detail *detail)
{
    enum err e = ERR_NONE;

    if (begun)
        e = sse_send(s, detail);
    add_without_memory(s);
    for (int i = 0; i < 10 && !e && !s->over; i++) {
        e = sse_send(s, detail);
        if (!e && !s->over)
            sse_add_status(s, "3", &status); /* behind a gap */
        if (!e)
            e = sse_look(s, detail);
    }
    return e;
}

static enum err serve(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, bool begun)
{
    struct sse s;
    enum err e;

    sse_open(&s, &gateway, r, response);
    e = run(&s, begun, detail);
    sse_close(&s);
    return e;
}

static enum err begun(struct http_request *r, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    (void)ctx;
    return serve(r, response, detail, true);
}

static enum err not_begun(struct http_request *r, struct http_response *response,
                          struct err_detail *detail, void *ctx)
{
    (void)ctx;
    return serve(r, response, detail, false);
}

static const struct http_route routes[] = {{"GET", "/begun", begun, NULL},
                                           {"GET", "/not-begun", not_begun, NULL},
                                           {NULL, NULL, NULL, NULL}};

static int start(void **state)
{
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .connections = 4,
                                   .reserve = 1,
                                   .max_body = 1000,
                                   .request_timeout_ms = 10000,
                                   .idle_timeout_ms = 10000,
                                   .routes = routes};
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

static void a_stream_with_a_gap_ends(void **state)
{
    struct sse_reader reader;
    struct sse_event event;

    (void)state;
    sse_reader_open(&reader, http_port(server), "/begun", "");
    assert_int_equal(reader.status, 200);
    assert_true(sse_reader_next(&reader, &event));
    assert_string_equal(event.retry, "2000");
    assert_true(sse_reader_next(&reader, &event));
    assert_string_equal(event.name, "closing");
    assert_string_equal(
        event.data, "{\"reason\":\"unavailable\",\"detail\":\"no memory to tell what happened\"}");
    assert_false(sse_reader_next(&reader, &event));
    sse_reader_close(&reader);
}

static void one_that_has_not_begun_is_a_problem(void **state)
{
    struct raw_reply reply;

    (void)state;
    raw_exchange(http_port(server), "GET /not-begun HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, 503);
    assert_non_null(strstr(reply.body, "no memory to tell what happened"));
}

/* Else it would look for a processor without a pause. */
static void one_that_has_not_begun_waits(void **state)
{
    static struct gateway hasty; /* a sign of life is due at once */
    struct sse s;

    (void)state;
    sse_open(&s, &hasty, NULL, NULL);
    assert_true(sse_patience(&s) > 0);
    s.begun = true;
    assert_int_equal(sse_patience(&s), 0);
    sse_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_with_a_gap_ends),
        cmocka_unit_test(one_that_has_not_begun_is_a_problem),
        cmocka_unit_test(one_that_has_not_begun_waits),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
