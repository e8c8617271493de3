/* Waiting for the table to reflect a position. */
#include "event-processor/query_lookup.h"

#include "common/mem.h"

struct position {
    struct waiter waiter;
    struct query_position_ask ask;
};

static void end(struct position *position, enum err e, const char *message, uint64_t epoch)
{
    position->ask.done(position->ask.ctx, e, message, epoch);
    mem_free(position);
}

static bool position_passed(struct query *query, struct waiter *waiter,
                            const struct follower_target *target, uint64_t epoch)
{
    struct position *position = (struct position *)waiter;
    struct status_reflects reflects;
    struct err_detail detail;
    status_table_reflects(query->use.table, &reflects);
    if (reflects.epoch != epoch)
        return false;
    if (query_is_beyond(position->ask.min_position, target, &detail))
        end(position, ERR_OUT_OF_RANGE, detail.text, 0);
    else
        end(position, ERR_NONE, "", epoch);
    return true;
}

static void position_fail(struct query *query, struct waiter *waiter, enum err e,
                          const char *message)
{
    (void)query;
    end((struct position *)waiter, e, message, 0);
}

static bool position_gone(const struct waiter *waiter)
{
    const struct position *position = (const struct position *)waiter;
    return position->ask.gone && position->ask.gone(position->ask.ctx);
}

static const struct waiter_kind position_kind = {position_passed, position_fail, position_gone};

void query_position(struct query *query, const struct query_position_ask *ask)
{
    struct status_reflects reflects;
    uint64_t ready = follower_ready(query->use.follower);
    status_table_reflects(query->use.table, &reflects);
    if (reflects.epoch == ready && reflects.status_position >= ask->min_position) {
        ask->done(ask->ctx, ERR_NONE, "", ready);
        return;
    }
    struct position *position = mem_zero(1, sizeof *position);
    if (!position) {
        ask->done(ask->ctx, ERR_MEMORY, "out of memory", 0);
        return;
    }
    position->waiter =
        (struct waiter){.kind = &position_kind, .until = query_patience(query, ask->timeout_ms)};
    position->ask = *ask;
    query_wait_for_look(query, &position->waiter);
}
