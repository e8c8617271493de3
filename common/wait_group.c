#include "common/wait_group.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLEEPS (UINT32_C(1) << 31)

void wait_group_begin(struct wait_group *group)
{
    atomic_fetch_add(&group->state, 1);
}

/* From the subtraction on the group may be gone, unless its owner sleeps for others still; waking
 * an address that nobody sleeps on is harmless. */
void wait_group_end(struct wait_group *group)
{
    _Atomic uint32_t *state = &group->state;

    if (atomic_fetch_sub(state, 1) == (SLEEPS | 1))
        syscall(SYS_futex, state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Asleep, it is only woken by the last. */
void wait_group_wait(struct wait_group *group)
{
    uint32_t seen = atomic_load(&group->state);

    while ((seen & ~SLEEPS) > 0) {
        if (!(seen & SLEEPS) &&
            !atomic_compare_exchange_strong(&group->state, &seen, seen | SLEEPS))
            continue;
        syscall(SYS_futex, &group->state, FUTEX_WAIT_PRIVATE, seen | SLEEPS, NULL, NULL, 0);
        seen = atomic_load(&group->state);
    }
    atomic_store(&group->state, 0);
}
