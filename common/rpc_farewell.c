#include "common/rpc_farewell.h"

#include "common/rpc_gather.h"

#include <time.h>

/* By port: one bit each, and milliseconds, 0 being no limit. */
static _Atomic uint32_t leaving[65536 / 32];
static _Atomic uint32_t ages_ms[65536];

/* RFC 9113 section 6.8: GOAWAY, last stream 2^31 - 1, NO_ERROR. Core's own may follow with the
 * same or a lower one. */
static const struct rpc_frame goaway = {
    {0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}};

static void tell(struct rpc_connection *c, int fd, void *port)
{
    if (c->port == *(const uint16_t *)port)
        rpc_gather_insert(c, fd, &goaway, 0);
}

void rpc_farewell_age(uint16_t port, uint32_t age_ms)
{
    ages_ms[port] = age_ms;
}

/* A tenth less or more, so that connections made together do not leave together. */
static int64_t spread(uint32_t age_ms)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return age_ms - age_ms / 10 + now.tv_nsec % (age_ms / 5 + 1);
}

bool rpc_farewell_welcome(int fd)
{
    struct rpc_connection *c = rpc_connection_find(fd);
    uint16_t port = c ? c->port : rpc_connection_port(fd);
    if (rpc_farewell_said(port))
        return false;
    if (c && ages_ms[port]) {
        pthread_mutex_lock(&c->lock);
        if (!c->insert)
            rpc_gather_insert(c, fd, &goaway, rpc_connection_now_ms() + spread(ages_ms[port]));
        pthread_mutex_unlock(&c->lock);
    }
    return true;
}

void rpc_farewell_begin(uint16_t port, int64_t timeout_ms)
{
    atomic_fetch_or(&leaving[port / 32], 1u << port % 32);
    rpc_connection_each(tell, &port);
    rpc_connection_wait_none(port, timeout_ms);
}

void rpc_farewell_end(uint16_t port)
{
    atomic_fetch_and(&leaving[port / 32], ~(1u << port % 32));
    ages_ms[port] = 0;
}

bool rpc_farewell_said(uint16_t port)
{
    return port != 0 && (leaving[port / 32] & 1u << port % 32) != 0;
}
