#include "common/media_type.h"
#include "tests/lib/unit.h"

static void json(void **state)
{
    static const char *const yes[] = {"application/json",
                                      "APPLICATION/JSON",
                                      "text/json",
                                      "application/json;x=y",
                                      " application/json ; charset=utf-8",
                                      "application/cloudevents+json",
                                      "a/b+JSON;c",
                                      "a/+json"};
    static const char *const no[] = {"",           "json",      "application/jsonx", "text/plain",
                                     "a/json+xml", "a/b; json", "a/b;c=d+json",      "a+json/b",
                                     "a/xjson",    "+json"};

    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (!media_type_is_json(view_of(yes[i])))
            fail_msg("%s is not JSON", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        if (media_type_is_json(view_of(no[i])))
            fail_msg("%s is JSON", no[i]);
}

static void well_formed(void **state)
{
    static const char *const yes[] = {
        "a/b", "application/vnd.a-b+json", "text/plain; charset=\"x\"", "*/*", "a/b;", "a/b ; c"};
    static const char *const no[] = {"",      "a",     "/",           "a/",     "/b",
                                     "a/b/c", "a b/c", "a/b\xc3\xa9", "a/b;\n", "a/b;\xc3\xa9",
                                     ";a/b",  "a,b/c", "a/b, c/d",    " a/b",   "a/b ",
                                     "a /b",  "a/ b",  "a/b; ",       "\"a/b\""};

    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (!media_type_is_well_formed(view_of(yes[i])))
            fail_msg("%s is refused", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        if (media_type_is_well_formed(view_of(no[i])))
            fail_msg("%s is taken", no[i]);
}

static void parameters(void **state)
{
    struct view rest = media_type_parameters(VIEW("a/b ;; charset = utf-8;x=\"y z\" ; flag;e="));
    struct media_type_parameter p;
    static const char *const expected[][2] = {
        {"charset", "utf-8"}, {"x", "y z"}, {"flag", ""}, {"e", ""}};

    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_true(media_type_next_parameter(&rest, &p));
        assert_true(view_equal(p.name, view_of(expected[i][0])));
        assert_true(view_equal(p.value, view_of(expected[i][1])));
    }
    assert_false(media_type_next_parameter(&rest, &p));
    rest = media_type_parameters(VIEW("a/b;x=\"y;charset=latin1\\\"; z\";u=v"));
    assert_true(media_type_next_parameter(&rest, &p));
    assert_true(view_equal(p.value, VIEW("y;charset=latin1\\\"; z")));
    assert_true(media_type_next_parameter(&rest, &p));
    assert_true(view_equal(p.name, VIEW("u")));
    assert_false(media_type_next_parameter(&rest, &p));
    rest = media_type_parameters(VIEW("a/b"));
    assert_false(media_type_next_parameter(&rest, &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json),
        cmocka_unit_test(well_formed),
        cmocka_unit_test(parameters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
