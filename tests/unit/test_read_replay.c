#include "http-gateway/read_replay.h"

#include "common/event.h"
#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

static struct read_replay *holder;
static struct err_detail detail;

static int begin(void **state)
{
    (void)state;
    assert_int_equal(read_replay_new(&holder), ERR_NONE);
    return 0;
}

static int end(void **state)
{
    (void)state;
    read_replay_free(holder);
    return 0;
}

static enum err read_text(const char *body, struct replay_request *ret)
{
    detail.text[0] = '\0';
    return read_replay(holder, view_of(body), ret, &detail);
}

static void must_read(const char *body, struct replay_request *ret)
{
    if (read_text(body, ret) != ERR_NONE)
        fail_msg("%s: %s", body, detail.text);
}

static void all_that_may_be_given(void **state)
{
    struct replay_request r;

    (void)state;
    must_read(" { \"event_ids\" : [ \"123\" , \"caf\\u00e9 \\\"7\\\"\"\n,\t\"]\" ] , "
              "\"source\":\"/sh\\u006fp\",\"statuses\":[\"dead\",\"processed\"],"
              "\"name\":\"order.*\",\"from_position\":7,\"to_position\":18446744073709551615,"
              "\"accepted_since\":\"2026-01-02T03:04:05.678Z\","
              "\"accepted_until\":\"2026-01-02T05:04:05.679+01:00\",\"rate\":4294967295,"
              "\"dry_run\":true,\"replay_id\":\"01890A5D-ac96-774b-bcce-b302099a8057\"}",
              &r);
    assert_int_equal(r.event_id_count, 3);
    assert_true(view_equal(r.event_ids[0], VIEW("123")));
    assert_true(view_equal(r.event_ids[1], VIEW("caf\xC3\xA9 \"7\"")));
    assert_true(view_equal(r.event_ids[2], VIEW("]")));
    assert_true(view_equal(r.source, VIEW("/shop")));
    assert_int_equal(r.statuses, 1u << STATUS_DEAD | 1u << STATUS_PROCESSED);
    assert_true(view_equal(r.name, VIEW("order.*")));
    assert_true(r.from_position == 7 && r.to_position == UINT64_MAX);
    assert_true(r.accepted_since_ms == 1767323045678);
    assert_true(r.accepted_until_ms == 1767327845679 - 1200000);
    assert_true(r.rate == UINT32_MAX && r.dry_run && !r.detach);
    assert_true(view_equal(r.replay_id, VIEW("01890A5D-ac96-774b-bcce-b302099a8057")));
}

static void each_filter_is_enough(void **state)
{
    static const char *const bodies[] = {
        "{\"event_ids\":[\"1\"]}",
        "{\"statuses\":[\"dead\"]}",
        "{\"name\":\">\"}",
        "{\"from_position\":1}",
        "{\"to_position\":1}",
        "{\"accepted_since\":\"2026-01-01T00:00:00Z\"}",
        "{\"accepted_until\":\"2026-01-01T00:00:00Z\"}",
        "{\"from_position\":5,\"to_position\":5}",
        "{\"na\\u006de\":\"a\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct replay_request r;

        must_read(bodies[i], &r);
        assert_false(r.dry_run);
        assert_int_equal(r.rate, 0);
        assert_int_equal(r.replay_id.len, 0);
    }
}

/* 0 would mean no bound at all: everything for nothing. */
static void the_very_start_of_1970_is_a_bound(void **state)
{
    struct replay_request r;

    (void)state;
    must_read("{\"accepted_until\":\"1970-01-01T00:00:00Z\"}", &r);
    assert_true(r.accepted_until_ms == 1);
    must_read("{\"accepted_until\":\"1969-12-31T23:59:59Z\"}", &r);
    assert_true(r.accepted_until_ms == -1000);
}

static const struct {
    const char *body;
    enum err e;
    const char *says;
} refused[] = {
    {"", ERR_MALFORMED, ""},
    {"{\"name\":\"a\",}", ERR_MALFORMED, ""},
    {"{\"name\":\"a\",\"n\\u0061me\":\"b\"}", ERR_MALFORMED, "name comes twice"},
    {"[]", ERR_INVALID, "JSON object"},
    {"{}", ERR_INVALID, "nothing says which events"},
    {"{\"rate\":5}", ERR_INVALID, "nothing says which events"},
    {"{\"dry_run\":true}", ERR_INVALID, "nothing says which events"},
    {"{\"source\":\"/shop\"}", ERR_INVALID, "nothing says which events"},
    {"{\"source\":\"/shop\",\"statuses\":[\"dead\"]}", ERR_INVALID, "source is that of event_ids"},
    {"{\"state\":\"dead\"}", ERR_INVALID, "unknown member \"state\"; allowed are event_ids"},
    {"{\"event_ids\":\"1\"}", ERR_INVALID, "event_ids must be an array of 1 to 1000 strings"},
    {"{\"event_ids\":[]}", ERR_INVALID, "event_ids must be an array"},
    {"{\"event_ids\":[7]}", ERR_INVALID, "event_ids must be an array"},
    {"{\"event_ids\":[\"1\",null]}", ERR_INVALID, "event_ids must be an array"},
    {"{\"event_ids\":[\"1\",[\"2\"]]}", ERR_INVALID, "event_ids must be an array"},
    {"{\"event_ids\":null}", ERR_INVALID, "event_ids must be an array"},
    {"{\"event_ids\":{\"1\":\"2\"}}", ERR_INVALID, "event_ids must be an array"},
    {"{\"event_ids\":[\"1\",\"\"]}", ERR_INVALID, "event_ids[1]"},
    {"{\"event_ids\":[\"a\\nb\"]}", ERR_INVALID, "event_ids[0]"},
    {"{\"event_ids\":[\"a\\u0000b\"]}", ERR_MALFORMED, ""},
    {"{\"event_ids\":[\"1\"],\"source\":\"\"}", ERR_INVALID, "source"},
    {"{\"event_ids\":[\"1\"],\"source\":7}", ERR_INVALID, "source must be a string"},
    {"{\"statuses\":[]}", ERR_INVALID, "statuses must be an array of \"dead\""},
    {"{\"statuses\":\"dead\"}", ERR_INVALID, "statuses must be"},
    {"{\"statuses\":[\"accepted\"]}", ERR_INVALID, "statuses must be"},
    {"{\"statuses\":[\"dead\",\"DEAD\"]}", ERR_INVALID, "statuses must be"},
    {"{\"statuses\":[\"dead\",5]}", ERR_INVALID, "statuses must be"},
    {"{\"name\":\"\"}", ERR_INVALID, "name is \"\""},
    {"{\"name\":\"a.\"}", ERR_INVALID, "name is \"a.\""},
    {"{\"name\":\"a*\"}", ERR_INVALID, "name is \"a*\""},
    {"{\"name\":\">.a\"}", ERR_INVALID, "name is \">.a\""},
    {"{\"name\":null}", ERR_INVALID, "name must be a string"},
    {"{\"from_position\":0}", ERR_INVALID, "from_position must be a whole number from 1"},
    {"{\"to_position\":0}", ERR_INVALID, "to_position must be"},
    {"{\"to_position\":-1}", ERR_INVALID, "to_position must be"},
    {"{\"to_position\":1.0}", ERR_INVALID, "to_position must be"},
    {"{\"to_position\":1e3}", ERR_INVALID, "to_position must be"},
    {"{\"to_position\":\"7\"}", ERR_INVALID, "to_position must be"},
    {"{\"to_position\":18446744073709551616}", ERR_INVALID, "to_position must be"},
    {"{\"from_position\":8,\"to_position\":7}", ERR_INVALID,
     "from_position 8 is beyond to_position 7"},
    {"{\"accepted_since\":1767323045}", ERR_INVALID, "accepted_since must be a string"},
    {"{\"accepted_since\":\"yesterday\"}", ERR_INVALID, "accepted_since is not an RFC 3339"},
    {"{\"accepted_until\":\"\"}", ERR_INVALID, "accepted_until"},
    {"{\"accepted_since\":\"2026-01-01T00:00:00Z\","
     "\"accepted_until\":\"2026-01-01T01:00:00+01:00\"}",
     ERR_INVALID, "must be before accepted_until"},
    {"{\"name\":\"a\",\"rate\":0}", ERR_INVALID, "rate must be a whole number from 1"},
    {"{\"name\":\"a\",\"rate\":4294967296}", ERR_INVALID, "rate must be"},
    {"{\"name\":\"a\",\"rate\":0.5}", ERR_INVALID, "rate must be"},
    {"{\"name\":\"a\",\"dry_run\":\"true\"}", ERR_INVALID, "dry_run must be true or false"},
    {"{\"name\":\"a\",\"dry_run\":1}", ERR_INVALID, "dry_run must be"},
    {"{\"name\":\"a\",\"replay_id\":\"7\"}", ERR_INVALID, "replay_id is \"7\""},
    {"{\"name\":\"a\",\"replay_id\":\"00000000-0000-0000-0000-000000000000\"}", ERR_INVALID,
     "replay_id is"},
};

static void what_is_refused_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct replay_request r = {.rate = 77};
        enum err e = read_text(refused[i].body, &r);

        if (e != refused[i].e || !strstr(detail.text, refused[i].says))
            fail_msg("%s: %d %s", refused[i].body, (int)e, detail.text);
        assert_int_equal(r.rate, 77); /* untouched */
    }
}

/* {"event_ids":["<width digits>", ...]} */
static char *body_of(size_t count, int width)
{
    char *body = malloc(64 + count * ((size_t)width + 3));
    size_t used = (size_t)sprintf(body, "{\"event_ids\":[");

    for (size_t i = 0; i < count; i++)
        used += (size_t)sprintf(body + used, "%s\"%0*zu\"", i > 0 ? "," : "", width, i);
    memcpy(body + used, "]}", 3);
    return body;
}

static void ids_have_limits(void **state)
{
    static const struct {
        size_t count;
        int width;
        enum err e;
    } cases[] = {{REPLAY_IDS_MAX, EVENT_PRODUCER_ID_MAX, ERR_NONE},
                 {REPLAY_IDS_MAX + 1, 10, ERR_INVALID},
                 {1, EVENT_PRODUCER_ID_MAX + 1, ERR_INVALID}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *body = body_of(cases[i].count, cases[i].width);
        struct replay_request r;

        assert_int_equal(read_text(body, &r), cases[i].e);
        if (!cases[i].e) {
            assert_int_equal(r.event_id_count, cases[i].count);
            assert_int_equal(r.event_ids[cases[i].count - 1].len, cases[i].width);
        }
        free(body);
    }
}

/* Texts that had to be decoded stay where they are while others are. */
static void many_escaped_ids(void **state)
{
    char body[64 + REPLAY_IDS_MAX * 20];
    size_t used = (size_t)sprintf(body, "{\"event_ids\":[");
    struct replay_request r;

    (void)state;
    for (size_t i = 0; i < REPLAY_IDS_MAX; i++)
        used += (size_t)sprintf(body + used, "%s\"\\u0061%zu\"", i > 0 ? "," : "", i);
    memcpy(body + used, "]}", 3);
    must_read(body, &r);
    for (size_t i = 0; i < REPLAY_IDS_MAX; i++) {
        char expected[16];

        snprintf(expected, sizeof expected, "a%zu", i);
        assert_true(view_equal(r.event_ids[i], view_of(expected)));
    }
}

static void short_memory_is_told(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct read_replay *h = NULL;
        struct replay_request r;
        enum err e = read_replay_new(&h);

        if (!e)
            e = read_replay(h, VIEW("{\"event_ids\":[\"\\u0061\"]}"), &r, NULL);
        read_replay_free(h);
        assert_int_equal(e, each_failure_end(&f) ? ERR_MEMORY : ERR_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_may_be_given),
        cmocka_unit_test(each_filter_is_enough),
        cmocka_unit_test(the_very_start_of_1970_is_a_bound),
        cmocka_unit_test(what_is_refused_is_named),
        cmocka_unit_test(ids_have_limits),
        cmocka_unit_test(many_escaped_ids),
        cmocka_unit_test(short_memory_is_told),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
