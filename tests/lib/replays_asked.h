/* Replays that are asked for at a processor on a bus in memory, and its answers.
 */
#ifndef TESTS_REPLAYS_ASKED_H
#define TESTS_REPLAYS_ASKED_H

#include "tests/lib/mem_processor.h"

#include <stdatomic.h>

struct replay_answer {
    atomic_bool come;
    enum err e;
    char message[512];
    bool has_id;
    struct event_id id;
    char id_text[ID_TEXT_SIZE];
    enum replay_state state;
    uint64_t replayed, skipped, event_position, position;
    char processor[32], name[64];
    unsigned statuses;
    size_t event_id_count;
};

/* Asks and waits for the answer. */
void replay_start(struct one *one, const struct replay_request *request,
                  struct replay_answer *answer);
void replay_get(struct one *one, const char *id, struct replay_answer *answer);
void replay_cancel(struct one *one, const char *id, struct replay_answer *answer);
/* Does not wait. */
void replay_ask(struct one *one, enum replay_wish wish, const struct replay_request *request,
                const char *id, struct replay_answer *answer);
/* The same; done and ctx are set here. */
void replay_ask_with(struct one *one, struct replay_ask ask, struct replay_answer *answer);

#endif
