/* Every event ends, as both logs say, at one processor. */
#include "tests/sim/checks.h"

#include "event-processor/history.h"

static void expect(struct node *node, const struct event_id *id, uint64_t position,
                   struct status_state state)
{
    struct status_entry entry;
    if (!status_table_find(node->processor->table, id, &entry, NULL))
        sim_fail("%s doesn't know %s at position %llu in the end", node->name, check_text_of(id),
                 (unsigned long long)position);
    if (entry.state.status != state.status || entry.event_position != position ||
        check_order(entry.state, state) != 0)
        sim_fail("for %s, %s at position %llu is %s (attempt %u, at position %llu) in the end, "
                 "not %s (attempt %u)",
                 node->name, check_text_of(id), (unsigned long long)position,
                 status_word(entry.state.status), entry.state.attempt,
                 (unsigned long long)entry.event_position, status_word(state.status),
                 state.attempt);
}

/* ---- letters ---- */

/* The letter that the first `dead` record of the id's generation names. `reason` NULL: any. */
static void check_letter(struct world *world, const struct event_id *id, uint32_t generation,
                         const char *reason)
{
    struct bus_record *record;
    struct status_batch *batch;
    struct event_id named;
    uint64_t letter = 0;
    for (uint64_t p = 1; !letter && !bus_log_read(world->statuses, p, 1000, &record); p++) {
        if (status_batch_read(record->payload, &batch))
            sim_fail("a broken batch in the status log");
        for (size_t i = 0; i < status_batch_count(batch) && !letter; i++) {
            struct status_change change = status_batch_get(batch, i);
            if (id_equal(&change.id, id) && change.state.status == STATUS_DEAD &&
                change.state.generation == generation)
                letter = change.letter_position;
        }
        status_batch_free(batch);
        bus_record_free(record);
    }
    if (!letter || bus_log_read(world->letters, letter, 1000, &record))
        sim_fail("%s has no dead letter (%llu)", check_text_of(id), (unsigned long long)letter);
    if (!id_parse(bus_record_header(record, "Tidings-Event-Id"), &named) || !id_equal(&named, id) ||
        (reason && !view_equal(bus_record_header(record, "Tidings-Reason"), view_of(reason))))
        sim_fail("the dead letter of %s is another's", check_text_of(id));
    bus_record_free(record);
}

/* ---- one event ---- */

/* Whether its attempts are all there: those that have failed, and the one that was the last; in
 * each generation, which ends once. */
static void check_history(struct world *world, const struct status_entry *entry, uint32_t attempts)
{
    static struct history history;
    uint32_t failed = 0, generation = 0;
    if (history_read(world->statuses, entry, 1000, &history))
        sim_fail("no history");
    for (size_t i = 0; i < history.count; i++) {
        struct status_state state = history.changes[i].state;
        const struct status_state *next =
            i + 1 < history.count ? &history.changes[i + 1].state : NULL;
        bool has_failed = state.status == STATUS_RETRYING && state.attempt > 0; /* 0: put off */
        failed = state.generation == generation ? failed : 0;
        generation = state.generation;
        if (has_failed && state.attempt != ++failed)
            sim_fail("attempt %u is missing in the history of %s", failed,
                     check_text_of(&entry->id));
        if (status_ended(state.status) != (!next || next->generation > state.generation))
            sim_fail("a generation in the history of %s does not end once",
                     check_text_of(&entry->id));
    }
    /* Whoever was thought to have vanished may have come to an end after all. */
    bool late = plan_loses_runs(&world->plan) && entry->state.status == STATUS_PROCESSED &&
                failed == attempts;
    if ((failed + 1 != attempts && !late) || entry->state.attempt != attempts)
        sim_fail("%s has ended in attempt %u after %u that have failed, not in %u",
                 check_text_of(&entry->id), entry->state.attempt, failed, attempts);
    history_free(&history);
}

/* Whether an attempt may have failed without its handler. A drain that has no time for what runs
 * looks like a crash, which is an attempt of what ran alone. */
static bool may_lose_runs(const struct plan *plan, uint64_t p)
{
    return plan_loses_runs(plan) ||
           (plan->stops && !plan_drains_in_time(plan) && check_folded[p].ran_alone);
}

/* Where nothing goes wrong an attempt fails only if its handler does. */
static void check_event(struct world *world, struct node *node, uint64_t p)
{
    const struct known *k = &check_log[p];
    const uint32_t most = (uint32_t)k->handler->max_attempts;
    struct status_entry entry;
    expect(node, &k->id, p, check_folded[p].state);
    if (status_table_find(node->processor->table, &k->id, &entry, NULL) &&
        entry.change_position != check_folded[p].changed_at)
        sim_fail("for %s, %s has changed at %llu, not %llu", node->name, check_text_of(&k->id),
                 (unsigned long long)entry.change_position,
                 (unsigned long long)check_folded[p].changed_at);
    uint32_t attempt = entry.state.attempt;
    bool dead = entry.state.status == STATUS_DEAD;
    bool must_die = k->fate.failures >= most || k->fate.never;
    uint32_t expected = k->fate.never ? 1 : must_die ? most : k->fate.failures + 1;
    if (k->fate.flaky || (may_lose_runs(&world->plan, p) && (dead || attempt > expected)))
        expected = attempt; /* that is what they have cost */
    else if (dead != must_die)
        sim_fail("%s is %s", check_text_of(&k->id), status_word(entry.state.status));
    if (dead && !k->fate.never && attempt != most)
        sim_fail("%s is dead after %u attempts", check_text_of(&k->id), attempt);
    check_history(world, &entry, expected);
    if (dead)
        check_letter(world, &k->id, entry.state.generation,
                     k->fate.never && attempt < most ? "never_again"
                     : k->fate.never                 ? NULL
                                                     : "attempts_exhausted");
    else if (!check_was_run(&k->id))
        sim_fail("position %llu is processed but was never run", (unsigned long long)p);
}

/* What both logs say in the end. */
static void check_all(struct world *world, struct node *node)
{
    for (uint64_t p = 1; p <= check_log_end; p++) {
        const struct known *k = &check_log[p];
        const struct status_state dead = {.status = STATUS_DEAD};
        struct status_entry entry;
        struct event_id own;
        id_of_position(view_of(world->event_names.stream), p, &own);
        if (!k->proper) {
            expect(node, &own, p, dead);
            check_letter(world, &own, 0, "malformed");
        } else if (k->first == p) {
            check_event(world, node, p);
        } else if (check_is_conflict(k, p)) {
            expect(node, &own, p, dead);
            check_letter(world, &own, 0, "id_conflict");
        } else if (status_table_find(node->processor->table, &own, &entry, NULL)) {
            sim_fail("position %llu is a copy, and %s takes it for another event",
                     (unsigned long long)p, node->name);
        }
    }
}

/* ---- after a loss ---- */

/* Whether what a table says stands in the status log, so that others would say the same. Of what
 * somebody has emptied by hand, or a damaged file, the tables are all that is left. */
static void check_record(struct world *world, const struct node *node,
                         const struct status_entry *entry)
{
    struct bus_record *record;
    struct status_batch *batch;
    struct bus_log_end end;
    bool there = false;
    if (bus_log_end(world->statuses, 1000, &end) || entry->change_position < end.first)
        return;
    if (entry->change_position >= world->hole_first && entry->change_position <= world->hole_last)
        return;
    if (!bus_log_read(world->statuses, entry->change_position, 1000, &record)) {
        if (!status_batch_read(record->payload, &batch)) {
            there = entry->change_place < status_batch_count(batch) &&
                    status_batch_get(batch, entry->change_place).event_position ==
                        entry->event_position;
            status_batch_free(batch);
        }
        bus_record_free(record);
    }
    if (!there)
        sim_fail("for %s, position %llu has ended by a record that is lost", node->name,
                 (unsigned long long)entry->event_position);
}

/* A copy with other content ends under an id of its own, also where its position was acknowledged
 * for what was there before the loss. */
static void check_late_conflict(struct world *world, struct node *node, uint64_t p)
{
    struct status_entry entry;
    struct event_id own;
    id_of_position(view_of(world->event_names.stream), p, &own);
    if (!status_table_find(node->processor->table, &own, &entry, NULL) ||
        entry.state.status != STATUS_DEAD)
        sim_fail("%s does not know that position %llu is a conflict", node->name,
                 (unsigned long long)p);
}

/* When firsts may be gone. Tables may differ a little then: a record of the log's earlier life
 * counts where the same id is at the same position again, and that depends on how far the log had
 * come when it was folded. */
static void check_rest(struct world *world, struct node *node)
{
    for (uint64_t p = 1; p <= check_log_end; p++) {
        const struct known *k = &check_log[p];
        struct status_entry entry;
        struct event_id own;
        if (!k->kept)
            continue;
        if (check_is_conflict(k, p) && check_log[k->first].kept)
            check_late_conflict(world, node, p);
        id_of_position(view_of(world->event_names.stream), p, &own);
        if (!status_table_find(node->processor->table, &k->id, &entry, NULL) &&
            !status_table_find(node->processor->table, &own, &entry, NULL))
            sim_fail("%s doesn't know %s at position %llu in the end", node->name,
                     check_text_of(&k->id), (unsigned long long)p);
        if (!status_ended(entry.state.status))
            sim_fail("for %s, %s at position %llu has not ended in the end", node->name,
                     check_text_of(&k->id), (unsigned long long)p);
        check_record(world, node, &entry);
        if (entry.state.status == STATUS_PROCESSED && !check_was_run(&entry.id))
            sim_fail("for %s, %s at position %llu is processed but was never run", node->name,
                     check_text_of(&k->id), (unsigned long long)p);
    }
}

void check_end_at(struct world *world, struct node *node)
{
    if (world->plan.max_age_ms)
        check_age_end(world, node);
    else
        (world->losses ? check_rest : check_all)(world, node);
    if (world->losses == 0)
        check_replays_end(world, node);
}
