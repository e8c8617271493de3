/* Waiting for many things at once: whoever begins them counts each, whoever ends one takes it off,
 * and one thread waits until none is left.
 *
 * All zero at first. The group is the waiting thread's: only it begins and waits, and once it has
 * waited the group is as new. Ending may be done by any thread, once for each that was begun; the
 * group may be gone as soon as the last has been ended. What was written before an end is visible
 * to the waiting thread behind its wait.
 */
#ifndef TIDINGS_WAIT_GROUP_H
#define TIDINGS_WAIT_GROUP_H

#include <stdint.h>

struct wait_group {
    _Atomic uint32_t state; /* how many are open; the top bit: the owner sleeps */
};

void wait_group_begin(struct wait_group *group);
void wait_group_end(struct wait_group *group);
void wait_group_wait(struct wait_group *group);

#endif
