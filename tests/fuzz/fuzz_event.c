/* Events to the bus and back: what goes through must come back as it was, and whatever stands in
 * headers must be read without harm.
 */
#include "common/bus_mem.h"
#include "common/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RENEW_AFTER 256 /* records, so that the log does not grow for ever */

static struct bus *bus;
static struct bus_log *events;

static void must(bool condition)
{
    if (!condition)
        __builtin_trap();
}

static void open_bus(void)
{
    struct bus_options options = {.url = "mem://", .name = "fuzz", .clock = &clock_system};
    struct bus_log_spec spec = {.name = "TIDINGS_EVENTS",
                                .subject = "tidings.events.>",
                                .replicas = 1,
                                .duplicate_window_ms = 1000};

    must(bus_open(&options, &bus, NULL) == ERR_NONE);
    must(bus_log_open(bus, &spec, &events) == ERR_NONE);
    must(bus_wait_ready(bus, 5000, NULL) == ERR_NONE);
}

/* The part up to the next 0xff byte, at most `max` bytes of it. */
static struct view take(struct view *input, size_t max)
{
    const char *end = input->len ? memchr(input->data, 0xff, input->len) : NULL;
    size_t len = end ? (size_t)(end - input->data) : input->len;
    struct view part = {input->data, len < max ? len : max};

    input->data += len + (end ? 1 : 0);
    input->len -= len + (end ? 1 : 0);
    return part;
}

static struct bus_record *through_the_bus(const struct bus_message *message)
{
    struct bus_receipt receipt;
    struct bus_record *record;

    if (bus_publish_wait(events, message, &receipt) || receipt.outcome != BUS_STORED)
        return NULL; /* a value that no header may hold */
    must(bus_log_read(events, receipt.position, 5000, &record) == ERR_NONE);
    if (receipt.position > RENEW_AFTER)
        bus_mem_renew(events);
    return record;
}

static void round_trip(struct view input)
{
    struct event event = {.name = VIEW("a.b")}, back;
    struct event_message message;
    struct event_text text;
    struct bus_record *record;

    id_make(&clock_system, &event.id);
    event.producer_id = take(&input, EVENT_PRODUCER_ID_MAX);
    event.source = take(&input, EVENT_SOURCE_MAX);
    event.key = take(&input, EVENT_KEY_MAX);
    event.time = take(&input, EVENT_TIME_MAX);
    event.tracestate = take(&input, EVENT_TRACESTATE_MAX);
    event.payload = input;
    event_to_message(&event, "tidings", &message);
    record = through_the_bus(&message.message);
    must(record != NULL);
    must(event_of_record(record, "tidings", &text, &back, NULL) == ERR_NONE);
    must(view_equal(back.producer_id, event.producer_id));
    must(view_equal(back.source, event.source));
    must(view_equal(back.key, event.key));
    must(view_equal(back.time, event.time));
    must(view_equal(back.tracestate, event.tracestate));
    must(view_equal(back.payload, event.payload));
    bus_record_free(record);
}

static void foreign(struct view input)
{
    struct bus_header headers[] = {
        {"Tidings-Event-Id", take(&input, 64)},     {"ce-id", take(&input, 4000)},
        {"ce-source", take(&input, 4000)},          {"ce-partitionkey", take(&input, 4000)},
        {"ce-datacontenttype", take(&input, 4000)}, {"ce-tracestate", take(&input, 4000)},
    };
    struct bus_message message = {.subject = "tidings.events.a",
                                  .headers = headers,
                                  .header_count = sizeof headers / sizeof headers[0],
                                  .payload = input};
    struct event_id id;
    struct event_text text;
    struct event event;
    struct view name;
    struct bus_record *record = through_the_bus(&message);

    if (!record)
        return;
    must(event_identity(record, "tidings", "TIDINGS_EVENTS", &id, &name) ==
         (event_of_record(record, "tidings", &text, &event, NULL) == ERR_NONE));
    bus_record_free(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view input = {(const char *)data, size};

    if (!bus)
        open_bus();
    round_trip(input);
    foreign(input);
    return 0;
}
