/* An HTTP/1.1 server: routes, bounded requests, one place that writes replies. Built on civetweb,
 * which only http*.c know.
 *
 * civetweb gives each connection a thread: `connections` of them are served, `reserve` more are
 * answered 503 and closed. A handler runs on its connection's thread and may block. It fills the
 * response and returns ERR_NONE, or returns an error, of which this module makes a problem
 * document (RFC 9457). Every response has X-Request-Id: the request's if it is 1 to 128 characters
 * of [A-Za-z0-9._~:/+=-], else a new one; it is in the thread's log context while the handler runs.
 *
 * What a request must keep to, whatever the route: a header of at most HTTP_HEADER_MAX bytes with
 * at most 63 fields, one Host, lines that end in CRLF, a body framed by exactly one Content-Length
 * or by Transfer-Encoding: chunked, and all of it within request_timeout_ms. Anything else is
 * refused with a problem document, and the connection closed.
 */
#ifndef TIDINGS_HTTP_H
#define TIDINGS_HTTP_H

#include "common/metrics.h"

#define HTTP_HEADER_MAX 16384

struct http_server;
struct http_request;

struct http_response {
    int status;               /* 200 unless set */
    const char *content_type; /* "application/json" unless set */
    const char *caching;      /* Cache-Control; "no-store" unless set */
    struct buf body;          /* the thread's, empty, ready to be filled */
    struct buf headers;       /* more header lines; use http_add_header */
    struct buf members;       /* more members of a problem document; use http_add_member */
};
/* Adds "Name: value". A value that holds anything but printable ASCII (ours never do) is dropped
 * with an error log. */
void http_add_header(struct http_response *response, const char *name, struct view value);
/* Adds a string member to the problem document that an error will become, e.g. event_id. */
void http_add_member(struct http_response *response, const char *name, struct view value);
/* What a problem document says of an error: the members type, title, status and, unless it is
 * empty, detail, without braces; for answers that hold several problems. */
void http_add_problem(struct buf *out, enum err e, struct view detail);

typedef enum err (*http_handler)(struct http_request *request, struct http_response *response,
                                 struct err_detail *detail, void *ctx);

struct http_route {
    const char *method;  /* "GET" (also answers HEAD), "POST", "OPTIONS" */
    const char *pattern; /* "/api/v1/events/{id}": braces match one non-empty segment */
    http_handler handler;
    /* What it answers with, "application/json", or several with commas between them: a request
     * whose Accept excludes them (and problem documents) gets 406. NULL: Accept is not looked at.
     */
    const char *produces;
    /* Any other method on a known pattern: 405 with Allow; OPTIONS: 204 with Allow, to which a
     * route of that method may add. Any other path: 404 that names the known ones. */
};
#define HTTP_ROUTES_MAX 32

struct http_options {
    const char *listen;         /* host:port; port 0 takes a free one */
    uint32_t connections;       /* 1 to 4096 */
    uint32_t reserve;           /* 1 to 4096; more than a few dozen are of no use */
    uint64_t max_body;          /* bytes; more is 413 */
    int64_t request_timeout_ms; /* for a whole request to arrive, header and body; then 408;
                                        of the answer the client must take some
                                        within as long, all within six times that */
    int64_t idle_timeout_ms;    /* of a kept-alive connection */
    /* Origins whose pages may read answers (CORS), as http_cors_check takes them; NULL: none. */
    const char *cors_origins;
    const struct http_route *routes; /* ends with method NULL; must outlive the server */
    void *ctx;                       /* for handlers */
    struct metrics *metrics;         /* tidings_http_requests_total{method,route,code}, durations,
                                connections; NULL: none */
    /* The access log, a line a request when its answer has left ("request", of level info): of
     * those answered with a status from 400 on, */
    bool log_errors;
    /* and, if so, this share of the others, 0 to 1. Which they are is told by their request ids, so
     * that what one request does at several servers is logged by all of them or none. */
    double log_share;
    bool batch_scheduling; /* SCHED_BATCH for connection threads: fewer preemptions under load */
};

/* "none", "*" for any, or origins like https://app.example.com:8443 with commas between them.
 * ERR_INVALID: the detail says which is none, and what is allowed. */
must_check enum err http_cors_check(const char *origins, struct err_detail *detail);
/* Signals should be blocked by then: the connections' threads inherit the mask.
 * ERR_UNAVAILABLE: the address is taken or not ours, too few threads could be started, or the
 * process may not have enough open files (its soft limit is raised if need be); the detail says
 * which and, where it can be found out, by whom. ERR_INVALID: an option is out of its
 * bounds. ERR_MEMORY. */
must_check enum err http_start(const struct http_options *options, struct http_server **ret,
                               struct err_detail *detail);
uint16_t http_port(const struct http_server *server);
/* From now on answers carry `Connection: close`. Thread-safe. */
void http_drain(struct http_server *server);
/* Stops listening, closes idle connections, waits for requests in progress (each bounded by its
 * time-outs and its handler), frees. */
void http_stop(struct http_server *server);
/* The same, but waits at most so long; then what is in progress loses its answer (handlers are
 * still waited for). False: that has happened. */
bool http_stop_within(struct http_server *server, int64_t drain_ms);

/* Views of a request live as long as the request: until its handler returns. */
struct view http_method(const struct http_request *r);
struct view http_path(const struct http_request *r); /* as sent, percent-encoded, without query */
/* The first of that name; empty: absent. */
struct view http_header(const struct http_request *r, const char *name);
struct view http_parameter(const struct http_request *r,
                           size_t index); /* the index-th {…}, percent-decoded */
/* All of that name, one with each call; *at is 0 before the first. False: there are no more.
 * Several are one list (RFC 9110, section 5.3). */
bool http_header_next(const struct http_request *r, const char *name, int *at, struct view *ret);
/* The field at that index (from 0), in the order they came. False: there are no more. */
bool http_header_at(const struct http_request *r, size_t index, struct view *ret_name,
                    struct view *ret_value);
/* A query parameter, percent-decoded (+ is a space), the first of its name. False: absent. A
 * request with more than 16 of them is refused. */
bool http_query(const struct http_request *r, const char *name, struct view *ret);
/* Whether the query has only parameters of these names (the list ends with NULL), each once.
 * ERR_INVALID: the detail names the first that isn't so, and what is allowed. */
must_check enum err http_query_only(const struct http_request *r, const char *const *names,
                                    struct err_detail *detail);
/* Conditional requests (RFC 9110, section 13.1.2). Adds `ETag: tag`, lets caches keep the answer if
 * they ask before they use it, and says whether If-None-Match names that tag: then the response is
 * made a 304, and the handler has nothing more to do. `tag` is whole, W/ and quotes included; it is
 * compared weakly. */
bool http_not_modified(const struct http_request *r, struct http_response *response,
                       struct view tag);
struct view http_request_id(const struct http_request *r);
/* Reads the whole body: Content-Length or chunked (RFC 9112). ERR_TOO_LARGE, ERR_SLOW,
 * ERR_MALFORMED (bad chunk, early end), ERR_LENGTH_REQUIRED (a POST with neither), ERR_MEMORY.
 * A chunked body is whole with its last chunk: what stands behind it (trailers) is not looked at,
 * and the connection ends with the answer.
 * An unread body is drained or the connection closed. */
must_check enum err http_body(struct http_request *r, struct view *ret, struct err_detail *detail);

/* ---- bodies and answers of any length, or that take their time ---- */

/* Reads on in the body, in place of http_body: waits until some of it has arrived, and returns
 * that, at most `room` bytes; *ret is 0 at its end. The connection ends with the answer.
 * ERR_SLOW: nothing within timeout_ms. ERR_MALFORMED (bad chunk, early end), ERR_LENGTH_REQUIRED.
 * ERR_UNAVAILABLE: the server is being stopped; what comes slowly, or lasts too long, is not read
 * to its end then. ERR_MEMORY. */
must_check enum err http_body_read(struct http_request *r, int64_t timeout_ms, char *to,
                                   size_t room, size_t *ret, struct err_detail *detail);
/* Whether the client has closed its end, or can take nothing more; cheap, for handlers that wait
 * for something to look now and then. False if that cannot be told. */
bool http_client_gone(struct http_request *r);
/* Whether the server is about to stop: what waits should come to its end. */
bool http_draining(const struct http_request *r);
/* Writes a piece of the answer; the first one goes behind a header made of the response's status,
 * content_type and headers, and may be empty. The connection ends with the answer. A handler that
 * has begun so and then returns an error has its answer cut off, in a way that the client notices.
 * Waits for a client that takes nothing, at most request_timeout_ms. ERR_CANCELLED: nothing more is
 * to be sent: it has gone, has taken too long, or the request was a HEAD. ERR_MEMORY. */
must_check enum err http_answer(struct http_request *r, struct view piece);
/* For answers that last: has the kernel keep little for a client that does not take it, so that
 * http_answer soon says so. Before the first piece. */
void http_answer_lasts(struct http_request *r);

/* Ready-made handlers for both services. */
struct http_probe { /* what /ready says: {"ready":true,"reads":false,"checks":{"bus":"ok",…}} */
    const char *name;
    bool (*check)(void *ctx, struct err_detail *detail); /* false: not ready, why */
    bool advisory; /* its failure is reported but does not make the service unready */
    /* What works only while it passes, "reads": a member of the answer, true while all probes of
     * that name pass; NULL: none. */
    const char *serves;
};
#define HTTP_PROBES_MAX 8
/* Writes 200 or 503 by the probes, at most HTTP_PROBES_MAX; `probes` ends with name NULL. */
void http_write_ready(struct http_response *response, const struct http_probe *probes, void *ctx);
/* ERR_MEMORY. */
must_check enum err http_write_metrics(struct http_response *response,
                                       const struct metrics *metrics);

#endif
