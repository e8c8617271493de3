/* The promises, as they can be seen from outside: by what is in the logs, and by what each
 * processor says. */
#include "tests/sim/world.h"

#include "common/retry_item.h"
#include "event-processor/history.h"
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { POSITIONS_MAX = 4 * EVENTS_MAX, PROCESSES_MAX = 512, ASK_MS = 5000 };

/* A record of the event log, by a reading of its own. */
struct known {
    bool kept;
    struct event_id id; /* as event_identity says */
    bool proper;
    uint64_t first; /* the position of its id's first copy */
    char digest[EVENT_DIGEST_TEXT_SIZE];
    unsigned failures; /* of its handler */
};

static struct known log_[POSITIONS_MAX];
static uint64_t log_end;
static size_t accepted_checked;

static char *text_of(const struct event_id *id)
{
    static char text[ID_TEXT_SIZE];
    id_format(id, text);
    return text;
}

static uint64_t first_of(const struct event_id *id, uint64_t before)
{
    for (uint64_t p = 1; p < before; p++)
        if (id_equal(&log_[p].id, id))
            return p;
    return before;
}

static void read_log(struct world *world)
{
    struct log_names names;
    struct bus_log_spec spec;
    struct bus_record *record;
    struct view name;
    settings_event_log(&world->settings.shared, &names, &spec);
    struct bus_log_end end;
    if (bus_log_end(world->events, 1000, &end))
        sim_fail("the event log has no end");
    while (log_end < end.last) {
        if (log_end + 1 == POSITIONS_MAX)
            sim_fail("too many records in the event log");
        uint64_t p = log_end + 1;
        struct known k = {.kept = !bus_log_read(world->events, p, 1000, &record)};
        if (k.kept) {
            k.proper = event_identity(record, WORLD_NS, names.stream, &k.id, &name);
            k.first = first_of(&k.id, p);
            if (k.proper && event_digest_of_record(record, WORLD_NS, k.digest))
                sim_fail("an event without a digest");
            k.failures = world_failures(&world->plan, record->payload);
            bus_record_free(record);
        }
        if (log_end + 1 != p) /* a loss meanwhile: it has been read anew */
            return;
        log_[p] = k;
        log_end = p;
    }
}

static bool is_stored(const struct accepted *a)
{
    for (uint64_t p = 1; p <= log_end; p++)
        if (id_equal(&log_[p].id, &a->id) && strcmp(log_[p].digest, a->digest) == 0)
            return true;
    return false;
}

/* How a process has said that an event has ended; STATUS_NONE: it has not. */
static enum status said_ended[NODES_MAX][EVENTS_MAX];
static int said_by[NODES_MAX];

void check_loss(struct world *world)
{
    size_t kept = 0;
    log_end = 0;
    read_log(world);
    for (size_t i = 0; i < world->accepted_count; i++)
        if (is_stored(&world->accepted[i]))
            world->accepted[kept++] = world->accepted[i];
    world->accepted_count = accepted_checked = kept;
    memset(said_by, 0, sizeof said_by);
}

/* ---- 202 means stored ---- */

static void check_accepted(struct world *world)
{
    for (; accepted_checked < world->accepted_count; accepted_checked++) {
        const struct accepted *a = &world->accepted[accepted_checked];
        if (!is_stored(a))
            sim_fail("%s got a 202 and is not stored", text_of(&a->id));
    }
}

/* ---- any processor knows ---- */

struct question {
    struct world *world;
    struct node *node;
    struct processor *processor;
    size_t accepted; /* which */
    uint32_t losses;
    enum status had_ended; /* as the process had said before it was asked */
    char id[ID_TEXT_SIZE];
};

static void on_answer(void *ctx, enum err e, const char *message, const struct event_status *status)
{
    struct question *q = ctx;
    size_t number = (size_t)(q->node - q->world->nodes);
    if (q->losses != q->world->losses) {
        free(q);
        return;
    }
    if (e == ERR_NOT_FOUND)
        sim_fail("%s doesn't know %s: %s", q->node->name, q->id, message);
    if (e && e != ERR_UNAVAILABLE && e != ERR_BUSY)
        sim_fail("%s answers for %s with %s", q->node->name, q->id, err_slug(e));
    bool ended = !e && status_ended(status->state.status);
    if (!e && q->had_ended && status->state.status != q->had_ended)
        sim_fail("%s takes back that %s is %s: %s", q->node->name, q->id, status_word(q->had_ended),
                 status_word(status->state.status));
    if (ended && q->world->losses == 0 && said_by[number] == sim_process())
        said_ended[number][q->accepted] = status->state.status;
    free(q);
}

static void ask(void *arg)
{
    struct question *q = arg;
    struct query_ask question = {
        .request = {.event_id = view_of(q->id)}, .timeout_ms = ASK_MS, .done = on_answer, .ctx = q};
    query_ask(q->processor->query, &question);
}

static void ask_somebody(struct world *world)
{
    struct node *node = &world->nodes[sim_random(world->node_count)];
    if (node->is_gateway || !node->up || node->stopping || world->accepted_count == 0)
        return;
    struct question *q = malloc(sizeof *q);
    *q = (struct question){
        .world = world, .node = node, .processor = node->processor, .losses = world->losses};
    size_t last = world->accepted_count - 1;
    q->accepted = sim_chance(50) ? last : sim_random(last + 1); /* what is new is what is missed */
    id_format(&world->accepted[q->accepted].id, q->id);
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

static void check_agreement(struct world *world)
{
    struct status_table_stats stats[NODES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        if (node->is_gateway || !node->up || node->stopping)
            continue;
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

/* ---- one id, one event ---- */

/* What the status log says of each position: whether a record that ends it was there, as of the
 * last look. */
static bool ended[POSITIONS_MAX];
static uint64_t status_end;
/* The process to which a position was last delivered after that, ... */
static int ended_at[POSITIONS_MAX];
/* ... and how many deliveries of it each process holds: it may run what came before. */
static uint8_t held_at[PROCESSES_MAX][POSITIONS_MAX];
/* Whether there was any record, and whether a delivery was acknowledged. */
static bool recorded[POSITIONS_MAX], acked[POSITIONS_MAX];

static void read_statuses(struct world *world)
{
    struct bus_record *record;
    struct status_batch *batch;
    while (!bus_log_read(world->statuses, status_end + 1, 1000, &record)) {
        status_end++;
        if (status_batch_read(record->payload, &batch))
            sim_fail("a broken batch in the status log");
        for (size_t i = 0; i < status_batch_count(batch); i++) {
            struct status_change change = status_batch_get(batch, i);
            if (change.event_position >= POSITIONS_MAX)
                continue;
            recorded[change.event_position] = true;
            if (status_ended(change.state.status))
                ended[change.event_position] = true;
        }
        status_batch_free(batch);
        bus_record_free(record);
    }
}

void check_delivery(struct world *world, int process, const struct bus_record *record,
                    const enum bus_settlement *how)
{
    struct retry_item item;
    uint64_t position = record->position;
    bool is_item = strcmp(record->subject, WORLD_NS ".retry." WORLD_GROUP) == 0;
    (void)world;
    if (is_item && retry_item_read(record->payload, &item))
        sim_fail("a broken item in the retry log");
    if (is_item)
        position = item.event_position;
    if (position >= POSITIONS_MAX || process >= PROCESSES_MAX)
        sim_fail("position %llu was delivered", (unsigned long long)position);
    uint8_t *held = &held_at[process][position];
    if (!how && ended[position] && *held == 0)
        ended_at[position] = process;
    *held = (uint8_t)(how ? *held - 1 : *held + 1);
    if (how && *how == BUS_ACK)
        acked[position] = true;
}

/* Records come before acknowledgements. `acked` as it was before the status log was read. */
static void check_acks(const bool *acked_before)
{
    for (uint64_t p = 1; p <= log_end; p++)
        if (acked_before[p] && !recorded[p])
            sim_fail("position %llu was acknowledged without a record", (unsigned long long)p);
}

void check_run(struct world *world, int process, uint64_t position)
{
    if (position >= POSITIONS_MAX)
        sim_fail("position %llu was run", (unsigned long long)position);
    if (ended_at[position] == process && world->losses == 0)
        sim_fail("position %llu was run although it had ended before it was delivered",
                 (unsigned long long)position);
    world->runs[position]++;
}

static void check_runs(const struct world *world)
{
    for (uint64_t p = 1; p <= log_end; p++) {
        if (world->runs[p] > 0 && (!log_[p].proper || log_[p].first != p))
            sim_fail("position %llu was run although it is %s", (unsigned long long)p,
                     log_[p].proper ? "a copy" : "no event");
        if (world->runs[p] > 1 && !world->faulty)
            sim_fail("position %llu was run %u times without any reason", (unsigned long long)p,
                     world->runs[p]);
    }
}

void check_now(struct world *world)
{
    read_log(world);
    check_accepted(world);
    if (world->losses == 0) { /* positions mean one thing only */
        bool acked_before[POSITIONS_MAX];
        memcpy(acked_before, acked, sizeof acked);
        read_statuses(world);
        check_acks(acked_before);
        check_runs(world);
        check_agreement(world);
    }
    ask_somebody(world);
}

/* ---- every event ends ---- */

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
           stats.reflects.status_position == statuses.last && open == 0;
}

/* Whether what a copy has to say has been said: it is not seen in the counts. */
static bool copies_ended(const struct node *node)
{
    for (uint64_t p = 1; p <= log_end; p++) {
        struct status_entry entry;
        bool conflict = log_[p].proper && log_[p].first != p &&
                        strcmp(log_[p].digest, log_[log_[p].first].digest) != 0;
        if (conflict && (!status_table_at(node->processor->table, p, &entry, NULL) ||
                         entry.state.status != STATUS_DEAD))
            return false;
    }
    return true;
}

bool check_quiet(struct world *world)
{
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

static void expect(struct node *node, const struct event_id *id, uint64_t position,
                   enum status status)
{
    struct status_entry entry;
    if (!status_table_find(node->processor->table, id, &entry, NULL))
        sim_fail("%s doesn't know %s at position %llu in the end", node->name, text_of(id),
                 (unsigned long long)position);
    if (entry.state.status != status || entry.event_position != position)
        sim_fail("for %s, %s at position %llu is %s (at position %llu) in the end, not %s",
                 node->name, text_of(id), (unsigned long long)position,
                 status_word(entry.state.status), (unsigned long long)entry.event_position,
                 status_word(status));
}

/* The letter that the first `dead` record of the id names. `reason` NULL: any. */
static void check_letter(struct world *world, const struct event_id *id, const char *reason)
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
            if (id_equal(&change.id, id) && change.state.status == STATUS_DEAD)
                letter = change.letter_position;
        }
        status_batch_free(batch);
        bus_record_free(record);
    }
    if (!letter || bus_log_read(world->letters, letter, 1000, &record))
        sim_fail("%s has no dead letter (%llu)", text_of(id), (unsigned long long)letter);
    if (!id_parse(bus_record_header(record, "Tidings-Event-Id"), &named) || !id_equal(&named, id) ||
        (reason && !view_equal(bus_record_header(record, "Tidings-Reason"), view_of(reason))))
        sim_fail("the dead letter of %s is another's", text_of(id));
    bus_record_free(record);
}

/* Whether its attempts are all there: those that have failed, and the one that was the last. */
static void check_history(struct world *world, const struct status_entry *entry, uint32_t attempts)
{
    static struct history history;
    uint32_t failed = 0;
    if (history_read(world->statuses, entry, 1000, &history))
        sim_fail("no history");
    for (size_t i = 0; i < history.count; i++) {
        struct status_state state = history.changes[i].state;
        if (state.status == STATUS_RETRYING && state.attempt != ++failed)
            sim_fail("attempt %u is missing in the history of %s", failed, text_of(&entry->id));
    }
    /* Whoever was thought to have vanished may have come to an end after all. */
    bool late = world->crashes && entry->state.status == STATUS_PROCESSED && failed == attempts;
    if ((failed + 1 != attempts && !late) || entry->state.attempt != attempts)
        sim_fail("%s has ended in attempt %u after %u that have failed, not in %u",
                 text_of(&entry->id), entry->state.attempt, failed, attempts);
    history_free(&history);
}

/* Where nothing goes wrong an attempt fails only if its handler does. */
static void check_ended(struct world *world, struct node *node, uint64_t p)
{
    const struct known *k = &log_[p];
    struct status_entry entry;
    if (!status_table_find(node->processor->table, &k->id, &entry, NULL))
        sim_fail("%s doesn't know %s at position %llu in the end", node->name, text_of(&k->id),
                 (unsigned long long)p);
    uint32_t attempt = entry.state.attempt;
    bool dead = entry.state.status == STATUS_DEAD;
    uint32_t expected = k->failures == NEVER_AGAIN    ? 1
                        : k->failures >= FAILS_ALWAYS ? MAX_ATTEMPTS
                                                      : k->failures + 1;
    bool must_die = k->failures >= FAILS_ALWAYS;
    if (world->crashes && (dead || attempt > expected)) /* these have cost attempts */
        expected = attempt;
    else if (dead != must_die)
        sim_fail("%s is %s", text_of(&k->id), status_word(entry.state.status));
    if (dead && k->failures != NEVER_AGAIN && attempt != MAX_ATTEMPTS)
        sim_fail("%s is dead after %u attempts", text_of(&k->id), attempt);
    check_history(world, &entry, expected);
    expect(node, &k->id, p, entry.state.status);
    if (dead)
        check_letter(world, &k->id,
                     k->failures == NEVER_AGAIN && attempt < MAX_ATTEMPTS ? "never_again" : NULL);
    else if (world->runs[p] == 0)
        sim_fail("position %llu is processed but was never run", (unsigned long long)p);
}

/* What both logs say in the end, at one processor. */
static void check_events(struct world *world, struct node *node)
{
    struct log_names names;
    struct bus_log_spec spec;
    settings_event_log(&world->settings.shared, &names, &spec);
    for (uint64_t p = 1; p <= log_end; p++) {
        const struct known *k = &log_[p];
        struct status_entry entry;
        struct event_id own;
        id_of_position(view_of(names.stream), p, &own);
        if (!k->proper) {
            expect(node, &own, p, STATUS_DEAD);
            check_letter(world, &own, "malformed");
        } else if (k->first == p) {
            check_ended(world, node, p);
        } else if (strcmp(k->digest, log_[k->first].digest) != 0) {
            expect(node, &own, p, STATUS_DEAD);
            check_letter(world, &own, "id_conflict");
        } else if (status_table_find(node->processor->table, &own, &entry, NULL)) {
            sim_fail("position %llu is a copy, and %s takes it for another event",
                     (unsigned long long)p, node->name);
        }
    }
}

/* The same after a loss, when firsts may be gone. Tables may differ a little then: a record of the
 * log's earlier life counts where the same id is at the same position again, and that depends on
 * how far the log had come when it was folded. */
static void check_rest(struct world *world, struct node *node)
{
    struct log_names names;
    struct bus_log_spec spec;
    settings_event_log(&world->settings.shared, &names, &spec);
    for (uint64_t p = 1; p <= log_end; p++) {
        struct status_entry entry;
        struct event_id own;
        if (!log_[p].kept)
            continue;
        id_of_position(view_of(names.stream), p, &own);
        if (!status_table_find(node->processor->table, &log_[p].id, &entry, NULL) &&
            !status_table_find(node->processor->table, &own, &entry, NULL))
            sim_fail("%s doesn't know %s at position %llu in the end", node->name,
                     text_of(&log_[p].id), (unsigned long long)p);
        if (!status_ended(entry.state.status))
            sim_fail("for %s, %s at position %llu has not ended in the end", node->name,
                     text_of(&log_[p].id), (unsigned long long)p);
    }
}

void check_end(struct world *world)
{
    check_now(world);
    for (size_t i = 0; i < world->node_count; i++)
        if (!world->nodes[i].is_gateway && world->nodes[i].up)
            (world->losses ? check_rest : check_events)(world, &world->nodes[i]);
}
