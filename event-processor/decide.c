#include "event-processor/decide.h"

static bool is_item(const struct decide_delivery *delivery)
{
    return delivery->source.log == STATUS_DELIVERY_RETRY;
}

/* Whether it is known by the id of its position, since it came with that of another event: the
 * generation that the event log delivers has ended then. */
static bool is_ended_conflict(const struct status_entry *cell,
                              const struct decide_delivery *delivery)
{
    struct event_id own;
    id_of_position(delivery->stream, delivery->position, &own);
    return cell->conflict && id_equal(&cell->id, &own);
}

static bool is_same(struct status_delivery a, struct status_delivery b)
{
    return a.log == b.log && a.position == b.position;
}

/* Whether the record that the cell's `processing` comes from is of this delivery, or of one that
 * will not come again. */
static bool is_named(const struct decide_delivery *delivery)
{
    struct status_delivery named = delivery->named;
    return named.position == 0 || /* it names none: of nobody that runs now */
           is_same(named, delivery->source) || is_same(named, delivery->instead_of);
}

/* The cell is `processing` at the delivery's attempt or a later one. */
static enum decision decide_processing(const struct status_entry *cell,
                                       const struct decide_delivery *delivery)
{
    if (delivery->is_own)
        return DECIDE_RUN;
    if (!delivery->looked)
        return DECIDE_LOOK;
    if (!is_named(delivery))
        return DECIDE_TAKEN;
    if (delivery->claimed) /* it was delivered again, and whoever got it runs it now */
        return DECIDE_LEAVE;
    return cell->state.alone ? DECIDE_FAILED : DECIDE_CLAIM_ALONE;
}

/* An event that is known by its id and has not ended. */
static enum decision decide_open(const struct status_entry *cell,
                                 const struct decide_delivery *delivery)
{
    bool item = is_item(delivery);
    bool ahead = delivery->generation > cell->state.generation;
    bool beyond = ahead || delivery->attempt > cell->state.attempt;
    if (!ahead && cell->state.status == STATUS_RETRYING && (!item || !beyond))
        return DECIDE_NEXT;
    if (cell->state.status == STATUS_PROCESSING && !beyond)
        return decide_processing(cell, delivery);
    if (delivery->folded) /* and has not won: the table is not of the log that keeps it */
        return DECIDE_LEAVE;
    return item || delivery->again ? DECIDE_CLAIM : DECIDE_RUN;
}

/* What is at the position is not the delivery's event. Both come from the event log, so else they
 * can differ only if that is not the one it was. */
static enum decision decide_stranger(const struct status_entry *cell,
                                     const struct decide_delivery *delivery)
{
    if (is_item(delivery))
        return DECIDE_VOID;
    return is_ended_conflict(cell, delivery) ? DECIDE_ENDED : DECIDE_LEAVE;
}

enum decision decide(const struct status_entry *cell, uint64_t first,
                     const struct decide_delivery *delivery)
{
    bool item = is_item(delivery);
    if (delivery->position < first)
        return item ? DECIDE_VOID : DECIDE_GONE;
    if (!cell || cell->event_position != delivery->position)
        return item ? DECIDE_VOID : DECIDE_LEAVE;
    if (!id_equal(&cell->id, &delivery->id))
        return decide_stranger(cell, delivery);
    if (cell->state.status == STATUS_NONE)
        return item ? DECIDE_VOID : DECIDE_COPY;
    if (delivery->generation < cell->state.generation ||
        (delivery->generation == cell->state.generation && status_ended(cell->state.status)))
        return DECIDE_ENDED;
    return delivery->malformed ? DECIDE_BURY : decide_open(cell, delivery);
}
