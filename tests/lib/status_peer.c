#include "tests/lib/status_peer.h"

#include "tests/lib/unit.h"
#include "tests/lib/watch_peer.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* What the processor was asked and what it answers; the test's thread and gRPC's take turns. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct status_question question;
static enum err answer_error;
static const char *answer_message;
static struct event_status answer;
static struct event_list_request listed;
static char listed_name[256], listed_token[1024];
static struct event_page page;

static void on_request(struct rpc_call *call, struct view bytes, void *ctx)
{
    struct event_status_holder *holder = NULL;
    struct event_status_request request;
    struct buf out;

    (void)ctx;
    buf_init(&out, RPC_ANSWER_MAX);
    pthread_mutex_lock(&lock);
    if (event_status_request_read(bytes, &holder, &request)) {
        rpc_fail(call, ERR_INTERNAL, "not a request");
    } else {
        snprintf(question.id, sizeof question.id, "%.*s", (int)request.event_id.len,
                 request.event_id.data);
        snprintf(question.source, sizeof question.source, "%.*s", (int)request.source.len,
                 request.source.data);
        question.full = request.full;
        question.position = request.min_position;
        if (answer_error)
            rpc_fail(call, answer_error, answer_message);
        else if (event_status_write(&answer, &out))
            rpc_fail(call, ERR_INTERNAL, "not a status");
        else
            rpc_reply(call, buf_view(&out));
        event_status_holder_free(holder);
    }
    pthread_mutex_unlock(&lock);
    buf_free(&out);
}

static void on_list(struct rpc_call *call, struct view bytes, void *ctx)
{
    struct event_status_holder *holder = NULL;
    struct event_list_request request;
    struct buf out;

    (void)ctx;
    buf_init(&out, RPC_ANSWER_MAX);
    pthread_mutex_lock(&lock);
    if (event_list_request_read(bytes, &holder, &request)) {
        rpc_fail(call, ERR_INTERNAL, "not a request");
    } else {
        listed = request;
        snprintf(listed_name, sizeof listed_name, "%.*s", (int)request.name.len, request.name.data);
        snprintf(listed_token, sizeof listed_token, "%.*s", (int)request.page_token.len,
                 request.page_token.data);
        listed.name = view_of(listed_name);
        listed.page_token = view_of(listed_token);
        if (answer_error)
            rpc_fail(call, answer_error, answer_message);
        else if (event_page_write(&page, &out))
            rpc_fail(call, ERR_INTERNAL, "not a page");
        else
            rpc_reply(call, buf_view(&out));
        event_status_holder_free(holder);
    }
    pthread_mutex_unlock(&lock);
    buf_free(&out);
}

struct event_list_request status_peer_listed(void)
{
    struct event_list_request request;

    pthread_mutex_lock(&lock);
    request = listed;
    pthread_mutex_unlock(&lock);
    return request;
}

void status_peer_page(const struct event_page *next)
{
    pthread_mutex_lock(&lock);
    answer_error = ERR_NONE;
    page = *next;
    pthread_mutex_unlock(&lock);
}

struct status_question status_peer_asked(void)
{
    struct status_question q;

    pthread_mutex_lock(&lock);
    q = question;
    pthread_mutex_unlock(&lock);
    return q;
}

void status_peer_answer(enum err e, const char *message, const struct event_status *status)
{
    pthread_mutex_lock(&lock);
    answer_error = e;
    answer_message = message;
    if (status)
        answer = *status;
    pthread_mutex_unlock(&lock);
}

int status_peer_start(void **state)
{
    static const struct rpc_method methods[] = {
        {.path = EVENT_STATUS_METHOD, .kind = RPC_UNARY, .on_request = on_request},
        {.path = EVENT_LIST_METHOD, .kind = RPC_UNARY, .on_request = on_list},
        WATCH_PEER_METHODS,
        {.path = NULL}};

    (void)state;
    gateway_peer_start(methods, 1000);
    return 0;
}

int status_peer_stop(void **state)
{
    (void)state;
    gateway_peer_stop();
    return 0;
}

void status_peer_send(const char *method, const char *path, const char *headers)
{
    char request[2048];
    int fd = raw_connect(gateway_peer_port());

    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path, headers);
    raw_send_text(fd, request);
    raw_receive(fd, strcmp(method, "HEAD") == 0, &gateway_peer_reply);
    raw_close(fd);
}

void status_peer_get(const char *path)
{
    status_peer_send("GET", path, "");
}

struct event_status status_peer_basic(void)
{
    struct event_status status = {
        .state = {.status = STATUS_PROCESSED, .attempt = 1, .generation = 0},
        .name = VIEW("order.created"),
        .updated_ms = 1767323045678,
        .event_position = 7,
        .position = 11,
    };

    assert_true(id_parse(VIEW(STATUS_PEER_ID), &status.id));
    return status;
}
