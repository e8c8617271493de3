/* The parts of the checks. Private to check*.c and hooks.c.
 */
#ifndef TESTS_SIM_CHECKS_H
#define TESTS_SIM_CHECKS_H

#include "common/retry_item.h"
#include "event-processor/in_hand.h"
#include "event-processor/replays.h"
#include "tests/sim/sim.h"
#include "tests/sim/world.h"

enum { POSITIONS_MAX = 4 * EVENTS_MAX, PROCESSES_MAX = 512, GENERATIONS_MAX = 8 };

/* ---- check_log.c: the event log, by a reading of our own ---- */

struct known {
    bool kept;
    struct event_id id; /* as event_identity says */
    bool proper;
    uint64_t first; /* the position of its id's first copy */
    char content[CONTENT_SIZE];
    char producer_id[40], source[16];
    char name[24];
    int64_t time_ms;  /* stored */
    struct fate fate; /* at its handler: */
    const struct plan_handler *handler;
};

extern struct known check_log[POSITIONS_MAX]; /* by position */
extern uint64_t check_log_end;

void check_log_read(struct world *world);
/* 202 means stored. */
void check_log_accepted(struct world *world);
void check_log_loss(struct world *world);
static inline bool check_is_copy(const struct known *k, uint64_t position)
{
    return k->proper && k->first != position;
}
static inline bool check_is_conflict(const struct known *k, uint64_t position)
{
    return check_is_copy(k, position) && strcmp(k->content, check_log[k->first].content) != 0;
}

/* ---- check_statuses.c: the status log, by a fold of our own ---- */

/* What is at a position by the log so far. */
struct folded {
    struct status_state state; /* STATUS_NONE: no record has won */
    uint64_t changed_at;       /* in the status log, */
    size_t by;                 /* and by which node */
    bool recorded;             /* there was any */
    bool noticed;              /* any that says that it runs */
    bool ran_alone;            /* in this generation */
    struct event_id known_as;  /* by the last change */
    uint64_t letter;           /* that it names; 0: none */
    bool expired;              /* by its error */
};
extern struct folded check_folded[POSITIONS_MAX];
extern uint64_t check_status_end;

void check_statuses_read(struct world *world);
/* When the attempt after this one may run, by all records that say that this one has failed.
 * INT64_MAX: none does. */
int64_t check_due_ms(uint64_t position, uint32_t generation, uint32_t attempt);
/* -1, 0, 1: a goes before b, is it, or comes after it. */
int check_order(struct status_state a, struct status_state b);

/* ---- check_replays.c ---- */

/* What a batch, at that position of the status log, says of replays. */
void check_replays_fold(const struct status_batch *batch, uint64_t at);
/* A change of this batch that begins a generation. */
void check_replays_take(const struct status_batch *batch, const struct status_change *change);
/* No replay takes an event twice. */
void check_replays_generation(uint64_t position, uint32_t generation);
void check_replays_end(struct world *world, struct node *node);

/* ---- check_runs.c: who runs what, and when ---- */

/* A handler starts with the event at that position in that process. */
void check_run_begins(struct world *world, int process, const struct run *run);
/* It ends, or is ended by its time limit. */
void check_run_ends(const struct world *world, int process, const struct run *run);
/* Its attempt has failed. */
void check_run_fails(const struct world *world, const struct run *run, bool never_again);
void check_run_succeeds(struct world *world, const struct run *run);
bool check_was_run(const struct event_id *id);
/* A delivery of that record has arrived there (how is NULL), or has been settled. */
void check_delivery(struct world *world, int process, const struct bus_record *record,
                    const enum bus_settlement *how);
/* Whether both have been: the event log's delivery, and the item that it was put off to. */
bool check_was_put_off_and_acked(uint64_t position);
void check_runs(struct world *world);

/* ---- check_stored.c: what is published ---- */

/* The server has completed a publish. */
void check_stored(struct world *world, const struct bus_log *log, const struct bus_message *message,
                  const struct bus_receipt *receipt);

/* Whether the attempts to come that were stored once more since the last look were missing; to be
 * asked before the status log is read, ... */
enum { SWEPT_MAX = 64 };
size_t check_swept_begin(struct world *world, bool missing[SWEPT_MAX]);
/* ... and judged after that. */
void check_swept_end(const bool missing[SWEPT_MAX], size_t count);

/* ---- check_age.c: what has left the event log ---- */

void check_age(struct world *world);
void check_age_end(struct world *world, struct node *node);
/* Whether all events with that id have left it. */
bool check_has_left(const struct event_id *id);
uint64_t check_first_kept(void); /* as of the last look */

/* ---- check_answers.c: any processor knows ---- */

/* What a process's table said of a position when it was last compared with the logs; NULL: it was
 * not yet. */
const struct folded *check_known(const struct world *world, int process, uint64_t position);

void check_answers(struct world *world);
void check_answers_loss(void);

/* ---- check_end.c: every event ends ---- */

void check_end_at(struct world *world, struct node *node);

char *check_text_of(const struct event_id *id); /* until the next call */

#endif
