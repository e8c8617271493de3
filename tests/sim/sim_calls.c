/* What the product calls of pthread, its clocks and its random numbers (bound by `--wrap`). */
#include "tests/sim/sim_fibers.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>

static const int64_t BEGIN_NS = 1767323045000000000; /* 2026-01-02T03:04:05Z */

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*function)(void *),
                          void *arg);
int __wrap_pthread_join(pthread_t thread, void **ret);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int __wrap_pthread_cond_destroy(pthread_cond_t *cond);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_rwlock_init(pthread_rwlock_t *lock, const pthread_rwlockattr_t *attr);
int __wrap_pthread_rwlock_destroy(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
ssize_t __wrap_getrandom(void *to, size_t count, unsigned flags);
int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __real_close(int fd);
int __wrap_close(int fd);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, void *address, long operation, long value, long more, long still,
                    long last);

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*function)(void *),
                          void *arg)
{
    (void)attr;
    *ret = (pthread_t)fiber_make(sim_process(), function, arg);
    fiber_may_switch();
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret)
{
    struct fiber *f = (struct fiber *)thread;
    while (!fiber_is_done(f))
        fiber_block(f, SIM_NEVER);
    if (ret)
        *ret = NULL;
    return 0;
}

/* A mutex in use holds its owner, in the memory of the real one. */
static struct fiber **owner_of(pthread_mutex_t *mutex)
{
    return (struct fiber **)(void *)mutex;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
    (void)attr;
    memset(mutex, 0, sizeof(pthread_mutex_t));
    return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    if (*owner_of(mutex))
        sim_fail("a locked mutex is destroyed");
    return 0;
}

static void lock_mutex(pthread_mutex_t *mutex)
{
    if (fiber_running() && *owner_of(mutex) == fiber_running())
        sim_fail("a fiber locks a mutex twice");
    while (*owner_of(mutex))
        fiber_block(mutex, SIM_NEVER);
    *owner_of(mutex) = fiber_running();
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    fiber_may_switch();
    lock_mutex(mutex);
    return 0;
}

static void unlock_mutex(pthread_mutex_t *mutex)
{
    if (*owner_of(mutex) != fiber_running())
        sim_fail("a fiber unlocks a mutex that it doesn't hold");
    *owner_of(mutex) = NULL;
    fiber_wake_all(mutex);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    unlock_mutex(mutex);
    fiber_may_switch();
    return 0;
}

int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
    (void)attr;
    memset(cond, 0, sizeof(pthread_cond_t));
    return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *cond)
{
    (void)cond;
    return 0;
}

static bool wait_on_cond(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t wake_ns)
{
    unlock_mutex(mutex);
    bool woken = fiber_block(cond, wake_ns);
    lock_mutex(mutex);
    return woken;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    wait_on_cond(cond, mutex, SIM_NEVER);
    return 0;
}

/* All of the product's conditions use the monotonic clock. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    int64_t wake_ns = until->tv_sec * INT64_C(1000000000) + until->tv_nsec;
    return wait_on_cond(cond, mutex, wake_ns) ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
    fiber_wake_all(cond);
    return 0;
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    fiber_wake_all(cond); /* waking more than one is allowed */
    return 0;
}

/* How many read it; -1: one writes. */
static long *readers_of(pthread_rwlock_t *lock)
{
    return (long *)(void *)lock;
}

int __wrap_pthread_rwlock_init(pthread_rwlock_t *lock, const pthread_rwlockattr_t *attr)
{
    (void)attr;
    memset(lock, 0, sizeof(pthread_rwlock_t));
    return 0;
}

int __wrap_pthread_rwlock_destroy(pthread_rwlock_t *lock)
{
    if (*readers_of(lock) != 0)
        sim_fail("a locked rwlock is destroyed");
    return 0;
}

int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    fiber_may_switch();
    while (*readers_of(lock) < 0)
        fiber_block(lock, SIM_NEVER);
    ++*readers_of(lock);
    return 0;
}

int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    fiber_may_switch();
    while (*readers_of(lock) != 0)
        fiber_block(lock, SIM_NEVER);
    *readers_of(lock) = -1;
    return 0;
}

int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    long *readers = readers_of(lock);
    *readers = *readers < 0 ? 0 : *readers - 1;
    fiber_wake_all(lock);
    fiber_may_switch();
    return 0;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
    int64_t ns = id == CLOCK_REALTIME ? BEGIN_NS + sim_now_ns() : sim_now_ns();
    ret->tv_sec = ns / 1000000000;
    ret->tv_nsec = ns % 1000000000;
    return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)left;
    fiber_block(NULL, sim_now_ns() + time->tv_sec * INT64_C(1000000000) + time->tv_nsec);
    return 0;
}

ssize_t __wrap_getrandom(void *to, size_t count, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < count; i++)
        ((uint8_t *)to)[i] = (uint8_t)sim_random(256);
    return (ssize_t)count;
}

/* ---- files: the real ones ---- */

enum { FILES_MAX = 4096 };
static int lockers[FILES_MAX]; /* of each descriptor that holds a lock: the process + 1 */

int __wrap_flock(int fd, int operation)
{
    int result = __real_flock(fd, operation);
    if (result == 0 && fd < FILES_MAX)
        lockers[fd] = operation & LOCK_UN ? 0 : sim_process() + 1;
    return result;
}

int __wrap_close(int fd)
{
    if (fd >= 0 && fd < FILES_MAX)
        lockers[fd] = 0;
    return __real_close(fd);
}

void fiber_unlock_files(int process)
{
    for (int fd = 0; fd < FILES_MAX; fd++)
        if (lockers[fd] == process + 1)
            (void)__wrap_flock(fd, LOCK_UN);
}

/* Of system calls, futexes are simulated: those of bus_publish_wait, without a time limit. */
long __wrap_syscall(long number, void *address, long operation, long value, long more, long still,
                    long last)
{
    if (number != SYS_futex)
        return __real_syscall(number, address, operation, value, more, still, last);
    if (operation == FUTEX_WAKE_PRIVATE)
        fiber_wake_all(address);
    else if (*(volatile uint32_t *)address == (uint32_t)value)
        fiber_block(address, SIM_NEVER);
    return 0;
}
