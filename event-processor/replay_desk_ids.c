/* The event_ids of a replay that is asked for: whether they are known, from the table or only from
 * a letter, and can be replayed. */
#include "event-processor/replay_desk_parts.h"

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
    err_set(detail, ERR_NOT_FOUND,
            "no event with id '%.*s' (event_ids[%zu]); ids are the event_id of the 202 response, "
            "or the producer's id with its source",
            id.len < SHOWN ? (int)id.len : SHOWN, id.data, index);
}

/* The status of one event is told for all of them. */
static enum err say_none(size_t count, const char *status, struct err_detail *detail)
{
    return err_set(detail, ERR_NOT_ENDED,
                   "none of the %zu event_ids can be replayed: only events that have ended, with "
                   "one of the statuses asked for, can; the last one is %s",
                   count, status);
}

enum err desk_check_ids(struct replay_desk *desk, const struct replay_wanted *wanted,
                        const struct replay_search *search, struct err_detail *detail)
{
    const struct replay_filter *filter = &wanted->filter;
    const char *status = "";
    size_t takes = 0;
    for (size_t i = 0; i < filter->event_id_count; i++) {
        const struct event_id *id = &filter->event_ids[i];
        const struct replay_letter *letter = replay_search_find(search, id);
        struct status_entry entry;
        if (letter && letter->position > 0) {
            takes += letter->matches;
            status = "known by a dead letter only, which does not match or is without its payload";
        } else if (status_table_find(desk->use.walk.table, id, &entry, NULL)) {
            takes += replay_judge(&entry, filter, view_of(desk->use.walk.event_stream),
                                  UINT64_MAX) == REPLAY_TAKE;
            status = status_word(entry.state.status);
        } else {
            say_unknown(wanted, i, detail);
            return ERR_NOT_FOUND;
        }
    }
    return filter->event_id_count == 0 || takes > 0
               ? ERR_NONE
               : say_none(filter->event_id_count, status, detail);
}
