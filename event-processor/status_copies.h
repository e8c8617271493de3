/* The later copies of events in the status table: which position has the next copy of an id.
 *
 * A chain for each event that has copies: from its position to its first copy's, from there to the
 * next one's, and so on, and back. When an event is forgotten, its next copy becomes the event. 24
 * bytes a slot, two to four slots for an event and for each of its copies but an only one; nothing
 * for events without. Not thread-safe: guarded by the status table's lock.
 */
#ifndef TIDINGS_STATUS_COPIES_H
#define TIDINGS_STATUS_COPIES_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct status_copies;

must_check enum err status_copies_new(struct status_copies **ret);
void status_copies_free(struct status_copies *copies);
void status_copies_clear(struct status_copies *copies);
/* Adds a copy, later than all others, of the event at `event`. ERR_MEMORY: nothing was added. */
must_check enum err status_copies_add(struct status_copies *copies, uint64_t event, uint64_t copy);
bool status_copies_none(const struct status_copies *copies);
/* The next copy after this position, 0: none. */
uint64_t status_copies_next(const struct status_copies *copies, uint64_t position);
/* Forgets the event at this position; from now on its next copy is the event. */
void status_copies_forget(struct status_copies *copies, uint64_t event);
/* Takes a copy of the event at `event` out of its chain. */
void status_copies_remove(struct status_copies *copies, uint64_t event, uint64_t copy);
size_t status_copies_bytes(const struct status_copies *copies);

#endif
