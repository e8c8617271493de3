/* A world in which threads are deterministic: fibers that take turns, on a virtual clock, as one
 * seed decides. The same seed gives the same history, to the last switch.
 *
 * The code under simulation is the product's own. What it calls of pthread, and its clocks and
 * random numbers, is bound to this module when the simulation is linked (`-Wl,--wrap`): a thread is
 * a fiber, a fiber may be switched before it takes a lock and after it has let it go, and time
 * passes when nobody can run. Everything is on one real thread, so code of the simulation itself
 * needs no locks.
 *
 * Fibers belong to processes. A process can be frozen (as by SIGSTOP) or killed (as by SIGKILL: its
 * fibers never run again, and its memory stays as it was).
 *
 * One world at a time, made once in the life of a (real) process.
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

enum { SIM_PROCESS_CLIENT = 0 }; /* never frozen or killed; others have numbers from 1 on */

/* Runs `main_fiber` in a new world until it returns. */
void sim_run(uint64_t seed, void (*main_fiber)(void *), void *arg);

/* The rest is for fibers. */

uint64_t sim_random(uint64_t below); /* 0 to below - 1 */
static inline bool sim_chance(unsigned percent)
{
    return sim_random(100) < percent;
}
/* A number from `low` to `high`; small ones are as likely as large ones. */
uint64_t sim_between(uint64_t low, uint64_t high);

int64_t sim_now_ns(void);
static inline int64_t sim_now_ms(void)
{
    return sim_now_ns() / 1000000;
}
void sim_sleep_us(int64_t us);
/* Sleeps until that time (INT64_MAX: for ever), or until somebody wakes those who wait for that
 * object. */
void sim_wait_for(const void *object, int64_t until_us);
void sim_wake(const void *object);

/* Starts a fiber of that process; threads that it creates belong to the same. */
void sim_spawn(int process, void (*fiber)(void *), void *arg);
int sim_process(void); /* the running fiber's */
void sim_freeze(int process, bool frozen);
void sim_kill(int process); /* not the running fiber's own */
bool sim_is_killed(int process);

uint64_t sim_switches(void);
/* Prints what every fiber waits for. */
void sim_print_fibers(void);
/* Ends the (real) process as a failed history. */
_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
