#include "event-processor/replay_walk.h"

#include "common/mem.h"
#include "event-processor/follower.h"

#include <stdlib.h>

enum { PASS_AFTER = 4096 /* events that don't match */ };

/* ---- one event ---- */

enum replay_step replay_judge(const struct status_entry *entry, const struct replay_filter *filter,
                              struct view event_stream, uint64_t begin_position)
{
    struct event_id own;
    bool wanted = (filter->statuses >> entry->state.status & 1) != 0;
    if (!wanted && filter->event_id_count == 0)
        return REPLAY_PASS;
    if (!wanted || entry->change_position > begin_position || entry->conflict ||
        entry->state.generation >= STATUS_GENERATION_MAX)
        return REPLAY_SKIP;
    id_of_position(event_stream, entry->event_position, &own); /* what is no event has this id */
    return id_equal(&own, &entry->id) ? REPLAY_SKIP : REPLAY_TAKE;
}

/* ---- the bounds ---- */

static enum err find_bounds(struct replay_walk *walk)
{
    const struct replay_filter *filter = &walk->filter;
    uint64_t first = filter->from_position > 0 ? filter->from_position : 1;
    uint64_t last = filter->last_position;
    if (filter->to_position > 0 && filter->to_position < last)
        last = filter->to_position;
    enum err e = ERR_NONE;
    if (filter->accepted_since_ms != 0 && first <= last)
        e = event_find_time(&walk->use, filter->accepted_since_ms, first, last, &first);
    if (!e && filter->accepted_until_ms != 0 && first <= last) {
        e = event_find_time(&walk->use, filter->accepted_until_ms, first, last, &last);
        last--;
    }
    walk->last = last;
    walk->next = walk->next > first ? walk->next : first;
    return e;
}

static int compare(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a;
    uint64_t other = *(const uint64_t *)b;
    return (one > other) - (one < other);
}

void replay_positions_sort(uint64_t *positions, size_t count)
{
    if (count > 0)
        qsort(positions, count, sizeof *positions, compare);
}

/* Where the events with these ids are; what is not known any more is left out. */
static enum err find_ids(struct replay_walk *walk)
{
    const struct replay_filter *filter = &walk->filter;
    struct status_entry entry;
    if (filter->event_id_count == 0)
        return ERR_NONE;
    walk->positions = mem_zero(filter->event_id_count, sizeof *walk->positions);
    if (!walk->positions)
        return ERR_MEMORY;
    for (size_t i = 0; i < filter->event_id_count; i++)
        if (status_table_find(walk->use.table, &filter->event_ids[i], &entry, NULL))
            walk->positions[walk->count++] = entry.event_position;
    replay_positions_sort(walk->positions, walk->count);
    return ERR_NONE;
}

enum err replay_walk_open(struct replay_walk *walk, const struct event_find *options,
                          const struct replay_filter *filter, uint64_t begin_position,
                          uint64_t cursor)
{
    *walk = (struct replay_walk){
        .use = *options, .filter = *filter, .begin_position = begin_position, .next = cursor + 1};
    size_t len = filter->name.len < EVENT_NAME_MAX ? filter->name.len : EVENT_NAME_MAX;
    if (len > 0)
        memcpy(walk->pattern, filter->name.data, len);
    enum err e = find_bounds(walk);
    if (!e)
        e = find_ids(walk);
    if (e)
        replay_walk_close(walk);
    return e;
}

void replay_walk_close(struct replay_walk *walk)
{
    mem_free(walk->positions);
    walk->positions = NULL;
}

uint64_t replay_walk_cursor(const struct replay_walk *walk)
{
    return walk->next - 1;
}

/* ---- the walk ---- */

/* False: there is none. */
static bool look_up(struct replay_walk *walk, struct status_entry *ret)
{
    struct status_reflects reflects;
    if (!walk->positions)
        return walk->next <= walk->last &&
               status_table_first_of(walk->use.table, walk->filter.statuses, walk->next, walk->last,
                                     ret, &reflects);
    for (; walk->at < walk->count; walk->at++) {
        uint64_t position = walk->positions[walk->at];
        bool asked = position >= walk->next && position <= walk->last;
        if (asked && status_table_at(walk->use.table, position, ret, NULL) &&
            ret->state.status != STATUS_NONE)
            return true;
    }
    return false;
}

enum err replay_walk_next(struct replay_walk *walk, enum replay_step *ret_step,
                          struct status_entry *ret)
{
    struct view stream = view_of(walk->use.event_stream);
    for (int i = 0; i < PASS_AFTER; i++) {
        struct status_entry entry;
        bool matches;
        if (!look_up(walk, &entry)) {
            walk->next = walk->last >= walk->next ? walk->last + 1 : walk->next;
            *ret_step = REPLAY_END;
            return ERR_NONE;
        }
        enum err e = event_find_name(&walk->use, walk->pattern, &entry, &matches);
        if (e)
            return e;
        walk->next = entry.event_position + 1;
        enum replay_step step = replay_judge(&entry, &walk->filter, stream, walk->begin_position);
        if (!matches || step == REPLAY_PASS)
            continue;
        *ret = entry;
        *ret_step = step;
        return ERR_NONE;
    }
    *ret_step = REPLAY_PASS;
    return ERR_NONE;
}
