/* The letters of events that have left the event log: of event_ids that the table does not know,
 * the last letter each, found by a look through the log of dead letters.
 *
 * Only ids are looked for. A letter stays for ever, also when its event was replayed later and
 * processed, and nothing tells that any more once the event has left the log; so a replay of all
 * that is dead would run events again that are not. Who names an event means it. For one thread.
 */
#ifndef TIDINGS_REPLAY_LETTERS_H
#define TIDINGS_REPLAY_LETTERS_H

#include "event-processor/letter.h"
#include "event-processor/status_table.h"

struct replay_letters_options {
    struct bus_log *log; /* of dead letters */
    const char *ns;
    const char *group;
};

struct replay_letter {
    struct event_id id;
    uint64_t position; /* in the log of dead letters; 0: there is none */
    /* It has its payload, and its event the filter's name and position. */
    bool matches;
};

struct replay_search {
    struct replay_letters_options use;
    struct replay_filter filter; /* its views must live on */
    char pattern[EVENT_NAME_MAX + 1];
    struct replay_letter *letters; /* of ids that are looked for, ascending, each once */
    size_t count;
    struct bus_reader *reader;
    uint64_t last; /* position */
    bool done;
};

/* Finds out which ids are to be looked for: none where there can be no such letters, since nothing
 * has left the event log or the filter leaves them out (it has no event_ids, not the status dead,
 * or times: a letter does not say when its event was accepted). The table must have caught up.
 * ERR_UNAVAILABLE, ERR_DEADLINE: not now. ERR_MEMORY. */
must_check enum err replay_search_open(struct replay_search *search,
                                       const struct replay_letters_options *options,
                                       const struct replay_filter *filter,
                                       struct status_table *table);
/* Looks through some more letters, for a fraction of a second; then search->done may be set. The
 * same errors, and ERR_STALE. */
must_check enum err replay_search_next(struct replay_search *search);
/* NULL: the id was not looked for. */
const struct replay_letter *replay_search_find(const struct replay_search *search,
                                               const struct event_id *id);
/* The positions of letters that match, ascending, for filter.letters; `ret` has room for one an
 * event_id. Returns how many there are. */
size_t replay_search_positions(const struct replay_search *search, uint64_t *ret);
void replay_search_close(struct replay_search *search);

#endif
