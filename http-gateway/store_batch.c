#include "http-gateway/store_batch.h"

#include "common/mem.h"
#include "http-gateway/store_event.h"

#define SLOTS ((size_t)2 * STORE_BATCH_WINDOW_MAX) /* a power of two */
#define DETAIL_MAX sizeof(((struct err_detail *)0)->text)

struct item {
    uint64_t line;
    struct view text;
    struct store_identity identity; /* id and origin */
    struct store_sent sent;
    enum err error;     /* it was not sent */
    size_t detail, len; /* in details */
};

struct store_batch {
    struct store_batch_options options;
    struct read_event reader;
    struct wait_group group;
    struct store_batch_counts counts;
    struct buf details;    /* of the window's errors */
    uint16_t slots[SLOTS]; /* the window's ids: an item's number + 1; open addressing */
    size_t count;          /* of the window's items */
    size_t sent;           /* those of them that are on their way */
    bool any;              /* a result has been written */
    struct item items[];
};

enum err store_batch_new(const struct store_batch_options *options, struct store_batch **ret)
{
    struct store_batch *batch = mem_zero(1, sizeof *batch + options->window * sizeof *batch->items);

    if (!batch)
        return ERR_MEMORY;
    read_event_init(&batch->reader);
    batch->options = *options;
    buf_init(&batch->details, options->window * DETAIL_MAX);
    *ret = batch;
    return ERR_NONE;
}

void store_batch_free(struct store_batch *batch)
{
    if (!batch)
        return;
    wait_group_wait(&batch->group);
    read_event_free(&batch->reader);
    buf_free(&batch->details);
    mem_free(batch);
}

/* ---- ids of the window ---- */

/* Where the id is, or belongs. Ids are random, or their senders' own loss. */
static uint16_t *find_slot(struct store_batch *batch, const char *id)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    for (const char *c = id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619U;
    for (size_t i = hash;; i++) {
        uint16_t *slot = &batch->slots[i % SLOTS];

        if (*slot == 0 || strcmp(batch->items[*slot - 1].identity.id, id) == 0)
            return slot;
    }
}

/* ---- into the window ---- */

static enum err read_item(struct store_batch *batch, struct view text, struct event *event,
                          struct store_identity *identity, struct err_detail *detail)
{
    const struct store_batch_options *o = &batch->options;
    enum err e = read_event_body(&batch->reader, o->form, text, event, detail);

    if (e)
        return e;
    if (event->traceparent.len == 0) {
        event->traceparent = o->traceparent;
        event->tracestate = o->tracestate;
    }
    return store_event_identify(o->gateway, (struct view){0}, event, identity, detail);
}

static void keep_error(struct store_batch *batch, struct item *item, enum err e,
                       const struct err_detail *detail)
{
    size_t before = batch->details.len;

    item->error = e;
    buf_add_text(&batch->details, detail->text);
    item->detail = before;
    item->len = batch->details.len - before;
}

/* False: not before the window's events have their outcomes. */
static bool take_item(struct store_batch *batch, uint64_t line, struct view text)
{
    struct item *item = &batch->items[batch->count];
    struct event event = {0};
    struct err_detail detail = {""};
    uint16_t *slot = NULL;
    enum err e;

    *item = (struct item){.line = line, .text = text};
    e = read_item(batch, text, &event, &item->identity, &detail);
    if (!e && item->identity.origin != STORE_ID_MADE) {
        slot = find_slot(batch, item->identity.id);
        if (*slot)
            return false;
    }
    if (!e)
        e = store_event_begin(batch->options.gateway, &event, &item->identity, &batch->group,
                              &item->sent, &detail);
    if (e == ERR_BUSY && batch->sent > 0)
        return false;
    batch->count++;
    if (e)
        keep_error(batch, item, e, &detail);
    else
        batch->sent++;
    if (!e && slot)
        *slot = (uint16_t)batch->count;
    return true;
}

void store_batch_add(struct store_batch *batch, uint64_t line, struct view text)
{
    if (batch->count == batch->options.window)
        store_batch_flush(batch);
    if (take_item(batch, line, text))
        return;
    store_batch_flush(batch);
    (void)take_item(batch, line, text); /* nothing is in its way now */
}

void store_batch_refuse(struct store_batch *batch, uint64_t line, enum err e,
                        const struct err_detail *detail)
{
    struct item *item;

    if (batch->count == batch->options.window)
        store_batch_flush(batch);
    item = &batch->items[batch->count++];
    *item = (struct item){.line = line};
    keep_error(batch, item, e, detail);
}

/* ---- results ---- */

static enum err end_item(struct store_batch *batch, const struct item *item, bool *ret_duplicate,
                         struct err_detail *detail)
{
    struct event event = {0};
    struct store_identity identity;
    enum err e = ERR_NONE;

    if (!store_event_needs_event(&item->sent))
        return store_event_end(&item->sent, NULL, &item->identity, ret_duplicate, detail);
    e = read_item(batch, item->text, &event, &identity, detail); /* as it could be read before */
    return e ? e : store_event_end(&item->sent, &event, &identity, ret_duplicate, detail);
}

static void write_accepted(struct buf *out, const struct item *item, bool duplicate)
{
    buf_add_text(out, "\"event_id\":\"");
    buf_add_text(out, item->identity.id);
    buf_add_text(out, "\",\"status\":\"accepted\"");
    buf_add_text(out, duplicate ? ",\"duplicate\":true}" : "}");
}

static void write_problem(struct buf *out, const struct item *item, enum err e, struct view detail)
{
    if (e == ERR_UNKNOWN_OUTCOME || e == ERR_ID_REUSED) {
        buf_add_text(out, "\"event_id\":\"");
        buf_add_text(out, item->identity.id);
        buf_add_text(out, "\",");
    }
    http_add_problem(out, e, detail);
    buf_add_text(out, "}");
}

static void count_failure(struct store_batch_counts *counts, enum err e)
{
    int status = err_http_status(e);

    counts->status = counts->failed == 0 || counts->status == status ? status : 0;
    counts->failed++;
    if (e == ERR_UNKNOWN_OUTCOME)
        counts->unknown++;
    else if (status == 429 || status >= 500)
        counts->retryable++;
}

static void finish_item(struct store_batch *batch, const struct item *item)
{
    struct buf *out = batch->options.results;
    struct err_detail detail = {""};
    struct view words = {buf_view(&batch->details).data + item->detail, item->len};
    bool duplicate = false;
    enum err e = item->error;

    if (!e) {
        e = end_item(batch, item, &duplicate, &detail);
        words = view_of(detail.text);
    }
    buf_add_text(out, batch->any ? batch->options.before : "");
    buf_add_text(out, "{");
    if (item->line > 0)
        buf_add_format(out, "\"line\":%llu,", (unsigned long long)item->line);
    if (e) {
        write_problem(out, item, e, words);
        count_failure(&batch->counts, e);
    } else {
        write_accepted(out, item, duplicate);
        batch->counts.stored += !duplicate;
        batch->counts.duplicates += duplicate;
    }
    buf_add_text(out, batch->options.after);
    batch->any = true;
}

void store_batch_flush(struct store_batch *batch)
{
    wait_group_wait(&batch->group);
    for (size_t i = 0; i < batch->count; i++)
        finish_item(batch, &batch->items[i]);
    if (batch->sent > 0)
        memset(batch->slots, 0, sizeof batch->slots);
    buf_clear(&batch->details);
    batch->count = batch->sent = 0;
}

struct store_batch_counts store_batch_counts(const struct store_batch *batch)
{
    return batch->counts;
}
