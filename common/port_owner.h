/* Why an address cannot be listened on, and who has it: for the message of a service that cannot
 * start. Thread-safe; may take some milliseconds (it walks /proc).
 */
#ifndef TIDINGS_PORT_OWNER_H
#define TIDINGS_PORT_OWNER_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Tries `listen` (host:port, [v6]:port) itself and fills the detail with what the system says and,
 * where it can be found out, by whom: "cannot listen on 0.0.0.0:9090: address already in use, by
 * nats-server (pid 123)". Returns ERR_UNAVAILABLE. */
enum err port_owner_explain(const char *listen, struct err_detail *detail);

/* "nats-server (pid 123)" for the process that listens on a TCP port, as far as we may look. */
bool port_owner_find(uint16_t port, char *ret, size_t size);

#endif
