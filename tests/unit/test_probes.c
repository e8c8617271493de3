/* /ready tells apart what is away, and what works all the same.
 */
#include "tests/lib/gateways.h"
#include "tests/lib/unit.h"

#include <stdatomic.h>
#include <string.h>

static struct gateways g;
static struct raw_reply reply;

static int start(void **state)
{
    (void)state;
    gateways_start(&g, &(struct gateways_options){0});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    gateways_stop(&g);
    return 0;
}

static void ask_ready(int status)
{
    raw_exchange(http_port(g.http[0]), "GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", &reply);
    assert_int_equal(reply.status, status);
}

static void assert_says(const char *text)
{
    if (!strstr(reply.body, text))
        fail_msg("no %s in %s", text, reply.body);
}

static void without_a_processor_writes_go_on(void **state)
{
    (void)state;
    ask_ready(200);
    assert_says("{\"ready\":true,\"writes\":true,\"reads\":false,\"checks\":{\"gateway\":\"ok\","
                "\"bus\":\"ok\",\"event_log\":\"ok\",\"processor\":\"unreachable: ");
    gateways_post(&g, 0, "Content-Type: application/json\r\n", "{\"name\":\"a\"}", &reply);
    assert_int_equal(reply.status, 202);
}

static void a_bus_that_is_away(void **state)
{
    (void)state;
    bus_mem_set_away(g.bus, true);
    ask_ready(503);
    assert_says("\"ready\":false,\"writes\":false");
    assert_says("\"bus\":\"the bus in memory was told to be away\","
                "\"event_log\":\"unknown while the bus is away\"");
    bus_mem_set_away(g.bus, false);
    ask_ready(200);
}

static void a_log_that_is_missing(void **state)
{
    (void)state;
    bus_mem_set_logless(g.bus, true);
    ask_ready(503);
    assert_says("\"ready\":false,\"writes\":false");
    assert_says("\"bus\":\"ok\",\"event_log\":\"the bus in memory was told to be away\"");
    bus_mem_set_logless(g.bus, false);
    ask_ready(200);
}

static void a_gateway_that_stops(void **state)
{
    (void)state;
    atomic_store(&g.gateway[0].draining, true);
    ask_ready(503);
    assert_says("\"writes\":false");
    assert_says("\"gateway\":\"stopping\",\"bus\":\"ok\",\"event_log\":\"ok\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_processor_writes_go_on, start, stop),
        cmocka_unit_test_setup_teardown(a_bus_that_is_away, start, stop),
        cmocka_unit_test_setup_teardown(a_log_that_is_missing, start, stop),
        cmocka_unit_test_setup_teardown(a_gateway_that_stops, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
