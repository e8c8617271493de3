/* The event_ids of a replay that is asked for: whether they are known, from the table or only from
 * a letter, and can be replayed. */
#include "event-processor/replay_desk_parts.h"

#include <stdio.h>

/* ---- letters ---- */

/* `message` is from desk_over; NULL: the bus has failed. */
static const char *why_not(const struct task *task, const char *message)
{
    if (message && wait_left_ms(task->until) == 0)
        return "it cannot be known now: the dead letters could not be looked through in time";
    return message ? message : desk_away;
}

bool desk_find_letters(struct replay_desk *desk, struct task *task, struct replay_search *search)
{
    enum err why = ERR_UNAVAILABLE;
    const char *message = NULL;
    enum err e =
        replay_search_open(search, &desk->use.letters, &task->wanted->filter, desk->use.walk.table);
    while (!e && !search->done && !(message = desk_over(desk, task, &why)))
        e = replay_search_next(search);
    if (!e && search->done)
        return true;
    replay_search_close(search);
    if (e == ERR_MEMORY)
        desk_fail(task, e, "out of memory");
    else
        desk_fail(task, why, why_not(task, message));
    return false;
}

/* ---- all of them ---- */

static void say_unknown(const struct replay_wanted *wanted, size_t index, struct err_detail *detail)
{
    enum { SHOWN = 64 };
    struct view id = wanted->event_ids[index];
    char place[48] = "";
    if (wanted->filter.event_id_count > 1)
        snprintf(place, sizeof place, " (event_ids[%zu])", index);
    err_set(detail, ERR_NOT_FOUND,
            "no event with id '%.*s'%s; ids are the event_id of the 202 response, or the "
            "producer's id with its source",
            id.len < SHOWN ? (int)id.len : SHOWN, id.data, place);
}

/* Why an event cannot be replayed that the table knows. */
static const char *why_skipped(const struct status_entry *entry, const struct replay_filter *filter)
{
    switch (entry->state.status) {
    case STATUS_ACCEPTED:
        return "it has not ended yet, it is accepted";
    case STATUS_PROCESSING:
        return "it has not ended yet, it is processing";
    case STATUS_RETRYING:
        return "it has not ended yet, it is retrying";
    default:
        break;
    }
    if ((filter->statuses >> entry->state.status & 1) == 0)
        return entry->state.status == STATUS_DEAD
                   ? "it is dead, and only what is processed was asked for"
                   : "it is processed, and only what is dead was asked for";
    if (entry->state.generation >= STATUS_GENERATION_MAX)
        return "it has been replayed as often as is possible";
    return entry->conflict ? "it is a dead letter that came with another event's id"
                           : "it is a message that is no event";
}

/* What is said of one event is said for all of them. */
static enum err say_none(size_t count, const char *why, struct err_detail *detail)
{
    if (count == 1)
        return err_set(detail, ERR_NOT_ENDED, "the event cannot be replayed: %s", why);
    return err_set(detail, ERR_NOT_ENDED,
                   "none of the %zu event_ids can be replayed: only events that have ended, with "
                   "one of the statuses asked for, can; of the last one, %s",
                   count, why);
}

enum err desk_check_ids(struct replay_desk *desk, const struct replay_wanted *wanted,
                        const struct replay_search *search, struct err_detail *detail)
{
    const struct replay_filter *filter = &wanted->filter;
    struct view stream = view_of(desk->use.walk.event_stream);
    const char *why = "";
    size_t takes = 0;
    for (size_t i = 0; i < filter->event_id_count; i++) {
        const struct event_id *id = &filter->event_ids[i];
        const struct replay_letter *letter = replay_search_find(search, id);
        struct status_entry entry;
        if (letter && letter->position > 0) {
            takes += letter->matches;
            why = "only its dead letter is left, which does not match or is without its payload";
        } else if (status_table_find(desk->use.walk.table, id, &entry, NULL)) {
            takes += replay_judge(&entry, filter, stream, UINT64_MAX) == REPLAY_TAKE;
            why = why_skipped(&entry, filter);
        } else {
            say_unknown(wanted, i, detail);
            return ERR_NOT_FOUND;
        }
    }
    return filter->event_id_count == 0 || takes > 0 ? ERR_NONE
                                                    : say_none(filter->event_id_count, why, detail);
}
