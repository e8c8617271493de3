#include "event-processor/replays.h"

#include "common/mem.h"
#include "event-processor/wait.h"

#include <stdatomic.h>

struct replay_plan {
    _Atomic unsigned references;
    struct replay_filter filter;     /* its views point into: */
    _Alignas(uint64_t) char bytes[]; /* letters, ids, name */
};

struct entry {
    struct replay replay;
    uint64_t ended; /* replays end one after the other: the how-manieth it was; 0: not yet */
};

struct replays {
    struct wait wait;   /* guards the following; woken at each turn */
    struct entry *list; /* in the order they began */
    size_t count, capacity;
    size_t running;
    uint64_t ends;
    uint64_t first; /* what began before it is forgotten */
    bool changed;   /* since the last announcement */
    uint64_t turn;
};

/* ---- plans ---- */

_Static_assert(_Alignof(struct event_id) <= _Alignof(uint64_t), "ids lie behind letters");

/* Returns the copy, and moves on behind it. */
static const void *add_copy(char **at, const void *from, size_t len)
{
    char *copy = *at;
    if (len > 0)
        memcpy(copy, from, len);
    *at += len;
    return copy;
}

static struct replay_plan *plan_new(const struct replay_filter *filter)
{
    size_t letters = filter->letter_count * sizeof *filter->letters;
    size_t ids = filter->event_id_count * sizeof *filter->event_ids;
    struct replay_plan *plan = mem_alloc(sizeof *plan + letters + ids + filter->name.len);
    if (!plan)
        return NULL;
    char *at = plan->bytes;
    atomic_init(&plan->references, 1);
    plan->filter = *filter;
    plan->filter.letters = add_copy(&at, filter->letters, letters);
    plan->filter.event_ids = add_copy(&at, filter->event_ids, ids);
    plan->filter.name.data = add_copy(&at, filter->name.data, filter->name.len);
    return plan;
}

static void plan_drop(struct replay_plan *plan)
{
    if (plan && atomic_fetch_sub(&plan->references, 1) == 1)
        mem_free(plan);
}

const struct replay_filter *replay_plan_filter(const struct replay_plan *plan)
{
    return &plan->filter;
}

void replay_copy(const struct replay *from, struct replay *ret)
{
    *ret = *from;
    atomic_fetch_add(&ret->plan->references, 1);
}

void replay_release(struct replay *replay)
{
    plan_drop(replay->plan);
    replay->plan = NULL;
}

/* ---- what a record changes ---- */

static void set_runner(struct replay *replay, struct view runner)
{
    size_t len = runner.len < REPLAY_RUNNER_SIZE ? runner.len : REPLAY_RUNNER_SIZE - 1;
    if (len > 0)
        memcpy(replay->runner, runner.data, len);
    replay->runner[len] = '\0';
}

static bool begin(struct replay *replay, const struct replay_change *change, uint64_t position)
{
    if (!change->has_filter || change->state != REPLAY_RUNNING)
        return false;
    *replay = (struct replay){.id = change->id,
                              .state = REPLAY_RUNNING,
                              .begin_position = position,
                              .started_ms = change->time_ms,
                              .updated_ms = change->time_ms,
                              .cursor = change->cursor,
                              .letter_cursor = change->letter_cursor,
                              .replayed = change->replayed,
                              .skipped = change->skipped,
                              .plan = replay->plan};
    set_runner(replay, change->runner);
    return true;
}

static bool is_further(const struct replay_change *change, const struct replay *replay)
{
    if (change->cursor != replay->cursor)
        return change->cursor > replay->cursor;
    return change->letter_cursor > replay->letter_cursor;
}

bool replay_move(struct replay *replay, const struct replay_change *change, uint64_t position)
{
    if (replay->state == REPLAY_NONE)
        return begin(replay, change, position);
    bool on = replay->state == REPLAY_RUNNING;
    bool further = is_further(change, replay);
    if (!on && !further)
        return false;
    if (further) {
        replay->cursor = change->cursor;
        replay->letter_cursor = change->letter_cursor;
        replay->replayed = change->replayed;
        replay->skipped = change->skipped;
    }
    if (on) {
        replay->state = change->state;
        replay->updated_ms = change->time_ms;
        if (change->runner.len > 0)
            set_runner(replay, change->runner);
    }
    return true;
}

/* ---- the list; with the lock held ---- */

static struct entry *find(struct replays *replays, const struct event_id *id)
{
    for (size_t i = replays->count; i-- > 0;)
        if (id_equal(&replays->list[i].replay.id, id))
            return &replays->list[i];
    return NULL;
}

static void drop(struct replays *replays, size_t index)
{
    struct entry *entry = &replays->list[index];
    replays->running -= entry->ended == 0;
    replay_release(&entry->replay);
    memmove(entry, entry + 1, (--replays->count - index) * sizeof *entry);
}

static void drop_first_ended(struct replays *replays)
{
    size_t first = replays->count;
    for (size_t i = 0; i < replays->count; i++) {
        uint64_t ended = replays->list[i].ended;
        if (ended > 0 && (first == replays->count || ended < replays->list[first].ended))
            first = i;
    }
    drop(replays, first);
}

/* One more place at the end. */
static struct entry *add(struct replays *replays)
{
    if (replays->count == replays->capacity) {
        size_t capacity = replays->capacity ? 2 * replays->capacity : 16;
        struct entry *list = mem_grow(replays->list, capacity, sizeof *list);
        if (!list)
            return NULL;
        replays->list = list;
        replays->capacity = capacity;
    }
    return &replays->list[replays->count];
}

static enum err apply_first(struct replays *replays, const struct replay_change *change,
                            uint64_t position)
{
    struct replay replay = {.state = REPLAY_NONE};
    if (!replay_move(&replay, change, position))
        return ERR_NONE; /* its beginning is not kept any more */
    struct entry *entry = add(replays);
    replay.plan = entry ? plan_new(&change->filter) : NULL;
    if (!replay.plan)
        return ERR_MEMORY;
    replay.heard_at = wait_until(0);
    *entry = (struct entry){.replay = replay};
    replays->count++;
    replays->running++;
    replays->changed = true;
    return ERR_NONE;
}

static void apply_more(struct replays *replays, struct entry *entry,
                       const struct replay_change *change, uint64_t position)
{
    if (!replay_move(&entry->replay, change, position))
        return;
    entry->replay.heard_at = wait_until(0);
    replays->changed = true;
    if (entry->replay.state == REPLAY_RUNNING || entry->ended > 0)
        return;
    entry->ended = ++replays->ends;
    if (replays->count - --replays->running > REPLAYS_KEPT)
        drop_first_ended(replays);
}

/* ---- writing ---- */

enum err replays_apply(struct replays *replays, const struct replay_change *change,
                       uint64_t position)
{
    enum err e = ERR_NONE;
    wait_lock(&replays->wait);
    struct entry *entry = find(replays, &change->id);
    if (entry)
        apply_more(replays, entry, change, position);
    else
        e = apply_first(replays, change, position);
    wait_unlock(&replays->wait);
    return e;
}

void replays_forget(struct replays *replays, uint64_t first)
{
    wait_lock(&replays->wait);
    for (size_t i = replays->count; i-- > 0;) {
        if (replays->list[i].replay.begin_position >= first)
            continue;
        drop(replays, i);
        replays->changed = true;
    }
    replays->first = first;
    wait_unlock(&replays->wait);
}

uint64_t replays_first(struct replays *replays)
{
    wait_lock(&replays->wait);
    uint64_t first = replays->first;
    wait_unlock(&replays->wait);
    return first;
}

void replays_reset(struct replays *replays)
{
    replays_forget(replays, UINT64_MAX);
    wait_lock(&replays->wait);
    replays->ends = replays->first = 0;
    wait_unlock(&replays->wait);
}

void replays_announce(struct replays *replays)
{
    wait_lock(&replays->wait);
    if (replays->changed) {
        replays->changed = false;
        replays->turn++;
        wait_wake_all(&replays->wait);
    }
    wait_unlock(&replays->wait);
}

/* ---- reading ---- */

bool replays_find(struct replays *replays, const struct event_id *id, struct replay *ret)
{
    wait_lock(&replays->wait);
    const struct entry *entry = find(replays, id);
    if (entry)
        replay_copy(&entry->replay, ret);
    wait_unlock(&replays->wait);
    return entry != NULL;
}

size_t replays_list(struct replays *replays, bool running_only, struct replay *ret, size_t max)
{
    size_t count = 0;
    wait_lock(&replays->wait);
    for (size_t i = replays->count; i-- > 0 && count < max;)
        if (!running_only || replays->list[i].ended == 0)
            replay_copy(&replays->list[i].replay, &ret[count++]);
    wait_unlock(&replays->wait);
    return count;
}

size_t replays_running(struct replays *replays)
{
    wait_lock(&replays->wait);
    size_t running = replays->running;
    wait_unlock(&replays->wait);
    return running;
}

/* ---- for a snapshot ---- */

enum err replays_save(struct replays *replays, struct replays_saved *ret)
{
    wait_lock(&replays->wait);
    struct replay_saved *list = mem_alloc(replays->count * sizeof *list);
    size_t count = list ? replays->count : 0;
    for (size_t i = 0; i < count; i++) {
        replay_copy(&replays->list[i].replay, &list[i].replay);
        list[i].ended = replays->list[i].ended;
    }
    wait_unlock(&replays->wait);
    if (!list)
        return ERR_MEMORY;
    *ret = (struct replays_saved){list, count};
    return ERR_NONE;
}

void replays_saved_free(struct replays_saved *saved)
{
    for (size_t i = 0; i < saved->count; i++)
        replay_release(&saved->list[i].replay);
    mem_free(saved->list);
    *saved = (struct replays_saved){0};
}

static bool may_be_next(struct replays *replays, const struct replay_change *change,
                        uint64_t begin_position, uint64_t ended)
{
    const struct entry *last = replays->count ? &replays->list[replays->count - 1] : NULL;
    return change->has_filter && (change->state == REPLAY_RUNNING) == (ended == 0) &&
           !find(replays, &change->id) && (!last || last->replay.begin_position <= begin_position);
}

static enum err put_back(struct replays *replays, const struct replay_change *change,
                         uint64_t begin_position, int64_t started_ms, uint64_t ended)
{
    struct replay_change first = *change;
    first.state = REPLAY_RUNNING;
    enum err e = apply_first(replays, &first, begin_position);
    if (e)
        return e;
    struct entry *entry = &replays->list[replays->count - 1];
    entry->replay.state = change->state;
    entry->replay.started_ms = started_ms;
    entry->ended = ended;
    replays->running -= ended > 0;
    if (ended > replays->ends)
        replays->ends = ended;
    return ERR_NONE;
}

enum err replays_restore(struct replays *replays, const struct replay_change *change,
                         uint64_t begin_position, int64_t started_ms, uint64_t ended)
{
    enum err e = ERR_MALFORMED;
    wait_lock(&replays->wait);
    if (may_be_next(replays, change, begin_position, ended))
        e = put_back(replays, change, begin_position, started_ms, ended);
    wait_unlock(&replays->wait);
    return e;
}

/* ---- waiting ---- */

uint64_t replays_wait(struct replays *replays, uint64_t seen, struct timespec until)
{
    wait_lock(&replays->wait);
    while (replays->turn == seen && wait_on_until(&replays->wait, until))
        ;
    uint64_t turn = replays->turn;
    wait_unlock(&replays->wait);
    return turn;
}

void replays_wake(struct replays *replays)
{
    wait_lock(&replays->wait);
    replays->turn++;
    wait_wake_all(&replays->wait);
    wait_unlock(&replays->wait);
}

/* ---- life ---- */

enum err replays_new(struct replays **ret)
{
    struct replays *replays = mem_zero(1, sizeof *replays);
    if (!replays)
        return ERR_MEMORY;
    if (wait_init(&replays->wait)) {
        mem_free(replays);
        return ERR_MEMORY;
    }
    replays->turn = 1;
    *ret = replays;
    return ERR_NONE;
}

void replays_free(struct replays *replays)
{
    if (!replays)
        return;
    replays_reset(replays);
    mem_free(replays->list);
    wait_destroy(&replays->wait);
    mem_free(replays);
}
