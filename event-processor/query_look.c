#include "event-processor/query_lookup.h"

enum { END_MS = 2000, SLICE_MS = 100 };

static const char away[] = "it cannot be known now: the bus does not answer; try again";
static const char behind[] =
    "it cannot be known now: this processor has not caught up with the bus in time; try again";
static const char stopping[] = "this processor is shutting down; ask another one";

/* Takes all that wait; empty: stopping. */
static struct waiter_list take_all(struct query *query)
{
    wait_lock(&query->wait);
    while (!query->waiting.first && !query->stopping)
        wait_on(&query->wait);
    struct waiter_list list = query->waiting;
    query->waiting = (struct waiter_list){0};
    wait_unlock(&query->wait);
    return list;
}

static void fail_all(struct query *query, struct waiter_list *list, enum err e, const char *message)
{
    struct waiter *waiter;
    while ((waiter = waiter_pop(list)) != NULL)
        waiter->kind->fail(query, waiter, e, message);
}

/* Takes out those whose time is over or whose caller has gone. */
static struct waiter_list take_expired(struct waiter_list *list)
{
    struct waiter_list kept = {0};
    struct waiter_list expired = {0};
    struct waiter *waiter;
    while ((waiter = waiter_pop(list)) != NULL) {
        bool over = waiter->kind->gone(waiter) || wait_left_ms(waiter->until) == 0;
        waiter_push(over ? &expired : &kept, waiter);
    }
    *list = kept;
    return expired;
}

/* Those that wait for the next look have their limits too. True: stopping. */
static bool expire(struct query *query, struct waiter_list *list)
{
    struct waiter_list expired = take_expired(list);
    fail_all(query, &expired, ERR_UNAVAILABLE, behind);
    wait_lock(&query->wait);
    expired = take_expired(&query->waiting);
    bool stop = query->stopping;
    wait_unlock(&query->wait);
    fail_all(query, &expired, ERR_UNAVAILABLE, behind);
    return stop;
}

static void wait_again(struct query *query, struct waiter *waiter)
{
    wait_lock(&query->wait);
    waiter_push(&query->waiting, waiter);
    wait_unlock(&query->wait);
}

bool query_is_beyond(uint64_t min_position, const struct follower_target *target,
                     struct err_detail *detail)
{
    if (min_position <= target->status_last)
        return false;
    err_set(detail, ERR_OUT_OF_RANGE, "min_position %llu is beyond the status log's end, %llu",
            (unsigned long long)min_position, (unsigned long long)target->status_last);
    return true;
}

/* ---- one event's look-up ---- */

static bool lookup_passed(struct query *query, struct waiter *waiter,
                          const struct follower_target *target, uint64_t epoch)
{
    struct lookup *lookup = (struct lookup *)waiter;
    struct status_reflects reflects;
    struct err_detail detail;
    bool found = status_table_find(query->use.table, &lookup->id, &lookup->entry, &reflects);
    lookup->position = reflects.status_position;
    if (reflects.epoch != epoch)
        return false;
    if (query_is_beyond(lookup->ask.request.min_position, target, &detail)) {
        query_fail(query, lookup, ERR_OUT_OF_RANGE, detail.text);
    } else if (!found) {
        query_say_unknown(&query->use, &lookup->ask.request, &detail);
        query_fail(query, lookup, ERR_NOT_FOUND, detail.text);
    } else {
        query_found(query, lookup);
    }
    return true;
}

static void lookup_fail(struct query *query, struct waiter *waiter, enum err e, const char *message)
{
    query_fail(query, (struct lookup *)waiter, e, message);
}

static bool lookup_gone(const struct waiter *waiter)
{
    const struct lookup *lookup = (const struct lookup *)waiter;
    return lookup->ask.gone && lookup->ask.gone(lookup->ask.ctx);
}

const struct waiter_kind query_lookup_kind = {lookup_passed, lookup_fail, lookup_gone};

/* ---- looking ---- */

static void look(struct query *query, struct waiter_list *list)
{
    struct follower_target target;
    uint64_t epoch;
    metric_add(query->looks, 1);
    if (follower_ends(query->use.follower, END_MS, &target)) {
        fail_all(query, list, ERR_UNAVAILABLE, away);
        return;
    }
    enum err e;
    while ((e = follower_wait(query->use.follower, &target, SLICE_MS, &epoch)) != ERR_NONE) {
        if (expire(query, list) || e != ERR_DEADLINE)
            fail_all(query, list, ERR_UNAVAILABLE, stopping);
        if (!list->first)
            return;
    }
    struct waiter *waiter;
    while ((waiter = waiter_pop(list)) != NULL)
        if (!waiter->kind->passed(query, waiter, &target, epoch))
            wait_again(query, waiter);
}

void *query_run_looker(void *arg)
{
    struct query *query = arg;
    struct waiter_list list;
    while ((list = take_all(query)).first)
        look(query, &list);
    return NULL;
}
