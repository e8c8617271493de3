"""Section 4: what lies on the bus, and what a log's life means."""

RULES = [
    (
        "what is no event stops a processor",
        "event-processor/decide.c",
        "    return delivery->malformed ? DECIDE_BURY : decide_open(cell, delivery);",
        "    return delivery->malformed ? DECIDE_LEAVE : decide_open(cell, delivery);",
    ),
    (
        "what is no event is run",
        "event-processor/decide.c",
        "    return delivery->malformed ? DECIDE_BURY : decide_open(cell, delivery);",
        "    return decide_open(cell, delivery);",
    ),
    (
        "items have no message id",
        "event-processor/outcomes_failed.c",
        "                                              .message_id = message_id},",
        "                                              .message_id = NULL},",
    ),
    (
        "items of all attempts have one message id",
        "event-processor/retry_message_id.c",
        "item->generation, item->attempt",
        "item->generation, item->attempt * 0",
    ),
    (
        "letters have no message id",
        "event-processor/letter.c",
        "        .subject = m->subject, .headers = m->headers, .message_id = m->message_id};",
        "        .subject = m->subject, .headers = m->headers};",
    ),
    (
        "all batches have one message id",
        "event-processor/status_log.c",
        "log->start_id, ++log->number);",
        "log->start_id, log->number);",
    ),
    (
        "batches of two starts have one message id",
        "event-processor/status_log.c",
        "    id_format(&id, log->start_id);",
        "    id_format(&(struct event_id){{7}}, log->start_id);",
    ),
    (
        "a batch is sent again with another message id",
        "event-processor/status_log.c",
        "        if (!e)\n            e = append_once(",
        "        snprintf(message_id, sizeof message_id, \"%s-%\" PRIu64, log->start_id, "
        "++log->number);\n        if (!e)\n            e = append_once(",
    ),
    (
        "nobody notices that a log was made anew",
        "event-processor/follower_end.c",
        "        if (end->created_ns != side->created_ns || has_regrown(side, position, end))",
        "        if (has_regrown(side, position, end))",
        "event-processor/follower.c",
        "        } else if (e == ERR_STALE) {\n            side_lost(side, side->epoch);",
        "        } else if (e == ERR_STALE) {\n            return;",
    ),
    (
        "nobody notices a tail that was lost and has grown again",
        "event-processor/follower_end.c",
        "        if (end->created_ns != side->created_ns || has_regrown(side, position, end))",
        "        if (end->created_ns != side->created_ns)",
    ),
    (
        "nobody notices that an emptied log has lost its end",
        "event-processor/follower_end.c",
        "    return side->folded < position && end->first <= position;",
        "    return false;",
        "event-processor/follower.c",
        "            return end.first < record->position;",
        "            return false;",
    ),
    (
        "a log may end before what is known of it",
        "event-processor/follower_end.c",
        "        bool early = end->last < position || end->last < side->catch_up;",
        "        bool early = end->last < side->catch_up && end->last >= position;",
    ),
    (
        "a gap is passed over",
        "event-processor/follower.c",
        "        } else if (e == ERR_STALE) {\n            side_lost(side, side->epoch);",
        "        } else if (e == ERR_STALE) {\n            return;",
    ),
    (
        "an empty log is waited for",
        "event-processor/follower_end.c",
        "    *ret_position = end.first > end.last ? 0 : end.last;",
        "    *ret_position = end.last + (end.first > end.last);",
    ),
    (
        "a delivery is settled twice",
        "event-processor/in_hand.c",
        "    if (first != newest)\n        bus_settle(first, BUS_LEAVE, 0);",
        "    bus_settle(first, BUS_LEAVE, 0);",
    ),
    (
        "what is in hand is taken in hand again",
        "event-processor/in_hand.c",
        "    while (held && held->source.position != position)\n",
        "    while (held)\n",
    ),
    (
        "nobody says that a delivery is in progress",
        "event-processor/in_hand.c",
        "        bus_progress(held->newest);\n",
        "",
    ),
]
