/* The promises, as they can be seen from outside: by what is in the logs, and by what each
 * processor says. */
#include "tests/sim/checks.h"

void check_loss(struct world *world)
{
    check_log_loss(world);
    check_answers_loss();
}

void check_now(struct world *world)
{
    check_log_read(world);
    check_log_accepted(world);
    check_age(world);
    if (world->losses == 0) /* positions mean one thing only */
        check_runs(world);
    check_answers(world);
}

/* ---- quiet ---- */

static bool knows_all(struct world *world, const struct node *node)
{
    struct bus_log_end events, statuses;
    struct status_table_stats stats;
    if (bus_log_end(world->events, 1000, &events) || bus_log_end(world->statuses, 1000, &statuses))
        return false;
    status_table_stats(node->processor->table, 0, &stats);
    uint64_t open = stats.counts[STATUS_ACCEPTED] + stats.counts[STATUS_PROCESSING] +
                    stats.counts[STATUS_RETRYING];
    return stats.reflects.event_position == events.last &&
           stats.reflects.status_position == statuses.last && open == 0 &&
           replays_running(node->processor->replays) == 0;
}

/* Whether what a copy has to say has been said: it is not seen in the counts. */
static bool copies_ended(const struct node *node)
{
    for (uint64_t p = 1; p <= check_log_end; p++) {
        struct status_entry entry;
        if (check_is_conflict(&check_log[p], p) && p >= check_first_kept() &&
            (!status_table_at(node->processor->table, p, &entry, NULL) ||
             entry.state.status != STATUS_DEAD))
            return false;
    }
    return true;
}

/* Whether every delivery has been acknowledged. */
static bool nothing_left(struct world *world)
{
    struct bus_log_end events, retries;
    uint64_t floor;
    if (bus_log_end(world->events, 1000, &events) || bus_log_end(world->retries, 1000, &retries) ||
        bus_consumer_floor(world->group, 1000, &floor))
        return false;
    return floor == events.last && retries.count == 0;
}

bool check_quiet(struct world *world)
{
    if (world->losses == 0 && !nothing_left(world))
        return false;
    for (size_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (!node->up || node->stopping)
            return false;
        if (!node->is_gateway && !knows_all(world, node))
            return false;
        if (!node->is_gateway && world->losses == 0 && !copies_ended(node))
            return false;
    }
    return true;
}

void check_end(struct world *world)
{
    check_now(world);
    for (size_t i = 0; i < world->node_count; i++)
        if (!world->nodes[i].is_gateway && world->nodes[i].up)
            check_end_at(world, &world->nodes[i]);
}

void check_unrest(struct world *world)
{
    check_end(world);
    if (world->losses == 0 && !nothing_left(world))
        sim_fail("a delivery was never acknowledged");
}
