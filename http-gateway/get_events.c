/* GET /api/v1/events: events by status, name and time, a page at a time, the latest first. Any
 * processor answers, and goes on where another one's page ended.
 */
#include "http-gateway/event_call.h"
#include "http-gateway/event_document.h"
#include "http-gateway/handlers.h"
#include "http-gateway/read_filter.h"

#define PATH "/api/v1/events"
#define REQUEST_MAX 65536
#define TOKEN_MAX 1024 /* bytes; ours are shorter */
#define LINK_MAX 8192
#define ANY_STATUS ((1u << STATUS_COUNT) - (1u << STATUS_ACCEPTED))

static const char *const parameters[] = {"limit", "min_position", "name",  "page_token",
                                         "since", "status",       "until", NULL};

/* ---- the request ---- */

static enum err read_time(const struct http_request *request, const char *name, int64_t *ret_ms,
                          struct err_detail *detail)
{
    struct view text;

    if (!http_query(request, name, &text))
        return ERR_NONE;
    if (!clock_parse(text.data, text.len, ret_ms))
        return err_set(detail, ERR_INVALID,
                       "%s must be an RFC 3339 date-time, like 2026-01-02T03:04:05Z (a + in it "
                       "percent-encoded)",
                       name);
    if (*ret_ms == 0)
        *ret_ms = 1; /* 0 would be no bound, and nothing was stored then */
    return ERR_NONE;
}

static enum err read_times(const struct http_request *request, struct event_list_request *ret,
                           struct err_detail *detail)
{
    enum err e = read_time(request, "since", &ret->accepted_since_ms, detail);

    if (!e)
        e = read_time(request, "until", &ret->accepted_until_ms, detail);
    if (!e && ret->accepted_since_ms && ret->accepted_until_ms &&
        ret->accepted_since_ms >= ret->accepted_until_ms)
        return err_set(detail, ERR_INVALID, "since must be before until");
    return e;
}

static enum err read_numbers(const struct http_request *request, struct event_list_request *ret,
                             struct err_detail *detail)
{
    struct view text;
    uint64_t limit = EVENT_PAGE_DEFAULT;

    if (http_query(request, "limit", &text) &&
        (!view_parse_u64(text, &limit) || limit == 0 || limit > EVENT_PAGE_MAX))
        return err_set(detail, ERR_INVALID, "limit must be a number from 1 to %d", EVENT_PAGE_MAX);
    if (http_query(request, "min_position", &text) && !view_parse_u64(text, &ret->min_position))
        return err_set(detail, ERR_INVALID,
                       "min_position must be a number: the position of an earlier answer");
    ret->page_size = (uint32_t)limit;
    return ERR_NONE;
}

static enum err read_token(const struct http_request *request, struct event_list_request *ret,
                           struct err_detail *detail)
{
    struct view token = {0};
    bool printable = true;

    if (!http_query(request, "page_token", &token))
        return ERR_NONE;
    for (size_t i = 0; i < token.len; i++)
        printable = printable && token.data[i] > ' ' && token.data[i] <= '~';
    if (token.len == 0 || token.len > TOKEN_MAX || !printable)
        return err_set(detail, ERR_INVALID,
                       "page_token must be the next_page_token of an earlier page, as it was");
    ret->page_token = token;
    return ERR_NONE;
}

static enum err read_request(const struct http_request *request, struct event_list_request *ret,
                             struct err_detail *detail)
{
    enum err e = http_query_only(request, parameters, detail);

    if (!e)
        e = read_filter_statuses(request, ANY_STATUS, &ret->statuses, detail);
    if (!e)
        e = read_filter_name(request, &ret->name, detail);
    if (!e)
        e = read_times(request, ret, detail);
    if (!e)
        e = read_numbers(request, ret, detail);
    return e ? e : read_token(request, ret, detail);
}

static enum err ask(struct gateway *g, const struct event_list_request *asked, struct buf *answer,
                    struct err_detail *detail)
{
    struct buf bytes;
    enum err e;

    buf_init(&bytes, REQUEST_MAX);
    e = event_list_request_write(asked, &bytes);
    if (e)
        err_set(detail, e, "no memory to ask for events");
    else
        e = event_call(g, EVENT_LIST_METHOD, buf_view(&bytes), answer, detail);
    buf_free(&bytes);
    return e;
}

/* ---- the answer ---- */

/* RFC 3986, section 2.3: what may stand in a query as it is. */
static void add_encoded(struct buf *out, struct view v)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (size_t i = 0; i < v.len; i++) {
        if (v.data[i] && strchr(plain, v.data[i]))
            buf_add(out, &v.data[i], 1);
        else
            buf_add_format(out, "%%%02X", (unsigned char)v.data[i]);
    }
}

/* Link: <the same query with the next token>; rel="next" (RFC 8288). One that gets too long is left
 * out: the page has the token too. */
static void add_link(const struct http_request *request, struct view token,
                     struct http_response *response)
{
    struct buf link;
    struct view value;

    buf_init(&link, LINK_MAX);
    buf_add_text(&link, "<" PATH "?");
    for (const char *const *name = parameters; *name; name++) {
        if (strcmp(*name, "page_token") == 0 || !http_query(request, *name, &value))
            continue;
        buf_add_format(&link, "%s=", *name);
        add_encoded(&link, value);
        buf_add_text(&link, "&");
    }
    buf_add_text(&link, "page_token=");
    add_encoded(&link, token);
    buf_add_text(&link, ">; rel=\"next\"");
    if (!buf_failed(&link))
        http_add_header(response, "Link", buf_view(&link));
    buf_free(&link);
}

static void write_page(const struct event_page *page, struct buf *out)
{
    buf_add_text(out, "{\"events\":[");
    for (size_t i = 0; i < page->count; i++) {
        buf_add_text(out, i > 0 ? ",\n" : "");
        event_document_write(&page->events[i], out);
    }
    buf_add_text(out, "]");
    if (page->next_page_token.len > 0) {
        buf_add_text(out, ",\"next_page_token\":");
        buf_add_json(out, page->next_page_token);
    }
    buf_add_format(out, ",\"position\":%llu}\n", (unsigned long long)page->position);
}

static enum err write_answer(const struct http_request *request, struct view answer,
                             struct http_response *response, struct err_detail *detail)
{
    struct event_status_holder *holder = NULL;
    struct event_page page;
    enum err e = event_page_read(answer, &holder, &page);

    if (e)
        return event_call_unreadable(e, detail);
    if (page.next_page_token.len > 0)
        add_link(request, page.next_page_token, response);
    write_page(&page, &response->body);
    event_status_holder_free(holder);
    return ERR_NONE;
}

enum err get_events(struct http_request *request, struct http_response *response,
                    struct err_detail *detail, void *ctx)
{
    struct event_list_request asked = {0};
    struct buf answer;
    enum err e = read_request(request, &asked, detail);

    if (e)
        return e;
    buf_init(&answer, RPC_ANSWER_MAX);
    e = ask(ctx, &asked, &answer, detail);
    if (!e)
        e = write_answer(request, buf_view(&answer), response, detail);
    buf_free(&answer);
    return e;
}
