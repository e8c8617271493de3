/* A gRPC server for tests of the rpc module, with methods that do what the tests ask for.
 *
 *     /test.Service/Echo     unary: answers the request
 *     /test.Service/Fail     unary: fails with the error whose number the request is
 *     /test.Service/Falter   unary: UNAVAILABLE as often as rpc_fixture_falter says, then as Echo
 *     /test.Service/Keep     unary: keeps the call; see kept_take
 *     /test.Service/Hold     server stream without on_closed: keeps the call, as Keep does
 *     /test.Service/Hasty    server stream: sends twice without waiting
 *     /test.Service/Count    server stream: as many messages "1", "2", ... as the request says
 *     /test.Service/Open     server stream: never ends; keeps no lock and no state
 *     /test.Service/Talk     bidi: echoes each message; ends with the client
 */
#ifndef TESTS_RPC_FIXTURE_H
#define TESTS_RPC_FIXTURE_H

#include "common/rpc.h"

#include <stdatomic.h>

#define RPC_WAIT_MS 10000

extern bool rpc_fixture_gather;       /* whether servers are started with gather_writes */
extern int64_t rpc_fixture_age_ms;    /* their max_connection_age_ms */
extern atomic_int rpc_fixture_falter; /* how often Falter will still fail, at all servers */

struct rpc_fixture {
    struct rpc_server *server;
    struct metrics *metrics;
    uint16_t port;
};

void rpc_fixture_start(struct rpc_fixture *f);
/* On this port; for a server that comes back. */
void rpc_fixture_start_on(struct rpc_fixture *f, uint16_t port);
void rpc_fixture_stop(struct rpc_fixture *f, int64_t grace_ms);
struct rpc_channel *rpc_fixture_channel(const struct rpc_fixture *f);
uint64_t rpc_fixture_count(const struct rpc_fixture *f, const char *method, const char *code);

/* For cmocka: a server in *state, for each test. */
int rpc_fixture_setup(void **state);
int rpc_fixture_teardown(void **state);

/* One unary call, with a channel of its own. */
must_check enum err rpc_fixture_call(const struct rpc_fixture *f, const char *path,
                                     struct view request, struct buf *reply,
                                     struct err_detail *detail);
bool rpc_fixture_echoes(const struct rpc_fixture *f, struct view message);
int rpc_fixture_connect(uint16_t port); /* a bare connection; -1: refused */

/* Waits for a call of Keep that nobody has taken yet. */
struct rpc_call *rpc_fixture_kept(void);
/* Waits until so many streams of Open or Count have got their request, and until so many streams
 * (Count, Open, Talk) have been closed, since the start. */
bool rpc_fixture_opened(unsigned count);
bool rpc_fixture_closed(unsigned count);
unsigned rpc_fixture_opened_count(void);
unsigned rpc_fixture_closed_count(void);
/* Waits until what `check` asks for is true. */
bool rpc_wait_until(bool (*check)(void *ctx), void *ctx);

#endif
