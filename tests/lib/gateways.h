/* Gateways on one bus in memory, served over HTTP as main.c does it; no processor behind them.
 */
#ifndef TESTS_GATEWAYS_H
#define TESTS_GATEWAYS_H

#include "common/bus_mem.h"
#include "common/event.h"
#include "http-gateway/gateway.h"
#include "tests/lib/raw_client.h"

#define GATEWAYS 2
#define GATEWAYS_SOURCE "/shop" /* their default source */

struct gateways {
    struct bus *bus;
    struct bus_log *events;
    struct gateway gateway[GATEWAYS];
    struct http_server *http[GATEWAYS];
};

/* What a test may want to be otherwise than usual; all zero: as usual. */
struct gateways_options {
    uint64_t log_bytes;     /* 0: unlimited */
    uint32_t max_in_flight; /* 0: 64 */
    int64_t timeout_ms;     /* of a request, and half of an idle connection's; 0: 10 s */
    char *webhook_origins;  /* NULL: none */
};

/* All of these fail the test if something goes wrong. */
void gateways_start(struct gateways *g, const struct gateways_options *options);
void gateways_stop(struct gateways *g);

/* Begins a POST of an event to one of them, with these header lines, each ended by CRLF; returns
 * the connection. */
int gateways_post_begin(const struct gateways *g, int which, const char *headers, const char *body);
/* The same with a body of any bytes. */
int gateways_post_bytes(const struct gateways *g, int which, const char *headers, struct view body);
/* The answer to it. */
void gateways_post_end(int fd, struct raw_reply *ret);
void gateways_post(const struct gateways *g, int which, const char *headers, const char *body,
                   struct raw_reply *ret);

/* A string member of the reply's document, copied to `text`. */
void gateways_member(const struct raw_reply *reply, const char *name, char text[512]);
uint64_t gateways_last_position(const struct gateways *g);
/* The event at a position; free the record. */
struct bus_record *gateways_event_at(const struct gateways *g, uint64_t position,
                                     struct event_text *text, struct event *ret);
/* The event_id of a producer's id, as text. */
void gateways_id_of(const char *source, const char *producer_id, char ret[ID_TEXT_SIZE]);
void gateways_assert_status(const struct raw_reply *reply, int status);
/* 202 for an event that is stored by the request, or was before. */
void gateways_assert_stored(const struct raw_reply *reply, const char *event_id);
void gateways_assert_duplicate(const struct raw_reply *reply, const char *event_id);
/* A problem document of that type (without its urn), with such words in its detail. */
void gateways_assert_problem(const struct raw_reply *reply, int status, const char *type,
                             const char *detail);
/* Whether the first gateway's /metrics have such a line, without its line end. */
bool gateways_has_metric(const struct gateways *g, const char *line);

#endif
