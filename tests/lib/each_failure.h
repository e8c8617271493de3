/* Makes each allocation of a piece of work fail in turn.
 */
#ifndef TESTS_EACH_FAILURE_H
#define TESTS_EACH_FAILURE_H

#include "common/mem.h"

#include <stdbool.h>

/*     for (struct each_failure f = each_failure_begin(); each_failure_next(&f);) {
 *         enum err e = ...;                     the work, in this thread, cleaned up behind itself
 *         bool failed = each_failure_end(&f);   whether an allocation failed in this round
 *         assert_int_equal(e, failed ? ERR_MEMORY : ERR_NONE);
 *     }
 * The last round is the one in which nothing fails. */
struct each_failure {
    int round;
    bool failed;
};
static inline struct each_failure each_failure_begin(void)
{
    return (struct each_failure){-1, true};
}
static inline bool each_failure_next(struct each_failure *f)
{
    if (!f->failed)
        return false;
    mem_fail_after(++f->round);
    return true;
}
static inline bool each_failure_end(struct each_failure *f)
{
    f->failed = mem_fail_after(-1) < 0;
    return f->failed;
}

#endif
