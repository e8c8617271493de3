/* Fibers, for sim_calls.c.
 */
#ifndef TESTS_SIM_FIBERS_H
#define TESTS_SIM_FIBERS_H

#include "tests/sim/sim.h"

#define SIM_NEVER INT64_MAX

struct fiber;

struct fiber *fiber_make(int process, void *(*function)(void *), void *arg);
struct fiber *fiber_running(void);
bool fiber_is_done(const struct fiber *fiber);
/* A place where another one may run. */
void fiber_may_switch(void);
/* Waits for that object to be woken, at most until then. False: the time was over first. */
bool fiber_block(const void *object, int64_t wake_ns);
void fiber_wake_all(const void *object);
/* What a process has locked with flock is free when it is killed. */
void fiber_unlock_files(int process);

#endif
