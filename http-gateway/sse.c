#include "http-gateway/sse.h"

#include "http-gateway/event_call.h"
#include "http-gateway/event_document.h"
#include "http-gateway/follow.h"

#define RETRY "2000" /* milliseconds after which a browser comes back */
#define OUT_MAX (64 << 20)
/* To find a processor, and to have its answer. */
#define BEGIN_MS (FOLLOW_PATIENCE_MS + EVENT_CALL_MS)

static int64_t now_ms(void)
{
    return clock_monotonic_ms(&clock_system);
}

void sse_open(struct sse *s, struct gateway *g, struct http_request *request,
              struct http_response *response)
{
    *s = (struct sse){.g = g, .request = request, .response = response, .opened_ms = now_ms()};
    s->due_ms = s->opened_ms + g->settings.stream_keepalive_ms;
    buf_init(&s->out, OUT_MAX);
}

void sse_close(struct sse *s)
{
    buf_free(&s->out);
}

struct view sse_last_id(const struct http_request *request)
{
    struct view id = http_header(request, "Last-Event-ID");

    if (id.len == 0)
        http_query(request, "last_event_id", &id);
    return id;
}

/* ---- what is told ---- */

void sse_add_status(struct sse *s, const char *id, const struct event_status *status)
{
    buf_add_format(&s->out, "id: %s\nevent: status\ndata: ", id);
    event_document_write(status, &s->out);
    buf_add_text(&s->out, "\n\n");
}

void sse_add_id(struct sse *s, const char *id)
{
    buf_add_format(&s->out, "id: %s\n\n", id);
}

void sse_add_closing(struct sse *s, const char *reason, const char *detail)
{
    buf_add_format(&s->out, "event: closing\ndata: {\"reason\":\"%s\",\"detail\":", reason);
    buf_add_json(&s->out, view_of(detail));
    buf_add_text(&s->out, "}\n\n");
}

/* ---- sending ---- */

static bool begin(struct sse *s)
{
    s->begun = true;
    s->response->content_type = "text/event-stream";
    http_add_header(s->response, "X-Accel-Buffering", VIEW("no")); /* nginx would collect it */
    http_answer_lasts(s->request);
    return http_answer(s->request, VIEW("retry: " RETRY "\n\n")) == ERR_NONE;
}

static void send_out(struct sse *s)
{
    if (s->over || (!s->begun && !begin(s))) {
        s->over = true;
        return;
    }
    if (s->out.len == 0)
        return;
    s->over = buf_failed(&s->out) || http_answer(s->request, buf_view(&s->out)) != ERR_NONE;
    buf_clear(&s->out);
    s->due_ms = now_ms() + s->g->settings.stream_keepalive_ms;
}

/* What there was no memory for is left out: the client comes back to what it has. */
static void finish(struct sse *s, const char *reason, const char *detail)
{
    if (buf_failed(&s->out))
        buf_free(&s->out);
    sse_add_closing(s, reason, detail);
    send_out(s);
    s->over = true;
}

enum err sse_send(struct sse *s, struct err_detail *detail)
{
    struct err_detail told;

    if (buf_failed(&s->out))
        return sse_fail(s, err_set(&told, ERR_MEMORY, "no memory to tell what happened"), &told,
                        detail);
    send_out(s);
    return ERR_NONE;
}

int64_t sse_patience(const struct sse *s)
{
    int64_t left = s->begun ? s->due_ms - now_ms() : FOLLOW_LOOK_MS; /* nothing is due before */

    if (left < 0)
        return 0;
    return left < FOLLOW_LOOK_MS ? left : FOLLOW_LOOK_MS;
}

enum err sse_look(struct sse *s, struct err_detail *detail)
{
    if (s->over)
        return ERR_NONE;
    if (http_client_gone(s->request)) {
        s->over = true;
        return ERR_NONE;
    }
    if (!s->begun) {
        if (http_draining(s->request))
            return err_set(detail, ERR_UNAVAILABLE, "the gateway is stopping");
        if (now_ms() - s->opened_ms < BEGIN_MS)
            return ERR_NONE;
        return err_set(detail, ERR_DEADLINE, "no processor has answered within %d ms", BEGIN_MS);
    }
    if (http_draining(s->request)) {
        finish(s, "stopping", "this gateway is stopping; come back, to another one");
        return ERR_NONE;
    }
    if (now_ms() >= s->due_ms)
        buf_add_text(&s->out, ": still here\n\n");
    return sse_send(s, detail);
}

static const char *reason_of(enum err e)
{
    switch (e) {
    case ERR_BUSY:
        return "slow";
    case ERR_MEMORY:
    case ERR_UNAVAILABLE:
    case ERR_DEADLINE:
        return "unavailable";
    case ERR_OUT_OF_RANGE:
        return "gone";
    default:
        return "failed";
    }
}

enum err sse_fail(struct sse *s, enum err e, const struct err_detail *told,
                  struct err_detail *detail)
{
    if (!s->begun)
        return err_set(detail, e, "%s", told->text);
    finish(s, reason_of(e), told->text);
    return ERR_NONE;
}
