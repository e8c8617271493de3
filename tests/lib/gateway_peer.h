/* A gateway, and a processor whose methods a test writes; for tests of the gateway's calls.
 */
#ifndef TESTS_GATEWAY_PEER_H
#define TESTS_GATEWAY_PEER_H

#include "http-gateway/gateway.h"
#include "tests/lib/raw_client.h"

#define GATEWAY_PEER_SOURCE "/the default" /* the gateway's --source */

enum {
    GATEWAY_PEER_FOLLOWERS = 4,      /* its --max-followers */
    GATEWAY_PEER_MAX_WAIT_S = 30,    /* its --max-wait */
    GATEWAY_PEER_KEEPALIVE_MS = 1000 /* its --stream-keepalive */
};

/* One for all tests of a program: the processor with these methods, which serves, and the gateway,
 * whose requests have a body of at most so many bytes. */
void gateway_peer_start(const struct rpc_method *methods, uint64_t max_body);
void gateway_peer_stop(void);
/* The gateway begins to stop; nothing is left to do with it then but gateway_peer_stop. */
void gateway_peer_drain(void);
/* From now on the gateway asks there. */
void gateway_peer_use(const char *target);
void gateway_peer_set_serving(bool serving); /* what the processor's health says */
uint16_t gateway_peer_port(void);            /* the gateway's */
uint16_t gateway_peer_processor_port(void);

/* A request to the gateway; what it has answered: */
extern struct raw_reply gateway_peer_reply;
void gateway_peer_exchange(const char *request);
/* The reply's member of that name: a string's value, or "" if it is no string or absent. */
const char *gateway_peer_member(const char *name);
void gateway_peer_must_be(int status);

#endif
