/* Objects whose members' names are known. */
#include "common/json_object.h"

#include "tests/lib/each_failure.h"
#include "tests/lib/unit.h"

static const struct {
    const char *name;
    int more;
} rules[] = {{"name", 1}, {"a.b", 2}, {"caf\xC3\xA9", 3}};
static const struct json_object object = {
    .rules = rules, .size = sizeof rules[0], .count = 3, .allowed = "these", .is = "it is so"};

static enum err read_text(const char *body, struct json_member ret[3], struct err_detail *detail)
{
    return json_object_read(view_of(body), &object, ret, detail);
}

static void members_are_found_by_their_names(void **state)
{
    struct json_member members[3];
    (void)state;
    assert_int_equal(read_text(" { \"caf\\u00e9\" : [ 1 ] , \"name\":\"\" } ", members, NULL),
                     ERR_NONE);
    assert_true(view_equal(members[0].value, VIEW("\"\"")));
    assert_int_equal(members[0].kind, JSON_STRING);
    assert_int_equal(members[1].value.len, 0);
    assert_true(view_equal(members[2].value, VIEW("[ 1 ]")));
    assert_int_equal(read_text("{}", members, NULL), ERR_NONE);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(members[i].value.len, 0);
}

static void other_texts_are_refused(void **state)
{
    static const struct {
        const char *body;
        enum err e;
        const char *says;
    } cases[] = {
        {"", ERR_MALFORMED, ""},
        {"{\"name\":1", ERR_MALFORMED, ""},
        {"[]", ERR_INVALID, "it is so"},
        {"7", ERR_INVALID, "it is so"},
        {"{\"name\":1,\"n\\u0061me\":1}", ERR_MALFORMED, "the member name comes twice"},
        {"{\"name\":1,\"a.b\":1,\"caf\xC3\xA9\":1,\"x\":1}", ERR_INVALID,
         "unknown member \"x\"; allowed are these"},
        {"{\"name\":1,\"a.b\":1,\"caf\xC3\xA9\":1,\"a.b\":1,\"x\":1}", ERR_MALFORMED, "a.b"},
        {"{\"\":1}", ERR_INVALID, "unknown member \"\""},
        {"{\"nam\":1}", ERR_INVALID, "unknown member \"nam\""},
        {"{\"names\":1}", ERR_INVALID, "unknown member \"names\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_member members[3];
        struct err_detail detail = {""};
        enum err e = read_text(cases[i].body, members, &detail);
        if (e != cases[i].e || !strstr(detail.text, cases[i].says))
            fail_msg("%s: %d %s", cases[i].body, (int)e, detail.text);
    }
}

static void a_name_may_be_very_long(void **state)
{
    static char body[100000];
    struct json_member members[3];
    struct err_detail detail = {""};
    (void)state;
    memset(body, '\\', sizeof body - 1);
    memcpy(body, "{\"", 2);
    memcpy(body + sizeof body - 6, "\":1}", 5);
    assert_int_equal(read_text(body, members, &detail), ERR_INVALID);
    assert_true(strlen(detail.text) < 150);
}

static void short_memory_is_told(void **state)
{
    (void)state;
    for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
        struct json_member members[3];
        enum err e = read_text("{\"n\\u0061me\":1}", members, NULL);
        assert_int_equal(e, each_failure_end(&f) ? ERR_MEMORY : ERR_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found_by_their_names),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(a_name_may_be_very_long),
        cmocka_unit_test(short_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
