#include "common/event.h"

#include "common/attribute.h"
#include "common/percent.h"

static const struct view prefix = {"ce-", sizeof "ce-" - 1};

/* ---- names ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Takes the prefix off. False: the header is no attribute's. */
static bool attribute_name(struct view header, struct view *ret)
{
    if (header.len <= prefix.len ||
        !view_equal_nocase((struct view){header.data, prefix.len}, prefix))
        return false;
    for (size_t i = prefix.len; i < header.len; i++) {
        char c = lower(header.data[i]);

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9'))
            return false;
    }
    *ret = (struct view){header.data + prefix.len, header.len - prefix.len};
    return true;
}

/* What event_of_record reads, or what can be no extension. */
static bool is_known(struct view name)
{
    static const char *const known[] = {
        "specversion", "id",         "source",          "type", "time",
        "traceparent", "tracestate", "datacontenttype", "data", "partitionkey"};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (view_equal_nocase(name, view_of(known[i])))
            return true;
    return false;
}

static int compare_names(struct view a, struct view b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return lower(a.data[i]) - lower(b.data[i]);
    return (a.len > b.len) - (a.len < b.len);
}

/* ---- what a record holds ---- */

struct found {
    struct view subject, dataschema;                             /* as in the headers */
    struct bus_header_view extensions[EVENT_RECORD_HEADERS_MAX]; /* in the order of their names */
    size_t count;
};

static void insert(struct found *found, struct view name, struct view value)
{
    size_t at = found->count;

    while (at > 0 && compare_names(found->extensions[at - 1].name, name) > 0)
        at--;
    if (at > 0 && compare_names(found->extensions[at - 1].name, name) == 0)
        return;
    memmove(found->extensions + at + 1, found->extensions + at,
            (found->count - at) * sizeof found->extensions[0]);
    found->extensions[at] = (struct bus_header_view){name, value};
    found->count++;
}

/* False: there are more headers than we look at. */
static bool find(const struct bus_record *record, struct found *ret)
{
    struct bus_header_view headers[EVENT_RECORD_HEADERS_MAX];
    size_t count = bus_record_headers(record, headers, EVENT_RECORD_HEADERS_MAX);

    ret->subject = ret->dataschema = (struct view){0};
    ret->count = 0;
    for (size_t i = 0; i < count && i < EVENT_RECORD_HEADERS_MAX; i++) {
        struct view name, value = headers[i].value;

        if (value.len == 0 || !attribute_name(headers[i].name, &name) || is_known(name))
            continue;
        if (view_equal_nocase(name, VIEW("subject")))
            ret->subject = ret->subject.len ? ret->subject : value;
        else if (view_equal_nocase(name, VIEW("dataschema")))
            ret->dataschema = ret->dataschema.len ? ret->dataschema : value;
        else
            insert(ret, name, value);
    }
    return count <= EVENT_RECORD_HEADERS_MAX;
}

/* ---- what is kept of it ---- */

/* Each part has its share of more->bytes, so that there is room for `max` bytes. */
static bool keep_value(struct event_more *more, struct view raw, size_t max, struct view *ret)
{
    char *to = more->bytes + more->used;
    struct view value;

    if (!percent_decode(raw, to, max, &value) || value.len > max ||
        attribute_check_text("value", value, NULL))
        return false;
    if (value.data == to)
        more->used += value.len;
    *ret = value;
    return true;
}

static struct view keep_name(struct event_more *more, struct view name)
{
    char *to = more->bytes + more->used;
    bool capitals = false;

    for (size_t i = 0; i < name.len; i++) {
        capitals |= lower(name.data[i]) != name.data[i];
        to[i] = lower(name.data[i]);
    }
    if (!capitals)
        return name;
    more->used += name.len;
    return (struct view){to, name.len};
}

static bool keep_extensions(struct event_more *more, const struct found *found, size_t *ret_count)
{
    size_t count = 0, left = EVENT_EXTENSIONS_BYTES;

    for (size_t i = 0; i < found->count && count < EVENT_EXTENSIONS_MAX; i++) {
        const struct bus_header_view *header = &found->extensions[i];
        struct event_extension *extension = &more->extensions[count];

        if (header->name.len > EVENT_EXTENSION_NAME_MAX || header->name.len > left ||
            !keep_value(more, header->value, left - header->name.len, &extension->value))
            continue;
        extension->name = keep_name(more, header->name);
        left -= extension->name.len + extension->value.len;
        count++;
    }
    *ret_count = count;
    return count == found->count;
}

bool event_read_more(const struct bus_record *record, struct event_more *more, struct event *event)
{
    struct found found;
    bool whole = find(record, &found);

    more->used = 0;
    event->subject = event->dataschema = (struct view){0};
    whole &=
        !found.subject.len || keep_value(more, found.subject, EVENT_SUBJECT_MAX, &event->subject);
    whole &= !found.dataschema.len ||
             keep_value(more, found.dataschema, EVENT_DATASCHEMA_MAX, &event->dataschema);
    whole &= keep_extensions(more, &found, &event->extension_count);
    event->extensions = more->extensions;
    return whole;
}
