#include "event-processor/event_find.h"

#include "common/event.h"
#include "event-processor/handlers.h"
#include "event-processor/status_names.h"

enum {
    READ_MS = 2000,
    HOLE_MAX = 64, /* events that the table knows, but its log doesn't: tried in a row */
};
#define ANY ((1u << STATUS_COUNT) - 1)

/* ---- times ---- */

/* When the first event from a position on was stored. *ret_position: where it is; 0: there is none
 * up to `last`. */
static enum err time_at(const struct event_find *find, uint64_t from, uint64_t last,
                        uint64_t *ret_position, int64_t *ret_ms)
{
    struct status_entry entry;
    struct status_reflects reflects;
    *ret_position = 0;
    for (int i = 0; i < HOLE_MAX; i++) {
        if (from > last || !status_table_first_of(find->table, ANY, from, last, &entry, &reflects))
            return ERR_NONE;
        struct bus_record *record;
        enum err e = bus_log_read(find->event_log, entry.event_position, READ_MS, &record);
        if (!e) {
            *ret_position = entry.event_position;
            *ret_ms = record->time_ms;
            bus_record_free(record);
            return ERR_NONE;
        }
        if (e != ERR_NOT_FOUND)
            return e;
        from = entry.event_position + 1;
    }
    *ret_position = from - 1; /* dropped from the log's head, or a hole: as good as older */
    *ret_ms = INT64_MIN;
    return ERR_NONE;
}

enum err event_find_time(const struct event_find *find, int64_t time_ms, uint64_t low,
                         uint64_t last, uint64_t *ret)
{
    uint64_t high = last + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t position;
        int64_t stored_ms = 0;
        enum err e = time_at(find, middle, high - 1, &position, &stored_ms);
        if (e)
            return e;
        if (position == 0 || stored_ms >= time_ms)
            high = middle;
        else
            low = position + 1;
    }
    *ret = low;
    return ERR_NONE;
}

/* ---- names ---- */

bool event_find_knows_name(const struct status_entry *entry)
{
    return !view_equal(entry->name, VIEW(STATUS_NAMES_OTHER));
}

enum err event_find_name(const struct event_find *find, const char *pattern,
                         const struct status_entry *entry, bool *ret)
{
    *ret = !*pattern || handlers_match(pattern, entry->name);
    if (*ret || event_find_knows_name(entry))
        return ERR_NONE;
    struct bus_record *record;
    struct event_id id;
    struct view name;
    enum err e = bus_log_read(find->event_log, entry->event_position, READ_MS, &record);
    if (e == ERR_NOT_FOUND)
        return ERR_NONE;
    if (e)
        return e;
    *ret = event_identity(record, find->ns, find->event_stream, &id, &name) &&
           handlers_match(pattern, name);
    bus_record_free(record);
    return ERR_NONE;
}
