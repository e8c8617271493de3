#include "http-gateway/post_lines.h"

#include "common/clock.h"
#include "common/log.h"
#include "http-gateway/body_reader.h"
#include "http-gateway/idempotency_key.h"
#include "http-gateway/store_batch.h"
#include "http-gateway/trace_context.h"

#define WINDOW 512
#define READ_SIZE 32768 /* bytes, at most so many at once: so results are never far behind */
#define SEND_SIZE 32768 /* bytes of results that are sent before more lines are taken */

struct upload {
    struct gateway *gateway;
    struct http_request *request;
    struct body_reader body;
    struct store_batch *batch;
    struct buf text;    /* from the beginning of a line */
    struct buf results; /* that have not been sent yet */
    uint64_t line;      /* of the text's beginning; the first is 1 */
    uint64_t timed;     /* the line that must be complete by `line_end_ms`; 0: none */
    int64_t line_end_ms;
    bool too_long; /* the line; the rest of it is skipped */
    bool ended;    /* all has been read */
};

/* ---- results ---- */

static enum err send_results(struct upload *u, struct err_detail *detail)
{
    enum err e = ERR_NONE;

    if (buf_failed(&u->results))
        return err_set(detail, ERR_MEMORY, "no memory for the results");
    if (u->results.len > 0)
        e = http_answer(u->request, buf_view(&u->results));
    buf_clear(&u->results);
    return e ? err_set(detail, e, "the client takes no more results") : ERR_NONE;
}

/* ---- lines ---- */

static bool is_blank(struct view line)
{
    for (size_t i = 0; i < line.len; i++)
        if (!memchr(" \t\r", line.data[i], 3))
            return false;
    return true;
}

/* Once; the rest of it is skipped. */
static void refuse_line(struct upload *u)
{
    struct err_detail detail;
    enum err e = err_set(&detail, ERR_TOO_LARGE, "the line may have at most %llu bytes",
                         (unsigned long long)u->gateway->settings.max_body);

    if (!u->too_long)
        store_batch_refuse(u->batch, u->line, e, &detail);
    u->too_long = true;
}

static enum err take_line(struct upload *u, struct view line, struct err_detail *detail)
{
    if (line.len > u->gateway->settings.max_body)
        refuse_line(u);
    if (!u->too_long && !is_blank(line))
        store_batch_add(u->batch, u->line, line);
    u->too_long = false;
    u->line++;
    return u->results.len < SEND_SIZE ? ERR_NONE : send_results(u, detail);
}

static void cut_front(struct buf *text, size_t len)
{
    size_t rest = text->len - len;

    memmove(text->data, text->data + len, rest);
    buf_cut(text, rest);
}

/* The lines that are complete, and at the body's end what is left. Sets where the rest begins. */
static enum err take_complete(struct upload *u, size_t *ret_rest, struct err_detail *detail)
{
    const char *at = u->text.data, *end = at + u->text.len, *newline;
    enum err e = ERR_NONE;

    while (!e && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        e = take_line(u, (struct view){at, (size_t)(newline - at)}, detail);
        at = newline + 1;
    }
    if (!e && u->ended && at < end) {
        e = take_line(u, (struct view){at, (size_t)(end - at)}, detail);
        at = end;
    }
    *ret_rest = (size_t)(at - u->text.data);
    return e;
}

/* Stores what is complete of the text, and keeps the beginning of a line. */
static enum err take_lines(struct upload *u, struct err_detail *detail)
{
    struct buf *text = &u->text;
    size_t rest = 0;
    enum err e = take_complete(u, &rest, detail);

    if (text->len - rest > u->gateway->settings.max_body)
        refuse_line(u);
    store_batch_flush(u->batch); /* then nothing of the text is needed any more */
    cut_front(text, u->too_long ? text->len : rest);
    return e ? e : send_results(u, detail);
}

/* ---- reading ---- */

/* A line that has begun must be complete within the time of a request, however often a part of it
 * comes; until one begins, a connection may be idle for as long as between two requests. The time
 * that it takes to store what came before it does not count. */
static int64_t time_left_ms(struct upload *u)
{
    const struct gateway_settings *s = &u->gateway->settings;
    int64_t now_ms = clock_monotonic_ms(&clock_system);

    if (u->text.len == 0 && !u->too_long)
        return s->idle_timeout_ms;
    if (u->timed != u->line) {
        u->timed = u->line;
        u->line_end_ms = now_ms + s->request_timeout_ms;
    }
    return u->line_end_ms - now_ms;
}

static enum err read_more(struct upload *u, struct err_detail *detail)
{
    int64_t left_ms = time_left_ms(u);
    char *to = buf_reserve(&u->text, READ_SIZE);
    size_t got = 0;
    enum err e;

    if (!to)
        return err_set(detail, ERR_MEMORY, "no memory to read a line");
    e = left_ms > 0 ? body_reader_read(&u->body, left_ms, to, READ_SIZE, &got, detail) : ERR_SLOW;
    if (e == ERR_SLOW && u->timed == u->line)
        return err_set(detail, e, "line %llu was not complete in time",
                       (unsigned long long)u->line);
    if (e)
        return e;
    buf_advance(&u->text, got);
    u->ended = got == 0;
    return ERR_NONE;
}

/* ---- the answer ---- */

static enum err send_summary(struct upload *u, enum err ended_by, const struct err_detail *why,
                             struct err_detail *detail)
{
    struct store_batch_counts counts = store_batch_counts(u->batch);
    struct buf *out = &u->results;

    buf_add_format(out, "{\"stored\":%llu,\"duplicates\":%llu,\"failed\":%llu,\"complete\":%s",
                   (unsigned long long)counts.stored, (unsigned long long)counts.duplicates,
                   (unsigned long long)counts.failed, ended_by ? "false" : "true");
    if (ended_by) {
        buf_add_text(out, ",");
        http_add_problem(out, ended_by, view_of(why->text));
    }
    buf_add_text(out, "}\n");
    return send_results(u, detail);
}

/* A body that breaks off before anything of it was stored or refused is a request like any other
 * that fails. */
static enum err run(struct upload *u, struct err_detail *detail)
{
    struct err_detail why = {""};
    enum err ended_by = ERR_NONE, e = ERR_NONE;

    while (!e && !ended_by && !u->ended) {
        ended_by = read_more(u, &why);
        if (!ended_by)
            e = take_lines(u, detail);
    }
    if (e)
        return e;
    if (ended_by)
        log_debug("an upload has ended early", LOG_TEXT("detail", why.text),
                  LOG_U64("line", u->line));
    if (ended_by && u->line == 1 && !u->too_long)
        return err_set(detail, ended_by, "%s", why.text);
    return send_summary(u, ended_by, &why, detail);
}

static enum err begin(struct upload *u, const struct event *trace, struct err_detail *detail)
{
    struct store_batch_options options = {
        .gateway = u->gateway,
        .form = EVENT_FORM_LINES,
        .window = WINDOW,
        .traceparent = trace->traceparent,
        .tracestate = trace->tracestate,
        .results = &u->results,
        .before = "",
        .after = "\n",
    };
    enum err e = store_batch_new(&options, &u->batch);

    return e ? err_set(detail, e, "no memory to store events") : ERR_NONE;
}

enum err post_lines(struct gateway *g, struct http_request *request, enum content_coding coding,
                    struct http_response *response, struct err_detail *detail)
{
    struct upload u = {.gateway = g, .request = request, .line = 1};
    struct event trace = {0};
    char tracestate[TRACESTATE_MAX];
    enum err e;

    if (idempotency_key_given(request))
        return err_set(detail, ERR_INVALID,
                       "Idempotency-Key is for one event; give the events of the lines ids");
    trace_context_take(request, tracestate, &trace);
    response->content_type = "application/x-ndjson";
    buf_init(&u.text, (size_t)g->settings.max_body + READ_SIZE);
    buf_init(&u.results, SIZE_MAX); /* SEND_SIZE and a window's */
    e = body_reader_init(&u.body, request, coding, g->settings.max_body, detail);
    if (!e)
        e = begin(&u, &trace, detail);
    if (!e)
        e = run(&u, detail);
    store_batch_free(u.batch);
    body_reader_free(&u.body);
    buf_free(&u.text);
    buf_free(&u.results);
    return e;
}
