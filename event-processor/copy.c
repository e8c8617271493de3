#include "event-processor/copy.h"

#include "common/event_digest.h"
#include "common/log.h"

#include <stdio.h>

enum {
    READ_MS = 2000,
    HOLE_AFTER = 3, /* deliveries */
};

/* Nothing is kept where the first was. */
static enum copy_verdict judge_absence(const struct copy_options *options, const struct copy *copy)
{
    struct bus_log_end end;
    if (bus_log_end(options->event_log, READ_MS, &end) || copy->first_position < end.first ||
        copy->first_position > end.last || copy->delivered < HOLE_AFTER)
        return COPY_UNKNOWN;
    log_warn("a copy's first event is lost; the copy counts as equal",
             LOG_U64("position", copy->record->position), LOG_U64("first", copy->first_position));
    return COPY_BEREFT;
}

static enum copy_verdict compare(const struct copy_options *options, const struct copy *copy,
                                 const struct bus_record *first)
{
    char of_copy[EVENT_DIGEST_TEXT_SIZE];
    char of_first[EVENT_DIGEST_TEXT_SIZE];
    struct event_id id;
    struct view name;
    (void)event_identity(first, options->ns, options->event_stream, &id, &name);
    if (!id_equal(&id, &copy->id)) /* the log is not the one that the table was made from */
        return COPY_UNKNOWN;
    enum err e = event_digest_of_record(copy->record, options->ns, of_copy);
    if (!e)
        e = event_digest_of_record(first, options->ns, of_first);
    if (e)
        return e == ERR_MALFORMED ? COPY_DIFFERENT : COPY_UNKNOWN;
    return strcmp(of_copy, of_first) == 0 ? COPY_EQUAL : COPY_DIFFERENT;
}

enum copy_verdict copy_compare(const struct copy_options *options, const struct copy *copy)
{
    struct bus_record *first;
    enum err e = bus_log_read(options->event_log, copy->first_position, READ_MS, &first);
    if (e == ERR_NOT_FOUND)
        return judge_absence(options, copy);
    if (e)
        return COPY_UNKNOWN;
    enum copy_verdict verdict = compare(options, copy, first);
    bus_record_free(first);
    return verdict;
}

enum err copy_read_death(struct bus_log *status_log, const struct status_entry *first,
                         struct err_detail *ret_error, uint64_t *ret_letter)
{
    struct bus_record *record;
    struct status_batch *batch;
    enum err e = bus_log_read(status_log, first->change_position, READ_MS, &record);
    if (e)
        return e;
    e = status_batch_read(record->payload, &batch);
    bus_record_free(record);
    if (e)
        return e == ERR_MALFORMED ? ERR_NOT_FOUND : e;
    e = ERR_NOT_FOUND;
    if (first->change_place < status_batch_count(batch)) {
        struct status_change change = status_batch_get(batch, first->change_place);
        snprintf(ret_error->text, sizeof ret_error->text, "%.*s", (int)change.error.len,
                 change.error.data ? change.error.data : "");
        *ret_letter = change.letter_position;
        e = ERR_NONE;
    }
    status_batch_free(batch);
    return e;
}
