#include "http-gateway/wait_event.h"

#include "common/log.h"
#include "http-gateway/event_call.h"
#include "http-gateway/event_document.h"
#include "http-gateway/follow.h"

#include <stdio.h>

/* ---- the wish ---- */

static struct view trim(struct view v)
{
    while (v.len > 0 && (*v.data == ' ' || *v.data == '"'))
        v = (struct view){v.data + 1, v.len - 1};
    while (v.len > 0 && (v.data[v.len - 1] == ' ' || v.data[v.len - 1] == '"'))
        v.len--;
    return v;
}

/* wait=10, wait = "10", perhaps with parameters. */
static bool read_preference(struct view item, uint64_t *ret)
{
    static const char name[] = "wait";
    const char *end = memchr(item.data, ';', item.len), *equals;
    struct view word;

    if (end)
        item.len = (size_t)(end - item.data);
    equals = memchr(item.data, '=', item.len);
    if (!equals)
        return false;
    word = trim((struct view){item.data, (size_t)(equals - item.data)});
    item = trim((struct view){equals + 1, (size_t)(item.data + item.len - equals - 1)});
    return view_equal_nocase(word, view_of(name)) && view_parse_u64(item, ret);
}

/* The first one counts (RFC 7240, section 2); what is no preference of ours is ignored. */
static bool find_preference(const struct http_request *request, uint64_t *ret)
{
    struct view list;

    for (int at = 0; http_header_next(request, "Prefer", &at, &list);)
        while (list.len > 0) {
            const char *comma = memchr(list.data, ',', list.len);
            size_t len = comma ? (size_t)(comma - list.data) : list.len;

            if (read_preference((struct view){list.data, len}, ret))
                return true;
            list =
                (struct view){list.data + len + (comma ? 1 : 0), list.len - len - (comma ? 1 : 0)};
        }
    return false;
}

static uint64_t max_seconds(const struct gateway *g)
{
    return (uint64_t)g->settings.max_wait_ms / 1000;
}

bool wait_event_prefers(const struct gateway *g, const struct http_request *request,
                        int64_t *ret_ms)
{
    uint64_t max = max_seconds(g), seconds;

    if (!find_preference(request, &seconds))
        return false;
    *ret_ms = (int64_t)(seconds < max ? seconds : max) * 1000;
    return true;
}

void wait_event_applied(struct http_response *response, int64_t wait_ms)
{
    char applied[32];

    snprintf(applied, sizeof applied, "wait=%lld", (long long)(wait_ms / 1000));
    http_add_header(response, "Preference-Applied", view_of(applied));
}

enum err wait_event_read(const struct gateway *g, const struct http_request *request,
                         int64_t *ret_ms, bool *ret_preferred, struct err_detail *detail)
{
    uint64_t max = max_seconds(g), seconds;
    struct view text;

    *ret_ms = 0;
    *ret_preferred = false;
    if (http_query(request, "wait", &text)) {
        if (!view_parse_u64(text, &seconds) || seconds > max)
            return err_set(detail, ERR_INVALID,
                           "wait must be a whole number of seconds from 0 to %llu",
                           (unsigned long long)max);
        *ret_ms = (int64_t)seconds * 1000;
    } else {
        *ret_preferred = wait_event_prefers(g, request, ret_ms);
    }
    return ERR_NONE;
}

/* ---- waiting ---- */

static enum err write_request(const void *ctx, struct buf *out)
{
    return event_watch_request_write(ctx, out);
}

static enum err note_status(struct view message, struct event_status_request *asked,
                            bool *ret_ended, struct err_detail *detail)
{
    struct event_status_holder *holder = NULL;
    struct event_status status;
    enum err e = event_status_read(message, &holder, &status);

    if (e)
        return event_call_unreadable(e, detail);
    *ret_ended = status_ended(status.state.status);
    if (status.position > asked->min_position)
        asked->min_position = status.position;
    event_status_holder_free(holder);
    return ERR_NONE;
}

static enum err follow_until_ended(struct follow *f, struct http_request *request,
                                   struct event_status_request *asked, int64_t wait_ms,
                                   enum wait_end *ret, struct err_detail *detail)
{
    int64_t left, end_ms = clock_monotonic_ms(&clock_system) + wait_ms;
    struct err_detail why = {""};
    bool ended = false;
    enum err e = ERR_NONE;

    *ret = WAIT_GIVEN_UP;
    while ((left = end_ms - clock_monotonic_ms(&clock_system)) > 0) {
        switch (follow_next(f, left < FOLLOW_LOOK_MS ? left : FOLLOW_LOOK_MS, &e, &why)) {
        case FOLLOW_MESSAGE:
            e = note_status(buf_view(&f->message), asked, &ended, detail);
            if (!e && ended)
                *ret = WAIT_EVENT_ENDED;
            if (e || ended)
                return e;
            break;
        case FOLLOW_NOTHING:
            break;
        default:
            return e ? event_call_explain(e, asked, &why, detail) : ERR_NONE;
        }
        if (http_client_gone(request) || http_draining(request))
            return ERR_NONE;
    }
    *ret = WAIT_TIME_UP;
    return ERR_NONE;
}

enum err wait_event(struct gateway *g, struct http_request *request,
                    struct event_status_request *asked, int64_t wait_ms, enum wait_end *ret,
                    struct err_detail *detail)
{
    struct follow f = {.g = g, .method = EVENT_WATCH_METHOD, .write = write_request, .ctx = asked};
    enum err e = follow_enter(g, detail);

    if (e)
        return e;
    follow_begin(&f);
    e = follow_until_ended(&f, request, asked, wait_ms, ret, detail);
    follow_end(&f);
    follow_leave(g);
    return e;
}

/* ---- waiting for what is stored ---- */

static enum err write_document(struct view message, struct buf *document, struct err_detail *detail)
{
    struct event_status_holder *holder = NULL;
    struct event_status status;
    enum err e = event_status_read(message, &holder, &status);

    if (e)
        return event_call_unreadable(e, detail);
    event_document_write(&status, document);
    event_status_holder_free(holder);
    if (!buf_failed(document))
        return ERR_NONE;
    buf_clear(document);
    return err_set(detail, ERR_MEMORY, "no memory for the event's status");
}

static enum err follow_stored(struct follow *f, struct http_request *request,
                              struct event_status_request *asked, int64_t wait_ms,
                              struct buf *document, enum wait_end *ret, struct err_detail *detail)
{
    enum err e = follow_enter(f->g, detail);

    if (e)
        return e;
    follow_begin(f);
    e = follow_until_ended(f, request, asked, wait_ms, ret, detail);
    if (!e && *ret == WAIT_EVENT_ENDED)
        e = write_document(buf_view(&f->message), document, detail);
    follow_end(f);
    follow_leave(f->g);
    return e;
}

enum wait_end wait_event_stored(struct gateway *g, struct http_request *request,
                                struct view event_id, int64_t wait_ms, struct buf *document)
{
    struct event_status_request asked = {.event_id = event_id};
    struct follow f = {.g = g, .method = EVENT_WATCH_METHOD, .write = write_request, .ctx = &asked};
    struct err_detail detail = {""};
    enum wait_end end = WAIT_TIME_UP;
    enum err e;

    if (wait_ms == 0)
        return end;
    e = follow_stored(&f, request, &asked, wait_ms, document, &end, &detail);
    if (!e)
        return end;
    log_debug("event stored, but not waited for", LOG_TEXT("error", err_slug(e)),
              LOG_TEXT("detail", detail.text));
    return WAIT_GIVEN_UP;
}
