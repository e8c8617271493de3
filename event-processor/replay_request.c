#include "event-processor/replay_request.h"

#include "common/attribute.h"
#include "common/config.h"
#include "common/event.h"
#include "common/mem.h"

#define ENDED (1u << STATUS_PROCESSED | 1u << STATUS_DEAD)

/* ---- what is possible ---- */

enum err replay_id_check(struct view text, struct event_id *ret, struct err_detail *detail)
{
    enum { SHOWN = 64 };
    if (id_parse(text, ret))
        return ERR_NONE;
    if (text.len == 0)
        return err_set(detail, ERR_INVALID, "replay_id is empty; it is the UUID of a replay");
    return err_set(detail, ERR_INVALID, "replay_id '%.*s' is no UUID",
                   text.len < SHOWN ? (int)text.len : SHOWN, text.data);
}

static enum err check_ids(const struct replay_request *request, struct err_detail *detail)
{
    if (request->event_id_count > REPLAY_IDS_MAX)
        return err_set(detail, ERR_INVALID, "event_ids has %zu ids; at most %d are allowed",
                       request->event_id_count, REPLAY_IDS_MAX);
    for (size_t i = 0; i < request->event_id_count; i++) {
        struct view id = request->event_ids[i];
        if (id.len == 0)
            return err_set(detail, ERR_INVALID, "event_ids[%zu] is empty", i);
        if (attribute_check("event_ids", id, ATTRIBUTE_TEXT, EVENT_PRODUCER_ID_MAX, detail))
            return ERR_INVALID;
    }
    if (request->source.len == 0)
        return ERR_NONE;
    return attribute_check("source", request->source, ATTRIBUTE_TEXT, EVENT_SOURCE_MAX, detail)
               ? ERR_INVALID
               : ERR_NONE;
}

enum err replay_request_check(const struct replay_request *request, struct event_id *ret_id,
                              struct err_detail *detail)
{
    struct event_id id = {{0}};
    enum err e = check_ids(request, detail);
    if (!e && (request->statuses & ~ENDED) != 0)
        e = err_set(detail, ERR_INVALID,
                    "statuses may have DEAD and PROCESSED only: nothing else has ended");
    if (!e && request->name.len > 0 && !config_is_pattern(request->name))
        e = err_set(detail, ERR_INVALID,
                    "name '%.*s' is no pattern of names; examples are order.created, order.*, "
                    "order.> and >",
                    request->name.len < EVENT_NAME_MAX ? (int)request->name.len : EVENT_NAME_MAX,
                    request->name.data);
    if (!e)
        e = replay_request_check_whole(request, detail);
    if (!e && request->replay_id.len > 0)
        e = replay_id_check(request->replay_id, &id, detail);
    if (!e)
        *ret_id = id;
    return e;
}

/* ---- what is recorded ---- */

struct wanted {
    struct replay_wanted wanted;
    struct view *views;
    struct event_id *ids;
    uint64_t *letters;
    char text[];
};

static unsigned statuses_of(const struct replay_request *request)
{
    if (request->statuses != 0)
        return request->statuses;
    return request->event_id_count > 0 ? ENDED : 1u << STATUS_DEAD;
}

static struct view add_text(char **at, struct view text)
{
    struct view copy = {*at, text.len};
    if (text.len > 0)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

static struct wanted *wanted_alloc(const struct replay_request *request)
{
    size_t bytes = request->name.len;
    for (size_t i = 0; i < request->event_id_count; i++)
        bytes += request->event_ids[i].len;
    struct wanted *wanted = mem_zero(1, sizeof *wanted + bytes);
    if (!wanted)
        return NULL;
    wanted->views = mem_zero(request->event_id_count, sizeof *wanted->views);
    wanted->ids = mem_zero(request->event_id_count, sizeof *wanted->ids);
    wanted->letters = mem_zero(request->event_id_count, sizeof *wanted->letters);
    if (wanted->views && wanted->ids && wanted->letters)
        return wanted;
    replay_wanted_free(&wanted->wanted);
    return NULL;
}

enum err replay_wanted_new(const struct replay_request *request, const struct event_id *id,
                           struct view source, struct replay_wanted **ret)
{
    struct wanted *wanted = wanted_alloc(request);
    if (!wanted)
        return ERR_MEMORY;
    char *at = wanted->text;
    for (size_t i = 0; i < request->event_id_count; i++) {
        wanted->views[i] = add_text(&at, request->event_ids[i]);
        id_of_producer(request->source.len > 0 ? request->source : source, wanted->views[i],
                       &wanted->ids[i]);
    }
    wanted->wanted = (struct replay_wanted){
        .id = *id,
        .dry_run = request->dry_run,
        .event_ids = wanted->views,
        .letters = wanted->letters,
        .filter = {.event_ids = wanted->ids,
                   .event_id_count = request->event_id_count,
                   .statuses = statuses_of(request),
                   .name = add_text(&at, request->name),
                   .from_position = request->from_position,
                   .to_position = request->to_position,
                   .accepted_since_ms = request->accepted_since_ms,
                   .accepted_until_ms = request->accepted_until_ms,
                   .rate = request->rate},
    };
    *ret = &wanted->wanted;
    return ERR_NONE;
}

void replay_wanted_free(struct replay_wanted *wanted)
{
    struct wanted *whole = (struct wanted *)wanted; /* its first member */
    if (!whole)
        return;
    mem_free(whole->letters);
    mem_free(whole->views);
    mem_free(whole->ids);
    mem_free(whole);
}

bool replay_filter_equal(const struct replay_filter *a, const struct replay_filter *b)
{
    return a->event_id_count == b->event_id_count &&
           (a->event_id_count == 0 ||
            memcmp(a->event_ids, b->event_ids, a->event_id_count * sizeof *a->event_ids) == 0) &&
           a->statuses == b->statuses && view_equal(a->name, b->name) &&
           a->from_position == b->from_position && a->to_position == b->to_position &&
           a->accepted_since_ms == b->accepted_since_ms &&
           a->accepted_until_ms == b->accepted_until_ms && a->rate == b->rate;
}

/* ---- what is shown ---- */

/* The views, and behind them their texts, in one block. */
static struct view *texts_of(const struct replay_filter *filter)
{
    size_t count = filter->event_id_count;
    struct view *views = mem_alloc(count * (sizeof *views + ID_TEXT_SIZE));
    if (!views)
        return NULL;
    char *text = (char *)(views + count);
    for (size_t i = 0; i < count; i++, text += ID_TEXT_SIZE) {
        id_format(&filter->event_ids[i], text);
        views[i] = (struct view){text, ID_TEXT_SIZE - 1};
    }
    return views;
}

static enum err show(const struct replay_filter *filter, bool with_ids, struct replay_shown *ret)
{
    struct view *event_ids = with_ids ? texts_of(filter) : NULL;
    if (with_ids && !event_ids)
        return ERR_MEMORY;
    *ret = (struct replay_shown){
        .event_ids = event_ids,
        .progress.request = {.event_ids = event_ids,
                             .event_id_count = with_ids ? filter->event_id_count : 0,
                             .statuses = filter->statuses,
                             .name = filter->name,
                             .from_position = filter->from_position,
                             .to_position = filter->to_position,
                             .accepted_since_ms = filter->accepted_since_ms,
                             .accepted_until_ms = filter->accepted_until_ms,
                             .rate = filter->rate},
    };
    return ERR_NONE;
}

enum err replay_show(const struct replay *replay, uint64_t position, bool with_ids,
                     struct replay_shown *ret)
{
    enum err e = show(replay_plan_filter(replay->plan), with_ids, ret);
    if (e)
        return e;
    struct replay_progress *progress = &ret->progress;
    progress->has_id = true;
    progress->id = replay->id;
    id_format(&replay->id, ret->id);
    progress->request.replay_id = view_of(ret->id);
    progress->state = replay->state;
    progress->replayed = replay->replayed;
    progress->skipped = replay->skipped;
    progress->started_ms = replay->started_ms;
    progress->updated_ms = replay->updated_ms;
    progress->processor = view_of(replay->runner);
    progress->event_position = replay->cursor;
    progress->position = position;
    return ERR_NONE;
}

enum err replay_show_filter(const struct replay_filter *filter, struct replay_shown *ret)
{
    enum err e = show(filter, true, ret);
    if (!e)
        ret->progress.state = REPLAY_DONE;
    return e;
}

void replay_shown_free(struct replay_shown *shown)
{
    mem_free(shown->event_ids);
    shown->event_ids = NULL;
}
