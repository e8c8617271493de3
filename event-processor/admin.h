/* The admin port: /health, /ready and /metrics.
 */
#ifndef TIDINGS_ADMIN_H
#define TIDINGS_ADMIN_H

#include "common/http.h"
#include "event-processor/follower.h"

#include <stdatomic.h>

/* What the port tells of; must outlive the server. */
struct admin {
    struct bus *bus;
    struct follower *follower;
    struct status_table *table;
    struct metrics *metrics;
    _Atomic bool draining;
};

/* Registers the table's metrics and listens. Errors: those of http_start. */
must_check enum err admin_start(struct admin *admin, const char *listen, struct http_server **ret,
                                struct err_detail *detail);
/* Whether the processor may be asked: the bus is ready, the table has caught up and goes on. If
 * not, the detail says what is missing. */
bool admin_ready(struct admin *admin, struct err_detail *detail);

#endif
