/* Handlers, their lanes, and deliveries for these.
 */
#ifndef TESTS_LANE_WORLD_H
#define TESTS_LANE_WORLD_H

#include "event-processor/lanes.h"

enum { MS = 1000000, HELD = 400 };

/* Some handlers, their lanes, and deliveries of an empty payload. */
struct lane_world {
    struct handlers *handlers;
    struct lanes lanes;
    struct bus_record record;
    struct held held[HELD];
    size_t used;
    int64_t now_ns;
};

#define SIMULATE(pattern)                      \
    {                                          \
        .match = (pattern), .kind = "simulate" \
    }
extern const struct config_handler lane_world_two[2]; /* "a", and all others */

void lane_world_open(struct lane_world *w, const struct config_handler *list, size_t count,
                     uint32_t concurrency);
void lane_world_close(struct lane_world *w);
struct held *lane_world_make(struct lane_world *w, size_t handler);
/* Adds deliveries one by one; returns how many were put off. */
size_t lane_world_add(struct lane_world *w, size_t handler, size_t count);
/* Starts all that may; returns how many of that handler, and the last of these. */
size_t lane_world_start_all(struct lane_world *w, size_t handler, struct held **last);

#endif
