/* The messages of events.EventService that ask for many events or for changes: BatchGetEventStatus,
 * ListEvents, WatchEvent, WatchEvents. As plain structs, and their encoding; event_status.h says
 * what encoders and decoders do. How many ids there are, how large a page, and whether a request
 * makes sense, is not checked here.
 */
#ifndef TIDINGS_EVENT_QUERY_H
#define TIDINGS_EVENT_QUERY_H

#include "common/event_status.h"

#define EVENT_BATCH_MAX 1000 /* ids of one request */
#define EVENT_PAGE_MAX 1000
#define EVENT_PAGE_DEFAULT 100

#define EVENT_BATCH_METHOD "/events.EventService/BatchGetEventStatus"
#define EVENT_LIST_METHOD "/events.EventService/ListEvents"
#define EVENT_WATCH_METHOD "/events.EventService/WatchEvent"
#define EVENT_CHANGES_METHOD "/events.EventService/WatchEvents"

/* ---- BatchGetEventStatus ---- */

struct event_batch_request {
    const struct view *event_ids; /* as the caller wrote them */
    size_t event_id_count;
    struct view source; /* of producers' ids; empty: the default source */
    uint64_t min_position;
};
struct event_batch_result {
    struct view event_id; /* as it was asked for */
    enum err e;           /* read: ERR_NOT_FOUND, ERR_INVALID, ERR_UNAVAILABLE, or ERR_INTERNAL */
    struct view message;  /* if e isn't ERR_NONE */
    struct event_status status; /* if it is */
};
must_check enum err event_batch_request_write(const struct event_batch_request *request,
                                              struct buf *out);
/* ERR_INVALID: more than EVENT_BATCH_MAX event_ids, or more bytes than so many ids can take. */
must_check enum err event_batch_request_read(struct view bytes, struct event_status_holder **holder,
                                             struct event_batch_request *ret);
/* Statuses are written as BASIC. */
must_check enum err event_batch_write(const struct event_batch_result *results, size_t count,
                                      struct buf *out);
must_check enum err event_batch_read(struct view bytes, struct event_status_holder **holder,
                                     const struct event_batch_result **ret, size_t *ret_count);

/* ---- ListEvents ---- */

struct event_list_request {
    unsigned statuses;                            /* 1u << a status, added up; 0: all */
    struct view name;                             /* a pattern; empty: any */
    int64_t accepted_since_ms, accepted_until_ms; /* wall clock; 0: no bound */
    uint32_t page_size;                           /* 0: the default */
    struct view page_token;                       /* empty: the first page */
    uint64_t min_position;
};
struct event_page {
    const struct event_status *events; /* BASIC */
    size_t count;
    struct view next_page_token; /* empty: there is no more */
    uint64_t position;
};
must_check enum err event_list_request_write(const struct event_list_request *request,
                                             struct buf *out);
must_check enum err event_list_request_read(struct view bytes, struct event_status_holder **holder,
                                            struct event_list_request *ret);
must_check enum err event_page_write(const struct event_page *page, struct buf *out);
must_check enum err event_page_read(struct view bytes, struct event_status_holder **holder,
                                    struct event_page *ret);

/* ---- WatchEvent; it answers with EventStatus ---- */

/* `full` does not travel: it is BASIC. */
must_check enum err event_watch_request_write(const struct event_status_request *request,
                                              struct buf *out);
must_check enum err event_watch_request_read(struct view bytes, struct event_status_holder **holder,
                                             struct event_status_request *ret);

/* ---- WatchEvents ---- */

struct event_changes_request {
    unsigned statuses; /* 1u << a status, added up; 0: all */
    struct view name;  /* a pattern; empty: any */
    bool has_after;    /* false: from now on */
    uint64_t after_position;
};
struct event_changes {
    const struct event_status *changes; /* BASIC */
    size_t count;
    uint64_t position;
};
must_check enum err event_changes_request_write(const struct event_changes_request *request,
                                                struct buf *out);
must_check enum err event_changes_request_read(struct view bytes,
                                               struct event_status_holder **holder,
                                               struct event_changes_request *ret);
must_check enum err event_changes_write(const struct event_changes *changes, struct buf *out);
must_check enum err event_changes_read(struct view bytes, struct event_status_holder **holder,
                                       struct event_changes *ret);

#endif
