/* Any processor knows, and none takes back what it or another one has said. */
#include "tests/sim/checks.h"

#include <stdio.h>
#include <stdlib.h>

enum { ASK_MS = 5000, CARRIERS = 3, BEYOND = 1000000, FOLD_PERCENT = 5 };

/* Somebody who carries the position of an answer from processor to processor. */
static struct carrier {
    size_t accepted;
    uint64_t position; /* 0: of no answer yet */
    struct status_state state;
    int asked; /* the process; 0: none at present */
} carriers[CARRIERS];

/* How a process has said that an event has ended; STATUS_NONE: it has not. */
static struct status_state said_ended[NODES_MAX][EVENTS_MAX];
static int said_by[NODES_MAX];

void check_answers_loss(void)
{
    memset(said_by, 0, sizeof said_by);
    memset(carriers, 0, sizeof carriers);
}

struct question {
    struct world *world;
    struct node *node;
    struct processor *processor;
    uint64_t known;          /* where the status log ended when the process started */
    size_t accepted;         /* which */
    struct carrier *carrier; /* NULL: none */
    struct event_status_request request;
    uint32_t losses;
    struct status_state had_ended; /* as the process had said before it was asked */
    char id[ID_TEXT_SIZE];
};

/* ---- answers ---- */

static void check_refusal(const struct question *q, enum err e, const char *message)
{
    bool beyond = q->request.min_position >= BEYOND;
    if (e == ERR_NOT_FOUND && check_has_left(&q->world->accepted[q->accepted].id))
        return;
    if (e == ERR_NOT_FOUND)
        sim_fail("%s doesn't know %s: %s", q->node->name, q->id, message);
    if (e != ERR_UNAVAILABLE && e != ERR_BUSY && !(e == ERR_OUT_OF_RANGE && beyond))
        sim_fail("%s answers for %s with %s", q->node->name, q->id, err_slug(e));
}

/* Only a replay leaves an outcome, into the next generation. */
static bool is_taken_back(const struct world *world, struct status_state before,
                          struct status_state now)
{
    if (world->plan.max_age_ms) /* its copy may have become the event, with no attempts */
        return status_ended(before.status) && now.status != before.status;
    if (check_order(now, before) < 0)
        return true;
    return status_ended(before.status) && now.generation == before.generation &&
           (now.status != before.status || now.attempt != before.attempt);
}

static void check_ended(const struct question *q, const struct event_status *status)
{
    size_t number = (size_t)(q->node - q->world->nodes);
    if (q->had_ended.status && is_taken_back(q->world, q->had_ended, status->state))
        sim_fail("%s takes back that %s is %s: %s", q->node->name, q->id,
                 status_word(q->had_ended.status), status_word(status->state.status));
    if (status_ended(status->state.status) && said_by[number] == sim_process())
        said_ended[number][q->accepted] = status->state;
}

static void check_carried(const struct question *q, const struct event_status *status)
{
    struct carrier *c = q->carrier;
    if (status->position < q->request.min_position)
        sim_fail("%s answers for %s as of %llu, before %llu", q->node->name, q->id,
                 (unsigned long long)status->position, (unsigned long long)q->request.min_position);
    if (c->position && is_taken_back(q->world, c->state, status->state))
        sim_fail("%s goes back from %s to %s at %s", q->id, status_word(c->state.status),
                 status_word(status->state.status), q->node->name);
    c->position = status->position;
    c->state = status->state;
}

static void check_full(const struct question *q, const struct event_status *status)
{
    uint64_t p = status->event_position;
    const struct known *k = &check_log[p];
    if (p > check_log_end) /* it has not been read here yet */
        return;
    struct bus_log_end end;
    if (q->world->plan.max_age_ms &&
        (bus_log_end(q->world->events, 1000, &end) || p < end.first)) /* it has just left */
        return;
    if (!view_equal(status->producer_id, view_of(k->producer_id)) ||
        !view_equal(status->source, view_of(k->source)))
        sim_fail("%s has another producer's id or source at %s", q->id, q->node->name);
    for (size_t i = 2; i < status->history_count; i++)
        if (check_order(status->history[i - 1].state, status->history[i].state) >= 0)
            sim_fail("the history of %s does not ascend at %s", q->id, q->node->name);
}

static void check_answer(const struct question *q, const struct event_status *status)
{
    const struct accepted *a = &q->world->accepted[q->accepted];
    if (q->request.min_position >= BEYOND)
        sim_fail("%s answers for a position beyond the status log's end", q->node->name);
    if (!id_equal(&status->id, &a->id))
        sim_fail("%s answers for another event than %s", q->node->name, q->id);
    if (status->position < q->known)
        sim_fail("%s answers for %s as of %llu, but started when the log had %llu", q->node->name,
                 q->id, (unsigned long long)status->position, (unsigned long long)q->known);
    check_ended(q, status);
    if (q->carrier)
        check_carried(q, status);
    if (status->full)
        check_full(q, status);
}

static void on_answer(void *ctx, enum err e, const char *message, const struct event_status *status)
{
    struct question *q = ctx;
    if (q->losses == 0 && q->world->losses == 0) {
        if (e)
            check_refusal(q, e, message);
        else
            check_answer(q, status);
    } else if (q->losses == q->world->losses && e == ERR_NOT_FOUND) {
        check_refusal(q, e, message);
    }
    if (q->carrier && q->losses == q->world->losses)
        q->carrier->asked = 0;
    free(q);
}

/* ---- questions ---- */

static void ask(void *arg)
{
    struct question *q = arg;
    struct query_ask question = {
        .request = q->request, .timeout_ms = ASK_MS, .done = on_answer, .ctx = q};
    query_ask(q->processor->query, &question);
}

/* By the event_id, or as its producer knows it. */
static void name_event(const struct world *world, struct question *q)
{
    const struct accepted *a = &world->accepted[q->accepted];
    id_format(&a->id, q->id);
    q->request.event_id = view_of(q->id);
    if (!a->producer_id[0] || sim_chance(50))
        return;
    q->request.event_id = view_of(a->producer_id);
    q->request.source = view_of(a->source);
}

static void choose_event(const struct world *world, struct question *q)
{
    size_t last = world->accepted_count - 1;
    struct carrier *c = &carriers[sim_random(CARRIERS)];
    if (c->asked && sim_is_killed(c->asked))
        c->asked = 0;
    q->accepted = sim_chance(50) ? last : sim_random(last + 1); /* what is new is what is missed */
    if (c->asked || sim_chance(40))
        return;
    if (c->position == 0 || sim_chance(10))
        *c = (struct carrier){.accepted = q->accepted};
    q->accepted = c->accepted;
    q->carrier = c;
    q->request.min_position = c->position;
    c->asked = q->node->process;
}

static void ask_somebody(struct world *world)
{
    struct node *node = &world->nodes[sim_random(world->node_count)];
    if (node->is_gateway || !node->up || node->stopping || world->accepted_count == 0)
        return;
    struct question *q = malloc(sizeof *q);
    *q = (struct question){.world = world,
                           .node = node,
                           .processor = node->processor,
                           .known = node->status_end,
                           .losses = world->losses};
    choose_event(world, q);
    name_event(world, q);
    q->request.full = sim_chance(10);
    if (!q->carrier && sim_chance(2))
        q->request.min_position = BEYOND;
    size_t number = (size_t)(node - world->nodes);
    if (said_by[number] != node->process)
        memset(said_ended[number], 0, sizeof said_ended[number]);
    said_by[number] = node->process;
    q->had_ended = said_ended[number][q->accepted];
    sim_spawn(node->process, ask, q);
}

/* ---- all of them agree ---- */

static bool same_positions(const struct status_reflects *a, const struct status_reflects *b)
{
    return a->event_position == b->event_position && a->status_position == b->status_position &&
           a->first_event_position == b->first_event_position;
}

static struct folded known[NODES_MAX][POSITIONS_MAX];
static int known_by[NODES_MAX];

const struct folded *check_known(const struct world *world, int process, uint64_t position)
{
    for (size_t i = 0; i < world->node_count; i++)
        if (world->nodes[i].process == process && known_by[i] == process)
            return known[i][position].state.status ? &known[i][position] : NULL;
    return NULL;
}

/* A table is what the logs say, by our own fold, if both have come as far. */
static void check_fold(const struct node *node)
{
    size_t number = (size_t)(node - node->world->nodes);
    if (known_by[number] != node->process)
        memset(known[number], 0, sizeof known[number]);
    known_by[number] = node->process;
    for (uint64_t p = 1; p <= check_log_end; p++) {
        const struct folded *folded = &check_folded[p];
        struct status_reflects reflects;
        struct status_entry entry;
        bool found = status_table_at(node->processor->table, p, &entry, &reflects);
        if (reflects.event_position < check_log_end || reflects.status_position != check_status_end)
            return;
        if (check_log[p].first != p || !folded->state.status || p < reflects.first_event_position)
            continue;
        if (!found || check_order(entry.state, folded->state) != 0 ||
            entry.state.status != folded->state.status ||
            entry.change_position != folded->changed_at)
            sim_fail("for %s, position %llu is %s (%llu) where the logs say %s (%llu)", node->name,
                     (unsigned long long)p, status_word(entry.state.status),
                     (unsigned long long)entry.change_position, status_word(folded->state.status),
                     (unsigned long long)folded->changed_at);
        known[number][p] = *folded;
    }
}

static void check_agreement(struct world *world)
{
    struct status_table_stats stats[NODES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        if (node->is_gateway || !node->up || node->stopping)
            continue;
        if (sim_chance(FOLD_PERCENT))
            check_fold(node);
        status_table_stats(node->processor->table, 0, &stats[count]);
        for (size_t j = 0; j < count; j++)
            if (same_positions(&stats[j].reflects, &stats[count].reflects) &&
                stats[j].digest != stats[count].digest)
                sim_fail("two tables differ at positions %llu and %llu",
                         (unsigned long long)stats[j].reflects.event_position,
                         (unsigned long long)stats[j].reflects.status_position);
        count++;
    }
}

void check_answers(struct world *world)
{
    if (world->losses == 0) /* positions mean one thing only */
        check_agreement(world);
    ask_somebody(world);
}
