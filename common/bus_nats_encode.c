#include "common/bus_nats.h"

#include "common/mem.h"

enum { HEADER_SPACE = 4096 }; /* on the stack */

static const char MESSAGE_ID[] = "Nats-Msg-Id";
static const char FIRST_LINE[] = "NATS/1.0\r\n";

/* ---- sizes ---- */

/* An empty one is left out: other clients cannot read it. */
static size_t header_size(const char *name, size_t value_len)
{
    return value_len ? strlen(name) + strlen(": ") + value_len + strlen("\r\n") : 0;
}

static size_t headers_size(const struct bus_message *m)
{
    size_t size = m->message_id ? header_size(MESSAGE_ID, strlen(m->message_id)) : 0;
    for (size_t i = 0; i < m->header_count; ++i)
        size += header_size(m->headers[i].name, m->headers[i].value.len);
    return size ? strlen(FIRST_LINE) + size + strlen("\r\n") : 0;
}

size_t nats_encoded_size(const struct bus_message *m)
{
    return headers_size(m) + m->payload.len;
}

/* ---- encoded by us ---- */

/* nats.c's own, by which it makes the messages that it receives; a message that has its headers in
 * encoded form is sent with them as they are. Without `buf` it leaves room. Exported, but not
 * declared: NULL where that is no longer so.
 * https://github.com/nats-io/nats.c/blob/v3.4.1/src/msg.c */
natsStatus natsMsg_create(natsMsg **ret, const char *subject, int subject_len, const char *reply,
                          int reply_len, const char *buf, int size, int headers_size)
    __attribute__((weak));

static char *add(char *to, const char *bytes, size_t len)
{
    memcpy(to, bytes, len);
    return to + len;
}

static char *add_line(char *to, const char *name, struct view value)
{
    if (value.len == 0)
        return to;
    to = add(to, name, strlen(name));
    to = add(to, ": ", 2);
    to = add(to, value.data, value.len);
    return add(to, "\r\n", 2);
}

static void write_headers(const struct bus_message *m, char *to)
{
    to = add(to, FIRST_LINE, strlen(FIRST_LINE));
    to = add_line(to, MESSAGE_ID, view_of(m->message_id));
    for (size_t i = 0; i < m->header_count; ++i)
        to = add_line(to, m->headers[i].name, m->headers[i].value);
    add(to, "\r\n", 2);
}

static natsStatus make_encoded(const struct bus_message *m, const char *reply, natsMsg **ret)
{
    size_t headers = headers_size(m), reply_len = strlen(reply);
    natsStatus s = natsMsg_create(ret, m->subject, (int)strlen(m->subject), reply, (int)reply_len,
                                  NULL, (int)(headers + m->payload.len), (int)headers);
    if (s != NATS_OK)
        return s;
    if (headers > 0)
        write_headers(m, (char *)natsMsg_GetReply(*ret) + reply_len + 1);
    if (m->payload.len > 0)
        memcpy((char *)natsMsg_GetData(*ret), m->payload.data, m->payload.len);
    return NATS_OK;
}

/* ---- encoded by nats.c ---- */

/* nats.c wants a NUL behind the value. */
static natsStatus add_header(natsMsg *msg, const struct bus_header *header)
{
    char space[HEADER_SPACE];
    char *text = space;
    if (header->value.len == 0)
        return NATS_OK;
    if (header->value.len >= sizeof space && !(text = mem_alloc(header->value.len + 1)))
        return NATS_NO_MEMORY;
    memcpy(text, header->value.data, header->value.len);
    text[header->value.len] = '\0';
    natsStatus s = natsMsgHeader_Add(msg, header->name, text);
    if (text != space)
        mem_free(text);
    return s;
}

/* Shorter names first: nats.c takes a name for one that the message has already if that one begins
 * with it and their hashes are equal, which they often are: ce-s would be a second ce-subject. */
static natsStatus add_headers(natsMsg *msg, const struct bus_message *m)
{
    natsStatus s = NATS_OK;
    size_t next = 0;
    while (s == NATS_OK && next < SIZE_MAX) {
        size_t length = next;
        next = SIZE_MAX;
        for (size_t i = 0; s == NATS_OK && i < m->header_count; ++i) {
            size_t own = strlen(m->headers[i].name);
            if (own == length)
                s = add_header(msg, &m->headers[i]);
            else if (own > length && own < next)
                next = own;
        }
    }
    return s;
}

static natsStatus make_with_table(const struct bus_message *m, const char *reply, natsMsg **ret)
{
    natsMsg *msg = NULL;
    natsStatus s = natsMsg_Create(&msg, m->subject, reply, m->payload.len ? m->payload.data : "",
                                  (int)m->payload.len);
    if (s == NATS_OK && m->message_id)
        s = natsMsgHeader_Set(msg, MESSAGE_ID, m->message_id);
    if (s == NATS_OK)
        s = add_headers(msg, m);
    if (s == NATS_OK)
        *ret = msg;
    else
        natsMsg_Destroy(msg);
    return s;
}

natsStatus nats_encode(const struct bus_message *m, const char *reply, natsMsg **ret)
{
    return natsMsg_create && nats_layout_is_known() ? make_encoded(m, reply, ret)
                                                    : make_with_table(m, reply, ret);
}
