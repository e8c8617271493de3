/* Events to the bus and back: what goes through must come back as it was, and whatever stands in
 * headers must be read without harm.
 */
#include "common/attribute.h"
#include "common/bus_mem.h"
#include "common/event_digest.h"

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

static bool is_text(struct view value)
{
    return value.len > 0 && attribute_check_text("value", value, NULL) == ERR_NONE;
}

/* Text, as the gateway lets no other through; empty where the input has none. */
static struct view take_text(struct view *input, size_t max)
{
    struct view part = take(input, max);

    return is_text(part) ? part : VIEW("");
}

/* In ascending order of their names, with values of the input. */
static size_t take_extensions(struct view *input, struct event_extension *ret, size_t max)
{
    static const char names[] = "abcdefghijklmnopqrstuvwxyz";
    size_t count = 0;

    while (count < max && input->len > 0) {
        struct view value = take_text(input, EVENT_EXTENSIONS_BYTES / EVENT_EXTENSIONS_MAX - 1);

        if (value.len > 0) {
            ret[count] = (struct event_extension){{names + count, 1}, value};
            count++;
        }
    }
    return count;
}

static void must_be_same(const struct event *a, const struct event *b)
{
    must(id_equal(&a->id, &b->id) && view_equal(a->name, b->name));
    must(view_equal(a->producer_id, b->producer_id) && view_equal(a->source, b->source));
    must(view_equal(a->key, b->key) && view_equal(a->time, b->time));
    must(view_equal(a->tracestate, b->tracestate) && view_equal(a->subject, b->subject));
    must(view_equal(a->dataschema, b->dataschema) && view_equal(a->payload, b->payload));
    must(a->extension_count == b->extension_count);
    for (size_t i = 0; i < a->extension_count; i++)
        must(view_equal(a->extensions[i].name, b->extensions[i].name) &&
             view_equal(a->extensions[i].value, b->extensions[i].value));
}

static void must_have_digest(const struct bus_record *record, const char *expected)
{
    char text[EVENT_DIGEST_TEXT_SIZE];

    must(event_digest_of_record(record, "tidings", text) == ERR_NONE);
    must(strcmp(text, expected) == 0);
}

/* Once without its digest, which must come out the same, and once with. */
static void round_trip(struct view input)
{
    struct event_extension extensions[EVENT_EXTENSIONS_MAX];
    struct event event = {.name = VIEW("a.b"), .extensions = extensions}, back;
    char digest[EVENT_DIGEST_TEXT_SIZE];
    struct event_message message;
    struct event_text text;
    struct event_more more;

    id_make(&clock_system, &event.id);
    event.producer_id = take(&input, EVENT_PRODUCER_ID_MAX);
    event.source = take(&input, EVENT_SOURCE_MAX);
    event.key = take(&input, EVENT_KEY_MAX);
    event.time = take(&input, EVENT_TIME_MAX);
    event.tracestate = take(&input, EVENT_TRACESTATE_MAX);
    event.subject = take_text(&input, EVENT_SUBJECT_MAX);
    event.dataschema = take_text(&input, EVENT_DATASCHEMA_MAX);
    event.payload = take(&input, SIZE_MAX);
    event.extension_count = take_extensions(&input, extensions, EVENT_EXTENSIONS_MAX);
    must(event_digest(&event, digest) == ERR_NONE);
    for (int with = 0; with < 2; with++) {
        struct bus_record *record;

        event.digest = with ? view_of(digest) : VIEW("");
        event_to_message(&event, "tidings", &message);
        record = through_the_bus(&message.message);
        must(record != NULL);
        must(event_of_record(record, "tidings", &text, &back, NULL) == ERR_NONE);
        must(event_read_more(record, &more, &back));
        must_be_same(&event, &back);
        must_have_digest(record, digest);
        bus_record_free(record);
    }
}

/* Whatever was in the message: what is kept has the form and the limits that were promised. */
static void check_more(const struct event *event)
{
    size_t bytes = 0;

    must(event->subject.len <= EVENT_SUBJECT_MAX && event->dataschema.len <= EVENT_DATASCHEMA_MAX);
    must(event->subject.len == 0 || is_text(event->subject));
    must(event->dataschema.len == 0 || is_text(event->dataschema));
    must(event->extension_count <= EVENT_EXTENSIONS_MAX);
    for (size_t i = 0; i < event->extension_count; i++) {
        struct view name = event->extensions[i].name;

        must(name.len > 0 && name.len <= EVENT_EXTENSION_NAME_MAX);
        must(is_text(event->extensions[i].value));
        for (size_t at = 0; at < name.len; at++)
            must((name.data[at] >= 'a' && name.data[at] <= 'z') ||
                 (name.data[at] >= '0' && name.data[at] <= '9'));
        bytes += name.len + event->extensions[i].value.len;
    }
    must(bytes <= EVENT_EXTENSIONS_BYTES);
}

static void read_foreign(const struct bus_record *record)
{
    char digest[EVENT_DIGEST_TEXT_SIZE];
    struct event_id id;
    struct event_text text;
    struct event_more more;
    struct event event = {.producer_id = VIEW("")};
    struct view name;
    enum err e = event_of_record(record, "tidings", &text, &event, NULL);

    must(event_identity(record, "tidings", "TIDINGS_EVENTS", &id, &name) == (e == ERR_NONE));
    (void)event_read_more(record, &more, &event);
    check_more(&event);
    if (e == ERR_NONE && event.digest.len == 0) {
        must(event_digest(&event, digest) == ERR_NONE);
        must_have_digest(record, digest);
    }
}

/* Names may be anything that a header's may. */
static void take_header(struct view *input, char name[64], struct bus_header *ret)
{
    struct view part = take(input, 60);

    memcpy(name, "ce-", 3);
    memcpy(name + 3, part.data, part.len);
    name[3 + part.len] = '\0';
    *ret = (struct bus_header){name, take(input, 5000)};
}

static void foreign(struct view input)
{
    static char names[EVENT_RECORD_HEADERS_MAX + 8][64];
    struct bus_header headers[EVENT_RECORD_HEADERS_MAX + 8] = {
        {"Tidings-Event-Id", take(&input, 64)},     {"ce-id", take(&input, 4000)},
        {"ce-source", take(&input, 4000)},          {"ce-partitionkey", take(&input, 4000)},
        {"ce-datacontenttype", take(&input, 4000)}, {"ce-tracestate", take(&input, 4000)},
        {"Tidings-Digest", take(&input, 40)},
    };
    struct bus_message message = {
        .subject = "tidings.events.a", .headers = headers, .payload = take(&input, SIZE_MAX)};
    size_t count = 7;
    struct bus_record *record;

    while (input.len > 0 && count < sizeof headers / sizeof headers[0]) {
        take_header(&input, names[count], &headers[count]);
        count++;
    }
    message.header_count = count;
    record = through_the_bus(&message);
    if (!record)
        return;
    read_foreign(record);
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
