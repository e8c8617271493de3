/* Waits for a condition with a limit.
 */
#ifndef TESTS_UNTIL_H
#define TESTS_UNTIL_H

#include <time.h>

#define UNTIL_LIMIT_MS 30000

/* Looks at the condition each millisecond; fails the test if it isn't true in time. */
#define assert_until(condition)                                               \
    do {                                                                      \
        int looks = 0;                                                        \
        while (!(condition)) {                                                \
            if (++looks > UNTIL_LIMIT_MS)                                     \
                fail_msg("not within %d ms: %s", UNTIL_LIMIT_MS, #condition); \
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);          \
        }                                                                     \
    } while (0)

#endif
