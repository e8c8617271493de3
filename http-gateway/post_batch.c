#include "http-gateway/post_batch.h"

#include "common/json_scan.h"
#include "common/mem.h"
#include "http-gateway/idempotency_key.h"
#include "http-gateway/store_batch.h"
#include "http-gateway/trace_context.h"

#define RESULT_SIZE (ID_TEXT_SIZE + sizeof "{\"event_id\":\"\",\"status\":\"accepted\"},\n")

struct elements {
    struct json_member *at; /* to be freed */
    size_t count;
};

bool post_batch_is_meant(enum event_form form, struct view body)
{
    size_t i = 0;

    while (i < body.len && memchr(" \t\r\n", body.data[i], 4))
        i++;
    return form == EVENT_FORM_BATCH ||
           (form == EVENT_FORM_PLAIN && i < body.len && body.data[i] == '[');
}

/* ---- its elements ---- */

static enum err check_elements(const struct gateway *g, const struct json_text *text,
                               struct err_detail *detail)
{
    uint64_t max = g->settings.max_batch;

    if (text->kind != JSON_ARRAY)
        return err_set(detail, ERR_INVALID, "a batch is a JSON array of events");
    if (text->count == 0)
        return err_set(detail, ERR_INVALID, "the batch is empty; 1 to %llu events are allowed",
                       (unsigned long long)max);
    if (text->count > max)
        return err_set(detail, ERR_TOO_LARGE, "the batch has %zu events; at most %llu are allowed",
                       text->count, (unsigned long long)max);
    return ERR_NONE;
}

static enum err find_elements(const struct gateway *g, struct view body, struct elements *ret,
                              struct err_detail *detail)
{
    size_t most = body.len / 2 + 1; /* with a comma between them */
    struct json_text text = {0};
    enum err e;

    text.capacity = most < g->settings.max_batch ? most : (size_t)g->settings.max_batch;
    text.members = mem_grow(NULL, text.capacity, sizeof *text.members);
    if (!text.members)
        return err_set(detail, ERR_MEMORY, "no memory to read the batch");
    e = json_scan(body, &text, detail);
    if (!e)
        e = check_elements(g, &text, detail);
    if (e)
        mem_free(text.members);
    else
        *ret = (struct elements){text.members, text.count};
    return e;
}

/* ---- the answer ---- */

static int status_of(const struct store_batch_counts *counts)
{
    if (counts->failed == 0)
        return 202;
    if (counts->stored + counts->duplicates > 0)
        return 207;
    if (counts->status)
        return counts->status;
    return counts->unknown ? 504 : counts->retryable ? 503 : 422;
}

/* Not a 503, which would say that nothing is stored. */
static enum err fail_untold(struct err_detail *detail)
{
    return err_set(
        detail, ERR_UNKNOWN_OUTCOME,
        "no memory for the results: some of the events may be stored; those with ids are "
        "safe to send again");
}

static enum err store(const struct store_batch_options *options, const struct elements *elements,
                      struct http_response *response, struct err_detail *detail)
{
    struct store_batch *batch;
    struct store_batch_counts counts;
    enum err e = store_batch_new(options, &batch);

    if (e)
        return err_set(detail, e, "no memory to store the batch");
    for (size_t i = 0; i < elements->count; i++)
        store_batch_add(batch, 0, elements->at[i].value);
    store_batch_flush(batch);
    counts = store_batch_counts(batch);
    response->status = status_of(&counts);
    if (response->status == 429 || response->status == 503)
        http_add_header(response, "Retry-After", VIEW("1"));
    store_batch_free(batch);
    return buf_failed(&response->body) ? fail_untold(detail) : ERR_NONE;
}

enum err post_batch(struct gateway *g, const struct http_request *request, enum event_form form,
                    struct view body, struct http_response *response, struct err_detail *detail)
{
    struct elements elements = {0};
    struct event trace = {0};
    char tracestate[TRACESTATE_MAX];
    struct store_batch_options options = {
        .gateway = g,
        .form = form == EVENT_FORM_BATCH ? EVENT_FORM_STRUCTURED : EVENT_FORM_PLAIN,
        .results = &response->body,
        .before = ",\n",
        .after = "",
    };
    enum err e;

    if (idempotency_key_given(request))
        return err_set(detail, ERR_INVALID,
                       "Idempotency-Key is for one event; give the events of a batch ids");
    e = find_elements(g, body, &elements, detail);
    if (e)
        return e;
    trace_context_take(request, tracestate, &trace);
    options.traceparent = trace.traceparent;
    options.tracestate = trace.tracestate;
    options.window =
        elements.count < STORE_BATCH_WINDOW_MAX ? elements.count : STORE_BATCH_WINDOW_MAX;
    /* the usual results: so that there is no lack of memory behind the storing */
    if (!buf_reserve(&response->body, elements.count * RESULT_SIZE + 4))
        e = err_set(detail, ERR_MEMORY, "no memory for the results");
    buf_add_text(&response->body, "[");
    if (!e)
        e = store(&options, &elements, response, detail);
    buf_add_text(&response->body, "]\n");
    mem_free(elements.at);
    return e;
}
