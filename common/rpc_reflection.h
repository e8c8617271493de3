/* grpc.reflection.v1 and v1alpha: https://github.com/grpc/grpc/blob/master/doc/server-
 * reflection.md
 *
 * Answers from the descriptors that were embedded at build time (build/gen/descriptors.c), parsed
 * once. Immutable after rpc_reflection_new, hence thread-safe.
 */
#ifndef TIDINGS_RPC_REFLECTION_H
#define TIDINGS_RPC_REFLECTION_H

#include "common/rpc.h"

struct rpc_reflection;

extern const struct rpc_method rpc_reflection_methods[]; /* with a struct rpc_reflection as ctx */

/* list_services names the services of `methods`, of health and of reflection itself. */
must_check enum err rpc_reflection_new(const struct rpc_method *methods,
                                       struct rpc_reflection **ret);
/* When no call of its methods is left. */
void rpc_reflection_free(struct rpc_reflection *reflection);

#endif
