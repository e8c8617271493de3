#include "tests/lib/replays_asked.h"

#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

enum { PATIENCE_MS = 25000 };

static void on_answer(void *ctx, enum err e, const char *message,
                      const struct replay_progress *progress)
{
    struct replay_answer *answer = ctx;
    answer->e = e;
    snprintf(answer->message, sizeof answer->message, "%s", message);
    if (!e) {
        answer->has_id = progress->has_id;
        answer->id = progress->id;
        id_format(&progress->id, answer->id_text);
        answer->state = progress->state;
        answer->replayed = progress->replayed;
        answer->skipped = progress->skipped;
        answer->event_position = progress->event_position;
        answer->position = progress->position;
        snprintf(answer->processor, sizeof answer->processor, "%.*s", (int)progress->processor.len,
                 progress->processor.data);
        snprintf(answer->name, sizeof answer->name, "%.*s", (int)progress->request.name.len,
                 progress->request.name.len ? progress->request.name.data : "");
        answer->statuses = progress->request.statuses;
        answer->event_id_count = progress->request.event_id_count;
    }
    atomic_store(&answer->come, true);
}

void replay_ask_with(struct one *one, struct replay_ask ask, struct replay_answer *answer)
{
    memset(answer, 0, sizeof *answer);
    ask.done = on_answer;
    ask.ctx = answer;
    replay_desk_ask(one->processor.desk, &ask);
}

void replay_ask(struct one *one, enum replay_wish wish, const struct replay_request *request,
                const char *id, struct replay_answer *answer)
{
    char text[64]; /* the id may be the answer's */
    snprintf(text, sizeof text, "%s", id);
    struct replay_ask ask = {.wish = wish, .replay_id = view_of(text), .timeout_ms = PATIENCE_MS};
    if (request)
        ask.request = *request;
    replay_ask_with(one, ask, answer);
}

void replay_start(struct one *one, const struct replay_request *request,
                  struct replay_answer *answer)
{
    replay_ask(one, REPLAY_START, request, "", answer);
    assert_until(atomic_load(&answer->come));
}

void replay_get(struct one *one, const char *id, struct replay_answer *answer)
{
    replay_ask(one, REPLAY_GET, NULL, id, answer);
    assert_until(atomic_load(&answer->come));
}

void replay_cancel(struct one *one, const char *id, struct replay_answer *answer)
{
    replay_ask(one, REPLAY_CANCEL, NULL, id, answer);
    assert_until(atomic_load(&answer->come));
}
