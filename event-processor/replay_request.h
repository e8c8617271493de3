/* Requests for a replay: whether they say what is possible, and what is recorded of them; and how a
 * replay is shown. Thread-safe.
 */
#ifndef TIDINGS_REPLAY_REQUEST_H
#define TIDINGS_REPLAY_REQUEST_H

#include "event-processor/replays.h"

/* ERR_INVALID, with a sentence that names the member and what is allowed. *ret_id: the replay_id;
 * zero if none is given. */
must_check enum err replay_request_check(const struct replay_request *request,
                                         struct event_id *ret_id, struct err_detail *detail);
must_check enum err replay_id_check(struct view text, struct event_id *ret,
                                    struct err_detail *detail);

/* A checked request with memory of its own. */
struct replay_wanted {
    struct event_id id; /* zero: none is given */
    struct replay_filter filter;
    const struct view *event_ids; /* as the caller wrote them */
    bool dry_run;
    uint64_t *letters; /* room for filter.letters, one an id */
};
/* `source` is that of producers' ids that come without one. ERR_MEMORY. */
must_check enum err replay_wanted_new(const struct replay_request *request,
                                      const struct event_id *id, struct view source,
                                      struct replay_wanted **ret);
void replay_wanted_free(struct replay_wanted *wanted);
/* Whether both were asked for in the same words: what was looked up for them is not compared. */
bool replay_filter_equal(const struct replay_filter *a, const struct replay_filter *b);

/* A replay as callers see it. */
struct replay_shown {
    struct replay_progress progress; /* holds views of the replay, and of what follows: */
    struct view *event_ids;
    char id[ID_TEXT_SIZE];
}; /* do not copy it */
/* `position`: what the replay reflects at least. Without ids the request has no event_ids.
 * ERR_MEMORY. */
must_check enum err replay_show(const struct replay *replay, uint64_t position, bool with_ids,
                                struct replay_shown *ret);
/* The same of a filter that nothing was recorded of. */
must_check enum err replay_show_filter(const struct replay_filter *filter,
                                       struct replay_shown *ret);
void replay_shown_free(struct replay_shown *shown);

#endif
