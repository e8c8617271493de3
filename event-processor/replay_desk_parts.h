/* The inside of the desk. Private to replay_desk*.c.
 */
#ifndef TIDINGS_REPLAY_DESK_PARTS_H
#define TIDINGS_REPLAY_DESK_PARTS_H

#include "event-processor/replay_desk.h"
#include "event-processor/replay_record.h"
#include "event-processor/replay_request.h"

/* What waits for the desk's thread. */
struct task {
    struct replay_ask ask;
    struct replay_wanted *wanted; /* REPLAY_START */
    struct event_id id;           /* the others */
    struct timespec until;
    struct task *next;
};

struct replay_desk {
    struct replay_desk_options use;
    struct wait_flag stop;
    struct replay_recorder recorder; /* the thread's */
    struct wait wait;                /* guards the following; woken when any of it changes */
    struct task *first, *last;
    size_t count;
    bool started;
    pthread_t thread;
};

/* Completes a task and frees it. */
void desk_fail(struct task *task, enum err e, const char *message);
void desk_answer(struct replay_desk *desk, struct task *task, const struct event_id *id);
/* Why to go on with it no longer; NULL: go on. */
const char *desk_over(struct replay_desk *desk, const struct task *task, enum err *ret);
extern const char desk_away[]; /* what is said when the bus does not answer */
/* Looks for the letters of event_ids that the table does not know; close the search. False: the
 * task has been failed. */
bool desk_find_letters(struct replay_desk *desk, struct task *task, struct replay_search *search);
/* Whether all of the event_ids are known, and one of them at least can be replayed. */
enum err desk_check_ids(struct replay_desk *desk, const struct replay_wanted *wanted,
                        const struct replay_search *search, struct err_detail *detail);
void *desk_run(void *desk); /* the thread; ends when stopping and nothing is left */

#endif
