/* The paths that every event takes, over fixed inputs, for counting: instructions (callgrind counts
 * while `counted` is on the stack) and our own allocations. No system call that matters, no thread,
 * no time: the same program counts the same everywhere.
 *
 *     build/cost            lists the paths
 *     build/cost NAME       runs one; prints how many times, and its allocations
 *
 * tests/cost/run compares the counts with those that are kept.
 */
#include "common/bus_mem.h"
#include "common/event_status.h"
#include "common/mem.h"
#include "event-processor/decide.h"
#include "event-processor/query.h"
#include "http-gateway/read_event.h"
#include "http-gateway/store_event.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    TIMES = 256,    /* as many changes as a batch of the status log has under load, too */
    EVENTS = 20000, /* in the table */
    PAYLOAD = 256,
};
#define NS "tidings"
#define STREAM "TIDINGS_EVENTS"

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "cost: %s\n", what);
    abort();
}

/* In place of the C library's: the index's key, and so the way through it, is always the same. */
ssize_t getrandom(void *to, size_t len, unsigned flags)
{
    (void)flags;
    memset(to, 7, len);
    return (ssize_t)len;
}

static struct gateway gateway;
static char plain[PAYLOAD + 128], structured[PAYLOAD + 256];
static struct bus_record *record;
/* Its events up to `folded` have ended, those behind it up to `added` wait. */
static struct status_table *table;
static uint64_t folded, added;
static struct buf batch, request;

/* ---- the gateway's paths ---- */

/* From the body to the message, by way of the same functions as POST. */
static void make_message(struct read_event *holder, enum event_form form, const char *body,
                         struct event_message *message)
{
    struct event event;
    struct store_identity identity;
    struct err_detail detail;
    need(!read_event_body(holder, form, view_of(body), &event, &detail), detail.text);
    need(!store_event_identify(&gateway, (struct view){0}, &event, &identity, &detail),
         detail.text);
    event_to_message(&event, NS, message);
}

static void post(enum event_form form, const char *body)
{
    static struct event_message message;
    for (size_t i = 0; i < TIMES; i++) {
        struct read_event holder;
        read_event_init(&holder);
        make_message(&holder, form, body, &message);
        read_event_free(&holder);
    }
}

static void post_plain(void)
{
    post(EVENT_FORM_PLAIN, plain);
}

static void post_structured(void)
{
    post(EVENT_FORM_STRUCTURED, structured);
}

/* Of a batch or of lines: one holder for all. */
static void post_lines(void)
{
    static struct event_message message;
    struct read_event holder;
    read_event_init(&holder);
    for (size_t i = 0; i < TIMES; i++)
        make_message(&holder, EVENT_FORM_LINES, plain, &message);
    read_event_free(&holder);
}

/* ---- the processor's paths ---- */

/* Spread over the index. */
static struct event_id id_at(uint64_t position)
{
    struct event_id id;
    for (size_t at = 0; at < sizeof id.bytes; at++)
        id.bytes[at] =
            (unsigned char)(position * UINT64_C(0x9e3779b97f4a7c15) >> (at % 8 * 8) ^ at * 37);
    return id;
}

static void take(void)
{
    static struct event_text text;
    for (size_t i = 0; i < TIMES; i++) {
        struct event event;
        struct err_detail detail;
        struct status_entry cell;
        need(!event_of_record(record, NS, &text, &event, &detail), detail.text);
        uint64_t position = added - i;
        struct decide_delivery delivery = {.id = id_at(position),
                                           .position = position,
                                           .stream = VIEW(STREAM),
                                           .source = {STATUS_DELIVERY_EVENT, position}};
        bool known = status_table_find(table, &delivery.id, &cell, NULL);
        need(known && decide(&cell, 1, &delivery) == DECIDE_RUN, "an event that would not be run");
    }
}

static void write_changes(void)
{
    static struct status_change changes[TIMES];
    for (size_t i = 0; i < TIMES; i++)
        changes[i] = (struct status_change){.id = id_at(i + 1),
                                            .event_position = i + 1,
                                            .state = {.status = STATUS_PROCESSED, .attempt = 1},
                                            .time_ms = INT64_C(1700000000000) + (int64_t)i};
    buf_clear(&batch);
    need(!status_batch_write(changes, TIMES, VIEW("processor-1"), &batch), "no batch");
}

static void add_events(size_t count)
{
    status_table_write_begin(table);
    for (size_t i = 0; i < count; i++) {
        struct event_id id = id_at(++added), in_header;
        struct view name;
        need(event_identity(record, NS, STREAM, &in_header, &name), "not an event");
        need(!status_table_add(table, added, &id, name, 0), "no memory");
    }
    status_table_passed_event(table, added);
    status_table_write_end(table);
}

/* As many events as come are ended. */
static void fold(void)
{
    struct status_batch *changes;
    add_events(TIMES);
    need(!status_batch_read(buf_view(&batch), &changes), "not a batch");
    status_table_write_begin(table);
    for (uint32_t i = 0; i < TIMES; i++) {
        struct status_change change = status_batch_get(changes, i);
        change.event_position = ++folded; /* which the batch can't know that is read each time */
        change.id = id_at(folded);
        need(status_table_apply(table, &change, folded, i), "a change that loses");
    }
    status_table_passed_status(table, folded);
    status_table_write_end(table);
    status_batch_free(changes);
}

static void answer(void)
{
    for (size_t i = 0; i < TIMES; i++) {
        struct event_status_holder *holder;
        struct event_status_request asked;
        struct status_entry entry;
        struct status_reflects reflects;
        struct buf out;
        need(!event_status_request_read(buf_view(&request), &holder, &asked), "not a request");
        struct event_id id = id_at(i + 1);
        need(status_table_find(table, &id, &entry, &reflects), "unknown");
        struct event_status status = query_basic(&entry, reflects.status_position);
        buf_init(&out, 1024);
        need(!event_status_write(&status, &out), "no answer");
        buf_free(&out);
        event_status_holder_free(holder);
    }
}

/* ---- what they work on ---- */

static void make_bodies(void)
{
    char payload[PAYLOAD + 1], id[ID_TEXT_SIZE];
    int len = snprintf(payload, sizeof payload, "{\"order\":4711,\"text\":\"");
    memset(payload + len, 'x', sizeof payload - (size_t)len);
    memcpy(payload + PAYLOAD - 2, "\"}", 3);
    snprintf(plain, sizeof plain, "{\"name\":\"order.created\",\"payload\":%s}", payload);
    snprintf(structured, sizeof structured,
             "{\"specversion\":\"1.0\",\"id\":\"4711\",\"source\":\"/orders\","
             "\"type\":\"order.created\",\"datacontenttype\":\"application/json\",\"data\":%s}",
             payload);
    struct event_id first = id_at(1);
    id_format(&first, id);
    need(!event_status_request_write(&(struct event_status_request){.event_id = view_of(id)},
                                     &request),
         "no request");
}

static void make_record(void)
{
    static struct event_message message;
    struct bus *bus;
    struct bus_log *log;
    struct bus_receipt receipt;
    struct read_event holder;
    need(!bus_open(&(struct bus_options){.url = "mem://", .name = "cost"}, &bus, NULL), "no bus");
    struct bus_log_spec spec = {
        .name = STREAM, .subject = NS ".events.>", .replicas = 1, .duplicate_window_ms = 1000};
    need(!bus_log_open(bus, &spec, &log), "no log");
    need(!bus_wait_ready(bus, 5000, NULL), "the bus is not ready");
    read_event_init(&holder);
    make_message(&holder, EVENT_FORM_PLAIN, plain, &message);
    need(!bus_publish_wait(log, &message.message, &receipt), "not published");
    need(!bus_log_read(log, receipt.position, 1000, &record), "not stored");
    read_event_free(&holder);
}

static void prepare(void)
{
    buf_init(&batch, SIZE_MAX);
    buf_init(&request, SIZE_MAX);
    need(!status_table_new(&table), "no memory");
    gateway.settings.shared.ns = NS;
    gateway.settings.shared.source = "/tidings";
    make_bodies();
    make_record();
    write_changes();
    add_events(EVENTS);
    fold();
}

/* ---- the program ---- */

static const struct path {
    const char *name;
    void (*run)(void);
} paths[] = {
    {"post-plain", post_plain}, {"post-structured", post_structured},
    {"post-lines", post_lines}, {"take", take},
    {"record", write_changes},  {"fold", fold},
    {"answer", answer},
};
enum { PATHS = sizeof paths / sizeof paths[0] };

/* callgrind collects while it runs; not inlined, so that it has a name. */
__attribute__((noinline, noipa)) void counted(void (*run)(void));
void counted(void (*run)(void))
{
    run();
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < PATHS && argc < 2; i++)
        puts(paths[i].name);
    if (argc < 2)
        return 0;
    for (size_t i = 0; i < PATHS; i++) {
        if (strcmp(paths[i].name, argv[1]) != 0)
            continue;
        prepare();
        paths[i].run(); /* whatever is done only once */
        uint64_t before = mem_allocations();
        counted(paths[i].run);
        printf("%d %llu\n", TIMES, (unsigned long long)(mem_allocations() - before));
        return 0;
    }
    fprintf(stderr, "cost: there is no path \"%s\"\n", argv[1]);
    return 2;
}
