#include "event-processor/status_cell.h"

/* The finalizer of MurmurHash3: every bit of the input touches every bit of the output. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

uint64_t status_cell_digest(const struct status_cell *cell, uint64_t event_position)
{
    uint64_t state = STATUS_CELL_GET(cell, state);
    if (cell->copy || (state & 7) == STATUS_NONE)
        return 0;
    uint64_t digest = mix(event_position + 0x9e3779b97f4a7c15u);
    digest = mix(digest ^ status_cell_load(cell->id.bytes, 8));
    digest = mix(digest ^ status_cell_load(cell->id.bytes + 8, 8));
    digest = mix(digest ^ (state | STATUS_CELL_GET(cell, change_place) << 24 |
                           (uint64_t)cell->conflict << 40));
    return mix(digest ^ STATUS_CELL_GET(cell, change_position));
}
