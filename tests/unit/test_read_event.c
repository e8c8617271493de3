/* The three forms of an event over HTTP: a server that answers with what read_event has made of a
 * request.
 */
#include "common/mem.h"
#include "http-gateway/read_event.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

static struct http_server *server;
static struct raw_reply reply;

/* ---- the server ---- */

static void dump(struct buf *out, const char *name, struct view value)
{
    if (value.len == 0)
        return;
    buf_add_text(out, name);
    buf_add_text(out, "=");
    buf_add_view(out, value);
    buf_add_text(out, "\n");
}

static void dump_event(struct buf *out, const struct event *event)
{
    dump(out, "name", event->name);
    dump(out, "id", event->producer_id);
    dump(out, "source", event->source);
    dump(out, "key", event->key);
    dump(out, "time", event->time);
    dump(out, "subject", event->subject);
    dump(out, "dataschema", event->dataschema);
    dump(out, "traceparent", event->traceparent);
    dump(out, "tracestate", event->tracestate);
    for (size_t i = 0; i < event->extension_count; i++) {
        buf_add_text(out, "+");
        buf_add_view(out, event->extensions[i].name);
        dump(out, "", event->extensions[i].value);
    }
    dump(out, "type", event->content_type);
    buf_add_text(out, "payload=");
    buf_add_view(out, event->payload);
}

static enum err read_event(struct read_event *holder, struct http_request *request,
                           struct http_response *response, struct event *ret,
                           struct err_detail *detail)
{
    struct event event = *ret;
    enum event_form form = EVENT_FORM_PLAIN;
    struct view body = {0};
    enum err e = read_event_form(request, response, &form, detail);

    if (!e)
        e = read_event_head(holder, request, form, &event, detail);
    if (!e)
        e = http_body(request, &body, detail);
    if (!e)
        e = read_event_body(holder, form, body, &event, detail);
    if (!e)
        *ret = event;
    return e;
}

static enum err answer(struct http_request *request, struct http_response *response,
                       struct err_detail *detail, void *ctx)
{
    struct event event = {.digest = VIEW("kept"), .subject = VIEW("not kept")};
    struct read_event holder;
    uint64_t after;
    enum err e;

    (void)ctx;
    if (view_parse_u64(http_header(request, "fail-after"), &after))
        mem_fail_after((int)after);
    read_event_init(&holder);
    e = read_event(&holder, request, response, &event, detail);
    mem_fail_after(-1);
    if (!e)
        dump_event(&response->body, &event);
    if (!view_equal(event.digest, VIEW("kept")) || (e && event.subject.len == 0))
        e = ERR_INTERNAL;
    read_event_free(&holder);
    return e;
}

static int start(void **state)
{
    static const struct http_route routes[] = {{"POST", "/", answer, NULL}, {0}};
    struct http_options options = {.listen = "127.0.0.1:0",
                                   .connections = 2,
                                   .reserve = 1,
                                   .max_body = 1 << 20,
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

/* ---- the client ---- */

static void post_bytes(const char *headers, const void *body, size_t len)
{
    static char head[20000];
    int fd = raw_connect(http_port(server));

    snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n",
             headers, len);
    assert_true(raw_send_text(fd, head));
    assert_true(raw_send(fd, body, len));
    raw_receive(fd, false, &reply);
    raw_end(fd);
}

static void post(const char *headers, const char *body)
{
    post_bytes(headers, body, strlen(body));
}

static void assert_event(const char *expected)
{
    if (reply.status != 200 || strcmp(reply.body, expected) != 0)
        fail_msg("%d, %s\nis not %s", reply.status, reply.body, expected);
}

struct refusal {
    const char *headers, *body;
    int status;
    const char *says;
};

static void assert_refused(const struct refusal *refusals, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        post(refusals[i].headers, refusals[i].body);
        if (reply.status != refusals[i].status || !strstr(reply.body, refusals[i].says))
            fail_msg("%s%s: %d, %s", refusals[i].headers, refusals[i].body, reply.status,
                     reply.body);
    }
}
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define JSON "Content-Type: application/json\r\n"
#define STRUCTURED "Content-Type: application/cloudevents+json\r\n"
#define REQUIRED "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: a.b\r\n"
#define REQUIRED_JSON "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"a.b\""
#define MADE "name=a.b\nid=1\nsource=/s\n"

/* ---- which form ---- */

static void plain_json(void **state)
{
    (void)state;
    post(JSON, "{\"name\":\"a\",\"id\":\"7\",\"source\":\"/s\",\"key\":\"k\",\"payload\":[1]}");
    assert_event("name=a\nid=7\nsource=/s\nkey=k\ntype=application/json\npayload=[1]");
    post(JSON "traceparent: x\r\n", "{\"name\":\"a\"}"); /* the request's is not the event's */
    assert_event("name=a\npayload=");
}

static void structured_mode(void **state)
{
    static const char *const types[] = {"application/cloudevents+json",
                                        "Application/CloudEvents+JSON; charset=UTF-8",
                                        "application/cloudevents+json;charset=\"utf-8\" ;"};
    char headers[256];

    (void)state;
    for (size_t i = 0; i < COUNT(types); i++) {
        snprintf(headers, sizeof headers, "Content-Type: %s\r\n", types[i]);
        post(headers, "{" REQUIRED_JSON ",\"data\":{\"a\" : 1.0}}");
        assert_event(MADE "type=application/json\npayload={\"a\" : 1.0}");
    }
}

static void structured_mode_ignores_attributes_in_headers(void **state)
{
    (void)state;
    post(STRUCTURED "ce-id: 2\r\nce-specversion: 0.3\r\nce-x: y\r\n", "{" REQUIRED_JSON "}");
    assert_event(MADE "payload=");
}

static void binary_mode(void **state)
{
    (void)state;
    post(REQUIRED "ce-time: 2026-01-02T03:04:05Z\r\nce-subject: s\r\nce-dataschema: urn:x\r\n"
                  "ce-partitionkey: k\r\nce-traceparent: 00-p\r\nce-tracestate: a=b,c=d\r\n"
                  "ce-zz: 1\r\nce-a9: true\r\ntraceparent: other\r\nprice: 7\r\n"
                  "Content-Type: text/plain;charset=latin1\r\n",
         "hello");
    assert_event(MADE "key=k\ntime=2026-01-02T03:04:05Z\nsubject=s\ndataschema=urn:x\n"
                      "traceparent=00-p\ntracestate=a=b,c=d\n+a9=true\n+zz=1\n"
                      "type=text/plain;charset=latin1\npayload=hello");
}

static void the_case_of_headers_does_not_matter(void **state)
{
    (void)state;
    post("CE-SPECVERSION: 1.0\r\nCe-Id: 1\r\nce-Source: /s\r\ncE-TYPE: a.b\r\nCe-Some9: V\r\n"
         "content-TYPE: application/JSON\r\n",
         "{}");
    assert_event(MADE "+some9=V\ntype=application/JSON\npayload={}");
}

/* The body is the data, whatever it is called. */
static void binary_mode_takes_any_body(void **state)
{
    static const char bytes[] = "\0\xff{\n";

    (void)state;
    post(REQUIRED JSON, "{\"broken\"");
    assert_event(MADE "type=application/json\npayload={\"broken\"");
    post(REQUIRED, "");
    assert_event(MADE "payload=");
    post(REQUIRED, "untyped");
    assert_event(MADE "payload=untyped");
    post_bytes(REQUIRED "Content-Type: application/octet-stream\r\n", bytes, sizeof bytes);
    assert_int_equal(reply.status, 200);
    assert_memory_equal(reply.body + reply.body_len - sizeof bytes, bytes, sizeof bytes);
}

static void media_types_that_are_refused(void **state)
{
    static const struct refusal refusals[] = {
        {"", "{}", 415, "Content-Type is missing; allowed are application/json"},
        {"Content-Type: text/plain\r\n", "{}", 415, "text/plain\\\"; allowed are"},
        {"Content-Type: application/jsonx\r\n", "{}", 415, "with ce- headers"},
        {"Content-Type: application/json/x\r\n", "{}", 415, "allowed are"},
        {"Content-Type: application/json charset=utf-8\r\n", "{}", 415, "allowed are"},
        {"Content-Type: ;\r\n", "{}", 415, "allowed are"},
        {"Content-Type: application/json; charset=latin1\r\n", "{}", 415, "only charset=utf-8"},
        {"Content-Type: application/json; charset\r\n", "{}", 415, "only charset=utf-8"},
        {"Content-Type: application/cloudevents+json; charset=utf-16\r\n", "{}", 415,
         "only charset=utf-8"},
        {"Content-Type: application/cloudevents+json; charset=utf-8; profile=x\r\n", "{}", 415,
         "the parameter \\\"profile\\\""},
        {"Content-Type: application/cloudevents-batch+xml\r\n", "[]", 415,
         "allowed are application/json, application/cloudevents+json"},
        {"Content-Type: application/cloudevents-batch+json; x=y\r\n", "[]", 415, "charset=utf-8"},
        {"Content-Type: application/cloudevents+avro\r\n" REQUIRED, "", 415, "allowed are"},
        {"Content-Type: application/cloudevents\r\n", "{}", 415, "allowed are"},
        {"Content-Type: application/CloudEvents+jsonx\r\n" REQUIRED, "{}", 415,
         "does not begin with application/cloudevents"},
        {JSON JSON, "{}", 415, "two Content-Type"},
        {REQUIRED JSON "Content-Type: text/plain\r\n", "{}", 415, "two Content-Type"},
    };

    (void)state;
    assert_refused(refusals, COUNT(refusals));
}

/* ---- values in headers ---- */

static void values_are_decoded(void **state)
{
    static const struct {
        const char *sent, *read;
    } values[] = {
        {"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"%e2%82%ac", "\xe2\x82\xac"},
        {"\xe2\x82\xac", "\xe2\x82\xac"}, /* not encoded at all, as some clients do */
        {"%41%2B+", "A++"},
        {"100%25", "100%"},
        {"%2541", "%41"}, /* one round only */
        {"100%", "100%"},
        {"5%g1%4", "5%g1%4"},
        {"\"a b\"", "a b"},
        {"\"a \\\"b\\\" \\\\ c\"", "a \"b\" \\ c"},
        {"\"%C3%A9 %22\"", "\xc3\xa9 \""},
        {"a \"b\"", "a \"b\""},
        {"%22a%22", "\"a\""},
        {"\"\\%41\"", "A"},
        /* no quoted strings: these are the values themselves */
        {"\"a", "\"a"},
        {"\"", "\""},
        {"\"a\" b", "\"a\" b"},
        {"\"a\"b\"", "\"a\"b\""},
        {"\"a\\\"", "\"a\\\""},
        {"a b  c", "a b  c"},
    };
    char headers[512], expected[512];

    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        snprintf(headers, sizeof headers, REQUIRED "ce-subject: %s\r\nce-x: %s\r\n", values[i].sent,
                 values[i].sent);
        snprintf(expected, sizeof expected, MADE "subject=%s\n+x=%s\npayload=", values[i].read,
                 values[i].read);
        post(headers, "");
        assert_event(expected);
    }
}

static void headers_that_are_refused(void **state)
{
    static const struct refusal refusals[] = {
        {"ce-id: 1\r\n", "", 422, "ce-specversion is missing; a CloudEvent needs"},
        {"ce-specversion: 1.0\r\nce-source: /s\r\nce-type: a\r\n", "", 422, "ce-id is missing"},
        {"ce-specversion: 1.0\r\nce-id: 1\r\nce-type: a\r\n", "", 422, "ce-source is missing"},
        {"ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\n" JSON, "{}", 422,
         "ce-type is missing"},
        {"ce-specversion: 0.3\r\n", "", 422, "ce-specversion is \\\"0.3\\\"; \\\"1.0\\\" is"},
        {"ce-id:\r\n", "", 422, "ce-id is empty"},
        {"ce-source: a b\r\n", "", 422, "a space in it is written %20"},
        {"ce-source: a%20b\r\n", "", 422, "ce-source must be a URI"},
        {"ce-type: a/b\r\n", "", 422, "ce-type is the event's name: name has a character at"},
        {"ce-time: noon\r\n", "", 422, "ce-time is not an RFC 3339"},
        {"ce-subject:\r\n", "", 422, "ce-subject is empty"},
        {"ce-subject: \"\"\r\n", "", 422, "ce-subject is empty"},
        {"ce-dataschema:\r\n", "", 422, "ce-dataschema is empty"},
        {"ce-partitionkey:\r\n", "", 422, "ce-partitionkey is empty"},
        {"ce-traceparent: %20\r\n", "", 422, "ce-traceparent must be of printable ASCII"},
        {"ce-x:\r\n", "", 422, "ce-x is empty"},
        {"ce-x: a%0Ab\r\n", "", 422, "ce-x must not hold control"},
        {"ce-id: %00\r\n", "", 422, "ce-id must not hold control"},
        {"ce-id: %C2%85\r\n", "", 422, "ce-id must not hold control"},
        {"ce-x: %EF%BF%BF\r\n", "", 422, "noncharacters"},
        {"ce-x: %C0%A0\r\n", "", 400, "ce-x is not valid UTF-8"},
        {"ce-id: %E2%82\r\n", "", 400, "ce-id is not valid UTF-8"},
        {"ce-x: \xff\r\n", "", 400, "ce-x is not valid UTF-8"},
        {"ce-x: %ED%A0%80\r\n", "", 400, "ce-x is not valid UTF-8"},
        {"ce-id: 1\r\nCe-Id: 1\r\n", "", 400, "ce-id comes twice"},
        {"ce-x: 1\r\nce-a: 1\r\nce-X: 2\r\n", "", 400, "ce-x comes twice"},
        {"ce-partitionkey: 1\r\nce-partitionkey: 1\r\n", "", 400, "ce-partitionkey comes twice"},
        {REQUIRED "ce-datacontenttype: text/plain\r\n", "", 422, "ce-datacontenttype must not be"},
        {"Ce-DataContentType: text/plain\r\n" JSON, "{}", 422, "ce-datacontenttype must not be"},
        {"ce-data: x\r\n", "", 422, "ce-data\\\" is no attribute: in binary mode the body"},
        {"ce-data_base64: x\r\n", "", 422, "a-z and 0-9 only"},
        {"ce-x-y: x\r\n", "", 422, "a-z and 0-9 only"},
        {"ce-: x\r\n", "", 422, "an empty name"},
        {"ce-a123456789012345678901234567890123456789b: x\r\n", "", 422, "a name of 41 bytes"},
        {REQUIRED "Content-Type: json\r\n", "{}", 422, "Content-Type is not a media type"},
        {REQUIRED "Content-Type: text/\r\n", "{}", 422, "Content-Type is not a media type"},
        {REQUIRED "Content-Type: a/b;\xc3\xa9\r\n", "{}", 422, "Content-Type is not a media type"},
    };

    (void)state;
    assert_refused(refusals, COUNT(refusals));
}

static void binary_mode_needs_a_length(void **state)
{
    (void)state;
    raw_exchange(http_port(server), "POST / HTTP/1.1\r\nHost: x\r\n" REQUIRED "\r\n", &reply);
    assert_int_equal(reply.status, 411);
}

/* <name>: <len times c> */
static void post_long(const char *name, char c, size_t len)
{
    static char headers[20000];
    size_t used = (size_t)snprintf(headers, sizeof headers, REQUIRED "%s: ", name);

    memset(headers + used, c, len);
    snprintf(headers + used + len, sizeof headers - used - len, "\r\n");
    post(headers, "");
}

static void lengths_are_bounded(void **state)
{
    static const struct {
        const char *name;
        size_t max;
    } limits[] = {
        {"ce-subject", EVENT_SUBJECT_MAX},       {"ce-dataschema", EVENT_DATASCHEMA_MAX},
        {"ce-partitionkey", EVENT_KEY_MAX},      {"ce-traceparent", 128},
        {"ce-tracestate", EVENT_TRACESTATE_MAX}, {"ce-x", EVENT_EXTENSIONS_BYTES - 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(limits); i++) {
        post_long(limits[i].name, 'a', limits[i].max);
        assert_int_equal(reply.status, 200);
        post_long(limits[i].name, 'a', limits[i].max + 1);
        assert_int_equal(reply.status, 422);
        if (!strstr(reply.body, limits[i].name))
            fail_msg("%s: %s", limits[i].name, reply.body);
    }
}

static void a_content_type_is_bounded(void **state)
{
    char headers[1024];

    (void)state;
    for (int more = 0; more < 2; more++) {
        snprintf(headers, sizeof headers, REQUIRED "Content-Type: a/%0*d\r\n",
                 EVENT_CONTENT_TYPE_MAX - 2 + more, 1);
        post(headers, "x");
        assert_int_equal(reply.status, more ? 422 : 200);
    }
    assert_non_null(strstr(reply.body, "Content-Type has 257 bytes; at most 256 are allowed"));
}

static void extensions_are_bounded(void **state)
{
    char headers[4096];
    size_t used = (size_t)snprintf(headers, sizeof headers, REQUIRED);

    (void)state;
    for (int i = 0; i <= EVENT_EXTENSIONS_MAX; i++) {
        post(headers, "");
        assert_int_equal(reply.status, 200);
        used += (size_t)snprintf(headers + used, sizeof headers - used, "ce-x%02d: v\r\n", i);
    }
    post(headers, "");
    assert_int_equal(reply.status, 422);
    assert_non_null(strstr(reply.body, "ce-x24 is one extension too many; at most 24"));
}

/* A header that is decoded twice over, as full as HTTP lets it be. */
static void the_longest_header(void **state)
{
    static char headers[20000], expected[8192];
    size_t used = (size_t)snprintf(headers, sizeof headers, REQUIRED "Ce-Subject: \"");

    (void)state;
    for (int i = 0; i < EVENT_SUBJECT_MAX; i++)
        used += (size_t)snprintf(headers + used, sizeof headers - used, "%%41");
    used += (size_t)snprintf(headers + used, sizeof headers - used, "\"\r\nCe-X: \"");
    for (int i = 0; i < EVENT_EXTENSIONS_BYTES - 1; i++)
        used += (size_t)snprintf(headers + used, sizeof headers - used, "%%41");
    snprintf(headers + used, sizeof headers - used, "\"\r\n");
    used = (size_t)snprintf(expected, sizeof expected, MADE "subject=");
    memset(expected + used, 'A', EVENT_SUBJECT_MAX);
    used += EVENT_SUBJECT_MAX;
    used += (size_t)snprintf(expected + used, sizeof expected - used, "\n+x=");
    memset(expected + used, 'A', EVENT_EXTENSIONS_BYTES - 1);
    used += EVENT_EXTENSIONS_BYTES - 1;
    snprintf(expected + used, sizeof expected - used, "\npayload=");
    post(headers, "");
    assert_event(expected);
}

/* ---- memory ---- */

static void each_allocation_may_fail(void **state)
{
    static const struct {
        const char *headers, *body;
    } requests[] = {
        {JSON, "{\"name\":\"\\u0061\"}"},
        {STRUCTURED, "{" REQUIRED_JSON ",\"x\":\"\\u0061\"}"},
        {REQUIRED "Ce-X: %41\r\n", "{}"},
    };
    char headers[512];

    (void)state;
    for (size_t i = 0; i < COUNT(requests); i++) {
        int after = 0;

        do {
            snprintf(headers, sizeof headers, "%sfail-after: %d\r\n", requests[i].headers, after);
            post(headers, requests[i].body);
            if (reply.status != 503 && reply.status != 200)
                fail_msg("%s", reply.body);
        } while (reply.status != 200 && ++after < 100);
        assert_in_range(after, 1, 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_json),
        cmocka_unit_test(structured_mode),
        cmocka_unit_test(structured_mode_ignores_attributes_in_headers),
        cmocka_unit_test(binary_mode),
        cmocka_unit_test(the_case_of_headers_does_not_matter),
        cmocka_unit_test(binary_mode_takes_any_body),
        cmocka_unit_test(media_types_that_are_refused),
        cmocka_unit_test(values_are_decoded),
        cmocka_unit_test(headers_that_are_refused),
        cmocka_unit_test(binary_mode_needs_a_length),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(a_content_type_is_bounded),
        cmocka_unit_test(extensions_are_bounded),
        cmocka_unit_test(the_longest_header),
        cmocka_unit_test(each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
