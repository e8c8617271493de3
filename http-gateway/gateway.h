/* What the gateway's handlers work with. Made by main.c before the first request and the same
 * until the last, so handlers on any thread only read it.
 */
#ifndef TIDINGS_GATEWAY_H
#define TIDINGS_GATEWAY_H

#include "common/http.h"
#include "common/rpc.h"
#include "http-gateway/settings.h"

#include <stdatomic.h>

struct gateway {
    struct gateway_settings settings;
    struct metrics *metrics;
    struct bus *bus;
    struct bus_log *events;
    struct rpc_channel *processor;
    struct metric *outcomes[4]; /* publishes, by enum bus_outcome */
    struct metric *publish_duration;
    struct metric *duplicates;
    struct metric *conflicts[2]; /* 0: by an event's own id, 1: by an Idempotency-Key */
    uint32_t followers_max;      /* requests that may wait for events: follow.h */
    _Atomic uint32_t followers;
    struct metric *followers_refused;
    _Atomic bool draining;
};

/* The table of routes (routes.c), for http_options. The handlers' ctx is a struct gateway. */
extern const struct http_route gateway_routes[];

/* Registers what the gateway measures besides HTTP; needs metrics and bus. */
void gateway_measure(struct gateway *g);

#endif
