/* Replays, by a fold of our own: which events each is for, which it takes, and how it ends. */
#include "tests/sim/checks.h"

#include <stdio.h>

enum { REPLAYS_MAX = 32 };

struct folded_replay {
    struct event_id id;
    enum replay_state state;
    uint64_t begin_position, cursor, replayed, skipped;
    bool is_for[POSITIONS_MAX]; /* what it is for: what had ended when it began, and matches */
    bool takes[POSITIONS_MAX];  /* what records of it are about */
};

static struct folded_replay replays[REPLAYS_MAX];
static size_t replay_count;

static struct folded_replay *find(const struct event_id *id)
{
    for (size_t i = 0; i < replay_count; i++)
        if (id_equal(&replays[i].id, id))
            return &replays[i];
    return NULL;
}

/* ---- beginning ---- */

/* The patterns that operators use: all, `x.>`, or a name. */
static bool name_matches(const char *name, struct view pattern)
{
    size_t len = pattern.len;
    if (len == 0 || (len == 1 && pattern.data[0] == '>'))
        return true;
    if (pattern.data[len - 1] == '>')
        return strncmp(name, pattern.data, len - 1) == 0;
    return view_equal(view_of(name), pattern);
}

static bool id_matches(const struct replay_filter *filter, const struct event_id *id)
{
    size_t i = 0;
    while (i < filter->event_id_count && !id_equal(&filter->event_ids[i], id))
        i++;
    return filter->event_id_count == 0 || i < filter->event_id_count;
}

static bool matches(const struct replay_filter *filter, uint64_t p)
{
    const struct known *k = &check_log[p];
    if (!k->proper || k->first != p || (filter->statuses >> check_folded[p].state.status & 1) == 0)
        return false;
    return p <= filter->last_position && p >= filter->from_position &&
           (filter->to_position == 0 || p <= filter->to_position) &&
           k->time_ms >= filter->accepted_since_ms &&
           (filter->accepted_until_ms == 0 || k->time_ms < filter->accepted_until_ms) &&
           name_matches(k->name, filter->name) && id_matches(filter, &k->id);
}

static void begin(const struct replay_change *change, uint64_t at)
{
    if (replay_count == REPLAYS_MAX)
        sim_fail("too many replays");
    struct folded_replay *r = &replays[replay_count++];
    *r = (struct folded_replay){.id = change->id, .state = REPLAY_RUNNING, .begin_position = at};
    for (uint64_t p = 1; p <= check_log_end; p++)
        r->is_for[p] = matches(&change->filter, p);
}

/* ---- records ---- */

/* What it was for has begun another life since, be it by itself or by another replay. */
static void check_done(const struct folded_replay *r)
{
    for (uint64_t p = 1; p <= check_log_end; p++)
        if (r->is_for[p] && !r->takes[p] && check_folded[p].changed_at <= r->begin_position)
            sim_fail("replay %s is done without position %llu", check_text_of(&r->id),
                     (unsigned long long)p);
}

static void apply(const struct replay_change *change, uint64_t at)
{
    struct folded_replay *r = find(&change->id);
    if (!r && change->has_filter)
        begin(change, at);
    if (!r)
        return;
    if (r->state == REPLAY_RUNNING && change->state == REPLAY_DONE)
        check_done(r);
    if (r->state == REPLAY_RUNNING)
        r->state = change->state;
    if (change->cursor <= r->cursor) /* another runner has been there before */
        return;
    r->cursor = change->cursor;
    r->replayed = change->replayed;
    r->skipped = change->skipped;
}

void check_replays_fold(const struct status_batch *batch, uint64_t at)
{
    size_t count = status_batch_replay_count(batch);
    for (size_t i = 0; i < count; i++) {
        struct replay_change change = status_batch_replay(batch, i);
        apply(&change, at);
    }
}

void check_replays_take(const struct status_batch *batch, const struct status_change *change)
{
    if (status_batch_replay_count(batch) != 1)
        sim_fail("position %llu is replayed by no replay",
                 (unsigned long long)change->event_position);
    struct replay_change of = status_batch_replay(batch, 0);
    struct folded_replay *r = find(&of.id);
    if (!r || !r->is_for[change->event_position])
        sim_fail("position %llu is replayed by a replay that is not for it",
                 (unsigned long long)change->event_position);
    r->takes[change->event_position] = true;
}

void check_replays_generation(uint64_t position, uint32_t generation)
{
    uint32_t most = 0;
    for (size_t i = 0; i < replay_count; i++)
        most += replays[i].is_for[position];
    if (generation > most)
        sim_fail("position %llu is in generation %u, after %u replays",
                 (unsigned long long)position, generation, most);
}

/* ---- in the end ---- */

static uint64_t count_taken(const struct folded_replay *r)
{
    uint64_t count = 0;
    for (uint64_t p = 1; p <= check_log_end; p++)
        count += r->takes[p];
    return count;
}

void check_replays_end(struct world *world, struct node *node)
{
    for (size_t i = 0; i < replay_count; i++) {
        const struct folded_replay *r = &replays[i];
        struct replay replay;
        if (r->state == REPLAY_RUNNING)
            sim_fail("replay %s has not ended", check_text_of(&r->id));
        if (!replays_find(node->processor->replays, &r->id, &replay))
            sim_fail("%s doesn't know replay %s in the end", node->name, check_text_of(&r->id));
        if (replay.state != r->state || replay.replayed != r->replayed ||
            replay.skipped != r->skipped)
            sim_fail("for %s, replay %s is %s with %llu and %llu events in the end, not %s with "
                     "%llu and %llu",
                     node->name, check_text_of(&r->id), replay_state_word(replay.state),
                     (unsigned long long)replay.replayed, (unsigned long long)replay.skipped,
                     replay_state_word(r->state), (unsigned long long)r->replayed,
                     (unsigned long long)r->skipped);
        if (!plan_is_faulty(&world->plan) && r->replayed != count_taken(r))
            sim_fail("replay %s says that it has replayed %llu events, and has %llu",
                     check_text_of(&r->id), (unsigned long long)r->replayed,
                     (unsigned long long)count_taken(r));
        replay_release(&replay);
    }
}
