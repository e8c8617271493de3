#include "common/status.h"

#include <stddef.h>

static const char *const words[STATUS_COUNT] = {
#define X(code, word) [code] = word,
    STATUS_LIST(X)
#undef X
};

const char *status_word(enum status s)
{
    return (size_t)s < STATUS_COUNT ? words[s] : "unknown";
}

bool status_ended(enum status s)
{
    return s == STATUS_PROCESSED || s == STATUS_DEAD;
}

/* 0: nothing moves to it */
static int rank_of(struct status_state state)
{
    switch (state.status) {
    case STATUS_PROCESSING:
        return state.alone ? 2 : 1;
    case STATUS_RETRYING:
        return 3;
    case STATUS_PROCESSED:
    case STATUS_DEAD:
        return 4;
    default:
        return 0;
    }
}

static bool wins(struct status_state cell, struct status_state change)
{
    if (change.generation != cell.generation)
        return change.generation > cell.generation;
    if (status_ended(cell.status))
        return false;
    if (change.attempt != cell.attempt)
        return change.attempt > cell.attempt;
    return rank_of(change) > rank_of(cell);
}

bool status_move(struct status_state cell, struct status_state change, struct status_state *ret)
{
    if (cell.status == STATUS_NONE || rank_of(change) == 0 ||
        change.generation > STATUS_GENERATION_MAX || change.attempt > STATUS_ATTEMPT_MAX ||
        !wins(cell, change))
        return false;
    change.alone = change.alone && change.status == STATUS_PROCESSING;
    *ret = change;
    return true;
}
