"""Nothing is stuck, and nothing leaves the event log in silence."""

RULES = [
    (
        "nothing is swept",
        "event-processor/sweep_items.c",
        "static const unsigned unended = 1u << STATUS_RETRYING | 1u << STATUS_PROCESSING;",
        "static const unsigned unended = 0;",
    ),
    (
        "items that the group has passed by are left there",
        "event-processor/sweep_items.c",
        "    if (!again)\n",
        "    if (!again || items->passed_by)\n",
    ),
    (
        "no item has the place of a lost delivery",
        "event-processor/decide.c",
        " || is_same(named, delivery->instead_of)",
        "",
    ),
    (
        "events expire without a letter",
        "event-processor/sweep_expired.c",
        "    DEAD_AT = 80,",
        "    DEAD_AT = 101,",
    ),
    (
        "what has expired names no letter",
        "event-processor/sweep_expired.c",
        "                   .letter_position = letter_position},",
        "                   },",
    ),
    (
        "an event that expires is processed",
        "event-processor/sweep_expired.c",
        ".state = {.status = STATUS_DEAD,",
        ".state = {.status = STATUS_PROCESSED,",
    ),
    (
        "a copy of what is dead is processed",
        "event-processor/letters.c",
        "    else if (first->state.status == STATUS_DEAD)",
        "    else if (first->state.status == STATUS_COUNT)",
    ),
]
