#include "event-processor/decide.h"

enum decision decide(const struct status_entry *cell, uint64_t first,
                     const struct decide_delivery *delivery)
{
    if (delivery->position < first)
        return DECIDE_GONE;
    /* Both come from the event log, so they can differ only if that log is not the one it was. */
    if (!cell || cell->event_position != delivery->position || !id_equal(&cell->id, &delivery->id))
        return DECIDE_LEAVE;
    if (cell->state.status == STATUS_NONE)
        return DECIDE_COPY;
    if (status_ended(cell->state.status))
        return DECIDE_ENDED;
    return delivery->malformed ? DECIDE_BURY : DECIDE_RUN;
}
