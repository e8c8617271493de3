#include "event-processor/query_lookup.h"

enum { END_MS = 2000, SLICE_MS = 100 };

static const char away[] = "it cannot be known now: the bus does not answer; try again";
static const char behind[] =
    "it cannot be known now: this processor has not caught up with the bus in time; try again";
static const char stopping[] = "this processor is shutting down; ask another one";

/* Takes all that wait; empty: stopping. */
static struct lookup_list take_all(struct query *query)
{
    wait_lock(&query->wait);
    while (!query->waiting.first && !query->stopping)
        wait_on(&query->wait);
    struct lookup_list list = query->waiting;
    query->waiting = (struct lookup_list){0};
    wait_unlock(&query->wait);
    return list;
}

static void fail_all(struct query *query, struct lookup_list *list, enum err e, const char *message)
{
    struct lookup *lookup;
    while ((lookup = lookup_pop(list)) != NULL)
        query_fail(query, lookup, e, message);
}

/* Takes out those whose time is over or whose caller has gone. */
static struct lookup_list take_expired(struct lookup_list *list)
{
    struct lookup_list kept = {0};
    struct lookup_list expired = {0};
    struct lookup *lookup;
    while ((lookup = lookup_pop(list)) != NULL) {
        bool gone = lookup->ask.gone && lookup->ask.gone(lookup->ask.ctx);
        bool over = gone || wait_left_ms(lookup->until) == 0;
        lookup_push(over ? &expired : &kept, lookup);
    }
    *list = kept;
    return expired;
}

/* Those that wait for the next look have their limits too. True: stopping. */
static bool expire(struct query *query, struct lookup_list *list)
{
    struct lookup_list expired = take_expired(list);
    fail_all(query, &expired, ERR_UNAVAILABLE, behind);
    wait_lock(&query->wait);
    expired = take_expired(&query->waiting);
    bool stop = query->stopping;
    wait_unlock(&query->wait);
    fail_all(query, &expired, ERR_UNAVAILABLE, behind);
    return stop;
}

static void wait_again(struct query *query, struct lookup *lookup)
{
    wait_lock(&query->wait);
    lookup_push(&query->waiting, lookup);
    wait_unlock(&query->wait);
}

/* The table has passed the target in that epoch. */
static void answer(struct query *query, struct lookup *lookup, const struct follower_target *target,
                   uint64_t epoch)
{
    struct status_reflects reflects;
    struct err_detail detail;
    bool found = status_table_find(query->use.table, &lookup->id, &lookup->entry, &reflects);
    lookup->position = reflects.status_position;
    if (reflects.epoch != epoch) { /* rebuilt meanwhile: its word counts for nothing */
        wait_again(query, lookup);
    } else if (lookup->ask.request.min_position > target->status_last) {
        err_set(&detail, ERR_OUT_OF_RANGE, "min_position %llu is beyond the status log's end, %llu",
                (unsigned long long)lookup->ask.request.min_position,
                (unsigned long long)target->status_last);
        query_fail(query, lookup, ERR_OUT_OF_RANGE, detail.text);
    } else if (!found) {
        query_say_unknown(&query->use, &lookup->ask.request, &detail);
        query_fail(query, lookup, ERR_NOT_FOUND, detail.text);
    } else {
        query_found(query, lookup);
    }
}

static void look(struct query *query, struct lookup_list *list)
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
    struct lookup *lookup;
    while ((lookup = lookup_pop(list)) != NULL)
        answer(query, lookup, &target, epoch);
}

void *query_run_looker(void *arg)
{
    struct query *query = arg;
    struct lookup_list list;
    while ((list = take_all(query)).first)
        look(query, &list);
    return NULL;
}
