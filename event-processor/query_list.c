/* Lists of events, a page at a time.
 *
 *     asked --- (the table is behind) ---> waits for a look ---> waits for the lister ---> listed
 *
 * A page goes down the event log's positions, so what arrives meanwhile is on no later page. Its
 * token says where the next one begins and where the last one ends; times are looked up once.
 */
#include "event-processor/query_lookup.h"

#include "common/config.h"
#include "common/mem.h"
#include "event-processor/event_find.h"
#include "event-processor/handlers.h"
#include "event-processor/page_token.h"

enum {
    SLICE_CELLS = 16384,  /* looked at while the table is locked */
    PAGE_CELLS = 1 << 20, /* looked at for one page: then it ends short */
    NAME_CELLS = 4096,    /* what reading a name from the event log counts as */
    MEMO = 256,
};

struct list {
    struct waiter waiter;
    struct query_list_ask ask; /* its views are of `text` */
    size_t page_size;
    struct page_token token; /* what is to be listed; next 0: not known yet */
    /* The lister's: */
    char pattern[EVENT_NAME_MAX + 1];
    struct {
        const char *name;
        bool matches;
    } memo[MEMO]; /* of names seen, by their address: each is kept once */
    uint64_t cells;
    struct status_reflects reflects; /* of the first slice */
    struct status_entry *entries;
    struct event_status *events;
    size_t count;
    char text[];
};

static const char rebuilding[] = "this processor reads its logs anew; try again";
static const char unreadable[] = "the event log cannot be read now; try again";

/* ---- life ---- */

static void list_free(struct list *list)
{
    mem_free(list->entries);
    mem_free(list->events);
    mem_free(list);
}

static void end(struct query *query, struct list *list, enum err e, const char *message,
                const struct event_page *page)
{
    query_count(query, e, 1);
    list->ask.done(list->ask.ctx, e, message, page);
    list_free(list);
}

static struct view add_text(char **at, struct view text)
{
    struct view copy = {*at, text.len};
    if (text.len > 0)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return copy;
}

static const struct waiter_kind list_kind;

/* NULL: no memory. */
static struct list *list_new(const struct query *query, const struct query_list_ask *ask)
{
    const struct event_list_request *request = &ask->request;
    struct list *list = mem_zero(1, sizeof *list + request->name.len + request->page_token.len);
    if (!list)
        return NULL;
    char *at = list->text;
    list->waiter =
        (struct waiter){.kind = &list_kind, .until = query_patience(query, ask->timeout_ms)};
    list->ask = *ask;
    list->ask.request.name = add_text(&at, request->name);
    list->ask.request.page_token = add_text(&at, request->page_token);
    if (request->name.len > 0)
        memcpy(list->pattern, request->name.data, request->name.len);
    list->page_size = request->page_size ? request->page_size : EVENT_PAGE_DEFAULT;
    return list;
}

/* ---- which cells ---- */

/* Called with the table's lock held. Names that only the event log knows are looked up later. */
static bool name_matches(void *ctx, struct view name)
{
    struct list *list = ctx;
    size_t slot = (uintptr_t)name.data / 16 % MEMO;
    if (list->memo[slot].name != name.data) {
        struct status_entry entry = {.name = name};
        list->memo[slot].name = name.data;
        list->memo[slot].matches =
            !event_find_knows_name(&entry) || handlers_match(list->pattern, name);
    }
    return list->memo[slot].matches;
}

static struct event_find find_of(const struct query *query)
{
    return (struct event_find){.event_log = query->use.event_log,
                               .event_stream = query->use.event_stream,
                               .ns = query->use.ns,
                               .table = query->use.table};
}

/* The positions between the times of a list's first page. */
static enum err find_bounds(const struct query *query, struct list *list)
{
    const struct event_list_request *request = &list->ask.request;
    struct event_find find = find_of(query);
    struct status_reflects reflects;
    status_table_reflects(query->use.table, &reflects);
    uint64_t first = 1, end_position = reflects.event_position + 1;
    enum err e = ERR_NONE;
    if (request->accepted_since_ms != 0)
        e = event_find_time(&find, request->accepted_since_ms, first, end_position - 1, &first);
    if (!e && request->accepted_until_ms != 0 && first < end_position)
        e = event_find_time(&find, request->accepted_until_ms, first, end_position - 1,
                            &end_position);
    list->token.next = end_position - 1;
    list->token.last = first;
    return e;
}

/* Takes out those whose name, known to the event log only, does not match: from `from` on. */
static enum err drop_strangers(const struct query *query, struct list *list, size_t from)
{
    struct event_find find = find_of(query);
    size_t kept = from;
    for (size_t i = from; i < list->count; i++) {
        bool matches = true;
        if (list->pattern[0] && !event_find_knows_name(&list->entries[i])) {
            enum err e = event_find_name(&find, list->pattern, &list->entries[i], &matches);
            if (e)
                return e;
            list->cells += NAME_CELLS;
        }
        if (matches)
            list->entries[kept++] = list->entries[i];
    }
    list->count = kept;
    return ERR_NONE;
}

/* ERR_STALE: the table was rebuilt meanwhile. */
static enum err fill(const struct query *query, struct list *list)
{
    unsigned statuses = list->ask.request.statuses;
    struct status_scan scan = {.statuses = statuses ? statuses : ~1u,
                               .matches = list->pattern[0] ? name_matches : NULL,
                               .ctx = list,
                               .next = list->token.next,
                               .last = list->token.last};
    bool first = true;
    while (list->count < list->page_size && scan.next >= scan.last && list->cells < PAGE_CELLS) {
        struct status_reflects reflects;
        size_t from = list->count;
        list->count += status_table_scan(query->use.table, &scan, SLICE_CELLS, list->entries + from,
                                         list->page_size - from, &list->cells, &reflects);
        if (first)
            list->reflects = reflects;
        if (reflects.epoch != list->reflects.epoch)
            return ERR_STALE;
        first = false;
        enum err e = drop_strangers(query, list, from);
        if (e)
            return e;
    }
    list->token.next = scan.next;
    return ERR_NONE;
}

/* ---- the lister ---- */

static void answer(struct query *query, struct list *list)
{
    char token[PAGE_TOKEN_SIZE] = "";
    uint64_t position = list->reflects.status_position;
    for (size_t i = 0; i < list->count; i++)
        list->events[i] = query_basic(&list->entries[i], position);
    uint64_t kept = list->reflects.first_event_position;
    if (list->token.next >= list->token.last && list->token.next >= kept)
        page_token_write(&list->token, &list->ask.request, token);
    struct event_page page = {.events = list->events,
                              .count = list->count,
                              .next_page_token = view_of(token),
                              .position = position};
    end(query, list, ERR_NONE, "", &page);
}

static void make(struct query *query, struct list *list)
{
    uint64_t ready = follower_ready(query->use.follower);
    enum err e = list->token.next == 0 ? find_bounds(query, list) : ERR_NONE;
    if (!e && list->token.next >= list->token.last)
        e = fill(query, list);
    else if (!e)
        status_table_reflects(query->use.table, &list->reflects);
    if (!e && (ready == 0 || list->reflects.epoch != ready))
        e = ERR_STALE;
    if (!e)
        answer(query, list);
    else if (e == ERR_MEMORY)
        end(query, list, e, "out of memory", NULL);
    else
        end(query, list, ERR_UNAVAILABLE, e == ERR_STALE ? rebuilding : unreadable, NULL);
}

void *query_run_lister(void *arg)
{
    struct query *query = arg;
    struct list *list;
    while ((list = (struct list *)query_take(query, &query->to_list)) != NULL) {
        if (list->waiter.kind->gone(&list->waiter))
            end(query, list, ERR_CANCELLED, "the caller has gone away", NULL);
        else if (wait_left_ms(list->waiter.until) == 0)
            end(query, list, ERR_UNAVAILABLE, "the list was not made in time; try again", NULL);
        else
            make(query, list);
    }
    return NULL;
}

/* ---- waiting ---- */

/* The page's memory is taken now only: thousands of lists may wait for a look. */
static void wait_for_lister(struct query *query, struct list *list)
{
    list->entries = mem_zero(list->page_size, sizeof *list->entries);
    list->events = mem_zero(list->page_size, sizeof *list->events);
    if (list->entries && list->events)
        query_wait_for_lister(query, &list->waiter);
    else
        end(query, list, ERR_MEMORY, "out of memory", NULL);
}

static bool list_passed(struct query *query, struct waiter *waiter,
                        const struct follower_target *target, uint64_t epoch)
{
    struct list *list = (struct list *)waiter;
    struct status_reflects reflects;
    struct err_detail detail;
    status_table_reflects(query->use.table, &reflects);
    if (reflects.epoch != epoch)
        return false;
    if (query_is_beyond(list->ask.request.min_position, target, &detail))
        end(query, list, ERR_OUT_OF_RANGE, detail.text, NULL);
    else
        wait_for_lister(query, list);
    return true;
}

static void list_fail(struct query *query, struct waiter *waiter, enum err e, const char *message)
{
    end(query, (struct list *)waiter, e, message, NULL);
}

static bool list_gone(const struct waiter *waiter)
{
    const struct list *list = (const struct list *)waiter;
    return list->ask.gone && list->ask.gone(list->ask.ctx);
}

static const struct waiter_kind list_kind = {list_passed, list_fail, list_gone};

/* ---- asking ---- */

static enum err check(const struct event_list_request *request, struct page_token *ret_token,
                      struct err_detail *detail)
{
    if (request->name.len > 0 && !config_is_pattern(request->name))
        return err_set(detail, ERR_INVALID,
                       "name '%.*s' is no pattern of names; examples are order.created, order.*, "
                       "order.> and >",
                       request->name.len < EVENT_NAME_MAX ? (int)request->name.len : EVENT_NAME_MAX,
                       request->name.data);
    if (request->accepted_since_ms != 0 && request->accepted_until_ms != 0 &&
        request->accepted_since_ms >= request->accepted_until_ms)
        return err_set(detail, ERR_INVALID,
                       "accepted_since must be before accepted_until: nothing can match");
    if (request->page_size > EVENT_PAGE_MAX)
        return err_set(detail, ERR_INVALID, "page_size %u is too large; at most %d are allowed",
                       (unsigned)request->page_size, EVENT_PAGE_MAX);
    if (request->page_token.len > 0 && !page_token_read(request, ret_token))
        return err_set(detail, ERR_INVALID,
                       "page_token is not one of this list: a page goes on with the "
                       "next_page_token of the page before and the same statuses, name and times");
    return ERR_NONE;
}

static void refuse(struct query *query, const struct query_list_ask *ask, enum err e,
                   const char *message)
{
    query_count(query, e, 1);
    ask->done(ask->ctx, e, message, NULL);
}

static void begin(struct query *query, struct list *list)
{
    struct status_reflects reflects;
    uint64_t ready = follower_ready(query->use.follower);
    status_table_reflects(query->use.table, &reflects);
    if (reflects.epoch == ready && reflects.status_position >= list->ask.request.min_position) {
        wait_for_lister(query, list);
    } else {
        metric_add(query->misses, 1);
        query_wait_for_look(query, &list->waiter);
    }
}

void query_list(struct query *query, const struct query_list_ask *ask)
{
    struct err_detail detail;
    struct page_token token = {0};
    enum err e = check(&ask->request, &token, &detail);
    if (e) {
        refuse(query, ask, e, detail.text);
        return;
    }
    struct list *list = list_new(query, ask);
    if (!list) {
        refuse(query, ask, ERR_MEMORY, "out of memory");
        return;
    }
    list->token = token;
    begin(query, list);
}
