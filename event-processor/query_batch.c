/* The look-up of many events at once. */
#include "event-processor/query_lookup.h"

#include "common/mem.h"

#include <stdio.h>

enum { MESSAGES_MAX = 4 << 20 };

struct batch {
    struct waiter waiter;
    struct query_batch_ask ask; /* its views are of this batch */
    size_t count;
    bool trusted; /* what was found is true; only what was not may be unknown to the table alone */
    struct view *texts; /* of the ids, in this batch's own memory */
    struct event_id *ids;
    struct status_entry *entries;
    struct event_batch_result *results;
    char text[];
};

/* ---- life ---- */

static void batch_free(struct batch *batch)
{
    mem_free(batch->texts);
    mem_free(batch->ids);
    mem_free(batch->entries);
    mem_free(batch->results);
    mem_free(batch);
}

static struct batch *batch_alloc(const struct event_batch_request *request)
{
    size_t bytes = request->source.len;
    for (size_t i = 0; i < request->event_id_count; i++)
        bytes += request->event_ids[i].len;
    struct batch *batch = mem_zero(1, sizeof *batch + bytes);
    if (!batch)
        return NULL;
    batch->count = request->event_id_count;
    batch->texts = mem_zero(batch->count, sizeof *batch->texts);
    batch->ids = mem_zero(batch->count, sizeof *batch->ids);
    batch->entries = mem_zero(batch->count, sizeof *batch->entries);
    batch->results = mem_zero(batch->count, sizeof *batch->results);
    if (batch->texts && batch->ids && batch->entries && batch->results)
        return batch;
    batch_free(batch);
    return NULL;
}

static struct view add_text(char **at, struct view text)
{
    struct view copy = {*at, text.len};
    if (text.len > 0)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

static struct event_status_request request_of(const struct batch *batch, size_t i)
{
    return (struct event_status_request){.event_id = batch->texts[i],
                                         .source = batch->ask.request.source};
}

static const struct waiter_kind batch_kind;

/* NULL: no memory. */
static struct batch *batch_new(const struct query *query, const struct query_batch_ask *ask)
{
    struct err_detail detail;
    struct batch *batch = batch_alloc(&ask->request);
    if (!batch)
        return NULL;
    char *at = batch->text;
    for (size_t i = 0; i < batch->count; i++)
        batch->texts[i] = add_text(&at, ask->request.event_ids[i]);
    batch->ask = *ask;
    batch->ask.request.event_ids = batch->texts;
    batch->ask.request.source = add_text(&at, ask->request.source);
    batch->waiter = (struct waiter){.kind = &batch_kind,
                                    .until = query_patience(query, ask->timeout_ms),
                                    .weight = batch->count};
    for (size_t i = 0; i < batch->count; i++) {
        struct event_status_request request = request_of(batch, i);
        batch->results[i].event_id = batch->texts[i];
        batch->results[i].e = query_id(&query->use, &request, &batch->ids[i], &detail);
    }
    return batch;
}

/* ---- answers ---- */

static void fail_all(struct query *query, struct batch *batch, enum err e, const char *message)
{
    query_count(query, e, batch->count);
    batch->ask.done(batch->ask.ctx, e, message, NULL, 0);
    batch_free(batch);
}

/* What is said of an id that has no status. `unknown` (NULL: it is surely not there) says why it
 * cannot be known. */
static void say(const struct query *query, const struct batch *batch, size_t i, const char *unknown,
                struct err_detail *detail)
{
    struct event_status_request request = request_of(batch, i);
    struct event_id id;
    if (query_id(&query->use, &request, &id, detail))
        return;
    if (unknown)
        err_set(detail, ERR_UNAVAILABLE, "%s", unknown);
    else
        query_say_unknown(&query->use, &request, detail);
}

static enum err fill(const struct query *query, struct batch *batch, uint64_t position,
                     const char *unknown, struct buf *messages)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct event_batch_result *result = &batch->results[i];
        struct err_detail detail;
        if (batch->entries[i].state.status != STATUS_NONE) {
            result->status = query_basic(&batch->entries[i], position);
            continue;
        }
        if (!result->e)
            result->e = unknown ? ERR_UNAVAILABLE : ERR_NOT_FOUND;
        say(query, batch, i, unknown, &detail);
        buf_add_text(messages, detail.text);
        result->message.len = strlen(detail.text);
    }
    if (buf_failed(messages))
        return ERR_MEMORY;
    const char *at = messages->data; /* which moves no more */
    for (size_t i = 0; i < batch->count; i++) {
        batch->results[i].message.data = at;
        at += batch->results[i].message.len;
    }
    return ERR_NONE;
}

static void answer(struct query *query, struct batch *batch, uint64_t position, const char *unknown)
{
    struct buf messages;
    buf_init(&messages, MESSAGES_MAX);
    if (fill(query, batch, position, unknown, &messages)) {
        fail_all(query, batch, ERR_MEMORY, "out of memory");
    } else {
        for (size_t i = 0; i < batch->count; i++)
            query_count(query, batch->results[i].e, 1);
        batch->ask.done(batch->ask.ctx, ERR_NONE, "", batch->results, batch->count);
        batch_free(batch);
    }
    buf_free(&messages);
}

/* ---- looking ---- */

static struct status_reflects find(struct query *query, struct batch *batch)
{
    struct status_reflects reflects;
    status_table_find_many(query->use.table, batch->ids, batch->count, batch->entries, &reflects);
    return reflects;
}

static bool batch_passed(struct query *query, struct waiter *waiter,
                         const struct follower_target *target, uint64_t epoch)
{
    struct batch *batch = (struct batch *)waiter;
    struct err_detail detail;
    struct status_reflects reflects = find(query, batch);
    if (reflects.epoch != epoch)
        return false;
    if (query_is_beyond(batch->ask.request.min_position, target, &detail))
        fail_all(query, batch, ERR_OUT_OF_RANGE, detail.text);
    else
        answer(query, batch, reflects.status_position, NULL);
    return true;
}

static void batch_fail(struct query *query, struct waiter *waiter, enum err e, const char *message)
{
    struct batch *batch = (struct batch *)waiter;
    if (e != ERR_UNAVAILABLE || !batch->trusted) {
        fail_all(query, batch, e, message);
        return;
    }
    struct status_reflects reflects = find(query, batch);
    if (reflects.epoch != follower_ready(query->use.follower))
        fail_all(query, batch, e, message);
    else
        answer(query, batch, reflects.status_position, message);
}

static bool batch_gone(const struct waiter *waiter)
{
    const struct batch *batch = (const struct batch *)waiter;
    return batch->ask.gone && batch->ask.gone(batch->ask.ctx);
}

static const struct waiter_kind batch_kind = {batch_passed, batch_fail, batch_gone};

/* ---- asking ---- */

static size_t count_unknown(const struct batch *batch)
{
    size_t unknown = 0;
    for (size_t i = 0; i < batch->count; i++)
        unknown += !batch->results[i].e && batch->entries[i].state.status == STATUS_NONE;
    return unknown;
}

static enum err check(const struct event_batch_request *request, struct err_detail *detail)
{
    size_t count = request->event_id_count;
    if (count == 0)
        return err_set(detail, ERR_INVALID, "event_ids is empty; 1 to %d ids are allowed",
                       EVENT_BATCH_MAX);
    if (count > EVENT_BATCH_MAX)
        return err_set(detail, ERR_INVALID, "event_ids has %zu ids; at most %d are allowed", count,
                       EVENT_BATCH_MAX);
    return ERR_NONE;
}

/* Answered at once if nothing is unknown; else it waits. */
static void begin(struct query *query, struct batch *batch)
{
    uint64_t ready = follower_ready(query->use.follower);
    struct status_reflects reflects = find(query, batch);
    batch->trusted =
        reflects.epoch == ready && reflects.status_position >= batch->ask.request.min_position;
    size_t unknown = count_unknown(batch);
    if (batch->trusted && unknown == 0) {
        answer(query, batch, reflects.status_position, NULL);
        return;
    }
    metric_add(query->misses, unknown > 0 ? unknown : 1);
    query_wait_for_look(query, &batch->waiter);
}

static void refuse(struct query *query, const struct query_batch_ask *ask, enum err e,
                   const char *message)
{
    query_count(query, e, 1);
    ask->done(ask->ctx, e, message, NULL, 0);
}

void query_batch(struct query *query, const struct query_batch_ask *ask)
{
    struct err_detail detail;
    enum err e = check(&ask->request, &detail);
    if (e) {
        refuse(query, ask, e, detail.text);
        return;
    }
    struct batch *batch = batch_new(query, ask);
    if (batch)
        begin(query, batch);
    else
        refuse(query, ask, ERR_MEMORY, "out of memory");
}
