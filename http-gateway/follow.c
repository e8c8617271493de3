#include "http-gateway/follow.h"

#include <poll.h>

#define RETRY_MS 100 /* between looks for a processor */
#define REQUEST_MAX 65536

static int64_t now_ms(void)
{
    return clock_monotonic_ms(&clock_system);
}

/* ---- places ---- */

enum err follow_enter(struct gateway *g, struct err_detail *detail)
{
    if (atomic_fetch_add(&g->followers, 1) < g->followers_max)
        return ERR_NONE;
    atomic_fetch_sub(&g->followers, 1);
    metric_add(g->followers_refused, 1);
    return err_set(detail, ERR_UNAVAILABLE,
                   "%u requests wait for events already, which is as many as may",
                   g->followers_max);
}

void follow_leave(struct gateway *g)
{
    atomic_fetch_sub(&g->followers, 1);
}

/* ---- following ---- */

void follow_begin(struct follow *f)
{
    buf_init(&f->message, RPC_ANSWER_MAX);
    f->turn = 0;
    f->reader = NULL;
    f->lost_ms = f->retry_ms = 0;
}

void follow_end(struct follow *f)
{
    rpc_reader_close(f->reader);
    f->reader = NULL;
    buf_free(&f->message);
}

static enum err open_stream(struct follow *f, struct err_detail *detail)
{
    struct buf request;
    enum err e;

    buf_init(&request, REQUEST_MAX);
    e = f->write(f->ctx, &request);
    if (!e)
        e = rpc_reader_open(f->g->processor, f->method, buf_view(&request), &f->reader, detail);
    else
        err_set(detail, e, "no memory to ask for events");
    buf_free(&request);
    f->turn += e ? 0 : 1;
    f->heard = false;
    return e;
}

/* Whether another processor, or this one later, may go on. */
static bool is_passing(enum err e)
{
    return e == ERR_UNAVAILABLE || e == ERR_CANCELLED || e == ERR_DEADLINE;
}

/* The stream has ended. */
static enum follow_news lose(struct follow *f, enum err e, enum err *ret_end)
{
    int64_t now = now_ms();

    rpc_reader_close(f->reader);
    f->reader = NULL;
    if (f->lost_ms == 0)
        f->lost_ms = now;
    if (e == ERR_BUSY && !f->heard)
        e = ERR_UNAVAILABLE; /* that one has too many; the client is not to blame */
    if (is_passing(e) && now - f->lost_ms < FOLLOW_PATIENCE_MS) {
        f->retry_ms = now + RETRY_MS;
        return FOLLOW_NOTHING;
    }
    *ret_end = e;
    return FOLLOW_END;
}

enum follow_news follow_next(struct follow *f, int64_t timeout_ms, enum err *ret_end,
                             struct err_detail *detail)
{
    int64_t pause = f->retry_ms - now_ms();
    enum err e = ERR_NONE;

    if (!f->reader && f->retry_ms > 0 && pause > 0) {
        poll(NULL, 0, (int)(pause < timeout_ms ? pause : timeout_ms));
        return FOLLOW_NOTHING;
    }
    if (!f->reader)
        e = open_stream(f, detail);
    if (e)
        return lose(f, e, ret_end);
    switch (rpc_reader_next(f->reader, timeout_ms, &f->message, &e, detail)) {
    case RPC_READ_MESSAGE:
        f->lost_ms = 0;
        f->heard = true;
        return FOLLOW_MESSAGE;
    case RPC_READ_NOTHING:
        return FOLLOW_NOTHING;
    default:
        return lose(f, e, ret_end);
    }
}
