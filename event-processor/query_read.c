#include "event-processor/query_lookup.h"

#include "common/event.h"
#include "event-processor/history.h"

enum { READ_MS = 2000 };

static const char unreadable[] =
    "the event cannot be read from the bus now; a BASIC view may be answered";
static const char late[] =
    "the event was not read from the bus in time; try again; a BASIC view may be answered";

/* What a full view is made of. */
struct full {
    struct bus_record *record; /* the event's; NULL: the log no longer has it */
    struct event event;
    struct event_text text;
    struct event_more more;
    struct history history;
    struct event_status_change changes[HISTORY_MAX + 1]; /* ACCEPTED, then the history */
};

/* Whether a record that came with this id is what the table has at its position. */
static bool is_entry(struct query *query, const struct status_entry *entry,
                     const struct event_id *id)
{
    struct event_id own;
    if (!entry->conflict)
        return id_equal(id, &entry->id);
    id_of_position(view_of(query->use.event_stream), entry->event_position, &own);
    return id_equal(&own, &entry->id);
}

/* ERR_STALE: another event is kept there, so the log is not the one that the table was made from.
 */
static enum err read_event(struct query *query, const struct status_entry *entry, struct full *full)
{
    struct event_id id;
    struct view name;
    full->record = NULL;
    full->event = (struct event){.id = entry->id};
    enum err e = bus_log_read(query->use.event_log, entry->event_position, READ_MS, &full->record);
    if (e == ERR_NOT_FOUND)
        return ERR_NONE;
    if (e)
        return e;
    bool proper = event_identity(full->record, query->use.ns, query->use.event_stream, &id, &name);
    if (!is_entry(query, entry, &id))
        return ERR_STALE;
    full->event.payload = full->record->payload;
    if (!proper)
        return ERR_NONE;
    e = event_of_record(full->record, query->use.ns, &full->text, &full->event, NULL);
    if (!e)
        (void)event_read_more(full->record, &full->more, &full->event); /* what fits is shown */
    return e;
}

static void fill(struct full *full, const struct status_entry *entry, struct event_status *status)
{
    status->full = true;
    if (full->event.name.len > 0) /* the table keeps so many different ones only */
        status->name = full->event.name;
    status->producer_id = full->event.producer_id;
    status->source = full->event.source;
    status->key = full->event.key;
    status->content_type = full->event.content_type;
    status->subject = full->event.subject;
    status->dataschema = full->event.dataschema;
    status->extensions = full->event.extensions;
    status->extension_count = full->event.extension_count;
    status->payload = full->event.payload;
    struct view time = full->event.time;
    status->has_time = time.len > 0 && clock_parse(time.data, time.len, &status->time_ms);
    full->changes[0] = (struct event_status_change){
        .state = {.status = STATUS_ACCEPTED},
        .time_ms = full->record ? full->record->time_ms : 0,
        .position = entry->event_position,
    };
    memcpy(full->changes + 1, full->history.changes,
           full->history.count * sizeof *full->history.changes);
    status->history = full->changes;
    status->history_count = full->history.count + 1;
    int64_t last_ms = full->changes[full->history.count].time_ms;
    if (last_ms / 1000 == status->updated_ms / 1000) /* the table knows only the second */
        status->updated_ms = last_ms;
}

static void read_full(struct query *query, struct lookup *lookup, struct full *full)
{
    enum err e = read_event(query, &lookup->entry, full);
    if (!e)
        e = history_read(query->use.status_log, &lookup->entry, READ_MS, &full->history);
    if (e == ERR_MEMORY) {
        query_fail(query, lookup, e, "out of memory");
    } else if (e) {
        query_fail(query, lookup, ERR_UNAVAILABLE, unreadable);
    } else {
        struct event_status status = query_basic(&lookup->entry, lookup->position);
        fill(full, &lookup->entry, &status);
        query_answer(query, lookup, &status);
        history_free(&full->history);
    }
    bus_record_free(full->record);
}

void *query_run_reader(void *arg)
{
    struct query *query = arg;
    struct full full;
    struct lookup *lookup;
    while ((lookup = (struct lookup *)query_take(query, &query->to_read)) != NULL) {
        if (lookup->waiter.kind->gone(&lookup->waiter))
            query_fail(query, lookup, ERR_CANCELLED, "the caller has gone away");
        else if (wait_left_ms(lookup->waiter.until) == 0)
            query_fail(query, lookup, ERR_UNAVAILABLE, late);
        else
            read_full(query, lookup, &full);
    }
    return NULL;
}
