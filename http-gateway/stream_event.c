/* GET /api/v1/events/{id}/stream: what becomes of one event, as Server-Sent Events, until it has
 * ended. A processor tells each change as it happens; what happened while nobody listened, between
 * two processors or two requests, is in the event's history.
 *
 * An id is the status log's position that was told, and the state there: "4711-0.1.processing". A
 * change is new if its position is behind that, or its state at the same position: one batch may
 * hold several changes of an event.
 */
#include "http-gateway/event_call.h"
#include "http-gateway/event_named.h"
#include "http-gateway/follow.h"
#include "http-gateway/handlers.h"
#include "http-gateway/sse.h"

#include <inttypes.h>
#include <stdio.h>

#define ID_SIZE 64

struct mark {
    bool set;
    uint64_t position;
    struct status_state state; /* STATUS_NONE: not known */
};

struct story {
    struct sse sse;
    struct follow follow;
    struct event_status_request asked;
    struct mark mark; /* what has been told */
    unsigned turn;    /* of the follow, that the last message was of */
    bool ended;       /* the event has, and it is told */
};

/* ---- marks ---- */

static bool read_number(struct view *rest, char separator, uint64_t *ret)
{
    const char *found = memchr(rest->data, separator, rest->len);
    size_t len = found ? (size_t)(found - rest->data) : 0;

    if (!found || !view_parse_u64((struct view){rest->data, len}, ret))
        return false;
    *rest = (struct view){found + 1, rest->len - len - 1};
    return true;
}

static bool read_mark(struct view id, struct mark *ret)
{
    struct mark mark = {.set = true};
    uint64_t generation, attempt;

    if (view_parse_u64(id, &ret->position)) {
        ret->set = true;
        return true;
    }
    if (!read_number(&id, '-', &mark.position) || !read_number(&id, '.', &generation) ||
        !read_number(&id, '.', &attempt) || generation > STATUS_GENERATION_MAX ||
        attempt > STATUS_ATTEMPT_MAX)
        return false;
    mark.state.generation = (uint32_t)generation;
    mark.state.attempt = (uint32_t)attempt;
    for (unsigned s = STATUS_ACCEPTED; s < STATUS_COUNT; s++)
        if (view_equal(id, view_of(status_word((enum status)s))))
            mark.state.status = (enum status)s;
    *ret = mark;
    return mark.state.status != STATUS_NONE;
}

static void write_mark(const struct mark *mark, char id[ID_SIZE])
{
    snprintf(id, ID_SIZE, "%" PRIu64 "-%u.%u.%s", mark->position, mark->state.generation,
             mark->state.attempt, status_word(mark->state.status));
}

/* Less than 0: a is before b in an event's life. */
static int compare_states(struct status_state a, struct status_state b)
{
    if (a.generation != b.generation)
        return a.generation < b.generation ? -1 : 1;
    if (a.attempt != b.attempt)
        return a.attempt < b.attempt ? -1 : 1;
    return (int)a.status - (int)b.status;
}

static bool is_new(const struct mark *mark, uint64_t position, struct status_state state)
{
    if (!mark->set || position > mark->position)
        return true;
    return position == mark->position && mark->state.status != STATUS_NONE &&
           compare_states(state, mark->state) > 0;
}

/* ---- telling ---- */

static void tell(struct story *s, const struct event_status *status)
{
    char id[ID_SIZE];

    s->mark = (struct mark){true, status->position, status->state};
    write_mark(&s->mark, id);
    sse_add_status(&s->sse, id, status);
    s->ended = status_ended(status->state.status);
}

/* Changes of the history, brief as those that are told when they happen. */
static void tell_history(struct story *s, const struct event_status *full)
{
    for (size_t i = 0; i < full->history_count; i++) {
        const struct event_status_change *change = &full->history[i];
        struct event_status status = *full;

        if (change->state.status == STATUS_ACCEPTED || /* whose position is in another log */
            !is_new(&s->mark, change->position, change->state))
            continue;
        status.full = false;
        status.state = change->state;
        status.updated_ms = change->time_ms;
        status.position = change->position;
        tell(s, &status);
    }
    s->ended = status_ended(full->state.status);
    s->mark.position = full->position; /* so far there is no other change */
    s->mark.state = full->state;
}

/* Whatever happened since the mark. `position`: what has been seen already. */
static enum err catch_up(struct story *s, uint64_t position, struct err_detail *detail)
{
    struct event_status_request asked = s->asked;
    struct event_status_holder *holder = NULL;
    struct event_status full;
    struct buf answer;
    enum err e;

    asked.full = true;
    asked.min_position = position;
    buf_init(&answer, RPC_ANSWER_MAX);
    e = event_call_status(s->sse.g, &asked, &answer, detail);
    if (!e) {
        e = event_status_read(buf_view(&answer), &holder, &full);
        if (e)
            e = event_call_unreadable(e, detail);
        else
            tell_history(s, &full);
    }
    event_status_holder_free(holder);
    buf_free(&answer);
    return e;
}

static enum err take(struct story *s, struct view message, struct err_detail *detail)
{
    struct event_status_holder *holder = NULL;
    struct event_status status;
    enum err e = event_status_read(message, &holder, &status);
    bool first = s->turn != s->follow.turn;

    if (e)
        return event_call_unreadable(e, detail);
    s->turn = s->follow.turn;
    if (first && s->mark.set)
        e = catch_up(s, status.position, detail);
    if (!e && is_new(&s->mark, status.position, status.state) &&
        (!s->mark.set || compare_states(status.state, s->mark.state) != 0 ||
         s->mark.state.status == STATUS_NONE))
        tell(s, &status);
    event_status_holder_free(holder);
    s->asked.min_position = s->mark.position;
    return e;
}

/* ---- the stream ---- */

static enum err write_request(const void *ctx, struct buf *out)
{
    return event_watch_request_write(ctx, out);
}

static enum err step(struct story *s, struct err_detail *detail)
{
    struct err_detail why = {""}, told = {""};
    enum err e = ERR_NONE;

    switch (follow_next(&s->follow, sse_patience(&s->sse), &e, &why)) {
    case FOLLOW_MESSAGE:
        e = take(s, buf_view(&s->follow.message), &told);
        return e ? sse_fail(&s->sse, e, &told, detail) : ERR_NONE;
    case FOLLOW_NOTHING:
        return ERR_NONE;
    default:
        e = event_call_explain(e ? e : ERR_UNAVAILABLE, &s->asked, &why, &told);
        return sse_fail(&s->sse, e, &told, detail);
    }
}

static enum err run(struct story *s, struct err_detail *detail)
{
    bool resumed = s->mark.set;
    enum err e = ERR_NONE;

    while (!e && !s->ended && !s->sse.over) {
        e = step(s, detail);
        if (resumed && s->ended && !s->sse.begun && s->sse.out.len == 0 &&
            !buf_failed(&s->sse.out)) {
            s->sse.response->status = 204; /* all is told: a browser must not come back */
            return ERR_NONE;
        }
        if (!e && s->turn > 0)
            e = sse_send(&s->sse, detail);
        if (!e && !s->ended)
            e = sse_look(&s->sse, detail);
    }
    return e;
}

static enum err read_request(struct story *s, const struct http_request *request,
                             struct err_detail *detail)
{
    static const char *const known[] = {"last_event_id", "source", NULL};
    struct view id = sse_last_id(request);
    enum err e = http_query_only(request, known, detail);

    if (!e)
        e = event_named_read(request, &s->asked.event_id, &s->asked.source, detail);
    if (e)
        return e;
    if (s->asked.source.len == 0)
        s->asked.source = view_of(s->sse.g->settings.shared.source);
    if (id.len > 0 && !read_mark(id, &s->mark))
        return err_set(detail, ERR_INVALID,
                       "Last-Event-ID must be an id of this stream, as it was");
    s->asked.min_position = s->mark.position;
    return ERR_NONE;
}

enum err stream_event(struct http_request *request, struct http_response *response,
                      struct err_detail *detail, void *ctx)
{
    struct gateway *g = ctx;
    struct story s = {.follow = {.g = g, .method = EVENT_WATCH_METHOD, .write = write_request}};
    enum err e;

    s.follow.ctx = &s.asked;
    sse_open(&s.sse, g, request, response);
    e = read_request(&s, request, detail);
    if (!e)
        e = follow_enter(g, detail);
    if (!e) {
        follow_begin(&s.follow);
        e = run(&s, detail);
        follow_end(&s.follow);
        follow_leave(g);
    }
    sse_close(&s.sse);
    return e;
}
