/* How deliveries end: settled at once, or acknowledged once the record of their outcome is stored.
 *
 * Nothing else settles a delivery that was taken in hand. A table that was rebuilt since it was
 * asked about a delivery has taken its word back: such a delivery is left, and comes back.
 *
 * A failed attempt: `retrying` appended -> the item of the next attempt published -> acknowledged.
 * The last attempt failed: dead letter stored (letters.h) -> `dead` appended -> acknowledged. Each
 * step is awaited, none of them by a thread: after a crash anywhere the delivery comes again, and
 * the table says what was left to do. Thread-safe.
 */
#ifndef TIDINGS_OUTCOMES_H
#define TIDINGS_OUTCOMES_H

#include "common/clock.h"
#include "event-processor/decide.h"
#include "event-processor/follower.h"
#include "event-processor/in_hand.h"
#include "event-processor/wait.h"

struct outcomes;

struct outcomes_options {
    struct follower *follower;
    struct status_table *table;
    struct status_log *status_log;
    const char *event_stream; /* the event log's name */
    struct bus_log *retry_log;
    const char *retry_subject;
    const char *group;
    const struct clock *clock;
    struct metrics *metrics;
    /* Where deliveries go on (outcomes_go_on): to letters_add, retries_add and runner_add. Must not
     * block. */
    void (*to_letters)(void *ctx, struct held *held);
    void (*to_retries)(void *ctx, struct held *held);
    void (*to_runner)(void *ctx, struct held *held);
    /* One that was being claimed is about to be settled: to runner_let_go. */
    void (*let_go)(void *ctx, struct held *held);
    /* One that was to be run alone is about to be settled, or won't be for long: to
     * runner_end_alone. */
    void (*end_alone)(void *ctx, const struct held *held);
    void *ctx;
};

must_check enum err outcomes_new(const struct outcomes_options *options, struct outcomes **ret);
/* Waits until no item is being published any more: some seconds if the bus has frozen. */
void outcomes_wait_published(struct outcomes *outcomes);
/* When nothing is in hand and the status log has stopped. */
void outcomes_free(struct outcomes *outcomes);

/* Asks what to do with a delivery (decide.h). True: run its handler. False: outcomes_go_on. It
 * stays the caller's. */
must_check bool outcomes_decide(struct outcomes *outcomes, struct held *held);
/* Does what was decided, or hands the delivery on to who does; it is no longer the caller's. */
void outcomes_go_on(struct outcomes *outcomes, struct held *held);

/* Asks for the last time before the handler starts; for the runner. True: run it. False:
 * outcomes_go_on. For a delivery to be run alone it waits until a record of that is stored and
 * folded: only now, so that nobody who crashes beside it makes it look as if it had. */
must_check bool outcomes_clear(struct outcomes *outcomes, struct held *held);
/* From now on nothing waits for the status log or the follower for longer than until then. */
void outcomes_stop(struct outcomes *outcomes, struct timespec until);

/* Its handler has succeeded. */
void outcomes_processed(struct outcomes *outcomes, struct held *held);
/* Its attempt has failed. `failure` and what it points to need not outlive the call. */
void outcomes_failed(struct outcomes *outcomes, struct held *held,
                     const struct run_failure *failure);
/* It is a copy of an event that has been processed: needs no run. */
void outcomes_copy(struct outcomes *outcomes, struct held *held);
/* It is a copy of an event that is dead, and has that one's letter; held->error is the reason. */
void outcomes_copy_dead(struct outcomes *outcomes, struct held *held, uint64_t letter_position);
/* It has ended without success and has become a dead letter; held->error is the reason. */
struct outcomes_death {
    struct event_id id; /* that it is known by from now on */
    uint64_t letter_position;
    /* 0: none. Else that of the event whose id it came with, and that id. */
    uint64_t conflict_position;
    struct event_id conflict_id;
};
void outcomes_dead(struct outcomes *outcomes, struct held *held,
                   const struct outcomes_death *death);
/* Appends `processing` that names the delivery, which is about to start; it goes on in retries.h,
 * ... */
void outcomes_claim(struct outcomes *outcomes, struct held *held);
/* ... which waits for its fold. False: the table is no longer the one that was asked, or all ends.
 */
must_check bool outcomes_wait_fold(struct outcomes *outcomes, struct held *held);
/* Publishes the item after the cell's `retrying`, which is due at held->due_ms, and acknowledges.
 */
void outcomes_next_item(struct outcomes *outcomes, struct held *held);
/* Appends `processing` for those of `hand` that have run for a second or more, so that people see
 * it. */
void outcomes_note_long_runs(struct outcomes *outcomes, struct in_hand *hand);
/* Nothing is sent; it comes back after ack_wait, to any processor. */
void outcomes_leave(struct outcomes *outcomes, struct held *held);
/* An event without an attempt yet: from now on it waits in the retry log, for the delay at least.
 * The event log's deliveries are bounded, whoever they are for. */
void outcomes_put_off(struct outcomes *outcomes, struct held *held, int64_t delay_ms);
/* Its handler hasn't been started and won't be: it comes back after the delay, to any processor. */
void outcomes_return(struct outcomes *outcomes, struct held *held, int64_t delay_ms);

/* What has run alone need not be alone any longer, though its outcome will not be recorded soon.
 * Its record says that it was: if all ends before, it has failed, and nothing else has. */
void outcomes_end_alone(struct outcomes *outcomes, const struct held *held);

/* What has become of deliveries so far. */
struct outcomes_work {
    uint64_t processed;
    uint64_t retried; /* attempts that failed and are followed by another one */
    uint64_t dead;
};
struct outcomes_work outcomes_work(const struct outcomes *outcomes);

#endif
