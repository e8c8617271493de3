/* Which event a query asks for: by its event_id, or by its producer's id and source. */
#include "event-processor/query_lookup.h"

#include "common/attribute.h"

static struct view source_of(const struct query_options *options,
                             const struct event_status_request *request)
{
    return request->source.len > 0 ? request->source : view_of(options->source);
}

enum err query_id(const struct query_options *options, const struct event_status_request *request,
                  struct event_id *ret, struct err_detail *detail)
{
    if (request->event_id.len == 0)
        return err_set(detail, ERR_INVALID,
                       "event_id is empty; it is the event_id of the 202 response to the event, or "
                       "the id that its producer gave it");
    enum err e = attribute_check("event_id", request->event_id, ATTRIBUTE_TEXT,
                                 EVENT_PRODUCER_ID_MAX, detail);
    if (!e && request->source.len > 0)
        e = attribute_check("source", request->source, ATTRIBUTE_TEXT, EVENT_SOURCE_MAX, detail);
    if (e)
        return ERR_INVALID;
    id_of_producer(source_of(options, request), request->event_id, ret);
    return ERR_NONE;
}

void query_say_unknown(const struct query_options *options,
                       const struct event_status_request *request, struct err_detail *detail)
{
    enum { SHOWN = 64 };
    struct view id = request->event_id;
    struct view source = source_of(options, request);
    struct event_id parsed;
    int id_len = id.len < SHOWN ? (int)id.len : SHOWN;
    int source_len = source.len < SHOWN ? (int)source.len : SHOWN;
    if (id_parse(id, &parsed))
        err_set(detail, ERR_NOT_FOUND,
                "no event with id '%.*s'; ids are the event_id of the 202 response to the event",
                id_len, id.data);
    else
        err_set(detail, ERR_NOT_FOUND,
                "no event with id '%.*s' of source '%.*s'; ids are the event_id of the 202 "
                "response, or the producer's id with its source",
                id_len, id.data, source_len, source.data);
}
