/* docs/openapi.json, as the program has it, and the table of routes say the same; so do its problem
 * types and the table of errors.
 */
#include "common/version.h"
#include "http-gateway/gateway.h"
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

extern const unsigned char tidings_openapi[];
extern const size_t tidings_openapi_size;

static cJSON *document;

static int read_document(void **state)
{
    (void)state;
    document = cJSON_ParseWithLength((const char *)tidings_openapi, tidings_openapi_size);
    return document ? 0 : -1;
}

static int free_document(void **state)
{
    (void)state;
    cJSON_Delete(document);
    return 0;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, name);

    if (!found)
        fail_msg("docs/openapi.json has no %s", name);
    return found;
}

static bool route_exists(const char *path, const char *method)
{
    for (const struct http_route *r = gateway_routes; r->method; r++)
        if (strcmp(r->pattern, path) == 0 && strcasecmp(r->method, method) == 0)
            return true;
    return false;
}

static void each_route_is_described(void **state)
{
    const cJSON *paths = member(document, "paths");
    char method[16];

    (void)state;
    for (const struct http_route *r = gateway_routes; r->method; r++) {
        size_t i = 0;

        for (; r->method[i]; i++)
            method[i] = (char)(r->method[i] | 0x20);
        method[i] = '\0';
        (void)member(member(member(paths, r->pattern), method), "responses");
    }
}

static void each_description_is_of_a_route(void **state)
{
    const cJSON *path, *operation;

    (void)state;
    cJSON_ArrayForEach(path, member(document, "paths"))
    {
        cJSON_ArrayForEach(operation, path)
        {
            if (!route_exists(path->string, operation->string))
                fail_msg("there is no route %s %s", operation->string, path->string);
        }
    }
}

/* In the schema Problem, which all responses use. */
static bool type_is_described(const char *slug)
{
    const cJSON *problem = member(member(member(document, "components"), "schemas"), "Problem");
    const cJSON *types = member(member(member(problem, "properties"), "type"), "enum"), *type;
    char uri[128];

    snprintf(uri, sizeof uri, "urn:tidings:problem:%s", slug);
    cJSON_ArrayForEach(type, types)
    {
        if (strcmp(type->valuestring, uri) == 0)
            return true;
    }
    return false;
}

/* All errors but those that no HTTP client ever sees. */
static void each_problem_is_described(void **state)
{
    static const enum err all[] = {
#define X(code, slug, title, http, grpc) code,
        ERR_LIST(X)
#undef X
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        bool inner = all[i] == ERR_NONE || all[i] == ERR_CANCELLED || all[i] == ERR_STALE;

        if (type_is_described(err_slug(all[i])) == inner)
            fail_msg("%s should%s be described", err_slug(all[i]), inner ? " not" : "");
    }
}

/* {"value":{"type":"urn:tidings:problem:x","title":…,"status":…}} under each of responses' */
static void check_examples(const cJSON *response)
{
    const cJSON *content = cJSON_GetObjectItem(response, "content"), *example;
    const cJSON *problem = cJSON_GetObjectItem(content, "application/problem+json");

    cJSON_ArrayForEach(example, cJSON_GetObjectItem(problem, "examples"))
    {
        const cJSON *value = member(example, "value");
        enum err e = ERR_NONE;

        while (e < ERR_HTTP_VERSION && strcmp(err_slug(e), example->string) != 0)
            e++;
        assert_string_equal(err_slug(e), example->string);
        assert_string_equal(member(value, "title")->valuestring, err_title(e));
        assert_int_equal(member(value, "status")->valueint, err_http_status(e));
    }
}

static void problems_are_shown_as_they_are(void **state)
{
    const cJSON *response;

    (void)state;
    cJSON_ArrayForEach(response, member(member(document, "components"), "responses"))
    {
        check_examples(response);
    }
}

static void the_version_is_the_programs(void **state)
{
    (void)state;
    assert_string_equal(member(member(document, "info"), "version")->valuestring, TIDINGS_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_route_is_described),
        cmocka_unit_test(each_description_is_of_a_route),
        cmocka_unit_test(each_problem_is_described),
        cmocka_unit_test(problems_are_shown_as_they_are),
        cmocka_unit_test(the_version_is_the_programs),
    };

    return cmocka_run_group_tests(tests, read_document, free_document);
}
