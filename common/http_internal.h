/* What the http*.c files share. The life of a request:
 *
 *   civetweb's thread -> http.c (callbacks) -> http_serve.c -> http_verify.c   is it sound?
 *                                                              http_route.c    whose is it?
 *                                                              http_accept.c   will it be taken?
 *                                                              the handler     http_request.c reads
 *                                                              http_stream.c   sends bit by bit
 *                                                              http_problem.c  if it failed
 *                                                              http_response.c the one writer
 *                                                              http_meters.c, http_access.c
 *   beside it, on a thread of its own: http_watch.c            deadlines, idle connections
 */
#ifndef TIDINGS_HTTP_INTERNAL_H
#define TIDINGS_HTTP_INTERNAL_H

#include "common/http.h"
#include "common/id.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

struct mg_connection;
struct mg_context;
struct mg_request_info;

#define HTTP_PARAMETERS_MAX 4
#define HTTP_QUERY_MAX 16
#define HTTP_REQUEST_ID_MAX 128
/* civetweb's, a connection: room for headers beyond what is allowed, so that most get an answer
 * that says so. */
/* With some bytes over, so that allocators that have sizes of powers of two and nothing between two
 * allocations leave some that no client fills: see http_verify.c. */
#define HTTP_BUFFER_SIZE (4 * HTTP_HEADER_MAX + 64)

enum http_framing { HTTP_NO_BODY, HTTP_LENGTH, HTTP_CHUNKED };

struct http_pair {
    struct view name, value;
};

struct http_request {
    struct http_worker *worker;
    struct mg_connection *conn;
    const struct mg_request_info *info; /* civetweb's parse */
    struct view method, path;
    struct view query_text;         /* as sent; empty if there is none */
    const struct http_route *route; /* NULL: none matches */
    int64_t started_us;             /* monotonic */
    int64_t deadline_ms;            /* monotonic; by then all of it must have arrived */
    bool sound;                     /* the header has been verified */
    bool close;                     /* the connection ends with the answer */
    bool continue_due;              /* the client waits for 100 before it sends the body */
    bool body_left;                 /* unread bytes of this request may be on the connection */
    bool broken;                    /* nothing more of such an answer can be sent */
    int fd;                         /* the connection's socket, once it was looked for; else -1 */
    enum err problem;               /* what it was refused for; ERR_NONE: it was not */
    uint64_t body_received;         /* bytes of the body so far, without the chunks' frames */
    uint64_t body_sent;             /* bytes of the answer's body */
    bool answering;                 /* the answer is written piece by piece */
    bool failed;                    /* the handler has */
    const char *body_at;            /* in civetweb's buffer, behind the header */
    size_t header_size;             /* bytes, with what may stand before the request line */
    struct http_stream *stream;     /* http_stream.h; NULL: the body is not read piece by piece */
    enum http_framing framing;
    uint64_t content_length;
    struct view parameters[HTTP_PARAMETERS_MAX];
    size_t parameter_count;
    struct http_pair query[HTTP_QUERY_MAX];
    size_t query_count;
    size_t request_id_len;
    char request_id[HTTP_REQUEST_ID_MAX];
};

/* One connection thread and what it keeps from one request to the next, so that a request
 * allocates nothing. Owned by its thread, but for the atomics. */
struct http_worker {
    struct http_server *server;
    /* The connection's phase and a moment: http_watch.c, its only reader and writer. */
    _Atomic uint64_t state;
    _Atomic uint64_t peer; /* whose connection it is: http_watch.c */
    bool was_cut;          /* the watch has shut down the connection */
    bool refused;          /* http_serve_error has answered, and the connection ends */
    bool admitted;         /* counts among options.connections */
    const char *buffer;    /* where civetweb reads headers to: http_verify.c */
    uint64_t consumed;     /* bytes of the connection's requests before this one */
    struct http_request request;
    struct http_response response;
    struct buf body;    /* the request's */
    struct buf decoded; /* parameters of path and query */
    struct buf out;     /* the reply, as it goes out */
    int64_t date_second;
    char date[80]; /* of that second */
};

struct http_watch {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* the watch's: there is something to do */
    pthread_cond_t emptied; /* a connection has ended while draining */
    bool running;
    bool stopping;
    bool make_room;
    bool blind;            /* descriptors could not be looked through; said once */
    int64_t next_look_ms;  /* for slow headers on kept-alive connections */
    DIR *descriptors;      /* this process's; under the lock */
    struct http_cut *cuts; /* room for one a worker */
};

struct http_meters; /* http_meters.c */
struct http_stream; /* http_stream.c */

struct http_server {
    struct http_options options;
    struct mg_context *civetweb;
    uint16_t port;
    int stand_in; /* an event descriptor, for the listening socket's place at the end */
    struct http_worker *workers;
    uint32_t worker_count;
    _Atomic uint32_t workers_started;
    _Atomic uint32_t in_use;   /* connections that have a thread */
    _Atomic uint32_t admitted; /* those of them that are served */
    _Atomic bool draining;
    _Atomic int64_t streams_end_ms; /* by then no body is read on any more */
    _Atomic bool starting;
    _Atomic bool threads_missing; /* civetweb could not start all */
    struct http_watch watch;
    struct http_meters *meters; /* NULL: none */
    char start_error[256];      /* civetweb's last words while starting */
};

int64_t http_now_ms(void);
int64_t http_now_us(void);

/* ---- http_watch.c: connections' phases, deadlines and ends ---- */

enum http_phase {
    HTTP_FREE,    /* no connection */
    HTTP_OPENING, /* waiting for a new connection's first request; moment: its deadline */
    HTTP_IDLE,    /* kept alive, waiting for the next request; moment: since when */
    HTTP_READING, /* moment: the deadline */
    HTTP_WORKING, /* in the handler */
    HTTP_WRITING, /* moment: the deadline */
    /* set by the watch only: */
    HTTP_ARRIVING, /* was idle, and its next request has begun to arrive; moment: its deadline */
    HTTP_CUT       /* has been shut down */
};

/* Before the first connection. ERR_MEMORY. ERR_UNAVAILABLE: this process's descriptors cannot be
 * looked through, or none is left. */
must_check enum err http_watch_init(struct http_server *server, struct err_detail *detail);
/* Once the port is known. ERR_UNAVAILABLE: no thread. */
must_check enum err http_watch_start(struct http_server *server);
void http_watch_stop(struct http_server *server); /* undoes both */
/* The worker's connection begins, enters another phase, ends. http_watch_enter returns false, once
 * and for all phases that follow, if the watch has cut the connection: nothing more will arrive. */
void http_watch_open(struct http_worker *worker);
/* The descriptor of the worker's connection, the thread's own; negative: it cannot be found, or not
 * be told from another one. */
int http_watch_socket(struct http_worker *worker);
/* Whose connection it is; civetweb tells with the first request. */
void http_watch_identify(struct http_worker *worker, const char *address, int port);
bool http_watch_enter(struct http_worker *worker, enum http_phase phase, int64_t moment_ms);
void http_watch_close(struct http_worker *worker);
/* The moment of the present phase. */
int64_t http_watch_moment(const struct http_worker *worker, enum http_phase *ret_phase);
/* Waits on one of the watch's conditions, at most so long. */
void http_watch_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ms);

/* ---- http_drain.c: the end ---- */

/* Takes the listening socket away from civetweb, waits until no connection is left, and makes
 * civetweb's accept loop look at its stop flag. False: some were left after drain_ms. */
bool http_drain_connections(struct http_server *server, int64_t drain_ms);

/* ---- the steps of a request ---- */

/* http_serve.c */
int http_serve(struct mg_connection *conn);
int http_serve_error(struct mg_connection *conn, int status, const char *message);
/* Before the connection is closed: answers the last request if civetweb has not let us. */
void http_serve_dropped(struct mg_connection *conn);

/* http_verify.c: is the header what RFC 9112 allows and what civetweb understood? Sets framing. */
must_check enum err http_verify(struct http_request *r, struct err_detail *detail);

/* http_request.c */
void http_request_begin(struct http_worker *worker, struct mg_connection *conn);
/* The same for what civetweb has refused: its parser may have stopped anywhere, and each piece of
 * the request line is only ended once the next one has begun. */
void http_request_begin_refused(struct http_worker *worker, struct mg_connection *conn);
/* Sends 100 if the client waits for it. */
void http_request_continue(struct http_request *r);
/* Whether the comma-separated header holds the token. */
bool http_header_has(struct view header, struct view token);
/* Reads and forgets what is left of the body, at most `limit` bytes and until the deadline. */
void http_request_discard(struct http_request *r, uint64_t limit, int64_t deadline_ms);
/* Decodes path parameters and query into the worker's memory. ERR_MEMORY. ERR_INVALID: the query
 * has more than HTTP_QUERY_MAX parameters. */
must_check enum err http_request_decode(struct http_request *r, const struct view *raw_parameters,
                                        size_t count, struct err_detail *detail);

/* http_route.c: finds the route, or answers OPTIONS by itself (*ret_done). */
must_check enum err http_route_find(struct http_request *r, struct http_response *response,
                                    bool *ret_done, struct err_detail *detail);
/* ERR_METHOD, with Allow. */
must_check enum err http_route_refuse_method(struct http_request *r, struct http_response *response,
                                             struct err_detail *detail);

/* http_accept.c: whether Accept takes an answer of one of those types, which commas separate, or a
 * problem document at least. */
bool http_accepts(const struct http_request *r, const char *types);

/* http_cors.c: adds to the answer to OPTIONS what a browser asks before a request of another
 * origin's page. */
void http_cors_preflight(const struct http_request *r, struct http_response *response,
                         const char *methods);
/* The header lines of any answer that let such a page read it. */
void http_cors_write(const struct http_request *r, struct buf *out);

/* http_response.c */
void http_response_begin(struct http_worker *worker);
/* The one place that writes replies: one write, header and body; or the end of one that is written
 * piece by piece, unless the handler has failed: then it is cut off. */
void http_response_write(struct http_request *r);
const char *http_reason(int status);
/* When what is written from now on must have been taken. */
int64_t http_write_deadline(const struct http_request *r);

/* Appends the status line and the headers. */
void http_response_head(struct http_request *r, struct buf *out);

/* http_pieces.c: the end of an answer that was written piece by piece. */
void http_pieces_end(struct http_request *r);

/* http_problem.c: makes the response a problem document. */
void http_problem(struct http_request *r, enum err e, const struct err_detail *detail);

/* http_meters.c */
must_check enum err http_meters_new(struct http_server *server);
void http_meters_free(struct http_server *server);
void http_meters_count(const struct http_request *r, int status, int64_t duration_us);
void http_meters_accepted(struct http_server *server); /* a connection */
void http_meters_refused(struct http_server *server);  /* a connection beyond the limit */

/* http_access.c: the access log's line, if there is to be one */
void http_access_log(const struct http_request *r, int status, int64_t duration_us);

#endif
