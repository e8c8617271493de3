#include "tests/lib/replay_peer.h"

#include "tests/lib/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* What the processor was asked and what it answers; the test's thread and gRPC's take turns. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct replay_question question;
static enum err answer_error;
static const char *answer_message;
static struct replay_progress answer;
static const char *answer_bytes; /* in its place, if not NULL */

/* ---- the processor ---- */

static void copy(char *to, size_t size, struct view from)
{
    snprintf(to, size, "%.*s", (int)from.len, from.data ? from.data : "");
}

static void keep_request(const struct replay_request *r)
{
    question.id_count = r->event_id_count;
    copy(question.first_id, sizeof question.first_id,
         r->event_id_count > 0 ? r->event_ids[0] : (struct view){0});
    copy(question.source, sizeof question.source, r->source);
    copy(question.name, sizeof question.name, r->name);
    copy(question.replay_id, sizeof question.replay_id, r->replay_id);
    question.request = *r;
    if (id_parse(r->replay_id, &answer.id))
        answer.has_id = true;
}

/* With the lock. */
static void answer_one(struct rpc_call *call)
{
    struct buf out;

    buf_init(&out, RPC_ANSWER_MAX);
    if (answer_error)
        rpc_fail(call, answer_error, answer_message);
    else if (answer_bytes)
        rpc_reply(call, view_of(answer_bytes));
    else if (replay_progress_write(&answer, &out))
        rpc_fail(call, ERR_INTERNAL, "not a replay");
    else
        rpc_reply(call, buf_view(&out));
    buf_free(&out);
}

static void on_start(struct rpc_call *call, struct view bytes, void *ctx)
{
    struct event_replay_holder *holder = NULL;
    struct replay_request request;

    (void)ctx;
    pthread_mutex_lock(&lock);
    question.method = REPLAY_START_METHOD;
    if (replay_request_read(bytes, &holder, &request)) {
        rpc_fail(call, ERR_INTERNAL, "not a request");
    } else {
        keep_request(&request);
        answer_one(call);
        event_replay_holder_free(holder);
    }
    pthread_mutex_unlock(&lock);
}

static void take_id(struct rpc_call *call, const char *method, struct view bytes)
{
    struct event_replay_holder *holder = NULL;
    struct view id;

    pthread_mutex_lock(&lock);
    question.method = method;
    if (replay_id_read(bytes, &holder, &id)) {
        rpc_fail(call, ERR_INTERNAL, "not a request");
    } else {
        copy(question.replay_id, sizeof question.replay_id, id);
        answer_one(call);
        event_replay_holder_free(holder);
    }
    pthread_mutex_unlock(&lock);
}

static void on_get(struct rpc_call *call, struct view bytes, void *ctx)
{
    (void)ctx;
    take_id(call, REPLAY_GET_METHOD, bytes);
}

static void on_cancel(struct rpc_call *call, struct view bytes, void *ctx)
{
    (void)ctx;
    take_id(call, REPLAY_CANCEL_METHOD, bytes);
}

/* Twice the same. */
static void on_list(struct rpc_call *call, struct view bytes, void *ctx)
{
    struct buf out;

    (void)ctx;
    buf_init(&out, RPC_ANSWER_MAX);
    pthread_mutex_lock(&lock);
    question.method = REPLAY_LIST_METHOD;
    if (answer_error)
        rpc_fail(call, answer_error, answer_message);
    else if (replay_list_request_read(bytes, &question.page_size) ||
             replay_list_write((struct replay_progress[]){answer, answer}, 2, &out))
        rpc_fail(call, ERR_INTERNAL, "not a request");
    else
        rpc_reply(call, answer_bytes ? view_of(answer_bytes) : buf_view(&out));
    pthread_mutex_unlock(&lock);
    buf_free(&out);
}

struct replay_question replay_peer_asked(void)
{
    struct replay_question q;

    pthread_mutex_lock(&lock);
    q = question;
    pthread_mutex_unlock(&lock);
    return q;
}

void replay_peer_answer(enum err e, const char *message, const struct replay_progress *replay,
                        const char *bytes)
{
    pthread_mutex_lock(&lock);
    question = (struct replay_question){0};
    answer_error = e;
    answer_message = message;
    if (replay)
        answer = *replay;
    answer_bytes = bytes;
    pthread_mutex_unlock(&lock);
}

/* ---- the gateway ---- */

int replay_peer_start(void **state)
{
    static const struct rpc_method methods[] = {
        {.path = REPLAY_START_METHOD, .kind = RPC_SERVER_STREAM, .on_request = on_start},
        {.path = REPLAY_GET_METHOD, .kind = RPC_UNARY, .on_request = on_get},
        {.path = REPLAY_CANCEL_METHOD, .kind = RPC_UNARY, .on_request = on_cancel},
        {.path = REPLAY_LIST_METHOD, .kind = RPC_UNARY, .on_request = on_list},
        {.path = NULL}};

    (void)state;
    gateway_peer_start(methods, 100000);
    return 0;
}

int replay_peer_stop(void **state)
{
    (void)state;
    gateway_peer_stop();
    return 0;
}

void replay_peer_send(const char *line, const char *headers, const char *body)
{
    char request[4096];

    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s",
             line, headers, strlen(body), body);
    gateway_peer_exchange(request);
}

void replay_peer_send_no_body(const char *line, const char *headers)
{
    char request[2048];

    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: x\r\n%s\r\n", line, headers);
    gateway_peer_exchange(request);
}

struct replay_progress replay_peer_running(void)
{
    struct replay_progress replay = {
        .has_id = true,
        .state = REPLAY_RUNNING,
        .replayed = 5,
        .skipped = 2,
        .started_ms = 1767323045678,
        .updated_ms = 1767323046000,
        .processor = VIEW("p-1"),
        .event_position = 42,
        .position = 99,
        .request = {.statuses = 1u << STATUS_DEAD, .replay_id = VIEW(REPLAY_PEER_ID)},
    };

    assert_true(id_parse(VIEW(REPLAY_PEER_ID), &replay.id));
    return replay;
}
