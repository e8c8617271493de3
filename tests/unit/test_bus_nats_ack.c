/* What counts as JetStream's answer to a publish, and what a delivery says about itself. */
#include "common/bus_nats.h"
#include "common/mem.h"

#include "tests/lib/unit.h"

#include <stdio.h>

static struct nats_ack parse(const char *text)
{
    struct nats_ack ack;
    nats_ack_parse(view_of(text), &ack);
    return ack;
}

static void an_acknowledgement_names_its_stream_and_position(void **state)
{
    static const struct {
        const char *text;
        int kind;
        uint64_t position;
    } cases[] = {
        {"{\"stream\":\"EVENTS\", \"seq\":12}", NATS_ACK_STORED, 12},
        {" { \"seq\" : 18446744073709551615 , \"stream\" : \"EVENTS\" } \n", NATS_ACK_STORED,
         UINT64_MAX},
        {"{\"stream\":\"EVENTS\",\"seq\":3,\"duplicate\":true}", NATS_ACK_DUPLICATE, 3},
        {"{\"stream\":\"EVENTS\",\"seq\":3,\"duplicate\":false}", NATS_ACK_STORED, 3},
        {"{\"stream\":\"EVENTS\",\"domain\":\"hub\",\"seq\":3}", NATS_ACK_STORED, 3},
        {"{\"stream\":\"EVENTS\",\"seq\":3,\"new\":{\"a\":[1,{\"seq\":9},\"x\\\"}\"],\"b\":null}}",
         NATS_ACK_STORED, 3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct nats_ack ack = parse(cases[i].text);
        assert_int_equal(ack.kind, cases[i].kind);
        assert_int_equal(ack.position, cases[i].position);
        assert_true(view_equal(ack.stream, VIEW("EVENTS")));
    }
}

static void anything_else_is_foreign(void **state)
{
    static const char *const texts[] = {
        "",
        "+OK",
        "thanks!",
        "null",
        "[]",
        "{",
        "{}",
        "{}}",
        "{\"stream\":\"EVENTS\"}",
        "{\"seq\":12}",
        "{\"stream\":\"EVENTS\",\"seq\":0}",
        "{\"stream\":\"EVENTS\",\"seq\":-1}",
        "{\"stream\":\"EVENTS\",\"seq\":1.5}",
        "{\"stream\":\"EVENTS\",\"seq\":\"12\"}",
        "{\"stream\":\"EVENTS\",\"seq\":18446744073709551616}",
        "{\"stream\":\"\",\"seq\":12}",
        "{\"stream\":7,\"seq\":12}",
        "{\"stream\":\"EVENTS\",\"seq\":12",
        "{\"stream\":\"EVENTS\",\"seq\":12,}",
        "{\"stream\":\"EVENTS\" \"seq\":12}",
        "{\"stream\":\"EVENTS\",\"seq\":12} and more",
        "{\"stream\":\"EVENTS\",\"seq\":12}{}",
        "{\"stream\":\"EVENTS,\"seq\":12}",
        "{\"stream\":\"EVENTS\",\"seq\":}",
        "{\"error\":\"no\",\"stream\":\"EVENTS\",\"seq\":12}",
        "{\"error\":{},\"stream\":\"EVENTS\",\"seq\":12}",
        "{\"error\":{\"code\":500}}",
        "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"maximum bytes exceeded\"}}",
        "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"x\"},\"stream\":\"\"}",
        "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
        "{\"a\":\"\\",
        "{\"a\":\"b\nc\",\"stream\":\"EVENTS\",\"seq\":12}",
    };
    struct nats_ack ack;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (parse(texts[i]).kind != NATS_ACK_FOREIGN)
            fail_msg("not foreign: %s", texts[i]);
    nats_ack_parse((struct view){"{\"stream\":\"A\0B\",\"seq\":1}", 23}, &ack);
    assert_int_equal(ack.kind, NATS_ACK_FOREIGN);
}

static void every_beginning_of_an_acknowledgement_is_foreign(void **state)
{
    static const char text[] = "{\"stream\":\"EVENTS\",\"seq\":12,\"duplicate\":true}";
    struct nats_ack ack;
    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char *copy = mem_alloc(len ? len : 1); /* of just this size, for AddressSanitizer */
        assert_non_null(copy);
        memcpy(copy, text, len);
        nats_ack_parse((struct view){copy, len}, &ack);
        assert_int_equal(ack.kind, NATS_ACK_FOREIGN);
        mem_free(copy);
    }
}

static void a_refusal_says_why(void **state)
{
    static const struct {
        const char *error;
        enum err why;
    } cases[] = {
        {"{\"code\":503,\"err_code\":10077,\"description\":\"maximum bytes exceeded\"}", ERR_FULL},
        {"{\"code\":503,\"err_code\":10077,\"description\":\"maximum messages exceeded\"}",
         ERR_FULL},
        {"{\"code\":503,\"err_code\":10077,\"description\":\"write: no space left on device\"}",
         ERR_FULL},
        {"{\"code\":500,\"err_code\":10047,\"description\":\"insufficient storage\"}", ERR_FULL},
        {"{\"code\":503,\"err_code\":10023,\"description\":\"insufficient resources\"}", ERR_FULL},
        {"{\"code\":400,\"err_code\":10002,\"description\":\"resource limits\"}", ERR_FULL},
        {"{\"code\":400,\"err_code\":10054,\"description\":\"message size\"}", ERR_TOO_LARGE},
        {"{\"code\":503,\"err_code\":10008,\"description\":\"unavailable\"}", ERR_UNAVAILABLE},
        {"{\"code\":503,\"err_code\":10076}", ERR_UNAVAILABLE},
        {"{\"code\":429,\"err_code\":10167,\"description\":\"too many requests\"}",
         ERR_UNAVAILABLE},
        {"{\"code\":400,\"err_code\":10097,\"description\":\"header size\"}", ERR_TOO_LARGE},
        {"{\"code\":400,\"err_code\":10071,\"description\":\"wrong last sequence: 3\"}",
         ERR_INTERNAL},
    };
    char text[256];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "{\"error\":%s,\"stream\":\"EVENTS\",\"seq\":0}",
                 cases[i].error);
        struct nats_ack ack = parse(text);
        assert_int_equal(ack.kind, NATS_ACK_ERROR);
        assert_int_equal(ack.why, cases[i].why);
        assert_true(view_equal(ack.stream, VIEW("EVENTS")));
    }
    struct nats_ack ack = parse("{\"error\":{\"err_code\":10047,\"description\":\"full\"}}");
    assert_int_equal(ack.kind, NATS_ACK_ERROR);
    assert_int_equal(ack.stream.len, 0);
    assert_true(view_equal(ack.description, VIEW("full")));
}

static void what_may_be_stored_all_the_same_is_unknown(void **state)
{
    static const char *const answers[] = {
        "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"store is closed\"},"
        "\"stream\":\"EVENTS\",\"seq\":0}",
        "{\"error\":{\"code\":503,\"description\":\"raft: not leader\"},\"stream\":\"EVENTS\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct nats_ack ack = parse(answers[i]);
        assert_int_equal(ack.kind, NATS_ACK_UNKNOWN);
        assert_int_equal(ack.why, ERR_UNKNOWN_OUTCOME);
        assert_true(view_equal(ack.stream, VIEW("EVENTS")));
        assert_true(ack.description.len > 0);
    }
}

/* Clusters answer so, the second since nats-server 2.11: nothing is stored of this copy, and what
 * becomes of the first is not known yet. */
static void a_copy_of_what_is_being_stored_is_refused_for_now(void **state)
{
    static const char *const answers[] = {
        "{\"stream\":\"EVENTS\",\"seq\":0,\"duplicate\": true}",
        "{\"error\":{\"code\":409,\"err_code\":10158,\"description\":\"duplicate message id is in "
        "process\"},\"stream\":\"EVENTS\",\"seq\":0}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct nats_ack ack = parse(answers[i]);
        assert_int_equal(ack.kind, NATS_ACK_ERROR);
        assert_int_equal(ack.why, ERR_UNAVAILABLE);
        assert_true(view_equal(ack.stream, VIEW("EVENTS")));
        assert_true(view_equal(ack.description, VIEW("duplicate message id is in process")));
    }
}

static void a_delivery_says_where_it_comes_from(void **state)
{
    static const char *const good[] = {
        "$JS.ACK.EVENTS.group.2.70.80.1700000000123456789.5",
        "$JS.ACK.hub.hash.EVENTS.group.2.70.80.1700000000123456789.5",
        "$JS.ACK.hub.hash.EVENTS.group.2.70.80.1700000000123456789.5.random",
    };
    static const char *const bad[] = {
        NULL,
        "",
        "_INBOX.x.1",
        "$JS.ACK.EVENTS.group.2.70.80.1700000000123456789",
        "$JS.ACK.hub.EVENTS.group.2.70.80.1700000000123456789.5",
        "$JS.ACK.EVENTS.group.2.seventy.80.1700000000123456789.5",
        "$JS.ACK.EVENTS.group.2..80.1700000000123456789.5",
    };
    struct nats_origin origin;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(nats_origin_parse(good[i], &origin));
        assert_int_equal(origin.delivered, 2);
        assert_int_equal(origin.position, 70);
        assert_int_equal(origin.delivery, 80);
        assert_int_equal(origin.time_ns, 1700000000123456789);
        assert_int_equal(origin.pending, 5);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(nats_origin_parse(bad[i], &origin));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_acknowledgement_names_its_stream_and_position),
        cmocka_unit_test(anything_else_is_foreign),
        cmocka_unit_test(every_beginning_of_an_acknowledgement_is_foreign),
        cmocka_unit_test(a_refusal_says_why),
        cmocka_unit_test(what_may_be_stored_all_the_same_is_unknown),
        cmocka_unit_test(a_copy_of_what_is_being_stored_is_refused_for_now),
        cmocka_unit_test(a_delivery_says_where_it_comes_from),
    };
    return cmocka_run_group_tests_name("bus_nats_ack", tests, NULL, NULL);
}
