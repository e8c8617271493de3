#include "common/rpc_farewell.h"

#include "common/rpc_gather.h"

/* One bit a port. */
static _Atomic uint32_t leaving[65536 / 32];

/* RFC 9113 section 6.8: GOAWAY, last stream 2^31 - 1, NO_ERROR. Core's own may follow with the
 * same or a lower one. */
static const struct rpc_frame goaway = {
    {0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}};

static void tell(struct rpc_connection *c, int fd, void *port)
{
    if (c->port == *(const uint16_t *)port)
        rpc_gather_insert(c, fd, &goaway);
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
}

bool rpc_farewell_said(uint16_t port)
{
    return port != 0 && (leaving[port / 32] & 1u << port % 32) != 0;
}
