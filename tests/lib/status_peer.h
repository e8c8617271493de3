/* A gateway (gateway_peer.h), and a processor that says about events what it is told.
 */
#ifndef TESTS_STATUS_PEER_H
#define TESTS_STATUS_PEER_H

#include "common/event_query.h"
#include "tests/lib/gateway_peer.h"

#define STATUS_PEER_ID "01890a5d-ac96-774b-bcce-b302099a8057"

/* For cmocka: one for all tests of a program. */
int status_peer_start(void **state);
int status_peer_stop(void **state);

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

/* Requests to the gateway; `headers`: whole lines. */
void status_peer_get(const char *path);
void status_peer_send(const char *method, const char *path, const char *headers);

#endif
