/* grpc.health.v1.Health: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 *
 * Known services are "" (the whole server) and those of the server's methods, which begin as
 * NOT_SERVING, and every one that was ever set. Thread-safe.
 */
#ifndef TIDINGS_RPC_HEALTH_H
#define TIDINGS_RPC_HEALTH_H

#include "common/rpc.h"

struct rpc_health;

extern const struct rpc_method rpc_health_methods[]; /* with a struct rpc_health as their ctx */

must_check enum err rpc_health_new(const struct rpc_method *methods, struct rpc_health **ret);
/* When no call of its methods is left. */
void rpc_health_free(struct rpc_health *health);
void rpc_health_change(struct rpc_health *health, const char *service, bool serving);
/* All are NOT_SERVING from now on, for ever. */
void rpc_health_stop(struct rpc_health *health);

#endif
