/* The inside of the follower: its two sides, one a log. Private to follower*.c.
 */
#ifndef TIDINGS_FOLLOWER_SIDE_H
#define TIDINGS_FOLLOWER_SIDE_H

#include "event-processor/follower.h"
#include "event-processor/wait.h"

#include <stdatomic.h>

#define FOLLOWER_READ_MAX 512 /* records taken at once */

enum { FOLLOWER_EVENTS, FOLLOWER_STATUSES, FOLLOWER_SIDES };

struct side {
    struct follower *follower;
    const char *what;  /* for people */
    const char *stale; /* why a rebuild begins */
    struct bus_log *log;
    bool is_event_log;
    /* Folds records into the table, or returns early when the side is no longer current. */
    void (*fold)(struct side *side, struct bus_record **records, size_t count);
    /* Passes, and forgets, what the log has dropped before its first position. ERR_MEMORY. */
    enum err (*drop_head)(struct follower *follower, uint64_t first);
    bool started;
    pthread_t thread;

    /* Written by the side's thread with follower->wait locked; others read it with that lock. */
    uint64_t epoch; /* what it reads belongs to this one; 0: nothing yet */
    int64_t created_ns;
    uint64_t folded;   /* the record folded last, or just now: its position, 0: none, */
    int64_t folded_ms; /* and when the bus stored it */
    uint64_t catch_up; /* the log's last position when the epoch began, or less if that was lost */

    /* Guarded by follower->wait. */
    bool behind; /* the log ended before the position folded when last asked */
    struct timespec behind_until;
    struct bus_log_end end;   /* as last asked */
    struct timespec end_at;   /* when that was; zero: never */
    uint64_t seen;            /* the position when last looked, */
    struct timespec moved_at; /* and when it had changed, or was at the log's end, last */

    /* Written by the side's thread with the table's lock; others read it with that lock. */
    uint64_t marked_epoch; /* the mark is of this one */
    uint64_t marked;       /* the record folded last, */
    int64_t marked_ms;     /* and when the bus stored it */

    /* Where the table began, if it was loaded, in that epoch; before the threads read anything. */
    struct follower_mark loaded;
    uint64_t loaded_epoch; /* 0: it was not */
    /* Guarded by follower->wait: the log has the loaded record still, or nothing was loaded. */
    bool proven;

    struct timespec check_at; /* the side's thread: when it asks for the end next */
    uint64_t event_last; /* the status side's thread: an end of the event log seen in this epoch */
};

struct follower {
    struct wait wait; /* woken whenever a position, the epoch or `stopping` changes */
    struct status_table *table;
    struct replays *replays; /* may be NULL */
    struct changes *changes; /* may be NULL */
    const char *event_stream;
    const char *ns;
    bool (*load)(void *ctx, struct follower_point *ret); /* may be NULL */
    void *load_ctx;
    bool load_is_over; /* guarded by `wait` */
    struct side sides[FOLLOWER_SIDES];
    _Atomic bool stopping;
    _Atomic uint64_t ready_epoch;            /* written with `wait` locked */
    _Atomic uint64_t losses[FOLLOWER_SIDES]; /* see follower_losses */
    /* Guarded by `wait`: no log is read before resume_at; rebuilds before calm_at are paced. */
    struct timespec resume_at, calm_at;
    int64_t pause_ms; /* before the present epoch's reading */
    int64_t still_ms; /* so long may a side stand before its log's end and count as moving */
    struct metric *rebuilds;
    struct metric *broken;
};

static inline uint64_t side_position(const struct side *side,
                                     const struct status_reflects *reflects)
{
    return side->is_event_log ? reflects->event_position : reflects->status_position;
}
/* False: stopped, or another epoch has begun. */
bool side_current(struct side *side);
/* The side's log is not the one that was followed in this epoch. */
void side_lost(struct side *side, uint64_t epoch);
/* It is, but some of it was lost before it was read. */
void side_note_loss(struct side *side);
/* To be called without the table's lock after each change of a position. */
void follower_announce(struct follower *follower);
/* Waits that long, or until stopped: false. */
bool follower_pause(struct follower *follower, int64_t ms);

/* Tells the table the log's first position; `end` is of the log that is followed in this epoch.
 * ERR_MEMORY, logged. */
must_check enum err follower_drop_head(struct side *side, uint64_t epoch,
                                       const struct bus_log_end *end);
/* Asks for the log's end if that was long ago; for the side's thread. */
void follower_check_end(struct side *side);
/* With follower->wait locked: notes whether it moves. */
void follower_note_progress(struct side *side, const struct status_reflects *reflects);
/* Records not folded yet, by the end that was last asked for; NaN where that is too long ago. */
double follower_lag(struct side *side);

/* Notes the record as the last one folded; with the table's lock held. */
void side_mark(struct side *side, const struct bus_record *record);

/* ---- follower_start.c: a table that was loaded ---- */

/* Loads the table (the event log's side) or waits until it is (the other). */
void follower_load(struct side *side);
/* Whether the side reads on from what was loaded; in this epoch. */
bool side_is_loaded(const struct side *side, uint64_t epoch);
/* Whether the log may be the one that was loaded, by its end. ERR_UNAVAILABLE: perhaps, ask again.
 * ERR_STALE: it is not, and a rebuild has begun. */
must_check enum err side_compare(struct side *side, uint64_t epoch, const struct bus_log_end *end);
/* The first records read: the loaded one must be the first, and is taken out. False: it is not, and
 * a rebuild has begun. */
bool side_prove(struct side *side, struct bus_record ***records, size_t *count);
/* Nothing has come yet: perhaps it never will. */
void side_prove_without(struct side *side);

void follower_fold_events(struct side *side, struct bus_record **records, size_t count);
void follower_fold_statuses(struct side *side, struct bus_record **records, size_t count);

#endif
