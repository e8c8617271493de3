/* When the group must begin anew (bus_consumer_restart). What has ended is only acknowledged again
 * then, the rest is run.
 *
 * - The event log turned out not to be the one that was followed, or ends before what the group has
 *   acknowledged: at once.
 * - The status log has lost records. Events that were acknowledged on the strength of these are
 *   open again, and the bus would never deliver them. A look finds them: the consumer's floor is
 *   asked for, then the logs' ends, and once the table has passed these, an accepted event at or
 *   below the floor has lost its record, since records are stored before events are acknowledged.
 *   (Or a hole has taken the event itself: what the event log does not keep any more is passed.)
 *
 * There is a look in each epoch of the table, after each loss that the follower notices, and every
 * ten seconds: a record that is lost before anybody has read it is missed by nobody. Two restarts
 * that looks have led to are ten seconds apart, and twice as far after each, up to an hour, until a
 * look finds all acknowledged again and nothing open: whatever is wrong, events are not delivered
 * in circles. What is open after a restart once all is acknowledged again has ended as others see
 * it: then this table was made while the logs were others (a record of the event log's earlier life
 * applies where the same event is at the same position again, if it is there by then), and is made
 * anew.
 *
 * For one thread, the consumer's.
 */
#ifndef TIDINGS_RESTART_H
#define TIDINGS_RESTART_H

#include "event-processor/follower.h"
#include "event-processor/wait.h"

struct restart_options {
    struct bus_log *event_log;
    struct bus_consumer *consumer;
    struct follower *follower;
    struct status_table *table;
    struct metrics *metrics;
    int64_t look_ms;  /* between two looks without an occasion; 0: 10 s */
    int64_t apart_ms; /* between two restarts at first; 0: 10 s */
};

/* Its members are its own. */
struct restart {
    struct restart_options use;
    uint64_t event_log_losses; /* after which the group has begun anew */

    /* The look, or the last one if it is to begin. */
    enum { RESTART_ASK, RESTART_AWAIT, RESTART_SEARCH } step;
    struct timespec ask_at;
    uint64_t epoch, losses; /* which the look is for */
    uint64_t floor;
    struct follower_target target; /* the table has to pass it ... */
    struct timespec until;         /* ... by then */
    uint64_t from;                 /* where to search */

    int64_t apart_ms;
    struct timespec apart_until; /* no restart before */
    uint64_t restarted_floor;    /* the floor that led to the last one; 0: none */
    uint64_t open;               /* and the event; 0: the table was made anew since */
    struct metric *event_log_restarts, *status_log_restarts;
};

void restart_init(struct restart *restart, const struct restart_options *options);
/* To be called before each fetch, while the follower is ready. Does one step: usually nothing, or a
 * few questions to the bus that take half a second each at most, a restart two. False: the group
 * has to begin anew and did not yet; nothing should be fetched. */
bool restart_tend(struct restart *restart);

#endif
