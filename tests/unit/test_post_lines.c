/* POST /api/v1/events with one event a line.
 */
#include "tests/lib/gateways.h"
#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define LINES "Content-Type: application/x-ndjson\r\n"
#define CHUNKED_HEAD \
    "POST /api/v1/events HTTP/1.1\r\nHost: x\r\n" LINES "Transfer-Encoding: chunked\r\n\r\n"
#define MAX_LINE (2 << 20) /* gateways.c's max_body */

static struct gateways g;
static struct raw_reply reply;

static int start(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){.max_in_flight = 2000});
    return 0;
}

static int start_impatient(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){.timeout_ms = 400});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    gateways_stop(&g);
    return 0;
}

static uint64_t last_position(void)
{
    return gateways_last_position(&g);
}

/* ---- results ---- */

static void post(const char *headers, const char *body)
{
    int fd = gateways_post_begin(&g, 0, headers, body);

    assert_true(raw_receive_chunks(fd, &reply));
    raw_close(fd);
    gateways_assert_status(&reply, 200);
}

/* The index-th line of the answer. */
static const char *line_of(int index)
{
    static char line[1024];
    const char *at = reply.body, *end;

    while (index-- > 0) {
        end = strchr(at, '\n');
        if (!end)
            fail_msg("too few lines: %s", reply.body);
        at = end ? end + 1 : at;
    }
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    return line;
}

static void assert_accepted(int index, int line, bool duplicate)
{
    char begin[64];
    const char *text = line_of(index);

    snprintf(begin, sizeof begin, "{\"line\":%d,\"event_id\":\"", line);
    if (strncmp(text, begin, strlen(begin)) != 0 || !strstr(text, "\",\"status\":\"accepted\"") ||
        (strstr(text, ",\"duplicate\":true}") != NULL) != duplicate)
        fail_msg("line %d, %d: %s", index, line, text);
}

static void assert_failed(int index, int line, int status, const char *words)
{
    char begin[64], number[32];
    const char *text = line_of(index);

    snprintf(begin, sizeof begin, "{\"line\":%d,", line);
    snprintf(number, sizeof number, "\"status\":%d,", status);
    if (strncmp(text, begin, strlen(begin)) != 0 || !strstr(text, number) || !strstr(text, words) ||
        !strstr(text, "\"type\":\"urn:tidings:problem:"))
        fail_msg("line %d is not %d %s: %s", index, status, words, text);
}

/* The last line of so many. */
static void assert_summary(int index, int stored, int duplicates, int failed)
{
    char expected[128];

    snprintf(expected, sizeof expected,
             "{\"stored\":%d,\"duplicates\":%d,\"failed\":%d,\"complete\":true}", stored,
             duplicates, failed);
    assert_string_equal(line_of(index), expected);
    assert_string_equal(line_of(index + 1), "");
}

/* The same of a body that has not been read to its end. */
static void assert_incomplete(int index, int stored, int status, const char *words)
{
    char begin[128], number[32];
    const char *text = line_of(index);

    snprintf(begin, sizeof begin,
             "{\"stored\":%d,\"duplicates\":0,\"failed\":0,\"complete\":false,\"type\":", stored);
    snprintf(number, sizeof number, "\"status\":%d,", status);
    if (strncmp(text, begin, strlen(begin)) != 0 || !strstr(text, number) || !strstr(text, words))
        fail_msg("%s", text);
}

/* ---- lines ---- */

static void each_line_has_its_result(void **state)
{
    struct event_text text;
    struct event event;
    struct bus_record *record;

    (void)state;
    post(LINES, "{\"name\":\"a\",\"id\":\"1\"}\n"
                "\n"
                "  \t\r\n"
                "{\"name\":\"b c\"}\r\n"
                "{\"name\":\"a\",\"id\":\"1\"}\n"
                "{\"name\":\"a\"\n"
                "{\"name\":\"other\",\"id\":\"1\"}\n"
                "[{\"name\":\"a\"}]\n"
                " {\"name\":\"last\"} ");
    assert_accepted(0, 1, false);
    assert_failed(1, 4, 422, "name");
    assert_accepted(2, 5, true);
    assert_failed(3, 6, 400, "byte");
    assert_failed(4, 7, 409, "\"event_id\":\"");
    assert_failed(5, 8, 422, "JSON object");
    assert_accepted(6, 9, false);
    assert_summary(7, 2, 1, 4);
    assert_int_equal(last_position(), 2);
    record = gateways_event_at(&g, 2, &text, &event);
    assert_true(view_equal(event.name, VIEW("last")));
    bus_record_free(record);
}

static void both_forms_in_lines(void **state)
{
    struct event_text text;
    struct event event;
    struct bus_record *record;

    (void)state;
    post(LINES "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
         "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/x\",\"type\":\"a\",\"data\":[1]}\n"
         "{\"name\":\"b\",\"payload\":{\"specversion\":\"1.0\"}}\n"
         "{\"specversion\":\"1.0\",\"name\":\"b\"}\n"
         "{\"specversion\":\"1.0\"\n");
    assert_accepted(0, 1, false);
    assert_accepted(1, 2, false);
    assert_failed(2, 3, 422, "id");
    assert_failed(3, 4, 400, "byte 20");
    assert_summary(4, 2, 0, 2);
    record = gateways_event_at(&g, 2, &text, &event);
    assert_true(view_equal(event.payload, VIEW("{\"specversion\":\"1.0\"}")));
    assert_int_equal(event.traceparent.len, 55);
    bus_record_free(record);
}

static void what_came_and_went_is_counted(void **state)
{
    static const char body[] = "{\"name\":\"a\"}\n{\"name\":\"b\"}\n";
    char line[128];

    (void)state;
    post(LINES, body);
    snprintf(line, sizeof line,
             "tidings_http_request_body_bytes_total{method=\"POST\",route=\"/api/v1/events\"} %zu",
             sizeof body - 1);
    assert_until(gateways_has_metric(&g, line));
    snprintf(line, sizeof line,
             "tidings_http_response_body_bytes_total{method=\"POST\",route=\"/api/v1/events\"} %zu",
             reply.body_len);
    assert_until(gateways_has_metric(&g, line));
}

static void an_empty_body(void **state)
{
    (void)state;
    post(LINES, "");
    assert_summary(0, 0, 0, 0);
    post(LINES, "\n\n");
    assert_summary(0, 0, 0, 0);
}

/* ---- as they arrive ---- */

static void say(int fd, const char *line, const char *expected)
{
    char text[256], piece[1024];
    size_t len;

    snprintf(text, sizeof text, "%zx\r\n%s\r\n", strlen(line), line);
    assert_true(raw_send_text(fd, text));
    if (!expected)
        return;
    assert_true(raw_receive_chunk(fd, piece, sizeof piece, &len));
    if (!strstr(piece, expected))
        fail_msg("%s: %s", line, piece);
}

static void results_come_before_the_next_line(void **state)
{
    char piece[256];
    size_t len;
    int fd = raw_connect(http_port(g.http[0]));

    (void)state;
    assert_true(raw_send_text(fd, CHUNKED_HEAD));
    say(fd, "{\"name\":\"a\"}\n", NULL);
    raw_receive_head(fd, &reply);
    assert_int_equal(reply.status, 200);
    assert_true(raw_receive_chunk(fd, piece, sizeof piece, &len));
    assert_non_null(strstr(piece, "{\"line\":1,\"event_id\":"));
    assert_int_equal(last_position(), 1);
    say(fd, "{\"na", NULL); /* a line in pieces */
    say(fd, "me\":\"b\"", NULL);
    say(fd, "}\n{\"name\":", "{\"line\":2,\"event_id\":");
    say(fd, "1}\n", "{\"line\":3,\"type\":");
    assert_int_equal(last_position(), 2);
    say(fd, "", "{\"stored\":2,\"duplicates\":0,\"failed\":1,\"complete\":true}\n");
    raw_close(fd);
}

static void many_are_on_their_way_at_once(void **state)
{
    static char body[20000];
    int fd;

    (void)state;
    for (int i = 0; i < 500; i++)
        snprintf(body + strlen(body), sizeof body - strlen(body), "{\"name\":\"n.%d\"}\n", i);
    bus_mem_set_held(g.bus, true);
    fd = gateways_post_begin(&g, 0, LINES, body);
    assert_until(bus_in_flight(g.bus) == 500);
    bus_mem_set_held(g.bus, false);
    assert_true(raw_receive_chunks(fd, &reply));
    raw_close(fd);
    for (int i = 0; i < 500; i++)
        assert_accepted(i, i + 1, false);
    assert_summary(500, 500, 0, 0);
}

/* More results than fit into any window, or buffer. */
static void many_short_lines(void **state)
{
    static char body[3 * 3000 + 1];
    static char last[128];
    int fd;
    size_t len = 1, used = 0;

    (void)state;
    for (int i = 0; i < 3000; i++)
        memcpy(body + (ptrdiff_t)3 * i, "{}\n", 3);
    fd = gateways_post_begin(&g, 0, LINES, body);
    raw_receive_head(fd, &reply);
    while (len > 0) {
        assert_true(raw_receive_chunk(fd, reply.body, sizeof reply.body, &len));
        used += len;
        if (len > sizeof last - 1)
            memcpy(last, reply.body + len - (sizeof last - 1), sizeof last - 1);
        else if (len > 0)
            memcpy(last, reply.body, len + 1);
    }
    assert_true(used > 3000 * 100);
    assert_non_null(
        strstr(last, "{\"stored\":0,\"duplicates\":0,\"failed\":3000,\"complete\":true}"));
    raw_close(fd);
}

/* ---- bounds ---- */

/* The event with so many bytes, its line's end not counted. */
static size_t put_line(char *to, size_t bytes)
{
    static const char begin[] = "{\"name\":\"a\",\"payload\":\"";
    size_t used = sizeof begin - 1;

    memcpy(to, begin, used);
    memset(to + used, 'x', bytes - used - 2);
    memcpy(to + bytes - 2, "\"}\n", 4);
    return bytes + 1;
}

static void lines_that_are_too_long(void **state)
{
    static char body[(size_t)4 * MAX_LINE + 1024];
    char *at = body;

    (void)state;
    at += put_line(at, 100);
    at += put_line(at, MAX_LINE); /* too long for the bus, though */
    at += put_line(at, MAX_LINE + 1);
    at += put_line(at, 100);
    put_line(at, MAX_LINE + 100000);
    post(LINES, body);
    assert_accepted(0, 1, false);
    assert_failed(1, 2, 413, "the bus allows");
    assert_failed(2, 3, 413, "at most 2097152 bytes");
    assert_accepted(3, 4, false);
    assert_failed(4, 5, 413, "at most 2097152 bytes");
    assert_summary(5, 2, 0, 3);
}

static void a_body_that_stops(void **state)
{
    int fd = raw_connect(http_port(g.http[0]));

    (void)state;
    assert_true(raw_send_text(fd, CHUNKED_HEAD));
    say(fd, "{\"name\":\"a\"}\n{\"name\":\"b\"", NULL);
    assert_true(raw_receive_chunks(fd, &reply));
    raw_close(fd);
    assert_accepted(0, 1, false);
    assert_incomplete(1, 1, 408, "in time");
    assert_int_equal(last_position(), 1);
}

/* Sends the same again and again until there is an answer. False: there is none. */
static bool drip(int fd, const char *text)
{
    for (int i = 0; i < 500; i++) {
        if (raw_readable(fd, 20))
            return true;
        say(fd, text, NULL);
    }
    return false;
}

static void a_line_that_never_ends(void **state)
{
    int fd = raw_connect(http_port(g.http[0]));

    (void)state;
    assert_true(raw_send_text(fd, CHUNKED_HEAD));
    assert_true(drip(fd, " "));
    raw_receive(fd, false, &reply);
    gateways_assert_problem(&reply, 408, "request-timeout", "line 1 was not complete in time");
    raw_close(fd);
}

static void compressed_bytes_of_which_nothing_comes(void **state)
{
    static const char file_name[] = "A\r\n\x1F\x8B\x08\x08\0\0\0\0\0\3\r\n";
    int fd = raw_connect(http_port(g.http[0]));

    (void)state;
    assert_true(raw_send_text(fd, "POST /api/v1/events HTTP/1.1\r\nHost: x\r\n" LINES
                                  "Content-Encoding: gzip\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n"));
    assert_true(raw_send(fd, file_name, sizeof file_name - 1));
    assert_true(drip(fd, "x"));
    raw_receive(fd, false, &reply);
    gateways_assert_problem(&reply, 408, "request-timeout", "in time");
    raw_close(fd);
}

/* Between two lines a client may think for longer. */
static void a_client_that_waits_between_lines(void **state)
{
    int fd = raw_connect(http_port(g.http[0]));

    (void)state;
    assert_true(raw_send_text(fd, CHUNKED_HEAD));
    say(fd, "{\"name\":\"a\"}\n", NULL);
    raw_receive_head(fd, &reply);
    assert_true(raw_receive_chunk(fd, reply.body, sizeof reply.body, &reply.body_len));
    assert_false(raw_readable(fd, 600)); /* the time of a line, and half of it */
    say(fd, "{\"name\":\"b\"}\n", "{\"line\":2,");
    say(fd, "", "\"complete\":true");
    raw_close(fd);
}

static void a_connection_that_is_cut(void **state)
{
    int fd = gateways_post_begin(&g, 0, LINES, "{\"name\":\"a\"}\n{\"name\":\"b\"}\n");

    (void)state;
    raw_close(fd);
    assert_until(last_position() == 2); /* what was stored stays stored */
    fd = raw_connect(http_port(g.http[0]));
    assert_true(raw_send_text(fd, CHUNKED_HEAD));
    say(fd, "{\"name\":\"c\"}\n{\"name\":\"d\"}", NULL);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_true(raw_receive_chunks(fd, &reply));
    raw_close(fd);
    assert_accepted(0, 1, false);
    assert_incomplete(1, 1, 400, "ended early");
    assert_int_equal(last_position(), 3); /* what may not be a whole line is none */
}

/* ---- the bus ---- */

static void a_bus_that_goes_away(void **state)
{
    int fd = raw_connect(http_port(g.http[0]));

    (void)state;
    assert_true(raw_send_text(fd, CHUNKED_HEAD));
    say(fd, "{\"name\":\"a\"}\n", NULL);
    raw_receive_head(fd, &reply);
    assert_true(raw_receive_chunk(fd, reply.body, sizeof reply.body, &reply.body_len));
    bus_mem_set_away(g.bus, true);
    say(fd, "{\"name\":\"b\"}\n", "\"status\":503");
    bus_mem_set_away(g.bus, false);
    bus_mem_set_held(g.bus, true);
    say(fd, "{\"name\":\"c\"}\n", NULL);
    assert_until(bus_in_flight(g.bus) == 1);
    bus_mem_set_away(g.bus, true);
    assert_true(raw_receive_chunk(fd, reply.body, sizeof reply.body, &reply.body_len));
    assert_non_null(strstr(reply.body, "{\"line\":3,\"event_id\":\""));
    assert_non_null(strstr(reply.body, "\"status\":504"));
    bus_mem_set_held(g.bus, false);
    bus_mem_set_away(g.bus, false);
    say(fd, "{\"name\":\"d\"}\n", "{\"line\":4,\"event_id\":");
    say(fd, "", "{\"stored\":2,\"duplicates\":0,\"failed\":2,\"complete\":true}\n");
    raw_close(fd);
}

/* ---- the whole request ---- */

static void requests_that_are_no_upload(void **state)
{
    static const struct {
        const char *headers;
        int status;
        const char *type, *detail;
    } bad[] = {
        {LINES "Idempotency-Key: 7\r\n", 422, "invalid", "one event"},
        {LINES "Idempotency-Key:\r\n", 422, "invalid", "one event"},
        {"Content-Type: application/x-ndjson; charset=latin1\r\n", 415, "unsupported-media-type",
         "utf-8"},
        {LINES "Accept: text/html\r\n", 406, "not-acceptable",
         "application/json, application/x-ndjson"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gateways_post(&g, 0, bad[i].headers, "{\"name\":\"a\"}\n", &reply);
        gateways_assert_problem(&reply, bad[i].status, bad[i].type, bad[i].detail);
    }
    assert_int_equal(last_position(), 0);
    post(LINES "Accept: application/x-ndjson\r\n", "{\"name\":\"a\"}\n");
    assert_summary(1, 1, 0, 0);
}

static void a_body_that_never_begins(void **state)
{
    int fd = raw_connect(http_port(g.http[0]));

    (void)state;
    assert_true(raw_send_text(fd, CHUNKED_HEAD));
    say(fd, "{\"name\":\"a\"", NULL);
    raw_receive(fd, false, &reply);
    gateways_assert_problem(&reply, 408, "request-timeout", "in time");
    raw_close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_line_has_its_result, start, stop),
        cmocka_unit_test_setup_teardown(both_forms_in_lines, start, stop),
        cmocka_unit_test_setup_teardown(what_came_and_went_is_counted, start, stop),
        cmocka_unit_test_setup_teardown(an_empty_body, start, stop),
        cmocka_unit_test_setup_teardown(results_come_before_the_next_line, start, stop),
        cmocka_unit_test_setup_teardown(many_are_on_their_way_at_once, start, stop),
        cmocka_unit_test_setup_teardown(many_short_lines, start, stop),
        cmocka_unit_test_setup_teardown(lines_that_are_too_long, start, stop),
        cmocka_unit_test_setup_teardown(a_body_that_stops, start_impatient, stop),
        cmocka_unit_test_setup_teardown(a_line_that_never_ends, start_impatient, stop),
        cmocka_unit_test_setup_teardown(compressed_bytes_of_which_nothing_comes, start_impatient,
                                        stop),
        cmocka_unit_test_setup_teardown(a_client_that_waits_between_lines, start_impatient, stop),
        cmocka_unit_test_setup_teardown(a_connection_that_is_cut, start, stop),
        cmocka_unit_test_setup_teardown(a_bus_that_goes_away, start, stop),
        cmocka_unit_test_setup_teardown(requests_that_are_no_upload, start, stop),
        cmocka_unit_test_setup_teardown(a_body_that_never_begins, start_impatient, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
