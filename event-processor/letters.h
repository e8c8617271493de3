/* The letters: what becomes of deliveries that no handler will run. A copy of an event is compared
 * with the first of its id; where its content differs, for a message that is no event, and for an
 * event whose last attempt has failed (held->burial), a dead letter is stored, and then recorded as
 * `dead` with the letter's position.
 *
 *     look up the first -> read it -> compare -> letter stored -> `dead` recorded -> acknowledged
 *
 * Each step is awaited, so that after a crash anywhere the delivery comes again, and the same is
 * done again: the bus knows the letter by its message id. A letter that no record names does not
 * count. What cannot be done now (the bus is away, say) is given back and comes again. But an event
 * whose last attempt has failed would be run again then, or charged with another attempt: it is
 * held and its letter tried again, for LETTERS_HOLD_MS, as long as that leaves places in hand.
 *
 * Thread-safe. A few threads of its own, which wait for the bus; deliveries wait for them, no more
 * than are in hand.
 */
#ifndef TIDINGS_LETTERS_H
#define TIDINGS_LETTERS_H

#include "event-processor/letter.h"
#include "event-processor/outcomes.h"

enum { LETTERS_HOLD_MS = 30000 };

struct letters;

struct letters_options {
    struct bus_log *event_log;
    const char *event_stream;       /* its name */
    struct bus_log *status_records; /* the status log */
    struct bus_log *dead_log;
    const char *ns;
    const char *group;
    struct status_table *table;
    struct outcomes *outcomes;
    struct metrics *metrics;
};

must_check enum err letters_start(const struct letters_options *options, struct letters **ret);
/* Takes a delivery (outcomes_go_on). Does not wait. After letters_stop it is returned unless its
 * last attempt has failed, after letters_end in any case. */
void letters_add(struct letters *letters, struct held *held);
/* Stores a letter of an event that has no delivery here (sweep.h): as much of it as the bus takes.
 * *ret_position: in the log of dead letters. Waits for the bus, some seconds at most; why it isn't
 * stored is in the log. */
must_check enum err letters_store(struct letters *letters, const struct letter *letter,
                                  uint64_t *ret_position);
/* Returns what waits and was not run. What is being done goes on, and the letters of what has
 * failed for the last time are still stored. Does not wait. */
void letters_stop(struct letters *letters);
/* Returns what waits: there is no time left. Does not wait. */
void letters_end(struct letters *letters);
/* After letters_end. Waits for what is being done, some seconds if the bus has frozen. */
void letters_free(struct letters *letters);

#endif
