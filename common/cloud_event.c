#include "common/cloud_event.h"

#include "common/attribute.h"

#include <stddef.h>

#define NOT_KEPT SIZE_MAX

/* The attributes that have a meaning here: first those of the specification, then extensions. All
 * others are extensions that are carried on. */
static const struct known {
    const char *name;
    size_t member; /* of struct event; NOT_KEPT: only checked */
    enum attribute_rule rule;
    size_t max; /* bytes */
    bool required;
} known[] = {
    {"specversion", NOT_KEPT, ATTRIBUTE_TEXT, 16, true},
    {"id", offsetof(struct event, producer_id), ATTRIBUTE_TEXT, EVENT_PRODUCER_ID_MAX, true},
    {"source", offsetof(struct event, source), ATTRIBUTE_URI, EVENT_SOURCE_MAX, true},
    {"type", offsetof(struct event, name), ATTRIBUTE_NAME, EVENT_NAME_MAX, true},
    {"time", offsetof(struct event, time), ATTRIBUTE_TIME, EVENT_TIME_MAX, false},
    {"datacontenttype", offsetof(struct event, content_type), ATTRIBUTE_MEDIA_TYPE,
     EVENT_CONTENT_TYPE_MAX, false},
    {"dataschema", offsetof(struct event, dataschema), ATTRIBUTE_URI, EVENT_DATASCHEMA_MAX, false},
    {"subject", offsetof(struct event, subject), ATTRIBUTE_TEXT, EVENT_SUBJECT_MAX, false},
    {"partitionkey", offsetof(struct event, key), ATTRIBUTE_TEXT, EVENT_KEY_MAX, false},
    {"traceparent", offsetof(struct event, traceparent), ATTRIBUTE_VISIBLE,
     CLOUD_EVENT_TRACEPARENT_MAX, false},
    {"tracestate", offsetof(struct event, tracestate), ATTRIBUTE_TEXT, EVENT_TRACESTATE_MAX, false},
};
#define KNOWN (sizeof known / sizeof known[0])
#define OF_SPECIFICATION 8
#define SPECVERSION 0

void cloud_event_begin(struct cloud_event *ce, bool in_headers)
{
    ce->event = (struct event){.extensions = ce->extensions};
    ce->extension_bytes = 0;
    ce->seen = 0;
    ce->in_headers = in_headers;
}

const char *cloud_event_label(const struct cloud_event *ce, struct view name,
                              char text[CLOUD_EVENT_LABEL_SIZE])
{
    size_t len = name.len < EVENT_EXTENSION_NAME_MAX ? name.len : EVENT_EXTENSION_NAME_MAX;
    size_t begin = ce->in_headers ? sizeof "ce-" - 1 : 0;

    if (ce->in_headers && view_equal(name, VIEW("datacontenttype")))
        return "Content-Type";
    memcpy(text, "ce-", begin); /* no snprintf: most labels are for nothing */
    if (len > 0)
        memcpy(text + begin, name.data, len);
    text[begin + len] = '\0';
    return text;
}

/* ---- names ---- */

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

enum err cloud_event_check_name(const struct cloud_event *ce, struct view name,
                                struct err_detail *detail)
{
    char text[CLOUD_EVENT_LABEL_SIZE];
    const char *label = cloud_event_label(ce, name, text);

    if (name.len == 0)
        return err_set(detail, ERR_INVALID, "an attribute has an empty name");
    if (name.len > EVENT_EXTENSION_NAME_MAX)
        return err_set(detail, ERR_INVALID,
                       "the attribute \"%s…\" has a name of %zu bytes; at most %d are allowed",
                       label, name.len, EVENT_EXTENSION_NAME_MAX);
    for (size_t i = 0; i < name.len; i++)
        if (!is_name_character(name.data[i]))
            return err_set(detail, ERR_INVALID,
                           "\"%s\" is no attribute: a name of CloudEvents is of a-z and 0-9 only",
                           label);
    if (view_equal(name, VIEW("data")))
        return err_set(detail, ERR_INVALID,
                       "\"%s\" is no attribute: in binary mode the body is the data", label);
    return ERR_NONE;
}

/* ---- values ---- */

static enum err check_specversion(const char *label, struct view value, struct err_detail *detail)
{
    if (view_equal(value, VIEW("1.0")))
        return ERR_NONE;
    return err_set(detail, ERR_INVALID, "%s is \"%.*s\"; \"1.0\" is the one that is supported",
                   label, (int)value.len, value.data);
}

static enum err add_known(struct cloud_event *ce, size_t index, const char *label,
                          struct view value, struct err_detail *detail)
{
    const struct known *k = &known[index];
    enum err e = attribute_check(label, value, k->rule, k->max, detail);

    if (!e && index == SPECVERSION)
        e = check_specversion(label, value, detail);
    if (e)
        return e;
    ce->seen |= 1U << index;
    if (k->member != NOT_KEPT)
        *(struct view *)((char *)&ce->event + k->member) = value;
    return ERR_NONE;
}

static int compare(struct view a, struct view b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static enum err fail_twice(const char *label, struct err_detail *detail)
{
    return err_set(detail, ERR_MALFORMED, "%s comes twice", label);
}

static enum err add_extension(struct cloud_event *ce, const char *label, struct view name,
                              struct view value, struct err_detail *detail)
{
    struct event_extension *list = ce->extensions;
    size_t at = ce->event.extension_count;
    enum err e = attribute_check(label, value, ATTRIBUTE_TEXT, EVENT_EXTENSIONS_BYTES, detail);

    if (e)
        return e;
    while (at > 0 && compare(list[at - 1].name, name) > 0)
        at--;
    if (at > 0 && view_equal(list[at - 1].name, name))
        return fail_twice(label, detail);
    if (ce->event.extension_count == EVENT_EXTENSIONS_MAX)
        return err_set(detail, ERR_INVALID, "%s is one extension too many; at most %d are allowed",
                       label, EVENT_EXTENSIONS_MAX);
    if (name.len + value.len > EVENT_EXTENSIONS_BYTES - ce->extension_bytes)
        return err_set(detail, ERR_INVALID,
                       "with %s the names and values of the extensions have more than %d bytes "
                       "together, which is the limit",
                       label, EVENT_EXTENSIONS_BYTES);
    memmove(&list[at + 1], &list[at], (ce->event.extension_count - at) * sizeof list[0]);
    list[at] = (struct event_extension){name, value};
    ce->event.extension_count++;
    ce->extension_bytes += name.len + value.len;
    return ERR_NONE;
}

bool cloud_event_is_extension(struct view name)
{
    for (size_t i = 0; i < OF_SPECIFICATION; i++)
        if (view_equal(name, view_of(known[i].name)))
            return false;
    return true;
}

enum err cloud_event_add(struct cloud_event *ce, struct view name, struct view value,
                         struct err_detail *detail)
{
    char text[CLOUD_EVENT_LABEL_SIZE];
    const char *label = cloud_event_label(ce, name, text);
    enum err e = cloud_event_check_name(ce, name, detail);

    if (e)
        return e;
    for (size_t i = 0; i < KNOWN; i++) {
        if (!view_equal(name, view_of(known[i].name)))
            continue;
        if (ce->seen & 1U << i)
            return fail_twice(label, detail);
        return add_known(ce, i, label, value, detail);
    }
    return add_extension(ce, label, name, value, detail);
}

enum err cloud_event_check(const struct cloud_event *ce, struct err_detail *detail)
{
    for (size_t i = 0; i < KNOWN; i++) {
        if (known[i].required && !(ce->seen & 1U << i))
            return err_set(detail, ERR_INVALID,
                           "%s%s is missing; a CloudEvent needs specversion (1.0), id, source and "
                           "type",
                           ce->in_headers ? "ce-" : "", known[i].name);
    }
    return ERR_NONE;
}
