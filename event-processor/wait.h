/* Waiting for a condition with a limit, on the monotonic clock. Thread-safe as pthread's own
 * functions are.
 */
#ifndef TIDINGS_WAIT_H
#define TIDINGS_WAIT_H

#include "common/err.h"

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* A moment on the monotonic clock. */
struct timespec wait_until(int64_t ms_from_now);
/* Milliseconds from now until then; 0 when it is over. */
int64_t wait_left_ms(struct timespec until);

/* A mutex and a condition whose timed waits use the monotonic clock. */
struct wait {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
};
must_check enum err wait_init(struct wait *wait); /* ERR_MEMORY */
void wait_destroy(struct wait *wait);
void wait_lock(struct wait *wait);
void wait_unlock(struct wait *wait);
/* With the lock held: waits for a wake-up. The second one: false once `until` is over. As ever,
 * check the condition again. */
void wait_on(struct wait *wait);
_Bool wait_on_until(struct wait *wait, struct timespec until);
void wait_wake_all(struct wait *wait);

/* A flag that is set once, and pauses that end when it is. */
struct wait_flag {
    struct wait wait;
    _Atomic _Bool set; /* with the lock held */
};
must_check enum err wait_flag_init(struct wait_flag *flag); /* ERR_MEMORY */
void wait_flag_destroy(struct wait_flag *flag);
void wait_flag_set(struct wait_flag *flag);
_Bool wait_flag_is_set(struct wait_flag *flag);
void wait_flag_pause(struct wait_flag *flag, int64_t ms);

#endif
