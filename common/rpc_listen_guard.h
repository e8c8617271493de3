/* The guard of core's listeners: connections beyond what the process has descriptors for are
 * closed at once, and running out of descriptors does not end a listener (as it does in core 1.51
 * for ever, CVE-2023-4785). It stands before accept4 for the whole process.
 */
#ifndef TIDINGS_RPC_LISTEN_GUARD_H
#define TIDINGS_RPC_LISTEN_GUARD_H

/* Lays by the spare descriptor; to be called before listening. Thread-safe. */
void rpc_listen_guard_prepare(void);

#endif
