#include "common/event.h"

#include "common/event_headers.h"
#include "common/percent.h"

#include <stdio.h>

/* EVENT_ENCODED_MAX has room for all values. */
static struct view encoded(struct event_message *m, struct view value)
{
    char *to = m->text + m->encoded;
    struct view ret;

    if (!percent_encode(value, to, sizeof m->text - m->encoded, &ret))
        return value;
    if (ret.data == to)
        m->encoded += ret.len;
    return ret;
}

static void add_header(struct event_message *m, const char *name, struct view value)
{
    if (value.len == 0)
        return;
    m->headers[m->message.header_count++] = (struct bus_header){name, value};
}

static void add_extensions(struct event_message *m, const struct event *event)
{
    for (size_t i = 0; i < event->extension_count; i++) {
        const struct event_extension *extension = &event->extensions[i];

        snprintf(m->names[i], sizeof m->names[i], "ce-%.*s", (int)extension->name.len,
                 extension->name.data);
        add_header(m, m->names[i], encoded(m, extension->value));
    }
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
    add_header(ret, EVENT_HEADER_ID, view_of(ret->id_text));
    add_header(ret, EVENT_HEADER_DIGEST, event->digest);
    add_header(ret, "ce-specversion", VIEW("1.0"));
    add_header(ret, "ce-id", encoded(ret, event->producer_id));
    add_header(ret, "ce-source", encoded(ret, event->source));
    add_header(ret, "ce-type", event->name);
    add_header(ret, "ce-time", encoded(ret, event->time));
    add_header(ret, "ce-subject", encoded(ret, event->subject));
    add_header(ret, "ce-dataschema", encoded(ret, event->dataschema));
    add_header(ret, "ce-datacontenttype", encoded(ret, event->content_type));
    add_header(ret, "content-type", event->content_type);
    add_header(ret, "ce-partitionkey", encoded(ret, event->key));
    add_header(ret, "ce-traceparent", event->traceparent);
    add_header(ret, "ce-tracestate", encoded(ret, event->tracestate));
    add_extensions(ret, event);
}
