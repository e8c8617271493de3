/* The grpc core library as a whole: initialised while anyone uses it, its messages in our log.
 * Thread-safe.
 */
#ifndef TIDINGS_RPC_CORE_H
#define TIDINGS_RPC_CORE_H

/* Each server and each channel acquires core, and releases it when all it had of core is
 * destroyed. */
void rpc_core_acquire(void);
void rpc_core_release(void);

#endif
