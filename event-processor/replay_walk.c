#include "event-processor/replay_walk.h"

#include "common/mem.h"
#include "event-processor/follower.h"
#include "event-processor/handlers.h"
#include "event-processor/status_names.h"

#include <stdlib.h>

enum {
    READ_MS = 2000,
    PASS_AFTER = 4096, /* events that don't match */
    HOLE_MAX = 64,     /* events that the table knows, but its log doesn't: tried in a row */
};
#define ANY ((1u << STATUS_COUNT) - 1)

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

/* Of names that the table does not keep the event log knows which it is. */
static enum err name_matches(const struct replay_walk *walk, const struct status_entry *entry,
                             bool *ret)
{
    *ret = walk->filter.name.len == 0 || handlers_match(walk->pattern, entry->name);
    if (*ret || !view_equal(entry->name, VIEW(STATUS_NAMES_OTHER)))
        return ERR_NONE;
    struct bus_record *record;
    struct event_id id;
    struct view name;
    enum err e = bus_log_read(walk->use.event_log, entry->event_position, READ_MS, &record);
    if (e == ERR_NOT_FOUND)
        return ERR_NONE;
    if (e)
        return e;
    *ret = event_identity(record, walk->use.ns, walk->use.event_stream, &id, &name) &&
           handlers_match(walk->pattern, name);
    bus_record_free(record);
    return ERR_NONE;
}

/* ---- times ---- */

/* When the first event from a position on was stored. *ret_position: where it is; 0: there is none
 * up to `last`. */
static enum err time_at(const struct replay_walk *walk, uint64_t from, uint64_t last,
                        uint64_t *ret_position, int64_t *ret_ms)
{
    struct status_entry entry;
    struct status_reflects reflects;
    *ret_position = 0;
    for (int i = 0; i < HOLE_MAX; i++) {
        if (from > last ||
            !status_table_first_of(walk->use.table, ANY, from, last, &entry, &reflects))
            return ERR_NONE;
        struct bus_record *record;
        enum err e = bus_log_read(walk->use.event_log, entry.event_position, READ_MS, &record);
        if (!e) {
            *ret_position = entry.event_position;
            *ret_ms = record->time_ms;
            bus_record_free(record);
            return ERR_NONE;
        }
        if (e != ERR_NOT_FOUND)
            return e;
        from = entry.event_position + 1;
    }
    *ret_position = from - 1; /* dropped from the log's head, or a hole: as good as older */
    *ret_ms = INT64_MIN;
    return ERR_NONE;
}

/* The first position from `low` on at which what was stored at that time or later may be; last + 1:
 * nothing was up to `last`. */
static enum err position_of_time(const struct replay_walk *walk, int64_t time_ms, uint64_t low,
                                 uint64_t last, uint64_t *ret)
{
    uint64_t high = last + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t position;
        int64_t stored_ms = 0;
        enum err e = time_at(walk, middle, high - 1, &position, &stored_ms);
        if (e)
            return e;
        if (position == 0 || stored_ms >= time_ms)
            high = middle;
        else
            low = position + 1;
    }
    *ret = low;
    return ERR_NONE;
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
        e = position_of_time(walk, filter->accepted_since_ms, first, last, &first);
    if (!e && filter->accepted_until_ms != 0 && first <= last) {
        e = position_of_time(walk, filter->accepted_until_ms, first, last, &last);
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

enum err replay_walk_open(struct replay_walk *walk, const struct replay_walk_options *options,
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
        enum err e = name_matches(walk, &entry, &matches);
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
