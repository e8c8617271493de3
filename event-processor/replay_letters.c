#include "event-processor/replay_letters.h"

#include "common/mem.h"
#include "event-processor/handlers.h"
#include "event-processor/replay_walk.h"

#include <stdlib.h>

enum { END_MS = 2000, SLICE_MS = 200, READ_MAX = 256 };

/* ---- what is looked for ---- */

static bool is_worth_it(const struct replay_filter *filter, struct status_table *table)
{
    struct status_reflects reflects;
    status_table_reflects(table, &reflects);
    return reflects.first_event_position > 1 && filter->event_id_count > 0 &&
           (filter->statuses >> STATUS_DEAD & 1) != 0 && filter->accepted_since_ms == 0 &&
           filter->accepted_until_ms == 0;
}

static int compare_ids(const void *a, const void *b)
{
    const struct replay_letter *one = a;
    const struct replay_letter *other = b;
    return memcmp(one->id.bytes, other->id.bytes, sizeof one->id.bytes);
}

static enum err collect(struct replay_search *search, struct status_table *table)
{
    const struct replay_filter *filter = &search->filter;
    struct status_entry entry;
    size_t count = 0;
    search->letters = mem_zero(filter->event_id_count, sizeof *search->letters);
    if (!search->letters)
        return ERR_MEMORY;
    for (size_t i = 0; i < filter->event_id_count; i++)
        if (!status_table_find(table, &filter->event_ids[i], &entry, NULL))
            search->letters[count++].id = filter->event_ids[i];
    qsort(search->letters, count, sizeof *search->letters, compare_ids);
    for (size_t i = 0; i < count; i++)
        if (search->count == 0 ||
            !id_equal(&search->letters[search->count - 1].id, &search->letters[i].id))
            search->letters[search->count++] = search->letters[i];
    return ERR_NONE;
}

enum err replay_search_open(struct replay_search *search,
                            const struct replay_letters_options *options,
                            const struct replay_filter *filter, struct status_table *table)
{
    struct bus_log_end end;
    *search = (struct replay_search){.use = *options, .filter = *filter, .done = true};
    if (!is_worth_it(filter, table))
        return ERR_NONE;
    if (filter->name.len > 0 && filter->name.len < sizeof search->pattern)
        memcpy(search->pattern, filter->name.data, filter->name.len);
    enum err e = collect(search, table);
    if (!e && search->count > 0)
        e = bus_log_end(options->log, END_MS, &end);
    if (!e && search->count > 0 && end.first <= end.last) {
        e = bus_reader_open(options->log, 0, true, &search->reader);
        search->last = end.last;
        search->done = false;
    }
    if (e)
        replay_search_close(search);
    return e;
}

/* ---- the look ---- */

static struct replay_letter *find(const struct replay_search *search, const struct event_id *id)
{
    struct replay_letter key = {.id = *id};
    if (search->count == 0)
        return NULL;
    return bsearch(&key, search->letters, search->count, sizeof key, compare_ids);
}

static bool event_matches(const struct replay_search *search, const struct letter_event *event)
{
    const struct replay_filter *filter = &search->filter;
    return event->position >= filter->from_position &&
           (filter->to_position == 0 || event->position <= filter->to_position) &&
           (filter->name.len == 0 || handlers_match(search->pattern, event->name));
}

static void look_at(struct replay_search *search, const struct bus_record *record)
{
    struct letter_event event;
    if (!letter_read(record, search->use.ns, search->use.group, &event))
        return;
    struct replay_letter *letter = find(search, &event.id);
    if (!letter)
        return;
    letter->position = record->position; /* the last one counts */
    letter->matches = event.whole && event_matches(search, &event);
}

enum err replay_search_next(struct replay_search *search)
{
    struct bus_record *records[READ_MAX];
    size_t count = 0;
    if (search->done)
        return ERR_NONE;
    enum err e = bus_reader_next(search->reader, SLICE_MS, records, READ_MAX, &count);
    if (e)
        return e == ERR_DEADLINE ? ERR_NONE : e;
    for (size_t i = 0; i < count && !search->done; i++) {
        if (records[i]->position <= search->last)
            look_at(search, records[i]);
        search->done = records[i]->position >= search->last;
    }
    return ERR_NONE;
}

/* ---- what was found ---- */

const struct replay_letter *replay_search_find(const struct replay_search *search,
                                               const struct event_id *id)
{
    return find(search, id);
}

size_t replay_search_positions(const struct replay_search *search, uint64_t *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < search->count; i++)
        if (search->letters[i].matches)
            ret[count++] = search->letters[i].position;
    replay_positions_sort(ret, count);
    return count;
}

void replay_search_close(struct replay_search *search)
{
    if (search->reader)
        bus_reader_close(search->reader);
    mem_free(search->letters);
    *search = (struct replay_search){.done = true};
}
