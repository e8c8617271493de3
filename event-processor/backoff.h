/* How long to wait after a failed attempt. Thread-safe.
 */
#ifndef TIDINGS_BACKOFF_H
#define TIDINGS_BACKOFF_H

#include "event-processor/handler.h"

/* The longest delay after that attempt (the first is 1): backoff, doubled with each attempt, at
 * most backoff_max. Pure. */
int64_t backoff_limit_ms(const struct retry_policy *policy, uint32_t attempt);
/* A random delay from 0 to that ("full jitter"), so that events which failed together do not come
 * back together. */
int64_t backoff_ms(const struct retry_policy *policy, uint32_t attempt);

#endif
