"""Section 6: a processor starts from its last snapshot, and verifies it."""

START = "event-processor/follower_start.c"

LIFE = "    if (end->created_ns != loaded->created_ns)\n"
TAIL = "    if (end->last < loaded->position) {\n"
TIME = "    if (first->time_ms != side->loaded.time_ms) {\n"
PLACE = "    if (first->position != side->loaded.position) {\n"

RULES = [
    (
        "a snapshot is trusted without a look at its logs",
        START,
        LIFE,
        LIFE.replace("(", "(false && "),
        START,
        TIME,
        TIME.replace("(", "(false && "),
        START,
        PLACE,
        PLACE.replace("(", "(false && "),
    ),
    (
        "a snapshot of a tail that was lost and has grown again",
        START,
        TIME,
        TIME.replace("(", "(false && "),
    ),
    (
        "what is loaded counts before its log has shown it",
        "event-processor/follower.c",
        "side->epoch == reflects.epoch && side->proven &&",
        "side->epoch == reflects.epoch &&",
    ),
    (
        "a snapshot leaves out its last event",
        "event-processor/status_frozen.c",
        "page->number * FROZEN_PAGE_CELLS + i > last)",
        "page->number * FROZEN_PAGE_CELLS + i >= last)",
    ),
    (
        "replays are no part of a snapshot",
        "event-processor/snapshot_write.c",
        "    for (size_t i = 0; i < replays->count && !e; i++)\n",
        "    for (size_t i = 0; i < 0 && !e; i++)\n",
    ),
    (
        "a snapshot is read on from where the log ends",
        START,
        "    side->loaded = *loaded;\n",
        "    side->loaded = *loaded;\n    side->loaded.position = 0;\n",
        "event-processor/follower.c",
        "e = bus_reader_open(side->log, from,",
        "from = side_is_loaded(side, reflects.epoch) ? end.last + 1 : 0,\n"
        "            e = bus_reader_open(side->log, from,",
    ),
]
