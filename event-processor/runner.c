#include "event-processor/runner.h"

#include "common/log.h"
#include "common/mem.h"
#include "event-processor/wait.h"

enum { NS_PER_S = 1000000000 };

struct runner {
    struct outcomes *outcomes;
    const char *ns;
    struct metric *running_gauge, *time_outs, *put_offs;

    struct wait wait; /* guards the following; woken when the thread may have something to do, and
                       * when a cancellation is over */
    struct lanes lanes;
    bool stopping; /* no more handlers, but for what was claimed */
    bool ending;   /* nor for that, nor time limits */

    pthread_t thread;
    bool started;
};

static int64_t now_ns(void)
{
    struct timespec now = wait_until(0);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* ---- the end of a run ---- */

static struct held *held_of(struct run *run)
{
    return (struct held *)((char *)run - offsetof(struct held, run));
}

struct handler *run_handler(const struct run *run)
{
    const struct held *held = (const struct held *)((const char *)run - offsetof(struct held, run));
    return held->handler;
}

static size_t running(const struct runner *runner)
{
    return runner->lanes.all_running - runner->lanes.claiming;
}

static void tell_running(struct runner *runner)
{
    metric_set(runner->running_gauge, (uint32_t)running(runner));
}

/* With the lock held: what it takes up in its lane is free again. */
static void give_up_place(struct runner *runner, struct held *held)
{
    lanes_end(&runner->lanes, held, now_ns());
    tell_running(runner);
    if (lanes_may_take(&runner->lanes))
        wait_wake_all(&runner->wait);
}

/* A run that ends as its time limit comes is there until its cancellation is over. */
static void end_run(struct runner *runner, struct held *held)
{
    wait_lock(&runner->wait);
    while (held->place.cancelling)
        wait_on(&runner->wait);
    give_up_place(runner, held);
    wait_unlock(&runner->wait);
}

void run_done(struct run *run, enum run_outcome outcome)
{
    struct held *held = held_of(run);
    struct runner *runner = held->runner;
    end_run(runner, held);
    if (outcome == RUN_PROCESSED)
        outcomes_processed(runner->outcomes, held);
    else
        outcomes_leave(runner->outcomes, held);
}

void run_failed(struct run *run, const struct run_failure *failure)
{
    struct held *held = held_of(run);
    struct runner *runner = held->runner;
    end_run(runner, held);
    outcomes_failed(runner->outcomes, held, failure);
}

void runner_end_alone(struct runner *runner, const struct held *held)
{
    wait_lock(&runner->wait);
    lanes_end_alone(&runner->lanes, held);
    if (lanes_may_take(&runner->lanes))
        wait_wake_all(&runner->wait);
    wait_unlock(&runner->wait);
}

/* ---- time limits ---- */

static void fail_for_time(struct runner *runner, struct held *held)
{
    struct err_detail detail;
    char limit[CONFIG_DURATION_SIZE];
    config_duration_text(held->handler->retry->timeout_ms, limit);
    err_set(&detail, ERR_DEADLINE, "it took longer than %s", limit);
    metric_add(runner->time_outs, 1);
    outcomes_failed(runner->outcomes, held,
                    &(struct run_failure){.error = view_of(detail.text), .delay_ms = -1});
}

/* With the lock held, but not meanwhile. A run that isn't let go of will end itself. */
static void cancel_run(struct runner *runner, struct held *held)
{
    struct handler *handler = held->handler;
    lanes_forget_limit(&runner->lanes, held);
    held->place.cancelling = true;
    wait_unlock(&runner->wait);
    bool let_go = handler->kind->cancel && handler->kind->cancel(handler, &held->run);
    wait_lock(&runner->wait);
    held->place.cancelling = false;
    wait_wake_all(&runner->wait);
    if (!let_go)
        return;
    give_up_place(runner, held);
    wait_unlock(&runner->wait);
    fail_for_time(runner, held);
    wait_lock(&runner->wait);
}

/* ---- the start of a run ---- */

/* False: it is to be left. */
static bool read_event(const struct runner *runner, struct held *held)
{
    struct err_detail why;
    if (!event_of_record(held->record, runner->ns, &held->text, &held->run.event, &why))
        return true;
    /* event_identity has said otherwise */
    log_error("cannot read an event", LOG_U64("position", held->run.position),
              LOG_TEXT("reason", why.text));
    return false;
}

static void start_run(struct runner *runner, struct held *held)
{
    bool clear = outcomes_clear(runner->outcomes, held);
    bool begins = clear && read_event(runner, held);
    bool claims = !clear && held->decision == DECIDE_CLAIM;
    held->runner = runner;
    wait_lock(&runner->wait);
    if (begins)
        lanes_begin(&runner->lanes, held, now_ns());
    else if (claims)
        lanes_claim(&runner->lanes, held);
    else
        give_up_place(runner, held);
    tell_running(runner);
    wait_unlock(&runner->wait);
    if (begins)
        held->handler->kind->start(held->handler, &held->run);
    else if (clear)
        outcomes_leave(runner->outcomes, held);
    else if (claims)
        outcomes_claim(runner->outcomes, held);
    else
        outcomes_go_on(runner->outcomes, held);
}

/* ---- the thread ---- */

/* With the lock held, but not meanwhile. */
static void start_next(struct runner *runner, struct held *held)
{
    wait_unlock(&runner->wait);
    start_run(runner, held);
    wait_lock(&runner->wait);
}

static void wait_for_work(struct runner *runner, int64_t until_ns)
{
    if (until_ns == INT64_MAX)
        wait_on(&runner->wait);
    else
        (void)wait_on_until(&runner->wait, (struct timespec){.tv_sec = until_ns / NS_PER_S,
                                                             .tv_nsec = until_ns % NS_PER_S});
}

static void *run_runner(void *arg)
{
    struct runner *runner = arg;
    wait_lock(&runner->wait);
    while (!runner->ending) {
        struct held *late = NULL;
        int64_t limit_ns = lanes_next_limit(&runner->lanes, &late);
        struct held *next = NULL;
        if (late && limit_ns <= now_ns())
            cancel_run(runner, late);
        else if ((next = lanes_take(&runner->lanes)) != NULL)
            start_next(runner, next);
        else
            wait_for_work(runner, limit_ns);
    }
    wait_unlock(&runner->wait);
    return NULL;
}

/* ---- what waits ---- */

static void return_all(struct runner *runner, struct held *list)
{
    while (list) {
        struct held *next = list->next;
        outcomes_return(runner->outcomes, list, 0);
        list = next;
    }
}

static void put_off(struct runner *runner, struct held *held)
{
    metric_add(runner->put_offs, 1);
    if (held->place.for_long)
        outcomes_put_off(runner->outcomes, held, held->place.delay_ms);
    else
        outcomes_return(runner->outcomes, held, held->place.delay_ms);
}

/* With the lock held: takes out what will not be run any more. */
static struct held *sift_late(struct runner *runner, struct held **list)
{
    struct held *late = NULL, *next;
    struct held **end = list;
    for (struct held *held = *list; held; held = next) {
        next = held->next;
        if (runner->ending || (runner->stopping && !held->place.claiming)) {
            held->next = late;
            late = held;
        } else {
            *end = held;
            end = &held->next;
        }
    }
    *end = NULL;
    return late;
}

void runner_add(struct runner *runner, struct held *list)
{
    struct held *rest = NULL;
    if (!list)
        return;
    wait_lock(&runner->wait);
    struct held *late = sift_late(runner, &list);
    if (list) {
        lanes_add(&runner->lanes, list, now_ns(), &rest);
        wait_wake_all(&runner->wait);
    }
    wait_unlock(&runner->wait);
    return_all(runner, late);
    while (rest) {
        struct held *next = rest->next;
        put_off(runner, rest);
        rest = next;
    }
}

void runner_let_go(struct runner *runner, struct held *held)
{
    wait_lock(&runner->wait);
    lanes_give_up(&runner->lanes, held);
    if (lanes_may_take(&runner->lanes))
        wait_wake_all(&runner->wait);
    wait_unlock(&runner->wait);
}

bool runner_puts_off_item(struct runner *runner, const struct handler *handler,
                          int64_t *ret_delay_ms)
{
    wait_lock(&runner->wait);
    bool full = lanes_put_off_item(&runner->lanes, handler, now_ns(), ret_delay_ms);
    wait_unlock(&runner->wait);
    if (full)
        metric_add(runner->put_offs, 1);
    return full;
}

struct lanes_want runner_wants(struct runner *runner)
{
    wait_lock(&runner->wait);
    struct lanes_want want = lanes_want(&runner->lanes, now_ns());
    wait_unlock(&runner->wait);
    return want;
}

size_t runner_running(struct runner *runner)
{
    wait_lock(&runner->wait);
    size_t count = running(runner);
    wait_unlock(&runner->wait);
    return count;
}

/* ---- life ---- */

static void register_metrics(struct runner *runner, struct metrics *metrics)
{
    runner->running_gauge =
        metrics_gauge(metrics, "tidings_runs_in_progress", NULL, "Runs of handlers in progress");
    runner->time_outs = metrics_counter(metrics, "tidings_runs_timed_out_total", NULL,
                                        "Attempts that were ended by their time limits");
    runner->put_offs = metrics_counter(metrics, "tidings_deliveries_put_off_total", NULL,
                                       "Deliveries given back because their handlers are busy");
}

static struct runner *make_runner(const struct runner_options *options)
{
    struct runner *runner = mem_zero(1, sizeof *runner);
    if (!runner)
        return NULL;
    if (lanes_init(&runner->lanes, options->handlers, options->concurrency, options->bytes) ||
        wait_init(&runner->wait)) {
        lanes_free(&runner->lanes);
        mem_free(runner);
        return NULL;
    }
    return runner;
}

enum err runner_start(const struct runner_options *options, struct runner **ret)
{
    struct runner *runner = make_runner(options);
    if (!runner)
        return ERR_MEMORY;
    runner->outcomes = options->outcomes;
    runner->ns = options->ns;
    register_metrics(runner, options->metrics);
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
    struct held *rest = lanes_clear(&runner->lanes, false);
    wait_unlock(&runner->wait);
    return_all(runner, rest);
}

void runner_end(struct runner *runner)
{
    wait_lock(&runner->wait);
    runner->ending = true;
    wait_wake_all(&runner->wait);
    wait_unlock(&runner->wait);
    if (runner->started)
        pthread_join(runner->thread, NULL);
    runner->started = false;
    wait_lock(&runner->wait);
    struct held *rest = lanes_clear(&runner->lanes, true);
    wait_unlock(&runner->wait);
    return_all(runner, rest);
}

void runner_free(struct runner *runner)
{
    if (!runner)
        return;
    wait_destroy(&runner->wait);
    lanes_free(&runner->lanes);
    mem_free(runner);
}
