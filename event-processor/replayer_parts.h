/* The inside of the replayer. Private to replayer*.c.
 */
#ifndef TIDINGS_REPLAYER_PARTS_H
#define TIDINGS_REPLAYER_PARTS_H

#include "event-processor/replay_record.h"
#include "event-processor/replayer.h"

#include <stdatomic.h>

/* A replay that is run here. */
struct run {
    struct event_id id;
    bool open; /* the walk is, behind the replay's cursor, */
    struct replay_walk walk;
    struct replay of;        /* ... of the replay as it was then, */
    uint64_t epoch;          /* ... in this one */
    struct timespec next_at; /* its rate allows no more before */
    bool seen;
    struct run *next;
};

/* An attempt to come that is being published. */
struct next_item {
    struct replayer *replayer;
    bool stored;
};

struct replayer {
    struct replayer_options use;
    struct wait_flag stop;
    struct replay_recorder recorder;
    struct wait wait; /* guards `publishing` and the items' `stored`; woken when it is 0 */
    size_t publishing;

    /* The thread's. */
    struct run *runs;
    int64_t jitter_ms; /* so that not all take over at once */
    size_t limit;      /* of a chunk; less while the bus takes no larger batches */
    size_t count, skipped;
    struct status_entry entries[REPLAYER_CHUNK_MAX];
    struct next_item items[REPLAYER_CHUNK_MAX];
    struct status_change changes[REPLAYER_CHUNK_MAX];

    _Atomic size_t running; /* runs */
    struct metric *replayed, *takeovers;
    bool started;
    pthread_t thread;
};

enum { REPLAYER_BUS_MS = 2000, REPLAYER_FOLD_MS = 2000 };

/* Waits until the table knows all that the status log held before. False: not now. */
bool replayer_catch_up(struct replayer *replayer, uint64_t *ret_epoch);
/* The replay as it is, if it is running and this processor runs it; then release it. */
bool replayer_owns(struct replayer *replayer, const struct event_id *id, struct replay *ret);
/* Appends what the replay has come to and waits for the fold. */
must_check enum err replayer_record(struct replayer *replayer, size_t count,
                                    const struct replay_change *change);
void replayer_close_walk(struct run *run);
/* Whether the replay has letters behind that one. */
bool replayer_has_letters(const struct replay_filter *filter, uint64_t letter_cursor);
/* Publishes the next letters' events, at most `max` and for about a second, and moves the change's
 * letter_cursor and counts, and with the last letter its state. False: not now; nothing has
 * moved. */
bool replayer_run_letters(struct replayer *replayer, const struct replay_filter *filter, size_t max,
                          struct replay_change *change);
/* Replays as many of its events as one batch holds, and its rate allows. False: not now; nothing is
 * recorded. */
bool replayer_run(struct replayer *replayer, struct run *run);

#endif
