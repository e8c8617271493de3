/* The desk of replays: starts and cancels them, and says how far they are. What gRPC's methods do,
 * without gRPC.
 *
 * What this replica knows is answered at once. Whatever else is asked waits for one of the desk's
 * two threads, that for starts or that for all else, which first waits until the table has passed
 * both logs' ends: so an event or a replay of a moment ago is known, on any processor. What is
 * started or cancelled is recorded in the status log, and answered when it has been folded here.
 *
 * Thread-safe.
 */
#ifndef TIDINGS_REPLAY_DESK_H
#define TIDINGS_REPLAY_DESK_H

#include "event-processor/follower.h"
#include "event-processor/replay_letters.h"
#include "event-processor/replay_walk.h"

struct replay_desk;

struct replay_desk_options {
    struct event_find walk;
    struct replay_letters_options letters;
    struct bus_log *status_records;
    const char *status_subject;
    const char *source;    /* of producers' ids that come without one */
    const char *processor; /* this one's name: it runs what is started here */
    struct follower *follower;
    struct replays *replays;
    const struct clock *clock;
};

enum replay_wish { REPLAY_START, REPLAY_GET, REPLAY_CANCEL };
#define REPLAYS_RUNNING_MAX 1000 /* no more are started */

struct replay_ask {
    enum replay_wish wish;
    /* Their views need to live only until replay_desk_ask returns. */
    struct replay_request request; /* REPLAY_START */
    struct view replay_id;         /* the others */
    int64_t timeout_ms;            /* the caller's patience; at most 10 s are spent */
    /* Called exactly once, perhaps before replay_desk_ask returns, on any thread. progress is set
     * if e is ERR_NONE and lives until it returns; else message says why. ERR_INVALID: what cannot
     * be asked for, also a replay_id that another request had. ERR_NOT_FOUND: no such event or
     * replay. ERR_NOT_ENDED: of the event_ids none can be replayed. ERR_UNAVAILABLE: not now.
     * ERR_BUSY, ERR_MEMORY, ERR_CANCELLED, ERR_TOO_LARGE. */
    void (*done)(void *ctx, enum err e, const char *message,
                 const struct replay_progress *progress);
    bool (*gone)(void *ctx); /* a hint that the caller has gone away; NULL: never */
    void *ctx;
};

must_check enum err replay_desk_start(const struct replay_desk_options *options,
                                      struct replay_desk **ret);
void replay_desk_ask(struct replay_desk *desk, const struct replay_ask *ask);
/* Of what this replica has folded: up to `max`, the latest first, without event_ids. It calls `use`
 * with them once, before it returns. ERR_UNAVAILABLE: it has not caught up yet. ERR_MEMORY. */
must_check enum err replay_desk_list(struct replay_desk *desk, size_t max,
                                     void (*use)(void *ctx, const struct replay_progress *list,
                                                 size_t count),
                                     void *ctx);
/* How far a replay is, by what this replica has folded: ERR_NOT_FOUND; ERR_UNAVAILABLE: it has not
 * caught up yet; ERR_MEMORY. Else release and free what is filled, the replay last. */
struct replay_shown;
must_check enum err replay_desk_look(struct replay_desk *desk, const struct event_id *id,
                                     struct replay *ret_replay, struct replay_shown *ret);
struct replays *replay_desk_replays(struct replay_desk *desk);
/* From now on no replay is started, since it would not run here: ERR_UNAVAILABLE. All else is still
 * done. */
void replay_desk_drain(struct replay_desk *desk);
/* From now on what waits for the bus, and what is asked and would, is answered with
 * ERR_UNAVAILABLE. Does not wait. */
void replay_desk_end(struct replay_desk *desk);
/* The same; waits for what is being done, ends the threads and frees. */
void replay_desk_stop(struct replay_desk *desk);

#endif
