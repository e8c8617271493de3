/* The status table's cell: 34 bytes, packed by hand. Pure functions, for status_table.c and its
 * tests only.
 */
#ifndef TIDINGS_STATUS_CELL_H
#define TIDINGS_STATUS_CELL_H

#include "common/id.h"
#include "common/status.h"

#include <assert.h>

/* All numbers little-endian. An all-zero id: no event was ever added at the position. */
struct status_cell {
    struct event_id id;
    uint8_t change_position[5]; /* of the last change, in the status log; 0: none */
    uint8_t change_place[2];    /* in its batch */
    uint8_t state[3];   /* from the lowest bit: status 3, alone 1, attempt 10, generation 10 */
    uint8_t seconds[4]; /* since 1970, unsigned: until 2106 */
    uint8_t name[3];    /* number of the interned name */
    bool copy : 1;      /* a later copy of an id: nothing of its state shows */
    bool conflict : 1;  /* its id is that of its position, it came with another one */
};
static_assert(sizeof(struct status_cell) == 34, "a cell takes 34 bytes");
static_assert(STATUS_COUNT <= 8 && STATUS_ATTEMPT_MAX < 1 << 10 && STATUS_GENERATION_MAX < 1 << 10,
              "a state fits 24 bits");

static inline uint64_t status_cell_load(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = count; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static inline void status_cell_store(uint8_t *bytes, size_t count, uint64_t value)
{
    for (size_t i = 0; i < count; i++, value >>= 8)
        bytes[i] = (uint8_t)value;
}

#define STATUS_CELL_GET(cell, member) status_cell_load((cell)->member, sizeof(cell)->member)
#define STATUS_CELL_SET(cell, member, value) \
    status_cell_store((cell)->member, sizeof(cell)->member, value)

static inline struct status_state status_cell_state(const struct status_cell *cell)
{
    uint32_t bits = (uint32_t)STATUS_CELL_GET(cell, state);
    return (struct status_state){.status = (enum status)(bits & 7),
                                 .alone = bits >> 3 & 1,
                                 .attempt = bits >> 4 & 1023,
                                 .generation = bits >> 14};
}

static inline void status_cell_set_state(struct status_cell *cell, struct status_state state)
{
    STATUS_CELL_SET(cell, state,
                    (uint32_t)state.status | (uint32_t)state.alone << 3 | state.attempt << 4 |
                        state.generation << 14);
}

static inline void status_cell_set_time(struct status_cell *cell, int64_t time_ms)
{
    int64_t seconds = time_ms < 0 ? 0 : time_ms / 1000;
    STATUS_CELL_SET(cell, seconds, seconds > UINT32_MAX ? UINT32_MAX : (uint64_t)seconds);
}

/* One event's share of the digest; 0 where no event counts (absent, or a copy). The same on every
 * machine. */
uint64_t status_cell_digest(const struct status_cell *cell, uint64_t event_position);

#endif
