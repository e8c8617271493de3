/* Nothing leaves the event log in silence: what it drops by its age had ended, and has its letter
 * if it is dead. */
#include "tests/sim/checks.h"

static uint64_t left; /* all positions up to this one have left it */

bool check_has_left(const struct event_id *id)
{
    bool found = false;
    for (uint64_t p = 1; p <= check_log_end; p++) {
        bool is_it = id_equal(&check_log[p].id, id);
        if (is_it && p > left)
            return false;
        found = found || is_it;
    }
    return found;
}

uint64_t check_first_kept(void)
{
    return left + 1;
}

bool check_age_is_over(const struct world *world)
{
    return world->plan.max_age_ms == 0 || left == check_log_end;
}

static void check_letter(struct world *world, uint64_t p)
{
    const struct folded *cell = &check_folded[p];
    struct bus_record *letter;
    struct event_id id;
    if (cell->letter == 0 || bus_log_read(world->letters, cell->letter, 1000, &letter))
        sim_fail("position %llu is dead without a letter", (unsigned long long)p);
    bool is_its = id_parse(bus_record_header(letter, "Tidings-Event-Id"), &id) &&
                  id_equal(&id, &cell->known_as);
    bool expired = view_equal(bus_record_header(letter, "Tidings-Reason"), VIEW("expired"));
    bus_record_free(letter);
    if (!is_its)
        sim_fail("the letter of position %llu is another's", (unsigned long long)p);
    if (expired != cell->expired)
        sim_fail("the letter of position %llu has another reason", (unsigned long long)p);
}

static void check_left(struct world *world, uint64_t p)
{
    const struct folded *cell = &check_folded[p];
    if (!status_ended(cell->state.status))
        sim_fail("position %llu has left the event log and is %s", (unsigned long long)p,
                 status_word(cell->state.status));
    if (cell->state.status == STATUS_DEAD)
        check_letter(world, p);
    else if (!check_was_run(&check_log[p].id))
        sim_fail("position %llu is processed but was never run", (unsigned long long)p);
}

void check_age(struct world *world)
{
    struct bus_log_end end;
    if (world->plan.max_age_ms == 0)
        return;
    if (bus_log_end(world->events, 1000, &end))
        sim_fail("the event log has no end");
    check_statuses_read(world);
    for (; left + 1 < end.first && left < check_log_end; left++)
        check_left(world, left + 1);
}

/* What the event log still keeps. */
void check_age_end(struct world *world, struct node *node)
{
    struct status_entry entry;
    for (uint64_t p = left + 1; p <= check_log_end; p++) {
        if (!status_table_at(node->processor->table, p, &entry, NULL) ||
            entry.state.status == STATUS_NONE) /* a copy, or it is leaving */
            continue;
        check_left(world, p);
        if (entry.state.status != check_folded[p].state.status)
            sim_fail("for %s position %llu is %s in the end, not %s", node->name,
                     (unsigned long long)p, status_word(entry.state.status),
                     status_word(check_folded[p].state.status));
    }
}
