#include "event-processor/backoff.h"

#include <sys/random.h>

int64_t backoff_limit_ms(const struct retry_policy *policy, uint32_t attempt)
{
    int64_t limit = policy->backoff_ms;
    for (uint32_t i = 1; i < attempt && limit < policy->backoff_max_ms; i++)
        limit = limit > INT64_MAX / 2 ? INT64_MAX : limit * 2;
    return limit < policy->backoff_max_ms ? limit : policy->backoff_max_ms;
}

int64_t backoff_ms(const struct retry_policy *policy, uint32_t attempt)
{
    uint64_t limit = (uint64_t)backoff_limit_ms(policy, attempt);
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        return (int64_t)limit; /* that is late enough */
    return (int64_t)(number % (limit + 1));
}
