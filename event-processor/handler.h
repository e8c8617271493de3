/* A handler: what a processor runs for an event.
 *
 * A kind of handler is a const table at the end of its file (handler_<kind>.c); handlers.c lists
 * the kinds.
 */
#ifndef TIDINGS_HANDLER_H
#define TIDINGS_HANDLER_H

#include "common/config.h"
#include "common/event.h"

struct timer;

/* One run of a handler for one event, an attempt. It lives until run_done. */
struct run {
    struct event event;
    uint64_t position; /* in the event log */
    uint32_t attempt;  /* the first is 1 */
};

enum run_outcome {
    RUN_PROCESSED,
    RUN_LEFT, /* no verdict, because the process ends: another one will run the event */
};

/* How an attempt has failed. */
struct run_failure {
    struct view error; /* what a person needs to know; may hold anything, and is cut if too long */
    int64_t delay_ms;  /* until the next attempt, as the handler wants it; -1: by the backoff */
    bool never_again;  /* further attempts would fail too: the event is dead */
};

/* One of these ends a run, once; from any thread, without a lock that `start` or `cancel` takes.
 * `failure` and what it points to are copied before run_failed returns. */
void run_done(struct run *run, enum run_outcome outcome);
void run_failed(struct run *run, const struct run_failure *failure);

/* How often a handler tries, how long, and how many events at once. */
struct retry_policy {
    uint32_t max_attempts; /* of one generation of an event, 1 at least */
    int64_t backoff_ms;    /* the longest delay after the first attempt; doubles with each one */
    int64_t backoff_max_ms;
    int64_t timeout_ms;   /* of one attempt */
    uint32_t concurrency; /* runs of it at one time, within a process */
};

struct handler *run_handler(const struct run *run); /* that was started with it */

/* What handlers may use. */
struct handler_tools {
    struct timer *timer;  /* has room for one wait of each run at a time */
    uint32_t concurrency; /* runs at one time, of all handlers */
};

struct handler_kind;
struct handler { /* a kind's own struct begins with it */
    const struct handler_kind *kind;
    /* set by handlers_open: */
    const struct retry_policy *retry;
    size_t index; /* among its handlers, from 0 */
};

struct handler_kind {
    const char *name; /* as in the configuration */
    must_check enum err (*open)(const struct config_handler *config,
                                const struct handler_tools *tools, struct handler **ret);
    /* Starts a run, which may end before it returns. Called from one thread only. Must not wait
     * for anything but a local write: it holds up all other runs. */
    void (*start)(struct handler *handler, struct run *run);
    /* The run's time limit is over. True: the handler has let go of the run and won't end it, so
     * the attempt has failed. False: it has ended the run or will do so at once, and what it says
     * counts. Called once at most, from start's thread; the run is there until it returns, even if
     * it ends meanwhile. Must not wait either. NULL: runs end before `start` returns. */
    bool (*cancel)(struct handler *handler, struct run *run);
    void (*close)(struct handler *handler); /* no run of it is in progress */
};

extern const struct handler_kind handler_log;
extern const struct handler_kind handler_simulate;

#endif
