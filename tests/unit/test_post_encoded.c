/* POST /api/v1/events with bodies in a content coding.
 */
#include "tests/lib/gateways.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

#include <zlib.h>
#include <zstd.h>

#define JSON "Content-Type: application/json\r\n"
#define LINES "Content-Type: application/x-ndjson\r\n"
#define GZIP "Content-Encoding: gzip\r\n"
#define ZSTD "Content-Encoding: zstd\r\n"
#define MAX_BODY ((size_t)2 << 20) /* gateways.c's */

static struct gateways g;
static struct raw_reply reply;
static char coded[MAX_BODY];

static int start(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){.max_in_flight = 2000});
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

/* ---- coding ---- */

/* Goes on with a coded stream; `flush` is zlib's. Returns what has been added. */
static struct view deflate_more(z_stream *z, struct view text, int flush)
{
    z->next_in = (Bytef *)text.data;
    z->avail_in = (uInt)text.len;
    z->next_out = (Bytef *)coded;
    z->avail_out = sizeof coded;
    assert_true(deflate(z, flush) >= Z_OK);
    return (struct view){coded, sizeof coded - z->avail_out};
}

static void deflate_begin(z_stream *z)
{
    *z = (z_stream){0};
    assert_int_equal(deflateInit2(z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
}

static struct view gzip(struct view text)
{
    z_stream z;
    struct view made;

    deflate_begin(&z);
    made = deflate_more(&z, text, Z_FINISH);
    deflateEnd(&z);
    return made;
}

static struct view zstd(struct view text)
{
    return (struct view){coded, ZSTD_compress(coded, sizeof coded, text.data, text.len, 3)};
}

static void post(const char *headers, struct view body)
{
    gateways_post_end(gateways_post_bytes(&g, 0, headers, body), &reply);
}

static void post_lines(const char *headers, struct view body)
{
    int fd = gateways_post_bytes(&g, 0, headers, body);

    assert_true(raw_receive_chunks(fd, &reply));
    raw_close(fd);
    gateways_assert_status(&reply, 200);
}

/* ---- decoded ---- */

static void assert_payload(uint64_t position, const char *payload)
{
    struct event_text text;
    struct event event;
    struct bus_record *record = gateways_event_at(&g, position, &text, &event);

    assert_true(view_equal(event.payload, view_of(payload)));
    bus_record_free(record);
}

static void events_in_each_form(void **state)
{
    (void)state;
    post(JSON GZIP, gzip(VIEW("{\"name\":\"a\",\"payload\":[1]}")));
    gateways_assert_status(&reply, 202);
    assert_payload(1, "[1]");
    post(JSON ZSTD, zstd(VIEW("{\"name\":\"a\",\"payload\":[2]}")));
    gateways_assert_status(&reply, 202);
    assert_payload(2, "[2]");
    post("Content-Type: text/plain\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /x\r\n"
         "ce-type: a\r\nContent-Encoding: X-Gzip\r\n",
         gzip(VIEW("text")));
    gateways_assert_status(&reply, 202);
    assert_payload(3, "text");
    post("Content-Type: application/cloudevents+json\r\n" ZSTD,
         zstd(VIEW("{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/x\",\"type\":\"a\","
                   "\"data\":4}")));
    gateways_assert_status(&reply, 202);
    assert_payload(4, "4");
    post(JSON GZIP, gzip(VIEW("[{\"name\":\"a\",\"payload\":5},{\"name\":\"a\",\"payload\":6}]")));
    gateways_assert_status(&reply, 202);
    assert_payload(6, "6");
}

/* The same event, however it was sent. */
static void the_coding_is_not_the_event_s(void **state)
{
    static const char event[] = "{\"name\":\"a\",\"id\":\"7\"}";
    char id[ID_TEXT_SIZE];

    (void)state;
    gateways_id_of(GATEWAYS_SOURCE, "7", id);
    post(JSON, view_of(event));
    gateways_assert_stored(&reply, id);
    post(JSON GZIP, gzip(view_of(event)));
    gateways_assert_duplicate(&reply, id);
    post(JSON ZSTD, zstd(view_of(event)));
    gateways_assert_duplicate(&reply, id);
}

static void encoded_lines(void **state)
{
    static char text[40000];

    (void)state;
    for (int i = 0; i < 1000; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "{\"name\":\"n.%d\"}\n", i);
    post_lines(LINES GZIP, gzip(view_of(text)));
    assert_non_null(strstr(reply.body, "{\"stored\":1000,\"duplicates\":0,\"failed\":0,"));
    post_lines(LINES ZSTD, zstd(view_of(text)));
    assert_non_null(strstr(reply.body, "{\"stored\":1000,\"duplicates\":0,\"failed\":0,"));
    assert_int_equal(last_position(), 2000);
}

/* What the client's coder has let go of is answered. */
static void encoded_lines_as_they_arrive(void **state)
{
    static char piece[1024];
    z_stream z;
    size_t len;
    int fd = raw_connect(http_port(g.http[0]));

    (void)state;
    deflate_begin(&z);
    assert_true(raw_send_text(fd, "POST /api/v1/events HTTP/1.1\r\nHost: x\r\n" LINES GZIP
                                  "Content-Length: 100000\r\n\r\n"));
    for (int i = 1; i <= 3; i++) {
        char expected[32];
        struct view made = deflate_more(&z, VIEW("{\"name\":\"a\"}\n"), Z_SYNC_FLUSH);

        assert_true(raw_send(fd, made.data, made.len));
        if (i == 1)
            raw_receive_head(fd, &reply);
        assert_true(raw_receive_chunk(fd, piece, sizeof piece, &len));
        snprintf(expected, sizeof expected, "{\"line\":%d,\"event_id\":", i);
        assert_non_null(strstr(piece, expected));
    }
    deflateEnd(&z);
    raw_close(fd);
}

/* ---- refused ---- */

static void what_is_not_in_the_coding(void **state)
{
    static const char event[] = "{\"name\":\"a\"}";
    struct view body = gzip(view_of(event));

    (void)state;
    post(JSON GZIP, view_of(event));
    gateways_assert_problem(&reply, 400, "malformed", "gzip");
    post(JSON ZSTD, view_of(event));
    gateways_assert_problem(&reply, 400, "malformed", "zstd");
    post(JSON GZIP, (struct view){body.data, body.len - 1});
    gateways_assert_problem(&reply, 400, "malformed", "ends too early");
    post(JSON GZIP, VIEW(""));
    gateways_assert_problem(&reply, 400, "malformed", "ends too early");
    post(LINES ZSTD, view_of(event));
    gateways_assert_problem(&reply, 400, "malformed", "zstd");
    assert_int_equal(last_position(), 0);
}

static void lines_that_end_early(void **state)
{
    struct view body = gzip(VIEW("{\"name\":\"a\"}\n{\"name\":\"b\"}\n"));

    (void)state;
    post_lines(LINES GZIP, (struct view){body.data, body.len - 1});
    assert_non_null(strstr(reply.body, "{\"line\":2,\"event_id\":"));
    assert_non_null(strstr(reply.body, "{\"stored\":2,\"duplicates\":0,\"failed\":0,"
                                       "\"complete\":false,\"type\":\"urn:tidings:problem:"
                                       "malformed\""));
    assert_non_null(strstr(reply.body, "ends too early"));
}

static void bombs(void **state)
{
    static char zeros[4 * MAX_BODY];

    (void)state;
    memset(zeros, ' ', sizeof zeros);
    post(JSON GZIP, gzip((struct view){zeros, sizeof zeros}));
    gateways_assert_problem(&reply, 413, "too-large", "decoded, the body may have at most 2097152");
    post(JSON ZSTD, zstd((struct view){zeros, sizeof zeros}));
    gateways_assert_problem(&reply, 413, "too-large", "decoded, the body may have at most 2097152");
    memset(zeros, '\n', sizeof zeros);
    memcpy(zeros, "{}\n", 3);
    post_lines(LINES ZSTD, zstd((struct view){zeros, sizeof zeros}));
    assert_non_null(strstr(reply.body, "\"failed\":1,\"complete\":false,"
                                       "\"type\":\"urn:tidings:problem:too-large\""));
    assert_non_null(strstr(reply.body, "more than 200 times"));
    assert_int_equal(last_position(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_in_each_form, start, stop),
        cmocka_unit_test_setup_teardown(the_coding_is_not_the_event_s, start, stop),
        cmocka_unit_test_setup_teardown(encoded_lines, start, stop),
        cmocka_unit_test_setup_teardown(encoded_lines_as_they_arrive, start, stop),
        cmocka_unit_test_setup_teardown(what_is_not_in_the_coding, start, stop),
        cmocka_unit_test_setup_teardown(lines_that_end_early, start, stop),
        cmocka_unit_test_setup_teardown(bombs, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
