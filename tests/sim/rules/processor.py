"""Section 6: from a delivery to its acknowledgement."""

DECIDE = "event-processor/decide.c"
FAILED = "event-processor/outcomes_failed.c"

RULES = [
    # ---- the barrier, and what is asked when ----
    (
        "no barrier",
        "event-processor/barrier.c",
        "    target.event_position = batch->last;\n",
        "    target = (struct follower_target){.event_position = batch->last};\n",
    ),
    (
        "no barrier for items",
        "event-processor/fetcher.c",
        "    switch (barrier_pass(&fetcher->barrier, batch, &epoch)) {",
        "    switch (fetcher->with.log == STATUS_DELIVERY_RETRY &&\n"
        "                    (epoch = follower_ready(fetcher->use->follower)) != 0\n"
        "                ? BARRIER_PASSED\n"
        "                : barrier_pass(&fetcher->barrier, batch, &epoch)) {",
    ),
    (
        "nothing is asked before the handler starts",
        "event-processor/outcomes_claim.c",
        "    bool run = outcomes_decide(outcomes, held);\n    if (run ||",
        "    bool run = !held->alone || outcomes_decide(outcomes, held);\n    if (run ||",
    ),
    (
        "a claim is not waited for",
        "event-processor/retries.c",
        "    if (!outcomes_wait_fold(retries->use.outcomes, held)) {",
        "    if (!outcomes_wait_fold && held) {",
    ),
    (
        "nothing is asked once a claim is folded",
        "event-processor/outcomes_claim.c",
        "    bool run = outcomes_decide(outcomes, held);\n    if (run ||",
        "    bool run = (!held->alone && held->claim_position != 0) || "
        "outcomes_decide(outcomes, held);\n    if (run ||",
        "event-processor/retries.c",
        "    if (outcomes_decide(retries->use.outcomes, held))\n"
        "        retries->use.to_runner(retries->use.ctx, held);\n"
        "    else\n        outcomes_go_on(retries->use.outcomes, held);\n}",
        "    held->run.attempt = held->attempt;\n"
        "    retries->use.to_runner(retries->use.ctx, held);\n}",
    ),
    # ---- the order of things ----
    (
        "an ack without a record",
        "event-processor/outcomes.c",
        "    outcomes_settle(held->outcomes, held, stored ? outcome : LEFT, 0);",
        "    outcomes_settle(held->outcomes, held, stored ? outcome : PROCESSED, 0);",
    ),
    (
        "an ack before the record",
        "event-processor/status_log.c",
        "    if (receipt.outcome == BUS_UNKNOWN)\n        return ERR_UNKNOWN_OUTCOME;\n",
        "",
    ),
    (
        "the next attempt is not published",
        FAILED,
        "    publish_item(held->outcomes, held, &item);",
        "    end_item(held, item.attempt != 0);",
    ),
    (
        "the next attempt before the failure is recorded",
        FAILED,
        "    if (!stored) {\n        outcomes_settle(held->outcomes, held, LEFT, 0);\n"
        "        return;\n    }\n    struct retry_item",
        "    struct retry_item",
    ),
    (
        "an ack although the next attempt isn't stored",
        FAILED,
        "    end_item(held, stored);",
        "    end_item(held, true);",
    ),
    (
        "dead before the letter is stored",
        "event-processor/letters.c",
        "    if (letters_store(letters, &letter, &death.letter_position)) {",
        "    if (letters_store(letters, &letter, &death.letter_position) && first) {",
    ),
    (
        "a dead record names no letter",
        "event-processor/outcomes.c",
        ".letter_position = death->letter_position",
        ".letter_position = 0 * death->letter_position",
    ),
    # ---- (a) to (e) ----
    (
        "what has ended is run",
        DECIDE,
        "(delivery->generation == cell->state.generation && status_ended(cell->state.status)))",
        "(delivery->generation == cell->state.generation && status_ended(cell->state.status) && "
        "!first))",
    ),
    (
        "what is missing is not published again",
        DECIDE,
        "        return DECIDE_NEXT;",
        "        return DECIDE_TAKEN;",
    ),
    (
        "an attempt that has failed is run again",
        DECIDE,
        "    if (!ahead && cell->state.status == STATUS_RETRYING && (!item || !beyond))",
        "    if (!ahead && cell->state.status == STATUS_RETRYING && !item && !beyond)",
    ),
    (
        "another's delivery is thought to be one's own",
        DECIDE,
        "    if (!is_named(delivery))\n",
        "    if (is_named(delivery) || !is_named(delivery))\n",
    ),
    (
        "a copy of a delivery is run beside it",
        DECIDE,
        "        return DECIDE_TAKEN;\n    if (delivery->claimed)",
        "        return DECIDE_CLAIM_ALONE;\n    if (delivery->claimed)",
    ),
    (
        "one's own record is nobody's",
        DECIDE,
        "    if (delivery->is_own)\n        return DECIDE_RUN;\n",
        "",
    ),
    (
        "a claim that is stored twice is another's",
        "event-processor/outcomes.c",
        "        .is_own = is_claim || (looked && held->looked_own),",
        "        .is_own = is_claim,",
    ),
    (
        "what somebody else has taken over is run",
        DECIDE,
        "        return DECIDE_LEAVE;\n    return cell->state.alone",
        "        return DECIDE_RUN;\n    return cell->state.alone",
    ),
    (
        "nobody runs alone",
        DECIDE,
        "return cell->state.alone ? DECIDE_FAILED : DECIDE_CLAIM_ALONE;",
        "return DECIDE_FAILED;",
    ),
    (
        "who crashes alone is not charged",
        DECIDE,
        "return cell->state.alone ? DECIDE_FAILED : DECIDE_CLAIM_ALONE;",
        "return cell->state.alone ? DECIDE_RUN : DECIDE_CLAIM_ALONE;",
    ),
    (
        "alone beside others",
        "event-processor/lanes.c",
        "return !lanes->running_alone && lanes->all_running == 0;",
        "return !lanes->running_alone;",
    ),
    (
        "others beside who runs alone",
        "event-processor/lanes.c",
        "    if (lanes->alone.first || lanes->running_alone)",
        "    if (lanes->alone.first)",
    ),
    (
        "others before the outcome of who ran alone",
        "event-processor/lanes.c",
        "    if (!held->began_ns)\n        lanes_end_alone(lanes, held);",
        "    lanes_end_alone(lanes, held);",
    ),
    (
        "redeliveries run unclaimed",
        DECIDE,
        "return item || delivery->again ? DECIDE_CLAIM : DECIDE_RUN;",
        "return item ? DECIDE_CLAIM : DECIDE_RUN;",
    ),
    (
        "items run unclaimed",
        DECIDE,
        "return item || delivery->again ? DECIDE_CLAIM : DECIDE_RUN;",
        "return delivery->again ? DECIDE_CLAIM : DECIDE_RUN;",
    ),
    # ---- attempts ----
    (
        "an attempt too many",
        FAILED,
        "held->run.attempt >= policy->max_attempts",
        "held->run.attempt > policy->max_attempts",
    ),
    (
        "an attempt too few",
        FAILED,
        "held->run.attempt >= policy->max_attempts",
        "held->run.attempt + 1 >= policy->max_attempts",
    ),
    (
        "never again is forgotten",
        FAILED,
        "    if (failure->never_again || last ||",
        "    if (last ||",
    ),
    (
        "a handler's own delay is forgotten",
        FAILED,
        "                   failure->delay_ms >= 0 ? failure->delay_ms\n"
        "                                          : backoff_ms(policy, held->run.attempt));",
        "                   backoff_ms(policy, held->run.attempt));",
    ),
    (
        "a backoff without a limit",
        "event-processor/backoff.c",
        "    return limit < policy->backoff_max_ms ? limit : policy->backoff_max_ms;",
        "    return limit * 8;",
    ),
    (
        "items do not wait until they are due",
        "event-processor/fetcher.c",
        "    if (left_ms <= 0)\n        return true;\n",
        "    return true;\n",
    ),
    (
        "no time limit",
        "event-processor/runner.c",
        "        if (late && limit_ns <= now_ns())",
        "        if (late && limit_ns <= now_ns() && !runner)",
    ),
    (
        "more of a handler than it allows",
        "event-processor/lanes.c",
        "lane->running >= lane->most)\n",
        "lane->running > lane->most)\n",
    ),
    # ---- logs that lose something ----
    (
        "what is beyond the event log's end holds up others",
        "event-processor/barrier.c",
        "        if (batch->held[i]->run.position > target.event_last)\n",
        "        if (batch->held[i]->run.position > target.event_last && !barrier)\n",
    ),
    (
        "an ack by the word of a table that was rebuilt",
        "event-processor/outcomes.c",
        "    if (how[outcome] == BUS_ACK && held->epoch != ",
        "    if (how[outcome] == BUS_ACK && !outcomes && held->epoch != ",
    ),
    (
        "the word of a table that was rebuilt",
        "event-processor/outcomes.c",
        "    if (held->epoch != reflects.epoch) /* the barrier was passed by another table */\n"
        "        decision = DECIDE_LEAVE;\n",
        "",
    ),
    (
        "the group goes on beyond the event log's end",
        "event-processor/restart.c",
        "    if (restart->floor > restart->target.event_last) {",
        "    if (restart->floor == UINT64_MAX) {",
    ),
    (
        "the group goes on although the event log has lost something",
        "event-processor/restart.c",
        "    if (bus_consumer_restart(restart->use.consumer, RESTART_TIMEOUT_MS))\n"
        "        return false;\n",
        "",
    ),
    (
        "outcomes that the status log has lost are forgotten",
        "event-processor/restart.c",
        "        begin_anew(restart, position);",
        "        note_well(restart);",
    ),
    (
        "a record that is lost unnoticed counts",
        "event-processor/evidence.c",
        "    return lost && !e ? LOST : KEPT;",
        "    return lost && !e ? KEPT : KEPT;",
    ),
    # ---- answers ----
    (
        "NOT_FOUND without a look",
        "event-processor/query_look.c",
        "    enum err e;\n    while ((e = follower_wait(query->use.follower, &target, ",
        "    target.event_position = target.status_position = 0;\n"
        "    enum err e;\n    while ((e = follower_wait(query->use.follower, &target, ",
    ),
    (
        "NOT_FOUND while the bus is away",
        "event-processor/query_look.c",
        "        fail_all(query, list, ERR_UNAVAILABLE, away);",
        "        fail_all(query, list, ERR_NOT_FOUND, away);",
    ),
    (
        "answers before min_position",
        "event-processor/query.c",
        "    return reflects.epoch == ready && reflects.status_position >= min_position;",
        "    return reflects.epoch == ready;",
    ),
    (
        "answers beyond the status log's end",
        "event-processor/query_look.c",
        "    if (query_is_beyond(lookup->ask.request.min_position, target, &detail)) {",
        "    if (query_is_beyond(lookup->ask.request.min_position, target, &detail) && !target) {",
    ),
    (
        "answers before the table has caught up",
        "event-processor/query.c",
        "    return reflects.epoch == ready && reflects.status_position >= min_position;",
        "    return reflects.epoch >= ready && reflects.status_position >= min_position;",
    ),
    # ---- the end ----
    (
        "what waits for its letter is given back",
        "event-processor/letters.c",
        "        if (!hold(letters, held))\n",
        "        if (held)\n",
    ),
    (
        "a drain gives back what waits for its letter",
        "event-processor/letters.c",
        "(!letters->stopping || held->burial >= 0);",
        "!letters->stopping;",
    ),
    (
        "a drain charges what it gives back",
        "event-processor/runner.c",
        "        outcomes_return(runner->outcomes, list, 0);",
        "        outcomes_failed(runner->outcomes, list, &(struct run_failure){.delay_ms = 0});",
    ),
    (
        "a drain charges what has not ended in time",
        "event-processor/runner.c",
        "    else\n        outcomes_leave(runner->outcomes, held);\n}\n\nvoid run_failed",
        "    else\n        outcomes_failed(runner->outcomes, held, "
        "&(struct run_failure){.delay_ms = 0});\n}\n\nvoid run_failed",
    ),
    (
        "a drain does not wait for what runs",
        "event-processor/consumer.c",
        "in_hand_wait_empty(fetcher_hand(consumer->fetchers[i]), wait_left_ms(until))",
        "in_hand_wait_empty(fetcher_hand(consumer->fetchers[i]), 0)",
    ),
    # ---- replays ----
    (
        "items ahead of the table are void",
        DECIDE,
        "    bool beyond = ahead ||",
        "    if (ahead && item)\n        return DECIDE_VOID;\n    bool beyond = ahead ||",
    ),
    (
        "an earlier generation is run",
        DECIDE,
        "    if (delivery->generation < cell->state.generation ||\n        (",
        "    if ((",
    ),
    (
        "what a replay takes up has no item",
        "event-processor/replayer_run.c",
        "!publish_items(replayer, now_ms))",
        "(publish_items == NULL))",
    ),
    (
        "a replay takes what has changed since it began",
        "event-processor/replay_walk.c",
        "    if (!wanted || entry->change_position > begin_position || entry->conflict ||",
        "    if (!wanted || entry->conflict ||",
    ),
    (
        "a replay takes what has not ended as asked",
        "event-processor/replay_walk.c",
        "    bool wanted = (filter->statuses >> entry->state.status & 1) != 0;",
        "    bool wanted = status_ended(entry->state.status);",
    ),
    (
        "a replay takes any name",
        "event-processor/event_find.c",
        "    *ret = !*pattern || handlers_match(pattern, entry->name);",
        "    *ret = true;",
    ),
    (
        "nobody takes a replay over",
        "event-processor/replayer.c",
        "    return replay->state == REPLAY_RUNNING && !is_mine(replayer, replay) &&",
        "    return replay->state == REPLAY_DONE && !is_mine(replayer, replay) &&",
    ),
    (
        "a replay begins anew with whoever takes it over",
        "event-processor/replayer_run.c",
        "                                  replay->begin_position, replay->cursor);",
        "                                  UINT64_MAX, 0);",
    ),
    (
        "a replay counts what it has not recorded",
        "event-processor/replayer_run.c",
        "    enum err e = replayer_record(replayer, replayer->count, &change);",
        "    enum err e = replayer_record(replayer, replayer->count / 2, &change);",
    ),
    (
        "a replay that was cancelled goes on",
        "event-processor/replays.c",
        "    if (on) {\n        replay->state = change->state;",
        "    if (on) {\n        if (change->state != REPLAY_CANCELLED)\n"
        "            replay->state = change->state;",
    ),
]
