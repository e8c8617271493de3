/* A gateway, and a processor that says about events what it is told; for tests of the gateway's
 * calls.
 */
#ifndef TESTS_STATUS_PEER_H
#define TESTS_STATUS_PEER_H

#include "common/event_query.h"
#include "http-gateway/gateway.h"
#include "tests/lib/raw_client.h"

#define STATUS_PEER_ID "01890a5d-ac96-774b-bcce-b302099a8057"
#define STATUS_PEER_SOURCE "/the default" /* the gateway's --source */

enum {
    STATUS_PEER_FOLLOWERS = 4,      /* its --max-followers */
    STATUS_PEER_MAX_WAIT_S = 30,    /* its --max-wait */
    STATUS_PEER_KEEPALIVE_MS = 1000 /* its --stream-keepalive */
};

/* For cmocka: one for all tests of a program. */
int status_peer_start(void **state);
int status_peer_stop(void **state);
/* From now on the gateway asks there. */
void status_peer_use(const char *target);
void status_peer_set_health(bool serving);
uint16_t status_peer_port(void); /* the gateway's */
uint16_t status_peer_processor_port(void);

/* What the processor was asked last. */
struct status_question {
    char id[1024], source[1024];
    bool full;
    uint64_t position;
};
struct status_question status_peer_asked(void);

/* How it answers from now on: with an error, or a status (NULL: the one before). The texts must
 * stay. */
void status_peer_answer(enum err e, const char *message, const struct event_status *status);
/* The page that it answers lists with, and what was asked for; views stay until the next list. */
void status_peer_page(const struct event_page *page);
struct event_list_request status_peer_listed(void);
/* A processed event, in brief. */
struct event_status status_peer_basic(void);

/* Requests to the gateway; what it has answered: */
extern struct raw_reply status_peer_reply;
void status_peer_get(const char *path);
/* `headers`: whole lines. */
void status_peer_send(const char *method, const char *path, const char *headers);
/* The reply's member of that name: a string's value, or "" if it is no string or absent. */
const char *status_peer_member(const char *name);
void status_peer_must_be(int status);

#endif
