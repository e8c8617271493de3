/* Deliveries that wait, in the order in which they came.
 *
 * Linked by held->next, so that a delivery is in one queue at most. {0} is an empty one. Owns
 * nothing; who uses a queue from several threads guards it. */
#ifndef TIDINGS_HELD_QUEUE_H
#define TIDINGS_HELD_QUEUE_H

#include "event-processor/in_hand.h"

struct held_queue {
    struct held *first, *last; /* last: where there is a first */
};

static inline void held_queue_add(struct held_queue *queue, struct held *held)
{
    held->next = NULL;
    if (queue->first)
        queue->last->next = held;
    else
        queue->first = held;
    queue->last = held;
}

/* The first; NULL: it is empty. */
static inline struct held *held_queue_take(struct held_queue *queue)
{
    struct held *held = queue->first;
    if (held)
        queue->first = held->next;
    return held;
}

#endif
