"""Section 3: event_id; what is a copy, and what another event."""

DIGEST = "common/event_digest.c"

RULES = [
    (
        "ids depend on the gateway",
        "http-gateway/store_event.c",
        "    if (ret->origin == STORE_ID_MADE)\n        id_make",
        "    if (ret->origin != STORE_ID_OF_KEY)\n        id_make",
    ),
    (
        "a UUID is an id like any other",
        "common/id.c",
        "    if (id_parse(producer_id, ret))\n        return;\n",
        "",
    ),
    (
        "ids of all sources are the same",
        "common/id.c",
        "    len = put(name, source, SOURCE_MAX);",
        "    len = put(name, source, 0);",
    ),
    (
        "no source is not the default source",
        "http-gateway/store_event.c",
        "    if (event->source.len == 0)\n"
        "        event->source = view_of(g->settings.shared.source);",
        "    if (event->source.len == 0)\n        event->source = VIEW(\"/none\");",
    ),
    (
        "look-ups know no source",
        "event-processor/query_id.c",
        "    id_of_producer(source_of(options, request), request->event_id, ret);",
        "    id_of_producer(view_of(options->source), request->event_id, ret);",
    ),
    (
        "202 for what may be stored",
        "http-gateway/store_event.c",
        "if (receipt->outcome == BUS_UNKNOWN)",
        "if (receipt->outcome == BUS_REFUSED)",
    ),
    (
        "202 for another event's id",
        "http-gateway/store_event.c",
        "if (first == FIRST_IS_OTHER)",
        "if (first == FIRST_IS_OTHER && !g)",
    ),
    (
        "202 for a first copy that cannot be read",
        "http-gateway/store_event.c",
        "    if (e)\n        return explain_unknown(\n            identity, \"the bus seems",
        "    if (e)\n        first = FIRST_IS_SAME;\n    if (e == ERR_MEMORY)\n"
        "        return explain_unknown(\n            identity, \"the bus seems",
    ),
    (
        "202 for a first copy that is gone",
        "http-gateway/store_event.c",
        "    if (first == FIRST_IS_GONE)\n        return publish_anew",
        "    if (first == FIRST_IS_GONE && !g)\n        return publish_anew",
    ),
    (
        "what is gone is published with its message id",
        "http-gateway/store_event.c",
        "    event_to_message(event, g->settings.shared.ns, &m);\n    e = publish",
        "    event_to_message(event, g->settings.shared.ns, &m);\n"
        "    m.message.message_id = identity->id;\n    e = publish",
    ),
    (
        "409 for 422",
        "http-gateway/store_event.c",
        "by_key ? ERR_KEY_REUSED : ERR_ID_REUSED",
        "by_key ? ERR_ID_REUSED : ERR_KEY_REUSED",
    ),
    (
        "copies are run",
        "event-processor/decide.c",
        "if (cell->state.status == STATUS_NONE)\n",
        "if (cell->state.status == STATUS_NONE && !first)\n",
    ),
    (
        "conflicts are taken for copies",
        "event-processor/copy.c",
        "strcmp(of_copy, of_first) == 0 ? COPY_EQUAL : COPY_DIFFERENT",
        "strcmp(of_copy, of_first) == 0 ? COPY_EQUAL : COPY_EQUAL",
    ),
    (
        "copies are taken for conflicts",
        "event-processor/copy.c",
        "strcmp(of_copy, of_first) == 0 ? COPY_EQUAL : COPY_DIFFERENT",
        "strcmp(of_copy, of_first) == 0 ? COPY_DIFFERENT : COPY_DIFFERENT",
    ),
    (
        "a conflict goes under the first's id",
        "event-processor/letters.c",
        "        id_of_position(view_of(letters->use.event_stream), held->run.position, "
        "&letter.id);",
        "        letter.id = held->id;",
    ),
    (
        "a conflict names no event",
        "event-processor/letters.c",
        "    death.conflict_position = letter.conflict_position;",
        "    death.conflict_position = 0;",
    ),
    ("the digest leaves out the name", DIGEST, "    add(&in, event->name);\n", ""),
    ("the digest leaves out the source", DIGEST, "    add(&in, event->source);\n", ""),
    ("the digest leaves out the key", DIGEST, "    add(&in, event->key);\n", ""),
    (
        "the digest leaves out the content type",
        DIGEST,
        "    add(&in, event->content_type);\n",
        "",
    ),
    ("the digest leaves out the payload", DIGEST, "    add(&in, event->payload);\n", ""),
    (
        "the digest leaves out extensions",
        DIGEST,
        "        add(&in, event->extensions[i].value);\n",
        "",
    ),
    (
        "the digest covers the trace",
        DIGEST,
        "    add(&in, event->payload);\n",
        "    add(&in, event->payload);\n    add(&in, event->traceparent);\n",
    ),
    (
        "the digest covers the id",
        DIGEST,
        "    add(&in, event->payload);\n",
        "    add(&in, event->payload);\n    add(&in, event->producer_id);\n",
    ),
    (
        "a copy waits for a first that is gone",
        "event-processor/follower_end.c",
        "        e = side->drop_head(side->follower, end->first);",
        "        e = end->first ? ERR_NONE : side->drop_head(side->follower, end->first);",
    ),
]
