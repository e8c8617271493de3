#include "http-gateway/read_binary.h"

#include "common/percent.h"

struct reader {
    struct read_binary *holder;
    struct err_detail *detail;
};

void read_binary_init(struct read_binary *holder)
{
    buf_init(&holder->text, 2 * HTTP_HEADER_MAX);
}

void read_binary_free(struct read_binary *holder)
{
    buf_free(&holder->text);
}

/* ---- names ---- */

/* Cuts off ce-, in any case. False: it begins otherwise. */
static bool cut_prefix(struct view *name)
{
    if (name->len < 3 || !view_equal_nocase((struct view){name->data, 3}, VIEW("ce-")))
        return false;
    *name = (struct view){name->data + 3, name->len - 3};
    return true;
}

bool read_binary_is_meant(const struct http_request *request)
{
    struct view name, value;

    for (size_t i = 0; http_header_at(request, i, &name, &value); i++)
        if (cut_prefix(&name))
            return true;
    return false;
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool has_upper(struct view name)
{
    for (size_t i = 0; i < name.len; i++)
        if (is_upper(name.data[i]))
            return true;
    return false;
}

/* HTTP's names have no case, and clients like to write Ce-Id. */
static struct view lower_case(struct buf *text, struct view name)
{
    char *to = text->data + text->len;

    if (!has_upper(name))
        return name;
    for (size_t i = 0; i < name.len; i++)
        to[i] = (char)(is_upper(name.data[i]) ? name.data[i] - 'A' + 'a' : name.data[i]);
    buf_advance(text, name.len);
    return (struct view){to, name.len};
}

/* ---- values: section 3.1.3.2 ---- */

static bool is_quoted(struct view value)
{
    return value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"';
}

static bool is_encoded(struct view value)
{
    return value.len > 0 && memchr(value.data, '%', value.len);
}

/* RFC 7230, section 3.2.6: takes off the quotes of a value that is quoted as a whole. Older senders
 * quote, new ones encode, and some write values as they are: what is no quoted string stands for
 * itself. */
static struct view unquote(struct buf *text, struct view value)
{
    char *to = text->data + text->len;
    size_t last = value.len - 1, used = 0;

    if (!is_quoted(value))
        return value;
    for (size_t i = 1; i < last; i++) {
        if (value.data[i] == '"' || (value.data[i] == '\\' && ++i == last))
            return value;
        to[used++] = value.data[i];
    }
    buf_advance(text, used);
    return (struct view){to, used};
}

static struct view decode(struct buf *text, struct view value)
{
    char *to = text->data + text->len;
    struct view ret;

    if (!percent_decode(value, to, value.len, &ret))
        return value; /* does not happen: it never gets longer */
    if (ret.data == to)
        buf_advance(text, ret.len);
    return ret;
}

/* ---- headers ---- */

static enum err take_header(struct reader *r, struct view name, struct view value)
{
    struct buf *text = &r->holder->text;

    name = lower_case(text, name);
    if (view_equal(name, VIEW("datacontenttype")))
        return err_set(
            r->detail, ERR_INVALID,
            "ce-datacontenttype must not be there: in binary mode Content-Type says what "
            "the data are");
    value = decode(text, unquote(text, value));
    return cloud_event_add(&r->holder->attributes, name, value, r->detail);
}

/* Room for all that will be made of the headers, so that nothing moves. */
static enum err reserve(struct reader *r, const struct http_request *request)
{
    struct view name, value;
    size_t room = 0;

    for (size_t i = 0; http_header_at(request, i, &name, &value); i++) {
        if (!cut_prefix(&name))
            continue;
        room += has_upper(name) ? name.len : 0;
        room += is_quoted(value) ? value.len : 0;
        room += is_encoded(value) ? value.len : 0;
    }
    buf_clear(&r->holder->text);
    if (room > 0 && !buf_reserve(&r->holder->text, room))
        return err_set(r->detail, ERR_MEMORY, "no memory to read the event");
    return ERR_NONE;
}

enum err read_binary(struct read_binary *holder, const struct http_request *request,
                     struct view content_type, struct event *ret, struct err_detail *detail)
{
    struct reader r = {holder, detail};
    struct view name, value;
    struct event event;
    enum err e = reserve(&r, request);

    cloud_event_begin(&holder->attributes, true);
    for (size_t i = 0; !e && http_header_at(request, i, &name, &value); i++)
        if (cut_prefix(&name))
            e = take_header(&r, name, value);
    if (!e && content_type.len > 0)
        e = cloud_event_add(&holder->attributes, VIEW("datacontenttype"), content_type, detail);
    if (!e)
        e = cloud_event_check(&holder->attributes, detail);
    if (e)
        return e;
    event = holder->attributes.event;
    event.id = ret->id;
    event.digest = ret->digest;
    *ret = event;
    return ERR_NONE;
}
