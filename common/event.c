#include "common/event.h"

#include <stdio.h>

#define EVENT_ID_HEADER "Tidings-Event-Id"

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

/* ---- percent-encoding of header values ---- */

static bool must_encode(char c)
{
    return c <= ' ' || c > '~' || c == '"' || c == '%';
}

static struct view encoded(struct event_message *m, struct view value)
{
    static const char hex[] = "0123456789ABCDEF";
    char *start = m->text + m->encoded, *to = start;
    size_t plain = 0;

    while (plain < value.len && !must_encode(value.data[plain]))
        plain++;
    if (plain == value.len || value.len > (sizeof m->text - m->encoded) / 3)
        return value;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];

        if (!must_encode(value.data[i])) {
            *to++ = (char)c;
            continue;
        }
        *to++ = '%';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    m->encoded += (size_t)(to - start);
    return (struct view){start, (size_t)(to - start)};
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* A percent sign that begins no escape stands for itself, as the binding says for receivers. */
static struct view decoded(struct event_text *text, struct view value)
{
    char *start = text->bytes + text->used, *to = start;

    if (value.len == 0 || !memchr(value.data, '%', value.len))
        return value;
    for (size_t i = 0; i < value.len; i++) {
        bool escape = value.data[i] == '%' && i + 2 < value.len;
        int high = escape ? hex_value(value.data[i + 1]) : -1;
        int low = escape ? hex_value(value.data[i + 2]) : -1;

        if (to == text->bytes + sizeof text->bytes)
            return value;
        if (high >= 0 && low >= 0) {
            *to++ = (char)(high << 4 | low);
            i += 2;
        } else {
            *to++ = value.data[i];
        }
    }
    text->used += (size_t)(to - start);
    return (struct view){start, (size_t)(to - start)};
}

/* ---- onto the bus ---- */

static void add_header(struct event_message *m, const char *name, struct view value)
{
    if (value.len == 0)
        return;
    m->headers[m->message.header_count++] = (struct bus_header){name, value};
}

void event_to_message(const struct event *event, const char *ns, struct event_message *ret)
{
    ret->encoded = 0;
    ret->message = (struct bus_message){
        .subject = ret->subject,
        .headers = ret->headers,
        .payload = event->payload,
    };
    snprintf(ret->subject, sizeof ret->subject, "%s.events.%.*s", ns, (int)event->name.len,
             event->name.data);
    id_format(&event->id, ret->id_text);
    add_header(ret, EVENT_ID_HEADER, view_of(ret->id_text));
    add_header(ret, "ce-specversion", VIEW("1.0"));
    add_header(ret, "ce-id", encoded(ret, event->producer_id));
    add_header(ret, "ce-source", encoded(ret, event->source));
    add_header(ret, "ce-type", event->name);
    add_header(ret, "ce-time", encoded(ret, event->time));
    add_header(ret, "ce-datacontenttype", encoded(ret, event->content_type));
    add_header(ret, "content-type", event->content_type);
    add_header(ret, "ce-partitionkey", encoded(ret, event->key));
    add_header(ret, "ce-traceparent", event->traceparent);
    add_header(ret, "ce-tracestate", encoded(ret, event->tracestate));
}

/* ---- back from it ---- */

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
    if (!id_parse(bus_record_header(record, EVENT_ID_HEADER), ret_id))
        return err_set(detail, ERR_MALFORMED,
                       "the header " EVENT_ID_HEADER " is missing or is no UUID");
    *ret_name = name;
    return ERR_NONE;
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
