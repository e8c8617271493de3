/* The inside of the desk. Private to replay_desk*.c.
 */
#ifndef TIDINGS_REPLAY_DESK_PARTS_H
#define TIDINGS_REPLAY_DESK_PARTS_H

#include "event-processor/replay_desk.h"
#include "event-processor/replay_record.h"
#include "event-processor/replay_request.h"

#include <stdatomic.h>

/* What waits for one of the desk's threads. */
struct task {
    struct replay_ask ask;
    struct replay_wanted *wanted; /* REPLAY_START */
    bool starts;                  /* a replay will be recorded, unless it is known */
    struct event_id id;           /* the others */
    struct timespec until;
    struct task *next;
};

/* What waits in line, and the thread that serves it. Who starts a replay may wait for all letters
 * to be read; who asks for one or cancels it must not wait for that too. */
enum desk_line_kind { DESK_SHORT, DESK_STARTS, DESK_LINES };
struct desk_line {
    struct replay_desk *desk;
    struct replay_recorder recorder; /* the thread's */
    struct task *first, *last;       /* guarded by the desk's wait, as the count */
    size_t count;
    bool started;
    pthread_t thread;
};

struct replay_desk {
    struct replay_desk_options use;
    struct wait_flag stop;
    atomic_bool draining; /* no replay is started any more */
    struct wait wait;     /* woken when a line or `stop` changes */
    struct desk_line lines[DESK_LINES];
};

void desk_done(struct task *task); /* frees it: it has been answered */
/* Completes a task and frees it. */
void desk_fail(struct task *task, enum err e, const char *message);
/* The same with what is known of a replay now, if it is the one that the task asks for; else says
 * why not, and does nothing. */
must_check enum err desk_answer(struct replay_desk *desk, struct task *task,
                                const struct event_id *id, struct err_detail *detail);
/* Why to go on with it no longer; NULL: go on. */
const char *desk_over(struct replay_desk *desk, const struct task *task, enum err *ret);
extern const char desk_away[];     /* what is said when the bus does not answer, */
extern const char desk_stopping[]; /* ... and when this processor will not do it */
/* Looks for the letters of event_ids that the table does not know; close the search. False: the
 * task has been failed. */
bool desk_find_letters(struct replay_desk *desk, struct task *task, struct replay_search *search);
/* Whether all of the event_ids are known, and one of them at least can be replayed. */
enum err desk_check_ids(struct replay_desk *desk, const struct replay_wanted *wanted,
                        const struct replay_search *search, struct err_detail *detail);
void *desk_run(void *line); /* a thread; ends when stopping and nothing is left */

#endif
