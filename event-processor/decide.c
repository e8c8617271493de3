#include "event-processor/decide.h"

/* Whether it is known by the id of its position, since it came with that of another event: the
 * generation that the event log delivers has ended then. */
static bool is_ended_conflict(const struct status_entry *cell,
                              const struct decide_delivery *delivery)
{
    struct event_id own;
    id_of_position(delivery->stream, delivery->position, &own);
    return cell->conflict && id_equal(&cell->id, &own);
}

enum decision decide(const struct status_entry *cell, uint64_t first,
                     const struct decide_delivery *delivery)
{
    if (delivery->position < first)
        return DECIDE_GONE;
    if (!cell || cell->event_position != delivery->position)
        return DECIDE_LEAVE;
    /* Both come from the event log, so else they can differ only if that is not the one it was. */
    if (!id_equal(&cell->id, &delivery->id))
        return is_ended_conflict(cell, delivery) ? DECIDE_ENDED : DECIDE_LEAVE;
    if (cell->state.status == STATUS_NONE)
        return DECIDE_COPY;
    if (status_ended(cell->state.status))
        return DECIDE_ENDED;
    return delivery->malformed ? DECIDE_BURY : DECIDE_RUN;
}
