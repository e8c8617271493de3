/* The inside of the streams that watch all events. Private to changes_*.c.
 */
#ifndef TIDINGS_CHANGES_STREAM_H
#define TIDINGS_CHANGES_STREAM_H

#include "common/event.h"
#include "event-processor/changes_watch.h"
#include "event-processor/wait.h"

#include <stdatomic.h>

enum stream_place { STREAM_ASKED, STREAM_BEHIND, STREAM_LIVE };

/* What an event was after the last of its changes that was met. */
struct changes_fold {
    uint64_t event_position; /* 0: none */
    struct status_state state;
};
#define CHANGES_FOLDS 4096

/* Whoever holds a stream (the query while it is asked, else the thread of its place) works on it
 * without the lock; nobody else touches what is the holder's. Freed when its call is over and
 * nobody holds it. */
struct changes_stream {
    struct changes_watch *watch;
    /* Never change. */
    unsigned statuses;
    char pattern[EVENT_NAME_MAX + 1]; /* "": any */
    bool has_after;

    /* Guarded by the lock. */
    struct rpc_call *call; /* NULL: it is over */
    enum stream_place place;
    bool held;
    bool sending;                      /* a message has not left yet */
    bool ended;                        /* the call was answered */
    uint64_t passed;                   /* all that matches up to here has been sent */
    uint64_t step;                     /* behind: when it had its last turn */
    uint64_t sent;                     /* the last message's position */
    struct changes_stream *next, **at; /* in the list of all */

    /* The holder's. */
    struct changes_cursor cursor; /* live; its reading needs the lock too */
    uint64_t epoch;               /* of the table; another one: all is read anew */
    struct bus_reader *reader;    /* behind, */
    struct changes_fold *folds;   /* and what it has met, by event_position modulo CHANGES_FOLDS */
    atomic_bool gone;             /* anybody's: a hint that the caller has gone */
};

/* A message that was made for one stream. Others that stand where that stood, and want the same,
 * are sent the same bytes: most watch everything, and making a message costs more than sending it.
 */
struct changes_made {
    struct changes_cursor from, to; /* equal: none */
    unsigned statuses;
    char pattern[EVENT_NAME_MAX + 1];
    uint64_t position;
    struct buf bytes;
};
#define CHANGES_MADE 4 /* kept */

struct changes_watch {
    struct changes_watch_options use;
    struct wait wait; /* guards the following, and the streams; woken for those behind */
    struct changes_stream *streams;
    size_t open, behind;
    uint64_t step; /* of those behind */
    bool ending, stopping;
    pthread_t live, log;
    size_t started;

    /* The live thread's. */
    struct changes_stream *turn[CHANGES_WATCHERS_MAX];
    struct status_entry entries[STATUS_BATCH_MAX];
    struct event_status live_out[STATUS_BATCH_MAX];
    struct changes_made made[CHANGES_MADE];
    size_t made_last;
};

/* The most changes that one message behind the ring is made of, but for its last batch. */
#define CHANGES_MESSAGE_MAX 1000

/* With the lock held. Ends the call, and says after which position to go on. */
void changes_stream_fail(struct changes_stream *stream, enum err e, const char *why);
/* Gives it back; perhaps frees it. */
void changes_stream_release(struct changes_stream *stream);

/* The holder's, without the lock. Whether a change is to be told. */
bool changes_stream_wants(const struct changes_stream *stream, const struct status_entry *entry);
/* Sends the changes up to this position; without any only when that is news enough. */
void changes_stream_send(struct changes_stream *stream, const struct event_status *changes,
                         size_t count, uint64_t position);

/* Sends a message (NULL: none) that tells of all up to this position. ERR_MEMORY: it could not be
 * made, which ends the call. */
void changes_stream_pass(struct changes_stream *stream, struct buf *out, enum err e,
                         uint64_t position);

/* Thread functions: those who are told of changes as they come, and those behind. */
void *changes_run_live(void *watch);
void *changes_run_behind(void *watch);

extern const char changes_rebuilding[];

#endif
