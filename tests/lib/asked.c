#include "tests/lib/asked.h"

#include "tests/lib/unit.h"
#include "tests/lib/until.h"

#include <stdio.h>

/* ---- a replica that is asked ---- */

size_t asked_changes_kept = CHANGES_KEPT;

static void asked_start(struct asked *asked)
{
    assert_int_equal(changes_new(asked_changes_kept, &asked->changes), ERR_NONE);
    assert_int_equal(metrics_new(&asked->metrics), ERR_NONE);
    assert_int_equal(status_table_new(&asked->table), ERR_NONE);
    assert_int_equal(follower_start(&(struct follower_options){.event_log = asked->world.events,
                                                               .event_stream = MEM_WORLD_STREAM,
                                                               .ns = MEM_WORLD_NS,
                                                               .status_log = asked->world.statuses,
                                                               .table = asked->table,
                                                               .changes = asked->changes,
                                                               .metrics = asked->metrics},
                                    &asked->follower),
                     ERR_NONE);
    assert_int_equal(query_start(&(struct query_options){.event_log = asked->world.events,
                                                         .event_stream = MEM_WORLD_STREAM,
                                                         .ns = MEM_WORLD_NS,
                                                         .source = "/test",
                                                         .status_log = asked->world.statuses,
                                                         .follower = asked->follower,
                                                         .table = asked->table,
                                                         .metrics = asked->metrics},
                                 &asked->query),
                     ERR_NONE);
}

int asked_begin(void **state)
{
    static struct asked asked;
    mem_world_open(&asked.world);
    asked_start(&asked);
    *state = &asked;
    return 0;
}

void asked_stop(struct asked *asked)
{
    mem_world_open_gate(&asked->world);
    follower_stop(asked->follower);
    query_stop(asked->query);
    asked->query = NULL;
}

int asked_end(void **state)
{
    struct asked *asked = *state;
    asked_stop(asked);
    follower_free(asked->follower);
    status_table_free(asked->table);
    changes_free(asked->changes);
    metrics_free(asked->metrics);
    mem_world_close(&asked->world);
    return 0;
}

void until_ready(struct asked *asked)
{
    assert_until(follower_ready(asked->follower) != 0);
}

/* ---- one answer ---- */

void asked_on_answer(void *ctx, enum err e, const char *message, const struct event_status *status)
{
    struct answer *answer = ctx;
    answer->e = e;
    snprintf(answer->message, sizeof answer->message, "%s", message);
    if (!e) {
        answer->state = status->state;
        answer->event_position = status->event_position;
        answer->position = status->position;
        answer->history_count = status->history_count;
        answer->time_ms = status->time_ms;
        snprintf(answer->name, sizeof answer->name, "%.*s", (int)status->name.len,
                 status->name.data);
        snprintf(answer->payload, sizeof answer->payload, "%.*s", (int)status->payload.len,
                 status->payload.data ? status->payload.data : "");
        int used =
            snprintf(answer->more, sizeof answer->more, "%.*s, %.*s, ", (int)status->subject.len,
                     status->subject.data, (int)status->dataschema.len, status->dataschema.data);
        for (size_t i = 0; i < status->extension_count; i++)
            used +=
                snprintf(answer->more + used, sizeof answer->more - (size_t)used, "%.*s=%.*s ",
                         (int)status->extensions[i].name.len, status->extensions[i].name.data,
                         (int)status->extensions[i].value.len, status->extensions[i].value.data);
        for (size_t i = 0; i < status->history_count; i++) {
            const struct event_status_change *change = &status->history[i];
            size_t len = strlen(answer->words);
            snprintf(answer->words + len, sizeof answer->words - len, "%s%s", i ? " " : "",
                     status_word(change->state.status));
            snprintf(answer->error, sizeof answer->error, "%.*s", (int)change->error.len,
                     change->error.data ? change->error.data : "");
        }
    }
    atomic_store(&answer->come, true);
}

void ask_for(struct asked *asked, const struct event_status_request *request, int64_t timeout_ms,
             struct answer *answer)
{
    *answer = (struct answer){.e = ERR_NONE};
    query_ask(asked->query, &(struct query_ask){.request = *request,
                                                .timeout_ms = timeout_ms,
                                                .done = asked_on_answer,
                                                .ctx = answer});
    answer->synchronous = atomic_load(&answer->come);
}

void ask(struct asked *asked, const char *id, bool full, uint64_t min_position, int64_t timeout_ms,
         struct answer *answer)
{
    ask_for(asked,
            &(struct event_status_request){
                .event_id = view_of(id), .full = full, .min_position = min_position},
            timeout_ms, answer);
}

/* A producer's id, and its source; the texts are gone while the answer is waited for. */
void ask_producer(struct asked *asked, const char *id, const char *source, bool full,
                  struct answer *answer)
{
    char texts[2][EVENT_SOURCE_MAX + 2];
    snprintf(texts[0], sizeof texts[0], "%s", id);
    snprintf(texts[1], sizeof texts[1], "%s", source);
    ask_for(asked,
            &(struct event_status_request){
                .event_id = view_of(texts[0]), .source = view_of(texts[1]), .full = full},
            PATIENCE_MS, answer);
    memset(texts, '!', sizeof texts);
    assert_until(atomic_load(&answer->come));
}

void ask_and_wait(struct asked *asked, const struct event_id *id, bool full, uint64_t min_position,
                  struct answer *answer)
{
    char text[ID_TEXT_SIZE];
    id_format(id, text);
    ask(asked, text, full, min_position, PATIENCE_MS, answer);
    assert_until(atomic_load(&answer->come));
}
