"""Section 2: statuses, and how records are folded."""

RULES = [
    (
        "what has ended goes on",
        "common/status.c",
        "    if (status_ended(cell.status))\n        return false;\n    if (change.attempt",
        "    if (change.attempt",
    ),
    (
        "an earlier attempt wins",
        "common/status.c",
        "        return change.attempt > cell.attempt;",
        "        return true;",
    ),
    (
        "of two equal records the later wins",
        "common/status.c",
        "return rank_of(change) > rank_of(cell);",
        "return rank_of(change) >= rank_of(cell);",
    ),
    (
        "alone is no more than processing",
        "common/status.c",
        "return state.alone ? 2 : 1;",
        "return 1;",
    ),
    (
        "processing wins over retrying",
        "common/status.c",
        "return state.alone ? 2 : 1;",
        "return state.alone ? 3 : 4;",
    ),
    (
        "retrying loses against alone",
        "common/status.c",
        "    case STATUS_RETRYING:\n        return 3;",
        "    case STATUS_RETRYING:\n        return 2;",
    ),
    (
        "an earlier generation wins",
        "common/status.c",
        "        return change.generation > cell.generation;",
        "        return true;",
    ),
    (
        "a later generation loses",
        "common/status.c",
        "        return change.generation > cell.generation;",
        "        return false;",
    ),
    (
        "a record applies to whatever is at its position",
        "event-processor/status_table.c",
        "    if (!cell || !id_equal(&cell->id, &change->id))\n        return false;",
        "    if (!cell)\n        return false;",
    ),
    (
        "changes before their events",
        "event-processor/follower_fold.c",
        "bool current = !batch || wait_for_event(side, last_event_of(batch));",
        "bool current = !batch || !wait_for_event || last_event_of(batch);",
    ),
    (
        "a change waits for events that are lost",
        "event-processor/follower_fold.c",
        "    *ret_target = position < side->event_last ? position : side->event_last;",
        "    *ret_target = position;",
    ),
    (
        "the same attempt again",
        "event-processor/outcomes_failed.c",
        "                              .attempt = held->run.attempt + 1,",
        "                              .attempt = held->run.attempt + (held->run.attempt == 1),",
    ),
    (
        "nobody says that a run takes long",
        "event-processor/outcomes_claim.c",
        "        status_log_append(outcomes->use.status_log, &held->notice);",
        "        on_noted(&held->notice, true);",
    ),
    (
        "a claim names no delivery",
        "event-processor/outcomes_claim.c",
        "                                  .delivery = held->source};",
        "                                  .delivery = {0}};",
    ),
    (
        "a change names no previous one",
        "event-processor/outcomes.c",
        "    change->previous_position = cell.change_position;",
        "    change->previous_position = 0;",
    ),
    (
        "a late record hides what was before",
        "event-processor/history.c",
        "        if (change.previous_position > *ret_previous)\n",
        "",
    ),
    (
        "losing records are part of the history",
        "event-processor/history.c",
        "    keep_winners(ret);\n",
        "    (void)keep_winners;\n",
    ),
]
