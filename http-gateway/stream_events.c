/* GET /api/v1/events/stream: what becomes of all events, or those of some names and statuses, as
 * Server-Sent Events in the order of the status log, without an end.
 *
 * An id is the status log's position that was told, and, while more changes stand there, how many
 * of them were: "4711", "4711-3". The processor counts from position to position, so one who begins
 * again within a position is told all of it, and what is known already is left out here.
 */
#include "http-gateway/event_call.h"
#include "http-gateway/follow.h"
#include "http-gateway/handlers.h"
#include "http-gateway/read_filter.h"
#include "http-gateway/sse.h"

#include <inttypes.h>
#include <stdio.h>

#define ID_SIZE 48
#define RECORDED \
    (1u << STATUS_PROCESSING | 1u << STATUS_RETRYING | 1u << STATUS_PROCESSED | 1u << STATUS_DEAD)

struct mark {
    bool set;
    uint64_t position;
    uint64_t count; /* of its changes; 0: all */
};

struct news {
    struct sse sse;
    struct follow follow;
    struct event_changes_request asked;
    struct mark mark;  /* what has been told */
    bool mark_is_sent; /* the client knows it */
    unsigned turn;     /* of the follow, that the last message was of */
    uint64_t position; /* the last change's, in this turn, and how many there were at it */
    uint64_t count;
};

/* ---- marks ---- */

static bool read_mark(struct view id, struct mark *ret)
{
    const char *dash = memchr(id.data, '-', id.len);
    struct view position = {id.data, dash ? (size_t)(dash - id.data) : id.len};
    struct mark mark = {.set = true};

    if (!view_parse_u64(position, &mark.position))
        return false;
    if (dash && (!view_parse_u64((struct view){dash + 1, id.len - position.len - 1}, &mark.count) ||
                 mark.count == 0 || mark.position == 0))
        return false;
    *ret = mark;
    return true;
}

static void write_mark(const struct mark *mark, char id[ID_SIZE])
{
    if (mark->count > 0)
        snprintf(id, ID_SIZE, "%" PRIu64 "-%" PRIu64, mark->position, mark->count);
    else
        snprintf(id, ID_SIZE, "%" PRIu64, mark->position);
}

static bool is_told(const struct mark *mark, uint64_t position, uint64_t count)
{
    return mark->set && (position < mark->position || (position == mark->position &&
                                                       (mark->count == 0 || count <= mark->count)));
}

/* ---- telling ---- */

static void take_change(struct news *n, const struct event_changes *changes, size_t i)
{
    const struct event_status *change = &changes->changes[i];
    uint64_t position = change->position;
    bool last = i + 1 < changes->count ? changes->changes[i + 1].position != position
                                       : changes->position >= position;
    char id[ID_SIZE];

    n->count = position == n->position ? n->count + 1 : 1;
    n->position = position;
    if (is_told(&n->mark, position, n->count))
        return;
    n->mark = (struct mark){true, position, last ? 0 : n->count};
    n->mark_is_sent = true;
    write_mark(&n->mark, id);
    sse_add_status(&n->sse, id, change);
}

static void send_mark(struct news *n)
{
    char id[ID_SIZE];

    if (n->mark_is_sent || !n->mark.set)
        return;
    write_mark(&n->mark, id);
    sse_add_id(&n->sse, id);
    n->mark_is_sent = true;
}

static enum err take(struct news *n, struct view message, struct err_detail *detail)
{
    struct event_status_holder *holder = NULL;
    struct event_changes changes;
    enum err e = event_changes_read(message, &holder, &changes);

    if (e)
        return event_call_unreadable(e, detail);
    if (n->turn != n->follow.turn)
        n->position = n->count = 0;
    n->turn = n->follow.turn;
    for (size_t i = 0; i < changes.count; i++)
        take_change(n, &changes, i);
    event_status_holder_free(holder);
    if (!n->mark.set || changes.position > n->mark.position) {
        n->mark = (struct mark){true, changes.position, 0};
        n->mark_is_sent = false;
    }
    if (!n->sse.begun) /* so that one who loses the connection at once comes back to here */
        send_mark(n);
    return ERR_NONE;
}

/* ---- the stream ---- */

static enum err write_request(const void *ctx, struct buf *out)
{
    const struct news *n = ctx;
    struct event_changes_request asked = n->asked;

    asked.has_after = n->mark.set;
    asked.after_position = n->mark.position - (n->mark.count > 0 ? 1 : 0);
    return event_changes_request_write(&asked, out);
}

static enum err step(struct news *n, struct err_detail *detail)
{
    struct err_detail why = {""}, told = {""};
    enum err e = ERR_NONE;

    switch (follow_next(&n->follow, sse_patience(&n->sse), &e, &why)) {
    case FOLLOW_MESSAGE:
        e = take(n, buf_view(&n->follow.message), &told);
        return e ? sse_fail(&n->sse, e, &told, detail) : ERR_NONE;
    case FOLLOW_NOTHING:
        return ERR_NONE;
    default:
        send_mark(n);
        e = event_call_explain(e ? e : ERR_UNAVAILABLE, NULL, &why, &told);
        return sse_fail(&n->sse, e, &told, detail);
    }
}

static enum err look(struct news *n, struct err_detail *detail)
{
    if (n->sse.begun && sse_patience(&n->sse) == 0)
        send_mark(n);
    return sse_look(&n->sse, detail);
}

static enum err run(struct news *n, struct err_detail *detail)
{
    enum err e = ERR_NONE;

    while (!e && !n->sse.over) {
        e = step(n, detail);
        if (!e && n->turn > 0)
            e = sse_send(&n->sse, detail);
        if (!e)
            e = look(n, detail);
    }
    return e;
}

static enum err read_request(struct news *n, const struct http_request *request,
                             struct err_detail *detail)
{
    static const char *const known[] = {"last_event_id", "name", "status", NULL};
    struct view id = sse_last_id(request);
    enum err e = http_query_only(request, known, detail);

    if (!e)
        e = read_filter_statuses(request, RECORDED, &n->asked.statuses, detail);
    if (!e)
        e = read_filter_name(request, &n->asked.name, detail);
    if (!e && id.len > 0 && !read_mark(id, &n->mark))
        return err_set(detail, ERR_INVALID,
                       "Last-Event-ID must be an id of this stream, as it was, or a position of "
                       "the status log");
    n->mark_is_sent = true;
    return e;
}

enum err stream_events(struct http_request *request, struct http_response *response,
                       struct err_detail *detail, void *ctx)
{
    struct gateway *g = ctx;
    struct news n = {.follow = {.g = g, .method = EVENT_CHANGES_METHOD, .write = write_request}};
    enum err e;

    n.follow.ctx = &n;
    sse_open(&n.sse, g, request, response);
    e = read_request(&n, request, detail);
    if (!e)
        e = follow_enter(g, detail);
    if (!e) {
        follow_begin(&n.follow);
        e = run(&n, detail);
        follow_end(&n.follow);
        follow_leave(g);
    }
    sse_close(&n.sse);
    return e;
}
