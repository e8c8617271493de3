#include "common/event.h"

#include "common/event_digest.h"
#include "common/event_headers.h"
#include "common/percent.h"

/* ---- names ---- */

static bool name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

enum err event_name_check(struct view name, struct err_detail *detail)
{
    size_t token = 0;

    if (name.len == 0)
        return err_set(detail, ERR_INVALID, "name is empty; an example is \"order.created\"");
    if (name.len > EVENT_NAME_MAX)
        return err_set(detail, ERR_INVALID, "name has %zu characters; at most %d are allowed",
                       name.len, EVENT_NAME_MAX);
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '.' && token == 0)
            return err_set(detail, ERR_INVALID,
                           "name has an empty part before byte %zu; parts between dots need at "
                           "least one character",
                           i);
        if (name.data[i] != '.' && !name_character(name.data[i]))
            return err_set(detail, ERR_INVALID,
                           "name has a character at byte %zu that is not allowed; allowed are "
                           "A-Z a-z 0-9 _ - and dots between parts",
                           i);
        token = name.data[i] == '.' ? 0 : token + 1;
    }
    if (token == 0)
        return err_set(detail, ERR_INVALID, "name ends with a dot");
    return ERR_NONE;
}

/* ---- back from the bus ---- */

static struct view decoded(struct event_text *text, struct view value)
{
    char *to = text->bytes + text->used;
    struct view ret;

    if (!percent_decode(value, to, sizeof text->bytes - text->used, &ret))
        return value;
    if (ret.data == to)
        text->used += ret.len;
    return ret;
}

/* The part of the subject after "<namespace>.events."; false: it has another form. */
static bool subject_name(const struct bus_record *record, const char *ns, struct view *ret)
{
    static const struct view infix = {".events.", sizeof ".events." - 1};
    struct view subject = view_of(record->subject);
    size_t prefix = strlen(ns);

    if (subject.len <= prefix + infix.len || memcmp(subject.data, ns, prefix) != 0 ||
        memcmp(subject.data + prefix, infix.data, infix.len) != 0)
        return false;
    *ret = (struct view){subject.data + prefix + infix.len, subject.len - prefix - infix.len};
    return true;
}

/* What makes a record an event of ours: the one rule that both readers below share. */
static enum err check_identity(const struct bus_record *record, const char *ns,
                               struct event_id *ret_id, struct view *ret_name,
                               struct err_detail *detail)
{
    struct view name;

    if (!subject_name(record, ns, &name))
        return err_set(detail, ERR_MALFORMED, "the subject \"%s\" is not %s.events.<name>",
                       record->subject, ns);
    if (event_name_check(name, detail))
        return ERR_MALFORMED;
    if (!id_parse(bus_record_header(record, EVENT_HEADER_ID), ret_id))
        return err_set(detail, ERR_MALFORMED,
                       "the header " EVENT_HEADER_ID " is missing or is no UUID");
    *ret_name = name;
    return ERR_NONE;
}

static bool is_digest(struct view text)
{
    if (text.len != EVENT_DIGEST_TEXT_SIZE - 1)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!strchr("0123456789abcdef", text.data[i]) || text.data[i] == '\0')
            return false;
    return true;
}

enum err event_of_record(const struct bus_record *record, const char *ns, struct event_text *text,
                         struct event *ret, struct err_detail *detail)
{
    struct event event = {.payload = record->payload};
    enum err e = check_identity(record, ns, &event.id, &event.name, detail);

    if (e)
        return e;
    text->used = 0;
    event.producer_id = decoded(text, bus_record_header(record, "ce-id"));
    event.source = decoded(text, bus_record_header(record, "ce-source"));
    event.time = decoded(text, bus_record_header(record, "ce-time"));
    event.key = decoded(text, bus_record_header(record, "ce-partitionkey"));
    event.content_type = bus_record_header(record, "content-type");
    if (event.content_type.len == 0) /* other producers may know only the binding's name for it */
        event.content_type = decoded(text, bus_record_header(record, "ce-datacontenttype"));
    event.traceparent = bus_record_header(record, "ce-traceparent");
    event.tracestate = decoded(text, bus_record_header(record, "ce-tracestate"));
    event.digest = bus_record_header(record, EVENT_HEADER_DIGEST);
    if (!is_digest(event.digest))
        event.digest = (struct view){0};
    *ret = event;
    return ERR_NONE;
}

bool event_identity(const struct bus_record *record, const char *ns, const char *stream,
                    struct event_id *ret_id, struct view *ret_name)
{
    if (!check_identity(record, ns, ret_id, ret_name, NULL))
        return true;
    id_of_position(view_of(stream), record->position, ret_id);
    *ret_name = (struct view){0};
    return false;
}
