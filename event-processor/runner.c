#include "event-processor/runner.h"

#include "common/log.h"
#include "common/mem.h"
#include "event-processor/wait.h"

enum {
    NS_PER_S = 1000000000,
    RESERVE_NS =
        200000000, /* what waits here shall not do so for longer, if another could run it */
    MEAN_OF = 16,  /* runs, about */
};

struct runner {
    struct outcomes *outcomes;
    const char *ns;
    uint32_t concurrency;
    struct metric *running_gauge;

    struct wait wait; /* guards the following; woken when the thread may have something to do */
    struct held *first, *last;
    uint32_t running;
    bool alone;       /* what runs must do so alone */
    int64_t mean_ns;  /* that runs of late have taken; 0: none has ended */
    int64_t ended_ns; /* when the last one ended */
    bool stopping;

    pthread_t thread;
    bool started;
};

/* ---- runs ---- */

static struct held *held_of(struct run *run)
{
    return (struct held *)((char *)run - offsetof(struct held, run));
}

static int64_t now_ns(void)
{
    struct timespec now = wait_until(0);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* With the lock held. */
static void note_duration(struct runner *runner, int64_t began_ns)
{
    runner->ended_ns = now_ns();
    int64_t ns = runner->ended_ns - began_ns + 1;
    runner->mean_ns += runner->mean_ns ? (ns - runner->mean_ns) / MEAN_OF : ns;
    if (runner->mean_ns < 1)
        runner->mean_ns = 1;
}

/* began_ns 0: it did not run after all. */
static void end_run(struct runner *runner, int64_t began_ns)
{
    wait_lock(&runner->wait);
    if (began_ns)
        note_duration(runner, began_ns);
    bool was_full = runner->running-- == runner->concurrency;
    bool is_idle = runner->running == 0;
    if (is_idle)
        runner->alone = false;
    if (runner->first && (was_full || is_idle))
        wait_wake_all(&runner->wait);
    metric_set(runner->running_gauge, runner->running);
    wait_unlock(&runner->wait);
}

void run_done(struct run *run, enum run_outcome outcome)
{
    struct held *held = held_of(run);
    struct runner *runner = held->runner;
    int64_t began_ns = held->began_ns;
    if (outcome == RUN_PROCESSED)
        outcomes_processed(runner->outcomes, held);
    else
        outcomes_leave(runner->outcomes, held);
    end_run(runner, began_ns); /* the delivery may be gone by now */
}

void run_failed(struct run *run, const struct run_failure *failure)
{
    struct held *held = held_of(run);
    struct runner *runner = held->runner;
    int64_t began_ns = held->began_ns;
    outcomes_failed(runner->outcomes, held, failure);
    end_run(runner, began_ns);
}

static void start_run(struct runner *runner, struct held *held)
{
    struct err_detail why;
    enum err e = ERR_NONE;
    bool run = outcomes_clear(runner->outcomes, held);
    if (run)
        e = event_of_record(held->record, runner->ns, &held->text, &held->run.event, &why);
    if (run && !e) {
        held->runner = runner;
        held->began_ns = now_ns();
        held->handler->kind->start(held->handler, &held->run);
        return;
    }
    if (run) { /* event_identity has said otherwise */
        log_error("cannot read an event", LOG_U64("position", held->run.position),
                  LOG_TEXT("reason", why.text));
        outcomes_leave(runner->outcomes, held);
    }
    end_run(runner, 0);
}

/* ---- the queue ---- */

/* With the lock held: whether the first that waits may start. */
static bool may_start(const struct runner *runner)
{
    if (!runner->first || runner->alone || runner->running == runner->concurrency)
        return false;
    return !runner->first->alone || runner->running == 0;
}

/* The next delivery whose handler may start; NULL: stopping. */
static struct held *take_next(struct runner *runner)
{
    wait_lock(&runner->wait);
    while (!runner->stopping && !may_start(runner))
        wait_on(&runner->wait);
    struct held *held = runner->stopping ? NULL : runner->first;
    if (held) {
        runner->first = held->next;
        runner->alone = held->alone;
        metric_set(runner->running_gauge, ++runner->running);
    }
    wait_unlock(&runner->wait);
    return held;
}

static void *run_runner(void *arg)
{
    struct runner *runner = arg;
    struct held *held;
    while ((held = take_next(runner)) != NULL)
        start_run(runner, held);
    return NULL;
}

static void return_all(struct runner *runner, struct held *list)
{
    while (list) {
        struct held *next = list->next;
        outcomes_return(runner->outcomes, list, 0);
        list = next;
    }
}

void runner_add(struct runner *runner, struct held *list)
{
    if (!list)
        return;
    struct held *last = list;
    while (last->next)
        last = last->next;
    wait_lock(&runner->wait);
    bool stopping = runner->stopping;
    if (!stopping) {
        if (runner->first)
            runner->last->next = list;
        else
            runner->first = list;
        runner->last = last;
        wait_wake_all(&runner->wait);
    }
    wait_unlock(&runner->wait);
    if (stopping)
        return_all(runner, list);
}

size_t runner_wants(struct runner *runner)
{
    wait_lock(&runner->wait);
    int64_t takes_ns = runner->mean_ns;
    int64_t since_ns = runner->running > 0 ? now_ns() - runner->ended_ns : 0;
    wait_unlock(&runner->wait);
    if (takes_ns <= 0)
        return runner->concurrency;
    if (since_ns > takes_ns) /* those in progress take longer than those before */
        takes_ns = since_ns;
    return runner->concurrency + (size_t)(runner->concurrency * (int64_t)RESERVE_NS / takes_ns);
}

/* ---- life ---- */

enum err runner_start(const struct runner_options *options, struct runner **ret)
{
    struct runner *runner = mem_zero(1, sizeof *runner);
    if (!runner)
        return ERR_MEMORY;
    if (wait_init(&runner->wait)) {
        mem_free(runner);
        return ERR_MEMORY;
    }
    runner->outcomes = options->outcomes;
    runner->ns = options->ns;
    runner->concurrency = options->concurrency;
    runner->running_gauge = metrics_gauge(options->metrics, "tidings_runs_in_progress", NULL,
                                          "Runs of handlers in progress");
    runner->started = pthread_create(&runner->thread, NULL, run_runner, runner) == 0;
    if (!runner->started) {
        runner_free(runner);
        return ERR_MEMORY;
    }
    *ret = runner;
    return ERR_NONE;
}

void runner_stop(struct runner *runner)
{
    wait_lock(&runner->wait);
    runner->stopping = true;
    wait_wake_all(&runner->wait);
    wait_unlock(&runner->wait);
    if (runner->started)
        pthread_join(runner->thread, NULL);
    runner->started = false;
    wait_lock(&runner->wait);
    struct held *rest = runner->first;
    runner->first = NULL;
    wait_unlock(&runner->wait);
    return_all(runner, rest);
}

void runner_free(struct runner *runner)
{
    if (!runner)
        return;
    wait_destroy(&runner->wait);
    mem_free(runner);
}
