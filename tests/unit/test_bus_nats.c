/* The conformance suite against a real nats-server. What happens when things break is in
 * test_bus_nats_faults.c. */
#include "tests/lib/bus_conformance.h"
#include "tests/lib/nats_peer.h"
#include "tests/lib/nats_server.h"
#include "tests/lib/unit.h"

#include <stdio.h>

static void hold(struct bus_world *world, struct bus *bus)
{
    (void)bus;
    nats_server_freeze(world->ctx);
}

static void let_go(struct bus_world *world, struct bus *bus)
{
    (void)bus;
    nats_server_thaw(world->ctx);
}

static void renew(struct bus_world *world, struct bus_log *log, const struct bus_log_spec *spec)
{
    const struct nats_server *server = world->ctx;
    struct nats_peer *peer = nats_peer_open(server->port);
    char subject[128];
    char config[512];
    char answer[4096];
    (void)log;
    snprintf(subject, sizeof subject, "$JS.API.STREAM.DELETE.%s", spec->name);
    nats_peer_ask(peer, subject, "", answer, sizeof answer);
    assert_non_null(strstr(answer, "\"success\":true"));
    snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.%s", spec->name);
    snprintf(config, sizeof config,
             "{\"name\":\"%s\",\"subjects\":[\"%s\"],\"storage\":\"file\",\"retention\":\"limits\","
             "\"discard\":\"new\",\"deny_delete\":true,\"deny_purge\":true,\"allow_direct\":true,"
             "\"num_replicas\":1}",
             spec->name, spec->subject);
    nats_peer_ask(peer, subject, config, answer, sizeof answer);
    assert_null(strstr(answer, "\"error\""));
    nats_peer_close(peer);
}

int main(void)
{
    struct nats_server server;
    struct bus_world world = {.hold = hold, .let_go = let_go, .renew = renew, .ctx = &server};
    nats_server_start(&server);
    world.url = server.url;
    int failed = bus_conformance_run("bus_nats", &world, NULL, 0);
    nats_server_end(&server);
    return failed;
}
