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

/* Ends a run; to be called once for each, from any thread, without a lock that `start` takes. */
void run_done(struct run *run, enum run_outcome outcome);

/* What handlers may use. */
struct handler_tools {
    struct timer *timer; /* has room for one wait of each run at a time */
};

struct handler_kind;
struct handler { /* a kind's own struct begins with it */
    const struct handler_kind *kind;
};

struct handler_kind {
    const char *name; /* as in the configuration */
    must_check enum err (*open)(const struct config_handler *config,
                                const struct handler_tools *tools, struct handler **ret);
    /* Starts a run, which may be done before it returns. Called from one thread only. Must not wait
     * for anything but a local write: it holds up all other runs. */
    void (*start)(struct handler *handler, struct run *run);
    void (*close)(struct handler *handler); /* no run of it is in progress */
};

extern const struct handler_kind handler_log;
extern const struct handler_kind handler_simulate;

#endif
