/* A gateway (gateway_peer.h), and a processor that says about replays what it is told.
 */
#ifndef TESTS_REPLAY_PEER_H
#define TESTS_REPLAY_PEER_H

#include "common/event_replay.h"
#include "tests/lib/gateway_peer.h"

#define REPLAY_PEER_ID "01890a5d-ac96-774b-bcce-b302099a8057"

/* For cmocka: one for all tests of a program. */
int replay_peer_start(void **state);
int replay_peer_stop(void **state);

/* What the processor was asked last. */
struct replay_question {
    const char *method; /* NULL: nothing was asked since replay_peer_answer */
    char first_id[1024], source[1024], name[256], replay_id[1024];
    size_t id_count;
    struct replay_request request; /* only its numbers: the views are gone */
    uint32_t page_size;
};
struct replay_question replay_peer_asked(void);

/* How it answers from now on: with an error, or bytes (if not NULL), or a replay (NULL: the one
 * before), which gets the id that a start asks for; a list has it twice. The texts must stay. */
void replay_peer_answer(enum err e, const char *message, const struct replay_progress *replay,
                        const char *bytes);

/* Requests to the gateway; `headers`: whole lines. */
void replay_peer_send(const char *line, const char *headers, const char *body);
void replay_peer_send_no_body(const char *line, const char *headers);

/* With REPLAY_PEER_ID, and every member set. */
struct replay_progress replay_peer_running(void);

#endif
