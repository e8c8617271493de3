#include "common/event_replay.h"

static bool selects(const struct replay_request *r)
{
    return r->event_id_count > 0 || r->statuses != 0 || r->name.len > 0 || r->from_position > 0 ||
           r->to_position > 0 || r->accepted_since_ms != 0 || r->accepted_until_ms != 0;
}

enum err replay_request_check_whole(const struct replay_request *r, struct err_detail *detail)
{
    if (!selects(r))
        return err_set(detail, ERR_INVALID,
                       "nothing says which events to replay; give one at least of event_ids, "
                       "statuses, name, from_position, to_position, accepted_since and "
                       "accepted_until");
    if (r->source.len > 0 && r->event_id_count == 0)
        return err_set(detail, ERR_INVALID,
                       "source is that of event_ids, of which none are given; events cannot be "
                       "selected by it");
    if (r->to_position > 0 && r->from_position > r->to_position)
        return err_set(detail, ERR_INVALID,
                       "from_position %llu is beyond to_position %llu: nothing can match",
                       (unsigned long long)r->from_position, (unsigned long long)r->to_position);
    if (r->accepted_since_ms != 0 && r->accepted_until_ms != 0 &&
        r->accepted_since_ms >= r->accepted_until_ms)
        return err_set(detail, ERR_INVALID,
                       "accepted_since must be before accepted_until: nothing can match");
    return ERR_NONE;
}
