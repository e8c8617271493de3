#include "event-processor/wait.h"

#include <errno.h>
#include <stdatomic.h>

struct timespec wait_until(int64_t ms_from_now)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (ms_from_now <= 0)
        return until;
    until.tv_sec += ms_from_now / 1000;
    until.tv_nsec += ms_from_now % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

int64_t wait_left_ms(struct timespec until)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = (until.tv_sec - now.tv_sec) * 1000000000 + (until.tv_nsec - now.tv_nsec);
    return ns > 0 ? (ns + 999999) / 1000000 : 0;
}

static enum err init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return ERR_MEMORY;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return failed ? ERR_MEMORY : ERR_NONE;
}

enum err wait_init(struct wait *wait)
{
    if (pthread_mutex_init(&wait->mutex, NULL) != 0)
        return ERR_MEMORY;
    enum err e = init_condition(&wait->condition);
    if (e)
        pthread_mutex_destroy(&wait->mutex);
    return e;
}

void wait_destroy(struct wait *wait)
{
    pthread_cond_destroy(&wait->condition);
    pthread_mutex_destroy(&wait->mutex);
}

void wait_lock(struct wait *wait)
{
    pthread_mutex_lock(&wait->mutex);
}

void wait_unlock(struct wait *wait)
{
    pthread_mutex_unlock(&wait->mutex);
}

void wait_on(struct wait *wait)
{
    pthread_cond_wait(&wait->condition, &wait->mutex);
}

_Bool wait_on_until(struct wait *wait, struct timespec until)
{
    return pthread_cond_timedwait(&wait->condition, &wait->mutex, &until) != ETIMEDOUT;
}

void wait_wake_all(struct wait *wait)
{
    pthread_cond_broadcast(&wait->condition);
}

enum err wait_flag_init(struct wait_flag *flag)
{
    atomic_store(&flag->set, 0);
    return wait_init(&flag->wait);
}

void wait_flag_destroy(struct wait_flag *flag)
{
    wait_destroy(&flag->wait);
}

void wait_flag_set(struct wait_flag *flag)
{
    wait_lock(&flag->wait);
    atomic_store(&flag->set, 1);
    wait_wake_all(&flag->wait);
    wait_unlock(&flag->wait);
}

_Bool wait_flag_is_set(struct wait_flag *flag)
{
    return atomic_load(&flag->set);
}

void wait_flag_pause(struct wait_flag *flag, int64_t ms)
{
    struct timespec until = wait_until(ms);
    wait_lock(&flag->wait);
    while (!atomic_load(&flag->set) && wait_on_until(&flag->wait, until))
        ;
    wait_unlock(&flag->wait);
}
