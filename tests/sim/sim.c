/* A switch is a longjmp onto another stack, which the checked one takes for a mistake. */
#undef _FORTIFY_SOURCE

#include "tests/sim/disk.h"
#include "tests/sim/sim_fibers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    FIBERS_MAX = 4096,
    PROCESSES_MAX = 512,
    STACK_BYTES = 512 * 1024, /* touched pages only */
    SWITCH_PERCENT = 30,      /* where a switch is possible */
    STEP_NS_MAX = 4000,       /* what a turn takes */
};

static const uint64_t SWITCHES_MAX = 40000000; /* of a history: more is a busy loop */

enum state { RUNNABLE, BLOCKED, DONE };

enum { NOWHERE = -1 };

struct fiber {
    /* What all fibers are searched for comes first, in one cache line. */
    enum state state;
    int place;     /* among the runnable; NOWHERE: it isn't there */
    int due_place; /* among those that wait for a time, or NOWHERE */
    int number;    /* among all */
    int process;
    bool begun;
    bool woken;            /* before the limit */
    const void *waits_for; /* a lock, a condition or a fiber; NULL: only time */
    int64_t wake_ns;       /* at the latest; SIM_NEVER: no limit */
    void *(*function)(void *);
    void *arg;
    jmp_buf at;         /* swapcontext would ask the kernel for signals each time */
    ucontext_t context; /* only to begin */
};

/* Those that may run again. */
static struct fiber *fibers[FIBERS_MAX];
static int fiber_count;
/* Those that can run: of no frozen process. */
static struct fiber *runnable[FIBERS_MAX];
static int runnable_count;
/* Those that wait for a time: a heap, whoever is due first at its top. */
static struct fiber *due[FIBERS_MAX];
static int due_count;
/* How many wait for objects of each hash, at most: most locks are waited for by nobody. */
enum { HASHES = 1024 };
static int waiters[HASHES];
static void *free_stacks[FIBERS_MAX];
static int free_stack_count;
static struct fiber *first_fiber, *running;
static bool frozen[PROCESSES_MAX], killed[PROCESSES_MAX];
static int64_t now_ns;
static uint64_t random_state, switches;
static ucontext_t outside;

/* ---- random numbers: splitmix64 ---- */

static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim_random(uint64_t below)
{
    return below ? next_random() % below : 0;
}

uint64_t sim_between(uint64_t low, uint64_t high)
{
    uint64_t span = high - low + 1;
    for (uint64_t i = sim_random(4); i > 0; i--)
        span = span / 4 ? span / 4 : 1;
    return low + sim_random(span);
}

/* ---- failing ---- */

void sim_print_fibers(void)
{
    for (int i = 0; i < fiber_count; i++) {
        const struct fiber *f = fibers[i];
        if (f->state == DONE || killed[f->process])
            continue;
        fprintf(stderr, "fiber %d of process %d: %s%s%s waits for %p\n", i, f->process,
                f == running ? "running " : "", f->state == BLOCKED ? "blocked" : "runnable",
                frozen[f->process] ? " frozen" : "", f->waits_for);
    }
}

void sim_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "at %lld ms: ", (long long)(now_ns / 1000000));
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    fflush(NULL);
    disk_remove(getpid());
    _exit(1);
}

/* ---- who can run ---- */

static void put_due(struct fiber *f, int place)
{
    due[place] = f;
    f->due_place = place;
}

static void rise(struct fiber *f, int place)
{
    for (; place > 0 && f->wake_ns < due[(place - 1) / 2]->wake_ns; place = (place - 1) / 2)
        put_due(due[(place - 1) / 2], place);
    put_due(f, place);
}

static void sink(struct fiber *f, int place)
{
    for (int child; (child = 2 * place + 1) < due_count; place = child) {
        if (child + 1 < due_count && due[child + 1]->wake_ns < due[child]->wake_ns)
            child++;
        if (due[child]->wake_ns >= f->wake_ns)
            break;
        put_due(due[child], place);
    }
    put_due(f, place);
}

static void await_time(struct fiber *f)
{
    if (f->wake_ns != SIM_NEVER)
        rise(f, due_count++);
}

static void forget_time(struct fiber *f)
{
    int place = f->due_place;
    if (place == NOWHERE)
        return;
    f->due_place = NOWHERE;
    struct fiber *last = due[--due_count];
    if (last == f)
        return;
    if (place > 0 && last->wake_ns < due[(place - 1) / 2]->wake_ns)
        rise(last, place);
    else
        sink(last, place);
}

static void enlist(struct fiber *f)
{
    f->state = RUNNABLE;
    forget_time(f);
    if (f->place != NOWHERE || frozen[f->process] || killed[f->process])
        return;
    f->place = runnable_count;
    runnable[runnable_count++] = f;
}

static void withdraw(struct fiber *f)
{
    if (f->place == NOWHERE)
        return;
    runnable[f->place] = runnable[--runnable_count];
    runnable[f->place]->place = f->place;
    f->place = NOWHERE;
}

static void wake_due(void)
{
    while (due_count > 0 && due[0]->wake_ns <= now_ns)
        enlist(due[0]);
}

static void keep(struct fiber *f, int at)
{
    fibers[at] = f;
    f->number = at;
}

/* After a process was frozen, killed or let go on. */
static void enlist_anew(void)
{
    int live = 0;
    for (int i = 0; i < fiber_count; i++) {
        struct fiber *f = fibers[i];
        withdraw(f);
        if (killed[f->process])
            forget_time(f);
        else
            keep(f, live++);
        if (f->state == RUNNABLE)
            enlist(f);
    }
    fiber_count = live;
}

/* ---- turns ---- */

static struct fiber *choose(void)
{
    now_ns += (int64_t)sim_random(STEP_NS_MAX);
    wake_due();
    while (runnable_count == 0) {
        if (due_count == 0) {
            sim_print_fibers();
            sim_fail("deadlock: nobody can run, and nobody waits for a time");
        }
        now_ns = due[0]->wake_ns;
        wake_due();
    }
    return runnable[sim_random((uint64_t)runnable_count)];
}

static void give_way(void)
{
    struct fiber *from = running;
    if (++switches > SWITCHES_MAX) {
        sim_print_fibers();
        sim_fail("too many switches: a busy loop");
    }
    running = choose();
    if (running == from || _setjmp(from->at) != 0)
        return;
    if (running->begun)
        _longjmp(running->at, 1);
    running->begun = true;
    setcontext(&running->context);
}

void fiber_may_switch(void)
{
    if (running && sim_chance(SWITCH_PERCENT))
        give_way();
}

static int *waiters_of(const void *object)
{
    return &waiters[((uintptr_t)object >> 3) % HASHES];
}

/* False: the time was over first. */
bool fiber_block(const void *object, int64_t wake_ns)
{
    ++*waiters_of(object);
    running->state = BLOCKED;
    running->waits_for = object;
    running->wake_ns = wake_ns;
    running->woken = false;
    withdraw(running);
    await_time(running);
    give_way();
    running->waits_for = NULL;
    --*waiters_of(object);
    return running->woken;
}

void fiber_wake_all(const void *object)
{
    for (int i = 0; *waiters_of(object) > 0 && i < fiber_count; i++) {
        struct fiber *f = fibers[i];
        if (f->state != BLOCKED || f->waits_for != object)
            continue;
        enlist(f);
        f->woken = true;
    }
}

static void begin_fiber(void)
{
    running->function(running->arg);
    running->state = DONE;
    withdraw(running);
    fiber_wake_all(running);
    keep(fibers[--fiber_count], running->number);
    free_stacks[free_stack_count++] = running->context.uc_stack.ss_sp; /* left at once */
    if (running == first_fiber)
        setcontext(&outside);
    give_way();
    abort(); /* it is never chosen again */
}

static void *make_stack(void)
{
    if (free_stack_count > 0)
        return free_stacks[--free_stack_count];
    void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
        sim_fail("no memory for a stack");
    return stack;
}

struct fiber *fiber_make(int process, void *(*function)(void *), void *arg)
{
    struct fiber *f = calloc(1, sizeof *f);
    if (!f || fiber_count == FIBERS_MAX)
        sim_fail("too many fibers");
    void *stack = make_stack();
    f->process = process;
    f->function = function;
    f->arg = arg;
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = stack;
    f->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&f->context, begin_fiber, 0);
    f->place = f->due_place = NOWHERE;
    enlist(f);
    keep(f, fiber_count++);
    return f;
}

/* ---- for the simulation ---- */

struct plain {
    void (*function)(void *);
    void *arg;
};

static void *run_plain(void *arg)
{
    struct plain plain = *(struct plain *)arg;
    free(arg);
    plain.function(plain.arg);
    return NULL;
}

void sim_spawn(int process, void (*function)(void *), void *arg)
{
    struct plain *plain = malloc(sizeof *plain);
    if (!plain || process >= PROCESSES_MAX)
        sim_fail("cannot start a fiber");
    *plain = (struct plain){function, arg};
    fiber_make(process, run_plain, plain);
}

void sim_run(uint64_t seed, void (*main_fiber)(void *), void *arg)
{
    random_state = seed;
    sim_spawn(SIM_PROCESS_CLIENT, main_fiber, arg);
    running = first_fiber = fibers[0];
    first_fiber->begun = true;
    swapcontext(&outside, &running->context);
    running = NULL;
}

int64_t sim_now_ns(void)
{
    return now_ns;
}

void sim_sleep_us(int64_t us)
{
    fiber_block(NULL, now_ns + us * 1000);
}

void sim_wait_for(const void *object, int64_t until_us)
{
    fiber_block(object, until_us < SIM_NEVER / 1000 ? until_us * 1000 : SIM_NEVER);
}

void sim_wake(const void *object)
{
    fiber_wake_all(object);
}

int sim_process(void)
{
    return running->process;
}

void sim_freeze(int process, bool freeze)
{
    frozen[process] = freeze;
    enlist_anew();
}

void sim_kill(int process)
{
    killed[process] = true;
    enlist_anew();
    fiber_unlock_files(process);
}

bool sim_is_killed(int process)
{
    return killed[process];
}

uint64_t sim_switches(void)
{
    return switches;
}

struct fiber *fiber_running(void)
{
    return running;
}

bool fiber_is_done(const struct fiber *f)
{
    return f->state == DONE;
}
