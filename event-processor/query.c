#include "event-processor/query_lookup.h"

#include "common/mem.h"

#include <stdio.h>

enum {
    PATIENCE_MS = 10000,
    BEHIND_MS = 1000,    /* while the table is being read anew, which takes long: others may know */
    WAITING_MAX = 10000, /* misses waiting for a look */
    READING_MAX = 1000,  /* full views waiting for a reader */
    LISTING_MAX = 200,   /* lists waiting for the lister */
};

static const char *const result_labels[QUERY_RESULTS] = {
    [QUERY_ANSWERED] = "result=\"answered\"", [QUERY_NOT_FOUND] = "result=\"not_found\"",
    [QUERY_INVALID] = "result=\"invalid\"",   [QUERY_OUT_OF_RANGE] = "result=\"out_of_range\"",
    [QUERY_BUSY] = "result=\"busy\"",         [QUERY_UNAVAILABLE] = "result=\"unavailable\"",
};

/* ---- lists ---- */

static size_t weight_of(const struct waiter *waiter)
{
    return waiter->weight ? waiter->weight : 1;
}

void waiter_push(struct waiter_list *list, struct waiter *waiter)
{
    waiter->next = NULL;
    if (list->first)
        list->last->next = waiter;
    else
        list->first = waiter;
    list->last = waiter;
    list->count += weight_of(waiter);
}

struct waiter *waiter_pop(struct waiter_list *list)
{
    struct waiter *waiter = list->first;
    if (waiter) {
        list->first = waiter->next;
        list->count -= weight_of(waiter);
    }
    return waiter;
}

/* Leaves it to a thread, or fails it. */
static void enqueue(struct query *query, struct waiter_list *list, size_t max, const char *full,
                    struct waiter *waiter)
{
    wait_lock(&query->wait);
    bool stopping = query->stopping;
    bool taken = !stopping && list->count + weight_of(waiter) <= max;
    if (taken) {
        waiter_push(list, waiter);
        wait_wake_all(&query->wait);
    }
    wait_unlock(&query->wait);
    if (stopping)
        waiter->kind->fail(query, waiter, ERR_UNAVAILABLE, "this processor is shutting down");
    else if (!taken)
        waiter->kind->fail(query, waiter, ERR_BUSY, full);
}

void query_wait_for_look(struct query *query, struct waiter *waiter)
{
    enqueue(query, &query->waiting, WAITING_MAX, "too many look-ups of unknown ids; try again",
            waiter);
}

void query_wait_for_lister(struct query *query, struct waiter *waiter)
{
    enqueue(query, &query->to_list, LISTING_MAX, "too many lists at once; try again", waiter);
}

struct waiter *query_take(struct query *query, struct waiter_list *list)
{
    wait_lock(&query->wait);
    while (!list->first && !query->stopping)
        wait_on(&query->wait);
    struct waiter *waiter = waiter_pop(list);
    wait_unlock(&query->wait);
    return waiter;
}

struct timespec query_patience(const struct query *query, int64_t timeout_ms)
{
    int64_t patience_ms = follower_ready(query->use.follower) ? PATIENCE_MS : BEHIND_MS;
    return wait_until(timeout_ms < patience_ms ? timeout_ms : patience_ms);
}

/* ---- answers ---- */

static enum query_result result_of(enum err e)
{
    switch (e) {
    case ERR_NONE:
        return QUERY_ANSWERED;
    case ERR_NOT_FOUND:
        return QUERY_NOT_FOUND;
    case ERR_OUT_OF_RANGE:
        return QUERY_OUT_OF_RANGE;
    case ERR_INVALID:
        return QUERY_INVALID;
    case ERR_BUSY:
    case ERR_MEMORY:
        return QUERY_BUSY;
    default:
        return QUERY_UNAVAILABLE;
    }
}

void query_count(struct query *query, enum err e, uint64_t look_ups)
{
    metric_add(query->results[result_of(e)], look_ups);
}

static void end(struct query *query, const struct query_ask *ask, enum err e, const char *message,
                const struct event_status *status)
{
    query_count(query, e, 1);
    ask->done(ask->ctx, e, message, status);
}

void query_fail(struct query *query, struct lookup *lookup, enum err e, const char *message)
{
    end(query, &lookup->ask, e, message, NULL);
    mem_free(lookup);
}

void query_answer(struct query *query, struct lookup *lookup, const struct event_status *status)
{
    end(query, &lookup->ask, ERR_NONE, "", status);
    mem_free(lookup);
}

struct event_status query_basic(const struct status_entry *entry, uint64_t position)
{
    return (struct event_status){
        .id = entry->id,
        .state = entry->state,
        .name = entry->name,
        .updated_ms = entry->updated_ms,
        .event_position = entry->event_position,
        .position = position,
    };
}

void query_found(struct query *query, struct lookup *lookup)
{
    if (lookup->ask.request.full) {
        enqueue(query, &query->to_read, READING_MAX,
                "too many full views are being read; try again", &lookup->waiter);
        return;
    }
    struct event_status status = query_basic(&lookup->entry, lookup->position);
    query_answer(query, lookup, &status);
}

/* ---- asking ---- */

/* From what the table knows, if that is enough. */
static bool find_now(struct query *query, const struct event_id *id, uint64_t min_position,
                     struct status_entry *ret, uint64_t *ret_position)
{
    struct status_reflects reflects;
    uint64_t ready = follower_ready(query->use.follower);
    if (!status_table_find(query->use.table, id, ret, &reflects))
        return false;
    *ret_position = reflects.status_position;
    return reflects.epoch == ready && reflects.status_position >= min_position;
}

static struct view copy_text(char *to, struct view text)
{
    if (text.len > 0)
        memcpy(to, text.data, text.len);
    return (struct view){to, text.len};
}

static struct lookup *new_lookup(const struct query_ask *ask)
{
    struct view id = ask->request.event_id;
    struct view source = ask->request.source;
    struct lookup *lookup = mem_zero(1, sizeof *lookup + id.len + source.len);
    if (!lookup)
        return NULL;
    lookup->waiter.kind = &query_lookup_kind;
    lookup->ask = *ask;
    lookup->ask.request.event_id = copy_text(lookup->text, id);
    lookup->ask.request.source = copy_text(lookup->text + id.len, source);
    return lookup;
}

/* What cannot be answered now waits: a miss for the next look, a full view for a reader. */
static void ask_later(struct query *query, const struct query_ask *ask, const struct event_id *id,
                      const struct status_entry *entry, uint64_t position)
{
    struct lookup *lookup = new_lookup(ask);
    if (!lookup) {
        end(query, ask, ERR_MEMORY, "out of memory", NULL);
        return;
    }
    lookup->id = *id;
    lookup->waiter.until = query_patience(query, ask->timeout_ms);
    if (entry) {
        lookup->entry = *entry;
        lookup->position = position;
        query_found(query, lookup);
    } else {
        metric_add(query->misses, 1);
        query_wait_for_look(query, &lookup->waiter);
    }
}

void query_ask(struct query *query, const struct query_ask *ask)
{
    struct event_id id;
    struct status_entry entry;
    uint64_t position = 0;
    struct err_detail detail;
    enum err e = query_id(&query->use, &ask->request, &id, &detail);
    if (e) {
        end(query, ask, e, detail.text, NULL);
        return;
    }
    bool known = find_now(query, &id, ask->request.min_position, &entry, &position);
    if (!known || ask->request.full) {
        ask_later(query, ask, &id, known ? &entry : NULL, position);
        return;
    }
    struct event_status status = query_basic(&entry, position);
    end(query, ask, ERR_NONE, "", &status);
}

/* ---- life ---- */

static void register_metrics(struct query *query)
{
    struct metrics *m = query->use.metrics;
    for (int i = 0; i < QUERY_RESULTS; i++)
        query->results[i] = metrics_counter(m, "tidings_lookups_total", result_labels[i],
                                            "Look-ups of an event's status by result");
    query->misses = metrics_counter(m, "tidings_lookup_misses_total", NULL,
                                    "Look-ups that the status table could not answer at once");
    query->looks = metrics_counter(m, "tidings_looks_total", NULL,
                                   "Times that the logs' ends were read for missed look-ups");
}

enum err query_start(const struct query_options *options, struct query **ret)
{
    struct query *query = mem_zero(1, sizeof *query);
    if (!query)
        return ERR_MEMORY;
    if (wait_init(&query->wait)) {
        mem_free(query);
        return ERR_MEMORY;
    }
    query->use = *options;
    register_metrics(query);
    for (size_t i = 0; i < QUERY_THREADS; i++) {
        void *(*function)(void *) = i == 0   ? query_run_looker
                                    : i == 1 ? query_run_lister
                                             : query_run_reader;
        if (pthread_create(&query->threads[i], NULL, function, query) != 0) {
            query_stop(query);
            return ERR_MEMORY;
        }
        query->started++;
    }
    *ret = query;
    return ERR_NONE;
}

void query_stop(struct query *query)
{
    if (!query)
        return;
    wait_lock(&query->wait);
    query->stopping = true;
    wait_wake_all(&query->wait);
    wait_unlock(&query->wait);
    for (size_t i = 0; i < query->started; i++)
        pthread_join(query->threads[i], NULL);
    wait_destroy(&query->wait);
    mem_free(query);
}
